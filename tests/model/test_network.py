from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vl2_ros.errors import ConfigError, InputError, ShapeError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM

TOLERANCE = 1e-4


def routing_id(model: VisionLLM, token: str) -> int:
    return next(key for key, value in model.tokens.routing.items() if value == token)


def image_row(model: VisionLLM, *rest: int, tiles: int = 1) -> list[int]:
    return [1, *[model.tokens.image_patch] * (tiles * model.config.tokens_per_tile), *rest]


def random_tiles(model: VisionLLM, count: int = 1) -> torch.Tensor:
    side = model.config.vision["image_size"]
    return torch.randn(count, 3, side, side)


@torch.no_grad()
def test_two_routing_tokens_in_a_prompt(tiny_model: VisionLLM):
    det, pose = routing_id(tiny_model, "[DET]"), routing_id(tiny_model, "[POSE]")
    prompt = image_row(tiny_model, 10, det, 11, 12, pose, 13)
    ids, mask = tiny_model.super_link.complete_rows([prompt])
    image_tokens, _ = tiny_model.encode_rows(ids, [random_tiles(tiny_model)])
    output = tiny_model(ids, mask, image_tokens)

    first = prompt.index(det) + 1
    second = first + 4 + 3
    assert torch.equal(output.input_embeds[0, first : first + 4], tiny_model.super_link.det.weight)
    assert torch.equal(
        output.input_embeds[0, second : second + 4], tiny_model.super_link.pose.weight
    )
    embedding = tiny_model.llm.get_input_embeddings().weight
    for place, token_id in ((first - 1, det), (first + 4, 11), (second - 1, pose), (-1, 13)):
        assert torch.equal(output.input_embeds[0, place], embedding[token_id])

    cache, states = tiny_model.new_cache(), []
    for part in (ids[:, : first - 1], ids[:, first - 1 : second - 1], ids[:, second - 1 :]):
        tokens = image_tokens if not states else None
        states.append(tiny_model.step(part, cache, tokens).hidden)
    torch.testing.assert_close(torch.cat(states, dim=1), output.hidden, atol=TOLERANCE, rtol=0)


@torch.no_grad()
def test_slot_ids_do_not_matter(tiny_model: VisionLLM):
    det, (first, *_) = routing_id(tiny_model, "[DET]"), tiny_model.tokens.slots
    usual, _ = tiny_model.super_link.complete_rows([[1, 5, det, 6]])
    other = torch.tensor([[1, 5, det, first, 9, first, 20, 6]])
    assert torch.equal(tiny_model(usual).hidden, tiny_model(other).hidden)


@torch.no_grad()
def test_text_only_rows_skip_the_encoder(tiny_model: VisionLLM, monkeypatch: pytest.MonkeyPatch):
    ids = torch.tensor([[1, 5, 6], [1, 7, 8]])
    monkeypatch.setattr(tiny_model, "vision_encoder", None)
    assert tiny_model.encode_rows(ids, torch.zeros(2, 3, 56, 56)) == (None, None)
    assert tiny_model(ids).logits.shape == (2, 3, tiny_model.llm.config.vocab_size)


@torch.no_grad()
def test_text_only_row_beside_an_image_row(tiny_model: VisionLLM):
    row = image_row(tiny_model, 5)
    ids = torch.tensor([[7] * len(row), row])
    images = [random_tiles(tiny_model), random_tiles(tiny_model)]
    image_tokens, _ = tiny_model.encode_rows(ids, images)
    expected = tiny_model.encode_images(images[1]).image_tokens
    torch.testing.assert_close(image_tokens, expected[0])
    embeds = tiny_model.embed(ids, image_tokens)
    torch.testing.assert_close(embeds[1, 1:-1], expected[0])


def test_feature_count_must_equal_id_count(tiny_model: VisionLLM):
    ids = torch.tensor([image_row(tiny_model, 5)])
    width = tiny_model.config.llm_width
    with pytest.raises(InputError, match="16 <im_patch> ids, got 15 features"):
        tiny_model(ids, image_tokens=torch.zeros(15, width))
    with pytest.raises(InputError, match="16 <im_patch> ids, got 0 features"):
        tiny_model(ids)
    with pytest.raises(InputError, match="0 <region> ids, got 1 features"):
        tiny_model(ids, image_tokens=torch.zeros(16, width), region_features=torch.zeros(1, width))


def test_regions_without_image_are_refused(tiny_model: VisionLLM):
    with pytest.raises(InputError, match="regions need an image"):
        tiny_model.encode_rows(torch.tensor([[1, 2]]), None, [torch.ones(1, 56, 56)])


def test_step_needs_the_slots_in_the_same_call(tiny_model: VisionLLM):
    with pytest.raises(InputError, match="needs 4 slots"):
        tiny_model.step(torch.tensor([[routing_id(tiny_model, "[DET]")]]), tiny_model.new_cache())


def test_tiles_of_another_side_are_refused(tiny_model: VisionLLM):
    with pytest.raises(ShapeError, match=r"\(n, 3, 56, 56\), got \(1, 3, 28, 28\)"):
        tiny_model.encode_images(torch.zeros(1, 3, 28, 28))


