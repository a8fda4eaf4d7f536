"""A node and a camera over DDS inside the test's process, for the commands that talk to them."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import wait_until
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.recordings.bag import read_images
from vl2_ros.recordings.camera_player import open_camera, step_camera
from vl2_ros.transports.dds.transport import DdsTransport


class LiveNode:
    """Answers as a scripted perceiver does, about a recorded camera that is held.

    Args:
        bag: what the camera shows.
        camera: its name.
    """

    def __init__(self, bag: Path, *, camera: str = "/image") -> None:
        self.perceiver = ScriptedPerceiver()
        self._node = DdsTransport("vl2")
        self._camera = DdsTransport("camera")
        # An image of any age counts, so that no test depends on how fast it runs.
        parameters = NodeParameters(cameras=(camera,), max_frame_age_s=0.0, command_deadline_s=60.0)
        self.server = PerceptionServer(self.perceiver, self._node, parameters)
        self.server.start()
        self.steps: queue.SimpleQueue[bool] = queue.SimpleQueue()
        _, publish = open_camera(self._camera, bag, onto=camera)
        self._thread = threading.Thread(
            target=step_camera, args=(read_images(bag), publish, self.steps)
        )
        self._thread.start()
        # Discovery, and the choice between raw and compressed images, take their time.
        wait_until(lambda: self.server.node.report().cameras[0].received > 0, "an image has come")

    def show_next(self) -> None:
        """Stand in for `DemoProcesses.show_next`."""
        self.steps.put(True)

    def check(self) -> None:
        """Stand in for `DemoProcesses.check`."""

    def close(self) -> None:
        self.perceiver.may_answer.set()
        self.steps.put(False)
        self._thread.join()
        self.server.stop()
        self._node.close()
        self._camera.close()
