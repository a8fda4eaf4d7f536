"""Poses of the objects of a COCO file of any skeleton: average precision over OKS, or PCK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vl2_ros.documents import check_list, check_number, shorten
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Annotations, Row, read_annotations
from vl2_ros.evaluation.benchmarks.task import Answer, BenchmarkData
from vl2_ros.evaluation.benchmarks.tasks.objects import keep_best, score_kind
from vl2_ros.evaluation.coco.tool import CocoKind
from vl2_ros.evaluation.keypoints import PckScorer
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.geometry import box_iou
from vl2_ros.processing.language.pose_prompt import MAX_OBJECTS
from vl2_ros.processing.sigmas import find_sigmas, list_keypoint_names
from vl2_ros.structures import Detections, Frame


class PosesTask:
    """Looks for the keypoints of all classes in every image.

    Args:
        data: a COCO file; its categories share one list of keypoints.
        top_k: most instances of an image.
        in_crowds: whether OKS is counted as CrowdPose does.
    """

    def __init__(self, data: BenchmarkData, *, top_k: int, in_crowds: bool = False) -> None:
        """Read the annotations."""
        self._annotations = read_annotations(data.only_path)
        if not self._annotations.categories:
            raise InputError(f"{data.only_path} lists no categories; expected COCO's format")
        if in_crowds:
            _check_crowds(self._annotations)
        self._keypoints = _find_skeleton(self._annotations)
        self._drop_other_skeletons()
        self._folder = data.image_folder
        self._top_k, self._in_crowds = top_k, in_crowds
        self.keys = self._annotations.keys()

    @property
    def bad(self) -> Mapping[str, str]:
        """Return what was dropped from the annotations."""
        return self._annotations.bad.reasons

    def _drop_other_skeletons(self) -> None:
        expected = 3 * len(self._keypoints)
        for rows in self._annotations.by_image.values():
            for row in [one for one in rows if len(one.get("keypoints", ())) not in (0, expected)]:
                self._annotations.bad.add(
                    f"annotation {row.get('id')}",
                    f"it has {len(row['keypoints'])} numbers for {len(self._keypoints)} keypoints",
                )
                rows.remove(row)

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return rows of COCO results, with boxes."""
        image = self._annotations.images[index]
        frame = self._annotations.read_frame(image, self._folder)
        names = self._annotations.names
        found = find_poses(pipeline, frame, names, self._keypoints, self._top_k)
        return {"rows": self._list_rows(found, image["id"])}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return average precision over OKS, and PCK at 0.2 of the longer side of the box."""
        images = [self._annotations.images[index] for index in answers]
        rows = [
            {name: value for name, value in row.items() if name != "bbox"}
            for answer in answers.values()
            for row in answer["rows"]
        ]
        kind = CocoKind.CROWD_KEYPOINTS if self._in_crowds else CocoKind.KEYPOINTS
        document, sigmas = self._annotations.document(images), find_sigmas(self._keypoints)
        scores = score_kind(document, rows, kind, "keypoint", sigmas)
        return scores | self._score_pck(images, list(answers.values()))

    def _list_truth(self, image: Row) -> list[Row]:
        rows = self._annotations.by_image.get(image["id"], ())
        posed = [one for one in rows if one.get("keypoints") and one.get("bbox")]
        return [one for one in posed if not one.get("iscrowd")]

    def _score_pck(self, images: Sequence[Row], answers: Sequence[Answer]) -> dict[str, float]:
        scorer, count = PckScorer(), 0
        for image, answer in zip(images, answers, strict=True):
            truth = self._list_truth(image)
            for row, found_xy in zip(truth, match_poses(truth, answer["rows"]), strict=True):
                x, y, width, height = row["bbox"]
                points = np.array(row["keypoints"], np.float64).reshape(-1, 3)
                scorer.add(points, np.array([x, y, x + width, y + height]), found_xy)
                count += int((points[:, 2] > 0).sum())
        return {"pck": scorer.score()} if count else {}

    def _list_rows(self, found: Detections, image_id: object) -> list[Answer]:
        if found.keypoints is None:
            return []
        return [
            {
                "image_id": image_id,
                "category_id": self._annotations.categories[int(class_id)]["id"],
                "score": float(score),
                "keypoints": [value for x, y in points.tolist() for value in (x, y, 1)],
                "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            }
            for points, box, score, class_id in zip(
                found.keypoints.points_xy,
                found.boxes_xyxy,
                found.scores,
                found.class_ids,
                strict=True,
            )
        ]


def _check_crowds(annotations: Annotations) -> None:
    """Check that every image says how crowded it is."""
    for image in annotations.images:
        if "crowdIndex" not in image:
            raise InputError(
                f"image {image['id']} has no crowdIndex; expected CrowdPose's annotations, score "
                "others by coco-keypoints"
            )
        check_number("crowdIndex", image["crowdIndex"], least=0.0, most=1.0, error=InputError)


def _find_skeleton(annotations: Annotations) -> tuple[str, ...]:
    """Return the names of the keypoints that all categories share."""
    named = {
        tuple(map(str, check_list("keypoints", row["keypoints"], error=InputError)))
        for row in annotations.categories
        if row.get("keypoints")
    }
    if len(named) == 1:
        return named.pop()
    if not named:
        posed = [row["keypoints"] for row in annotations.rows() if row.get("keypoints")]
        counts = {len(numbers) // 3 for numbers in posed}
        guessed = list_keypoint_names(counts.pop()) if len(counts) == 1 else ()
        if guessed:
            return guessed
    raise InputError(
        f"the categories name {len(named)} lists of keypoints; expected one for all, got "
        f"{shorten(sorted(named))}"
    )


def find_poses(
    pipeline: Pipeline, frame: Frame, objects: Sequence[str], keypoints: Sequence[str], top_k: int
) -> Detections:
    """Look for the keypoints of all objects; in several passes where there are more than fit.

    Returns:
        the best `top_k`, `class_ids` index `objects`.
    """
    most = min(MAX_OBJECTS, pipeline.processing.max_classes)
    parts = []
    for start in range(0, len(objects), most):
        asked = objects[start : start + most]
        found = pipeline.pose(frame, asked, keypoints, max_instances=top_k).detections
        parts.append((found, found.class_ids + start))
    return keep_best(parts, objects, top_k)


def match_poses(truth: Sequence[Row], found: Sequence[Row]) -> list[np.ndarray | None]:
    """Choose the found keypoints that each labelled instance is compared with.

    A single instance gets those with the best score, as the published numbers do; several get
    those whose box overlaps theirs most.

    Args:
        truth: annotations with boxes.
        found: results of the image.

    Returns:
        (K, 2) each, in camera pixels; None where nothing was found.
    """
    if not found:
        return [None] * len(truth)
    points = [np.array(row["keypoints"], np.float64).reshape(-1, 3)[:, :2] for row in found]
    if len(truth) == 1:
        return [points[int(np.argmax([row["score"] for row in found]))]]
    overlaps = box_iou(_list_boxes(truth), _list_boxes(found))
    return [points[best] if row[best] > 0 else None for row in overlaps for best in [row.argmax()]]


def _list_boxes(rows: Sequence[Row]) -> np.ndarray:
    """Return (N, 4) corners."""
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
