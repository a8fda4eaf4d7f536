"""In-context segmentation: examples in further images show what is meant in the last one."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import Group, SampleSource, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.sources.labelled_source import MOST_TRIES
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import IMAGE, fill_answer, region_placeholder
from vl2_ros.structures import Frame, Route


@dataclass(frozen=True, slots=True, kw_only=True)
class InContextOptions(CocoOptions):
    """Options of in-context segmentation.

    Attributes:
        max_examples: most examples of a sample; of evaluation, one.
    """

    max_examples: int = 2


class InContext(CocoSource):
    """Pairs images of one category: masks of examples, then the image with its own.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: InContextOptions) -> None:
        """Read the index; records are (image, category) of which other images have objects too."""
        super().__init__(options, IndexOptions(options.max_bytes, with_masks=True))
        self._most = options.max_examples
        pairs: list[tuple[int, int]] = []
        for image in self._records.tolist():
            numbers = list(self.index.annotations(image))
            pairs += [(image, int(one)) for one in np.unique(self.index.category_index[numbers])]
        found = np.array(pairs, np.int64).reshape(-1, 2)
        self._take(found, found)

    def _take(self, records: np.ndarray, examples: np.ndarray) -> None:
        """Keep records that have an example, and pairs that may be examples; both (N, 2)."""
        counts = np.bincount(examples[:, 1], minlength=1)
        # The record itself is one of them.
        self._pairs, self._examples = records[counts[records[:, 1]] > 1], examples
        self._records = self._pairs[:, 0]

    def select(self, records: np.ndarray, *, shows_others: bool = False) -> SampleSource:
        """Return a source of some records alone, those that have an example."""
        part = copy.copy(self)
        part._broken = {}
        chosen = self._pairs[records]
        part._take(chosen, self._examples if shows_others else chosen)
        return part

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        image, category = (int(one) for one in self._pairs[index])
        frame = self.index.read_image(image)
        frames, regions, lead = self._draw_examples(image, category, rng)
        same = self._find_same(image, category)
        question = draw_sentence("example questions", self._wording(rng))
        answer = draw_sentence("example answers", self._wording(rng))
        return TrainingSample(
            self.group,
            ((f"{lead}{IMAGE}\n{question}", fill_answer(answer, [""], Route.DETECT)),),
            (*frames, frame),
            tuple(regions),
            tuple(range(len(regions))),
            self.read_objects(image, same, [0] * len(same), masks=True),
            self.key(index),
        )

    def _draw_examples(
        self, image: int, category: int, rng: np.random.Generator
    ) -> tuple[list[Frame], list[np.ndarray], str]:
        """Return images, one mask on each, and the text that shows them.

        Raises:
            BadRecordError: if no example can be read.
        """
        of_category = self._examples[self._examples[:, 1] == category, 0]
        others = of_category[of_category != image]
        count = 1 if self._evaluation else int(rng.integers(1, min(self._most, len(others)) + 1))
        if not self._evaluation:
            others = rng.permutation(others)
        frames: list[Frame] = []
        regions: list[np.ndarray] = []
        lead = ""
        for other in others[: count + MOST_TRIES].tolist():
            if len(frames) == count:
                break
            same = self._find_same(other, category)
            number = same[0 if self._evaluation else int(rng.integers(len(same)))]
            try:
                example = self.index.read_image(other), self.index.mask(number, other)
            except BadRecordError:
                # It is a record of its own, and counted as that.
                continue
            frames.append(example[0])
            regions.append(example[1])
            shown = draw_sentence("example leads", self._wording(rng))
            lead += f"{IMAGE}\n{fill(shown, regions=region_placeholder())} "
        if not frames:
            raise BadRecordError("images", "no example can be used")
        return frames, regions, lead

    def _find_same(self, image: int, category: int) -> list[int]:
        numbers = self.index.annotations(image)
        return [one for one in numbers if self.index.category_index[one] == category]
