"""COCO keypoints of any skeleton: objects first, then their keypoints by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import Group, LabelledPoses, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.sources.labelled_source import ClassChoice
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.errors import ConfigError
from vl2_ros.processing.language.pose_prompt import fill_keypoint_answer
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.processing.sigmas import find_sigmas
from vl2_ros.processing.skeletons import normalise_name
from vl2_ros.structures import Route


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoKeypointsOptions(CocoOptions):
    """Options of COCO keypoints.

    Attributes:
        sigmas: OKS falloff of each keypoint; () takes the file's, else those of
            evaluation.
        max_classes: most classes of a question.
        max_keypoints: most keypoints of a question.
    """

    sigmas: tuple[float, ...] = ()
    max_classes: int = 100
    max_keypoints: int = 68


@dataclass(frozen=True, slots=True)
class _Skeleton:
    """Categories that share one list of keypoints.

    Attributes:
        categories: their positions.
        names: of the keypoints, as they stand in prompts.
        sigmas: of each keypoint.
    """

    categories: tuple[int, ...]
    names: tuple[str, ...]
    sigmas: np.ndarray


class CocoKeypoints(CocoSource):
    """Asks for classes of objects and for keypoints by name.

    Args:
        options: of the source.
    """

    group = Group.POSE

    def __init__(self, options: CocoKeypointsOptions) -> None:
        """Read the index and gather the skeletons."""
        super().__init__(options, IndexOptions(options.max_bytes, with_keypoints=True))
        self._most_keypoints = options.max_keypoints
        self._choice = ClassChoice(options.max_classes, all_share=0.2, most_absent=5)
        self._skeletons = self._gather_skeletons(options.sigmas)
        skeleton_of = {
            category: number
            for number, skeleton in enumerate(self._skeletons)
            for category in skeleton.categories
        }
        if self._index is None:
            return
        count = len(self._index.categories)
        self._skeleton_of = np.array([skeleton_of.get(one, -1) for one in range(count)], np.int64)
        has_some = self._skeleton_of[self._index.category_index] >= 0
        images = {self._index.image_of(one) for one in np.flatnonzero(has_some).tolist()}
        self._records = np.array(sorted(images), np.int64)

    def _gather_skeletons(self, sigmas: Sequence[float]) -> list[_Skeleton]:
        categories = () if self._index is None else self._index.categories
        by_names: dict[tuple[str, ...], list[int]] = {}
        for position, category in enumerate(categories):
            names = tuple(normalise_name(neutralise(name)) for name in category.keypoints)
            if not names:
                continue
            if not all(names) or len(set(names)) < len(names):
                bad = BadRecordError("categories", "keypoint names blank or repeated", str(names))
                self.report.skip(bad, category.name)
                continue
            by_names.setdefault(names, []).append(position)
        if sigmas and by_names and all(len(sigmas) != len(names) for names in by_names):
            raise ConfigError(
                f"{self.name}: expected one sigma for each keypoint, of which there are "
                f"{', '.join(str(len(names)) for names in by_names)}, got {len(sigmas)}"
            )
        return [
            _Skeleton(
                tuple(positions),
                names,
                np.array(
                    _first_fitting(names, sigmas, categories[positions[0]].sigmas), np.float32
                ),
            )
            for names, positions in by_names.items()
        ]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes that have keypoints."""
        return tuple(
            self.index.categories[one].name
            for skeleton in self._skeletons
            for one in skeleton.categories
        )

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return the names of the classes and of their keypoints."""
        points = [name for skeleton in self._skeletons for name in skeleton.names]
        return (*self.class_names, *points)

    def count_classes(self) -> dict[str, int]:
        """Return how many objects there are of each class that has keypoints."""
        if self._index is None:
            return {}
        counts = np.bincount(
            self._index.category_index, minlength=len(self._index.categories)
        ).tolist()
        return {
            self._index.categories[one].name: counts[one]
            for skeleton in self._skeletons
            for one in skeleton.categories
        }

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image = int(self._records[index])
        frame = self.index.read_image(image)
        numbers = np.array(self.index.annotations(image), np.int64)
        skeleton = self._draw_skeleton(self.index.category_index[numbers], rng)
        positions = {category: one for one, category in enumerate(skeleton.categories)}
        categories = self.index.category_index[numbers]
        present = sorted({positions[one] for one in categories if one in positions})
        chosen = self._choice.draw(present, len(positions), rng, evaluation=self._evaluation)
        asked = {skeleton.categories[one]: number for number, one in enumerate(chosen)}
        kept = [number for number, one in zip(numbers, categories, strict=True) if one in asked]
        classes = [asked[one] for one in categories if one in asked]
        points = self._draw_keypoints(len(skeleton.names), rng)
        names = [self.index.categories[one].name for one in asked]
        asked_points = [skeleton.names[one] for one in points]
        return TrainingSample(
            self.group,
            (self._write(names, asked_points, rng),),
            (frame,),
            targets=self._read_poses(image, kept, classes, skeleton, points),
            key=self.key(index),
            names=(*names, *asked_points),
        )

    def _draw_skeleton(self, categories: np.ndarray, rng: np.random.Generator) -> _Skeleton:
        there = np.unique(self._skeleton_of[categories])
        there = there[there >= 0]
        number = 0 if self._evaluation else int(rng.integers(len(there)))
        return self._skeletons[int(there[number])]

    def _draw_keypoints(self, count: int, rng: np.random.Generator) -> np.ndarray:
        if self._evaluation:
            return np.arange(min(count, self._most_keypoints))
        if count <= self._most_keypoints and rng.random() < 0.5:
            return rng.permutation(count)
        most = min(count, self._most_keypoints)
        return rng.permutation(count)[: int(rng.integers(1, most + 1))]

    def _write(
        self, names: Sequence[str], keypoints: Sequence[str], rng: np.random.Generator
    ) -> tuple[str, str]:
        words = self._wording(rng)
        question = fill(draw_sentence("detect questions", words), names=", ".join(names))
        second = fill(draw_sentence("keypoint questions", words), names=", ".join(keypoints))
        answer = fill_answer(draw_sentence("detect answers", words), names, Route.DETECT)
        placed = fill_keypoint_answer(draw_sentence("keypoint answers", words), keypoints)
        return f"{question} {second}", f"{answer} {placed}"

    def _read_poses(
        self,
        image: int,
        numbers: Sequence[int],
        classes: Sequence[int],
        skeleton: _Skeleton,
        points: np.ndarray,
    ) -> LabelledPoses:
        objects = self.read_objects(image, numbers, classes, masks=False)
        sides = objects.boxes_xyxy[:, 2:] - objects.boxes_xyxy[:, :2]
        areas = sides.prod(axis=1)
        labelled = np.zeros((len(numbers), len(skeleton.names), 3), np.float32)
        for index, number in enumerate(numbers):
            row = self.index.row(number)
            if row.get("keypoints") is not None:
                labelled[index] = np.array(row["keypoints"], np.float32).reshape(-1, 3)
            area = row.get("area")
            if isinstance(area, int | float) and 0 < area < 1e12:
                areas[index] = area
        labelled = labelled[:, points]
        return LabelledPoses(
            objects,
            labelled[:, :, :2],
            labelled[:, :, 2] > 0,
            areas.astype(np.float32),
            skeleton.sigmas[points],
        )


def _first_fitting(
    names: Sequence[str], given: Sequence[float], stored: Sequence[float]
) -> Sequence[float]:
    """Return the first sigmas that there are for the names: given, of the file, of evaluation."""
    for sigmas in (given, stored):
        if len(sigmas) == len(names) and min(sigmas) > 0:
            return sigmas
    return find_sigmas(names)
