"""A view beside a node that names its cameras and answers nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.node.wire import Inbox, wait_until
from vl2_ros.clients.client import COMMAND_TYPE, PerceptionClient
from vl2_ros.clients.live_view import DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, LiveView
from vl2_ros.node.request import Mode
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport
from vl2_ros.views.live.audience import Audience
from vl2_ros.views.live.page_commands import PageCommand, PageMode


class Looker:
    """Always looks."""

    wants_frame = True

    def show(self, *_: Any) -> None:
        """Show nothing."""


class Robot:
    """A node that only names its cameras, and a camera driver with four topics."""

    def __init__(self, bus: MemoryBus, stack: ExitStack) -> None:
        self.bus = bus
        self._stack = stack
        self._transport = stack.enter_context(closing(MemoryTransport(bus, "vl2")))
        self._diagnostics = self._transport.advertise(DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, Qos())
        self.commands = Inbox(self._transport, "~/vision_command", COMMAND_TYPE, Qos(depth=1000))
        self._topics = {
            name: self._transport.advertise(name, "sensor_msgs/msg/Image", Qos())
            for name in ("/a/image_raw", "/b/image_raw", "/a/depth", "/image")
        }

    def open_view(self, camera: str) -> LiveView:
        transport = self._stack.enter_context(closing(MemoryTransport(self.bus, "vl2_view")))
        view = LiveView(
            PerceptionClient(transport), transport, Audience(), [Looker()], camera=camera
        )
        self._stack.callback(view.close)
        return view

    def name_cameras(self, topics: Mapping[str, str]) -> None:
        make = self._transport.types.make
        status = [
            make(
                "diagnostic_msgs/msg/DiagnosticStatus",
                name=f"vl2: camera {name}",
                values=[make("diagnostic_msgs/msg/KeyValue", key="topic", value=topic)],
            )
            for name, topic in topics.items()
        ]
        self._diagnostics.publish(make(DIAGNOSTICS_TYPE, status=status))

    def list_shown(self) -> list[str]:
        return [name for name, one in self._topics.items() if one.count_subscribers()]

    def wait_for_view_of(self, topic: str) -> None:
        wait_until(lambda: self.list_shown() == [topic], f"{topic} alone is shown")

    def list_stopped(self) -> list[str]:
        return [one.id for one in self.commands.list() if one.mode == Mode.STOP]

    def ask(self, view: LiveView) -> str:
        """Return the camera that a command of the view names."""
        self.commands.clear()
        view.handle(PageCommand(PageMode.ASK, "find it"))
        return self.commands.wait()[0].camera


@pytest.fixture
def robot() -> Iterator[Robot]:
    with ExitStack() as stack:
        yield Robot(MemoryBus(), stack)


ALL = {
    "image": "/a/image_raw/compressed",
    "image camera_info": "/b/camera_info",
    "image depth": "/a/depth",
    "second": "/b/image_raw",
}


@pytest.mark.parametrize(
    ("camera", "name", "topic"),
    [
        ("", "image", "/a/image_raw"),
        ("image", "image", "/a/image_raw"),
        ("/a/image_raw", "image", "/a/image_raw"),
        ("a/image_raw", "image", "/a/image_raw"),
        ("second", "second", "/b/image_raw"),
        ("/b/image_raw", "second", "/b/image_raw"),
        # Depth is no camera; what the node does not name is shown all the same.
        ("/a/depth", "/a/depth", "/a/depth"),
    ],
)
def test_a_camera_is_found_by_its_name_or_topic(robot, camera, name, topic):
    view = robot.open_view(camera)
    robot.name_cameras(ALL)
    robot.wait_for_view_of(topic)
    wait_until(lambda: robot.ask(view) == name, f"commands name the camera {name}")


def test_a_name_goes_before_the_topic_of_another_camera(robot):
    view = robot.open_view("/a/image_raw")
    robot.name_cameras({"first": "/a/image_raw", "/a/image_raw": "/b/image_raw"})
    robot.wait_for_view_of("/b/image_raw")
    assert robot.ask(view) == "/a/image_raw"


def test_a_camera_whose_topic_changes_is_followed(robot):
    view = robot.open_view("")
    for topic in ("/a/image_raw", "/b/image_raw", "/image"):
        robot.name_cameras({"image": topic, "second": "/a/depth"})
        robot.wait_for_view_of(topic)
    view.close()
    assert robot.list_shown() == []


def test_a_camera_is_shown_before_the_node_names_it(robot):
    robot.open_view("/b/image_raw")
    robot.wait_for_view_of("/b/image_raw")


def test_a_watch_is_stopped_after_any_number_of_unanswered_questions(robot):
    view = robot.open_view("/a/image_raw")
    view.handle(PageCommand(PageMode.WATCH, "find it"))
    (watch,) = robot.commands.wait()
    for _ in range(150):
        view.handle(PageCommand(PageMode.ASK, "find it"))
    view.close()
    robot.commands.wait(1 + 150 + 1)
    assert robot.list_stopped() == [watch.id]
