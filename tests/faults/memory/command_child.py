"""A command with images and masks through a node in one process; prints what that took."""

from __future__ import annotations

import json
import sys

import numpy as np

from tests.faults.memory.peak import measure_growth
from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import Inbox, make_image, wait_until
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.regions import region_mask
from vl2_ros.structures import MAX_VISUAL_PROMPTS, Command, Frame, RunLengths
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

HW = (1500, 2000)
IMAGES = 2


class MaskPerceiver(ScriptedPerceiver):
    """Draws what the command points at, as the pipeline does, before it answers."""

    def run(self, frame: Frame, command: Command, memory: object = None):
        frames = (frame, *command.images)
        config = ProcessingConfig(vision_side=336, vision_tokens=576)
        self.masks = [
            region_mask(one, frames[one.image].frame_hw, config) for one in command.visual_prompts
        ]
        yield from super().run(frame, command, memory)


class Node:
    """A node and who asks it, on one bus."""

    def __init__(self) -> None:
        bus = MemoryBus()
        self.perceiver = MaskPerceiver()
        self.client = MemoryTransport(bus, "client")
        parameters = NodeParameters(max_frame_age_s=0.0)
        self.server = PerceptionServer(self.perceiver, MemoryTransport(bus), parameters)
        self.results = Inbox(self.client, "/vl2/result", RESULT.type_name, Qos(depth=10))
        self.server.start()
        self._camera = self.client.advertise("/image", "sensor_msgs/msg/Image", Qos())
        self._commands = self.client.advertise(
            "/vl2/vision_command", "vl2_ros/msg/VisionCommand", Qos()
        )

    def ask(self, command_id: str, hw: tuple[int, int], prompts: int) -> object:
        """Show a camera image and ask about it and further images, with masks on each."""
        make, rgb = self.client.types.make, np.full((*hw, 3), 90, np.uint8)
        before = self.server.node.report().cameras[0].received
        self._camera.publish(make_image(self.client.types, len(command_id), rgb=rgb))
        wait_until(lambda: self.server.node.report().cameras[0].received > before, "it came")
        half = np.zeros(hw, np.bool_)
        half[: hw[0] // 2] = True
        mask = make(
            "vl2_ros/msg/InstanceMask",
            height=hw[0],
            width=hw[1],
            counts=RunLengths.encode(half).counts,
        )
        message = make(
            "vl2_ros/msg/VisionCommand",
            id=command_id,
            text="find it",
            images=[make_image(self.client.types, rgb=rgb.copy()) for _ in range(IMAGES)],
            visual_prompts=[
                make("vl2_ros/msg/VisualPrompt", kind=4, mask=mask, image=one % (IMAGES + 1))
                for one in range(prompts)
            ],
        )
        self._commands.publish(message)
        (result,) = self.results.wait_for(command_id)
        assert result.status == 0, result.message
        return result


def main() -> None:
    node = Node()
    node.ask("warm", (64, 64), 3)
    growth = measure_growth(lambda: node.ask("measured", HW, MAX_VISUAL_PROMPTS))
    assert len(node.perceiver.masks) == MAX_VISUAL_PROMPTS
    pixels = (IMAGES + 1) * HW[0] * HW[1]
    sys.stdout.write(json.dumps({"growth": growth, "pixels": pixels}))
    node.server.stop()


if __name__ == "__main__":
    main()
