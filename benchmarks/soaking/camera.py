"""Publish the demo's images at a rate, in a process of its own that can be killed.

Prints `{"first": t}` with the monotonic time of its first image that has a subscriber, then
`{"count": n}` once a second, of all images so far.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

import vl2_ros
from soaking.lines import emit, wait_for_end
from vl2_ros.node.transport import MessageTypes
from vl2_ros.recordings.bag import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, read_images
from vl2_ros.recordings.camera_player import CAMERA_QOS
from vl2_ros.transports.dds.transport import DdsTransport

RECORDING = Path(vl2_ros.__file__).parent / "embedded" / "demo" / "tabletop.mcap"
FORMS = {
    "raw": (IMAGE_TYPE,),
    "compressed": (COMPRESSED_IMAGE_TYPE,),
    "both": (IMAGE_TYPE, COMPRESSED_IMAGE_TYPE),
}


def read_rgb(size: tuple[int, int]) -> list[np.ndarray]:
    """Return the images of the demo at (width, height), each (H, W, 3) uint8."""
    return [cv2.resize(one.image.decode().rgb, size) for one in read_images(RECORDING)]


def make_fields(rgb: np.ndarray, type_name: str) -> dict[str, Any]:
    """Return the fields of one image message but for its header."""
    if type_name == COMPRESSED_IMAGE_TYPE:
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        return {"format": "rgb8; jpeg compressed bgr8", "data": data.reshape(-1)}
    height, width = rgb.shape[:2]
    return {
        "height": height,
        "width": width,
        "encoding": "rgb8",
        "step": width * 3,
        "data": rgb.reshape(-1),
    }


def make_header(types: MessageTypes) -> Any:
    """Return a header stamped with the system's time."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    stamp = types.make("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)
    return types.make("std_msgs/msg/Header", stamp=stamp, frame_id="camera")


def play(transport: DdsTransport, options: argparse.Namespace, stop: threading.Event) -> None:
    """Publish at the rate until `stop` is set."""
    types = FORMS[options.form]
    topics = {IMAGE_TYPE: options.camera, COMPRESSED_IMAGE_TYPE: f"{options.camera}/compressed"}
    publishers = {one: transport.advertise(topics[one], one, CAMERA_QOS) for one in types}
    width, height = options.size
    rows = [{one: make_fields(rgb, one) for one in types} for rgb in read_rgb((width, height))]
    while not all(one.count_subscribers() for one in publishers.values()):
        if stop.wait(0.01):
            return
    due_s = reported_s = time.monotonic()
    for count, row in enumerate(itertools.cycle(rows), start=1):
        header = make_header(transport.types)
        for type_name, fields in row.items():
            message = transport.types.make(type_name, header=header, **fields)
            publishers[type_name].publish(message)
        if count == 1:
            emit(first=time.monotonic())
        if time.monotonic() - reported_s >= 1.0:
            reported_s = time.monotonic()
            emit(count=count)
        due_s = max(due_s + 1.0 / options.rate, time.monotonic())
        if stop.wait(due_s - time.monotonic()):
            return


def main() -> None:
    """Be a camera until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--camera", required=True, help="topic")
    parser.add_argument("--size", type=int, nargs=2, required=True, help="width and height")
    parser.add_argument("--form", choices=tuple(FORMS), required=True)
    parser.add_argument("--rate", type=float, required=True, help="Hz")
    options = parser.parse_args()
    transport = DdsTransport("camera")
    stop = threading.Event()
    player = threading.Thread(target=play, args=(transport, options, stop), daemon=True)
    player.start()
    wait_for_end()
    stop.set()
    player.join()
    transport.close()


if __name__ == "__main__":
    main()
