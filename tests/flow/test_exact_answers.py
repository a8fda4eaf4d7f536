"""Drafted answers are those of plain greedy decoding, id for id: many commands and frames.

A command is asked four times: plainly, with what its words lead to expect, with its answer and with
the answer to another command or frame as the draft. Several commands are about one frame, and all
but its first answer begin behind the prefix that is kept with it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vl2_ros.datasets.commands import sample_perception, sample_text
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.flow.watch_memory import WatchMemory
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Command, Frame, ResultEvent, WatchMode, WatchOptions

HELD_OUT_SEED = 1_000_000
#: Share of the largest state that batched arithmetic may differ by; in int8 a last bit may round a
#: value to the next step.
NOISE = {"float32": 1e-4, "int8": 0.03}


def speak(
    pipeline: Pipeline, frame: Frame, text: str, mode: WatchMode, memory: object, most: int
) -> ResultEvent:
    command = Command(text, max_new_tokens=most, watching=WatchOptions(mode))
    *_, last = pipeline.run(frame, command, memory)
    assert last.result.answer_age == 0
    return last


def give_draft(memory: object, text: str, ids: tuple[int, ...], most: int) -> WatchMemory:
    """Return a memory whose last answer to a command had these ids."""
    assert isinstance(memory, WatchMemory) and memory.answer is not None
    kept = memory.answer
    return WatchMemory(
        answer=replace(kept, spoken=replace(kept.spoken, token_ids=ids), asked=(text, False, most))
    )


def check_command(
    pipeline: Pipeline,
    frame: Frame,
    text: str,
    planted: tuple[int, ...],
    most: int = 60,
    precision: str = "float32",
) -> tuple[int, ...]:
    """Ask in every exact way; return the ids, which are the same."""
    plain = speak(pipeline, frame, text, WatchMode.PLAIN, None, most).result.raw_text
    expected = speak(pipeline, frame, text, WatchMode.EXACT, None, most)
    ids = expected.memory.answer.spoken.token_ids
    drafted = speak(pipeline, frame, text, WatchMode.EXACT, expected.memory, most)
    wrong = give_draft(expected.memory, text, planted, most)
    misled = speak(pipeline, frame, text, WatchMode.EXACT, wrong, most)
    states = [one.states for one in expected.memory.answer.spoken.conditions]
    for other in (drafted, misled):
        assert other.memory.answer.spoken.token_ids == ids, text
        others = [one.states for one in other.memory.answer.spoken.conditions]
        for mine, theirs in zip(others, states, strict=True):
            off = np.abs(mine - theirs).max() / np.abs(theirs).max()
            assert off <= NOISE[precision], text
    assert {one.result.raw_text for one in (expected, drafted, misled)} == {plain}, text
    return ids


def check_commands(
    pipeline: Pipeline, views: list[TabletopFrame], count: int, precision: str = "float32"
) -> None:
    """Ask random commands, several about each view, the answer before it being a wrong draft."""
    rng = np.random.default_rng(18)
    planted: tuple[int, ...] = ()
    seen = set()
    for view in views:
        frame = Frame(view.rgb)
        for _ in range(count // len(views)):
            sample = sample_perception if rng.random() < 0.75 else sample_text
            text = sample(rng, view.objects).question
            planted = check_command(pipeline, frame, text, planted, precision=precision)
            seen.add(planted)
    # Not one answer that hides a fault: they differ.
    assert len(seen) > count / 4


def render(count: int) -> list[TabletopFrame]:
    with TabletopSimulator(width=320, height=240) as simulator:
        return [simulator.render(HELD_OUT_SEED + index) for index in range(count)]


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_random_commands_get_the_same_ids_with_and_without_drafts_and_prefixes(precision):
    options = LoadOptions(device="cpu", precision=precision, allow_fallback=False)
    check_commands(load_pipeline(options), render(8), 40, precision)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_a_thousand_commands_get_the_same_ids_with_and_without_drafts_and_prefixes(precision):
    options = LoadOptions(device="cpu", precision=precision, allow_fallback=False)
    check_commands(load_pipeline(options), render(50), 1000, precision)


@pytest.mark.slow
def test_commands_on_torch_get_the_same_ids_with_and_without_drafts_and_prefixes():
    pipeline = load_pipeline(LoadOptions(device="cpu", backend="torch"))
    check_commands(pipeline, render(10), 100)


@pytest.fixture(scope="module")
def release(golden_dir: Path) -> Pipeline:
    folder = golden_dir / "release_tiny" / "safetensors"
    return load_pipeline(LoadOptions(weights=folder, device="cpu", backend="torch"))


@pytest.mark.golden
def test_a_release_gives_the_same_ids_with_and_without_drafts_and_prefixes(release):
    texts = (
        *("find the red mug", "where is the man on the left?", "what is this?"),
        "estimate the pose of the person",
    )
    routing = list(release.tokenizer.tokens.routing)
    planted: dict[str, tuple[int, ...]] = {}
    for seed in range(2):
        rgb = np.random.default_rng(seed).integers(0, 256, (90, 120, 3), dtype=np.uint8)
        frame = Frame(rgb)
        for text in texts:
            ids = check_command(release, frame, text, planted.get(text, ()), most=16)
            # The right words, then routes and an end that the release does not say.
            planted[text] = (*ids[:4], routing[0], ids[-1], routing[1])
