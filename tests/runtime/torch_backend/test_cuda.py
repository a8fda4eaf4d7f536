"""The torch backend on CUDA gives what it gives on the CPU."""

from __future__ import annotations

import numpy as np
import pytest

from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.geometry import box_iou
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.sim.tabletop import TabletopSimulator
from vl2_ros.structures import Command, Detections, Frame

pytestmark = pytest.mark.gpu

SENTENCES = (
    "find the red mug and the bowl",
    "segment every cube",
    "where is the yellow banana?",
    "how many cubes are there?",
)


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    with TabletopSimulator(width=640, height=480) as simulator:
        return [Frame(simulator.render(1_000_000 + index).rgb) for index in range(4)]


@pytest.fixture(scope="module")
def on_cpu() -> Pipeline:
    return load_pipeline(LoadOptions(device="cpu", backend="torch"))


@pytest.fixture(scope="module")
def on_cuda() -> Pipeline:
    return load_pipeline(LoadOptions(device="cuda", backend="torch"))


def assert_same(found: Detections, expected: Detections, *, score: float) -> None:
    """Compare instances that are clearly there; those near the threshold may come and go."""
    for box, one, label in expected:
        if one < 0.5:
            continue
        same = [i for i, other in enumerate(found.labels) if other == label]
        overlap = box_iou(np.asarray(box)[None], found.boxes_xyxy[same])[0]
        assert overlap.max() >= 0.99
        assert abs(found.scores[same][overlap.argmax()] - one) <= score


@pytest.mark.parametrize("sentence", SENTENCES)
def test_answers_are_those_of_the_cpu(on_cpu, on_cuda, frames, sentence):
    assert on_cuda.info.device.startswith("cuda")
    for frame in frames:
        expected, found = (p.answer(frame, Command(sentence)) for p in (on_cpu, on_cuda))
        assert found.text == expected.text
        assert found.routes == expected.routes
        for mine, theirs in zip(found.branches, expected.branches, strict=True):
            assert mine.phrases == theirs.phrases
            # The language side runs in bfloat16 on CUDA: 8 bits of mantissa reach the scores.
            assert_same(mine.detections, theirs.detections, score=0.03)


def test_what_comes_again_is_replayed_and_answers_alike(on_cuda, frames, monkeypatch):
    import torch

    replays = []
    replay = torch.cuda.CUDAGraph.replay
    monkeypatch.setattr(
        torch.cuda.CUDAGraph, "replay", lambda graph: (replays.append(graph), replay(graph))
    )
    command = Command(SENTENCES[0])
    first, *later = (on_cuda.answer(frames[0], command) for _ in range(5))
    assert len(replays) >= 2 * 3  # encoder and decoder, from the second or third call on
    for result in later:
        assert result.text == first.text
        for mine, theirs in zip(result.branches, first.branches, strict=True):
            assert_same(mine.detections, theirs.detections, score=1e-4)
