"""The prompt mapper, against the reference vectors and docs/spec/core.md, section 8."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.model.renamed_release import rename_release_keys
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.prompt_mapper import PromptMapper
from vl2_ros.model.language.super_link import insert_slots

TOLERANCE = 1e-4
KINDS = {"t2i": ("generation", "image_generation"), "edit": ("editing", "image_editing")}


@pytest.fixture(scope="module")
def golden(read_core):
    return read_core("core_gen_edit")


@pytest.fixture(scope="module")
def mappers(read_core):
    state = rename_release_keys(read_core("core_weights").tensors)
    found = {}
    for mode, (kind, part) in KINDS.items():
        found[mode] = PromptMapper(DiffusionConfig.tiny(kind)).eval()
        prefix = f"{part}.prompt_mapper."
        weights = {
            name.removeprefix(prefix): value
            for name, value in state.items()
            if name.startswith(prefix)
        }
        found[mode].load_state_dict(weights, strict=True)
    return found


def gather(model, hidden, ids):
    rows = model.super_link.gather(hidden, ids)
    return torch.stack([group.states for groups in rows for group in groups])


@pytest.mark.golden
@pytest.mark.parametrize("mode", KINDS)
@torch.inference_mode()
def test_ids_become_conditions_in_one_pass(core_model, golden, mappers, mode):
    ids = golden[f"{mode}_input_ids"]
    image_tokens, _ = core_model.encode_rows(ids, golden[f"{mode}_images"])
    output = core_model(ids, None, image_tokens)
    torch.testing.assert_close(
        output.input_embeds, golden[f"{mode}_llm_inputs_embeds"], atol=TOLERANCE, rtol=0
    )
    states = gather(core_model, output.hidden, ids)
    mapper = mappers[mode]
    for name, found in (
        ("emb_proj", mapper.projection(states)),
        ("mapper_encoder", mapper.encode(states)),
        ("mapping_feature", mapper(states)),
    ):
        torch.testing.assert_close(found, golden[f"{mode}_{name}"], atol=TOLERANCE, rtol=0)


@pytest.mark.golden
@torch.inference_mode()
def test_steps_with_the_cache_give_the_same_conditions(core_model, golden, mappers):
    prompt = golden["gen_prompt_ids"][0].tolist()
    generated = golden["gen_generated_ids"][0].tolist()
    cache = core_model.new_cache()
    link = core_model.super_link
    rows = [prompt, *([one] for one in generated[:-1])]
    fed = [insert_slots(row, core_model.tokens, link.counts) for row in rows]
    hidden = torch.cat([core_model.step(torch.tensor([row]), cache).hidden for row in fed], dim=1)
    torch.testing.assert_close(hidden, golden["gen_cache_hidden_last"], atol=TOLERANCE, rtol=0)
    ids = torch.tensor([sum(fed, [])])
    assert ids.tolist() == golden["gen_expanded_ids"][:, :-1].tolist()
    states = gather(core_model, hidden, ids)
    torch.testing.assert_close(
        mappers["t2i"](states), golden["gen_mapping_feature"], atol=TOLERANCE, rtol=0
    )


# The formula, written once more


def norm(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], 1e-5)


def attend(state: dict[str, Tensor], name: str, q: Tensor, kv: Tensor) -> Tensor:
    packed = state[f"{name}.in_proj_weight"], state[f"{name}.in_proj_bias"]
    weights, biases = (part.chunk(3) for part in packed)
    split = [
        F.linear(x, w, b).unflatten(-1, (8, -1)).transpose(1, 2)
        for x, w, b in zip((q, kv, kv), weights, biases, strict=True)
    ]
    scores = split[0] @ split[1].mT / split[0].shape[-1] ** 0.5
    mixed = (scores.softmax(-1) @ split[2]).transpose(1, 2).flatten(2)
    return F.linear(mixed, state[f"{name}.out_proj.weight"], state[f"{name}.out_proj.bias"])


def feed_forward(state: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    inner = F.linear(x, state[f"{name}.linear1.weight"], state[f"{name}.linear1.bias"]).relu()
    return F.linear(inner, state[f"{name}.linear2.weight"], state[f"{name}.linear2.bias"])


def map_by_hand(state: dict[str, Tensor], c: Tensor) -> Tensor:
    x = F.gelu(F.linear(c, state["projection.0.weight"], state["projection.0.bias"]))
    x = F.linear(x, state["projection.2.weight"], state["projection.2.bias"])
    layer = "encoder.layers.0"
    y = norm(state, f"{layer}.norm1", x)
    x = x + attend(state, f"{layer}.self_attn", y, y)
    x = x + feed_forward(state, layer, norm(state, f"{layer}.norm2", x))
    x = norm(state, "encoder.norm", x)
    q, layer = state["queries"].repeat(len(c), 1, 1), "decoder.layers.0"
    y = norm(state, f"{layer}.norm1", q)
    q = q + attend(state, f"{layer}.self_attn", y, y)
    q = q + attend(state, f"{layer}.multihead_attn", norm(state, f"{layer}.norm2", q), x)
    q = q + feed_forward(state, layer, norm(state, f"{layer}.norm3", q))
    return norm(state, "decoder.norm", q)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("is_training", [True, False])
def test_mapper_is_the_specified_formula(rows, is_training):
    torch.manual_seed(0)
    mapper = PromptMapper(DiffusionConfig.tiny()).train(is_training)
    for name, weight in mapper.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(weight)
    states = torch.randn(rows, 6, 64)
    with torch.set_grad_enabled(is_training):
        found = mapper(states)
    expected = map_by_hand(mapper.state_dict(), states)
    assert found.shape == (rows, 77, 32)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_rows_do_not_see_each_other():
    torch.manual_seed(0)
    mapper = PromptMapper(DiffusionConfig.tiny()).eval()
    states = torch.randn(3, 6, 64)
    with torch.inference_mode():
        alone = torch.cat([mapper(row[None]) for row in states])
        torch.testing.assert_close(mapper(states), alone, atol=1e-5, rtol=0)


def test_fresh_queries_are_drawn_from_the_unit_normal():
    torch.manual_seed(0)
    queries = PromptMapper(DiffusionConfig.tiny()).queries
    assert queries.shape == (1, 77, 32)
    assert abs(queries.std().item() - 1) < 0.05
