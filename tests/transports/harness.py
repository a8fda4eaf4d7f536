"""One harness per transport: opens nodes that see each other and no other processes."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any, Protocol

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import Inbox, make_image, wait_until
from tests.ros.workspace import find_messages
from vl2_ros.node.annotated_output import ANNOTATED, ANNOTATED_COMPRESSED
from vl2_ros.node.messages.result_messages import RESULT, RESULT_TOPICS
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Publisher, Qos, Transport
from vl2_ros.transports.memory import MemoryBus, MemoryTransport


class Harness(Protocol):
    """Opens transports; those of one harness share a network."""

    def open(self, node_name: str, **options: Any) -> Transport:
        """Open one node; options are those of every transport: namespace and remap."""


class MemoryHarness:
    def __init__(self) -> None:
        self.bus = MemoryBus()

    def open(self, node_name: str, **options: Any) -> Transport:
        return MemoryTransport(self.bus, node_name, **options)


class DdsHarness:
    """On the domain that the fixture `dds_domain` has chosen."""

    def open(self, node_name: str, **options: Any) -> Transport:
        from vl2_ros.transports.dds.transport import DdsTransport

        return DdsTransport(node_name, **options)


class RosHarness:
    """rclpy nodes on the domain that the fixture `dds_domain` has chosen."""

    def __init__(self) -> None:
        find_messages()

    def open(self, node_name: str, **options: Any) -> Transport:
        from vl2_ros.transports.ros.transport import open_ros_transport

        return open_ros_transport(node_name, **options)


#: Every transport, and the package without which it is named as not run.
HARNESSES: dict[str, tuple[Callable[[], Harness], str | None]] = {
    "memory": (MemoryHarness, None),
    "dds": (DdsHarness, "cyclonedds"),
    "ros": (RosHarness, "rclpy"),
}


def missing_package(name: str) -> str | None:
    """Return the package that a transport lacks here; None when it can run."""
    package = HARNESSES[name][1]
    return None if package is None or importlib.util.find_spec(package) else package


class Rig:
    """A server with a scripted perceiver on one node, a client on another.

    Attributes:
        harness: opens the nodes.
        perceiver: what answers.
        server: not started before `start`.
        client: the other node.
        results: what the client receives on ~/result.
    """

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.perceiver = ScriptedPerceiver()
        self._opened: list[Transport] = []
        self._servers: list[PerceptionServer] = []
        self._cameras: dict[tuple[str, bool], Publisher] = {}

    def open(self, node_name: str, **options: Any) -> Transport:
        transport = self.harness.open(node_name, **options)
        self._opened.append(transport)
        return transport

    def start(
        self,
        *,
        options: dict[str, Any] | None = None,
        on_failure: Callable[[str], None] = print,
        **parameters: Any,
    ) -> None:
        """Open both nodes, start the server and wait until commands and results are connected."""
        # Old images are no part of most promises; a slow machine must not make them old.
        values: dict[str, Any] = {"max_frame_age_s": 0.0, "command_deadline_s": 60.0} | parameters
        transport = self.open("vl2", **(options or {}))
        self.node_name = transport.resolve("~")
        self.client = self.open("client")
        self.server = PerceptionServer(
            self.perceiver, transport, NodeParameters(**values), on_failure
        )
        self._servers.append(self.server)
        self.results = self.subscribe(RESULT.name)
        self.server.start()
        self._texts = self.advertise("command", "std_msgs/msg/String")
        self._commands = self.advertise("vision_command", "vl2_ros/msg/VisionCommand")
        result_topic = self.name_of(RESULT.name)
        wait_until(lambda: self.client.count_publishers(result_topic) > 0, "results are offered")

    def name_of(self, topic: str) -> str:
        """Return the name of one of the server's private topics as the client sees it."""
        return topic.replace("~", self.node_name, 1)

    def advertise(self, topic: str, type_name: str) -> Publisher:
        """Publish to one of the server's private topics, once it listens."""
        publisher = self.client.advertise(f"{self.node_name}/{topic}", type_name, Qos(depth=100))
        wait_until(lambda: publisher.count_subscribers() > 0, f"{topic} has a subscription")
        return publisher

    def subscribe(self, topic: str, transport: Transport | None = None) -> Inbox:
        """Listen to one of the server's topics as a late joiner would."""
        kinds = {one.name: one for one in (*RESULT_TOPICS, ANNOTATED, ANNOTATED_COMPRESSED)}
        kind = kinds[topic]
        # Deep enough for every burst of a test: what is lost on this side is no fault of the node.
        qos = Qos(transient_local=kind.qos.transient_local, depth=1024)
        return Inbox(transport or self.client, self.name_of(topic), kind.type_name, qos)

    def open_camera(
        self, topic: str = "/image", *, compressed: bool = False, reliable: bool = True
    ) -> Publisher:
        """Publish images from a node of their own, once the server listens."""
        type_name = "sensor_msgs/msg/CompressedImage" if compressed else "sensor_msgs/msg/Image"
        node = self.open(f"camera_{len(self._opened)}")
        camera = node.advertise(topic, type_name, Qos(reliable=reliable, depth=5))
        wait_until(lambda: camera.count_subscribers() > 0, f"the server subscribes to {topic}")
        return camera

    def show(
        self, camera: Publisher, stamp_ns: int, *, message: Any = None, name: str = "image"
    ) -> None:
        """Publish one image and wait until the node has it."""
        before = self.received(name)
        message = message or make_image(self.client.types, stamp_ns, frame_id=f"{name}_link")
        camera.publish(message)
        sent_s = time.monotonic()

        def has_come() -> bool:
            nonlocal sent_s
            # What is sent before the node knows the camera is lost.
            if self.received(name) == before and time.monotonic() - sent_s > 1.0:
                camera.publish(message)
                sent_s = time.monotonic()
            return self.received(name) > before

        wait_until(has_come, f"the image of {name} has come")

    def received(self, name: str = "image") -> int:
        (report,) = [one for one in self.server.node.report().cameras if one.name == name]
        return report.received

    def say(self, text: str) -> None:
        self._texts.publish(self.client.types.make("std_msgs/msg/String", data=text))

    def command(self, command_id: str, text: str = "find it", **fields: Any) -> None:
        self._commands.publish(
            self.client.types.make("vl2_ros/msg/VisionCommand", id=command_id, text=text, **fields)
        )

    def ask(self, command_id: str, text: str = "find it", **fields: Any) -> Any:
        """Send a command, also of an id that has had results, and return its next result."""
        # Counted first: the result may be there before the command has returned.
        before = len(self.results.wait_for(command_id, 0))
        self.command(command_id, text, **fields)
        return self.results.wait_for(command_id, before + 1)[-1]

    def stop_command(self, command_id: str = "") -> None:
        self.command(command_id, "", mode=2)

    def close(self) -> None:
        self.perceiver.may_answer.set()
        for server in self._servers:
            server.stop()
        for transport in self._opened:
            transport.close()
