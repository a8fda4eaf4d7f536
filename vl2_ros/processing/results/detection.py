"""Turn outputs of the detection decoder into instances in camera pixels and class maps.

Formulas of docs/spec/grounding_dino.md, section 12. Masks are resized for the
chosen queries only, and only where they are positive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from vl2_ros.errors import EngineError, InputError, ShapeError
from vl2_ros.geometry import Letterbox, axis_weights, clip_boxes, cxcywh_to_xyxy
from vl2_ros.structures import UNLABELLED, Detections, MaskCrop, Masks

#: Pixels of all masks of one result; more would fill the memory of a small machine.
MAX_MASK_PIXELS = 2**31
#: Multiply-adds of the cut-out way that cost as much as one pixel resized by OpenCV (measured).
_WORK_PER_PIXEL = 10
#: Values of mask logits that become scores together: about a megabyte.
_BLOCK_VALUES = 1 << 18
#: Axes whose resize is kept: those of two cameras.
_KEPT_RESIZES = 4


@dataclass(frozen=True, slots=True, eq=False)
class Selection:
    """The best (query, class) pairs, best score first.

    Attributes:
        query_index: (k,) int64; a query may appear with several classes.
        class_ids: (k,) int64 index into the classes of the call.
        scores: (k,) float32 in 0..1.
        boxes_xyxy: (k, 4) float32 corners in camera pixels, not clipped.
    """

    query_index: np.ndarray
    class_ids: np.ndarray
    scores: np.ndarray
    boxes_xyxy: np.ndarray

    def __len__(self) -> int:
        """Return k."""
        return len(self.scores)

    def take(self, indices: np.ndarray) -> Selection:
        """Return the pairs at some indices, in the order of these."""
        parts = (self.query_index, self.class_ids, self.scores, self.boxes_xyxy)
        return Selection(*(part[indices] for part in parts))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) in the dtype of `logits`, without overflow."""
    decay = np.exp(-np.abs(logits))
    return np.asarray(np.where(logits >= 0, 1, decay) / (1 + decay), dtype=logits.dtype)


def select_instances(
    logits: np.ndarray,
    boxes: np.ndarray,
    *,
    num_classes: int,
    frame_hw: tuple[int, int],
    top_k: int = 100,
    score_threshold: float = 0.0,
) -> Selection:
    """Choose the best (query, class) pairs; classes compete independently and there is no NMS.

    Args:
        logits: (Q, N) class logits, N >= num_classes; columns after the real classes are ignored.
        boxes: (Q, 4) cxcywh as shares of the unpadded image.
        num_classes: real classes of the call.
        frame_hw: height and width of the camera frame.
        top_k: most pairs.
        score_threshold: only scores above it are kept.

    Raises:
        ShapeError: if the arrays do not fit together.
        EngineError: if the decoder gave NaN.
    """
    if logits.ndim != 2 or boxes.shape != (len(logits), 4) or logits.shape[1] < num_classes:
        raise ShapeError(
            f"expected logits (Q, >= {num_classes}) and boxes (Q, 4), got {logits.shape} and "
            f"{boxes.shape}"
        )
    flat = logits[:, :num_classes].astype(np.float32).ravel()  # (Q * C,)
    if np.isnan(flat).any() or not np.isfinite(boxes).all():
        raise EngineError(
            "the perception decoder gave numbers that are not finite; check the weights and the "
            "precision"
        )
    order = _best_first(flat, top_k)
    scores = sigmoid(flat[order])
    kept = scores > score_threshold
    order, scores = order[kept], scores[kept]
    query_index = order // max(num_classes, 1)
    height, width = frame_hw
    size = np.array([width, height, width, height], dtype=np.float32)
    return Selection(
        query_index=query_index,
        class_ids=order % max(num_classes, 1),
        scores=scores,
        boxes_xyxy=cxcywh_to_xyxy(boxes[query_index].astype(np.float32)) * size,
    )


def _best_first(values: np.ndarray, top_k: int) -> np.ndarray:
    """Return the indices of the largest values, the earlier first among equals.

    Logits, not scores, are compared: scores near 1 are equal in float32.
    """
    candidates = np.arange(len(values))
    if len(values) > top_k:
        candidates = np.flatnonzero(values >= np.partition(values, -top_k)[-top_k])
    return np.asarray(candidates[np.argsort(-values[candidates], kind="stable")][:top_k])


