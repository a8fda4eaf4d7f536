"""The images of the last seconds: which one was the newest at a moment that is over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.node.stepwise_perceiver import make_image
from vl2_ros.node.cameras.camera_buffer import HISTORY_S, CameraBuffer, ImageHistory
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.scheduling.schedule import Schedule

MB = 1_000_000


def fill(history: ImageHistory, *, seconds: float, rate_hz: float, size_bytes: int) -> None:
    for index in range(round(seconds * rate_hz)):
        image = replace(make_image(index), size_bytes=size_bytes)
        history.add(image, index / rate_hz)


def test_the_newest_image_at_a_moment_is_found():
    history = ImageHistory(64 * MB)
    fill(history, seconds=1.0, rate_hz=10.0, size_bytes=MB)
    assert history.find(0.55, 0.0).stamp_ns == 5
    assert history.find(0.5, 0.0).stamp_ns == 5
    assert history.find(99.0, 0.0).stamp_ns == 9
    assert history.find(-0.1, 0.0) is None
    # A camera that had fallen silent by then showed nothing that counts.
    assert history.find(3.0, 1.0) is None


def test_small_images_are_all_kept_for_two_seconds():
    history = ImageHistory(64 * MB)
    fill(history, seconds=10.0, rate_hz=30.0, size_bytes=100_000)
    assert len(history) == round(HISTORY_S * 30) + 1
    assert history.size_bytes == len(history) * 100_000


@pytest.mark.parametrize("size_mb", [0.9, 2.8, 6.2, 25.0])
def test_large_images_are_thinned_so_that_the_whole_time_is_covered(size_mb):
    history, size = ImageHistory(64 * MB), round(size_mb * MB)
    fill(history, seconds=10.0, rate_hz=30.0, size_bytes=size)
    assert history.size_bytes <= 64 * MB
    interval_s = max(1 / 30, HISTORY_S * size_mb / 64)
    # The oldest one is as far back as the limit of the bytes allows, an interval less at most.
    oldest_s = 10.0 - HISTORY_S + 2 * (interval_s + 1 / 30)
    assert history.find(oldest_s, 0.0) is not None
    for at_s in (8.9, 9.3, 9.9):
        age_s = at_s - history.find(at_s, 0.0).stamp_ns / 30.0
        assert 0.0 <= age_s <= interval_s + 1 / 30 + 1e-6


def test_an_image_over_the_limit_is_not_kept():
    history = ImageHistory(64 * MB)
    fill(history, seconds=0.1, rate_hz=10.0, size_bytes=65 * MB)
    assert (len(history), history.size_bytes) == (0, 0)


def test_buffer_finds_past_images_while_they_are_kept():
    buffer = CameraBuffer("image")
    images = [replace(make_image(stamp), size_bytes=MB) for stamp in range(4)]
    buffer.put(images[0], 0.0)
    buffer.put(images[1], 0.1)
    assert buffer.find_past(0.05, 0.0) is None
    assert buffer.find_past(0.15, 0.0).image is images[1]
    buffer.keep_history(64 * MB)
    buffer.put(images[2], 0.2)
    buffer.keep_history(64 * MB)
    buffer.put(images[3], 0.3)
    assert buffer.find_past(0.25, 0.0).image is images[2]
    # The newest one stays the one that is decoded once.
    assert buffer.find_past(0.35, 0.0) is buffer.find_fresh(0.35, 0.0)
    buffer.keep_history(0)
    assert buffer.find_past(0.25, 0.0) is None
    buffer.keep_history(64 * MB)
    buffer.put(images[0], 0.4)
    buffer.clear()
    assert buffer.find_past(0.5, 0.0) is None


def test_decoded_pixels_are_not_kept():
    buffer = CameraBuffer("image")
    buffer.keep_history(64 * MB)
    for stamp in range(3):
        buffer.put(make_image(stamp), stamp / 10)
    first, second = buffer.find_past(0.05, 0.0), buffer.find_past(0.05, 0.0)
    first.decode()
    # What was decoded goes with its command, and is no part of what is kept.
    assert first is not second and first.image is second.image


def test_cameras_of_a_node_share_the_limit():
    schedule = Schedule(NodeParameters(cameras=("left", "right"), depth_topics=("", "")))
    schedule.keep_history(True)
    for index in range(100):
        for name in ("left", "right"):
            image = replace(make_image(index), size_bytes=2 * MB)
            schedule.put_image(name, image, index / 30)
    last_s = 99 / 30
    # 16 of 2 MB each in 2 s, and none for longer.
    for buffer in schedule.cameras.values():
        kept = {
            found.image.stamp_ns
            for step in range(300)
            if (found := buffer.find_past(last_s - 0.001 - step / 100, 0.0)) is not None
        }
        assert 14 <= len(kept) <= 16
        assert (99 - min(kept)) / 30 <= HISTORY_S
