"""Questions with lettered options from a table with images in base64, as MMBench has them."""

from __future__ import annotations

import base64
import binascii
import csv
import io
from collections.abc import Mapping
from pathlib import Path

from vl2_ros.documents import read_text
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData
from vl2_ros.evaluation.coco.document import MAX_FILE_BYTES
from vl2_ros.evaluation.texts.choices import (
    LETTERS,
    list_options,
    read_choice,
    rotate,
    write_choices,
)
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.structures import Command

#: A shorter text in place of an image is the index of the row that has it.
_INDEX_LETTERS = 64
#: Letters of one cell; an image of 10 MB has fewer.
_MAX_CELL = 1 << 24


class ChoicesTask:
    """Asks every question, and in circles also with its options in every other order.

    Args:
        data: a TSV with `index`, `image`, `question`, `A`, `B`, ..., `answer`, and optionally
            `hint`.
        max_new_tokens: most generated tokens.
        circular: whether a question counts as right only when it is in every order.
    """

    def __init__(self, data: BenchmarkData, *, max_new_tokens: int, circular: bool) -> None:
        """Read the table."""
        self._max_new_tokens, self._circular = max_new_tokens, circular
        self._bad = BadRows()
        rows = _read_rows(data.only_path)
        self._images = {row["index"]: row["image"] for row in rows if _is_image(row)}
        self._rows = [row for row in rows if self._is_usable(row)]
        if not self._rows:
            raise InputError(f"{data.only_path} has no question with options and an answer")
        self.keys = tuple(f"question {row['index']}" for row in self._rows)

    @property
    def bad(self) -> Mapping[str, str]:
        """Return the rows that cannot be asked."""
        return self._bad.reasons

    def _is_usable(self, row: Mapping[str, str]) -> bool:
        options, reason = list_options(row), ""
        if len(options) < 2:
            reason = f"it has {len(options)} options, expected 2 or more"
        elif (row.get("answer") or "").strip() not in [*LETTERS[: len(options)]]:
            reason = f"its answer {row.get('answer')!r} is none of its options"
        elif not (row.get("question") or "").strip():
            reason = "it has no question"
        elif row["image"] not in self._images and not _is_image(row):
            reason = f"it has no image, got {row['image'][:_INDEX_LETTERS]!r}"
        if reason:
            self._bad.add(f"question {row['index']}", reason)
        return not reason

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return whether each order of the options was answered right, and what was said."""
        row = self._rows[index]
        frame = read_image(_decode(self._images.get(row["image"], row["image"])))
        options = list_options(row)
        right = options[LETTERS.index(row["answer"].strip())]
        lead = "\n".join(filter(None, (_read_hint(row), row["question"].strip())))
        said, is_right = [], []
        for turns in range(len(options) if self._circular else 1):
            asked = rotate(options, turns)
            command = Command(write_choices(lead, asked), max_new_tokens=self._max_new_tokens)
            text = pipeline.talk(frame, command)
            chosen = read_choice(text, asked)
            said.append(text)
            is_right.append(chosen is not None and asked[chosen] == right)
        return {"said": said, "right": is_right}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return the share of questions that are right in all orders that were asked."""
        return {"accuracy": sum(all(one["right"]) for one in answers.values()) / len(answers)}


def _read_rows(path: Path) -> list[dict[str, str]]:
    text = read_text(path, InputError, max_bytes=MAX_FILE_BYTES)
    # Images are longer than the module's own limit.
    csv.field_size_limit(_MAX_CELL)
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), delimiter="\t"))
    except csv.Error as error:
        raise InputError(f"{path} is no table with tabs ({error})") from error
    missing = {"index", "image", "question", "answer", "A", "B"} - set(rows[0] if rows else ())
    if missing:
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    return [
        {name: value or "" for name, value in row.items() if isinstance(name, str)} for row in rows
    ]


def _is_image(row: Mapping[str, str]) -> bool:
    return len(row["image"]) > _INDEX_LETTERS


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InputError(f"its image is not base64 ({error})") from error


def _read_hint(row: Mapping[str, str]) -> str:
    hint = (row.get("hint") or "").strip()
    return "" if hint == "nan" else hint
