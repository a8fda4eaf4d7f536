"""Make the masks of visual prompts for the region encoder."""

from __future__ import annotations

import cv2
import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.images.preprocess import normalise_clip, resize_shortest_edge
from vl2_ros.structures import Frame, PromptKind, VisualPrompt

#: Radius of the disc that a point, and of the pen that a scribble is drawn with, as shares of the
#: side S. What the released model was trained with is not known.
_RADII = {PromptKind.POINT: 3 / 336, PromptKind.SCRIBBLE: 2 / 336}


def preprocess_region_square(frame: Frame, config: ProcessingConfig) -> np.ndarray:
    """Make the uncropped image that regions refer to in "pad" and "resize" mode.

    Returns:
        (3, S, S) float32, normalised; the whole image squashed to a square.
    """
    side = config.vision_side
    pixels = normalise_clip(resize_shortest_edge(frame.rgb, side)[None])[0]  # (3, h, w)
    channels_last = np.ascontiguousarray(pixels.transpose(1, 2, 0))
    squashed = cv2.resize(channels_last, (side, side), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(squashed.transpose(2, 0, 1))


def region_masks_from_boxes(
    boxes_xyxy: np.ndarray, frame_hw: tuple[int, int], config: ProcessingConfig
) -> np.ndarray:
    """Draw boxes on the squashed CLIP image; the end pixel is included (docs/spec/core.md, 9.2).

    Args:
        boxes_xyxy: (R, 4) corners in camera pixels.
        frame_hw: height and width of the camera frame.
        config: gives the side S.

    Returns:
        (R, S, S) float32 of 0 and 1.

    Raises:
        ShapeError: if the array is not (R, 4).
        InputError: if a box is not finite or turned inside out.
    """
    boxes = np.asarray(boxes_xyxy, dtype=np.float64)
    if boxes.ndim != 2 or boxes.shape[1] != 4:
        raise ShapeError(f"boxes_xyxy must be (R, 4), got {boxes.shape}")
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < boxes[:, :2]).any():
        raise InputError(f"boxes must be finite with x1 <= x2 and y1 <= y2, got {boxes.tolist()}")
    side = config.vision_side
    scale = np.array([side / frame_hw[1], side / frame_hw[0]] * 2)
    corners = np.clip(boxes * scale, 0, side - 1).astype(np.int64)
    masks = np.zeros((len(boxes), side, side), dtype=np.float32)
    for mask, (x1, y1, x2, y2) in zip(masks, corners, strict=True):
        mask[y1 : y2 + 1, x1 : x2 + 1] = 1.0
    return masks


def region_masks_from_masks(
    masks: np.ndarray, frame_hw: tuple[int, int], config: ProcessingConfig
) -> np.ndarray:
    """Resize masks to the squashed CLIP image; a pixel touched at all is inside.

    Args:
        masks: (R, H, W), non-zero = inside, on the camera frame.
        frame_hw: height and width of the camera frame.
        config: gives the side S.

    Returns:
        (R, S, S) float32 of 0 and 1.

    Raises:
        ShapeError: if the masks do not lie on the camera frame.
    """
    if masks.ndim != 3 or masks.shape[1:] != tuple(frame_hw):
        raise ShapeError(f"masks must be (R, {frame_hw[0]}, {frame_hw[1]}), got {masks.shape}")
    side = config.vision_side
    resized = [
        cv2.resize((mask != 0).astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
        for mask in masks
    ]
    stacked = np.stack(resized) if resized else np.zeros((0, side, side))
    return np.asarray(stacked != 0, dtype=np.float32)


def draw_prompt(prompt: VisualPrompt, frame_hw: tuple[int, int]) -> np.ndarray:
    """Draw one visual prompt on its own image, as `region_mask` does on the squashed one.

    Args:
        prompt: where the command points.
        frame_hw: height and width of the image.

    Returns:
        (H, W) bool; at least one pixel is inside.

    Raises:
        InputError: if the prompt does not lie inside of the image.
    """
    prompt.check_inside(frame_hw)
    mask = prompt.decode_mask()
    if mask is not None:
        return mask.copy()
    limit = (frame_hw[1] - 1, frame_hw[0] - 1)
    pixels = np.clip(np.floor(prompt.points_xy), 0, limit).astype(np.int32)
    if prompt.kind is PromptKind.BOX:
        mask = np.zeros(frame_hw, np.bool_)
        (x1, y1), (x2, y2) = pixels
        mask[y1 : y2 + 1, x1 : x2 + 1] = True
        return mask
    return _draw_points(prompt.kind, pixels, frame_hw).astype(np.bool_)


def region_mask(
    prompt: VisualPrompt, frame_hw: tuple[int, int], config: ProcessingConfig
) -> np.ndarray:
    """Draw one visual prompt on the squashed CLIP image.

    Boxes and masks as in `region_masks_from_boxes` and `region_masks_from_masks`; a polygon is
    filled, its outline included.

    Args:
        prompt: where the command points.
        frame_hw: height and width of the image that it points into.
        config: gives the side S.

    Returns:
        (S, S) float32 of 0 and 1; at least one pixel is 1.

    Raises:
        InputError: if the prompt does not lie inside of the image.
    """
    prompt.check_inside(frame_hw)
    if prompt.kind is PromptKind.BOX:
        corners = prompt.points_xy.reshape(1, 4)
        return np.asarray(region_masks_from_boxes(corners, frame_hw, config)[0])
    side = config.vision_side
    mask = prompt.decode_mask()
    if mask is not None:
        resized = region_masks_from_masks(mask[None], frame_hw, config)[0]
        # Empty when thinner than the samples of the resize lie apart.
        return np.asarray(resized) if resized.any() else _mark_touched(mask, side)
    scale = np.array([side / frame_hw[1], side / frame_hw[0]])
    # The right and the lower border belong to the last pixel.
    pixels = np.clip(np.floor(prompt.points_xy * scale), 0, side - 1).astype(np.int32)
    return _draw_points(prompt.kind, pixels, (side, side))


def _mark_touched(mask: np.ndarray, side: int) -> np.ndarray:
    """Mark each pixel of the squashed image that one of a mask's falls into; (S, S) float32."""
    height, width = mask.shape
    marked = np.zeros((side, side), np.float32)
    # Row by row: the coordinates of all pixels would take sixteen times the mask.
    for row in np.flatnonzero(mask.any(axis=1)):
        columns = np.floor(np.flatnonzero(mask[row]) * (side / width)).astype(int)
        marked[int(row * (side / height)), columns] = 1.0
    return marked


def _draw_points(kind: PromptKind, pixels: np.ndarray, frame_hw: tuple[int, int]) -> np.ndarray:
    """Draw (P, 2) whole pixels of an image; returns (H, W) float32."""
    mask = np.zeros(frame_hw, np.uint8)
    if kind is PromptKind.POLYGON:
        cv2.fillPoly(mask, [pixels], 1)
        return mask.astype(np.float32)
    if kind is PromptKind.SCRIBBLE:
        cv2.polylines(mask, [pixels], False, 1, 1)
    mask[pixels[:, 1], pixels[:, 0]] = 1
    radius = round(min(frame_hw) * _RADII.get(kind, 0.0))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.dilate(mask, disc), dtype=np.float32)
