"""Objects of the classes of a COCO file: boxes and masks, scored by average precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Annotations, read_annotations
from vl2_ros.evaluation.benchmarks.task import Answer, BenchmarkData
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import Detections, Frame, Keypoints, Masks
from vl2_ros.views.formats.coco import compress_rle


class ObjectsTask:
    """Looks for all classes in every image.

    Args:
        data: a COCO file.
        top_k: most instances of an image.
        with_masks: whether masks are compared beside boxes.
    """

    def __init__(self, data: BenchmarkData, *, top_k: int, with_masks: bool) -> None:
        """Read the annotations."""
        self._annotations = read_annotations(data.only_path)
        if not self._annotations.categories:
            raise InputError(f"{data.only_path} lists no categories; expected COCO's format")
        self._folder = data.image_folder
        self._top_k, self._with_masks = top_k, with_masks
        self.keys = self._annotations.keys()
        if with_masks:
            for row in self._annotations.rows():
                if not row.get("segmentation"):
                    name = f"annotation {row.get('id')}"
                    self._annotations.bad.add(
                        name, "it has no mask; its image counts for boxes alone"
                    )

    @property
    def bad(self) -> Mapping[str, str]:
        """Return what was dropped from the annotations."""
        return self._annotations.bad.reasons

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return rows of COCO results."""
        image = self._annotations.images[index]
        frame = self._annotations.read_frame(image, self._folder)
        names = self._annotations.names
        found = find_objects(pipeline, frame, names, self._top_k, with_masks=self._with_masks)
        return {"rows": list_rows(found, image["id"], self._annotations)}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return average precision of boxes, and of masks where they are compared."""
        document = self._annotations.document([self._annotations.images[i] for i in answers])
        rows = [row for answer in answers.values() for row in answer["rows"]]
        scores = score_kind(document, rows, CocoKind.BOXES, "box")
        return scores | self._score_masks(document, rows) if self._with_masks else scores

    def _score_masks(self, document: Answer, rows: Sequence[Answer]) -> dict[str, float]:
        """Score the images whose every object has a mask: elsewhere a mask may be right."""
        bare = {row["image_id"] for row in document["annotations"] if not row.get("segmentation")}
        masked = {
            "images": [one for one in document["images"] if one["id"] not in bare],
            "categories": document["categories"],
            "annotations": [row for row in document["annotations"] if row["image_id"] not in bare],
        }
        if not masked["annotations"]:
            return {}
        rows = [row for row in rows if row["image_id"] not in bare]
        return score_kind(masked, rows, CocoKind.MASKS, "mask")


def score_kind(
    document: Answer,
    rows: Sequence[Answer],
    kind: CocoKind,
    name: str,
    sigmas: Sequence[float] | None = None,
) -> dict[str, float]:
    """Return `NAME_ap`, `_ap50`, `_ap75` and for crowds three more; zeros where nothing is found.

    A number that has nothing to count is missing.

    Args:
        document: annotations of the answered images.
        rows: results.
        kind: what is compared.
        name: first word of the numbers.
        sigmas: falloffs of keypoints.

    Raises:
        InputError: if the images have no annotation.
    """
    if not document["annotations"]:
        raise InputError("the answered images have no annotation; raise --limit")
    parts = ("easy", "medium", "hard") if kind is CocoKind.CROWD_KEYPOINTS else ()
    if not rows:
        return dict.fromkeys([f"{name}_{one}" for one in _list_names(parts)], 0.0)
    found = score_coco(document, rows, kind, sigmas=sigmas)
    numbers = (found.ap, found.ap50, found.ap75, *(found.by_name[f"AP_{one}"] for one in parts))
    named = zip(_list_names(parts), numbers, strict=True)
    # The library's -1 is of images without anything to find.
    return {f"{name}_{one}": value for one, value in named if value >= 0}


def _list_names(parts: Sequence[str]) -> list[str]:
    return ["ap", "ap50", "ap75", *(f"ap_{one}" for one in parts)]


def find_objects(
    pipeline: Pipeline, frame: Frame, names: Sequence[str], top_k: int, *, with_masks: bool
) -> Detections:
    """Look for all names; in several passes where the model accepts fewer at once.

    Returns:
        the best `top_k`, `class_ids` index `names`.
    """
    most = pipeline.processing.max_classes
    parts = []
    for start in range(0, len(names), most):
        found = pipeline.detect(
            frame, names[start : start + most], max_instances=top_k, with_masks=with_masks
        ).detections
        parts.append((found, found.class_ids + start))
    return keep_best(parts, names, top_k)


def keep_best(
    parts: Sequence[tuple[Detections, np.ndarray]], names: Sequence[str], top_k: int
) -> Detections:
    """Join what several passes found, with the class ids that they stand for, best first."""
    if len(parts) == 1:
        return parts[0][0]
    found = [one for one, _ in parts]
    scores = np.concatenate([one.scores for one in found])
    order = np.argsort(-scores, kind="stable")[:top_k]
    class_ids = np.concatenate([ids for _, ids in parts])[order]
    crops = [crop for one in found if one.masks is not None for crop in one.masks.crops]
    first, points = found[0], [one.keypoints for one in found if one.keypoints is not None]
    return Detections(
        np.concatenate([one.boxes_xyxy for one in found])[order],
        scores[order],
        class_ids,
        tuple(names[one] for one in class_ids),
        None if first.masks is None else Masks(first.masks.frame_hw, tuple(crops)).take(order),
        _join_keypoints(points).take(order) if points else None,
    )


def _join_keypoints(points: Sequence[Keypoints]) -> Keypoints:
    return Keypoints(
        points[0].names,
        np.concatenate([one.points_xy for one in points]),
        np.concatenate([one.scores for one in points]),
        points[0].edges,
    )


def list_rows(found: Detections, image_id: object, annotations: Annotations) -> list[Answer]:
    """Return detections as rows of COCO results, masks as compressed run lengths."""
    rows = []
    for index, (box, score, _) in enumerate(found):
        x1, y1, x2, y2 = (float(value) for value in box)
        row = {
            "image_id": image_id,
            "category_id": annotations.categories[int(found.class_ids[index])]["id"],
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        if found.masks is not None:
            runs = found.masks.crops[index].encode(found.masks.frame_hw)
            row["segmentation"] = compress_rle(runs)
        rows.append(row)
    return rows
