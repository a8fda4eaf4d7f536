"""Referring expressions and questions that have to be thought about: one target, [GRD].

Reads COCO files with expressions: of an image (`caption`, as RefCOCO is converted for detectors:
all annotations of the image are meant), or of an annotation (`expressions`, `sentences`,
`caption`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.coco_scan import IndexOptions
from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.reading.expressions import EXPRESSION_FIELDS, clean_expression, list_texts
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Route

#: Expressions of training in the form of evaluation; people write them with capitals and marks.
_CLEAN_SHARE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferringOptions(CocoOptions):
    """Options of referring expressions.

    Attributes:
        masks: whether masks are read.
        reasoning: the texts are whole questions (`question`), which are asked as they are; an
            `explanation` follows the answer in training.
    """

    masks: bool = True
    reasoning: bool = False


class Referring(CocoSource):
    """Asks for what an expression describes.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: ReferringOptions) -> None:
        """Read the index, and find out which rows have expressions."""
        super().__init__(
            options, IndexOptions(options.max_bytes, with_categories=False, check_row=_has_texts)
        )
        self._masks, self._reasoning = options.masks, options.reasoning
        #: Whether a record is an annotation; else it is an image.
        self._by_annotation = False
        if self._index is None:
            return
        described = np.flatnonzero(self._index.is_marked)
        self._by_annotation = len(described) > 0
        if self._by_annotation:
            self._records = described
            others = len(self._index.is_marked) - len(described)
            if others:
                self.report.notes["annotations without an expression that are skipped"] += others
        else:
            self._records = np.array(
                [image for image in range(len(self._index)) if self._is_described(image)], int
            )

    def _is_described(self, image: int) -> bool:
        """Count an image without an expression, or without an annotation, as bad."""
        bad = None
        if not list_texts(self.index.image_row(image)):
            bad = BadRecordError("images", "expression empty")
        elif not self.index.annotations(image):
            bad = BadRecordError("images", "image without an annotation")
        if bad is not None:
            self.report.skip(bad, self.index.image_name(image))
        return bad is None

    def key(self, index: int) -> str:
        """Return the file name, and the number of the annotation."""
        name = super().key(index)
        return f"{name}#{self._records[index]}" if self._by_annotation else name

    def _find_image(self, index: int) -> int:
        record = int(self._records[index])
        return self.index.image_of(record) if self._by_annotation else record

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        record = int(self._records[index])
        image = self._find_image(index)
        numbers = [record] if self._by_annotation else list(self.index.annotations(image))
        row = self.index.row(record) if self._by_annotation else self.index.image_row(image)
        frame = self.index.read_image(image)
        texts = list_texts(row)
        if not texts:
            raise BadRecordError("annotations", "expression empty")
        text = texts[0 if self._evaluation else int(rng.integers(len(texts)))]
        if not self._reasoning and (self._evaluation or rng.random() < _CLEAN_SHARE):
            text = clean_expression(text) or text
        if self._reasoning:
            question = text
        else:
            template = draw_sentence("refer questions", self._wording(rng))
            question = fill(template, expression=text.rstrip(" ."))
        answer = fill_answer(
            draw_sentence("refer answers", self._wording(rng)), [text], Route.GROUND
        )
        explanation = row.get("explanation")
        if self._reasoning and not self._evaluation and isinstance(explanation, str):
            answer = f"{answer} {neutralise(explanation.strip())}".rstrip()
        return TrainingSample(
            self.group,
            ((question, answer),),
            (frame,),
            targets=self.read_objects(image, numbers, [0] * len(numbers), masks=self._masks),
            key=self.key(index),
        )


def _has_texts(row: Mapping[str, Any]) -> bool:
    if list_texts(row):
        return True
    if any(name in row for name in EXPRESSION_FIELDS):
        raise BadRecordError("annotations", "expression empty")
    return False
