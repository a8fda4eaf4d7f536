"""Conversations about images in LLaVA's form: {"id", "image", "conversations": [...]}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.record_list import UNIT, RecordList, list_images
from vl2_ros.documents import shorten
from vl2_ros.processing.language.prompt import IMAGE
from vl2_ros.processing.language.tokenizer import neutralise

_SPEAKERS = {"human": 0, "user": 0, "gpt": 1, "assistant": 1}


def read_rounds(row: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return questions and answers, without marks of images and special tokens.

    Raises:
        BadRecordError: if they do not take turns, or one is empty.
    """
    turns = row.get("conversations", row.get("messages"))
    if not isinstance(turns, list) or len(turns) < 2 or len(turns) % 2:
        raise BadRecordError(UNIT, "conversation is not question and answer in turn")
    texts = []
    for number, turn in enumerate(turns):
        turn = turn if isinstance(turn, Mapping) else {}
        speaker, text = turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
        if not isinstance(speaker, str) or _SPEAKERS.get(speaker) != number % 2:
            raise BadRecordError(
                UNIT, "conversation is not question and answer in turn", f"got {shorten(speaker)}"
            )
        text = neutralise(text.replace(IMAGE, "").strip()) if isinstance(text, str) else ""
        if not text:
            raise BadRecordError(UNIT, "question or answer empty")
        texts.append(text)
    return tuple(zip(texts[::2], texts[1::2], strict=True))


class Chat(RecordList):
    """Conversations, with an image, several or none.

    Args:
        options: of the source.
    """

    group = Group.TEXT

    def _check(self, row: dict[str, Any]) -> None:
        read_rounds(row)
        for name in list_images(row):
            self._folder.check(name)

    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        row = self.read_row(index)
        frames = tuple(self._folder.read(name) for name in list_images(row))
        return TrainingSample(self.group, read_rounds(row), frames, key=self.key(index))