def test_model_without_region_encoder_says_so(tiny_tokens: TokenIds):
    config = replace(ModelConfig.tiny(with_detection=False), use_region_encoder=False)
    model = VisionLLM(config, tiny_tokens)
    features = model.encode_images(random_tiles(model))
    assert features.region_maps == ()
    with pytest.raises(ConfigError, match="no region encoder"):
        model.encode_regions(random_tiles(model), torch.ones(1, 56, 56), (), [0])


def test_tokenizer_of_another_vocabulary_is_refused():
    with pytest.raises(ConfigError, match="outside the vocabulary of 90"):
        VisionLLM(ModelConfig.tiny(with_detection=False), TokenIds.from_base(32000))


@torch.no_grad()
def test_only_the_needed_blocks_are_computed(tiny_model: VisionLLM):
    tiles = random_tiles(tiny_model)
    full = tiny_model.encode_images(tiles)
    tiny_model.vision_encoder.encoder.layers[-1] = torch.nn.Identity()
    short = tiny_model.encode_images(tiles, with_region_maps=False)
    assert torch.equal(short.image_tokens, full.image_tokens)
    assert len(full.region_maps) == 3


@torch.no_grad()
def test_slot_labels_do_not_count(tiny_model: VisionLLM):
    ids, _ = tiny_model.super_link.complete_rows([[1, 5, routing_id(tiny_model, "[DET]"), 6, 2]])
    masked = ids.clone()
    masked[:, 3:7] = -100
    loss = tiny_model(ids, labels=ids).loss
    assert torch.equal(loss, tiny_model(ids, labels=masked).loss)
    logits = tiny_model(ids).logits[0, [0, 1, 6, 7]]
    expected = torch.nn.functional.cross_entropy(logits, ids[0, [1, 2, 7, 8]])
    torch.testing.assert_close(loss, expected)


@torch.no_grad()
def test_loss_without_supervised_token_is_zero(tiny_model: VisionLLM):
    ids = torch.tensor([[1, 5, 6]])
    assert tiny_model(ids, labels=torch.full_like(ids, -100)).loss == 0


def test_every_part_trains_under_bfloat16_autocast(tiny_model: VisionLLM):
    tiny_model.train()
    tokens = tiny_model.tokens
    row = image_row(tiny_model, tokens.region, 5)
    row += [routing_id(tiny_model, route) for route in ("[DET]", "[POSE]", "[GEN]", "[EDIT]")]
    ids, mask = tiny_model.super_link.complete_rows([row, row[:-2]])
    labels = ids.clone()
    images = [random_tiles(tiny_model), random_tiles(tiny_model)]
    regions = [torch.ones(1, 56, 56)] * 2
    with torch.autocast("cpu", dtype=torch.bfloat16):
        image_tokens, region_features = tiny_model.encode_rows(ids, images, regions)
        output = tiny_model(ids, mask, image_tokens, region_features, labels)
        super_link, class_mask = tiny_model.super_link.gather_detection(output.hidden, ids)
        loss = output.loss + super_link[class_mask].float().pow(2).mean()
    loss.backward()
    assert output.logits.dtype == torch.float32
    without = {
        name
        for name, parameter in tiny_model.named_parameters()
        if parameter.grad is None or not parameter.grad.isfinite().all()
    }
    # Nothing reads the tower's post-layernorm.
    assert without == {f"vision_encoder.post_layernorm.{part}" for part in ("weight", "bias")}
    for part in ("vision_encoder.embeddings", "projector.0", "region_encoder", "super_link.gen"):
        module = tiny_model.get_submodule(part)
        assert all(parameter.grad.any() for parameter in module.parameters())


def test_full_size_has_the_released_shapes():
    config = ModelConfig(
        vision={
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "image_size": 336,
            "patch_size": 14,
        },
        llm={
            "vocab_size": 32026,
            "hidden_size": 4096,
            "intermediate_size": 11008,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "pad_token_id": 0,
        },
    )
    with torch.device("meta"):
        model = VisionLLM(config, TokenIds.from_base(32000))
    assert config.tokens_per_tile == 576
    sizes = {
        part: sum(parameter.numel() for parameter in module.parameters())
        for part, module in model.named_children()
    }
    assert sizes == {
        "vision_encoder": 303_507_456,
        "projector": 20_979_712,
        "llm": 6_738_628_608,
        "region_encoder": 4_540_608,
        "super_link": 557_056,
    }
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert len(shapes) == 5 + 24 * 16 + 2 + 2 + 32 * 9 + 1 + 12 + 4 + 4
    assert shapes["vision_encoder.embeddings.position_embedding.weight"] == (577, 1024)
    assert shapes["llm.model.layers.31.mlp.down_proj.weight"] == (4096, 11008)
    assert shapes["region_encoder.mask_embedding.0.weight"] == (64, 4, 7, 7)
    assert shapes["region_encoder.mask_embedding.3.weight"] == (256, 64, 2, 2)
    assert shapes["super_link.gen.weight"] == (64, 4096)
