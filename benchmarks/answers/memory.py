"""Watch two cameras with three watches for many frames, and see that memory stays.

    python benchmarks/answers/memory.py [--frames 20000] [--weights FOLDER] [--mode auto]
                                        [--decoder-short 64] [--json]

A node with the embedded model on the transport in memory; each frame of a camera is an object of
its own, sent when all watches of that camera have answered the one before. Every tenth image shows
another scene: in the mode auto one answer of ten is generated, from image tokens and a prompt's
start that are shared, and nine are kept. The decoder gets small images, as the number of frames is
what matters here. Printed, as JSON with `--json`:

* `frames`: of both cameras together;
* `early_mb`, `late_mb`: resident memory after the first tenth and at the end, each the median of
  the last hundred turns by then, and `growth_kb_per_1000_frames`;
* `alive`: what is still in memory after each tenth: frames, of all that were sent, and what is
  kept of any frame: image tokens, starts of prompts (`prefixes`) and maps of the decoder;
* `left`: the same when the node has stopped;
* `answers`: results that came; `cpu_ms`: processor time of a frame, its answers included.

The exit code is 1, with the reason, where memory has grown by more than 2 % since the first tenth,
more frames are alive than there are cameras, anything outlives its frame, or anything is left.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import sys
import threading
import time
import weakref
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from answers.turns import render_frames
from vl2_ros.flow.encoded_image import EncodedImage
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.runtime.engine import Engine, Prefix
from vl2_ros.structures import Frame
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

#: Camera -> what is watched on it.
WATCHES = {
    "/left/image": ("find the red mug", "segment the bowl"),
    "/right/image": ("find the bottle",),
}
IMAGE, RESULT = "sensor_msgs/msg/Image", "vl2_ros/msg/VisionResult"
COMMAND = "vl2_ros/msg/VisionCommand"
SCENES = 40
#: Images of a camera that show the same scene, one after the other.
SAME_SCENE = 10
#: Resident memory at the end may be so many times that after the first tenth.
MOST_GROWTH = 1.02
PATIENCE_S = 60.0


def resident_mb() -> float:
    """Return the memory that this process uses now, on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Cameras:
    """Sends images to the node and waits for the results of their watches."""

    def __init__(self, bus: MemoryBus, frames: list[Frame]) -> None:
        self._transport = MemoryTransport(bus, "cameras")
        self._make = self._transport.types.make
        self._frames = frames
        self._came = threading.Condition()
        self.answers = 0
        self._answered: dict[tuple[str, int], int] = {}
        self._transport.subscribe("/vl2/result", RESULT, Qos(depth=50), self._note)
        self._images = {
            camera: self._transport.advertise(camera, IMAGE, Qos()) for camera in WATCHES
        }
        self._commands = self._transport.advertise("/vl2/vision_command", COMMAND, Qos(depth=50))

    def start(self) -> None:
        """Start the watches."""
        for camera, texts in WATCHES.items():
            for text in texts:
                self._commands.publish(self._make(COMMAND, mode=1, text=text, camera=camera))

    def _note(self, message: Any) -> None:
        key = message.header.frame_id, int(message.header.stamp.sec)
        with self._came:
            self.answers += 1
            self._answered[key] = self._answered.get(key, 0) + 1
            self._came.notify()

    def send(self, number: int) -> None:
        """Send one image of each camera and wait for all answers to them."""
        for place, camera in enumerate(WATCHES):
            rgb = self._frames[(number // SAME_SCENE + place) % len(self._frames)].rgb
            stamp = self._make("builtin_interfaces/msg/Time", sec=number)
            header = self._make("std_msgs/msg/Header", stamp=stamp, frame_id=camera)
            height, width = rgb.shape[:2]
            self._images[camera].publish(
                self._make(
                    IMAGE,
                    header=header,
                    height=height,
                    width=width,
                    encoding="rgb8",
                    step=width * 3,
                    data=np.ascontiguousarray(rgb).reshape(-1),
                )
            )

        def is_answered() -> bool:
            return all(
                self._answered.get((camera, number), 0) >= len(texts)
                for camera, texts in WATCHES.items()
            )

        with self._came:
            if not self._came.wait_for(is_answered, PATIENCE_S):
                raise RuntimeError(
                    f"only {self._answered} answers to image {number} within {PATIENCE_S:g} s"
                )
            self._answered.clear()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


class NotedEncoder:
    """A vision encoder that knows which of the image tokens it returned are still in memory."""

    def __init__(self, encoder: Engine) -> None:
        self._encoder = encoder
        self._returned: list[weakref.ref[np.ndarray]] = []

    def run(self, *args: Any, **named: Any) -> dict[str, Any]:
        """Run the encoder and note its image tokens."""
        outputs = self._encoder.run(*args, **named)
        self._returned.append(weakref.ref(outputs["image_tokens"]))
        return outputs

    def count(self) -> int:
        """Return how many image tokens are in memory."""
        self._returned = [one for one in self._returned if one() is not None]
        return len(self._returned)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)


def count_alive(encoder: NotedEncoder) -> dict[str, int]:
    """Return the number of frames in memory, those of the scenes not counted, and what is kept."""
    # A running node has frozen what was loaded, the scenes as well: the collector sees none of it.
    gc.unfreeze()
    gc.collect()
    # No other thread may run while this one has a reference to what that one is making.
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(60.0)
    try:
        types = Counter(type(one) for one in gc.get_objects())
    finally:
        sys.setswitchinterval(interval_s)
    return {
        "frames": types[Frame] - SCENES,
        "image_tokens": encoder.count(),
        "prefixes": types[Prefix],
        "maps": types[EncodedImage],
    }


def measure(frames: int, weights: Path, mode: str, decoder_short: int) -> dict[str, Any]:
    """Run the node for so many frames, of so many pixels along the short side at the decoder."""
    scenes = render_frames(SCENES, 160, 120)
    pipeline = load_pipeline(LoadOptions(weights=str(weights), threads=1))
    encoder = NotedEncoder(pipeline.engines.vision_encoder)
    pipeline.engines = replace(pipeline.engines, vision_encoder=encoder)
    pipeline.processing = replace(
        pipeline.processing, decoder_short=decoder_short, segment_short=decoder_short
    )
    bus = MemoryBus()
    parameters = NodeParameters(
        cameras=tuple(WATCHES),
        image_transport="raw",
        image_reliability="reliable",
        watch_mode=mode,
        # However slow the machine is: the next image comes when this one is answered.
        max_frame_age_s=0.0,
    )
    node = MemoryTransport(bus, "vl2")
    server = PerceptionServer(pipeline, node, parameters)
    server.start()
    cameras = Cameras(bus, scenes)
    cameras.start()
    turns = max(1, frames // len(WATCHES))
    tenth = max(1, turns // 10)
    samples: list[float] = []
    alive: list[dict[str, int]] = []
    began_s, began_cpu_s = time.monotonic(), time.process_time()
    try:
        for number in range(1, turns + 1):
            cameras.send(number)
            samples.append(resident_mb())
            if number % tenth == 0:
                alive.append(count_alive(encoder))
                show_progress(number, turns, samples[-1], alive[-1])
    finally:
        cameras.close()
        server.stop()
        node.close()
    early, late = (statistics.median(part[-100:]) for part in (samples[:tenth], samples))
    measured = turns * len(WATCHES)
    grown_kb = (late - early) * 1024
    return {
        "frames": measured,
        "early_mb": round(early, 1),
        "late_mb": round(late, 1),
        "growth_kb_per_1000_frames": round(
            grown_kb * 1e3 / max(1, (turns - tenth) * len(WATCHES)), 1
        ),
        "alive": alive,
        "left": count_alive(encoder),
        "answers": cameras.answers,
        "cpu_ms": round((time.process_time() - began_cpu_s) * 1e3 / measured, 1),
        "minutes": round((time.monotonic() - began_s) / 60, 1),
    }


def show_progress(turn: int, turns: int, resident: float, alive: Mapping[str, int]) -> None:
    """Print to the standard error how far it is."""
    print(f"{turn} of {turns} turns, {resident:.1f} MB, alive {alive}", file=sys.stderr, flush=True)


def list_broken(measured: Mapping[str, Any]) -> list[str]:
    """Return which promises the measured numbers break."""
    broken = []
    if measured["late_mb"] > MOST_GROWTH * measured["early_mb"]:
        broken.append("memory has grown by more than 2 %")
    if any(one["frames"] > len(WATCHES) for one in measured["alive"]):
        broken.append("a frame is alive that is not the newest of its camera")
    if any(max(one.values()) > one["frames"] for one in measured["alive"]):
        broken.append("something has outlived its frame")
    if any(measured["left"].values()):
        broken.append("something is left after the node has stopped")
    return broken


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000, help="of both cameras together")
    parser.add_argument("--weights", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--mode", default="auto", choices=("plain", "exact", "cached", "auto"))
    parser.add_argument("--decoder-short", type=int, default=64, help="pixels")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = measure(options.frames, options.weights, options.mode, options.decoder_short)
    if options.json:
        print(json.dumps(measured))
    else:
        for name, value in measured.items():
            print(f"{name}: {value}")
    if broken := list_broken(measured):
        sys.exit("; ".join(broken))


if __name__ == "__main__":
    main()
