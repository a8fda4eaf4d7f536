"""Time what the node adds between an image and its result, with an immediate perceiver.

    python benchmarks/node_overhead.py [--transport dds] [--frames 300] [--rate 30]
                                       [--memory-frames 20000]

A camera process sends 1280x720 rgb8 images on this machine, over plain DDS or, in a shell where
ROS 2 and this package are sourced, over rclpy (`--transport ros`). Three other processes answer
with a VisionResult, each at the camera's rate for half a second, then the next one, in turns:
`bare`, a subscriber that publishes from its callback; `node`, the node with a watch; `drawn`, the
node with a watch whose five instances have masks, and a subscriber to the raw `~/annotated`.
Printed for each, in milliseconds:

* `added`: from the bytes of an image in the reading thread to the result passed to DDS, without
  the perceiver's own time. The promise is p99 <= 3 ms for the node, with masks and overlay as well,
  on a machine with a core for each thread that works. Over rclpy it begins with the message in the
  callback, as the bytes are read outside of Python, and the promise is 5 ms.
* `round_trip`: from before the image is published to the result in the camera's process.
* `cpu`: processor time of the answering process per image, its DDS threads and its drawing
  included; the number that a busy machine changes least.
* `worker_cpu`: processor time of the thread that answers, from its result to the published message:
  what masks cost an answer, and drawing does not.
* `drawn_share`: of `drawn`, the images that came annotated; the others were skipped for newer ones.

`memory` then sends images as fast as results come, and compares the node's resident memory after
the first tenth with that at the end.

Copies of the 2.8 MB of an image on its way in, once it is a datagram:

1. Cyclone puts the fragments of a message together. It has to: they come out of order.
2. The binding returns the whole as `bytes`. It has to: Cyclone reuses its buffer.
3. Reading the message makes none, `data` is a view of these bytes.
4. Keeping the newest image makes none, the message itself is kept.
5. Decoding makes none of RGB in bytes, which cannot change, and one of everything else, rclpy's
   arrays included. Only an image that a command uses is decoded, and once, however many use it.

So an image costs two copies, as in the bare subscriber, and at most a third where it is answered.
Ratios compare within the run; milliseconds depend on the machine and its load.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from around_model.instant import FRAME_HW, InstantPerceiver

from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import LATCHED, Qos, Subscription
from vl2_ros.transports.dds.transport import DdsTransport
from vl2_ros.transports.ros.transport import open_ros_transport

#: What answers; each is a process and a namespace.
ROLES = ("bare", "node", "drawn")
#: Images that one process gets at the camera's rate, before it is the next one's turn.
TURN = 15
IMAGE, RESULT = "sensor_msgs/msg/Image", "vl2_ros/msg/VisionResult"
COMMAND = "vl2_ros/msg/VisionCommand"
RELIABLE_NEWEST = Qos(depth=1)
PATIENCE_S = 60.0


def open_transport(kind: str, node_name: str, role: str) -> Any:
    """Open a transport, `dds` or `ros`, whose topics are those of one answering process."""
    open_one = DdsTransport if kind == "dds" else open_ros_transport
    return open_one(node_name, namespace=role)


class TimedTransport:
    """A transport that notes when images come in and when results go out."""

    def __init__(self, kind: str, role: str) -> None:
        self._transport = open_transport(kind, "answerer", role)
        self.types = self._transport.types
        self.received_s: dict[int, float] = {}
        self.added_s: dict[int, float] = {}
        self.worker_ended_s: dict[int, float] = {}
        self._bytes_came_s = 0.0
        if kind == "dds":
            self._time_reading()

    def _time_reading(self) -> None:
        deserialize = self.types.deserialize

        def timed(data: bytes, type_name: str) -> Any:
            self._bytes_came_s = time.perf_counter()
            return deserialize(data, type_name)

        self.types.deserialize = timed  # type: ignore[method-assign]

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        """Subscribe; of images, note the time at which their bytes were there."""

        def note(message: Any) -> None:
            self.received_s[stamp_of(message)] = self._bytes_came_s or time.perf_counter()
            callback(message)

        chosen = note if type_name == IMAGE else callback
        subscription: Subscription = self._transport.subscribe(topic, type_name, qos, chosen)
        return subscription

    def advertise(self, topic: str, type_name: str, qos: Qos) -> Any:
        """Advertise; of results, note the time at which they had been passed on."""
        publisher = self._transport.advertise(topic, type_name, qos)
        if type_name != RESULT:
            return publisher
        return TimedPublisher(publisher, self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class TimedPublisher:
    """Notes when each result has been published."""

    def __init__(self, publisher: Any, times: TimedTransport) -> None:
        self.count_subscribers = publisher.count_subscribers
        self._publisher = publisher
        self._times = times

    def publish(self, message: Any) -> None:
        """Publish and note."""
        self._publisher.publish(message)
        self._times.worker_ended_s[stamp_of(message)] = time.thread_time()
        received_s = self._times.received_s.pop(stamp_of(message), None)
        if received_s is not None:
            self._times.added_s[stamp_of(message)] = time.perf_counter() - received_s


def stamp_of(message: Any) -> int:
    """Return the stamp of a message's header in nanoseconds."""
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def resident_mb() -> float:
    """Return the memory that this process uses now, on Linux."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def answer_bare(kind: str) -> None:
    """Publish an empty result for every image, from the callback."""
    transport = TimedTransport(kind, "bare")
    results = transport.advertise("~/result", RESULT, LATCHED)
    make = transport.types.make

    def answer(message: Any) -> None:
        results.publish(make(RESULT, header=message.header))

    transport.subscribe("image", IMAGE, RELIABLE_NEWEST, answer)
    serve(transport, {}, {})
    transport.close()


def answer_with_node(kind: str, role: str) -> None:
    """Let the node answer; the camera's process sends the watch."""
    transport = TimedTransport(kind, role)
    perceiver = InstantPerceiver(with_masks=role == "drawn")
    parameters = NodeParameters(image_transport="raw", image_reliability="reliable")
    server = PerceptionServer(perceiver, transport, parameters)
    server.start()
    serve(transport, perceiver.own_s, perceiver.worker_began_s)
    server.stop()
    transport.close()


