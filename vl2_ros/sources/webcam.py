"""Read a webcam through OpenCV."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator

import cv2
import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.sources.newest import keep_newest
from vl2_ros.structures import Frame

#: Images that may fail one after the other: a camera that has just been opened drops some.
_MOST_FAILURES = 30


def read_webcam(word: str) -> Iterator[Frame]:
    """Yield the newest image of a webcam, until the iterator is closed.

    Args:
        word: its index, or a path such as /dev/video0.

    Raises:
        InputError: if it cannot be opened, or sends nothing any more.
    """
    yield from keep_newest(_read(word))


def _read(word: str) -> Generator[Frame, None, None]:
    # What it would log of a camera that is not there is said by the error.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    capture = cv2.VideoCapture(int(word) if word.isdigit() else word)
    try:
        if not capture.isOpened():
            raise InputError(
                f"cannot open the webcam {word}; check that it is connected, that no other program "
                "uses it, and that this user may read /dev/video* (group video)"
            )
        failures = 0
        while failures < _MOST_FAILURES:
            is_read, bgr = capture.read()
            if not is_read or bgr is None:
                failures += 1
                continue
            failures = 0
            yield Frame(np.ascontiguousarray(bgr[..., ::-1]), time.time_ns())
        raise InputError(f"the webcam {word} sends no images any more; check its connection")
    finally:
        capture.release()
