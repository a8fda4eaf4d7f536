"""Results in the target frame: bounded waits, faults that are said once, and what they leave."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

from tests.node.frames.moving_camera import BASE_FROM_CAMERA, MS, MovingCamera, position_of
from tests.node.wire import PATIENCE_S, Inbox, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.frames.frame_lookup import MissingTransformError
from vl2_ros.node.frames.target_frame import TargetFrame
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos
from vl2_ros.processing.results.camera_model import CameraModel
from vl2_ros.processing.results.rigid_transform import RigidTransform
from vl2_ros.processing.results.spatial import DepthImage, SpatialView

VIEW = SpatialView(
    CameraModel(np.array([[10.0, 0, 5.5], [0, 10, 4.5], [0, 0, 1]]), np.zeros(0), (10, 12)),
    DepthImage(np.full((10, 12), 2.0, np.float32), 1.0),
)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


class ScriptedLookup:
    """Raises `fault` until it is None; counts the looks."""

    def __init__(self) -> None:
        self.fault: MissingTransformError | None = None
        self.looks = 0
        self.is_closed = False

    def find(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        self.looks += 1
        self.source = source
        if self.fault is not None:
            raise self.fault
        return BASE_FROM_CAMERA

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def lookup() -> ScriptedLookup:
    return ScriptedLookup()


@pytest.fixture
def frame(lookup) -> TargetFrame:
    frame = TargetFrame("base", None, lambda transport: lookup)
    frame.open()
    return frame


def place(frame: TargetFrame, timeout_s: float = 0.0, *, source: str = "camera", **more):
    options = {"stamp_ns": 1 * MS, "is_stopped": lambda: False} | more
    return frame.place(VIEW, source, options["stamp_ns"], timeout_s, options["is_stopped"])


def test_a_view_is_moved(frame):
    view, fault = place(frame)
    assert (view.frame_id, view.transform, fault) == ("base", BASE_FROM_CAMERA, "")


def test_a_transform_that_is_late_is_waited_for(frame, lookup):
    lookup.fault = MissingTransformError("late", late_s=0.01)
    timer = threading.Timer(0.1, lambda: setattr(lookup, "fault", None))
    timer.start()
    view, fault = place(frame, PATIENCE_S)
    timer.join()
    assert (view.frame_id, fault) == ("base", "")
    assert frame.report() == {"camera": ""}


def test_a_stop_ends_the_wait_and_time_does(frame, lookup):
    lookup.fault = MissingTransformError("late", late_s=0.01)
    began_s = time.monotonic()
    is_stopped = threading.Event()
    threading.Timer(0.1, is_stopped.set).start()
    view, fault = place(frame, PATIENCE_S, is_stopped=is_stopped.is_set)
    assert time.monotonic() - began_s < PATIENCE_S / 2
    assert view is VIEW
    assert fault == "3-D results are in 'camera', not in target_frame 'base': late"
    lookup.looks = 0
    place(frame, 0.05)
    assert lookup.looks > 3


def test_a_frame_that_is_missing_is_waited_for_once(frame, lookup):
    lookup.fault = MissingTransformError("unknown")
    place(frame, 0.02)
    waited = lookup.looks
    assert waited > 1
    place(frame, PATIENCE_S)
    assert lookup.looks == waited + 1
    lookup.fault = None
    assert place(frame)[1] == ""


def test_transforms_that_ended_are_waited_for_once(frame, lookup):
    """Localisation has died: not each image waits for what is minutes old."""
    lookup.fault = MissingTransformError("300 s older", late_s=300.0)
    place(frame, 0.02)
    waited = lookup.looks
    place(frame, PATIENCE_S)
    assert lookup.looks == waited + 1


def test_a_wait_that_was_stopped_shows_nothing(frame, lookup, caplog):
    lookup.fault = MissingTransformError("late", late_s=0.01)
    place(frame, PATIENCE_S, is_stopped=lambda: True)
    assert frame.report() == {} and caplog.messages == []


def test_what_is_missing_is_logged_once_and_once_when_it_is_back(frame, lookup, caplog):
    lookup.fault = MissingTransformError("no transform of frame 'base'")
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            place(frame)
        assert len(caplog.messages) == 1
        lookup.fault = None
        for _ in range(3):
            place(frame)
    (missing, found) = caplog.messages
    assert "stay in frame camera" in missing and "no transform of frame 'base'" in missing
    assert "frame camera are in target_frame base again" in found


def test_a_transform_that_comes_and_goes_does_not_flood_the_log(frame, lookup, caplog):
    with caplog.at_level(logging.INFO):
        for _ in range(50):
            for lookup.fault in (MissingTransformError("late", late_s=0.01), None):
                place(frame)
    assert len(caplog.messages) == 2


def test_frames_that_are_remembered_are_bounded(frame):
    for index in range(1000):
        place(frame, source=f"camera_{index}")
    assert len(frame.report()) == 64


@pytest.mark.parametrize(
    ("options", "expected"),
    [({"source": ""}, "has no frame_id"), ({"stamp_ns": 0}, "has no stamp")],
)
def test_an_image_without_stamp_or_frame_cannot_be_moved(frame, lookup, options, expected):
    view, fault = place(frame, PATIENCE_S, **options)
    assert view is VIEW and expected in fault
    assert lookup.looks == 0


def test_a_slash_before_the_optical_frame_is_dropped(frame, lookup):
    assert place(frame, source="/camera")[1] == ""
    assert lookup.source == "camera"


@pytest.mark.parametrize("source", ["base", "/base"])
def test_an_image_of_the_target_frame_needs_no_transform(frame, lookup, source):
    view, fault = place(frame, source=source)
    assert (view.frame_id, fault, lookup.looks) == ("base", "", 0)
    np.testing.assert_array_equal(view.place(np.ones((1, 3))), np.ones((1, 3)))


def test_an_empty_name_opens_nothing():
    frame = TargetFrame("", None, lambda transport: pytest.fail("opened"))
    frame.open()
    assert place(frame) == (VIEW, "")
    frame.close()


def test_the_node_listens_to_transforms_only_for_a_target_frame_and_until_it_stops(rig):
    rig.start()
    topics = {one.topic for one in rig.harness.bus._subscriptions}
    assert not topics & {"/tf", "/tf_static"}
    rig.server.stop()
    other = Rig(rig.harness)
    other.start(target_frame="base_link", options={"namespace": "robot"})
    topics = {one.topic for one in rig.harness.bus._subscriptions}
    assert {"/tf", "/tf_static"} <= topics
    other.server.stop()
    assert not {one.topic for one in rig.harness.bus._subscriptions} & {"/tf", "/tf_static"}
    other.close()


def test_a_transform_that_comes_after_the_image_is_used(rig):
    rig.start(target_frame="base_link", transform_timeout_s=10.0)
    camera, places = MovingCamera(rig), rig.subscribe("~/detections_3d")
    camera.send(90 * MS)
    camera.show(100 * MS)
    rig.command("a")
    wait_until(lambda: bool(rig.perceiver.seen), "it runs")
    assert not rig.results.list()
    camera.send(110 * MS)
    (result,) = rig.results.wait_for("a")
    assert (result.status, result.message) == (Status.OK, "")
    (array,) = places.wait()
    assert array.header.frame_id == "base_link"


@pytest.mark.parametrize("text", ["find it", "hello"])
def test_a_cancel_during_the_wait_is_answered_at_once(rig, text):
    rig.start(target_frame="base_link", transform_timeout_s=10.0)
    camera = MovingCamera(rig)
    camera.send(90 * MS)
    camera.show(100 * MS)
    rig.command("a", text)
    wait_until(lambda: bool(rig.perceiver.seen), "it runs")
    if text == "hello":
        # A text has nothing in space: there is no wait at all.
        (result,) = rig.results.wait_for("a")
        assert (result.status, result.message) == (Status.OK, "")
        return
    began_s = time.monotonic()
    rig.stop_command("a")
    (result,) = rig.results.wait_for("a")
    assert result.status == Status.CANCELED
    assert time.monotonic() - began_s < 5.0


def test_diagnostics_say_what_is_missing(rig):
    rig.start(target_frame="base_link", transform_timeout_s=0.0, diagnostics_period_s=0.1)
    inbox = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())
    camera = MovingCamera(rig)

    def wait_for(level: int) -> str:
        def find(message):
            return [one for one in message.status if one.name == "vl2: target_frame"]

        inbox.clear()
        message = inbox.wait(1, lambda one: [status.level for status in find(one)] == [level])[-1]
        return find(message)[0].message

    camera.show(1 * MS)
    rig.command("a")
    rig.results.wait_for("a")
    assert "image_link: no transform of frame 'base_link' has come" in wait_for(1)
    camera.send(2 * MS)
    camera.show(2 * MS)
    rig.command("b")
    rig.results.wait_for("b")
    assert wait_for(0) == "3-D results are in the target frame"


def test_a_damaged_transform_is_skipped_and_the_next_one_counts(rig, caplog):
    rig.start(target_frame="base_link")
    camera, places = MovingCamera(rig), rig.subscribe("~/detections_3d")
    camera.send(1 * MS, RigidTransform(np.eye(3), np.array([np.nan, 0, 0])))
    camera.send(1 * MS)
    camera.show(1 * MS)
    rig.command("a")
    rig.results.wait_for("a")
    (array,) = places.wait()
    np.testing.assert_allclose(
        position_of(array.detections[0].bbox.center), BASE_FROM_CAMERA.apply([-0.85, -0.45, 2.0])
    )
    assert [one for one in caplog.messages if "skipped a transform" in one and "is no pose" in one]
