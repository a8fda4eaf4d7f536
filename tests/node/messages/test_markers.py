"""What a viewer shows after each message: the markers of the last answer, and of live watches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.node.messages.test_result_messages import FRAME, MODEL, make_answer
from tests.node.scripted_perceiver import make_detections
from tests.node.wire import make_camera_info, make_depth, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.messages.result_messages import MARKERS, ResultMessages
from vl2_ros.node.request import Answer, Mode, Status
from vl2_ros.node.transport import Qos
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.spatial import DepthImage, SpatialView
from vl2_ros.structures import Detections, Route
from vl2_ros.transports.message_types import StoreMessageTypes

MS = 1_000_000
SPACE = SpatialView(
    CameraModel(np.array([[10.0, 0, 5.5], [0, 10, 4.5], [0, 0, 1]]), np.zeros(0), (10, 12)),
    DepthImage(np.full((10, 12), 2.0, np.float32), 1.0),
)


class Viewer:
    """Keeps markers as rviz2 and Foxglove do: by namespace and id, until they are deleted."""

    def __init__(self) -> None:
        self.shown: dict[tuple[str, int], Any] = {}

    def take(self, array: Any) -> None:
        for one in array.markers:
            if one.action == 3:
                kept = {key: marker for key, marker in self.shown.items() if key[0] != one.ns}
                self.shown = kept if one.ns else {}
            elif one.action == 2:
                self.shown.pop((one.ns, one.id), None)
            else:
                self.shown[one.ns, one.id] = one

    @property
    def cubes(self) -> list[str]:
        """The namespace of each cube."""
        return sorted(ns for (ns, _), marker in self.shown.items() if marker.type == 1)


@pytest.fixture
def messages() -> ResultMessages:
    return ResultMessages(StoreMessageTypes(), lambda: MODEL)


def show(messages: ResultMessages, viewer: Viewer, answer: Answer) -> int:
    """Hand the markers of an answer to a viewer; returns how many messages there were."""
    arrays = messages.make_messages(MARKERS, messages.open_parts(answer))
    for array in arrays:
        viewer.take(array)
    return len(arrays)


def make_ask(request_id: str, *routes: Route, **changes: Any) -> Answer:
    return make_answer(*routes, request_id=request_id, **({"space": SPACE} | changes))


def make_watch(request_id: str, **changes: Any) -> Answer:
    return make_ask(request_id, Route.DETECT, is_final=False, **changes)


def test_the_next_ask_replaces_the_markers_of_the_one_before(messages):
    viewer = Viewer()
    show(messages, viewer, make_ask("one", Route.DETECT))
    assert viewer.cubes == ["ask", "ask"]
    found = Detections(
        np.array([[1, 1, 6, 6]], np.float32), np.array([0.9], np.float32), np.array([0]), ("mug",)
    )
    show(messages, viewer, make_ask("two", Route.DETECT, found=found))
    assert viewer.cubes == ["ask"]


@pytest.mark.parametrize(
    "changes",
    [
        {"found": Detections.empty()},
        {"space": None},
        {"routes": (Route.ANSWER,)},
        {"routes": (Route.GENERATE,)},
    ],
)
def test_an_answer_without_places_clears_those_before_once(messages, changes):
    routes = changes.pop("routes", (Route.DETECT,))
    branches = () if routes == (Route.ANSWER,) else routes
    viewer = Viewer()
    show(messages, viewer, make_ask("one", Route.DETECT))
    answer = make_ask("two", *branches, **({"space": None} | changes))
    assert show(messages, viewer, answer) == 1
    assert viewer.cubes == []
    if answer.space is None:
        assert show(messages, viewer, answer) == 0


def test_an_ask_that_is_not_answered_leaves_the_last_answer(messages):
    viewer = Viewer()
    show(messages, viewer, make_ask("one", Route.DETECT))
    for status in (Status.BUSY, Status.INVALID, Status.EXPIRED, Status.FAILED, Status.CANCELED):
        assert show(messages, viewer, make_ask("two", status=status, result=None)) == 0
    assert viewer.cubes == ["ask", "ask"]


def test_watches_and_asks_do_not_touch_each_other(messages):
    viewer = Viewer()
    show(messages, viewer, make_watch("ask"))
    show(messages, viewer, make_ask("w", Route.DETECT))
    show(messages, viewer, make_watch("w"))
    assert viewer.cubes == ["ask", "ask", "watch/ask", "watch/ask", "watch/w", "watch/w"]
    show(messages, viewer, make_watch("w", status=Status.FAILED, result=None))
    assert viewer.cubes == ["ask", "ask", "watch/ask", "watch/ask"]
    ended = make_ask("ask", status=Status.ENDED, result=None, space=None, frame=None)
    assert show(messages, viewer, ended) == 1
    assert viewer.cubes == ["ask", "ask"]
    assert show(messages, viewer, ended) == 0


def test_without_places_no_marker_is_ever_sent(messages):
    viewer = Viewer()
    answers = (
        make_ask("a", Route.DETECT, space=None),
        make_watch("w", space=None),
        make_ask("w", status=Status.ENDED, result=None, space=None),
    )
    assert [show(messages, viewer, one) for one in answers] == [0, 0, 0]


def test_a_watch_that_ends_unseen_is_forgotten(messages):
    viewer = Viewer()
    show(messages, viewer, make_watch("w"))
    ended = make_ask("w", status=Status.ENDED, result=None, space=None)
    messages.skip(MARKERS, ended)
    assert show(messages, viewer, ended) == 0


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def start(rig: Rig, **parameters: Any) -> tuple[Any, Any]:
    """Start a node with depth; returns the camera and the inbox of markers."""
    rig.start(**parameters)
    node = rig.open("depth_camera")
    infos = node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())
    depths = node.advertise("/depth", "sensor_msgs/msg/Image", Qos())
    wait_until(lambda: infos.count_subscribers() and depths.count_subscribers(), "depth is read")
    infos.publish(make_camera_info(node.types))
    depths.publish(make_depth(node.types, 1 * MS, np.full((16, 24), 2.0, np.float32)))
    return rig.open_camera(), rig.subscribe("~/markers")


def test_cube_and_name_of_each_instance_stay_until_they_are_cleared(rig):
    camera, inbox = start(rig)
    rig.show(camera, 1 * MS)
    rig.command("a")
    (array,) = inbox.wait()
    clear, cube, name, *_ = array.markers
    assert (clear.action, clear.ns, cube.type, name.type, len(array.markers)) == (3, "ask", 1, 9, 5)
    assert (cube.ns, name.text, cube.lifetime.sec, cube.lifetime.nanosec) == (
        "ask",
        "mug 0.90",
        0,
        0,
    )
    assert (cube.pose.position.z, cube.pose.orientation.w) == (2.0, 1.0)
    np.testing.assert_allclose((cube.scale.x, cube.scale.y), (0.5, 0.5))
    assert len({one.id for one in array.markers[1:]}) == 4


def test_lifetime_is_a_parameter_that_changes_live(rig):
    camera, inbox = start(rig, marker_lifetime_s=1.25)
    rig.show(camera, 1 * MS)
    rig.command("a")
    lifetime = inbox.wait()[0].markers[1].lifetime
    assert (lifetime.sec, lifetime.nanosec) == (1, 250_000_000)
    changed = type(rig.server.node.parameters)(
        max_frame_age_s=0.0, command_deadline_s=60.0, marker_lifetime_s=7.0
    )
    rig.server.node.change_parameters(changed)
    rig.command("w", mode=int(Mode.WATCH))
    assert [one.lifetime.sec for one in inbox.wait(2)[1].markers[1:]] == [7, 7, 7, 7]


@pytest.mark.parametrize("way", ["stop", "duration", "node"])
def test_markers_of_a_watch_go_when_it_ends(rig, way):
    camera, inbox = start(rig)
    rig.show(camera, 1 * MS)
    duration_s = 0.3 if way == "duration" else 0.0
    rig.command("w", mode=int(Mode.WATCH), duration_s=duration_s)
    inbox.wait()
    if way == "stop":
        rig.stop_command("w")
    if way == "node":
        rig.server.stop()
    viewer = Viewer()
    for array in inbox.wait(2):
        viewer.take(array)
    assert viewer.shown == {}
    assert rig.results.wait_for("w", 2)[-1].status == Status.ENDED


def track(*track_ids: int) -> Answer:
    found = replace(make_detections(FRAME), track_ids=np.array(track_ids))
    return make_watch("w", found=found)


def test_a_track_keeps_its_markers_and_its_colour(messages):
    viewer = Viewer()
    show(messages, viewer, track(3, 8))
    before = viewer.shown
    assert sorted(one.text for one in before.values() if one.type == 9) == [
        "bowl #8 0.50",
        "mug #3 0.90",
    ]
    show(messages, viewer, track(8, 3))
    assert viewer.shown.keys() == before.keys()
    for key, marker in viewer.shown.items():
        assert marker.color == before[key].color
    assert len({(one.color.r, one.color.g) for one in before.values()}) == 2


def test_markers_with_and_without_a_track_have_ids_of_their_own(messages):
    viewer = Viewer()
    show(messages, viewer, track(1, 0))
    assert len(viewer.shown) == 4
    assert sorted(one.text for one in viewer.shown.values() if one.type == 9) == [
        "bowl 0.50",
        "mug #1 0.90",
    ]
