"""A view's camera keeps the images that questions may be about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.node.wire import make_image, wait_until
from vl2_ros.clients.live_camera import LiveCamera
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport


@pytest.fixture
def filmed() -> Iterator[tuple[LiveCamera, Callable[[int], None]]]:
    """An open camera, and what shows it an image of a stamp."""
    with closing(MemoryTransport(MemoryBus())) as transport:
        publisher = transport.advertise("/eye", "sensor_msgs/msg/Image", Qos())
        camera = LiveCamera("eye", "/eye", transport, "raw", lambda: None)
        camera.open()

        def show(stamp_ns: int) -> None:
            publisher.publish(make_image(transport.types, stamp_ns))
            wait_until(lambda: camera.find_arrival(stamp_ns), f"image {stamp_ns} has come")

        yield camera, show
        camera.close()


def is_released(camera: LiveCamera, stamp_ns: int) -> bool:
    image = camera.release(stamp_ns)
    assert image is None or image.stamp_ns == stamp_ns
    return image is not None


def test_the_newest_image_and_the_next_few_are_held(filmed):
    camera, show = filmed
    for number, is_held in ((1, False), (2, True), (6, True), (15, False)):
        base = 100 * number
        show(base + 1)
        show(base + 2)
        camera.hold()
        for later in range(3, 16):
            show(base + later)
        assert is_released(camera, base + number) == is_held


def test_two_questions_leave_each_other_their_images(filmed):
    camera, show = filmed
    show(1)
    camera.hold()
    show(2)
    camera.hold()
    show(3)
    assert is_released(camera, 1)
    assert is_released(camera, 2)
    show(4)
    camera.hold()
    assert not is_released(camera, 3)


def test_a_question_that_waits_behind_a_long_one_gets_its_image(filmed):
    camera, show = filmed
    show(1)
    camera.hold()
    camera.hold()
    for stamp_ns in range(2, 31):
        show(stamp_ns)
    assert is_released(camera, 1)
    show(31)
    assert is_released(camera, 31)


def test_many_questions_hold_a_bounded_number_of_images(filmed):
    camera, show = filmed
    for stamp_ns in range(1, 61):
        show(stamp_ns)
        camera.hold()
    assert not is_released(camera, 20)
    assert is_released(camera, 40)
