"""Words about regions: captions and class names of annotations, conversations about regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.coco_index import CocoIndex
from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.expressions import list_texts
from vl2_ros.datasets.reading.segmentations import check_segmentation, decode_segmentation, read_box
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.chat import read_rounds
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.sources.record_list import UNIT, RecordList
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.processing.language.command_prompt import place_regions
from vl2_ros.processing.language.prompt import list_regions, region_placeholder

TASKS = ("captions", "names")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionWordsOptions(CocoOptions):
    """Options of words about annotated regions.

    Attributes:
        task: "captions" of the annotations, or the "names" of their categories.
    """

    task: str = "captions"

    def __post_init__(self) -> None:
        """Check the task."""
        if self.task not in TASKS:
            raise ConfigError(f"task must be one of {', '.join(TASKS)}, got {self.task!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionCaptionOptions(RegionWordsOptions):
    """Options of captions of regions.

    Attributes:
        max_regions: most regions of a sample; each is a round of the conversation.
    """

    max_regions: int = 8


def fill_box(box_xyxy: Sequence[float], frame_hw: Sequence[int]) -> np.ndarray:
    """Return a box as a mask, (H, W) bool, of one pixel at least."""
    mask = np.zeros(tuple(frame_hw), np.bool_)
    x1, y1 = (min(int(box_xyxy[side]), frame_hw[1 - side] - 1) for side in (0, 1))
    x2, y2 = int(np.ceil(box_xyxy[2])), int(np.ceil(box_xyxy[3]))
    mask[y1 : max(y2, y1 + 1), x1 : max(x2, x1 + 1)] = True
    return mask


def format_words(text: str) -> str:
    """Write words about a region as they were trained: lower case, a capital, a full stop.

    Example:
        >>> format_words("A Red Mug")
        'A red mug.'
    """
    return text.lower().rstrip(" .").capitalize() + "."


class RegionCaptions(CocoSource):
    """One round for each of some regions of an image.

    Args:
        options: of the source.
    """

    group = Group.TEXT

    def __init__(self, options: RegionCaptionOptions) -> None:
        """Read the index."""
        self._task, self._most = options.task, options.max_regions
        super().__init__(options, choose_checks(options.task, options.max_bytes))
        self._records = np.array(
            [image for image in self._records if self.index.annotations(int(image))], int
        )

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image = int(self._records[index])
        frame = self.index.read_image(image)
        numbers = np.array(self.index.annotations(image))
        if not self._evaluation:
            numbers = rng.permutation(numbers)
        rounds: list[tuple[str, str]] = []
        regions = []
        for number in numbers[: self._most]:
            text = read_words(self.index, int(number), self._task, self._wording(rng))
            section = (
                "region caption questions"
                if self._task == "captions"
                else ("region name questions")
            )
            placeholder = region_placeholder(len(rounds) + 1)
            question = fill(draw_sentence(section, self._wording(rng)), region=placeholder)
            rounds.append((question, format_words(text)))
            regions.append(read_region(self.index, int(number), image))
        return TrainingSample(
            self.group,
            tuple(rounds),
            (frame,),
            tuple(regions),
            (0,) * len(regions),
            key=self.key(index),
        )


def read_words(index: CocoIndex, number: int, task: str, rng: np.random.Generator | None) -> str:
    """Return the words about an annotation.

    Args:
        index: of the annotation.
        number: of it.
        task: one of `TASKS`.
        rng: draws one of several captions; None takes the first.
    """
    if task == "names":
        return index.categories[index.category_index[number]].name
    texts = list_texts(index.row(number))
    return texts[0 if rng is None else int(rng.integers(len(texts)))]


def read_region(index: CocoIndex, number: int, image: int) -> np.ndarray:
    """Return the mask of an annotation, (H, W) bool; that of its box where it has none.

    Raises:
        BadRecordError: if the mask has no pixel.
    """
    if index.has_mask[number]:
        return index.mask(number, image)
    return fill_box(index.boxes_xyxy[number].tolist(), index.frame_hw(image))


def choose_checks(task: str, max_bytes: int) -> IndexOptions:
    """Return what of an index is checked where words about its annotations are needed."""
    is_captions = task == "captions"
    return IndexOptions(
        max_bytes,
        with_categories=not is_captions,
        check_row=_require_text if is_captions else None,
    )


def _require_text(row: Mapping[str, Any]) -> bool:
    if not list_texts(row):
        raise BadRecordError("annotations", "caption empty")
    return True


class RegionChat(RecordList):
    """Conversations about numbered regions: {"image", "regions", "conversations"}.

    A region has a `bbox` or a `segmentation`. "region 2" in a question becomes its placeholder
    where it comes first; regions that the first question does not name are listed in front of it.

    Args:
        options: of the source.
    """

    group = Group.TEXT

    def _check(self, row: dict[str, Any]) -> None:
        self._folder.check(row.get("image"))
        regions = row.get("regions")
        if not isinstance(regions, list) or not regions:
            raise BadRecordError(UNIT, "record without regions")
        for region in regions:
            if not isinstance(region, Mapping):
                raise BadRecordError(UNIT, "region is no object")
            if region.get("segmentation"):
                check_segmentation(region["segmentation"], None)
            else:
                read_box(region.get("bbox"), None)
        _write_rounds(row, len(regions), "{regions}")

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        row = self.read_row(index)
        frame = self._folder.read(row["image"])
        masks = [_read_region(region, frame.frame_hw) for region in row["regions"]]
        lead = draw_sentence("region leads", self._wording(rng))
        rounds, order = _write_rounds(row, len(masks), lead)
        return TrainingSample(
            self.group,
            rounds,
            (frame,),
            tuple(masks[number] for number in order),
            (0,) * len(order),
            key=self.key(index),
        )


def _read_region(region: Mapping[str, Any], frame_hw: tuple[int, int]) -> np.ndarray:
    if region.get("segmentation"):
        return decode_segmentation(region["segmentation"], frame_hw)
    return fill_box(read_box(region.get("bbox"), frame_hw), frame_hw)


def _write_rounds(
    row: Mapping[str, Any], count: int, lead: str
) -> tuple[tuple[tuple[str, str], ...], list[int]]:
    """Return the rounds with placeholders, and the regions in the order of the text.

    Raises:
        BadRecordError: if the conversation is damaged, or names a region that is not there.
    """
    rounds = read_rounds(row)
    try:
        # Whatever the first question does not name goes in front of it.
        placed = place_regions(rounds[0][0], count) if _names_all(rounds[0][0], count) else ""
    except InputError as error:
        raise BadRecordError(UNIT, "region unknown", str(error)) from error
    first = placed or f"{fill(lead, regions=list_regions(count))} {rounds[0][0]}"
    positions = {number: first.find(f"<reg>region{number}<") for number in range(1, count + 1)}
    order = sorted(range(count), key=lambda number: positions[number + 1])
    return ((first, rounds[0][1]), *rounds[1:]), order


def _names_all(question: str, count: int) -> bool:
    """Return whether a question names each region by its number, or the only one by "this"."""
    placed = place_regions(question, count)
    return placed.count("<region>") == count and not placed.startswith("Look at <reg>")
