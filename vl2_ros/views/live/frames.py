"""Draw results into a frame of the stream and pack it for the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from vl2_ros.structures import Branch, Detections, Frame, Result
from vl2_ros.views.overlay import draw_overlay

#: Of the longer side, in pixels; larger frames are made smaller before they are drawn on.
MAX_SIDE = 1280
_JPEG_QUALITY = 80


def draw_results(frame: Frame, results: Sequence[Result]) -> np.ndarray:
    """Draw the instances of several results into one frame.

    Args:
        frame: the image; not changed.
        results: what is drawn; those with masks of another size than the frame are skipped.

    Returns:
        (H, W, 3) uint8 RGB; of a frame with a side above `MAX_SIDE` smaller, of a very small one
        larger.
    """
    branches = select_branches(frame, results)
    is_unlike = any(result.in_domain is False for result in results)
    joined = Result(
        "", frame.stamp_ns, frame.frame_id, "", branches, in_domain=False if is_unlike else None
    )
    return draw_overlay(*_shrink(frame, joined), caption=False)


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


def _shrink(frame: Frame, result: Result) -> tuple[Frame, Result]:
    """Make a large frame smaller, and what was found in it."""
    height, width = frame.frame_hw
    scale = MAX_SIDE / max(height, width)
    if scale >= 1.0:
        return frame, result
    hw = max(1, round(height * scale)), max(1, round(width * scale))
    rgb = cv2.resize(frame.rgb, (hw[1], hw[0]), interpolation=cv2.INTER_AREA)
    scale_xy = np.array([hw[1] / width, hw[0] / height], np.float32)
    branches = tuple(_shrink_branch(branch, scale_xy, hw) for branch in result.branches)
    return replace(frame, rgb=np.asarray(rgb)), replace(result, branches=branches)


def _shrink_branch(branch: Branch, scale_xy: np.ndarray, hw: tuple[int, int]) -> Branch:
    found = branch.detections
    masks, keypoints = found.masks, found.keypoints
    if masks is not None:
        # By rows and columns: one step for all of them, however many there are.
        rows = np.arange(hw[0]) * masks.shape[1] // hw[0]
        columns = np.arange(hw[1]) * masks.shape[2] // hw[1]
        masks = masks.pick_pixels(rows, columns)
    if keypoints is not None:
        keypoints = replace(keypoints, points_xy=keypoints.points_xy * scale_xy)
    boxes = found.boxes_xyxy * np.tile(scale_xy, 2)
    smaller = replace(found, boxes_xyxy=boxes, masks=masks, keypoints=keypoints)
    return replace(branch, detections=smaller, label_map=None)
