"""Choices, short answers, captions and commonsense, each on a few records by hand."""

from __future__ import annotations

import base64
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.benchmarks.fakes import (
    FakePipeline,
    box_row,
    write_coco,
    write_image,
    write_json,
)
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.evaluation.benchmarks.run import run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData
from vl2_ros.structures import Command


def encode_image(folder: Path, value: int) -> str:
    path = folder / "one.png"
    # Noise, so that it is longer than the index of a row.
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    pixels[0, 0, 0] = value
    Image.fromarray(pixels).save(path)
    return base64.b64encode(path.read_bytes()).decode()


def write_choices_table(folder: Path) -> Path:
    path = folder / "questions.tsv"
    rows = [
        ("1", encode_image(folder, 1), "", "Which animal?", "cat", "dog", "horse", "B"),
        ("2", "1", "Look well.", "How many?", "one", "two", "", "A"),
        ("3", "1", "", "Which?", "only", "", "", "A"),
        ("4", "1", "", "Which?", "x", "y", "", "C"),
        ("5", "77", "", "Which?", "x", "y", "", "A"),
        ("6", "@" * 100, "", "Which?", "x", "y", "", "A"),
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerow(["index", "image", "hint", "question", "A", "B", "C", "answer"])
        writer.writerows(rows)
    return path


def test_multiple_choice_in_circles_by_hand(tmp_path: Path) -> None:
    def answer(value: int, command: Command) -> str:
        assert value == 1
        lines = command.text.splitlines()
        if "How many?" in lines:
            assert lines[0] == "Look well."
            # Always the first letter, which is right as asked and wrong when turned.
            return "A"
        return next(line[0] for line in lines if line.endswith("dog"))

    data = BenchmarkData((write_choices_table(tmp_path),))
    pipeline = FakePipeline(talk=answer)
    outcome = run_benchmark(BENCHMARKS["mmbench"], pipeline, data)
    assert outcome.scores == {"accuracy": 0.5}
    assert len(pipeline.asked) == 3 + 2
    assert {command.max_new_tokens for _, command in pipeline.asked} == {10}
    assert set(outcome.bad) == {f"question {number}" for number in (3, 4, 5, 6)}
    assert "base64" in outcome.bad["question 6"]
    plain = run_benchmark(BENCHMARKS["mmbench-vanilla"], FakePipeline(talk=answer), data)
    assert plain.scores == {"accuracy": 1.0}


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.tsv"
    path.write_text("index\tquestion\n1\twhat?\n")
    with pytest.raises(InputError, match="lacks the columns A, B, answer, image"):
        run_benchmark(BENCHMARKS["mmbench"], FakePipeline(), BenchmarkData((path,)))


def test_short_answers_by_hand(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "COCO_val2014_000000000007.jpg", 200)
    questions = [
        {"question_id": 70, "image_id": 7, "question": "What color?"},
        {"question_id": 71, "image_id": 7, "question": "How many?"},
        {"question_id": 72, "image_id": 8, "question": "Where?"},
        {"question_id": 70, "image_id": 7, "question": "again?"},
        {"question_id": 73, "image_id": 7, "question": "Not annotated?"},
    ]
    document = {"data_subtype": "val2014", "questions": questions}
    asked = write_json(tmp_path / "questions.json", document)
    people = [["red"] * 9 + ["Dark red"], ["2"] * 2 + ["3"] * 8, ["there"] * 10]
    annotations = [
        {"question_id": 70 + number, "answers": [{"answer": text} for text in texts]}
        for number, texts in enumerate(people)
    ]
    truth = write_json(tmp_path / "truth.json", {"annotations": [*annotations, {}]})
    said = {"What color?": "Red.", "How many?": "two"}
    pipeline = FakePipeline(talk=lambda value, command: said[command.text.splitlines()[0]])
    outcome = run_benchmark(BENCHMARKS["vqa"], pipeline, BenchmarkData((asked, truth)))
    second = (2 * (1 / 3) + 8 * (2 / 3)) / 10
    assert outcome.scores == {"accuracy": pytest.approx((1 + second) / 2)}
    assert set(outcome.bad) == {"question 72", "questions[3]", "questions[4]", "annotation 3"}
    with pytest.raises(InputError, match="got 1 and 0"):
        run_benchmark(BENCHMARKS["vqa"], pipeline, BenchmarkData((asked,)))


def test_region_captions_by_hand(tmp_path: Path) -> None:
    rows = [
        box_row(1, 1, 5, (10, 10, 20, 20), caption="red mug"),
        box_row(2, 2, 5, (30, 30, 70, 50), captions=["dog", ""]),
        box_row(3, 2, 5, (0, 0, 9, 9)),
    ]

    def answer(value: int, command: Command) -> str:
        (prompt,) = command.visual_prompts
        # The box of the second image is cut at its border.
        corners = {1: [[10, 10], [20, 20]], 2: [[30, 30], [60, 40]]}
        assert prompt.points_xy.tolist() == corners[value]
        assert command.max_new_tokens == 64
        return {1: "Red red red red", 2: "Dog."}[value]

    path = write_coco(tmp_path, rows)
    outcome = run_benchmark(
        BENCHMARKS["region-captions"], FakePipeline(talk=answer), BenchmarkData((path,))
    )
    penalised = 10 / 4 * (1 / (4 * np.sqrt(2))) * np.exp(-4 / 72)
    assert outcome.scores == {"cider": pytest.approx((penalised + 2.5) / 2)}
    assert list(outcome.bad) == ["annotation 3"]


def vcr_row(**changes: Any) -> dict[str, Any]:
    return {
        "annot_id": "val-0",
        "img_fn": "a/one.jpg",
        "metadata_fn": "a/one.json",
        "objects": ["person", "person", "dog"],
        "question": ["Why", "is", [1], "smiling", "?"],
        "answer_choices": [["sad"], [[1, 2], "play", "."], ["tired"], ["hungry"]],
        "answer_label": 1,
        "rationale_choices": [["rain"], ["night"], [[0], "waves", "."], ["food"]],
        "rationale_label": 2,
    } | changes


def test_commonsense_by_hand(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a" / "one.jpg", 200)
    boxes = [[0, 0, 10, 10, 0.9], [20, 0, 30, 10, 0.8], [40, 0, 80, 10, 0.7]]
    write_json(tmp_path / "images" / "a" / "one.json", {"boxes": boxes})
    rows = [
        vcr_row(),
        vcr_row(annot_id="val-1", question=["Where", "?"], answer_label=0),
        vcr_row(annot_id="val-2", rationale_label=7),
        vcr_row(annot_id="val-3", question=[[9]]),
        vcr_row(annot_id="val-4", img_fn="../../x.jpg"),
        vcr_row(annot_id="val-5", metadata_fn="a/none.json"),
    ]
    path = tmp_path / "val.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "no json\n")

    def answer(value: int, command: Command) -> str:
        lines = command.text.splitlines()
        if lines[0] == "Why is person at region1 smiling?":
            assert lines[2] == "B. person at region1 and dog at region2 play."
            assert [one.points_xy.tolist() for one in command.visual_prompts] == (
                [[[20, 0], [30, 10]], [[40, 0], [60, 10]]]
            )
            return "B"
        if "smiling" in lines[0]:
            assert lines[0].startswith(
                "Why is person at region1 smiling? person at region1 and dog at region2 play."
            )
            assert lines[3] == "C. person at region3 waves."
            return "C"
        return "A" if lines[0] == "Where?" else "D"

    outcome = run_benchmark(BENCHMARKS["vcr"], FakePipeline(talk=answer), BenchmarkData((path,)))
    # Both answers are right, of the reasons the first.
    assert outcome.scores == {"q_ar": 0.5, "q_a": 1.0, "qa_r": 0.5}
    assert {name.partition(",")[0] for name in outcome.bad} == (
        {"line 3", "line 4", "line 5", "line 7", "val-5"}
    )


def test_generation_says_which_weights_it_needs(tmp_path: Path) -> None:
    path = write_json(tmp_path / "captions.json", {"annotations": []})
    with pytest.raises(ConfigError, match="--scorer.*clip-vit-large-patch14.*Inception"):
        run_benchmark(BENCHMARKS["generation"], FakePipeline(), BenchmarkData((path,)))
