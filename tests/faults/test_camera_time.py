"""Wrong stamps of a camera stop no answers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.node.wire import make_compressed_image, make_image, stamp_of, wait_until
from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, CameraInput
from vl2_ros.node.cameras.camera_topic import SETTLE_S
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.transport import Qos
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
S = 1_000_000_000
YEAR = 365 * 86_400 * S


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


def test_after_an_image_of_the_future_those_of_another_driver_are_taken(rig):
    stamps: list[int] = []
    camera = CameraInput(
        "image",
        NodeParameters(depth_topics=()),
        rig.open("vl2"),
        lambda image: stamps.append(image.stamp_ns),
    )
    camera.subscribe()
    raw = rig.open("raw")
    raw.advertise("/image", IMAGE_TYPE, Qos()).publish(make_image(TYPES, 1 * S + YEAR))
    wait_until(lambda: stamps == [1 * S + YEAR], "the image has come")
    raw.close()
    compressed = rig.open("other").advertise("/image/compressed", COMPRESSED_IMAGE_TYPE, Qos())
    camera.update(0.0)
    camera.update(SETTLE_S)
    for tenth in range(10):
        compressed.publish(make_compressed_image(TYPES, tenth * S // 10))
        wait_until(lambda count=tenth + 2: len(stamps) == count, "the image has come")
    assert stamps[1:] == [tenth * S // 10 for tenth in range(10)]


@pytest.mark.parametrize(
    "stamps",
    [
        [5 * S, 6 * S, 1 * S, 2 * S, YEAR, 3 * S],
        [0, 0, 0],
    ],
)
def test_a_watch_goes_on_through_a_loop_of_a_recording_and_a_step_of_the_clock(rig, stamps):
    rig.start()
    camera = rig.open_camera()
    rig.command("w", mode=1)
    wait_until(lambda: rig.server.node.list_watches(), "the watch is there")
    for index, stamp in enumerate(stamps):
        rig.show(camera, stamp)
        rig.results.wait_for("w", index + 1)
    assert [stamp_of(one) for one in rig.results.wait_for("w")] == stamps
