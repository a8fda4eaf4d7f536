"""Watch two cameras with three watches for many frames, and see that memory stays.

    python benchmarks/answers/memory.py [--frames 20000] [--weights FOLDER] [--mode auto] [--json]

A node with the embedded model on the transport in memory; each frame of a camera is an object of
its own, sent when all watches of that camera have answered the one before. Printed, as JSON with
`--json`:

* `frames`: of both cameras together;
* `early_mb`, `late_mb`: resident memory after the first tenth and at the end, each the median of
  the last hundred turns by then, and `growth_kb_per_1000_frames`;
* `frames_alive`: frames that are still in memory after each tenth, of all that were sent;
* `answers`: results that came.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from answers.turns import render_frames
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
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
            rgb = self._frames[(number + place) % len(self._frames)].rgb
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
                raise RuntimeError(f"no answer to image {number}: {self._answered}")
            self._answered.clear()

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()


def count_frames() -> int:
    """Return the number of frames in memory, those of the scenes not counted."""
    gc.collect()
    return sum(isinstance(one, Frame) for one in gc.get_objects()) - SCENES


def measure(frames: int, weights: Path, mode: str) -> dict[str, Any]:
    """Run the node for so many frames."""
    scenes = render_frames(SCENES, 320, 240)
    pipeline = load_pipeline(LoadOptions(weights=str(weights), threads=1))
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
    alive: list[int] = []
    began = time.monotonic()
    try:
        for number in range(1, turns + 1):
            cameras.send(number)
            samples.append(resident_mb())
            if number % tenth == 0:
                alive.append(count_frames())
    finally:
        cameras.close()
        server.stop()
        node.close()
    early, late = (statistics.median(part[-100:]) for part in (samples[:tenth], samples))
    return {
        "frames": turns * len(WATCHES),
        "early_mb": round(early, 1),
        "late_mb": round(late, 1),
        "growth_kb_per_1000_frames": round(
            (late - early) * 1024e3 / max(1, (turns - tenth) * len(WATCHES)), 1
        ),
        "frames_alive": alive,
        "answers": cameras.answers,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=20_000, help="of both cameras together")
    parser.add_argument("--weights", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--mode", default="auto", choices=("plain", "exact", "cached", "auto"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    measured = measure(options.frames, options.weights, options.mode)
    if options.json:
        print(json.dumps(measured))
        return
    for name, value in measured.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
