"""The loop over engines: what they get, reference latents, and ONNX Runtime beside torch."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.runtime.diffusion.diffusion_parts import (
    CPU,
    make_frame,
    make_generator,
    make_parts,
    run_to_end,
    torch_engines,
)
from tests.runtime.onnxruntime_backend.onnx_files import read_one
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.runtime.diffusion.denoise import denoise, draw_noise, guide_editing, guide_generation
from vl2_ros.runtime.diffusion.schedulers import make_scheduler
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.runtime.torch_backend.diffusion import make_float_engine
from vl2_ros.structures import ImageOptions, Route


def export_denoiser(parts, path):
    class Denoiser(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.unet = parts.unet

        def forward(self, latents, timestep, prompt_embeds):
            return self.unet(latents, timestep, prompt_embeds, return_dict=False)[0]

    channels = parts.unet.config.in_channels
    example = (torch.randn(2, channels, 8, 8), torch.ones(1), torch.randn(2, 77, 32))
    images = torch.export.Dim("images", min=1, max=3)
    spec = GRAPHS["denoiser"]
    torch.onnx.export(
        Denoiser().eval(),
        example,
        path,
        dynamo=True,
        input_names=spec.input_names,
        output_names=spec.output_names,
        dynamic_shapes={
            "latents": {0: images},
            "timestep": None,
            "prompt_embeds": {0: images},
        },
        verbose=False,
        external_data=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize("route", [Route.GENERATE, Route.EDIT])
def test_onnx_runtime_makes_torch_s_latents_and_image(route, tmp_path):
    parts = make_parts(route)
    export_denoiser(parts, tmp_path / "denoiser.onnx")
    onnx = OnnxEngine(read_one(tmp_path / "denoiser.onnx", "denoiser"))
    torch_denoiser = torch_engines(parts).denoiser
    words, source = parts.words, torch.randn(1, 4, 8, 8)
    if route is Route.EDIT:
        guidance = guide_editing(words, parts.no_words, source, 7.5, 1.5)
    else:
        guidance = guide_generation(words, parts.no_words, 7.5)
    name = "euler_ancestral"
    runs = [
        torch.cat(list(_denoise(engine, name, parts, guidance)))
        for engine in (torch_denoiser, onnx)
    ]
    assert runs[0].std() > 0.5
    torch.testing.assert_close(runs[1], runs[0], rtol=0, atol=1e-3)

    options, frame = ImageOptions(seed=3, steps=8), make_frame(64, 64)
    engines = replace(torch_engines(parts), denoiser=onnx)
    ours, _ = run_to_end(make_generator(parts, engines), parts.states, options, frame)
    theirs, _ = run_to_end(make_generator(parts), parts.states, options, frame)
    assert np.abs(ours.rgb.astype(int) - theirs.rgb.astype(int)).max() <= 1


def _denoise(engine, name, parts, guidance, steps=8):
    random = torch.Generator().manual_seed(11)
    scheduler = make_scheduler(name, parts.scheduler, steps)
    return denoise(engine, scheduler, guidance, draw_noise((8, 8), random, CPU), random)


def test_rows_of_generation_are_no_words_and_words():
    words, no_words = torch.ones(1, 77, 4), torch.zeros(1, 77, 4)
    guidance = guide_generation(words, no_words, 3.0)
    assert guidance.prompt_embeds[:, 0, 0].tolist() == [0, 1]
    noise = torch.tensor([2.0, 5.0]).reshape(2, 1, 1, 1)
    assert guidance.combine(noise).item() == 2 + 3 * (5 - 2)


def test_rows_of_an_edit_are_both_source_alone_and_nothing():
    words, no_words, source = torch.ones(1, 77, 4), torch.zeros(1, 77, 4), torch.ones(1, 4, 2, 2)
    guidance = guide_editing(words, no_words, source, 3.0, 2.0)
    assert guidance.prompt_embeds[:, 0, 0].tolist() == [1, 0, 0]
    assert guidance.image_latents[:, 0, 0, 0].tolist() == [1, 1, 0]
    noise = torch.tensor([7.0, 5.0, 1.0]).reshape(3, 1, 1, 1)
    assert guidance.combine(noise).item() == 1 + 3 * (7 - 5) + 2 * (5 - 1)


def test_noise_of_a_seed_is_the_same_everywhere():
    first, second = (draw_noise((8, 8), torch.Generator().manual_seed(4), CPU) for _ in range(2))
    assert torch.equal(first, second)
    assert first.shape == (1, 4, 8, 8) and first.dtype == torch.float32


def test_engines_get_float32_numpy_of_the_graph_s_shape_and_the_loop_stays_put():
    seen = []

    def look(latents, timestep, prompt_embeds):
        seen.append((latents.shape, timestep.shape, timestep.dtype, prompt_embeds.shape))
        return (latents * 0.1,)

    words = torch.randn(1, 77, 4)
    guidance = guide_generation(words, torch.zeros_like(words), 7.5)
    engine = make_float_engine("denoiser", look, CPU)
    parts = replace(make_parts(Route.GENERATE))
    steps = list(_denoise(engine, "pndm", parts, guidance, steps=3))
    assert seen == [((2, 4, 8, 8), (1,), torch.float32, (2, 77, 4))] * 4
    assert all(latents.dtype == torch.float32 for latents in steps)


def _golden_denoiser(golden_dir, folder, weights_prefix):
    """Denoiser of the tiny release, from the checkpoint's own tensors."""
    from diffusers import UNet2DConditionModel

    release = golden_dir / "release_tiny"
    config = json.loads((release / "checkpoints" / folder / "unet" / "config.json").read_text())
    unet = UNet2DConditionModel.from_config(config).eval()
    state = {}
    for path in sorted((release / "safetensors").glob("*.safetensors")):
        tensors = load_file(path)
        prefix = f"{weights_prefix}.sd_unet."
        state |= {k[len(prefix) :]: v.float() for k, v in tensors.items() if k.startswith(prefix)}
    unet.load_state_dict(state)
    return make_float_engine("denoiser", lambda *given: unet(*given, return_dict=False), CPU)


