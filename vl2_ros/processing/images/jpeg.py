"""Decode plain JPEG files by OpenCV, to the pixels that Pillow makes of them, in half the time.

Both use libjpeg-turbo for it, but OpenCV returns what it has where Pillow reports damage. So only
files whose markers are in order are decoded here. Of damage between the markers, which both pass
over, pixels are the same where both have the same version of that library.
"""

from __future__ import annotations

import cv2
import numpy as np

_MARK = 0xFF
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
#: The frame of 8-bit samples in one pass, by the standard's tables or any: what cameras send.
_SEQUENTIAL = (0xC0, 0xC1)
#: Other kinds of frames; 0xC4, 0xC8 and 0xCC among them are none.
_OTHER_FRAMES = frozenset(range(0xC2, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Bytes of a marker and the length after it.
_HEAD_BYTES = 4


def decode_jpeg(data: memoryview, image_hw: tuple[int, int], *, is_grey: bool) -> np.ndarray | None:
    """Decode a file with one scan whose markers are in order.

    Args:
        data: the bytes of the file.
        image_hw: height and width by its header.
        is_grey: whether it has grey alone.

    Returns:
        (H, W, 3 or 1) uint8 RGB or grey, as stored; None where the file is of another kind or
        damaged, which is for another decoder to read or to report.
    """
    values = np.frombuffer(data, np.uint8)
    start = _find_scan(values)
    if start is None or not _is_whole(values, start):
        return None
    flags = cv2.IMREAD_GRAYSCALE if is_grey else cv2.IMREAD_COLOR
    try:
        pixels = cv2.imdecode(values, flags | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # such as of a limit of its own
        return None
    if pixels is None or pixels.shape[:2] != image_hw:
        return None
    if is_grey:
        return np.asarray(pixels[:, :, None])
    # In place: another image would be half of the memory that decoding may take.
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB, dst=pixels))


def _find_scan(values: np.ndarray) -> int | None:
    """Return where the data of the first scan begin; None where the frame is not sequential."""
    place, is_sequential = 2, False
    while place + _HEAD_BYTES <= len(values):
        mark, kind = int(values[place]), int(values[place + 1])
        if mark != _MARK or kind in _OTHER_FRAMES or kind in (0, _START, _END, _MARK):
            return None
        is_sequential = is_sequential or kind in _SEQUENTIAL
        length = int(values[place + 2]) << 8 | int(values[place + 3])
        place += 2 + length
        if kind == _SCAN:
            return place if is_sequential else None
    return None


def _is_whole(values: np.ndarray, start: int) -> bool:
    """Return whether nothing but one scan follows, and the end."""
    scan = values[start:]
    after = scan[1:][scan[:-1] == _MARK]
    # 0 after a mark is a value of 255; the eight from 0xD0 on are where decoding may restart.
    is_marker = (after != 0) & (after & 0xF8 != 0xD0)
    return (
        len(scan) >= 2
        and np.count_nonzero(is_marker) == 1
        and bool(scan[-1] == _END)
        and bool(scan[-2] == _MARK)
    )
