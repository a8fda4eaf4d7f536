from __future__ import annotations

import math

import pytest

from tests.node.stepwise_perceiver import make_image
from vl2_ros.node.cameras.camera_buffer import BufferedImage, CameraBuffer


def test_the_newest_image_wins_and_unseen_ones_are_counted():
    buffer = CameraBuffer("image")
    images = [make_image(stamp) for stamp in range(5)]
    for time_s, image in enumerate(images):
        buffer.put(image, float(time_s))
        if time_s == 1:
            seen = buffer.find_fresh(1.0, 0.0)
            assert seen is not None
            buffer.mark_used(seen)
            buffer.mark_used(seen)
    newest = buffer.find_fresh(4.0, 0.0)
    assert newest is not None and newest.image is images[4]
    report = buffer.report(4.0)
    assert (report.received, report.dropped, report.used) == (5, 3, 1)


def test_the_same_object_again_is_no_new_image():
    buffer = CameraBuffer("image")
    image = make_image(1)
    buffer.put(image, 0.0)
    first = buffer.find_fresh(0.0, 0.0)
    buffer.put(image, 1.0)
    assert buffer.find_fresh(1.0, 0.0) is first
    buffer.put(make_image(1), 2.0)
    second = buffer.find_fresh(2.0, 0.0)
    assert first is not None and second is not None and second.number == first.number + 1


def test_an_old_image_is_not_what_the_camera_sees_now():
    buffer = CameraBuffer("image")
    buffer.put(make_image(1), 10.0)
    assert buffer.find_fresh(10.5, 0.5) is not None
    assert buffer.find_fresh(10.75, 0.5) is None
    assert buffer.find_fresh(1000.0, 0.0) is not None


def test_a_image_is_decoded_once():
    decoded = []
    image = BufferedImage(make_image(7, on_decode=lambda: decoded.append(1)))
    assert not decoded
    assert image.decode() is image.decode()
    assert len(decoded) == 1


def test_rate_and_age_come_from_the_last_arrivals():
    buffer = CameraBuffer("image")
    assert buffer.report(5.0).last_age_s == math.inf
    assert buffer.report(5.0).rate_hz == 0.0
    for index in range(200):
        buffer.put(make_image(index), index / 32)
    last_s = 199 / 32
    assert buffer.report(last_s + 0.5).rate_hz == pytest.approx(32.0)
    assert buffer.report(last_s + 0.5).last_age_s == pytest.approx(0.5)
    assert buffer.report(last_s + 60.0).rate_hz == 0.0


def test_clearing_lets_go_of_the_image_and_keeps_the_counts():
    buffer = CameraBuffer("image")
    buffer.put(make_image(1), 0.0)
    buffer.clear()
    assert buffer.find_fresh(0.0, 0.0) is None
    assert buffer.report(0.0).received == 1
