"""In-context pairs: examples in further images show what is meant in the last one, or is said."""

from __future__ import annotations

import copy
from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import Group, SampleSource, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.sources.labelled_source import MOST_TRIES
from vl2_ros.datasets.sources.region_text import (
    RegionWordsOptions,
    choose_checks,
    format_words,
    read_region,
    read_words,
)
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import IMAGE, fill_answer, region_placeholder
from vl2_ros.structures import Frame, Route

#: The format of examples has no numbers.
_REGION = region_placeholder()


@dataclass(frozen=True, slots=True, eq=False)
class _Example:
    """What is shown before the last image.

    Attributes:
        frame: image.
        region: (H, W) bool on it.
        text: that shows it, with placeholders.
    """

    frame: Frame
    region: np.ndarray
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InContextOptions(CocoOptions):
    """Options of in-context segmentation.

    Attributes:
        max_examples: most examples of a sample; of evaluation, one.
    """

    max_examples: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class InContextTextOptions(RegionWordsOptions):
    """Options of in-context words.

    Attributes:
        max_examples: most examples of a sample; of evaluation, one.
    """

    max_examples: int = 2


class ExampleSource(CocoSource):
    """A source whose samples show other records first: pairs of an image and something in it.

    Args:
        options: of the source.
        index_options: what of the file is checked.
        max_examples: most examples of a sample; of evaluation, one.
    """

    def __init__(
        self, options: CocoOptions, index_options: IndexOptions, max_examples: int
    ) -> None:
        """Read the index."""
        super().__init__(options, index_options)
        self._most = max_examples
        pairs = [
            (image, one) for image in self._records.tolist() for one in self._list_things(image)
        ]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        self._take(found, found)

    @abstractmethod
    def _list_things(self, image: int) -> list[int]:
        """Return the second numbers of the pairs of an image."""

    @abstractmethod
    def _find_kinds(self, pairs: np.ndarray) -> np.ndarray:
        """Return (N,) what pairs (N, 2) must have in common to be examples of each other."""

    @abstractmethod
    def _read_example(self, image: int, thing: int, rng: np.random.Generator) -> _Example:
        """Read an example; raise BadRecordError where it cannot be used."""

    def _take(self, records: np.ndarray, examples: np.ndarray) -> None:
        """Keep records that have an example, and pairs that may be examples; both (N, 2)."""
        kinds = self._find_kinds(examples)
        shown = np.unique(np.stack([kinds, examples[:, 0]], axis=1), axis=0)
        counts = np.bincount(shown[:, 0], minlength=1)
        # The image of the record itself is one of them.
        self._pairs, self._examples = records[counts[self._find_kinds(records)] > 1], examples
        self._records = self._pairs[:, 0]

    def select(self, records: np.ndarray, *, shows_others: bool = False) -> SampleSource:
        """Return a source of some records alone, those that have an example."""
        part = copy.copy(self)
        part._broken = {}
        chosen = self._pairs[records]
        part._take(chosen, self._examples if shows_others else chosen)
        return part

    def _draw_examples(self, index: int, rng: np.random.Generator) -> list[_Example]:
        """Read one example or more of a record, each of another image.

        Raises:
            BadRecordError: if none can be read.
        """
        is_kind = self._find_kinds(self._examples) == self._find_kinds(self._pairs[index][None])
        others = self._examples[is_kind & (self._examples[:, 0] != self._pairs[index, 0])]
        if not self._evaluation:
            others = rng.permutation(others)
        _, first = np.unique(others[:, 0], return_index=True)
        others = others[np.sort(first)]
        count = 1 if self._evaluation else int(rng.integers(1, min(self._most, len(others)) + 1))
        found: list[_Example] = []
        for image, thing in others[: count + MOST_TRIES].tolist():
            if len(found) == count:
                break
            try:
                found.append(self._read_example(image, thing, rng))
            except BadRecordError:
                # It is a record of its own, and counted as that.
                continue
        if not found:
            raise BadRecordError("images", "no example can be used")
        return found


