"""The training loss of image generation and editing against a second form of its formula."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vl2_ros.errors import ConfigError, InputError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.losses import (
    DiffusionDraws,
    ImageTargets,
    diffusion_losses,
    noise_levels,
)
from vl2_ros.model.language.super_link import insert_slots
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM

KINDS = ("generation", "editing")


@pytest.fixture(params=KINDS)
def network(request):
    torch.manual_seed(0)
    return ImageGeneratorNetwork(DiffusionConfig.tiny(request.param)).train()


def make_batch(network, count=4):
    torch.manual_seed(1)
    pixels = torch.rand(2, count, 3, 64, 64) * 2 - 1
    is_editing = network.config.kind == "editing"
    captions = torch.randint(40, (count, 77))
    targets = ImageTargets(pixels[0], pixels[1] if is_editing else None, captions)
    return torch.randn(count, 6, 64), targets


def make_draws(network, targets, dropout, timesteps=None):
    generator = torch.Generator().manual_seed(2)
    draws = DiffusionDraws.sample(network.config, targets.target_pixels, generator)
    draws = replace(draws, dropout=torch.tensor(dropout))
    return draws if timesteps is None else replace(draws, timesteps=torch.tensor(timesteps))


def loss_by_hand(network, states: Tensor, targets: ImageTargets, draws) -> tuple[Tensor, Tensor]:
    """docs/spec/core.md, section 8, image by image."""
    r = {"generation": 0.1, "editing": 0.05}[network.config.kind]
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    alphas = torch.cumprod(1 - betas, dim=0).float()
    empty = network.text_encoder(torch.tensor([[38] + [39] * 76])).last_hidden_state
    errors, distances = [], []
    for i, u in enumerate(draws.dropout.tolist()):
        y = network.prompt_mapper(states[i : i + 1])
        moments = network.vae.quant_conv(network.vae.encoder(targets.target_pixels[i : i + 1]))
        mean, log_variance = moments.chunk(2, dim=1)
        z = (mean + (log_variance / 2).exp() * draws.posterior[i]) * 0.18215
        e, t = draws.noise[i : i + 1], draws.timesteps[i]
        sample = alphas[t] ** 0.5 * z + (1 - alphas[t]) ** 0.5 * e
        if targets.source_pixels is not None:
            moments = network.vae.quant_conv(network.vae.encoder(targets.source_pixels[i : i + 1]))
            source = moments.chunk(2, dim=1)[0]
            sample = torch.cat([sample, source * 0 if r <= u < 3 * r else source], dim=1)
        found = network.denoiser(sample, t, empty if u < 2 * r else y).sample
        errors.append(((found - e) ** 2).mean())
        wanted = network.text_encoder(targets.caption_ids[i : i + 1]).last_hidden_state
        distances.append(((y - wanted) ** 2).mean())
    return torch.stack(errors).mean(), torch.stack(distances).mean()


@torch.no_grad()
@pytest.mark.parametrize(
    "dropout",
    [
        (0.9, 0.5, 0.31, 0.999),
        (0.0, 0.04, 0.06, 0.099),
        (0.1, 0.14, 0.16, 0.19),
        (0.05, 0.15, 0.2, 0.3),
    ],
)
def test_losses_are_the_specified_formula(network, dropout):
    states, targets = make_batch(network)
    draws = make_draws(network, targets, dropout, timesteps=[0, 400, 700, 999])
    found = diffusion_losses(network, states, targets, draws)
    image, caption = loss_by_hand(network, states, targets, draws)
    torch.testing.assert_close(found.image, image, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.caption, caption, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.total, image + 0.1 * caption, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_without_captions_the_loss_is_that_of_the_noise(network):
    states, targets = make_batch(network)
    draws = make_draws(network, targets, [0.9] * 4)
    with_captions = diffusion_losses(network, states, targets, draws)
    without = diffusion_losses(network, states, replace(targets, caption_ids=None), draws)
    assert without.caption is None
    assert torch.equal(without.total, with_captions.image)


def test_null_predicts_noise_as_a_missing_value_does():
    config = DiffusionConfig.tiny()
    null = {**config.scheduler, "prediction_type": None}
    assert torch.equal(noise_levels(replace(config, scheduler=null)), noise_levels(config))


def test_noise_levels_are_those_of_the_scaled_linear_schedule():
    levels = noise_levels(DiffusionConfig.tiny())
    # Published values of Stable Diffusion 1: nearly clean at first, nearly noise at last.
    assert levels.shape == (1000,) and levels.dtype == torch.float32
    assert levels[0].item() == pytest.approx(1 - 0.00085, abs=1e-6)
    assert levels[-1].item() == pytest.approx(0.0047, abs=1e-4)
    editing = noise_levels(DiffusionConfig.tiny("editing"))
    assert torch.equal(levels, editing)


# Gradients


def has_gradient(module):
    return {bool(w.grad is not None and w.grad.any()) for w in module.parameters()}


def test_gradients_reach_mapper_states_and_the_editors_denoiser_alone(network):
    states, targets = make_batch(network)
    states.requires_grad_()
    draws = make_draws(network, targets, [0.9] * 4)
    diffusion_losses(network, states, replace(targets, caption_ids=None), draws).total.backward()
    assert states.grad.flatten(1).any(dim=1).all()
    grads = {name: w.grad for name, w in network.prompt_mapper.named_parameters()}
    assert all(grad is not None for grad in grads.values())
    assert grads["queries"].any() and grads["projection.0.weight"].any()
    assert has_gradient(network.vae) == has_gradient(network.text_encoder) == {False}
    if network.config.kind == "editing":
        assert network.denoiser.conv_in.weight.grad.any()
        assert all(w.grad is not None for w in network.denoiser.parameters())
    else:
        assert has_gradient(network.denoiser) == {False}


def test_a_dropped_condition_gives_no_gradient_but_its_caption_does(network):
    states, targets = make_batch(network)
    draws = make_draws(network, targets, [0.01, 0.9, 0.01, 0.9])
    for captions, expected in ((None, [False, True] * 2), (targets.caption_ids, [True] * 4)):
        leaf = states.clone().requires_grad_()
        given = replace(targets, caption_ids=captions)
        diffusion_losses(network, leaf, given, draws).total.backward()
        assert leaf.grad.flatten(1).any(dim=1).tolist() == expected


@pytest.mark.parametrize("route", ["[GEN]", "[EDIT]"])
def test_gradients_go_through_the_super_link_into_the_query_table(route):
    torch.manual_seed(0)
    model = VisionLLM(
        ModelConfig.tiny(with_detection=False, with_images=True), TokenIds.from_base(64)
    ).train()
    (token,) = (t for t, name in model.tokens.routing.items() if name == route)
    ids = torch.tensor([insert_slots([5, 6, token, 7], model.tokens, model.super_link.counts)])
    (group,) = model.super_link.gather(model(ids).hidden, ids)[0]
    network = model.image_generation if route == "[GEN]" else model.image_editing
    _, targets = make_batch(network, count=1)
    draws = make_draws(network, targets, [0.9])
    diffusion_losses(network, group.states[None], targets, draws).total.backward()
    table = model.super_link.table(route)
    assert table.grad.any(dim=1).all()
    other = model.super_link.table("[EDIT]" if route == "[GEN]" else "[GEN]")
    assert other.grad is None


def test_frozen_parts_and_states_may_be_of_half_precision(network):
    """As a release stores them: all bfloat16 but for the mapper."""
    states, targets = make_batch(network)
    draws = make_draws(network, targets, [0.9, 0.01, 0.9, 0.06])
    with torch.no_grad():
        expected = diffusion_losses(network, states, targets, draws)
    for part in (network.vae, network.text_encoder, network.denoiser):
        part.bfloat16()
    leaf = states.bfloat16().requires_grad_()
    found = diffusion_losses(network, leaf, targets, draws)
    assert found.total.dtype == torch.float32
    torch.testing.assert_close(found.total, expected.total, rtol=0.03, atol=0)
    found.total.backward()
    assert leaf.grad.flatten(1).any(dim=1).all()
    assert network.prompt_mapper.queries.grad.dtype == torch.float32


def test_steps_of_training_lower_both_losses(network):
    states, targets = make_batch(network)
    draws = make_draws(network, targets, [0.9] * 4)
    trained = [w for w in network.parameters() if w.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-3)
    frozen = {name: w.clone() for name, w in network.vae.named_parameters()}
    seen: list[tuple[float, float]] = []
    for _ in range(8):
        losses = diffusion_losses(network, states, targets, draws)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        seen.append((losses.image.item(), losses.caption.item()))
    for values in zip(*seen, strict=True):
        assert list(values) == sorted(values, reverse=True)
    assert seen[-1][1] < 0.5 * seen[0][1]
    assert all(torch.equal(w, frozen[name]) for name, w in network.vae.named_parameters())


# Draws


@pytest.mark.parametrize(("kind", "condition"), [("generation", 0.2), ("editing", 0.1)])
def test_dropout_happens_at_the_specified_rates(kind, condition, monkeypatch):
    """Counted on what reaches the denoiser, for many images of seeded draws."""
    torch.manual_seed(0)
    count, network = 10_000, ImageGeneratorNetwork(DiffusionConfig.tiny(kind)).eval()
    pixels = torch.zeros(count, 3, 8, 8)
    seen = {}

    def record(latents, timesteps, prompt_embeds):
        seen.update(latents=latents, timesteps=timesteps, conditions=prompt_embeds)
        return latents[:, :4]

    monkeypatch.setattr(network, "denoise", record)
    monkeypatch.setattr(network, "map_prompt", lambda states: states.new_ones(count, 77, 32))
    targets = ImageTargets(pixels, pixels + 0.5 if kind == "editing" else None)
    generator = torch.Generator().manual_seed(3)
    draws = DiffusionDraws.sample(network.config, pixels, generator)
    with torch.no_grad():
        diffusion_losses(network, torch.randn(1, 6, 64).expand(count, -1, -1), targets, draws)
        empty = network.encode_empty()[0]
    dropped = (seen["conditions"] == empty).flatten(1).all(dim=1)
    rate = network.config.drop_rate
    assert torch.equal(dropped, draws.dropout < 2 * rate)
    assert dropped.float().mean().item() == pytest.approx(condition, abs=0.01)
    if kind == "editing":
        blank = (seen["latents"][:, 4:] == 0).flatten(1).all(dim=1)
        assert torch.equal(blank, (draws.dropout >= rate) & (draws.dropout < 3 * rate))
        assert blank.float().mean().item() == pytest.approx(0.1, abs=0.01)
        both = (blank & dropped).float().mean().item()
        assert both == pytest.approx(rate, abs=0.01)
    steps = seen["timesteps"]
    assert steps.min() >= 0 and 990 < steps.max() <= 999
    assert steps.float().mean().item() == pytest.approx(499.5, abs=15)


def test_seeded_draws_are_the_same_again():
    config, pixels = DiffusionConfig.tiny(), torch.zeros(3, 3, 64, 32)
    first, second = (
        DiffusionDraws.sample(config, pixels, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    for name in DiffusionDraws.__slots__:
        assert torch.equal(getattr(first, name), getattr(second, name))
    assert first.noise.shape == first.posterior.shape == (3, 4, 8, 4)
    assert not torch.equal(first.noise, first.posterior)


# Bad input


def test_what_does_not_fit_is_refused(network):
    states, targets = make_batch(network)
    with pytest.raises(InputError, match="3 images for 4 targets"):
        diffusion_losses(network, states[:3], targets)
    odd = replace(targets, target_pixels=targets.target_pixels[..., :60])
    with pytest.raises(InputError, match="multiples of 8"):
        diffusion_losses(network, states, odd)
    is_editing = network.config.kind == "editing"
    other = replace(targets, source_pixels=None if is_editing else targets.target_pixels)
    with pytest.raises(InputError, match="source_pixels go with a network that edits"):
        diffusion_losses(network, states, other)
    if is_editing:
        small = replace(targets, source_pixels=targets.target_pixels[..., :32])
        with pytest.raises(InputError, match="of the targets' shape"):
            diffusion_losses(network, states, small)


def test_a_schedule_that_predicts_velocity_is_refused():
    config = DiffusionConfig.tiny()
    velocity = {**config.scheduler, "prediction_type": "v_prediction"}
    with pytest.raises(ConfigError, match="prediction_type must be epsilon"):
        noise_levels(replace(config, scheduler=velocity))
    unknown = {**config.scheduler, "beta_schedule": "wavy"}
    with pytest.raises(ConfigError, match="cannot make the noise schedule"):
        noise_levels(replace(config, scheduler=unknown))
