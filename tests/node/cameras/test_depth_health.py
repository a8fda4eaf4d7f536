"""Depth and calibration that are of no use show in diagnostics, log and result, and when over."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from tests.node.simulated_rig import S, SimulatedRig
from tests.node.wire import Inbox, make_camera_info, make_depth, make_image, wait_until
from vl2_ros.errors import InputError
from vl2_ros.node.cameras.depth_image import read_depth
from vl2_ros.node.cameras.depth_input import COMPRESSED_DEPTH_TYPE, DEPTH_TYPE
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Publisher, Qos
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
TIMEOUT_S = 3.0


class DepthRig(SimulatedRig):
    """Image, camera_info and depth of one camera, and what the node reports of each."""

    def __init__(self) -> None:
        super().__init__(100 * S)

    def start(self, **parameters: Any) -> None:
        super().start(diagnostics_period_s=0.1, camera_timeout_s=TIMEOUT_S, **parameters)
        self._node = self.open("sensors")
        kind = "diagnostic_msgs/msg/DiagnosticArray"
        self._diagnostics = Inbox(self.client, "/diagnostics", kind, Qos(depth=100))
        self._camera = self.open_camera()

    def advertise_info(self) -> Publisher:
        return self._node.advertise("/camera_info", "sensor_msgs/msg/CameraInfo", Qos())

    def advertise_depth(self, topic: str = "/depth", type_name: str = DEPTH_TYPE) -> Publisher:
        return self._node.advertise(topic, type_name, Qos())

    def ask_about_an_image(self, command_id: str) -> Any:
        """Show an image of now, and ask about it."""
        self.show(self._camera, self.now_ns)
        self.command(command_id)
        return self.results.wait_for(command_id)[0]

    def read(self, name: str, is_there: Callable[[Any], bool] = lambda status: True) -> Any:
        """Return a status of the camera, from now on, once it is as it should be."""
        self._diagnostics.clear()

        def find(array: Any) -> Any:
            (status,) = [one for one in array.status if one.name == f"vl2: {name}"]
            return status

        array = self._diagnostics.wait(1, lambda array: is_there(find(array)))[0]
        return find(array)


@pytest.fixture
def rig() -> Iterator[DepthRig]:
    rig = DepthRig()
    yield rig
    rig.close()


def received(status: Any) -> int:
    return int({one.key: one.value for one in status.values}["received"])


def say(depth: Publisher, stamp_ns: int, hw: tuple[int, int] = (16, 24)) -> None:
    depth.publish(make_depth(TYPES, stamp_ns, np.full(hw, 2.0, np.float32)))


def lines_of(caplog, name: str) -> list[str]:
    return [one for one in caplog.messages if one.startswith(f"{name}:")]


def test_healthy_depth_has_a_line_with_its_rate(rig):
    rig.start()
    info, depth = rig.advertise_info(), rig.advertise_depth()
    for count in range(1, 4):
        rig.go_on(0.5)
        info.publish(make_camera_info(TYPES))
        say(depth, rig.now_ns)
        rig.read("camera image depth", lambda one, count=count: received(one) == count)
    assert rig.ask_about_an_image("a").message == ""
    for name, topic in (("camera_info", "/camera_info"), ("depth", "/depth")):
        status = rig.read(f"camera image {name}", lambda one: one.message != "0.0 Hz")
        assert (status.level, status.message) == (0, "2.0 Hz")
        values = {one.key: one.value for one in status.values}
        assert (values["topic"], values["received"], values["publishers"]) == (topic, "3", "1")
        assert float(values["last_age_s"]) == 0.0


def test_misspelt_depth_topic_is_a_warning_and_in_the_result(rig, caplog):
    with caplog.at_level(logging.INFO):
        rig.start(depth_topics=("dpeth",))
        info = rig.advertise_info()
        info.publish(make_camera_info(TYPES))
        result = rig.ask_about_an_image("a")
        assert result.status == Status.OK
        assert "nothing is placed in space: camera image: no depth image came on /dpeth" in (
            result.message
        )
        rig.go_on(TIMEOUT_S)
        status = rig.read("camera image depth", lambda one: one.level == 1)
        expected = "no depth ever came on /dpeth or /dpeth/compressedDepth: nothing publishes there"
        assert expected in status.message
        rig.read("camera image depth")
        depth = rig.advertise_depth("/dpeth")
        say(depth, rig.now_ns)
        wait_until(lambda: len(lines_of(caplog, "camera image depth")) == 2, "it is over")
        info.publish(make_camera_info(TYPES))
        assert rig.ask_about_an_image("b").message == ""
    begin, end = lines_of(caplog, "camera image depth")
    assert "no depth ever came on /dpeth" in begin and "can be used again" in end


def test_remapped_depth_topic_is_expected(rig):
    rig.start(options={"remap": {"depth": "/dpeth"}})
    assert rig.read("camera image depth").level == 0
    rig.go_on(TIMEOUT_S)
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert "no depth ever came on /dpeth" in status.message


def test_camera_without_depth_is_no_fault_where_none_was_named(rig, caplog):
    rig.start()
    assert rig.ask_about_an_image("a").message == ""
    rig.go_on(TIMEOUT_S)
    for name in ("camera_info", "depth"):
        status = rig.read(f"camera image {name}")
        assert (status.level, status.message) == (0, f"none came on /{name}")
    assert not [one for one in caplog.messages if "depth" in one]


def test_a_publisher_makes_depth_expected(rig):
    rig.start()
    rig.advertise_depth()
    rig.go_on(TIMEOUT_S)
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert "although 1 publish there; check that it sends and that its type is" in status.message
    assert "no depth image came on /depth" in rig.ask_about_an_image("a").message


@pytest.mark.parametrize("name", ["camera_info", "depth"])
def test_what_falls_silent_is_stale(rig, name, caplog):
    rig.start()
    info, depth = rig.advertise_info(), rig.advertise_depth()

    def send(skipped: str = "") -> None:
        if skipped != "camera_info":
            info.publish(make_camera_info(TYPES))
        if skipped != "depth":
            say(depth, rig.now_ns)

    send()
    assert rig.ask_about_an_image("a").message == ""
    rig.go_on(TIMEOUT_S + 0.5)
    send(skipped=name)
    status = rig.read(f"camera image {name}", lambda one: one.level == 3)
    where = "/depth or /depth/compressedDepth" if name == "depth" else "/camera_info"
    assert f"no {name} came on {where} for 3.5 s" in status.message
    message = rig.ask_about_an_image("b").message
    # The last calibration is good for every image.
    assert ("the nearest is 3.500 s older" in message) is (name == "depth")
    (line,) = lines_of(caplog, f"camera image {name}")
    assert "for 3.5 s" in line


def test_compressed_depth_that_is_named_is_expected(rig):
    rig.start(depth_topics=("dpeth/compressedDepth",))
    rig.go_on(TIMEOUT_S)
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert "no depth ever came on /dpeth/compressedDepth: nothing publishes" in status.message


def test_compressed_depth_that_is_offered_and_silent_is_a_warning(rig):
    rig.start()
    rig.advertise_depth("/depth/compressedDepth", COMPRESSED_DEPTH_TYPE)
    rig.go_on(TIMEOUT_S)
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert "although 1 publish there" in status.message
    assert "no depth image came on /depth or" in rig.ask_about_an_image("a").message


def test_missing_calibration_is_a_warning_and_in_the_result(rig):
    rig.start()
    say(rig.advertise_depth(), rig.now_ns)
    result = rig.ask_about_an_image("a")
    assert "no camera_info came on /camera_info" in result.message
    assert "no depth image" not in result.message
    rig.go_on(TIMEOUT_S)
    status = rig.read("camera image camera_info", lambda one: one.level == 1)
    assert "no camera_info ever came on /camera_info" in status.message


def test_calibration_of_another_size_is_a_warning_before_any_command(rig):
    rig.start()
    rig.advertise_info().publish(make_camera_info(TYPES, width=640, height=480))
    say(rig.advertise_depth(), rig.now_ns)
    rig.show(rig._camera, rig.now_ns)
    status = rig.read("camera image camera_info", lambda one: one.level == 1)
    assert "for 640x480 pixels, the image has 24x16" in status.message
    assert rig.read("camera image depth").level == 0


def test_depth_of_another_shape_is_refused_and_a_warning(rig):
    rig.start()
    rig.advertise_info().publish(make_camera_info(TYPES))
    say(rig.advertise_depth(), rig.now_ns, hw=(16, 30))
    result = rig.ask_about_an_image("a")
    expected = "has 30x16 pixels, which is no even scale of the image's 24x16"
    assert result.status == Status.OK and expected in result.message
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert expected in status.message


@pytest.mark.parametrize(
    ("hw", "frame_hw", "fits"),
    [
        ((240, 320), (480, 640), True),
        ((960, 1280), (480, 640), True),
        ((160, 213), (480, 640), True),
        ((480, 848), (480, 640), False),
        ((480, 848), (720, 1280), False),
        ((640, 480), (480, 640), False),
    ],
)
def test_depth_may_be_an_even_scale_of_its_image(hw, frame_hw, fits):
    message = make_depth(TYPES, 1, np.ones(hw, np.uint16))
    if fits:
        assert read_depth(message, frame_hw).values.shape == hw
    else:
        with pytest.raises(InputError, match="not registered"):
            read_depth(message, frame_hw)


def test_compressed_depth_of_another_shape_is_refused():
    height, width = 4, 6
    data = np.concatenate(
        [np.zeros(12, np.uint8), cv2.imencode(".png", np.ones((height, width), np.uint16))[1]],
        axis=None,
    )
    message = TYPES.make(
        "sensor_msgs/msg/CompressedImage", format="16UC1; compressedDepth png", data=data
    )
    assert read_depth(message, (8, 12)).values.shape == (height, width)
    with pytest.raises(InputError, match="not registered"):
        read_depth(message, (12, 12))


def test_depth_out_of_tolerance_is_a_warning(rig):
    rig.start()
    info, depth = rig.advertise_info(), rig.advertise_depth()
    info.publish(make_camera_info(TYPES))
    say(depth, rig.now_ns)
    assert rig.ask_about_an_image("a").message == ""
    for _ in range(8):
        rig.go_on(0.5)
        info.publish(make_camera_info(TYPES))
        say(depth, rig.now_ns + S // 5)
        rig.show(rig._camera, rig.now_ns)
    status = rig.read("camera image depth", lambda one: one.level == 1)
    assert "within depth_tolerance_s of 0.05 s of its image, the nearest is 0.200 s newer" in (
        status.message
    )


def test_answer_in_words_needs_no_place(rig):
    rig.start(depth_topics=("dpeth",))
    rig.show(rig._camera, rig.now_ns)
    rig.command("a", "how many are there?")
    assert rig.results.wait_for("a")[0].message == ""


def test_image_without_a_pixel_is_no_size(rig):
    rig.start()
    empty = {"height": 0, "width": 0, "step": 0, "data": np.zeros(0, np.uint8)}
    rig.show(rig._camera, 1, message=make_image(TYPES, 1, **empty))
    say(rig.advertise_depth(), rig.now_ns)
    assert rig.read("camera image depth", lambda one: one.message != "none").level == 0


def test_another_type_under_the_default_name_is_no_depth(rig):
    """As a sonar that publishes metres on /depth."""
    rig.start()
    rig.advertise_depth(type_name="std_msgs/msg/String")
    rig.go_on(TIMEOUT_S)
    rig.read("camera image depth")
    assert rig.ask_about_an_image("one").message == ""
    assert rig.read("camera image depth").level == 0