def _golden_scheduler(golden_dir, folder, name, steps):
    path = golden_dir / "release_tiny" / "checkpoints" / folder / "scheduler"
    config = json.loads((path / "scheduler_config.json").read_text())
    return make_scheduler(name, config, steps)


@pytest.mark.golden
def test_every_step_of_the_reference_generation_is_ours(golden_dir):
    known = load_file(golden_dir / "release_tiny" / "gen.safetensors")
    folder = "stable-diffusion-v1-5"
    scheduler = _golden_scheduler(golden_dir, folder, "pndm", 3)
    assert torch.equal(scheduler.timesteps, known["timesteps"])
    guidance = guide_generation(known["mapping_feature"], known["negative_embeds"], 7.5)
    engine = _golden_denoiser(golden_dir, folder, "sd")
    steps = list(denoise(engine, scheduler, guidance, known["init_latents"], torch.Generator()))
    torch.testing.assert_close(torch.stack(steps), known["step_latents"], rtol=0, atol=1e-3)


@pytest.mark.golden
def test_every_step_of_the_reference_edit_is_ours(golden_dir, monkeypatch):
    known = load_file(golden_dir / "release_tiny" / "edit.safetensors")
    folder = "instruct-pix2pix"
    scheduler = _golden_scheduler(golden_dir, folder, "euler_ancestral", 3)
    torch.testing.assert_close(scheduler.timesteps, known["timesteps"])
    torch.testing.assert_close(scheduler.sigmas, known["sigmas"])
    stored = iter(known["step_noise"])
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor",
        lambda shape, **_: next(stored).reshape(shape),
    )
    guidance = guide_editing(
        known["mapping_feature"],
        known["negative_embeds"],
        known["source_latent_mode"],
        7.5,
        1.5,
    )
    engine = _golden_denoiser(golden_dir, folder, "ip2p")
    steps = list(denoise(engine, scheduler, guidance, known["init_latents"], torch.Generator()))
    torch.testing.assert_close(torch.stack(steps), known["step_latents"], rtol=0, atol=5e-3)
    assert next(stored, None) is None
