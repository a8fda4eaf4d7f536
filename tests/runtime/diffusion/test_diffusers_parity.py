"""Our loop over engines against diffusers' own pipelines, on the same random weights."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image

from tests.runtime.diffusion.diffusion_parts import (
    SCHEDULES,
    Parts,
    make_frame,
    make_generator,
    make_parts,
    run_to_end,
)
from vl2_ros.runtime.diffusion.schedulers import CLASSES
from vl2_ros.structures import ImageOptions, Route

STEPS = 6
SEED = 2**40 + 11


@pytest.fixture(scope="module")
def generation() -> Parts:
    return make_parts(Route.GENERATE)


@pytest.fixture(scope="module")
def editing() -> Parts:
    return make_parts(Route.EDIT)


def make_pipeline(parts: Parts, scheduler: str):
    scheduler_class = getattr(diffusers, CLASSES[scheduler])
    settings = {key: value for key, value in parts.scheduler.items() if key != "_class_name"}
    known = scheduler_class().config.keys()
    is_editor = parts.route is Route.EDIT
    kind = (
        diffusers.StableDiffusionInstructPix2PixPipeline
        if is_editor
        else diffusers.StableDiffusionPipeline
    )
    pipeline = kind(
        vae=parts.vae,
        text_encoder=None,
        tokenizer=None,
        unet=parts.unet,
        scheduler=scheduler_class(**{k: v for k, v in settings.items() if k in known}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def run_diffusers(parts: Parts, scheduler: str, **given) -> np.ndarray:
    image = make_pipeline(parts, scheduler)(
        prompt_embeds=parts.words,
        negative_prompt_embeds=parts.no_words,
        num_inference_steps=STEPS,
        generator=torch.Generator().manual_seed(SEED),
        **given,
    ).images[0]
    return np.asarray(image)


def assert_same_image(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert theirs.std() > 8, "a grey image would be the same whatever was computed"
    difference = np.abs(ours.astype(int) - theirs.astype(int))
    assert ours.shape == theirs.shape
    assert difference.max() <= 1, f"{difference.max()} grey levels, {(difference > 1).mean():.2%}"


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler", "euler_ancestral", "pndm"])
@pytest.mark.parametrize("guidance", [7.5, 1.0])
def test_generation_is_what_diffusers_generates(generation, scheduler, guidance):
    options = ImageOptions(SEED, STEPS, guidance, scheduler=scheduler)
    ours, _ = run_to_end(make_generator(generation), generation.states, options)
    theirs = run_diffusers(generation, scheduler, guidance_scale=guidance, height=64, width=64)
    assert_same_image(ours.rgb, theirs)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler", "euler_ancestral"])
def test_edit_is_what_diffusers_edits(editing, scheduler):
    # 83 x 101 is cut to 80 x 96 by both; diffusers leaves it so, an edit comes back to the frame.
    frame = make_frame(83, 101)
    options = ImageOptions(SEED, STEPS, 5.0, 1.7, scheduler=scheduler)
    ours, _ = run_to_end(make_generator(editing), editing.states, options, frame)
    theirs = run_diffusers(
        editing,
        scheduler,
        image=Image.fromarray(frame.rgb),
        guidance_scale=5.0,
        image_guidance_scale=1.7,
    )
    assert theirs.shape == (80, 96, 3)
    back = Image.fromarray(theirs).resize((101, 83), Image.Resampling.BICUBIC)
    assert_same_image(ours.rgb, np.asarray(back))


@pytest.mark.parametrize(("guidance", "image_guidance"), [(1.0, 1.5), (7.5, 0.5), (7.5, 1.0)])
def test_edit_guides_exactly_when_diffusers_does(editing, guidance, image_guidance):
    frame = make_frame(64, 64)
    options = ImageOptions(SEED, STEPS, guidance, image_guidance)
    ours, _ = run_to_end(make_generator(editing), editing.states, options, frame)
    theirs = run_diffusers(
        editing,
        "euler_ancestral",
        image=Image.fromarray(frame.rgb),
        guidance_scale=guidance,
        image_guidance_scale=image_guidance,
    )
    assert_same_image(ours.rgb, theirs)


def test_lcm_is_what_diffusers_generates_with_distilled_weights(generation):
    distilled = replace(
        generation, scheduler={**SCHEDULES[Route.GENERATE], "_class_name": "LCMScheduler"}
    )
    ours, _ = run_to_end(
        make_generator(distilled), generation.states, ImageOptions(SEED, STEPS, 1.0)
    )
    theirs = run_diffusers(distilled, "lcm", guidance_scale=1.0, height=64, width=64)
    assert ours.scheduler == "lcm"
    assert_same_image(ours.rgb, theirs)


def test_other_sizes_are_generated_as_by_diffusers(generation):
    options = ImageOptions(SEED, STEPS, size_hw=(64, 96))
    ours, _ = run_to_end(make_generator(generation), generation.states, options)
    assert_same_image(ours.rgb, run_diffusers(generation, "pndm", height=64, width=96))
