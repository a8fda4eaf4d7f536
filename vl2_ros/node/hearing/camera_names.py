"""Cameras in spoken words: the topic /left/image_raw is "the left camera"."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Parts of topics that tell no camera from another.
_GENERIC = {"image", "raw", "rect", "color", "colour", "rgb", "mono", "compressed", "camera", "cam"}


def speak_camera(camera: str) -> str:
    """Return the words that people have for a camera; empty where its topic has none of its own."""
    parts = re.split(r"[/_]+", camera.lower())
    return " ".join(part for part in parts if part and part not in _GENERIC)


def split_camera(text: str, cameras: Sequence[str]) -> tuple[str, str]:
    """Take the camera off a sentence, such as "find the mug with the left camera".

    Args:
        text: the sentence.
        cameras: names of the node's cameras.

    Returns:
        The rest of the sentence and the camera; the whole and "" where it names none.
    """
    for camera in cameras:
        words = speak_camera(camera)
        if not words:
            continue
        name = r"\s+".join(map(re.escape, words.split()))
        by = r"(?:^|[\s,]+)(?:with|from|on|in|through|by|using)\s+(?:the\s+)?"
        said = rf"{by}{name}\s+camera(?P<end>\W*)$"
        found = re.search(said, text, re.IGNORECASE)
        if found:
            return text[: found.start()] + found["end"], camera
    return text, ""
