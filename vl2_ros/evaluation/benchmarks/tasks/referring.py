"""One thing for each sentence: referring expressions, and questions that take reasoning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vl2_ros.datasets.reading.expressions import clean_expression, list_raw_texts
from vl2_ros.documents import check_list, check_number, check_object, check_text, read_json
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Row, read_annotations
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData, read_frame
from vl2_ros.evaluation.masks import ReferringScorer
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.geometry import box_iou
from vl2_ros.structures import Detections, Route

#: A box is right from this IoU on.
_RIGHT_IOU = 0.5
_IMAGE_ENDINGS = (".jpg", ".jpeg", ".png")
#: Most rows and points of a record.
_MAX_SHAPES = 100_000


class ReferringTask:
    """Asks for every expression of every annotation.

    Args:
        data: a COCO file whose annotations, or images with one annotation, have `expressions`, or
            a `caption`; `sentences` as RefCOCO's own tools write them are read as well.
    """

    def __init__(self, data: BenchmarkData) -> None:
        """Read the annotations and list their expressions."""
        self._annotations = read_annotations(data.only_path)
        self._folder = data.image_folder
        self._records = list(self._list_records())
        if not self._records:
            raise InputError(
                f"{data.only_path} has no expressions; expected `expressions` in its annotations, "
                "or in images with one annotation"
            )
        self.keys = tuple(
            f"annotation {row.get('id')} of {image['file_name']}: {text}, {number}"
            for number, (image, row, text) in enumerate(self._records)
        )

    @property
    def bad(self) -> Mapping[str, str]:
        """Return what was dropped from the annotations."""
        return self._annotations.bad.reasons

    def _list_records(self) -> Iterator[tuple[Row, Row, str]]:
        for image in self._annotations.images:
            rows = self._annotations.by_image.get(image["id"], ())
            for row in rows:
                texts = list_raw_texts(row) or (list_raw_texts(image) if len(rows) == 1 else [])
                for text in texts:
                    if not row.get("bbox") and not row.get("segmentation"):
                        self._annotations.bad.add(f"annotation {row.get('id')}", "it has no shape")
                    elif not clean_expression(text):
                        self._annotations.bad.add(
                            f"annotation {row.get('id')}", f"its expression {text!r} is empty"
                        )
                    else:
                        yield image, row, text

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return the IoU of the box, and overlap and union of the masks."""
        image, row, text = self._records[index]
        frame = self._annotations.read_frame(image, self._folder)
        branch = pipeline.detect(
            frame, [clean_expression(text)], route=Route.GROUND, max_instances=1
        )
        found = branch.detections
        answer: Answer = {}
        if row.get("bbox"):
            answer["box_iou"] = _overlap_box(row["bbox"], found)
        if row.get("segmentation"):
            answer |= _overlap_masks(_decode(row["segmentation"]), found)
        return answer

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return P@0.5 of boxes, cIoU and gIoU of masks, whichever the annotations have."""
        boxes = [one["box_iou"] for one in answers.values() if "box_iou" in one]
        scores = {}
        if boxes:
            scores["accuracy"] = float(np.mean([iou >= _RIGHT_IOU for iou in boxes]))
        return scores | _score_masks(answers)


class ReasoningTask:
    """Asks the first question of every record.

    Args:
        data: a folder of images, each with a JSON file of the same name that has `text`, the
            questions, and `shapes`, polygons that are labelled target or ignore.
    """

    def __init__(self, data: BenchmarkData) -> None:
        """List the records."""
        folder = data.only_path
        if not folder.is_dir():
            raise InputError(f"expected a folder of images with a JSON each, got {folder}")
        self._images = data.images or folder
        self._files = sorted(folder.rglob("*.json"))
        if not self._files:
            raise InputError(f"there is no JSON file in {folder}; expected one for each image")
        self.keys = tuple(str(path.relative_to(folder)) for path in self._files)
        self._bad = BadRows()

    @property
    def bad(self) -> Mapping[str, str]:
        """Return nothing: each record is read when it is asked."""
        return self._bad.reasons

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return overlap and union of the masks."""
        path = self._files[index]
        record = check_object(path.name, read_json(path, InputError), error=InputError)
        texts = record.get("text")
        texts = [texts] if isinstance(texts, str) else check_list("text", texts, error=InputError)
        if not texts or not check_text("text", texts[0], error=InputError).strip():
            raise InputError(f"{path.name} has no question in `text`")
        frame = read_frame(self._images, _find_image(self._images, path))
        truth, ignored = draw_shapes(record.get("shapes"), frame.frame_hw)
        found = pipeline.ground(frame, texts[0]).detections
        return _overlap_masks(truth, found, ignored)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return gIoU and cIoU."""
        return _score_masks(answers)


def _find_image(folder: Path, path: Path) -> str:
    for ending in _IMAGE_ENDINGS:
        for one in (path.with_suffix(ending), folder / path.with_suffix(ending).name):
            if one.is_file() and one.is_relative_to(folder):
                return str(one.relative_to(folder))
    raise InputError(f"there is no image beside {path.name} in {folder}")


def draw_shapes(shapes: Any, frame_hw: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Draw the polygons of a record, the largest first, outlines included.

    Args:
        shapes: objects with `label` and `points`; those labelled ignore do not count, those
            labelled flag are skipped, all others are the target.
        frame_hw: height and width of the image.

    Returns:
        (H, W) bool, the target and the pixels that do not count.

    Raises:
        InputError: if a polygon cannot be drawn.
    """
    polygons = []
    for shape in check_list("shapes", shapes, most=_MAX_SHAPES, error=InputError):
        shape = check_object("a shape", shape, error=InputError)
        label = check_text("label", shape.get("label"), error=InputError).lower()
        points = _check_points(shape.get("points"))
        if "flag" not in label:
            polygons.append((points, "ignore" in label, abs(cv2.contourArea(points))))
    labels = np.zeros(frame_hw, np.uint8)
    # Small things lie on large ones.
    for points, is_ignored, _ in sorted(polygons, key=lambda one: -one[2]):
        cv2.polylines(labels, [points], True, 2 if is_ignored else 1, 1)
        cv2.fillPoly(labels, [points], 2 if is_ignored else 1)
    return labels == 1, labels == 2


