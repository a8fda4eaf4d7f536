"""Boxes, masks and the letterbox between camera pixels and network pixels.

A coordinate is a distance from the top left corner of the image, so pixel i covers [i, i + 1) and
a box is end-exclusive. numpy only; knows no resize library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.errors import ShapeError


def _check_boxes(boxes: np.ndarray, name: str) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"{name} must be (N, 4), got {boxes.shape}")


def cxcywh_to_xyxy(boxes_cxcywh: np.ndarray) -> np.ndarray:
    """Convert (N, 4) boxes from centre and size to corners, in the same unit and dtype."""
    _check_boxes(boxes_cxcywh, "boxes_cxcywh")
    half = boxes_cxcywh[:, 2:] / 2
    return np.concatenate([boxes_cxcywh[:, :2] - half, boxes_cxcywh[:, :2] + half], axis=1)


def box_areas(boxes_xyxy: np.ndarray) -> np.ndarray:
    """Return the (N,) areas of corner boxes; a box turned inside out has area 0."""
    _check_boxes(boxes_xyxy, "boxes_xyxy")
    size = np.clip(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0, None)
    return np.asarray(size[:, 0] * size[:, 1])


def box_iou(first_xyxy: np.ndarray, second_xyxy: np.ndarray) -> np.ndarray:
    """Return the (N, M) intersection over union; 0 where both boxes are empty."""
    low = np.maximum(first_xyxy[:, None, :2], second_xyxy[None, :, :2])
    high = np.minimum(first_xyxy[:, None, 2:], second_xyxy[None, :, 2:])
    overlap = np.prod(np.clip(high - low, 0, None), axis=2)  # (N, M)
    union = box_areas(first_xyxy)[:, None] + box_areas(second_xyxy)[None] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))


def masks_to_boxes(masks: np.ndarray) -> np.ndarray:
    """Return the extent of the true pixels of each mask.

    Args:
        masks: (N, H, W), non-zero = inside.

    Returns:
        (N, 4) float32 end-exclusive corners in pixels; zeros for an empty mask.

    Raises:
        ShapeError: if the array is not (N, H, W).
    """
    if masks.ndim != 3:
        raise ShapeError(f"masks must be (N, H, W), got {masks.shape}")
    boxes = np.zeros((len(masks), 4), dtype=np.float32)
    for index, mask in enumerate(masks):
        rows = np.flatnonzero(mask.any(axis=1))
        if len(rows) == 0:
            continue
        columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
        boxes[index] = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return boxes


@dataclass(frozen=True, slots=True)
class CanvasRange:
    """Canvas sizes that an engine accepts, in pixels; one size where both are the same.

    Attributes:
        least_hw: least height and width.
        most_hw: most height and width.
    """

    least_hw: tuple[int, int]
    most_hw: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that there is a size within."""
        if min(self.least_hw) < 1 or any(
            least > most for least, most in zip(self.least_hw, self.most_hw, strict=True)
        ):
            raise ShapeError(f"a canvas must be at least 1 and least_hw within most_hw, got {self}")


@dataclass(frozen=True, slots=True)
class Letterbox:
    """How one frame was placed on the network canvas.

    Made by `preprocess_decoder`, passed on with the pixels, and used once by post-processing.
    Padding is on the right and the bottom only, so the origin is the same in both frames. Both
    sides are rounded to whole pixels, so the two axes can differ a little in scale.

    Attributes:
        frame_hw: height and width of the camera frame, in pixels.
        model_hw: height and width of the resized frame, in network pixels.
        padded_hw: height and width of the canvas that the network sees.
    """

    frame_hw: tuple[int, int]
    model_hw: tuple[int, int]
    padded_hw: tuple[int, int]

    def __post_init__(self) -> None:
        """Check that the sizes can contain one another."""
        if min(*self.frame_hw, *self.model_hw) < 1:
            raise ShapeError(f"letterbox sizes must be at least 1, got {self}")
        if self.padded_hw[0] < self.model_hw[0] or self.padded_hw[1] < self.model_hw[1]:
            raise ShapeError(f"padded_hw must not be smaller than model_hw, got {self}")


def clip_boxes(boxes_xyxy: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """Move the corners of (N, 4) boxes into the frame; dtype is kept."""
    _check_boxes(boxes_xyxy, "boxes_xyxy")
    height, width = frame_hw
    corner_max = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    return np.asarray(np.clip(boxes_xyxy, corner_max.dtype.type(0), corner_max))


def axis_weights(source: int, middle: int, kept: int, target: int) -> np.ndarray:
    """Build the matrix of two linear resizes along one axis with a crop in between.

    The axis goes from `source` to `middle` samples, the first `kept` stay, and those go to `target`
    samples. Samples sit at pixel centres and the border is repeated (align_corners=False, no
    antialias), which is how mask logits travel to the camera frame.

    Returns:
        (target, source) float32; rows sum to 1.
    """
    low, high, share = _linear_samples(kept, target)
    first = _linear_weights(source, middle)[:kept]
    return np.asarray(first[low] * (1 - share)[:, None] + first[high] * share[:, None])


def _linear_weights(source: int, target: int) -> np.ndarray:
    low, high, share = _linear_samples(source, target)
    weights = np.zeros((target, source), dtype=np.float32)
    rows = np.arange(target)
    weights[rows, low] = 1 - share
    # Added, not set: at the border both samples are the same.
    weights[rows, high] += share
    return weights


def _linear_samples(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the two source samples of each target sample and the share of the second."""
    position = np.maximum((np.arange(target) + 0.5) * (source / target) - 0.5, 0.0)
    low = np.minimum(position.astype(np.int64), source - 1)
    return low, np.minimum(low + 1, source - 1), (position - low).astype(np.float32)
