from __future__ import annotations

import pytest

from vl2_ros.node.hearing.camera_names import speak_camera, split_camera

CAMERAS = ("image", "/left/image_raw", "/front_right/color/image_raw")


@pytest.mark.parametrize(
    ("camera", "words"),
    [("image", ""), ("/left/image_raw", "left"), ("/front_right/color/image_raw", "front right")],
)
def test_camera_has_the_words_of_its_topic(camera, words):
    assert speak_camera(camera) == words


@pytest.mark.parametrize(
    ("text", "rest", "camera"),
    [
        ("Find the mug with the left camera.", "Find the mug.", "/left/image_raw"),
        ("is there a mug in the front right camera?", "is there a mug?", CAMERAS[2]),
        ("find the mug, from left camera", "find the mug", "/left/image_raw"),
        ("with the left camera", "", "/left/image_raw"),
        ("find the mug on the left", "find the mug on the left", ""),
        ("find the left camera", "find the left camera", ""),
        ("find the mug with the image camera", "find the mug with the image camera", ""),
    ],
)
def test_camera_is_taken_off_a_sentence(text, rest, camera):
    assert split_camera(text, CAMERAS) == (rest, camera)