def serve(transport: TimedTransport, own_s: dict[int, float], began_s: dict[int, float]) -> None:
    """Report times and memory so far for each line of input, then reset the times."""
    print("ready", flush=True)
    for _ in sys.stdin:
        added_ms = [(s - own_s.get(stamp, 0.0)) * 1e3 for stamp, s in transport.added_s.items()]
        worker_ms = [
            (transport.worker_ended_s[stamp] - s) * 1e3
            for stamp, s in began_s.items()
            if stamp in transport.worker_ended_s
        ]
        for times in (transport.added_s, transport.worker_ended_s, own_s, began_s):
            times.clear()
        noted = {
            "added_ms": added_ms,
            "worker_ms": worker_ms,
            "cpu_s": time.process_time(),
            "resident_mb": resident_mb(),
        }
        print(json.dumps(noted), flush=True)


class Camera:
    """The camera's process: sends images to one answering process, waits for each result."""

    def __init__(self, kind: str, role: str) -> None:
        self._role = role
        self._answerer = subprocess.Popen(
            [sys.executable, __file__, "--role", role, "--transport", kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answerer.stdout is not None
        self._answerer.stdout.readline()
        self._transport = open_transport(kind, "camera", role)
        self._came = threading.Condition()
        self._last_stamp = 0
        self._last_came_s = 0.0
        self.drawn = 0
        self._transport.subscribe(f"/{role}/answerer/result", RESULT, Qos(), self._note)
        if role == "drawn":
            self._transport.subscribe(
                f"/{role}/answerer/annotated", IMAGE, Qos(), self._count_drawn
            )
        self._images = self._transport.advertise("image", IMAGE, RELIABLE_NEWEST)
        commands = self._transport.advertise(f"/{role}/answerer/vision_command", COMMAND, Qos())
        deadline_s = time.monotonic() + PATIENCE_S
        publishers = [self._images] if role == "bare" else [self._images, commands]
        while not all(publisher.count_subscribers() for publisher in publishers):
            if time.monotonic() > deadline_s:
                raise RuntimeError(f"{role} was not found on {kind} within {PATIENCE_S:g} s")
            time.sleep(0.01)
        if role != "bare":
            commands.publish(self._transport.types.make(COMMAND, mode=1, text="find the mug"))
        self._rgb = np.random.default_rng(0).integers(0, 256, (*FRAME_HW, 3), dtype=np.uint8)
        self._count = 0

    def _note(self, message: Any) -> None:
        with self._came:
            self._last_stamp, self._last_came_s = stamp_of(message), time.perf_counter()
            self._came.notify()

    def _count_drawn(self, message: Any) -> None:
        self.drawn += 1

    def ask(self) -> float:
        """Send one image and return the seconds until its result is here."""
        self._count += 1
        make = self._transport.types.make
        stamp = make("builtin_interfaces/msg/Time", sec=self._count)
        message = make(
            IMAGE,
            header=make("std_msgs/msg/Header", stamp=stamp, frame_id="camera"),
            height=FRAME_HW[0],
            width=FRAME_HW[1],
            encoding="rgb8",
            step=FRAME_HW[1] * 3,
            data=self._rgb.reshape(-1),
        )
        began_s = time.perf_counter()
        self._images.publish(message)
        with self._came:
            wanted = self._count * 10**9
            if not self._came.wait_for(lambda: self._last_stamp >= wanted, PATIENCE_S):
                raise RuntimeError(
                    f"no result of {self._role} to image {self._count} within {PATIENCE_S:g} s; an "
                    "image that has waited longer than max_frame_age_s is not answered, and this "
                    "benchmark sends the next one when it has the result"
                )
            return self._last_came_s - began_s

    def collect(self) -> dict[str, Any]:
        """Return what the answering process has noted since the last time."""
        assert self._answerer.stdin is not None and self._answerer.stdout is not None
        self._answerer.stdin.write("\n")
        self._answerer.stdin.flush()
        line = self._answerer.stdout.readline()
        if not line:
            raise RuntimeError(f"the process of {self._role} has ended")
        noted: dict[str, Any] = json.loads(line)
        return noted

    def close(self) -> None:
        """End both."""
        self._transport.close()
        assert self._answerer.stdin is not None
        self._answerer.stdin.close()
        self._answerer.wait(PATIENCE_S)


def summarize(times_ms: list[float]) -> dict[str, float]:
    """Return count, median and tail."""
    p50, p95, p99 = np.percentile(times_ms, (50, 95, 99))
    return {
        "count": len(times_ms),
        "p50": round(float(p50), 3),
        "p95": round(float(p95), 3),
        "p99": round(float(p99), 3),
    }


def measure_times(kind: str, frames: int, rate_hz: float) -> dict[str, dict[str, Any]]:
    """Send an image to each in turns, at the camera's rate; the first ones do not count."""
    cameras = {role: Camera(kind, role) for role in ROLES}
    for camera in cameras.values():
        for _ in range(20):
            camera.ask()
    cpu_s = {role: camera.collect()["cpu_s"] for role, camera in cameras.items()}
    drawn = cameras["drawn"].drawn
    round_trips_ms: dict[str, list[float]] = {role: [] for role in ROLES}
    turns = -(-frames // TURN)
    for turn in range(turns):
        # None is always the one behind another.
        for place in range(len(ROLES)):
            role = ROLES[(turn + place) % len(ROLES)]
            next_s = time.monotonic()
            for _ in range(min(TURN, frames - turn * TURN)):
                round_trips_ms[role].append(cameras[role].ask() * 1e3)
                next_s = max(next_s + 1 / rate_hz, time.monotonic())
                time.sleep(max(0.0, next_s - time.monotonic()))
    measured = {}
    for role, camera in cameras.items():
        noted = camera.collect()
        measured[role] = {
            "added": summarize(noted["added_ms"]),
            "round_trip": summarize(round_trips_ms[role]),
            "cpu": round((noted["cpu_s"] - cpu_s[role]) * 1e3 / frames, 3),
        }
        if noted["worker_ms"]:
            measured[role]["worker_cpu"] = summarize(noted["worker_ms"])
        camera.close()
    measured["drawn"]["drawn_share"] = round((cameras["drawn"].drawn - drawn) / frames, 2)
    return measured


def measure_memory(kind: str, frames: int) -> dict[str, float]:
    """Send images as fast as results come."""
    camera = Camera(kind, "node")
    first = max(1, frames // 10)
    for _ in range(first):
        camera.ask()
    early_mb = camera.collect()["resident_mb"]
    # Often, so that the noted times are not what grows.
    for index in range(frames - first):
        camera.ask()
        if index % 1000 == 0:
            camera.collect()
    late_mb = camera.collect()["resident_mb"]
    camera.close()
    return {
        "frames": frames,
        "early_mb": round(early_mb, 1),
        "late_mb": round(late_mb, 1),
        "growth_kb_per_1000_frames": round((late_mb - early_mb) * 1024e3 / (frames - first), 1),
    }


def main() -> None:
    """Measure the three in turns, then memory; print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--transport", choices=("dds", "ros"), default="dds")
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", type=float, default=30.0, help="Hz")
    parser.add_argument("--memory-frames", type=int, default=20000, help="0 skips it")
    parser.add_argument("--role", choices=ROLES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.role == "bare":
        answer_bare(options.transport)
        return
    if options.role:
        answer_with_node(options.transport, options.role)
        return
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    document: dict[str, Any] = measure_times(options.transport, options.frames, options.rate)
    for role in ROLES[1:]:
        document[f"{role}_over_bare"] = {
            what: round(document[role][what]["p50"] / document["bare"][what]["p50"], 2)
            for what in ("added", "round_trip")
        } | {"cpu": round(document[role]["cpu"] / document["bare"]["cpu"], 2)}
    if options.memory_frames:
        document["memory"] = measure_memory(options.transport, options.memory_frames)
    document["load_average"] = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