class InContext(ExampleSource):
    """Pairs images of one category: masks of examples, then the image with its own.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: InContextOptions) -> None:
        """Read the index; records are (image, category) of which other images have objects too."""
        super().__init__(
            options, IndexOptions(options.max_bytes, with_masks=True), options.max_examples
        )

    def _list_things(self, image: int) -> list[int]:
        numbers = list(self.index.annotations(image))
        found: list[int] = np.unique(self.index.category_index[numbers]).tolist()
        return found

    def _find_kinds(self, pairs: np.ndarray) -> np.ndarray:
        return pairs[:, 1]

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image, category = (int(one) for one in self._pairs[index])
        frame = self.index.read_image(image)
        examples = self._draw_examples(index, rng)
        same = self._find_same(image, category)
        question = draw_sentence("example questions", self._wording(rng))
        answer = draw_sentence("example answers", self._wording(rng))
        lead = "".join(one.text for one in examples)
        return TrainingSample(
            self.group,
            ((f"{lead}{IMAGE}\n{question}", fill_answer(answer, [""], Route.DETECT)),),
            (*(one.frame for one in examples), frame),
            tuple(one.region for one in examples),
            tuple(range(len(examples))),
            self.read_objects(image, same, [0] * len(same), masks=True),
            self.key(index),
        )

    def _read_example(self, image: int, thing: int, rng: np.random.Generator) -> _Example:
        same = self._find_same(image, thing)
        number = same[0 if self._evaluation else int(rng.integers(len(same)))]
        shown = fill(draw_sentence("example leads", self._wording(rng)), regions=_REGION)
        return _Example(
            self.index.read_image(image),
            self.index.mask(number, image),
            f"{IMAGE}\n{shown} ",
        )

    def _find_same(self, image: int, category: int) -> list[int]:
        numbers = self.index.annotations(image)
        return [one for one in numbers if self.index.category_index[one] == category]


class InContextText(ExampleSource):
    """Words about a region, after examples of such words about regions of other images.

    Args:
        options: of the source.
    """

    group = Group.TEXT

    def __init__(self, options: InContextTextOptions) -> None:
        """Read the index; records are (image, annotation)."""
        self._task = options.task
        checks = choose_checks(options.task, options.max_bytes)
        super().__init__(options, checks, options.max_examples)

    def _list_things(self, image: int) -> list[int]:
        return list(self.index.annotations(image))

    def _find_kinds(self, pairs: np.ndarray) -> np.ndarray:
        # Any region is an example of what is to be said.
        return np.zeros(len(pairs), np.int64)

    def key(self, index: int) -> str:
        """Return the file name, and the number of the annotation."""
        return f"{super().key(index)}#{self._pairs[index, 1]}"

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image, number = (int(one) for one in self._pairs[index])
        frame = self.index.read_image(image)
        examples = self._draw_examples(index, rng)
        lead = "".join(one.text for one in examples)
        question = draw_sentence("example text questions", self._wording(rng))
        words = read_words(self.index, number, self._task, self._wording(rng))
        return TrainingSample(
            self.group,
            ((f"{lead}{IMAGE}\n{fill(question, region=_REGION)}", format_words(words)),),
            (*(one.frame for one in examples), frame),
            (*(one.region for one in examples), read_region(self.index, number, image)),
            tuple(range(len(examples) + 1)),
            key=self.key(index),
        )

    def _read_example(self, image: int, thing: int, rng: np.random.Generator) -> _Example:
        shown = fill(draw_sentence("example text leads", self._wording(rng)), region=_REGION)
        words = read_words(self.index, thing, self._task, self._wording(rng))
        return _Example(
            self.index.read_image(image),
            read_region(self.index, thing, image),
            f"{IMAGE}\n{shown} {format_words(words)} ",
        )
