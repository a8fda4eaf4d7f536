"""Commands about one frame share its image tokens and maps: what is computed, and what is kept."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest

from tests.flow.squares import make_frame
from tests.flow.test_pipeline import DetectionDecoder, make_pipeline
from tests.tasks.network import PROCESSING, Network
from vl2_ros.flow.encoded_image import EncodedImage
from vl2_ros.flow.frame_memory import FrameMemory
from vl2_ros.flow.prompt_features import encode_features, prepare_prompt
from vl2_ros.processing.language.command_prompt import write_prompt
from vl2_ros.runtime.engine import to_numpy
from vl2_ros.structures import (
    Command,
    Frame,
    PromptKind,
    ResultEvent,
    VisualPrompt,
    WatchMode,
    WatchOptions,
)

MUG, BOWL, BOTH = "find the red mug", "segment the bowl", "find the bottle and the can"
#: What is computed of the frame alone.
IMAGE = ["vision_encoder", "detection_backbone"]


def count_kept() -> int:
    gc.collect()
    return sum(type(one) is EncodedImage for one in gc.get_objects())


def image_calls(calls: list[str]) -> list[str]:
    return [one for one in calls if one in IMAGE]


def test_the_image_is_encoded_once_for_all_commands_and_watches(pipeline, calls):
    frame = make_frame()
    for text in (MUG, BOWL, BOTH):
        pipeline.answer(frame, Command(text))
    for mode in (WatchMode.EXACT, WatchMode.CACHED, WatchMode.AUTO):
        pipeline.answer(frame, Command(MUG, watching=WatchOptions(mode)))
    pipeline.detect(frame, ["mug"])
    assert image_calls(calls) == IMAGE
    assert calls.count("detection_decoder") == 7


def test_another_frame_is_encoded_anew(pipeline, calls):
    frame = make_frame()
    for seen in (frame, Frame(frame.rgb)):
        pipeline.answer(seen, Command(MUG))
    assert image_calls(calls) == IMAGE * 2


def test_plain_uses_nothing_and_leaves_nothing(pipeline, calls):
    frame, plain = make_frame(), Command(MUG, watching=WatchOptions(WatchMode.PLAIN))
    before = count_kept()
    pipeline.answer(frame, plain)
    assert count_kept() == before
    pipeline.answer(frame, Command(MUG))
    pipeline.answer(frame, plain)
    assert image_calls(calls) == IMAGE * 3


@pytest.mark.parametrize("text", [BOWL, BOTH])
def test_results_are_those_of_a_frame_that_nothing_is_shared_of(pipeline, text):
    frame = make_frame(2)
    pipeline.answer(frame, Command(MUG))
    command = Command(text, score_threshold=0.0)
    shared, alone = pipeline.answer(frame, command), pipeline.answer(replace(frame), command)
    assert (shared.text, shared.raw_text) == (alone.text, alone.raw_text)
    for found, wanted in zip(shared.branches, alone.branches, strict=True):
        # The start of the prompt is shared as well, in calls of other lengths.
        one, other = found.detections, wanted.detections
        np.testing.assert_allclose(one.boxes_xyxy, other.boxes_xyxy, atol=1e-2)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def test_nothing_outlives_its_frame(pipeline):
    frame, before = make_frame(), count_kept()
    gone = weakref.ref(frame)
    *_, last = pipeline.run(frame, Command(MUG, watching=WatchOptions(WatchMode.AUTO)))
    assert isinstance(last, ResultEvent) and count_kept() == before + 1
    del frame
    # The watch goes on, without the frame.
    assert gone() is None and last.memory is not None and count_kept() == before


def test_a_thousand_frames_leave_nothing_behind(json_tokenizer):
    decoder = DetectionDecoder()
    scripted = make_pipeline(json_tokenizer, "", decoder)
    backbone = scripted.engines.decoders["detection_decoder"].backbone
    rgb, counts = np.zeros((48, 64, 3), np.uint8), []
    for number in range(1000):
        frame = Frame(rgb)
        for name in ("mug", "bowl"):
            scripted.detect(frame, [name], with_masks=False)
        if number % 250 == 0:
            counts.append(count_kept())
        decoder.calls.clear()
    assert backbone.runs == 1000
    assert counts == [counts[0]] * 4
    del frame
    assert count_kept() == counts[0] - 1


@pytest.mark.parametrize("aspect", ["pad", "anyres"])
def test_further_images_are_encoded_beside_what_is_kept_of_the_frame(json_tokenizer, aspect):
    network, frame = Network(json_tokenizer), make_frame()
    config, engines = replace(PROCESSING, aspect=aspect), network.engines()
    # The frame once more is an image like others.
    command = Command("what has changed?", images=(make_frame(1), frame))
    prompt = write_prompt(frame, command, config)
    alone = prepare_prompt(prompt, json_tokenizer, config)
    wanted = to_numpy(encode_features(alone, engines).image_tokens)
    memory = FrameMemory()
    for _ in range(2):
        inputs = prepare_prompt(prompt, json_tokenizer, config, frame, memory)
        found = encode_features(inputs, engines, memory).image_tokens
        np.testing.assert_allclose(to_numpy(found).reshape(wanted.shape), wanted, atol=1e-5)
    tiles = [len(given["pixels"]) for given, _ in network.vision.calls]
    own = len(alone.pixels) // 3
    assert tiles == [3 * own, own, 2 * own, 2 * own]


def test_regions_and_further_images_are_encoded_by_themselves(json_tokenizer):
    network, frame = Network(json_tokenizer), make_frame()
    config = replace(PROCESSING, aspect="pad")
    pipeline = network.pipeline("", config)
    box = VisualPrompt(PromptKind.BOX, np.array([[40.0, 40.0], [80.0, 80.0]]))
    asked = (
        (Command("what is this?", visual_prompts=(box,)), 1),
        (Command("describe region1", visual_prompts=(box,)), 1),
        (Command("what is there?"), 2),
        (Command("what is there now?"), 2),
        (Command("what has changed?", images=(make_frame(1),)), 3),
        (Command("what has changed?", images=(make_frame(1),)), 4),
    )
    before = len(network.vision.calls)
    for command, encoded in asked:
        pipeline.answer(frame, command)
        assert len(network.vision.calls) - before == encoded, command
