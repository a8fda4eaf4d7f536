"""Images of a topic by their stamps, and how long they are waited for."""

from __future__ import annotations

import pytest

from tests.node.wire import make_image
from vl2_ros.clients.received_images import ReceivedImages
from vl2_ros.node.cameras.camera_input import IMAGE_TYPE
from vl2_ros.node.transport import Qos
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

TOPIC = "/drawn"
#: Far longer than a test takes that does not wait for nothing.
PATIENCE_S = 300.0


@pytest.fixture
def sent():
    """Images that were received, and what sends more of them."""
    bus = MemoryBus()
    sender, receiver = (MemoryTransport(bus, name) for name in ("sender", "receiver"))
    images = ReceivedImages(receiver, TOPIC, forms=("raw",), qos=Qos(depth=50))
    publisher = sender.advertise(TOPIC, IMAGE_TYPE, Qos(depth=50))

    def send(*stamps: int) -> None:
        for stamp in stamps:
            publisher.publish(make_image(sender.types, stamp))

    yield images, send
    sender.close()
    receiver.close()


def test_an_image_is_found_by_its_stamp(sent):
    images, send = sent
    send(5, 7, 3)
    for stamp in (3, 5, 7):
        assert images.wait_for(stamp, PATIENCE_S)
        assert images.find(stamp).stamp_ns == stamp
    assert not images.wait_for(6, 0.01) and images.find(6) is None


def test_a_later_image_ends_the_wait_for_one_that_was_skipped(sent):
    images, send = sent
    send(5)
    assert images.wait_for(5, PATIENCE_S, or_later=True)
    send(7)
    assert images.wait_for(7, PATIENCE_S)
    assert not images.wait_for(6, PATIENCE_S, or_later=True)
    assert images.wait_for(5, PATIENCE_S, or_later=True)
