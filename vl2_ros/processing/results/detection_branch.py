"""Turn the outputs of one call of the detection decoder into a branch of a result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from vl2_ros.geometry import Letterbox
from vl2_ros.processing.results.detection import (
    drop_parts_outside,
    group_detections,
    resize_masks,
    select_instances,
    semantic_map,
)
from vl2_ros.processing.results.pose import NMS_OKS
from vl2_ros.structures import Branch, Detections, LabelMap, Masks, Route


@dataclass(frozen=True, slots=True)
class InstanceLimits:
    """The instances that are kept.

    Attributes:
        score_threshold: only scores above it.
        max_instances: most instances, best first.
        with_masks: False skips masks and label map.
        single: phrases that stand for one thing, so that only their best query counts.
        nms_oks: of two poses more alike than this the better is kept; None keeps both.
    """

    score_threshold: float
    max_instances: int
    with_masks: bool = True
    single: frozenset[str] = frozenset()
    nms_oks: float | None = NMS_OKS


def make_branch(
    raw: Mapping[str, np.ndarray],
    letterbox: Letterbox,
    route: Route,
    phrases: tuple[str, ...],
    limits: InstanceLimits,
    *,
    joined_masks: bool = False,
) -> Branch:
    """Choose instances and bring them, and for SEGMENT the class of each pixel, to the frame.

    Args:
        raw: `pred_logits` (Q, N), `pred_boxes` (Q, 4) cxcywh as shares of the image,
            `mask_queries` (Q, M) and `mask_features` (M, h, w); the last two are read where masks
            are wanted.
        letterbox: how the frame was placed on the canvas.
        route: what opened the slots.
        phrases: what each class stands for.
        limits: which instances are kept.
        joined_masks: see `ProcessingConfig`; the label map is of all things and stays.
    """
    is_mapped = route is Route.SEGMENT and limits.with_masks
    # Of all queries, for the map; instances are then a few of them.
    mask_logits = _make_masks(raw, slice(None)) if is_mapped else None  # (Q, h, w)
    found = _choose_instances(raw, letterbox, route, phrases, limits, mask_logits)
    if joined_masks and found.masks is not None:
        found = replace(found, masks=drop_parts_outside(found.masks, found.boxes_xyxy))
    if mask_logits is None:
        return Branch(route, phrases, found)
    class_ids = semantic_map(
        raw["pred_logits"],
        mask_logits,
        letterbox,
        num_classes=len(phrases),
        score_threshold=limits.score_threshold,
    )
    label_map = LabelMap(class_ids, limits.score_threshold)
    return Branch(route, phrases, found, label_map)


def _choose_instances(
    raw: Mapping[str, np.ndarray],
    letterbox: Letterbox,
    route: Route,
    phrases: tuple[str, ...],
    limits: InstanceLimits,
    mask_logits: np.ndarray | None,
) -> Detections:
    logits = raw["pred_logits"][:, : len(phrases)]
    # A referring phrase stands for one thing, as a region does: only its best query competes.
    several = np.array([route is not Route.GROUND and one not in limits.single for one in phrases])
    logits = np.where(several | (logits == logits.max(axis=0)), logits, -np.inf)
    selection = select_instances(
        logits,
        raw["pred_boxes"],
        num_classes=len(phrases),
        frame_hw=letterbox.frame_hw,
        top_k=limits.max_instances,
        score_threshold=limits.score_threshold,
    )
    masks = Masks(letterbox.frame_hw, ()) if limits.with_masks else None
    if limits.with_masks and len(selection):
        # Masks are made for the chosen only, where they are not all there.
        chosen = selection.query_index
        made = _make_masks(raw, chosen) if mask_logits is None else mask_logits[chosen]
        masks = resize_masks(made, letterbox)
    return group_detections(selection, phrases, letterbox.frame_hw, masks)


def _make_masks(raw: Mapping[str, np.ndarray], queries: np.ndarray | slice) -> np.ndarray:
    """Return the mask logits (k, h, w) of some queries."""
    return np.tensordot(raw["mask_queries"][queries], raw["mask_features"], axes=1)