def resize_masks(mask_logits: np.ndarray, letterbox: Letterbox) -> Masks:
    """Bring mask logits to the camera frame and cut them at a probability of one half.

    Bilinear to the canvas, crop of the padding, bilinear to the frame (align_corners=False), on
    logits. Linear interpolation of non-positive logits is not positive, so for a small instance
    only the rectangle around the positive ones is computed.

    Args:
        mask_logits: (k, h, w) logits on the padded canvas, for the selected queries.
        letterbox: how the frame was placed on the canvas.

    Returns:
        k masks on the camera frame.

    Raises:
        ShapeError: if the array is not (k, h, w).
        InputError: if all masks together have too many pixels.
    """
    if mask_logits.ndim != 3:
        raise ShapeError(f"mask_logits must be (k, h, w), got {mask_logits.shape}")
    height, width = letterbox.frame_hw
    count = len(mask_logits)
    if count * height * width > MAX_MASK_PIXELS:
        raise InputError(
            f"{count} masks of {width}x{height} pixels are over the limit of {MAX_MASK_PIXELS} "
            "pixels; lower max_instances or resize the image first"
        )
    down, across = (_AxisResize.fit(mask_logits.shape[i + 1], letterbox, i) for i in (0, 1))
    canvas_height, canvas_width = letterbox.padded_hw
    whole_work = _WORK_PER_PIXEL * (canvas_height * canvas_width + height * width)
    crops = []
    for logits in mask_logits.astype(np.float32, copy=False):
        positive = logits > 0
        if not positive.any():
            crops.append(MaskCrop.empty())
            continue
        y, rows = down.reach(positive.any(axis=1))
        x, columns = across.reach(positive.any(axis=0))
        work = (y.stop - y.start) * (columns.stop - columns.start)
        work *= rows.stop - rows.start + x.stop - x.start
        if work > whole_work:
            crops.append(MaskCrop.cut(resize_map(logits, letterbox) > 0))
            continue
        resized = down.weights[y, rows] @ logits[rows, columns] @ across.weights[x, columns].T
        crops.append(MaskCrop.cut(resized > 0, y.start, x.start))
    return Masks(letterbox.frame_hw, tuple(crops))


def drop_parts_outside(masks: Masks, boxes_xyxy: np.ndarray) -> Masks:
    """Return the masks without the parts that do not touch their boxes.

    Args:
        masks: k masks.
        boxes_xyxy: (k, 4) corners in pixels of the masks; may lie partly outside.
    """
    starts, stops = np.floor(boxes_xyxy[:, :2]), np.ceil(boxes_xyxy[:, 2:])
    corners = np.concatenate([starts, stops], axis=1)
    kept = [_drop_parts(crop, box) for crop, box in zip(masks.crops, corners, strict=True)]
    return Masks(masks.frame_hw, tuple(kept))


def _drop_parts(crop: MaskCrop, corners: np.ndarray) -> MaskCrop:
    height, width = crop.pixels.shape
    within = corners - np.tile([crop.left, crop.top], 2)
    left, top, right, bottom = np.clip(within, 0, [width, height] * 2).astype(np.int64)
    inside = crop.pixels[top:bottom, left:right]
    # Most masks end with their box: nothing to number then.
    if np.count_nonzero(inside) == crop.area:
        return crop
    count, parts = cv2.connectedComponents(crop.pixels.astype(np.uint8), connectivity=8)
    touches = np.zeros(count, np.bool_)
    touches[parts[top:bottom, left:right][inside]] = True
    return MaskCrop.cut(touches[parts], crop.top, crop.left)


@dataclass(frozen=True, slots=True, eq=False)
class _AxisResize:
    """One axis of the resize from mask logits to the camera frame.

    Attributes:
        weights: (target, source), see `axis_weights`.
        first: (target,) first source sample that each target sample reads.
        last: (target,) last source sample that each target sample reads.
    """

    weights: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @staticmethod
    @lru_cache(maxsize=_KEPT_RESIZES)
    def fit(source: int, letterbox: Letterbox, axis: int) -> _AxisResize:
        """Make that of an axis, or return the one that is kept."""
        weights = axis_weights(
            source, letterbox.padded_hw[axis], letterbox.model_hw[axis], letterbox.frame_hw[axis]
        )
        used = weights != 0
        first, last = used.argmax(axis=1), source - 1 - used[:, ::-1].argmax(axis=1)
        return _AxisResize(weights, first, last)

    def reach(self, positive: np.ndarray) -> tuple[slice, slice]:
        """Return the targets that read a positive source, and the sources that these read."""
        indices = np.flatnonzero(positive)
        start = int(np.searchsorted(self.last, indices[0], side="left"))
        stop = int(np.searchsorted(self.first, indices[-1], side="right"))
        if start >= stop:
            return slice(0, 0), slice(0, 0)
        return slice(start, stop), slice(int(self.first[start]), int(self.last[stop - 1]) + 1)


