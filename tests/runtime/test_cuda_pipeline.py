"""The embedded model on a GPU, eagerly and replayed: the same answers as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.console.node_commands import DEMO_BAG
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.pipeline import Pipeline
from vl2_ros.runtime.torch_engine import load_torch_engines
from vl2_ros.structures import Command, Detections, Frame
from vl2_ros.transports.bag import read_frames

SENTENCES = ("find the mug and the bowl", "segment every cube", "find the mug and the bowl")


def answer_all(pipeline: Pipeline, frames: list[Frame]) -> list[tuple[str, list[Detections]]]:
    results = [
        pipeline.answer(frame, Command(sentence, score_threshold=0.4))
        for frame in frames
        for sentence in SENTENCES
    ]
    return [(one.text, [branch.detections for branch in one.branches]) for one in results]


@pytest.mark.gpu
@pytest.mark.parametrize("cuda_graphs", [False, True], ids=["eager", "replayed"])
def test_a_gpu_answers_as_the_cpu_does(cuda_graphs):
    frames = list(read_frames(DEMO_BAG))[:3]
    on_cpu = load_pipeline(backend="torch")
    engines = load_torch_engines(EMBEDDED_WEIGHTS, device="cuda", cuda_graphs=cuda_graphs)
    on_gpu = Pipeline(engines, on_cpu.tokenizer, on_cpu.processing)
    wanted, got = answer_all(on_cpu, frames), answer_all(on_gpu, frames)
    assert [text for text, _ in got] == [text for text, _ in wanted]
    found = 0
    for (_, mine), (_, theirs) in zip(got, wanted, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            # The language side is bfloat16 there: scores near the threshold fall either way.
            for box in other.boxes_xyxy[other.scores > 0.5]:
                assert np.abs(one.boxes_xyxy - box).max(axis=1).min() < 6.0
                found += 1
    assert found >= 4
