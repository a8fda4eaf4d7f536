"""Wrong stamps of a camera stop no answers, and skipped images are counted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.wire import Inbox, make_compressed_image, make_image, stamp_of, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.cameras import camera_input
from vl2_ros.node.cameras.camera_input import CameraInput
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.transport import Qos
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
S = 1_000_000_000
YEAR = 365 * 86_400 * S


class Camera:
    """A CameraInput that is given messages at times that the test names."""

    def __init__(self, monkeypatch) -> None:
        self.now_s = 1000.0
        self.stamps: list[int] = []
        monkeypatch.setattr(camera_input.time, "monotonic", lambda: self.now_s)
        transport = MemoryHarness().open("vl2")
        self._taken = {}
        self._transport = transport
        monkeypatch.setattr(transport, "subscribe", self._subscribe)
        parameters = NodeParameters(image_transport="auto", depth_topics=())
        self.input = CameraInput(
            "image", parameters, transport, lambda image: self.stamps.append(image.stamp_ns)
        )
        self.input.subscribe()
        transport.close()

    def _subscribe(self, topic, type_name, qos, callback):
        self._taken[topic] = callback

    def raw(self, stamp_ns: int) -> None:
        self._taken["/image"](make_image(TYPES, stamp_ns))

    def compressed(self, stamp_ns: int) -> None:
        self._taken["/image/compressed"](make_compressed_image(TYPES, stamp_ns))


@pytest.fixture
def camera(monkeypatch) -> Camera:
    return Camera(monkeypatch)


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def test_one_image_of_the_future_blinds_its_camera_for_a_moment_only(camera):
    camera.raw(1 * S + YEAR)
    # The raw driver is gone, the compressed one continues with the right time.
    for tenth in range(1, 31):
        camera.now_s += 0.1
        camera.compressed(1 * S + tenth * S // 10)
    assert len(camera.stamps) >= 20
    assert camera.stamps[-1] == 4 * S
    assert camera.input.duplicates == 31 - len(camera.stamps)


def test_both_forms_of_one_image_are_kept_once_and_counted(camera):
    for index in range(10):
        camera.now_s += 0.03
        camera.raw(index * S)
        camera.now_s += 0.01
        camera.compressed(index * S)
    assert camera.stamps == [index * S for index in range(10)]
    assert camera.input.duplicates == 10


def test_a_recording_that_begins_again_is_looked_at(camera):
    for _ in range(2):
        for index in range(3):
            camera.now_s += 0.1
            camera.raw(index * S)
            camera.compressed(index * S)
    assert camera.stamps == [0, S, 2 * S] * 2


def test_a_clock_that_steps_back_stops_no_answers(camera):
    camera.compressed(100 * S)
    camera.now_s += 0.1
    camera.compressed(40 * S)
    assert camera.stamps == [100 * S, 40 * S]


def test_stamps_of_zero_are_images_of_their_own(camera):
    for _ in range(3):
        camera.now_s += 0.1
        camera.raw(0)
    assert camera.stamps == [0, 0, 0]


def test_a_watch_goes_on_through_a_loop_of_a_recording_and_a_step_of_the_clock(rig):
    rig.start()
    camera = rig.open_camera()
    rig.command("w", mode=1)
    wait_until(lambda: rig.server.node.list_watches(), "the watch is there")
    stamps = [5 * S, 6 * S, 1 * S, 2 * S, YEAR, 3 * S]
    for index, stamp in enumerate(stamps):
        rig.show(camera, stamp)
        rig.results.wait_for("w", index + 1)
    assert [stamp_of(one) for one in rig.results.wait_for("w")] == stamps


def test_skipped_images_are_in_the_diagnostics(rig):
    rig.start(diagnostics_period_s=0.1)
    inbox = Inbox(rig.client, "/diagnostics", "diagnostic_msgs/msg/DiagnosticArray", Qos())
    camera, twin = rig.open_camera(), rig.open_camera("/image/compressed", compressed=True)
    rig.show(camera, 7)
    twin.publish(make_compressed_image(rig.client.types, 7))

    def count(message) -> str:
        return {one.key: one.value for one in message.status[1].values}["duplicates"]

    inbox.wait(1, lambda message: count(message) == "1")
