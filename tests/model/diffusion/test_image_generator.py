"""The networks of generation and editing against reference runs of a complete tiny release.

The loops are written out here with diffusers' schedulers; the product's are the runtime's.
"""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from safetensors.torch import load_file

from vl2_ros.errors import CheckpointError, ConfigError
from vl2_ros.model.checkpoint.folder import load_model, load_part
from vl2_ros.model.diffusion.caption_tokenizer import CaptionTokenizer
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork

FORMS = ("bin", "safetensors")
MAPPING_TOLERANCE = 1e-4
IMAGE_TOLERANCE = 2e-3


@pytest.fixture(scope="module")
def root(golden_dir):
    return golden_dir / "release_tiny"


@pytest.fixture(scope="module")
def read_case(root):
    def read(name):
        return load_file(root / f"{name}.safetensors"), json.loads(
            (root / f"{name}.json").read_text()
        )

    return read


@pytest.fixture(scope="module", params=FORMS)
def model(root, request):
    return load_model(root / request.param)


def assert_close(found, expected, tolerance):
    torch.testing.assert_close(found, expected, atol=tolerance, rtol=0)


def make_scheduler(network, steps):
    settings = dict(network.config.scheduler)
    scheduler = getattr(diffusers, settings.pop("_class_name")).from_config(settings)
    scheduler.set_timesteps(steps)
    return scheduler


def to_image(network, latents):
    pixels = network.vae.decode(latents / network.config.scaling_factor).sample
    return (pixels / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1)


def map_answer(model, network, tensors, image_tokens=None):
    ids = tensors["input_ids"]
    output = model(ids, None, image_tokens)
    assert_close(output.hidden, tensors["hidden_last"], MAPPING_TOLERANCE)
    (group,) = model.super_link.gather(output.hidden, ids)[0]
    prompt_embeds = network.map_prompt(group.states[None])
    assert_close(prompt_embeds, tensors["mapping_feature"], MAPPING_TOLERANCE)
    empty = network.encode_empty()
    assert_close(empty, tensors["negative_embeds"], MAPPING_TOLERANCE)
    return prompt_embeds, empty


@pytest.mark.golden
@torch.inference_mode()
def test_a_sentence_becomes_the_reference_image(model, read_case):
    (tensors, info), network = read_case("gen"), model.image_generation
    assert list(network.config.unconditional_ids) == tensors["negative_ids"][0].tolist()
    prompt_embeds, empty = map_answer(model, network, tensors)
    scheduler, latents = make_scheduler(network, info["steps"]), tensors["init_latents"]
    assert scheduler.timesteps.tolist() == tensors["timesteps"].tolist()
    for step, expected in zip(scheduler.timesteps, tensors["step_latents"], strict=True):
        noise = network.denoise(
            latents.expand(2, -1, -1, -1), step[None], torch.cat([empty, prompt_embeds])
        )
        without, within = noise.chunk(2)
        guided = without + info["guidance_scale"] * (within - without)
        latents = scheduler.step(guided, step, latents).prev_sample
        assert_close(latents, expected, 1e-3)
    assert_close(to_image(network, latents), tensors["image"], IMAGE_TOLERANCE)


def edit(network, tensors, info, prompt_embeds, empty):
    """Yield the latents after each step."""
    source = tensors["source_uint8"].permute(2, 0, 1)[None] / 127.5 - 1
    source_latents = network.encode_pixels(source)
    assert_close(source_latents, tensors["source_latent_mode"], MAPPING_TOLERANCE)
    sources = torch.cat([source_latents, source_latents, torch.zeros_like(source_latents)])
    conditions = torch.cat([prompt_embeds, empty, empty])
    scheduler = make_scheduler(network, info["steps"])
    latents = tensors["init_latents"] * scheduler.init_noise_sigma
    sigmas = scheduler.sigmas
    for index, step in enumerate(scheduler.timesteps):
        scaled = latents / (sigmas[index] ** 2 + 1) ** 0.5
        noise = network.denoise(
            torch.cat([scaled.expand(3, -1, -1, -1), sources], dim=1), step[None], conditions
        )
        both, image, neither = noise.chunk(3)
        guided = neither + info["guidance_scale"] * (both - image)
        guided = guided + info["image_guidance_scale"] * (image - neither)
        up = (sigmas[index + 1] ** 2 * (sigmas[index] ** 2 - sigmas[index + 1] ** 2)) ** 0.5
        up = up / sigmas[index]
        down = (sigmas[index + 1] ** 2 - up**2) ** 0.5
        latents = latents + guided * (down - sigmas[index]) + tensors["step_noise"][index] * up
        yield latents