def _check_points(value: Any) -> np.ndarray:
    points = check_list("points", value, most=_MAX_SHAPES, error=InputError)
    pairs = [check_list("a point", one, most=2, error=InputError) for one in points]
    if len(pairs) < 3 or any(len(one) != 2 for one in pairs):
        raise InputError(f"a polygon must have 3 points [x, y] or more, got {len(pairs)}")
    numbers = [
        [check_number("a point", one, least=-1e5, most=1e5, error=InputError) for one in pair]
        for pair in pairs
    ]
    return np.array(numbers, np.float64).astype(np.int32)


def _overlap_box(box: Any, found: Detections) -> float:
    if not len(found):
        return 0.0
    x, y, width, height = box
    truth = np.array([[x, y, x + width, y + height]], np.float64)
    return float(box_iou(truth, found.boxes_xyxy[:1])[0, 0])


def _overlap_masks(
    truth: np.ndarray, found: Detections, ignored: np.ndarray | None = None
) -> Answer:
    mask = np.zeros_like(truth)
    if len(found) and found.masks is not None:
        mask = found.masks[0]
    if ignored is not None:
        mask = mask & ~ignored
    return {
        "overlap": int(np.count_nonzero(truth & mask)),
        "union": int(np.count_nonzero(truth | mask)),
    }


def _decode(runs: Row) -> np.ndarray:
    from vl2_ros.evaluation.coco.shapes import decode_mask

    return decode_mask(runs)


def _score_masks(answers: Mapping[int, Answer]) -> dict[str, float]:
    scorer = ReferringScorer()
    for answer in answers.values():
        if "union" in answer:
            scorer.add_counts(answer["overlap"], answer["union"])
    return {"giou": scorer.giou(), "ciou": scorer.ciou()} if len(scorer) else {}
