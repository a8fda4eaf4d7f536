"""The modes of a watch on the embedded model: which engines run on a frame, and what is kept."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.flow.squares import make_frame
from vl2_ros.errors import InputError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.flow.watch_memory import WatchMemory, draw_sketch
from vl2_ros.processing.calibration import Calibration, Domain
from vl2_ros.structures import (
    Command,
    Frame,
    ResultEvent,
    Route,
    StageEvent,
    TextEvent,
    TrackingOptions,
    WatchMode,
    WatchOptions,
)

VISION, LANGUAGE = "vision_encoder", "language_model"
DETECTION = ("detection_backbone", "detection_decoder")
MUG = "find the red mug"
MUG_ANSWER = "I found: red mug[DET]."


FRAME, OTHER = make_frame(0), make_frame(1)


def ask(
    pipeline: Pipeline,
    text: str = MUG,
    mode: WatchMode | None = None,
    memory: object = None,
    frame: Frame | None = FRAME,
    refresh: int = 30,
    **options,
) -> ResultEvent:
    command = Command(text, watching=WatchOptions(mode, refresh), **options)
    # Another object each time, as a camera has it: nothing is shared.
    seen = None if frame is None else replace(frame)
    *_, last = pipeline.run(seen, command, memory)
    return last


def watch(pipeline: Pipeline, calls: list[str], count: int, **options) -> list[list[str]]:
    """Return the graphs that each of several frames took."""
    memory, taken = None, []
    for _ in range(count):
        calls.clear()
        memory = ask(pipeline, memory=memory, **options).memory
        taken.append(list(calls))
    return taken


def test_plain_decodes_every_frame_anew(pipeline, calls):
    taken = watch(pipeline, calls, 2, mode=WatchMode.PLAIN)
    # The prompt, seven tokens, and nothing for the end.
    assert taken == [[VISION, *[LANGUAGE] * 8, *DETECTION]] * 2
    assert ask(pipeline, mode=WatchMode.PLAIN).memory == WatchMemory()


def test_exact_is_one_call_of_each_graph_from_the_first_frame_on(pipeline, calls):
    assert watch(pipeline, calls, 3, mode=WatchMode.EXACT) == [[VISION, LANGUAGE, *DETECTION]] * 3


def test_cached_is_the_decoder_alone(pipeline, calls):
    taken = watch(pipeline, calls, 4, mode=WatchMode.CACHED)
    assert taken == [[VISION, LANGUAGE, *DETECTION], *[[*DETECTION]] * 3]


def test_auto_verifies_at_intervals(pipeline, calls):
    whole, kept = [VISION, LANGUAGE, *DETECTION], [*DETECTION]
    taken = watch(pipeline, calls, 7, mode=WatchMode.AUTO, refresh=3)
    assert taken == [whole, kept, kept, whole, kept, kept, whole]
    assert watch(pipeline, calls, 2, mode=WatchMode.AUTO, refresh=1) == [whole] * 2


def test_an_ask_is_drafted_as_well_and_an_unexpected_answer_decoded(pipeline, calls):
    assert ask(pipeline).result.raw_text.strip() == MUG_ANSWER
    assert calls == [VISION, LANGUAGE, *DETECTION]
    calls.clear()
    plain = ask(pipeline, "is there a red mug?", WatchMode.PLAIN)
    plain_calls = list(calls)
    calls.clear()
    assert ask(pipeline, "is there a red mug?").result.raw_text == plain.result.raw_text
    assert calls == plain_calls


def test_every_mode_finds_what_plain_finds(pipeline):
    wanted = ask(pipeline, mode=WatchMode.PLAIN, score_threshold=0.0).result
    for mode in (WatchMode.EXACT, WatchMode.CACHED, WatchMode.AUTO):
        first = ask(pipeline, mode=mode, score_threshold=0.0)
        later = ask(pipeline, mode=mode, memory=first.memory, score_threshold=0.0)
        for got in (first.result, later.result):
            assert (got.text, got.raw_text, got.routes) == (
                wanted.text,
                wanted.raw_text,
                wanted.routes,
            )
            np.testing.assert_allclose(
                got.detections.boxes_xyxy, wanted.detections.boxes_xyxy, atol=1e-2
            )


def test_the_result_says_how_old_its_answer_is(pipeline):
    first = ask(pipeline, mode=WatchMode.CACHED)
    second = ask(pipeline, mode=WatchMode.CACHED, memory=first.memory)
    third = ask(pipeline, mode=WatchMode.CACHED, memory=second.memory)
    assert [one.result.answer_age for one in (first, second, third)] == [0, 1, 2]
    assert set(first.result.stage_ms) == {"preprocess", "vision", "language", "detection"}
    assert set(third.result.stage_ms) == {"preprocess", "detection"}
    assert third.result.raw_text == first.result.raw_text
    # A frame that failed may be given the same memory again.
    again = ask(pipeline, mode=WatchMode.CACHED, memory=first.memory)
    assert again.result.answer_age == 1


def test_the_events_of_a_kept_answer_have_its_words(pipeline):
    first = ask(pipeline, mode=WatchMode.CACHED)
    command = Command(MUG, watching=WatchOptions(WatchMode.CACHED))
    *events, _ = pipeline.run(FRAME, command, first.memory)
    assert [one.stage for one in events if isinstance(one, StageEvent)] == [
        "preprocess",
        "detection",
    ]
    (words,) = (one for one in events if isinstance(one, TextEvent))
    assert words == TextEvent("I found: red mug.", (Route.DETECT,))


@pytest.mark.parametrize("text", ["is there a red mug?", "how many mugs are there?"])
@pytest.mark.parametrize("mode", [WatchMode.CACHED, WatchMode.AUTO])
def test_an_answer_in_words_is_never_kept(pipeline, calls, text, mode):
    first = ask(pipeline, text, mode)
    calls.clear()
    second = ask(pipeline, text, mode, first.memory)
    # Its ids are the draft of the next one, which the model verifies on the frame.
    assert calls == [VISION, LANGUAGE]
    assert second.result.answer_age == 0 and second.result.raw_text == first.result.raw_text


def test_other_words_are_answered_anew(pipeline, calls):
    first = ask(pipeline, mode=WatchMode.CACHED)
    calls.clear()
    second = ask(pipeline, "find the blue bowl", WatchMode.CACHED, first.memory)
    assert second.result.raw_text.strip() == "I found: blue bowl[DET]."
    assert (second.result.answer_age, calls) == (0, [VISION, LANGUAGE, *DETECTION])


def test_a_limit_of_tokens_counts_among_the_words(pipeline):
    first = ask(pipeline, mode=WatchMode.CACHED)
    cut = ask(pipeline, mode=WatchMode.CACHED, memory=first.memory, max_new_tokens=2)
    plain = ask(pipeline, mode=WatchMode.PLAIN, max_new_tokens=2)
    assert cut.result.raw_text == plain.result.raw_text != first.result.raw_text


def test_a_new_scene_is_answered_anew_in_auto_only(pipeline):
    for mode, age in ((WatchMode.AUTO, 0), (WatchMode.CACHED, 1)):
        first = ask(pipeline, mode=mode)
        assert ask(pipeline, mode=mode, memory=first.memory).result.answer_age == 1
        moved = ask(pipeline, mode=mode, memory=first.memory, frame=OTHER)
        assert moved.result.answer_age == age


def test_light_and_noise_are_no_new_scene_and_a_slow_change_is_one(pipeline):
    rng = np.random.default_rng(5)
    soft = 64 + FRAME.rgb // 2

    def see(rgb: np.ndarray, memory: object = None) -> ResultEvent:
        frame = Frame(rgb.clip(0, 255).astype(np.uint8))
        return ask(pipeline, mode=WatchMode.AUTO, memory=memory, frame=frame)

    first = see(soft)
    brighter = see(soft + 40.0, first.memory)
    noisy = see(soft + rng.normal(0, 10, soft.shape), brighter.memory)
    assert [one.result.answer_age for one in (first, brighter, noisy)] == [0, 1, 2]
    # Each step is small; the frame of the answer is what counts.
    memory, ages = first.memory, []
    for share in (0.1, 0.2, 0.3, 0.4, 0.5):
        last = see(soft * (1 - share) + OTHER.rgb * share, memory)
        memory = last.memory
        ages.append(last.result.answer_age)
    assert ages[0] == 1 and 0 in ages


def test_a_sketch_fits_any_size_of_frame():
    for height, width in ((1, 1), (3, 2000), (480, 640), (1080, 1920)):
        sketch = draw_sketch(Frame(np.zeros((height, width, 3), np.uint8)))
        assert (sketch.shape, sketch.dtype) == ((12, 16, 3), np.float32)


def test_the_domain_is_that_of_the_answer_in_auto_and_unknown_in_cached(pipeline):
    # Mean and deviation of 256 channels, all of them far below what any image has.
    ones = np.ones(512)
    domain = Domain(center=-1e6 * ones, scale=ones, direction=ones, limit=0.0)
    far = Pipeline(
        pipeline.engines,
        pipeline.tokenizer,
        pipeline.processing,
        calibration=Calibration(domain=domain),
    )
    for mode, kept in ((WatchMode.AUTO, False), (WatchMode.CACHED, None)):
        first = ask(far, mode=mode)
        assert first.result.in_domain is False
        assert ask(far, mode=mode, memory=first.memory).result.in_domain is kept


def test_the_default_mode_is_auto_for_spoken_commands_and_exact_for_released_forms(pipeline):
    first = ask(pipeline)
    assert ask(pipeline, memory=first.memory).result.answer_age == 1
    released = Pipeline(
        pipeline.engines, pipeline.tokenizer, replace(pipeline.processing, wording="formats")
    )
    first = ask(released)
    assert ask(released, memory=first.memory).result.answer_age == 0


def test_tracks_go_on_over_kept_answers(pipeline):
    ids, memory = [], None
    for number in range(1, 6):
        last = ask(
            pipeline,
            mode=WatchMode.CACHED,
            memory=memory,
            frame=replace(FRAME, stamp_ns=number * 100_000_000),
            score_threshold=0.0,
            max_instances=1,
            tracking=TrackingOptions(),
        )
        memory = last.memory
        ids.append(last.result.detections.track_ids.tolist())
    # The third sight of an object confirms its track.
    assert ids[2:] == [[1]] * 3


def test_a_memory_holds_states_of_its_own_and_no_features(pipeline):
    memory = ask(pipeline, mode=WatchMode.AUTO).memory
    (condition,) = memory.answer.spoken.conditions
    assert condition.states.shape == (2, 256) and condition.states.base is None
    assert memory.answer.sketch.nbytes == 12 * 16 * 3 * 4
    assert ask(pipeline, mode=WatchMode.EXACT).memory.answer.sketch is None


def test_a_command_that_is_given_its_answer_is_kept_as_well(pipeline, calls):
    first = ask(pipeline, mode=WatchMode.CACHED, direct=True)
    calls.clear()
    second = ask(pipeline, mode=WatchMode.CACHED, memory=first.memory, direct=True)
    assert calls == [*DETECTION] and second.result.answer_age == 1


def test_an_interval_of_no_frame_is_refused():
    with pytest.raises(InputError, match="refresh_frames must be at least 1, got 0"):
        WatchOptions(refresh_frames=0)
