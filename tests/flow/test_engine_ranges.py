"""Engines that were built for less than a checkpoint does: fewer tiles, shorter prompts, or not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vl2_ros.errors import EngineError, InputError
from vl2_ros.flow.engine_ranges import fit_processing, most_of
from vl2_ros.flow.prompt_features import PromptInputs, encode_features
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt_length import measure_prompts
from vl2_ros.runtime.engine import EngineInfo, Engines, PerceptionDecoder, Ranges

CONFIG = ProcessingConfig(vision_side=56, vision_tokens=100)
WIDE: dict[str, Ranges] = {
    "vision_encoder": ({"tiles": (1, 13)},),
    "language_model": (
        {"rows": (1, 1), "tokens": (1, 4096), "past": (0, 0)},
        {"rows": (1, 1), "tokens": (1, 80), "past": (1, 6000)},
    ),
}


def make_engine(graph: str, ranges: Ranges) -> SimpleNamespace:
    info = EngineInfo(graph, "tensorrt", "cuda:0", (), (), ranges=ranges)
    return SimpleNamespace(info=info, run=lambda inputs: pytest.fail("ran"))


def make_engines(**ranges: Ranges) -> Engines:
    made = {name: make_engine(name, one) for name, one in (WIDE | ranges).items()}
    return Engines(
        made["vision_encoder"],
        made["language_model"],
        {
            name: PerceptionDecoder(make_engine(PERCEPTION_PARTS[name].backbone, ()), one)
            for name, one in made.items()
            if name in PERCEPTION_PARTS
        },
        region_encoder=made.get("region_encoder"),
    )


def limit_prompts(most: int, past: int = 6000) -> Ranges:
    first, second = WIDE["language_model"]
    return ({**first, "tokens": (1, most)}, {**second, "past": (1, past)})


@pytest.mark.parametrize("ranges", [{}, dict.fromkeys(WIDE, ())])
def test_engines_that_take_everything_change_nothing(json_tokenizer, ranges):
    assert fit_processing(make_engines(**ranges), json_tokenizer, CONFIG) == CONFIG


@pytest.mark.parametrize(("most", "tiles"), [(13, 4), (5, 4), (4, 3), (3, 2), (2, 1), (1, 1)])
@pytest.mark.parametrize("graph", ["vision_encoder", "region_encoder"])
def test_images_are_cut_into_the_tiles_that_were_built_for(json_tokenizer, graph, most, tiles):
    engines = make_engines(**{graph: ({"tiles": (1, most), "regions": (1, 4)},)})
    assert fit_processing(engines, json_tokenizer, CONFIG).max_tiles == tiles


def test_images_are_cut_so_that_their_prompts_fit(json_tokenizer):
    words = measure_prompts(json_tokenizer, CONFIG).longest - 500
    for most, tiles in ((500 + words, 4), (499 + words, 3), (300 + words, 2), (299 + words, 1)):
        engines = make_engines(language_model=limit_prompts(most))
        fitted = fit_processing(engines, json_tokenizer, CONFIG)
        assert (fitted.max_tiles, fitted.max_length) == (tiles, most)


def test_an_answer_to_the_longest_prompt_has_room(json_tokenizer):
    needed = measure_prompts(json_tokenizer, CONFIG)
    past = needed.longest + needed.answer
    engines = make_engines(language_model=limit_prompts(4096, past))
    fitted = fit_processing(engines, json_tokenizer, CONFIG)
    assert (fitted.max_tiles, fitted.max_length) == (4, needed.longest)
    engines = make_engines(language_model=limit_prompts(4096, past - 1))
    assert fit_processing(engines, json_tokenizer, CONFIG).max_tiles == 3


@pytest.mark.parametrize(
    ("ranges", "message"),
    [
        (
            {"language_model": limit_prompts(120)},
            r"language_model must take tokens \d+ to \d+ at p",
        ),
        (
            {"language_model": WIDE["language_model"][:1]},
            "take past .* at tokens 1; .* at tokens 5",
        ),
        ({"vision_encoder": ({"tiles": (3, 5)},)}, "vision_encoder must take tiles 1;"),
        ({"detection_decoder": ({"classes": (4, 64)},)}, "detection_decoder must take classes 1;"),
    ],
)
def test_engines_that_take_no_prompt_at_all_are_refused(json_tokenizer, ranges, message):
    with pytest.raises(EngineError, match=f"{message}.*vl2 engines build"):
        fit_processing(make_engines(**ranges), json_tokenizer, CONFIG)


def test_names_are_limited_to_what_the_decoders_take(json_tokenizer):
    engines = make_engines(
        detection_decoder=({"classes": (1, 64)},),
        pose_decoder=({"classes": (1, 16), "keypoints": (1, 17)},),
    )
    fitted = fit_processing(engines, json_tokenizer, CONFIG)
    assert (fitted.max_classes, fitted.max_keypoints) == (64, 17)


def test_the_most_of_an_axis_is_that_of_the_ranges_that_fit():
    assert most_of(WIDE["language_model"], "tokens") == 4096
    assert most_of(WIDE["language_model"], "tokens", past=5) == 80
    assert most_of(WIDE["language_model"], "tokens", past=7000) == 0
    assert most_of((), "tokens") > 1 << 30


@pytest.mark.parametrize(
    ("tiles", "regions", "message"),
    [
        (14, 0, "14 tiles, vision_encoder was built for 13 at once; give fewer images"),
        (6, 1, "6 tiles, region_encoder was built for 5"),
        (5, 3, "3 regions, region_encoder was built for 2"),
    ],
)
def test_more_images_than_fit_are_the_command_s_fault(tiles, regions, message):
    engines = make_engines(region_encoder=({"tiles": (1, 5), "regions": (1, 2)},))
    inputs = PromptInputs(
        np.zeros(1, np.int64),
        np.zeros((tiles, 3, 56, 56), np.float32),
        np.zeros(regions, np.int64),
        np.zeros((regions, 56, 56), np.float32) if regions else None,
        frame=None,
        is_of_frame=np.zeros(tiles, np.bool_),
        is_squashed=False,
    )
    with pytest.raises(InputError, match=message):
        encode_features(inputs, engines)
