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
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.coco_instances import CocoOptions, CocoSource
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.language.tokenizer import neutralise
from vl2_ros.structures import Route

EXPRESSION_FIELDS = ("expressions", "sentences", "captions", "caption", "question")


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


def list_texts(row: Mapping[str, Any]) -> list[str]:
    """Return the expressions of a row, in any of the forms that sets have; [] without one."""
    for name in EXPRESSION_FIELDS:
        value = row.get(name)
        texts = value if isinstance(value, list) else [value]
        cleaned = [" ".join(neutralise(_read_sentence(one)).split()) for one in texts]
        if any(cleaned):
            return [one for one in cleaned if one]
    return []


def _read_sentence(value: Any) -> str:
    """Return a text, or that of RefCOCO's sentences: {"raw": ..., "sent": ...}."""
    if isinstance(value, Mapping):
        value = value.get("sent", value.get("raw"))
    return value if isinstance(value, str) else ""


class Referring(CocoSource):
    """Asks for what an expression describes.

    Args:
        options: of the source.
    """

    group = Group.DETECTION

    def __init__(self, options: ReferringOptions) -> None:
        """Read the index, and find out which rows have expressions."""
        self._described = 0
        super().__init__(
            options,
            IndexOptions(options.max_bytes, with_categories=False, check_row=self._note_texts),
        )
        self._masks, self._reasoning = options.masks, options.reasoning
        #: Whether a record is an annotation; else it is an image.
        self._by_annotation = self._described > 0
        if self._index is None:
            return
        if self._by_annotation:
            self._records = np.arange(self._index.annotations(len(self._index) - 1).stop)
        else:
            self._records = np.array(
                [image for image in range(len(self._index)) if self._is_described(image)], int
            )

    def _note_texts(self, row: Mapping[str, Any]) -> None:
        is_there = any(name in row for name in EXPRESSION_FIELDS)
        if list_texts(row):
            self._described += 1
        elif is_there:
            raise BadRecordError("annotations", "expression empty")

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