@pytest.mark.golden
@torch.inference_mode()
def test_a_photo_and_a_sentence_become_the_reference_edit(model, read_case):
    (tensors, info), network = read_case("edit"), model.image_editing
    image_tokens = model.encode_images(tensors["clip_pixels"]).image_tokens
    assert_close(image_tokens, tensors["bridged"], MAPPING_TOLERANCE)
    conditions = map_answer(model, network, tensors, image_tokens)
    steps = list(edit(network, tensors, info, *conditions))
    for latents, expected in zip(steps, tensors["step_latents"], strict=True):
        assert_close(latents, expected, 5e-3)
    assert_close(to_image(network, steps[-1]), tensors["image"], IMAGE_TOLERANCE)


@pytest.mark.golden
@torch.inference_mode()
def test_the_folders_denoiser_would_make_another_edit(root, read_case):
    tensors, info = read_case("edit")
    network = load_part(root / "safetensors", "image_editing")
    folder = network.folder.path / "unet" / "diffusion_pytorch_model.safetensors"
    weights = {name: value.float() for name, value in load_file(folder).items()}
    network.denoiser.load_state_dict(weights, strict=True)
    conditions = tensors["mapping_feature"], network.encode_empty()
    steps = list(edit(network, tensors, info, *conditions))
    assert (steps[-1] - tensors["step_latents"][-1]).abs().max() > 18


@pytest.mark.golden
def test_captions_become_padded_ids(root):
    network = load_part(root / "bin", "image_generation")
    tokenize = CaptionTokenizer(network.folder.tokenizer, network.config.num_conditions)
    ids = tokenize(["", "a red boat", "a red boat on a lake " * 20])
    assert ids.shape == (3, 77) and ids.dtype == torch.int64
    assert tuple(ids[0].tolist()) == network.config.unconditional_ids
    start, end = ids[0, 0].item(), ids[0, -1].item()
    assert ids[1, 0] == start and ids[1, -1] == end and len(set(ids[1].tolist())) > 3
    assert ids[2, -1] == end and (ids[2, :-1] != end).all()
    assert network.encode_text(ids).shape == (3, 77, 32)


def test_captions_without_a_tokenizer_are_refused_before_any_name_is_looked_up(tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot read .*vocab\.json"):
        CaptionTokenizer(tmp_path / "openai" / "clip-vit-large-patch14", 77)
    (tmp_path / "vocab.json").write_text("[")
    (tmp_path / "merges.txt").write_text("")
    with pytest.raises(CheckpointError, match=r"vocab\.json is not JSON"):
        CaptionTokenizer(tmp_path, 77)


# What is trained


@pytest.mark.parametrize(("kind", "trained"), [("generation", False), ("editing", True)])
def test_only_the_mapper_and_the_editors_denoiser_are_trained(kind, trained):
    network = ImageGeneratorNetwork(DiffusionConfig.tiny(kind))
    for part, is_trained in (
        *(("prompt_mapper", True), ("denoiser", trained)),
        *(("vae", False), ("text_encoder", False)),
    ):
        flags = {weight.requires_grad for weight in network.get_submodule(part).parameters()}
        assert flags == {is_trained}, part


@pytest.mark.golden
def test_a_loaded_network_is_frozen_in_the_same_places(model):
    assert not any(w.requires_grad for w in model.image_generation.denoiser.parameters())
    assert all(w.requires_grad for w in model.image_editing.denoiser.parameters())
    assert not any(w.requires_grad for w in model.image_editing.vae.parameters())


def test_a_configuration_that_diffusers_refuses_is_named():
    config = DiffusionConfig.tiny()
    wrong = {**config.denoiser, "down_block_types": ["DownBlock2D"]}
    values = {**config.to_dict(), "denoiser": wrong}
    with pytest.raises(ConfigError, match="cannot build the generation networks"):
        ImageGeneratorNetwork(DiffusionConfig.from_dict(values))
