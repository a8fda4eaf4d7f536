"""One image from states: events, options, seeds, sizes, cancel; and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.runtime.diffusion.diffusion_parts import (
    SCHEDULES,
    make_frame,
    make_generator,
    make_parts,
    run_to_end,
    torch_engines,
)
from vl2_ros.errors import CheckpointError, EngineError, InputError
from vl2_ros.runtime.diffusion.generator import DiffusionGenerator, DiffusionSettings
from vl2_ros.runtime.engine import EngineInfo
from vl2_ros.structures import Frame, ImageOptions, ProgressEvent, Route

FEW = ImageOptions(seed=5, steps=3, scheduler="euler")


class Counted:
    """Passes calls on to an engine, and keeps what went in."""

    def __init__(self, engine):
        self.info = engine.info
        self.calls = []
        self._engine = engine

    def run(self, inputs):
        self.calls.append(inputs)
        return self._engine.run(inputs)


@pytest.fixture(scope="module")
def generation():
    return make_parts(Route.GENERATE)


@pytest.fixture(scope="module")
def editing():
    return make_parts(Route.EDIT)


def with_counted_denoiser(parts):
    engines = torch_engines(parts)
    counted = Counted(engines.denoiser)
    return make_generator(parts, replace(engines, denoiser=counted)), counted


def test_every_step_is_reported_and_the_image_says_how_it_was_made(generation):
    image, events = run_to_end(make_generator(generation), generation.states, FEW)
    assert events == [ProgressEvent("diffusion", step, 3) for step in (1, 2, 3)]
    assert image.rgb.shape == (64, 64, 3) and image.rgb.dtype == np.uint8
    made = (image.route, image.seed, image.steps, image.scheduler)
    assert made == (Route.GENERATE, 5, 3, "euler")


@pytest.mark.parametrize("scheduler", ["", "euler_ancestral"])
def test_same_seed_gives_the_same_bits_and_another_seed_does_not(generation, scheduler):
    options = ImageOptions(seed=5, steps=3, scheduler=scheduler)
    first, _ = run_to_end(make_generator(generation), generation.states, options)
    # A second image on a used generator and one on a fresh generator: no state is left behind.
    used = make_generator(generation)
    other, _ = run_to_end(used, generation.states, replace(options, seed=6))
    again, _ = run_to_end(used, generation.states, options)
    assert first.rgb.tobytes() == again.rgb.tobytes()
    assert (first.rgb != other.rgb).any()


def test_a_sampled_seed_is_reported_and_repeats_the_image(generation):
    generator = make_generator(generation)
    first, _ = run_to_end(generator, generation.states, replace(FEW, seed=None))
    second, _ = run_to_end(generator, generation.states, replace(FEW, seed=None))
    assert first.seed != second.seed and min(first.seed, second.seed) > 0
    again, _ = run_to_end(generator, generation.states, replace(FEW, seed=first.seed))
    assert again.rgb.tobytes() == first.rgb.tobytes()


def test_states_decide_the_image(generation):
    generator = make_generator(generation)
    first, _ = run_to_end(generator, generation.states, FEW)
    other, _ = run_to_end(generator, generation.states + 1, FEW)
    assert (first.rgb != other.rgb).any()


def test_closing_stops_before_the_next_call(generation):
    generator, denoiser = with_counted_denoiser(generation)
    run = generator.generate(generation.states, FEW)
    next(run)
    run.close()
    assert len(denoiser.calls) == 1


def test_guidance_is_one_call_a_step(generation, editing):
    for parts, rows, channels in ((generation, 2, 4), (editing, 3, 8)):
        generator, denoiser = with_counted_denoiser(parts)
        run_to_end(generator, parts.states, FEW, make_frame(64, 64))
        assert [call["latents"].shape for call in denoiser.calls] == [(rows, channels, 8, 8)] * 3
        assert denoiser.calls[0]["prompt_embeds"].shape[0] == rows
        assert denoiser.calls[0]["timestep"].shape == (1,)
        unguided = replace(FEW, guidance=1.0)
        run_to_end(generator, parts.states, unguided, make_frame(64, 64))
        assert denoiser.calls[-1]["latents"].shape == (1, channels, 8, 8)


@pytest.mark.parametrize(("route", "steps", "calls"), [("GENERATE", 50, 51), ("EDIT", 100, 100)])
def test_defaults_are_the_route_s(route, steps, calls, generation, editing):
    parts = {"GENERATE": generation, "EDIT": editing}[route]
    image, events = run_to_end(make_generator(parts), parts.states, source=make_frame(64, 64))
    assert image.steps == steps
    assert len(events) == calls  # PNDM looks twice at the second time
    assert image.scheduler == {"GENERATE": "pndm", "EDIT": "euler_ancestral"}[route]


@pytest.mark.parametrize("frame_hw", [(64, 64), (83, 101), (90, 1000), (20, 30)])
def test_an_edit_has_the_frame_s_size(editing, frame_hw):
    generator, denoiser = with_counted_denoiser(editing)
    options = replace(FEW, steps=1)
    image, _ = run_to_end(generator, editing.states, options, make_frame(*frame_hw))
    assert image.rgb.shape == (*frame_hw, 3)
    height, width = (8 * side for side in denoiser.calls[0]["latents"].shape[2:])
    assert max(height, width) <= 768 and min(height, width) >= 64


def test_an_edit_can_work_at_another_size(editing):
    generator, denoiser = with_counted_denoiser(editing)
    options = replace(FEW, size_hw=(64, 128))
    image, _ = run_to_end(generator, editing.states, options, make_frame(200, 300))
    assert denoiser.calls[0]["latents"].shape[2:] == (8, 16)
    assert image.rgb.shape == (200, 300, 3)


def test_an_edit_reads_its_source(editing):
    generator = make_generator(editing)
    first, _ = run_to_end(generator, editing.states, FEW, make_frame(64, 64, seed=1))
    other, _ = run_to_end(generator, editing.states, FEW, make_frame(64, 64, seed=2))
    assert (first.rgb != other.rgb).any()


def test_generation_ignores_the_frame(generation):
    generator = make_generator(generation)
    alone, _ = run_to_end(generator, generation.states, FEW)
    beside, _ = run_to_end(generator, generation.states, FEW, make_frame(100, 200))
    assert alone.rgb.tobytes() == beside.rgb.tobytes()


def test_an_edit_without_an_image_is_refused(editing):
    with pytest.raises(InputError, match="give one to edit"):
        run_to_end(make_generator(editing), editing.states, FEW)


def test_image_guidance_of_a_generation_is_refused(generation):
    with pytest.raises(InputError, match="image_guidance .* expected none, got 1.5"):
        run_to_end(make_generator(generation), generation.states, replace(FEW, image_guidance=1.5))


def test_lcm_needs_weights_made_for_it(generation):
    with pytest.raises(InputError, match=r"distilled.*LCMScheduler.*pndm.*dpm\+\+"):
        run_to_end(make_generator(generation), generation.states, replace(FEW, scheduler="lcm"))


def test_distilled_weights_take_four_steps_and_no_guidance(generation):
    settings = {**SCHEDULES[Route.GENERATE], "_class_name": "LCMScheduler"}
    generator, denoiser = with_counted_denoiser(replace(generation, scheduler=settings))
    image, events = run_to_end(generator, generation.states)
    assert (image.scheduler, image.steps, len(events)) == ("lcm", 4, 4)
    assert {call["latents"].shape[0] for call in denoiser.calls} == {1}


@pytest.mark.parametrize(("scheduler", "steps"), [("pndm", 1000), ("dpm++", 1000), ("ddim", 1000)])
def test_more_steps_than_the_scheduler_takes_are_refused(generation, scheduler, steps):
    options = ImageOptions(seed=1, steps=steps, scheduler=scheduler)
    with pytest.raises(InputError, match=f"cannot take {steps} steps"):
        run_to_end(make_generator(generation), generation.states, options)


@pytest.mark.parametrize("scheduler", ["ddim", "dpm++", "euler", "euler_ancestral", "pndm"])
@pytest.mark.parametrize("steps", [1, 2])
def test_very_few_steps_work(generation, editing, scheduler, steps):
    options = ImageOptions(seed=1, steps=steps, scheduler=scheduler)
    for parts in (generation, editing):
        image, _ = run_to_end(make_generator(parts), parts.states, options, make_frame(64, 64))
        assert image.steps == steps


def test_an_unknown_scheduler_of_the_checkpoint_is_refused(generation):
    strange = replace(generation, scheduler={"_class_name": "StrangeScheduler"})
    with pytest.raises(CheckpointError, match="StrangeScheduler.*PNDMScheduler"):
        make_generator(strange)


def test_engines_of_one_size_refuse_another(generation, editing):
    fixed = make_generator(generation, is_fixed=True)
    with pytest.raises(InputError, match="built for images of 64x64"):
        run_to_end(fixed, generation.states, replace(FEW, size_hw=(64, 128)))
    assert run_to_end(fixed, generation.states, FEW)[0].rgb.shape == (64, 64, 3)
    frame = make_frame(100, 200)
    edited, _ = run_to_end(make_generator(editing, is_fixed=True), editing.states, FEW, frame)
    assert edited.rgb.shape == (100, 200, 3)


def test_an_editor_without_an_encoder_is_refused(editing):
    with pytest.raises(EngineError, match="vae_encoder"):
        make_generator(editing, replace(torch_engines(editing), vae_encoder=None))


def test_a_broken_image_is_an_error_not_a_black_one(generation):
    class Broken:
        info = EngineInfo("denoiser", "scripted", "cpu", (), ())

        def run(self, inputs):
            return {"noise": np.full(inputs["latents"].shape, np.nan, np.float32)}

    generator = make_generator(generation, replace(torch_engines(generation), denoiser=Broken()))
    with pytest.raises(EngineError, match="NaN"):
        run_to_end(generator, generation.states, FEW)


def test_a_huge_frame_is_scaled_down_before_the_network(editing):
    generator, denoiser = with_counted_denoiser(editing)
    frame = Frame(np.zeros((1080, 1920, 3), np.uint8))
    image, _ = run_to_end(generator, editing.states, replace(FEW, steps=1), frame)
    assert denoiser.calls[0]["latents"].shape[2:] == (54, 96)
    assert image.rgb.shape == (1080, 1920, 3)


def test_an_image_that_is_refused_is_an_error(generation):
    seen = []

    def refuse(pixels):
        seen.append(pixels.shape)
        return len(seen) > 1

    generator = DiffusionGenerator(
        Route.GENERATE,
        torch_engines(generation),
        DiffusionSettings(generation.scheduler, (64, 64)),
        refuse,
    )
    assert run_to_end(generator, generation.states, FEW)[0].rgb.shape == (64, 64, 3)
    with pytest.raises(InputError, match="safety checker .* another seed"):
        run_to_end(generator, generation.states, FEW)
    assert seen == [(3, 64, 64)] * 2
