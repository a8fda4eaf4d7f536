"""Pairs of image and text: to draw the image, or to describe it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.json_records import JsonRecords
from vl2_ros.datasets.samples import Group, TargetImage, TrainingSample
from vl2_ros.datasets.sources.record_list import RecordList, RecordListOptions, read_text_field
from vl2_ros.datasets.task_sentences import draw_sentence, fill
from vl2_ros.processing.language.prompt import fill_answer
from vl2_ros.processing.language.task_formats import format_caption
from vl2_ros.structures import Route


class _ImageText(RecordList):
    """Records {"image", "caption"}, or captions of a COCO file, whose images are a list apart."""

    def _scan(self, file: JsonRecords) -> np.ndarray:
        self._names: dict[int | str, Any] = {}
        for record in file.scan():
            if not record.section:
                break
            row = record.value if record.section == "images" else None
            if isinstance(row, dict) and isinstance(row.get("id"), int | str):
                self._names[row["id"]] = row.get("file_name")
        return super()._scan(file)

    def _is_row(self, section: str) -> bool:
        return section == ("annotations" if self._names else "")

    def _complete(self, row: dict[str, Any]) -> dict[str, Any]:
        number = row.get("image_id")
        if not self._names or not isinstance(number, int | str):
            return row
        return row | {"image": self._names.get(number)}

    def _check(self, row: dict[str, Any]) -> None:
        read_text_field(row, "caption")
        self._folder.check(row.get("image"))


class TextToImage(_ImageText):
    """Asks for an image by its caption; the answer has one [GEN].

    Args:
        options: of the source.
    """

    group = Group.GENERATION

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        row = self.read_row(index)
        frame = self._folder.read(row["image"])
        caption = format_caption(row["caption"])
        question = draw_sentence("generation questions", self._wording(rng))
        answer = draw_sentence("generation answers", self._wording(rng))
        return TrainingSample(
            self.group,
            ((fill(question, caption=caption), fill_answer(answer, [""], Route.GENERATE)),),
            targets=TargetImage(frame.rgb, caption),
            key=self.key(index),
        )


class ImageCaptions(_ImageText):
    """Asks for a description of an image.

    Args:
        options: of the source.
    """

    group = Group.TEXT

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        row = self.read_row(index)
        frame = self._folder.read(row["image"])
        question = draw_sentence("image caption questions", self._wording(rng))
        rounds = ((question, read_text_field(row, "caption")),)
        return TrainingSample(self.group, rounds, (frame,), key=self.key(index))


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions(RecordListOptions):
    """Options of edits.

    Attributes:
        bare_share: of the questions that are the instruction alone.
    """

    bare_share: float = 0.5


class Edits(RecordList):
    """Asks for a change of an image: {"source", "target", "instruction"}; one [EDIT].

    Args:
        options: of the source.
    """

    group = Group.EDITING

    def __init__(self, options: EditOptions) -> None:
        """Check every record."""
        self._bare_share = options.bare_share
        super().__init__(options)

    def _check(self, row: dict[str, Any]) -> None:
        read_text_field(row, "instruction")
        for name in ("source", "target"):
            self._folder.check(row.get(name))

    def _list_images(self, row: dict[str, Any]) -> list[Any]:
        return [row["source"], row["target"]]

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        row = self.read_row(index)
        source = self._folder.read(row["source"])
        target = self._folder.read(row["target"], source.frame_hw)
        instruction = read_text_field(row, "instruction").rstrip(" .,;:!?")
        question = draw_sentence("edit questions", self._wording(rng))
        if not self._evaluation and rng.random() < self._bare_share:
            question = "{instruction}."
        answer = draw_sentence("edit answers", self._wording(rng))
        return TrainingSample(
            self.group,
            ((fill(question, instruction=instruction), fill_answer(answer, [""], Route.EDIT)),),
            (source,),
            targets=TargetImage(target.rgb, instruction),
            key=self.key(index),
        )
