"""Questions with short answers, as VQAv2 has them, scored by VQA accuracy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vl2_ros.documents import (
    check_int,
    check_list,
    check_object,
    check_text,
    read_json_object,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.task import Answer, BadRows, BenchmarkData, read_frame
from vl2_ros.evaluation.coco.document import MAX_FILE_BYTES
from vl2_ros.evaluation.texts.vqa_answers import score_answer
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.structures import Command

_REQUEST = "Reply with one word or a short phrase."
_MAX_ROWS = 10_000_000


class ShortAnswersTask:
    """Asks every question.

    Args:
        data: two files of VQAv2, questions and annotations, in either order; a question may name
            its file by `image`, else it is COCO's of its `image_id`.
        max_new_tokens: most generated tokens.
    """

    def __init__(self, data: BenchmarkData, *, max_new_tokens: int) -> None:
        """Read both files."""
        documents = [
            read_json_object(path, InputError, max_bytes=MAX_FILE_BYTES) for path in data.paths
        ]
        questions = [one for one in documents if "questions" in one]
        truth = [one for one in documents if "annotations" in one]
        if len(questions) != 1 or len(truth) != 1:
            raise InputError(
                f"expected a file of questions and one of annotations, got {len(questions)} and "
                f"{len(truth)}; give both by --data"
            )
        self._folder = data.image_folder
        self._max_new_tokens = max_new_tokens
        self._bad = BadRows()
        self._subtype = str(questions[0].get("data_subtype", ""))
        self._truth = self._read_truth(truth[0])
        self._rows = self._read_questions(questions[0])
        if not self._rows:
            raise InputError("no question has an answer; do both files belong together?")
        self.keys = tuple(f"question {row['question_id']}" for row in self._rows)

    @property
    def bad(self) -> Mapping[str, str]:
        """Return the questions that cannot be asked."""
        return self._bad.reasons

    def _read_truth(self, document: Mapping[str, Any]) -> dict[int, list[str]]:
        truth = {}
        rows = check_list("annotations", document["annotations"], most=_MAX_ROWS, error=InputError)
        for number, row in enumerate(rows):
            try:
                row = check_object("an annotation", row, error=InputError)
                question = check_int(
                    "question_id", row.get("question_id"), most=1 << 62, error=InputError
                )
                given = check_list("answers", row.get("answers"), error=InputError)
                texts = [one.get("answer") if isinstance(one, dict) else one for one in given]
                truth[question] = [check_text("answer", one, error=InputError) for one in texts]
                if not texts:
                    raise InputError("it has no answers")
            except InputError as error:
                self._bad.add(f"annotation {number}", error)
        return truth

    def _read_questions(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        kept: list[dict[str, Any]] = []
        seen = set[int]()
        rows = check_list("questions", document["questions"], most=_MAX_ROWS, error=InputError)
        for number, row in enumerate(rows):
            try:
                row = check_object("a question", row, error=InputError)
                question = check_int(
                    "question_id", row.get("question_id"), most=1 << 62, error=InputError
                )
                text = check_text("question", row.get("question"), most=3000, error=InputError)
                if not text.strip() or question in seen or question not in self._truth:
                    raise InputError("it is empty, there twice, or has no annotation")
                name = self._name_image(row)
            except InputError as error:
                self._bad.add(f"questions[{number}]", error)
                continue
            seen.add(question)
            kept.append({"question_id": question, "question": text, "image": name})
        return kept

    def _name_image(self, row: Mapping[str, Any]) -> str:
        if "image" in row:
            return check_text("image", row["image"], error=InputError)
        number = check_int("image_id", row.get("image_id"), most=10**12, error=InputError)
        prefix = f"COCO_{self._subtype}_" if self._subtype else ""
        return f"{prefix}{number:012d}.jpg"

    def answer(self, pipeline: Pipeline, index: int) -> Answer:
        """Return the answer of the model."""
        row = self._rows[index]
        frame = read_frame(self._folder, row["image"])
        sentence = f"{row['question'].strip()}\n{_REQUEST}"
        command = Command(sentence, max_new_tokens=self._max_new_tokens)
        return {"text": pipeline.talk(frame, command)}

    def score(self, answers: Mapping[int, Answer]) -> dict[str, float]:
        """Return the mean VQA accuracy."""
        scores = [
            score_answer(one["text"].rstrip("."), self._truth[self._rows[index]["question_id"]])
            for index, one in answers.items()
        ]
        return {"accuracy": sum(scores) / len(scores)}
