"""Draw results into a frame of the stream and pack it for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np

from vl2_ros.structures import Branch, Detections, Frame, Result
from vl2_ros.views.overlay import draw_overlay
from vl2_ros.views.shrink import shrink

_JPEG_QUALITY = 80


def draw_results(frame: Frame, results: Sequence[Result]) -> np.ndarray:
    """Draw the instances of several results into one frame.

    Args:
        frame: the image; not changed.
        results: what is drawn; those with masks of another size than the frame are skipped.

    Returns:
        (H, W, 3) uint8 RGB; smaller than a frame with a side above `shrink.MAX_SIDE`, larger than a
        very small one.
    """
    branches = select_branches(frame, results)
    is_unlike = any(result.in_domain is False for result in results)
    joined = Result(
        "", frame.stamp_ns, frame.frame_id, "", branches, in_domain=False if is_unlike else None
    )
    return draw_overlay(*shrink(frame, joined), caption=False)


def select_branches(frame: Frame, results: Sequence[Result]) -> tuple[Branch, ...]:
    """Return the branches of results, without those that have masks of another size."""
    return tuple(
        branch
        for result in results
        for branch in result.branches
        if _fits(branch.detections, frame.frame_hw)
    )


def encode_jpeg(rgb: np.ndarray) -> bytes:
    """Return (H, W, 3) uint8 RGB as the bytes of a JPEG file."""
    bgr = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return data.tobytes()


def pack_frame(jpeg: bytes, header: Mapping[str, Any]) -> bytes:
    """Put a header before an image: the length of the JSON in four bytes, the JSON, the JPEG."""
    text = json.dumps(header).encode()
    return len(text).to_bytes(4, "big") + text + jpeg


def _fits(found: Detections, frame_hw: tuple[int, int]) -> bool:
    return found.masks is None or found.masks.frame_hw == frame_hw
