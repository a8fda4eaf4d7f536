"""Commands about one frame share the start of their prompt: what is fed, and what is kept."""

from __future__ import annotations

import gc
from dataclasses import replace

import numpy as np
import pytest

from tests.flow.squares import make_frame
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.flow.shared_prefix import SharedPrefixes
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.processing.language.command_prompt import CommandPrompt
from vl2_ros.processing.language.task_formats import TaskFormat
from vl2_ros.runtime.engine import EngineInfo, Prefix
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files
from vl2_ros.runtime.files.exported_engines import load_exported_engines
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.structures import Command, Frame, WatchMode, WatchOptions

MUG, BOWL = "find the red mug", "segment the bowl"
#: Words in front of the image, and the image.
SHARED = 67


@pytest.fixture
def fed(monkeypatch) -> list[tuple[int, int]]:
    """Positions before each call of the language model, and those that it was fed."""
    calls: list[tuple[int, int]] = []
    run = OnnxEngine.run

    def record(self, inputs, *given):
        if self.info.graph == "language_model":
            calls.append((inputs["past_mask"].shape[1], inputs["token_mask"].shape[1]))
        return run(self, inputs, *given)

    monkeypatch.setattr(OnnxEngine, "run", record)
    return calls


def count_prefixes() -> int:
    gc.collect()
    return sum(type(one) is Prefix for one in gc.get_objects())


def test_a_second_command_feeds_only_what_differs(pipeline, fed):
    alone = pipeline.answer(make_frame(), Command(BOWL)).raw_text
    ((_, whole),) = fed
    fed.clear()
    frame = make_frame()
    pipeline.answer(frame, Command(MUG))
    assert [past for past, _ in fed] == [0]
    for _ in range(2):
        fed.clear()
        assert pipeline.answer(frame, Command(BOWL)).raw_text == alone
        assert fed == [(SHARED, whole - SHARED)]


def test_a_known_answer_is_read_behind_the_prefix_as_well(pipeline, fed):
    frame = make_frame()
    first = pipeline.answer(frame, Command(MUG, direct=True, score_threshold=0.0))
    second = pipeline.answer(frame, Command(MUG, direct=True, score_threshold=0.0))
    ((_, whole), rest) = fed
    assert rest == (SHARED, whole - SHARED)
    np.testing.assert_allclose(second.detections.boxes_xyxy, first.detections.boxes_xyxy, atol=1e-2)


def test_plain_begins_every_prompt_anew_and_keeps_nothing(pipeline, fed):
    frame, plain = make_frame(), Command(MUG, watching=WatchOptions(WatchMode.PLAIN))
    before = count_prefixes()
    pipeline.answer(frame, plain)
    assert count_prefixes() == before
    pipeline.answer(frame, Command(MUG))
    fed.clear()
    pipeline.answer(frame, plain)
    assert fed[0][0] == 0


def test_another_frame_begins_anew(pipeline, fed):
    frame = make_frame()
    pipeline.answer(frame, Command(MUG))
    pipeline.answer(Frame(frame.rgb), Command(MUG))
    assert [past for past, _ in fed] == [0, 0]


def test_no_prefix_outlives_its_frame(pipeline):
    before = count_prefixes()
    frame = make_frame()
    last = [*pipeline.run(frame, Command(MUG, watching=WatchOptions(WatchMode.EXACT)))][-1]
    assert count_prefixes() == before + 1
    del frame
    # The watch goes on, without the frame.
    assert last.memory is not None and count_prefixes() == before


def limit(pipeline: Pipeline, most: int) -> Pipeline:
    """Return the pipeline on engines that accept so many tokens behind others."""

    class Limited(OnnxEngine):
        def __init__(self, file: EngineFile) -> None:
            super().__init__(file)
            prompt, step = {"tokens": (1, 256), "past": (0, 0)}, {"tokens": (1, most)}
            self.info = replace(self.info, ranges=(prompt, {**step, "past": (1, 512)}))

    files, tokens = read_engine_files(EMBEDDED_WEIGHTS), pipeline.tokenizer.tokens
    engines = replace(
        pipeline.engines,
        language_model=load_exported_engines(files, tokens, Limited).language_model,
    )
    return Pipeline(engines, pipeline.tokenizer, pipeline.processing)


def test_an_engine_without_a_range_for_the_rest_gets_the_whole_prompt(pipeline, fed):
    limited, frame, before = limit(pipeline, 3), make_frame(), count_prefixes()
    for text in (MUG, BOWL):
        fed.clear()
        limited.answer(frame, Command(text))
        # With its draft, which a call behind the prefix had no room for.
        assert len(fed) == 1 and fed[0][0] == 0
    assert count_prefixes() == before


def test_a_rest_that_is_too_long_for_the_engine_goes_with_its_prompt(pipeline, fed):
    limited, frame = limit(pipeline, 20), make_frame()
    long = "find the bottle, the can, the banana, the cube and the bowl"
    for text, past in ((MUG, 0), (long, 0), (BOWL, SHARED), (MUG, SHARED)):
        fed.clear()
        limited.answer(frame, Command(text))
        assert fed[0][0] == past


class _Model:
    """Accepts all, and keeps numbers."""

    info = EngineInfo("language_model", "counting", "cpu", (), ())

    def open_session(self, prefix: Prefix | None = None) -> _Model:
        return self

    def accepts(self, count: int) -> bool:
        return True

    def keep(self, count: int) -> Prefix:
        return Prefix(count, None)


@pytest.fixture
def prefixes(pipeline) -> SharedPrefixes:
    config = replace(pipeline.processing, aspect="pad")
    return SharedPrefixes(_Model(), FrameMemory(), pipeline.tokenizer.tokens, config)


def make_ids(pipeline: Pipeline, *lead: int) -> np.ndarray:
    tokens = pipeline.tokenizer.tokens
    return np.array([1, *lead, *[tokens.image_patch] * 4, 7, tokens.region, 8])


def ask(prefixes: SharedPrefixes, frame: Frame, prompt: CommandPrompt, ids: np.ndarray) -> int:
    opening = prefixes.open(frame, prompt, ids, 0)
    prefixes.keep(frame, opening, ids)
    return opening.begun


def test_what_depends_on_more_than_the_frame_is_not_shared(pipeline, prefixes):
    frame, other = make_frame(), make_frame(1)
    ids, words = make_ids(pipeline), TaskFormat("")
    alone = CommandPrompt(words, (frame,))
    assert [ask(prefixes, frame, alone, ids) for _ in range(2)] == [0, 5]
    for prompt in (
        CommandPrompt(words, (other, frame)),
        CommandPrompt(words, (other,)),
        CommandPrompt(words, (frame,), (0,), np.zeros((1, 28, 28), np.float32)),
    ):
        assert ask(prefixes, frame, prompt, ids) == 0
    # None of them took the place of what is shared.
    assert ask(prefixes, frame, alone, ids) == 5


def test_other_words_before_the_image_are_fed(pipeline, prefixes):
    frame = make_frame()
    alone = CommandPrompt(TaskFormat(""), (frame,))
    assert ask(prefixes, frame, alone, make_ids(pipeline)) == 0
    assert ask(prefixes, frame, alone, make_ids(pipeline, 9)) == 0
    assert ask(prefixes, frame, alone, make_ids(pipeline, 9)) == 6
    region = pipeline.tokenizer.tokens.region
    assert [ask(prefixes, frame, alone, make_ids(pipeline, region)) for _ in range(2)] == [0, 0]
