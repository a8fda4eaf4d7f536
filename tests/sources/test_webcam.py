"""A webcam that OpenCV opens; here a device of our own stands in for it."""

from __future__ import annotations

import time

import numpy as np
import pytest

from vl2_ros.errors import InputError
from vl2_ros.sources.source import find_source, read_sources
from vl2_ros.sources.webcam import read_webcam


class FakeDevice:
    """Sends blue images; some reads fail, as those of a camera that has just been opened do."""

    opened: list[object] = []
    released = 0

    def __init__(self, name: object) -> None:
        FakeDevice.opened.append(name)
        self.count = 0

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return FakeDevice.opened[-1] != 9

    def read(self):
        self.count += 1
        time.sleep(0.001)
        if self.count in (1, 2) or self.count > 40:
            return False, None
        image = np.zeros((4, 6, 3), np.uint8)
        image[..., 0] = 255
        return True, image

    def release(self) -> None:
        FakeDevice.released += 1


@pytest.fixture(autouse=True)
def device(monkeypatch):
    monkeypatch.setattr("vl2_ros.sources.webcam.cv2.VideoCapture", FakeDevice)
    FakeDevice.opened, FakeDevice.released = [], 0
    return FakeDevice


@pytest.mark.parametrize(("word", "name"), [("0", 0), ("/dev/video2", "/dev/video2")])
def test_images_are_rgb_with_the_time_they_came_at(word, name):
    before_ns = time.time_ns()
    images = list(read_sources([find_source(word)]))
    assert FakeDevice.opened == [name]
    assert images[0].frame.rgb[0, 0].tolist() == [0, 0, 255]
    assert before_ns < images[0].frame.stamp_ns < time.time_ns()
    assert "sends no images any more" in str(images[-1].error) and images[-1].frame is None
    assert FakeDevice.released == 1


def test_closing_releases_the_device():
    frames = read_webcam("0")
    next(frames)
    frames.close()
    deadline = time.monotonic() + 10
    while not FakeDevice.released and time.monotonic() < deadline:
        time.sleep(0.01)
    assert FakeDevice.released == 1


def test_no_such_camera():
    with pytest.raises(InputError, match="cannot open the webcam 9; check that it is connected"):
        next(read_webcam("9"))
