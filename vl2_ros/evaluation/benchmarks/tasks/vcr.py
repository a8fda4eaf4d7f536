"""Visual commonsense reasoning: the answer of four, then the reason of four.

People and things that a text names by number become regions of the image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.documents import (
    check_int,
    check_list,
    check_number,
    check_object,
    check_text,
    parse_json,
    read_json_object,
    read_text,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData, read_frame
from vl2_ros.evaluation.coco.document import MAX_FILE_BYTES
from vl2_ros.evaluation.texts.choices import read_choice, write_choices
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import MAX_VISUAL_PROMPTS, Command, Frame, PromptKind, VisualPrompt

_WHY = "Why is that right?"
#: Marks that VCR's tokens have a space before.
_CLOSING = {".", ",", "?", "!", ":", ";", "'s", "n't", "'"}


class VcrTask:
    """Asks every question, and why its right answer is right.

    Args:
        data: JSON lines of VCR; `--images` is the folder `vcr1images` with the images and their
            metadata.
        max_new_tokens: most generated tokens.
    """

    def __init__(self, data: BenchmarkData, *, max_new_tokens: int) -> None:
        """Read the questions."""
        self._folder = data.image_folder
        self._max_new_tokens = max_new_tokens
        self._bad = BadRows()
        self._rows: list[dict[str, Any]] = []
        text = read_text(data.only_path, InputError, max_bytes=MAX_FILE_BYTES)
        for number, line in enumerate(text.splitlines()):
            if not line.strip():
                continue
            try:
                row = parse_json(line, f"line {number + 1}", InputError)
                self._rows.append(_check_row(row))
            except InputError as error:
                self._bad.add(f"line {number + 1}", error)
        if not self._rows:
            raise InputError(f"{data.only_path} has no line that can be used; expected VCR's JSON")
        self.keys = tuple(
            f"{row.get('annot_id', row['img_fn'])}, {number}"
            for number, row in enumerate(self._rows)
        )

    @property
    def bad(self) -> Mapping[str, str]:
        """Return the lines that cannot be used."""
        return self._bad.reasons

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return whether the answer and the reason are right, and what was said."""
        row = self._rows[index]
        frame = read_frame(self._folder, row["img_fn"])
        boxes = read_boxes(self._folder / row["metadata_fn"], len(row["objects"]))
        question, right = row["question"], row["answer_choices"][row["answer_label"]]
        asked = [
            ([question], row["answer_choices"], row["answer_label"]),
            ([question, right, _WHY.split()], row["rationale_choices"], row["rationale_label"]),
        ]
        said, is_right = [], []
        for lead, choices, label in asked:
            text, chosen = self._ask(pipeline, frame, row["objects"], boxes, lead, choices)
            said.append(text)
            is_right.append(chosen == label)
        return {"said": said, "right": is_right}

    def _ask(
        self,
        pipeline: Pipeline,
        frame: Frame,
        objects: Sequence[str],
        boxes: np.ndarray,
        lead: Sequence[list[Any]],
        choices: Sequence[list[Any]],
    ) -> tuple[str, int | None]:
        """Return what was said, and the choice that it makes."""
        numbers = list_mentions([*lead, *choices])
        texts = [write_tokens(tokens, objects, numbers) for tokens in (*lead, *choices)]
        options = texts[len(lead) :]
        sentence = write_choices(" ".join(texts[: len(lead)]), options)
        height, width = frame.frame_hw
        prompts = tuple(
            VisualPrompt(PromptKind.BOX, boxes[number].reshape(2, 2).clip(0, (width, height)))
            for number in numbers
        )
        command = Command(sentence, visual_prompts=prompts, max_new_tokens=self._max_new_tokens)
        text = pipeline.talk(frame, command)
        return text, read_choice(text, options)

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return the shares of right answers, right reasons, and both."""
        right = np.array([one["right"] for one in answers.values()], np.bool_).reshape(-1, 2)
        means = right.mean(axis=0)
        return {
            "q_ar": float(right.all(axis=1).mean()),
            "q_a": float(means[0]),
            "qa_r": float(means[1]),
        }


def _check_row(value: Any) -> dict[str, Any]:
    row = dict(check_object("a line", value, error=InputError))
    for name in ("img_fn", "metadata_fn"):
        path = Path(check_text(name, row.get(name), error=InputError))
        if ".." in path.parts or path.is_absolute():
            raise InputError(f"{name} must be a path below --images, got {path}")
    objects = check_list("objects", row.get("objects"), error=InputError)
    for name in objects:
        check_text("an object", name, error=InputError)
    _check_tokens(row.get("question"), len(objects))
    for kind in ("answer", "rationale"):
        choices = check_list(f"{kind}_choices", row.get(f"{kind}_choices"), error=InputError)
        if len(choices) != 4:
            raise InputError(f"{kind}_choices must be 4, got {len(choices)}")
        for tokens in choices:
            _check_tokens(tokens, len(objects))
        check_int(f"{kind}_label", row.get(f"{kind}_label"), most=3, error=InputError)
    mentioned = list_mentions([row["question"], *row["answer_choices"], *row["rationale_choices"]])
    if len(mentioned) > MAX_VISUAL_PROMPTS:
        raise InputError(f"it names {len(mentioned)} things, at most {MAX_VISUAL_PROMPTS} fit")
    return row


def _check_tokens(tokens: Any, count: int) -> None:
    for token in check_list("tokens", tokens, error=InputError):
        if isinstance(token, list):
            for number in token:
                check_int("a number of an object", number, most=count - 1, error=InputError)
        else:
            check_text("a token", token, error=InputError)


def list_mentions(sentences: Sequence[list[Any]]) -> list[int]:
    """Return the numbers of the objects that sentences name, in the order of first use."""
    named = (
        number
        for tokens in sentences
        for token in tokens
        if isinstance(token, list)
        for number in token
    )
    return list(dict.fromkeys(named))


def write_tokens(tokens: Sequence[Any], objects: Sequence[str], numbers: Sequence[int]) -> str:
    """Write the tokens of a sentence; objects as their class and the number of their region.

    Args:
        tokens: words, and lists of numbers of objects.
        objects: the class of each.
        numbers: of the object of region 1, 2, ...

    Example:
        >>> write_tokens(["Why", "is", [2], "smiling", "?"], ["car", "dog", "person"], [2])
        'Why is person at region1 smiling?'
    """
    text = ""
    for token in tokens:
        if isinstance(token, list):
            word = " and ".join(
                f"{objects[number]} at region{numbers.index(number) + 1}" for number in token
            )
        else:
            word = token
        text += word if not text or word in _CLOSING else f" {word}"
    return text


def read_boxes(path: Path, count: int) -> np.ndarray:
    """Read the boxes of the objects of an image.

    Returns:
        (count, 4) corners in pixels of the image.

    Raises:
        InputError: if there are fewer boxes, or one of them is no box.
    """
    document = read_json_object(path, InputError, max_bytes=MAX_FILE_BYTES)
    rows = check_list("boxes", document.get("boxes"), error=InputError)
    if len(rows) < count:
        raise InputError(f"{path} has {len(rows)} boxes of {count} objects")
    boxes = []
    for row in rows[:count]:
        numbers = check_list("a box", row, most=5, error=InputError)[:4]
        if len(numbers) != 4:
            raise InputError(f"a box must be [x1, y1, x2, y2, score], got {row}")
        boxes.append(
            [check_number("a box", one, least=-1e5, most=1e5, error=InputError) for one in numbers]
        )
    return np.array(boxes, np.float64).reshape(-1, 4)
