"""Evaluate detection on household scenes and on labelled photos, kind by kind.

Scenes show models that training never saw, where a kind has any, with the faults of a camera at
320x240 pixels; photos are those of a COCO file. All kinds are asked for in one class list, best 100
instances by score, no threshold. Chance is what a box around the whole image scores for each kind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Row, read_annotations
from vl2_ros.evaluation.coco.tool import CocoKind, score_coco
from vl2_ros.sim.household.household import HouseholdSimulator
from vl2_ros.sim.household.kinds import HOUSEHOLD_KINDS, split_models
from vl2_ros.sim.household.photograph import photograph
from vl2_ros.structures import Branch, Detections, Frame

MAX_INSTANCES = 100
PERSON = "person"
#: An image row of a COCO file whose other classes are not labelled: "only person, car".
_PARTLY = "only "


class Detector(Protocol):
    """The evaluated model."""

    def detect(
        self,
        frame: Frame,
        names: Sequence[str],
        *,
        score_threshold: float = ...,
        max_instances: int = ...,
        with_masks: bool = ...,
    ) -> Branch:
        """Find the names without generating an answer."""


@dataclass(slots=True)
class KindScores:
    """Truth and results of some images, scored kind by kind.

    Attributes:
        names: of the kinds.
    """

    names: tuple[str, ...]
    _images: list[Row] = field(default_factory=list)
    _truth: list[Row] = field(default_factory=list)
    _found: list[Row] = field(default_factory=list)
    _blind: list[Row] = field(default_factory=list)

    def add(
        self, frame: Frame, truth: Sequence[Row], found: Detections, asked: Sequence[str]
    ) -> None:
        """Add an image.

        Args:
            frame: the image.
            truth: rows with `name`, `bbox` (x, y, width, height) and `iscrowd`.
            found: `class_ids` index `asked`.
            asked: names of some kinds.
        """
        number = len(self._images) + 1
        height, width = frame.frame_hw
        self._images.append({"id": number, "height": height, "width": width})
        for row in truth:
            self._truth.append(
                {
                    "id": len(self._truth) + 1,
                    "image_id": number,
                    "category_id": self._category(row["name"]),
                    "bbox": row["bbox"],
                    "area": row["bbox"][2] * row["bbox"][3],
                    "iscrowd": row["iscrowd"],
                }
            )
        for index, (box, score, _) in enumerate(found):
            x1, y1, x2, y2 = (float(value) for value in box)
            name = asked[int(found.class_ids[index])]
            self._found.append(self._result(number, name, [x1, y1, x2 - x1, y2 - y1], float(score)))
        self._blind += [
            self._result(number, name, [0.0, 0.0, width, height], 1.0) for name in asked
        ]

    def _category(self, name: str) -> int:
        return self.names.index(name) + 1

    def _result(self, image: int, name: str, box: list[float], score: float) -> Row:
        category = self._category(name)
        return {"image_id": image, "category_id": category, "bbox": box, "score": score}

    def score(self, name: str | None = None) -> tuple[float, float, float]:
        """Return AP, AP50 and AP50 by chance of all kinds that occur, or of one; nan without."""
        wanted = None if name is None else self._category(name)
        truth, found, blind = (
            [row for row in rows if wanted in (None, row["category_id"])]
            for rows in (self._truth, self._found, self._blind)
        )
        if not any(not row["iscrowd"] for row in truth):
            return float("nan"), float("nan"), float("nan")
        document = {
            "images": self._images,
            "categories": [{"id": i + 1, "name": name} for i, name in enumerate(self.names)],
            "annotations": truth,
        }
        by_chance = score_coco(document, blind, CocoKind.BOXES).ap50
        if not found:
            return 0.0, 0.0, by_chance
        scores = score_coco(document, found, CocoKind.BOXES)
        return scores.ap, scores.ap50, by_chance

    def list_kinds(self) -> list[dict[str, Any]]:
        """Return a row of AP50, chance and number of objects for each kind that occurs."""
        rows = []
        for name in self.names:
            _, ap50, by_chance = self.score(name)
            if not np.isnan(ap50):
                count = sum(row["category_id"] == self._category(name) for row in self._truth)
                rows.append({"kind": name, "box_ap50": ap50, "chance": by_chance, "objects": count})
        return rows

    def summarize(self, prefix: str) -> dict[str, float]:
        """Return AP50, its chance and AP of all kinds, AP50 and chance of people, and counts."""
        ap, ap50, by_chance = self.score()
        _, person, person_chance = self.score(PERSON)
        numbers = {
            f"{prefix}_box_ap50": ap50,
            f"{prefix}_box_chance": by_chance,
            f"{prefix}_ap": ap,
            f"{prefix}_person_ap50": person,
            f"{prefix}_person_chance": person_chance,
            f"{prefix}_images": float(len(self._images)),
            f"{prefix}_objects": float(len(self._truth)),
        }
        return {name: value for name, value in numbers.items() if not np.isnan(value)}


def score_scenes(
    detector: Detector,
    seeds: Sequence[int],
    *,
    catalogues: Path | None = None,
    cache: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> KindScores:
    """Look for all household kinds in rendered scenes.

    Args:
        detector: the model under test.
        seeds: of the scenes; held out from 1,000,000 on.
        catalogues: as the simulator takes them.
        cache: likewise.
        progress: called after every scene.

    Raises:
        SimulationError: if the models, MuJoCo or OpenGL are missing.
    """
    scores = KindScores(HOUSEHOLD_KINDS)
    with HouseholdSimulator(catalogues=catalogues, cache=cache) as simulator:
        for done, seed in enumerate(seeds, start=1):
            view = simulator.render(seed)
            frame = Frame(photograph(view.rgb, np.random.default_rng([5, seed])))
            truth = [
                {"name": one.kind, "bbox": _to_size(one.box_xyxy), "iscrowd": 0}
                for one in view.objects
            ]
            scores.add(frame, truth, _detect(detector, frame, HOUSEHOLD_KINDS), HOUSEHOLD_KINDS)
            if progress is not None:
                progress(done, len(seeds))
    return scores


def score_photos(
    detector: Detector,
    annotations: Path,
    images: Path,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> KindScores:
    """Look for the household kinds that a COCO file labels in its photos.

    Images whose row says `annotated: only person, car` are asked for these alone.

    Args:
        detector: the model under test.
        annotations: COCO file; categories are found by their names.
        images: folder of its images.
        progress: called after every photo.

    Raises:
        InputError: if the file cannot be read or has none of the kinds.
    """
    file = read_annotations(annotations)
    names = tuple(name for name in HOUSEHOLD_KINDS if name in file.names)
    if not names:
        raise InputError(f"{annotations} has none of the kinds {', '.join(HOUSEHOLD_KINDS)}")
    by_id = {row["id"]: row["name"] for row in file.categories}
    scores = KindScores(names)
    for done, image in enumerate(file.images, start=1):
        frame = file.read_frame(image, images)
        asked = _list_asked(image, names)
        truth = [
            {
                "name": by_id[row["category_id"]],
                "bbox": row["bbox"],
                "iscrowd": row.get("iscrowd", 0),
            }
            for row in file.by_image.get(image["id"], ())
            if by_id[row["category_id"]] in asked
        ]
        if asked:
            scores.add(frame, truth, _detect(detector, frame, asked), asked)
        if progress is not None:
            progress(done, len(file.images))
    return scores


def unseen_models(kind: str) -> int:
    """Return how many models of a kind only held-out scenes show; 0 where they show the same."""
    held_out = split_models(kind, held_out=True)
    return 0 if held_out == split_models(kind, held_out=False) else len(held_out)


def _list_asked(image: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    said = str(image.get("annotated", ""))
    if not said.startswith(_PARTLY):
        return tuple(names)
    labelled = {name.strip() for name in said.removeprefix(_PARTLY).split(",")}
    return tuple(name for name in names if name in labelled)


def _detect(detector: Detector, frame: Frame, names: Sequence[str]) -> Detections:
    found = detector.detect(
        frame, names, score_threshold=0.0, max_instances=MAX_INSTANCES, with_masks=False
    ).detections
    return found


def _to_size(box_xyxy: tuple[float, float, float, float]) -> list[float]:
    x1, y1, x2, y2 = box_xyxy
    return [x1, y1, x2 - x1, y2 - y1]
