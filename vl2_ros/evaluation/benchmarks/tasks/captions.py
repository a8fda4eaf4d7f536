"""Captions of regions, scored by CIDEr-D."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.annotations import Row, read_annotations
from vl2_ros.evaluation.benchmarks.task import Answer, BenchmarkData
from vl2_ros.evaluation.texts.cider import score_cider
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import Command, PromptKind, VisualPrompt

_SENTENCE = "Describe region1 in a few words."


class CaptionsTask:
    """Asks for a caption of every annotated box.

    Args:
        data: a COCO file whose annotations have `caption`, or several `captions`, and `bbox`.
        max_new_tokens: most generated tokens.
    """

    def __init__(self, data: BenchmarkData, *, max_new_tokens: int) -> None:
        """Read the annotations."""
        self._annotations = read_annotations(data.only_path)
        self._folder = data.image_folder
        self._max_new_tokens = max_new_tokens
        self._records = [
            (image, row)
            for image in self._annotations.images
            for row in self._annotations.by_image.get(image["id"], ())
            if self._is_usable(row)
        ]
        if not self._records:
            raise InputError(f"{data.only_path} has no annotation with a caption and a box")
        self.keys = tuple(
            f"annotation {row.get('id')} of {image['file_name']}, {number}"
            for number, (image, row) in enumerate(self._records)
        )

    @property
    def bad(self) -> Mapping[str, str]:
        """Return what was dropped from the annotations."""
        return self._annotations.bad.reasons

    def _is_usable(self, row: Row) -> bool:
        if row.get("bbox") and _list_captions(row):
            return True
        self._annotations.bad.add(f"annotation {row.get('id')}", "it has no caption or no box")
        return False

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return the caption that the model gives."""
        image, row = self._records[index]
        frame = self._annotations.read_frame(image, self._folder)
        height, width = frame.frame_hw
        x, y, box_width, box_height = row["bbox"]
        corners = np.array([[x, y], [x + box_width, y + box_height]], np.float64)
        prompt = VisualPrompt(PromptKind.BOX, corners.clip(0, (width, height)))
        command = Command(_SENTENCE, visual_prompts=(prompt,), max_new_tokens=self._max_new_tokens)
        return {"text": pipeline.talk(frame, command)}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return CIDEr-D over the answered regions."""
        references = [_list_captions(self._records[index][1]) for index in answers]
        return {"cider": score_cider([one["text"] for one in answers.values()], references)}


def _list_captions(row: Row) -> list[str]:
    value = row.get("captions") or row.get("caption") or []
    listed = value if isinstance(value, list) else [value]
    return [text for text in listed if isinstance(text, str) and text.strip()]
