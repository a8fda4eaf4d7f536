from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("faster_coco_eval")

from vl2_ros.errors import InputError
from vl2_ros.evaluation.household import KindScores, score_photos, unseen_models
from vl2_ros.structures import Branch, Detections, Frame, Route

NAMES = ("person", "cup")


def find(boxes: list[tuple[float, ...]], class_ids: list[int]) -> Detections:
    """Detections of score 0.9 and less."""
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.linspace(0.9, 0.1, count, dtype=np.float32),
        np.array(class_ids, np.int64),
        tuple(NAMES[index] for index in class_ids),
    )


def a_row(name: str, box: tuple[float, float, float, float]) -> dict:
    return {"name": name, "bbox": list(box), "iscrowd": 0}


def test_right_boxes_count_and_wrong_ones_do_not() -> None:
    scores = KindScores(NAMES)
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    truth = [a_row("person", (0, 0, 80, 60)), a_row("cup", (10, 10, 20, 20))]
    scores.add(frame, truth, find([(0, 0, 80, 60), (50, 30, 60, 50)], [0, 1]), NAMES)
    numbers = scores.summarize("photo")
    assert numbers["photo_person_ap50"] == pytest.approx(1.0)
    assert numbers["photo_box_ap50"] == pytest.approx(0.5)
    # The person fills the image, which needs no look at it.
    assert numbers["photo_person_chance"] == pytest.approx(1.0)
    assert numbers["photo_box_chance"] == pytest.approx(0.5)
    assert numbers["photo_images"] == 1.0 and numbers["photo_objects"] == 2.0
    rows = scores.list_kinds()
    assert [row["kind"] for row in rows] == ["person", "cup"]
    assert [row["box_ap50"] for row in rows] == pytest.approx([1.0, 0.0])


def test_kinds_that_do_not_occur_have_no_number() -> None:
    scores = KindScores(NAMES)
    frame = Frame(np.zeros((60, 80, 3), np.uint8))
    scores.add(frame, [a_row("cup", (10, 10, 20, 20))], find([(10, 10, 30, 30)], [1]), NAMES)
    numbers = scores.summarize("household")
    assert numbers["household_box_ap50"] == pytest.approx(1.0)
    assert "household_person_ap50" not in numbers
    assert [row["kind"] for row in scores.list_kinds()] == ["cup"]


class Recorder:
    """Finds nothing, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def detect(self, frame, names, **options) -> Branch:
        self.asked.append(tuple(names))
        return Branch(Route.DETECT, tuple(names), find([], []))


def write_photos(folder: Path, names: list[str]) -> Path:
    """Two photos, of the second of which only persons are labelled."""
    (folder / "images").mkdir()
    rows = []
    for number, said in enumerate(("all", "only person, giraffe"), start=1):
        Image.new("RGB", (80, 60)).save(folder / "images" / f"{number}.png")
        rows.append({"id": number, "file_name": f"{number}.png", "annotated": said})
    document = {
        "images": rows,
        "categories": [{"id": index, "name": name} for index, name in enumerate(names, start=1)],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": index, "bbox": [5, 5, 20, 20]}
            for index in range(1, len(names) + 1)
        ],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return path


def test_photos_are_asked_for_the_kinds_that_they_label(tmp_path: Path) -> None:
    path, detector = write_photos(tmp_path, ["person", "giraffe", "cup"]), Recorder()
    scores = score_photos(detector, path, tmp_path / "images")
    assert detector.asked == [("person", "cup"), ("person",)]
    numbers = scores.summarize("photo")
    # The giraffe is no household kind.
    assert numbers["photo_objects"] == 2.0 and numbers["photo_box_ap50"] == 0.0


def test_photos_without_household_kinds_are_refused(tmp_path: Path) -> None:
    path = write_photos(tmp_path, ["giraffe"])
    with pytest.raises(InputError, match="none of the kinds"):
        score_photos(Recorder(), path, tmp_path / "images")


def test_unseen_models_are_of_kinds_with_several() -> None:
    assert unseen_models("person") == 5 and unseen_models("fork") == 0
