"""Interactive segmentation: marks on objects, made from their masks, and the masks to return."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.samples import Group, LabelledObjects, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.errors import ConfigError
from vl2_ros.processing.images.regions import draw_prompt
from vl2_ros.processing.language.prompt import fill_answer, list_regions
from vl2_ros.structures import PromptKind, Route, VisualPrompt

#: Ways to mark an object, each as likely.
MARKS = ("point", "polygon", "scribble", "circle", "box", "mask")
_CIRCLE_POINTS = 24
_NO_POINTS = np.zeros((0, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class InteractiveOptions(CocoOptions):
    """Options of interactive segmentation.

    Attributes:
        marks: how objects are marked, each as likely; of evaluation, the first.
        max_objects: most objects of a sample.
    """

    marks: tuple[str, ...] = MARKS
    max_objects: int = 20

    def __post_init__(self) -> None:
        """Check the marks."""
        unknown = [one for one in self.marks if one not in MARKS]
        if unknown or not self.marks:
            raise ConfigError(f"marks must be some of {', '.join(MARKS)}, got {list(self.marks)}")


class Interactive(CocoSource):
    """Asks for the mask of each marked object; each is a class of its own.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: InteractiveOptions) -> None:
        """Read the index; images without masks are no records."""
        super().__init__(
            options, IndexOptions(options.max_bytes, with_categories=False, with_masks=True)
        )
        self._marks, self._most = options.marks, options.max_objects
        self._records = np.array(
            [image for image in self._records if self.index.annotations(int(image))], int
        )

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image = int(self._records[index])
        frame = self.index.read_image(image)
        numbers = np.array(self.index.annotations(image))
        if not self._evaluation:
            numbers = rng.permutation(numbers)
        numbers = numbers[: self._most]
        targets: LabelledObjects = self.read_objects(
            image, numbers.tolist(), list(range(len(numbers))), masks=True
        )
        assert targets.masks is not None
        regions = []
        for mask, box in zip(targets.masks, targets.boxes_xyxy, strict=True):
            kind = self._marks[0 if self._evaluation else int(rng.integers(len(self._marks)))]
            regions.append(draw_prompt(mark_object(kind, mask, box, rng), frame.frame_hw))
        names = [f"region{number}" for number in range(1, len(numbers) + 1)]
        question = draw_sentence("region mask questions", self._wording(rng))
        answer = draw_sentence("region mask answers", self._wording(rng))
        return TrainingSample(
            self.group,
            (
                (
                    fill(question, regions=list_regions(len(numbers))),
                    fill_answer(answer, names, Route.DETECT),
                ),
            ),
            (frame,),
            tuple(regions),
            (0,) * len(regions),
            targets,
            self.key(index),
        )


def mark_object(
    kind: str, mask: np.ndarray, box_xyxy: np.ndarray, rng: np.random.Generator
) -> VisualPrompt:
    """Mark an object as a person might.

    Args:
        kind: one of `MARKS`.
        mask: of the object, (H, W) bool, not empty.
        box_xyxy: (4,) corners of the object in the image.
        rng: source of chance.
    """
    box = box_xyxy.astype(np.float64)
    if kind == "mask":
        return VisualPrompt(PromptKind.MASK, _NO_POINTS, mask)
    if kind == "box":
        return VisualPrompt(PromptKind.BOX, box.reshape(2, 2))
    if kind == "point":
        return VisualPrompt(PromptKind.POINT, _draw_inside(mask, 1, rng))
    if kind == "scribble":
        return VisualPrompt(PromptKind.SCRIBBLE, _draw_inside(mask, int(rng.integers(2, 6)), rng))
    if kind == "polygon":
        return VisualPrompt(PromptKind.POLYGON, _outline(mask))
    angles = np.linspace(0.0, 2.0 * np.pi, _CIRCLE_POINTS, endpoint=False)
    middle, radii = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2
    circle = middle + radii * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    limit = (mask.shape[1], mask.shape[0])
    return VisualPrompt(PromptKind.POLYGON, np.clip(circle, 0.0, limit))


def _draw_inside(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return (count, 2) middles of pixels of a mask, from left to right."""
    rows, columns = np.nonzero(mask)
    chosen = np.sort(rng.integers(len(rows), size=count))
    points = np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5
    return np.asarray(points[np.argsort(points[:, 0], kind="stable")])


def _outline(mask: np.ndarray) -> np.ndarray:
    """Return a rough outline of the largest part of a mask, (P, 2), at least three points."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    largest = max(outlines, key=cv2.contourArea)
    rough = cv2.approxPolyDP(largest, 0.01 * cv2.arcLength(largest, True), True)[:, 0]
    # Of an object of one or two pixels.
    points = np.resize(rough, (max(3, len(rough)), 2))
    return points.astype(np.float64) + 0.5