def group_detections(
    selection: Selection,
    phrases: Sequence[str],
    frame_hw: tuple[int, int],
    masks: Masks | None = None,
) -> Detections:
    """Name the selected instances by phrase and clip their boxes to the frame.

    Args:
        selection: what `select_instances` chose.
        phrases: `phrases[i]` is the name of class i.
        frame_hw: height and width of the camera frame.
        masks: of the selection, or None.

    Raises:
        ShapeError: if a class has no phrase.
    """
    if len(selection) and int(selection.class_ids.max()) >= len(phrases):
        raise ShapeError(
            f"expected a phrase for class {int(selection.class_ids.max())}, got {len(phrases)}"
        )
    return Detections(
        boxes_xyxy=clip_boxes(selection.boxes_xyxy, frame_hw),
        scores=selection.scores,
        class_ids=selection.class_ids,
        labels=tuple(phrases[index] for index in selection.class_ids),
        masks=masks,
    )


def semantic_map(
    logits: np.ndarray,
    mask_logits: np.ndarray,
    letterbox: Letterbox,
    *,
    num_classes: int,
    merge_first: bool = True,
    score_threshold: float = 0.0,
) -> np.ndarray:
    """Merge all queries into one class per pixel.

    A class scores, at each pixel, the sum over queries of its score times the mask's.

    Args:
        logits: (Q, N) class logits, N >= num_classes.
        mask_logits: (Q, h, w) logits on the padded canvas.
        letterbox: how the frame was placed on the canvas.
        num_classes: real classes of the call, at least 1.
        merge_first: sum over queries, then resize (fast); False resizes every query first, which
            is equal up to rounding.
        score_threshold: pixels whose best class does not score higher are left unlabelled; 0
            labels all of them, which is the published rule.

    Returns:
        (H, W) uint16 class index on the camera frame, `UNLABELLED` where no class is good enough.
    """
    scores = sigmoid(logits[:, :num_classes].astype(np.float32))  # (Q, C)
    if merge_first:
        layers = _merge_maps(scores, mask_logits)  # (C, h, w)
    else:
        maps = sigmoid(mask_logits.astype(np.float32))  # (Q, h, w)
        maps = np.stack([resize_map(layer, letterbox) for layer in maps])  # (Q, H, W)
        layers = np.tensordot(scores.T, maps, axes=1)  # (C, H, W)
    # One class at a time: all of them at the size of the frame would fill the memory.
    totals = (resize_map(layer, letterbox) if merge_first else layer for layer in layers)
    best = next(totals)
    chosen = np.zeros(letterbox.frame_hw, np.uint16)
    for index, total in enumerate(totals, start=1):
        better = total > best
        np.copyto(best, total, where=better)
        np.copyto(chosen, np.uint16(index), where=better)
    if score_threshold:
        chosen[best <= score_threshold] = UNLABELLED
    return chosen


def _merge_maps(scores: np.ndarray, mask_logits: np.ndarray) -> np.ndarray:
    """Return (C, h, w) float32: the sum over queries of score (Q, C) times sigmoid of (Q, h, w)."""
    count, height, width = mask_logits.shape
    weights = np.ascontiguousarray(scores.T)
    logits = mask_logits.reshape(count, height * width)
    merged = np.empty((len(weights), height * width), np.float32)
    # Blocks of pixels stay in the processor's cache, and the maps of all queries are never there
    # at once.
    step = max(1, _BLOCK_VALUES // max(1, count))
    for start in range(0, height * width, step):
        block = logits[:, start : start + step].astype(np.float32)
        _apply_sigmoid(block)
        np.matmul(weights, block, out=merged[:, start : start + step])
    return merged.reshape(-1, height, width)


def _apply_sigmoid(logits: np.ndarray) -> None:
    """Replace logits by their sigmoid; unlike `sigmoid` it needs no other memory."""
    np.negative(logits, out=logits)
    with np.errstate(over="ignore"):  # 1 / (1 + inf) is the 0 that it should be
        np.exp(logits, out=logits)
    logits += 1
    np.reciprocal(logits, out=logits)


def resize_map(layer: np.ndarray, letterbox: Letterbox) -> np.ndarray:
    """Resize one (h, w) float32 map from the padded canvas to the whole camera frame."""
    canvas = cv2.resize(layer, letterbox.padded_hw[::-1], interpolation=cv2.INTER_LINEAR)
    valid = canvas[: letterbox.model_hw[0], : letterbox.model_hw[1]]
    return np.asarray(cv2.resize(valid, letterbox.frame_hw[::-1], interpolation=cv2.INTER_LINEAR))
