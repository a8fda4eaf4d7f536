"""Make a frame and what was found in it smaller, so that drawing costs the same for any camera."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from vl2_ros.structures import Branch, Frame, Result

#: Of the longer side, in pixels, of frames that are drawn on for people who watch.
MAX_SIDE = 1280


def shrink(frame: Frame, result: Result) -> tuple[Frame, Result]:
    """Make a frame with a side above `MAX_SIDE` smaller, and the boxes, masks and keypoints on it.

    Returns:
        The two as they are when the frame is small enough; else without label maps.
    """
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
        height, width = masks.frame_hw
        masks = masks.pick_pixels(
            np.arange(hw[0]) * height // hw[0], np.arange(hw[1]) * width // hw[1]
        )
    if keypoints is not None:
        keypoints = replace(keypoints, points_xy=keypoints.points_xy * scale_xy)
    boxes = found.boxes_xyxy * np.tile(scale_xy, 2)
    smaller = replace(found, boxes_xyxy=boxes, masks=masks, keypoints=keypoints)
    return replace(branch, detections=smaller, label_map=None)
