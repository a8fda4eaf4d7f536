"""The tiny release from its weights and token ids to its reference images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.language.slots import gather_slots, slot_counts
from vl2_ros.runtime.torch_backend.loading import load_torch_engines
from vl2_ros.structures import Frame, ImageOptions, Route

pytestmark = pytest.mark.golden


@dataclass
class Release:
    engines: Any
    config: Any
    known: dict[str, torch.Tensor]

    def states(self) -> np.ndarray:
        """Super-link states from the ids, and the stored tiles where there are some."""
        tokens = None
        if "clip_pixels" in self.known:
            pixels = self.known["clip_pixels"].numpy()
            tokens = self.engines.vision_encoder.run({"pixels": pixels})["image_tokens"]
        ids = self.known["input_ids"][0].numpy()
        step = self.engines.language_model.open_session().feed(ids, tokens)
        model, table = self.config.model, self.config.tokens
        counts = slot_counts(table, num_embs=model.num_embs, num_embs_gen=model.num_embs_gen)
        (group,) = gather_slots(step.hidden, ids.tolist(), table, counts)
        return group.states


@pytest.fixture(params=["bin", "safetensors"])
def read_release(request, golden_dir):
    def read(name: str) -> Release:
        folder: Path = golden_dir / "release_tiny" / request.param
        known = load_file(golden_dir / "release_tiny" / f"{name}.safetensors")
        return Release(load_torch_engines(folder), read_checkpoint_config(folder), known)

    return read


@pytest.fixture
def recorded(monkeypatch):
    """Pixels and guidance of a run, as they pass by."""
    from vl2_ros.runtime.diffusion import generator as module

    seen: dict[str, Any] = {}
    finish, guide = module.postprocess_image, module.denoise

    def keep_pixels(pixels, frame_hw=None):
        seen["pixels"] = pixels
        return finish(pixels, frame_hw)

    def keep_guidance(denoiser, scheduler, guidance, latents, generator):
        seen["guidance"], seen["latents"] = guidance, []
        for one in guide(denoiser, scheduler, guidance, latents, generator):
            seen["latents"].append(one)
            yield one

    monkeypatch.setattr(module, "postprocess_image", keep_pixels)
    monkeypatch.setattr(module, "denoise", keep_guidance)
    return seen


def make_image(release, route, monkeypatch, source=None):
    known = release.known
    noise = known["init_latents"].clone()
    monkeypatch.setattr("vl2_ros.runtime.diffusion.generator.draw_noise", lambda *_: noise)
    generator = release.engines.image_generators[route]
    run = generator.generate(release.states(), ImageOptions(seed=0, steps=3), source)
    while True:
        try:
            next(run)
        except StopIteration as stop:
            return stop.value


def check_image(image, recorded, known, record_property):
    shares = np.clip(recorded["pixels"].transpose(1, 2, 0) / 2 + 0.5, 0, 1)
    expected = known["image"][0].numpy()
    differences = {
        "image": np.abs(shares - expected).max(),
        "latents": (torch.stack(recorded["latents"]) - known["step_latents"]).abs().max(),
    }
    for name, value in differences.items():
        record_property(name, float(value))
    assert differences["image"] <= 2e-3
    grey = np.abs(image.rgb.astype(int) - np.round(expected * 255).astype(int))
    assert grey.max() <= 1
    assert image.rgb.std() > 8
    return differences["latents"]


def test_the_reference_generation_comes_from_the_weights(
    read_release, recorded, monkeypatch, record_property
):
    release = read_release("gen")
    image = make_image(release, Route.GENERATE, monkeypatch)
    known, guidance = release.known, recorded["guidance"]
    no_words, words = guidance.prompt_embeds.split(1)
    torch.testing.assert_close(words, known["mapping_feature"], rtol=0, atol=1e-4)
    torch.testing.assert_close(no_words, known["negative_embeds"], rtol=0, atol=1e-4)
    assert image.scheduler == "pndm"
    assert check_image(image, recorded, known, record_property) <= 1e-3


def test_the_reference_edit_comes_from_the_weights(
    read_release, recorded, monkeypatch, record_property
):
    release = read_release("edit")
    known = release.known
    stored = iter(known["step_noise"])
    monkeypatch.setattr(
        "diffusers.schedulers.scheduling_euler_ancestral_discrete.randn_tensor",
        lambda *_, **__: next(stored),
    )
    source = Frame(known["source_uint8"].numpy())
    image = make_image(release, Route.EDIT, monkeypatch, source)
    guidance = recorded["guidance"]
    words, no_words, _ = guidance.prompt_embeds.split(1)
    torch.testing.assert_close(words, known["mapping_feature"], rtol=0, atol=1e-4)
    torch.testing.assert_close(no_words, known["negative_embeds"], rtol=0, atol=1e-4)
    seen, again, nothing = guidance.image_latents.split(1)
    torch.testing.assert_close(seen, known["source_latent_mode"], rtol=0, atol=1e-4)
    assert torch.equal(seen, again) and not nothing.any()
    assert image.scheduler == "euler_ancestral"
    assert check_image(image, recorded, known, record_property) <= 5e-3
