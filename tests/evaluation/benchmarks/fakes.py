"""A pipeline that knows the answers it is given, and small data sets in the forms of the field."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Frame,
    Keypoints,
    LabelMap,
    Masks,
    ModelInfo,
    Result,
    Route,
)

HEIGHT, WIDTH = 40, 60


def detections(
    boxes: Sequence[Sequence[float]],
    scores: Sequence[float],
    class_ids: Sequence[int],
    names: Sequence[str] = (),
    masks: Sequence[np.ndarray] | None = None,
    keypoints: Keypoints | None = None,
) -> Detections:
    ids = np.array(class_ids, np.int64)
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(scores, np.float32),
        ids,
        tuple(names[one] if len(names) else "" for one in class_ids),
        None if masks is None else Masks.cut(np.array(masks, np.bool_).reshape(-1, HEIGHT, WIDTH)),
        keypoints,
    )


class FakePipeline:
    """Answers by functions; an image is known by the value of its first pixel."""

    def __init__(self, max_classes: int = 256, **answers: Callable[..., Any]) -> None:
        self.info = ModelInfo("fake", "0123", "numpy", "cpu", tuple(Route))
        self.processing = SimpleNamespace(max_classes=max_classes, max_tiles=4)
        self.asked: list[tuple[str, Any]] = []
        self._answers = answers

    def _give(self, name: str, frame: Frame, asked: Any) -> Any:
        self.asked.append((name, asked))
        return self._answers[name](int(frame.rgb[0, 0, 0]), asked)

    def detect(
        self,
        frame: Frame,
        names: Sequence[str],
        *,
        route: Route = Route.DETECT,
        max_instances: int = 100,
        with_masks: bool = True,
    ) -> Branch:
        found = self._give("detect", frame, tuple(names))
        if isinstance(found, LabelMap):
            return Branch(route, tuple(names), Detections.empty(), found)
        return Branch(route, tuple(names), found[: max_instances or None])

    def pose(
        self,
        frame: Frame,
        objects: Sequence[str],
        keypoints: Sequence[str],
        *,
        max_instances: int = 100,
    ) -> Branch:
        asked = (tuple(objects), tuple(keypoints))
        return Branch(Route.POSE, tuple(objects), self._give("pose", frame, asked))

    def ground(self, frame: Frame, question: str) -> Branch:
        return Branch(Route.GROUND, ("object",), self._give("ground", frame, question))

    def talk(self, frame: Frame, command: Command) -> str:
        return self._give("talk", frame, command)

    def answer(self, frame: Frame, command: Command) -> Result:
        found = self._give("answer", frame, command)
        names = tuple(f"region{n}" for n in range(1, len(command.visual_prompts) + 1))
        return Result("", 0, "", "", (Branch(Route.DETECT, names, found),))


def rectangle(left: int, top: int, right: int, bottom: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[top:bottom, left:right] = True
    return mask


def outline(left: int, top: int, right: int, bottom: int) -> list[list[float]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def write_image(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (WIDTH, HEIGHT), (value, 0, 0)).save(path)


def write_json(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def box_row(number: int, image: int, category: int, corners: Sequence[int], **more: Any) -> dict:
    left, top, right, bottom = corners
    box = [left, top, right - left, bottom - top]
    row = {"id": number, "image_id": image, "category_id": category, "bbox": box, "iscrowd": 0}
    return row | {"area": box[2] * box[3], "segmentation": outline(*corners)} | more


def write_coco(folder: Path, annotations: Sequence[dict], images: int = 2, **more: Any) -> Path:
    """Write `images` images whose values are their ids, and the annotations of two classes."""
    rows = []
    for number in range(1, images + 1):
        write_image(folder / "images" / f"{number}.png", number)
        size = {"height": HEIGHT, "width": WIDTH}
        rows.append({"id": number, "file_name": f"{number}.png"} | size)
    categories = [{"id": 5, "name": "mug"}, {"id": 9, "name": "bowl"}]
    document = {"images": rows, "categories": categories, "annotations": list(annotations)}
    return write_json(folder / "truth.json", document | more)
