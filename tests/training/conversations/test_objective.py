"""One forward pass of the whole network: language and decoder losses, and where gradients go."""

from __future__ import annotations

import pytest
import torch

from tests.training.conversations.small_sources import (
    KINDS,
    PROCESSING,
    make_mixture,
    make_network,
)
from vl2_ros.errors import ConfigError
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.training.conversations.objective import DECODER_PARTS, ConversationObjective
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.loop.parameters import choose_trained, set_modes
from vl2_ros.training.recipes.recipe import Recipe

#: What stage 2 trains: of image generation and editing not the frozen networks.
EVERYTHING = (
    *("llm", "projector", "region_encoder", "super_link", "detection_decoder", "pose_decoder"),
    *("image_generation.prompt_mapper", "image_editing.prompt_mapper", "image_editing.denoiser"),
)


@pytest.fixture
def make_objective(json_tokenizer):
    def make(kind, trained=EVERYTHING, network=None, **settings):
        network = network or make_network(json_tokenizer)
        mixture = make_mixture(kind)
        objective = ConversationObjective(
            network,
            json_tokenizer,
            PROCESSING,
            mixture,
            mixture,
            ConversationSettings(**settings),
            batch_size=2,
        )
        choose_trained(objective, make_recipe(trained))
        set_modes(objective)
        torch.manual_seed(0)
        return objective

    return make


def make_recipe(trained, **values):
    return Recipe(objective="conversations", steps=1, trained=tuple(trained), **values)


def parts_with_gradient(network):
    return {
        name.partition(".")[0]
        for name, parameter in network.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_the_decoder_and_the_language_side(make_objective, kind):
    objective = make_objective(kind)
    batch = objective.open_batches(0)[0]
    losses = objective(batch)
    assert torch.isfinite(losses.total)
    losses.total.backward()
    found = parts_with_gradient(objective.network)
    expected = {"llm"} | ({"projector"} if len(batch.tiles) else set())
    expected |= {"region_encoder"} if len(batch.region_masks) else set()
    if batch.group in DECODER_PARTS:
        expected |= {DECODER_PARTS[batch.group], "super_link"}
    assert found == expected


def test_the_total_is_the_weighted_sum_of_language_and_decoder(make_objective, monkeypatch):
    objective = make_objective("detection", language_weight=0.5, decoder_weight=2.0).eval()
    decoder, found = objective.network.detection_decoder, {}
    compute = decoder.compute_losses
    monkeypatch.setattr(
        decoder,
        "compute_losses",
        lambda *given, **named: found.update(compute(*given, **named)) or found,
    )
    losses = objective(objective.open_batches(0)[0])
    assert {"loss_ce", "loss_bbox_dn", "loss_mask", "loss_dice", "loss_giou_enc"} <= set(found)
    detection = total_loss(found, decoder.config)
    assert torch.equal(losses.parts["detection"], detection)
    torch.testing.assert_close(losses.total, 0.5 * losses.parts["language"] + 2.0 * detection)
    logged = {name for name in losses.parts if name.startswith("loss_")}
    assert logged == {f"loss_{one}" for one in ("ce", "bbox", "giou", "mask", "dice")}


def test_the_losses_of_every_decoder_are_named(make_objective):
    wanted = {
        "pose": {"loss_keypoints", "loss_oks", "loss_ce"},
        "generation": {"loss_noise"},
        "editing": {"loss_noise"},
    }
    for kind, names in wanted.items():
        objective = make_objective(kind)
        parts = objective(objective.open_batches(0)[0]).parts
        assert names | {"language", kind} <= set(parts)


def test_without_the_language_side_nothing_is_recorded_before_the_decoders(make_objective):
    objective = make_objective("detection", trained=["detection_decoder"])
    network, seen = objective.network, []
    network.llm.model.register_forward_hook(
        lambda module, given, output: seen.append(output.last_hidden_state)
    )
    losses = objective(objective.open_batches(0)[0])
    assert "language" not in losses.parts
    assert not seen[0].requires_grad
    losses.total.backward()
    assert parts_with_gradient(network) == {"detection_decoder"}


def test_a_source_without_its_decoder_is_refused(make_objective, json_tokenizer):
    with pytest.raises(ConfigError, match="small trains pose_decoder, which the network lacks"):
        make_objective(
            "pose",
            network=make_network(json_tokenizer, with_pose=False, with_images=False),
            trained=["llm"],
        )


def test_held_out_batches_need_a_source(json_tokenizer):
    objective = ConversationObjective(
        make_network(json_tokenizer), json_tokenizer, PROCESSING, make_mixture("text")
    )
    with pytest.raises(ConfigError, match="no source is held out"):
        objective.open_batches(0, held_out=True)


def test_the_condition_is_what_the_flow_reads(make_objective):
    """The states behind the decoder's classes are those at the slots, in the answer's order."""
    objective = make_objective("detection").eval()
    network, seen = objective.network, []
    compute = network.detection_decoder.compute_losses

    def record(pixels, super_link, class_mask, *rest, **more):
        seen.append((super_link, class_mask))
        return compute(pixels, super_link, class_mask, *rest, **more)

    network.detection_decoder.compute_losses = record
    batch = objective.open_batches(0)[0]
    objective(batch)
    (super_link, class_mask), *_ = seen
    assert super_link.shape == (2, 2, 4, 64) and class_mask.all()
    tokens, regions = network.encode_rows(batch.input_ids, batch.tiles.split(3), None, [[3], [3]])
    hidden = network(batch.input_ids, batch.attention_mask, tokens, regions).hidden
    expected = network.super_link.gather(hidden, batch.input_ids)
    for row in range(2):
        for index, group in enumerate(expected[row]):
            torch.testing.assert_close(super_link[row, index], group.states)


def test_gradient_checkpointing_changes_no_gradient(make_objective, monkeypatch):
    gradients = []
    for is_on in (False, True):
        objective = make_objective("prompts")
        llm = objective.network.llm
        if is_on:
            llm.gradient_checkpointing_enable({"use_reentrant": False})
        runs = count_calls(llm.model.layers[0].mlp, monkeypatch)
        objective(objective.open_batches(0)[0]).total.backward()
        assert len(runs) == 1 + is_on
        gradients.append(objective.network.super_link.det.weight.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


def count_calls(module, monkeypatch):
    runs, forward = [], module.forward
    monkeypatch.setattr(module, "forward", lambda x: runs.append(0) or forward(x))
    return runs
