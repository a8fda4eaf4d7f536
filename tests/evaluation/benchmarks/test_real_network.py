"""Every evaluation runs on a real, tiny network; of its random weights only ranges are known."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import make_json_tokenizer
from tests.evaluation.benchmarks.fakes import (
    HEIGHT,
    WIDTH,
    box_row,
    outline,
    write_coco,
    write_image,
    write_json,
)
from vl2_ros.evaluation.benchmarks.run import RunOptions, run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData
from vl2_ros.evaluation.held_out import HeldOutScores, open_pipeline
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.network import VisionLLM
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import Tokenizer

PROCESSING = ProcessingConfig(
    vision_side=56,
    vision_tokens=16,
    max_tiles=2,
    decoder_short=60,
    decoder_long=90,
    segment_short=60,
    segment_long=90,
    num_embs=4,
    num_embs_gen=6,
    max_length=2048,
    max_classes=16,
    system="",
)
BOX = (10, 10, 30, 30)


@pytest.fixture(scope="module")
def network(json_tokenizer: Tokenizer) -> VisionLLM:
    torch.manual_seed(0)
    tiny = ModelConfig.tiny(with_pose=True)
    llm = {**tiny.llm, "vocab_size": json_tokenizer.vocab_size, "max_position_embeddings": 2048}
    return VisionLLM(replace(tiny, llm=llm), json_tokenizer.tokens).eval()


@pytest.fixture(scope="module")
def pipeline(network: VisionLLM, json_tokenizer: Tokenizer) -> Pipeline:
    return open_pipeline(network, json_tokenizer, PROCESSING)


def write_every_form(folder: Path) -> dict[str, BenchmarkData]:
    keypoints = [12.0, 12.0, 2, 20.0, 20.0, 2]
    row = {"keypoints": keypoints, "caption": "a red mug", "expressions": ["the red mug"]}
    rows = [box_row(number, number, 5, BOX, **row) for number in (1, 2, 3)]
    categories = [{"id": 5, "name": "mug", "keypoints": ["handle", "rim"]}]
    path = write_coco(folder, rows, 3, categories=categories)
    document = json.loads(path.read_text())
    for image in document["images"]:
        image["crowdIndex"] = image["id"] / 2 - 0.5
    path.write_text(json.dumps(document))
    coco = BenchmarkData((path,))
    forms = dict.fromkeys(BENCHMARKS, coco)
    del forms["generation"]

    write_image(folder / "reason" / "a.png", 1)
    (flat,) = outline(*BOX)
    shapes = [{"label": "target", "points": np.array(flat).reshape(-1, 2).tolist()}]
    write_json(folder / "reason" / "a.json", {"text": ["which one?"], "shapes": shapes})
    forms["reasonseg"] = BenchmarkData((folder / "reason",))

    labels = folder / "labels"
    labels.mkdir()
    Image.fromarray(np.full((HEIGHT, WIDTH), 2, np.uint8)).save(labels / "1.png")
    (labels / "classes.txt").write_text("wall\nsky\n")
    forms["ade20k"] = BenchmarkData((labels,), folder / "images")

    encoded = base64.b64encode((folder / "images" / "1.png").read_bytes()).decode()
    table = folder / "table.tsv"
    table.write_text(
        f"index\timage\tquestion\tA\tB\tanswer\n1\t{encoded}\tfind the mug\tyes\tno\tA\n"
    )
    forms["mmbench"] = forms["mmbench-vanilla"] = BenchmarkData((table,))

    questions = [{"question_id": 1, "image": "1.png", "question": "segment the mug?"}]
    answers = [{"question_id": 1, "answers": ["yes"] * 10}]
    forms["vqa"] = BenchmarkData(
        (
            write_json(folder / "questions.json", {"questions": questions}),
            write_json(folder / "answers.json", {"annotations": answers}),
        )
    )
    line = {"img_fn": "1.png", "metadata_fn": "1.json", "objects": ["person", "person"]}
    for kind in ("answer", "rationale"):
        line |= {f"{kind}_choices": [["a"], [[0]], [[1], "b"], ["c"]], f"{kind}_label": 0}
    write_json(folder / "vcr.jsonl", line | {"question": ["Why", "is", [1], "here", "?"]})
    write_json(folder / "images" / "1.json", {"boxes": [[0, 0, 9, 9, 1.0], [20, 5, 50, 30, 1.0]]})
    forms["vcr"] = BenchmarkData((folder / "vcr.jsonl",))
    return forms


@pytest.mark.parametrize("name", [name for name in BENCHMARKS if name != "generation"])
def test_every_evaluation_runs(pipeline: Pipeline, tmp_path: Path, name: str) -> None:
    benchmark, data = BENCHMARKS[name], write_every_form(tmp_path)[name]
    out = tmp_path / "answers.jsonl"
    outcome = run_benchmark(benchmark, pipeline, data, RunOptions(out=out))
    assert outcome is not None and outcome.bad == {}
    assert {metric.name for metric in benchmark.metrics} <= set(outcome.scores)
    assert all(0 <= value <= 10 for value in outcome.scores.values())
    again = run_benchmark(benchmark, pipeline, data, RunOptions(out=out))
    assert again is not None and again.resumed == again.records == outcome.records
    assert again.scores == outcome.scores


def test_training_gets_the_scores_of_the_evaluations(
    network: VisionLLM, pipeline: Pipeline, tmp_path: Path
) -> None:
    data = write_every_form(tmp_path)["coco-segm"]
    run = tmp_path / "run"
    run.mkdir()
    make_json_tokenizer(run)
    PROCESSING.save(run)
    score = HeldOutScores(
        data.only_path, data.image_folder, run, with_masks=True, with_keypoints=True, most_images=2
    )
    with torch.no_grad():
        scores = score(network, 1)
    expected: dict[str, float] = {}
    for name in ("coco-segm", "coco-keypoints"):
        outcome = run_benchmark(BENCHMARKS[name], pipeline, data, RunOptions(limit=2))
        assert outcome is not None
        expected |= outcome.scores
    assert scores == expected
    assert {"box_ap", "box_ap50", "mask_ap50", "keypoint_ap", "pck"} <= set(scores)
