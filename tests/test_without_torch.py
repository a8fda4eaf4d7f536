"""Serving needs neither torch nor transformers: the same answers from the shipped engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.conformance.harness import find_engine_files
from vl2_ros.console.node_commands import DEMO_BAG
from vl2_ros.recordings.bag import read_frames
from vl2_ros.runtime.files.engine_files import EngineFiles

REPOSITORY = Path(__file__).resolve().parent.parent
BLOCKED = (
    "torch",
    "transformers",
    "diffusers",
    "onnx",
    "onnxscript",
    "accelerate",
    "tensorrt",
    "tensorrt_rtx",
)
SENTENCES = ("find the mug and the bowl", "segment every cube", "what is on the table?")


@pytest.fixture(scope="module")
def engines() -> EngineFiles:
    """The shipped engines; skips, by name, where they have not been exported."""
    return find_engine_files()


@pytest.fixture(scope="module")
def images(engines, tmp_path_factory) -> list[Path]:
    """Four images of the shipped recording."""
    folder = tmp_path_factory.mktemp("images")
    paths = []
    for index, frame in enumerate(list(read_frames(DEMO_BAG))[:8:2]):
        paths.append(folder / f"{index}.png")
        Image.fromarray(frame.rgb).save(paths[-1])
    return paths


@pytest.fixture(scope="module")
def blocking(tmp_path_factory) -> dict[str, str]:
    """An environment in which child processes, and theirs, cannot import what is blocked."""
    folder = tmp_path_factory.mktemp("blocking")
    lines = ["import sys", f"for name in {BLOCKED!r}:", "    sys.modules[name] = None"]
    (folder / "sitecustomize.py").write_text("\n".join(lines))
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(REPOSITORY)))}


def run_vl2(environment, *words: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "vl2_ros.cli", *(str(word) for word in words)]
    return subprocess.run(
        arguments, capture_output=True, text=True, cwd=REPOSITORY, env=environment
    )


def ask(environment, images, sentence, *options) -> list[dict]:
    words = ("ask", *images, sentence, "--json", "--threshold", 0.3, *options)
    done = run_vl2(environment, *words)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def box_iou(first, second) -> float:
    top_left = np.maximum(first[:2], second[:2])
    bottom_right = np.minimum(first[2:], second[2:])
    shared = np.prod(np.clip(bottom_right - top_left, 0, None))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (first, second)]
    return float(shared / (sum(areas) - shared))


def test_the_blocking_reaches_every_process(blocking):
    for name in BLOCKED:
        done = subprocess.run(
            [sys.executable, "-c", f"import {name}"], capture_output=True, text=True, env=blocking
        )
        assert "ModuleNotFoundError" in done.stderr, name


@pytest.mark.parametrize("sentence", SENTENCES)
def test_answers_without_torch_are_those_with_torch(blocking, images, sentence):
    without = ask(blocking, images, sentence, "--precision", "float32")
    with_torch = ask(os.environ, images, sentence, "--backend", "torch")
    assert len(without) == len(with_torch) == len(images)
    instances = 0
    for mine, theirs in zip(without, with_torch, strict=True):
        assert (mine["text"], mine["routes"]) == (theirs["text"], theirs["routes"])
        assert len(mine["instances"]) == len(theirs["instances"])
        for one, other in zip(mine["instances"], theirs["instances"], strict=True):
            assert one["label"] == other["label"]
            assert abs(one["score"] - other["score"]) < 0.01
            assert box_iou(np.array(one["box_xyxy"]), np.array(other["box_xyxy"])) > 0.99
            instances += 1
    assert instances >= 3 or sentence.startswith("what")


def test_a_recording_is_answered_without_torch(blocking, engines, tmp_path):
    out = tmp_path / "results.mcap"
    done = run_vl2(blocking, "bag", DEMO_BAG, out, "--command", "find the mug", "--rate", 2)
    assert done.returncode == 0, done.stderr
    assert "results: " in done.stdout and "without an answer" not in done.stderr
    assert out.stat().st_size > 1000


def test_node_and_camera_processes_answer_without_torch(blocking, engines, tmp_path):
    sentences = tmp_path / "sentences.txt"
    sentences.write_text("find the mug\nsegment every cube\n")
    done = run_vl2(blocking, "demo", "--out", tmp_path / "out", "--commands", sentences)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert [one["routes"] for one in results] == [["[DET]"], ["[SEG]"]]
    assert all(one["status"] == "OK" and one["instances"] for one in results)


def test_torch_is_not_imported_where_it_is_installed(images):
    code = (
        "import sys\nfrom vl2_ros.cli import main\n"
        f"try: main(['ask', {str(images[0])!r}, 'find the mug', '--json'])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"loaded = sorted(set({BLOCKED!r}) & set(sys.modules))\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr


def test_info_reports_versions_without_torch(blocking):
    done = run_vl2(blocking, "info", "--json")
    assert done.returncode == 0, done.stderr
    reported = json.loads(done.stdout)
    assert reported["torch"] is None and reported["onnxruntime"]


def test_asking_for_torch_where_it_is_missing_names_the_extra(blocking, images):
    done = run_vl2(blocking, "ask", images[0], "find the mug", "--backend", "torch")
    assert done.returncode == 2
    assert "pip install 'vl2_ros[torch]'" in done.stderr
