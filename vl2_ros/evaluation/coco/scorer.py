"""Score detections by COCO average precision, with faster-coco-eval.

Numbers come from the library alone; this file only writes what it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.structures import Detections


@dataclass(frozen=True, slots=True, eq=False)
class GroundTruth:
    """Ground truth of one frame.

    Attributes:
        boxes_xyxy: (N, 4) corners in camera pixels, end-exclusive.
        class_ids: (N,) int, index into the class names of the scorer.
        masks: (N, H, W) bool, or None where boxes alone are scored.
    """

    boxes_xyxy: np.ndarray
    class_ids: np.ndarray
    masks: np.ndarray | None = None

    def __post_init__(self) -> None:
        """Check that the arrays are parallel."""
        count = len(self.class_ids)
        if self.boxes_xyxy.shape != (count, 4):
            raise ShapeError(f"boxes_xyxy must be ({count}, 4), got {self.boxes_xyxy.shape}")
        if self.masks is not None and (self.masks.ndim != 3 or len(self.masks) != count):
            raise ShapeError(f"masks must be ({count}, H, W), got {self.masks.shape}")


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """Mean over classes that occur; 0..1.

    Attributes:
        ap: mean over IoU thresholds .50 to .95.
        ap50: at IoU threshold .50.
    """

    ap: float
    ap50: float


class CocoScorer:
    """Collects frames and scores them; at most 100 detections per class and frame count.

    Masks are kept run-length encoded, so thousands of frames fit in memory.

    Args:
        class_names: what the class ids stand for; only classes that occur in the truth count.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        """Start with no frame."""
        self._class_names = tuple(class_names)
        self._frame_hw: list[tuple[int, int]] = []
        self._truth: list[dict[str, Any]] = []
        self._found_boxes: list[dict[str, Any]] = []
        self._found_masks: list[dict[str, Any]] = []

    def add(self, truth: GroundTruth, found: Detections) -> None:
        """Add one frame.

        Args:
            truth: what is there.
            found: what was found, `class_ids` into the scorer's class names; masks are scored
                when both sides have them.

        Raises:
            InputError: if a class id lies outside the class names.
        """
        self._check_ids(truth.class_ids)
        self._check_ids(found.class_ids)
        # Only masks need the size of the frame.
        self._frame_hw.append((1, 1) if truth.masks is None else truth.masks.shape[1:])
        for index, (box, class_id) in enumerate(
            zip(truth.boxes_xyxy, truth.class_ids, strict=True)
        ):
            row = self._row(box, class_id)
            row |= {
                "id": len(self._truth) + 1,
                "iscrowd": 0,
                "area": row["bbox"][2] * row["bbox"][3],
            }
            if truth.masks is not None:
                row["segmentation"] = _encode_mask(truth.masks[index])
                row["area"] = float(truth.masks[index].sum())
            self._truth.append(row)
        for index, (box, score, _) in enumerate(found):
            row = self._row(box, found.class_ids[index]) | {"score": score}
            self._found_boxes.append(row)
            if found.masks is not None and truth.masks is not None:
                mask_row = {key: row[key] for key in ("image_id", "category_id", "score")}
                mask_row["segmentation"] = _encode_mask(found.masks[index])
                self._found_masks.append(mask_row)

    def boxes(self) -> AveragePrecision:
        """Score the boxes of all frames added so far."""
        return self._evaluate(CocoKind.BOXES, self._found_boxes)

    def boxes_of_any_class(self) -> AveragePrecision:
        """Score the boxes as if there were one class: how well things are located."""
        return self._evaluate(CocoKind.BOXES, self._found_boxes, with_classes=False)

    def masks(self) -> AveragePrecision:
        """Score the masks of all frames added so far."""
        return self._evaluate(CocoKind.MASKS, self._found_masks)

    def _row(self, box_xyxy: np.ndarray, class_id: int) -> dict[str, Any]:
        x1, y1, x2, y2 = (float(value) for value in box_xyxy)
        return {
            "image_id": len(self._frame_hw),
            "category_id": int(class_id) + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
        }

    def _check_ids(self, class_ids: np.ndarray) -> None:
        count = len(self._class_names)
        if len(class_ids) and not 0 <= class_ids.min() <= class_ids.max() < count:
            raise InputError(f"class ids must lie in 0..{count - 1}, got {class_ids}")

    def _evaluate(
        self, kind: CocoKind, rows: list[dict[str, Any]], *, with_classes: bool = True
    ) -> AveragePrecision:
        if not self._truth or not rows:
            return AveragePrecision(0.0, 0.0)
        document = {
            "images": [
                {"id": index + 1, "height": height, "width": width}
                for index, (height, width) in enumerate(self._frame_hw)
            ],
            "categories": [
                {"id": index + 1, "name": name} for index, name in enumerate(self._class_names)
            ],
            "annotations": self._truth,
        }
        scores = score_coco(document, rows, kind, with_classes=with_classes)
        return AveragePrecision(scores.ap, scores.ap50)


def _encode_mask(mask: np.ndarray) -> dict[str, Any]:
    from faster_coco_eval import mask as mask_codec

    encoded: dict[str, Any] = mask_codec.encode(np.asfortranarray(mask.astype(np.uint8)))
    return encoded
