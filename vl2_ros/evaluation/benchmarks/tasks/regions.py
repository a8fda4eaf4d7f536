"""Masks of objects that visual prompts point at: interactive segmentation, scored by mIoU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Row, read_annotations
from vl2_ros.evaluation.benchmarks.task import Answer, BenchmarkData
from vl2_ros.evaluation.benchmarks.visual_prompts import make_prompt
from vl2_ros.evaluation.coco.shapes import decode_mask
from vl2_ros.evaluation.masks import ReferringScorer
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import MAX_VISUAL_PROMPTS, Command, Frame, PromptKind

_SENTENCE = "segment these regions"


class RegionsTask:
    """Points at every object of an image and compares the masks that come back.

    Args:
        data: a COCO file with masks; groups (iscrowd) are skipped.
        top_k: most instances of an image.
        kind: how the model is pointed at objects.
    """

    def __init__(self, data: BenchmarkData, *, top_k: int, kind: PromptKind) -> None:
        """Read the annotations."""
        self._annotations = read_annotations(data.only_path, masks=True)
        self._folder = data.image_folder
        self._top_k, self._kind = top_k, kind
        self._images = [one for one in self._annotations.images if self._list_objects(one)]
        if not self._images:
            raise InputError(f"{data.only_path} has no image with a mask")
        self.keys = tuple(f"image {one['id']} {one['file_name']}" for one in self._images)

    @property
    def bad(self) -> Mapping[str, str]:
        """Return what was dropped from the annotations."""
        return self._annotations.bad.reasons

    def _list_objects(self, image: Row) -> list[Row]:
        rows = self._annotations.by_image.get(image["id"], ())
        return [row for row in rows if not row.get("iscrowd")]

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return overlap and union of the masks of each object."""
        image = self._images[index]
        frame = self._annotations.read_frame(image, self._folder)
        objects = self._list_objects(image)
        counts = []
        for start in range(0, len(objects), MAX_VISUAL_PROMPTS):
            chosen = objects[start : start + MAX_VISUAL_PROMPTS]
            masks = [decode_mask(row["segmentation"]) for row in chosen]
            counts += self._compare(pipeline, frame, masks)
        return {"prompts": counts}

    def _compare(
        self, pipeline: Pipeline, frame: Frame, masks: list[np.ndarray]
    ) -> list[list[int]]:
        command = Command(
            _SENTENCE,
            score_threshold=0.0,
            max_instances=self._top_k,
            visual_prompts=tuple(make_prompt(self._kind, mask) for mask in masks),
            direct=True,
        )
        found = pipeline.answer(frame, command).detections
        counts = []
        for number, truth in enumerate(masks):
            # Best first, so that the first of a region is its answer.
            own = np.flatnonzero(found.class_ids == number)
            mask = np.zeros_like(truth)
            if len(own) and found.masks is not None:
                mask = found.masks[int(own[0])]
            counts.append(
                [int(np.count_nonzero(truth & mask)), int(np.count_nonzero(truth | mask))]
            )
        return counts

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return the mean IoU over the prompts, and all overlaps over all unions."""
        scorer = ReferringScorer()
        for answer in answers.values():
            for overlap, union in answer["prompts"]:
                scorer.add_counts(overlap, union)
        return {"miou": scorer.giou(), "ciou": scorer.ciou()}
