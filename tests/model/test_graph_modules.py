"""The modules behind the graph table: they give what the network gives, in the table's order."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.graph_modules import build_graph, list_graphs, spec_of
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM


def make_model(**changes) -> VisionLLM:
    torch.manual_seed(0)
    return VisionLLM(replace(ModelConfig.tiny(), **changes), TokenIds.from_base(64)).eval()


def empty_cache(model: VisionLLM, rows: int = 1) -> list[torch.Tensor]:
    llm = model.llm.config
    empty = torch.zeros(rows, llm.num_key_value_heads, 0, llm.head_dim)
    return [empty] * (2 * llm.num_hidden_layers)


def all_true(rows: int, count: int) -> torch.Tensor:
    return torch.ones(rows, count, dtype=torch.bool)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@torch.inference_mode()
def test_language_graph_equals_the_step_with_a_cache(attention):
    model = make_model(attention=attention)
    graph = build_graph(model, "language_model")
    ids = torch.randint(3, 60, (1, 23))
    cache = model.new_cache()
    past = empty_cache(model)
    for part in ids.split([11, 1, 1, 5, 5], dim=1):
        expected = model.step(part, cache)
        masks = all_true(1, part.shape[1]), all_true(1, past[0].shape[2])
        logits, hidden, *past = graph(model.embed(part), *masks, *past)
        torch.testing.assert_close(logits[:, -1], expected.last_logits, rtol=0, atol=2e-6)
        torch.testing.assert_close(hidden, expected.hidden, rtol=0, atol=2e-6)
        assert {one.shape[2] for one in past} == {masks[1].shape[1] + part.shape[1]}
    layers = len(cache.layers)
    for known, keys, values in zip(cache.layers, past[:layers], past[layers:], strict=True):
        torch.testing.assert_close(keys, known.keys, rtol=0, atol=2e-6)
        torch.testing.assert_close(values, known.values, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_language_graph_gives_the_logits_of_all_positions():
    model = make_model()
    ids = torch.randint(3, 60, (2, 9))
    expected = model(ids)
    masks = all_true(2, 9), all_true(2, 0)
    graph = build_graph(model, "language_model")
    logits, hidden, *_ = graph(model.embed(ids), *masks, *empty_cache(model, 2))
    torch.testing.assert_close(logits, expected.logits, rtol=0, atol=2e-6)
    torch.testing.assert_close(hidden, expected.hidden, rtol=0, atol=2e-6)


@torch.inference_mode()
def test_rows_of_several_lengths_go_through_one_call_as_alone():
    model = make_model()
    graph = build_graph(model, "language_model")
    rows = [torch.randint(3, 60, (1, length)) for length in (9, 4, 7)]
    alone = [model(row).logits[0] for row in rows]
    # Two calls; what is padded stands in front in the first one and behind in the second.
    seen = torch.zeros(3, 12, dtype=torch.bool)
    ids = torch.full((3, 12), 1)
    where = [[*range(9)], [4, 5, 6, 8], [*range(1, 6), 7, 8]]
    for index, (row, places) in enumerate(zip(rows, where, strict=True)):
        ids[index, places], seen[index, places] = row[0], True
    embeds = model.embed(ids)
    first, _, *past = graph(embeds[:, :7], seen[:, :7], seen[:, :0], *empty_cache(model, 3))
    second, *_ = graph(embeds[:, 7:], seen[:, 7:], seen[:, :7], *past)
    logits = torch.cat([first, second], dim=1)
    assert logits.isfinite().all()
    for index, (wanted, places) in enumerate(zip(alone, where, strict=True)):
        torch.testing.assert_close(logits[index, places], wanted, rtol=0, atol=2e-5)


@torch.inference_mode()
def test_vision_graph_gives_maps_only_where_regions_are_read():
    pixels = torch.randn(2, 3, 56, 56)
    for use_region_encoder, names in ((True, ("image_tokens", "region_maps")), (False, None)):
        model = make_model(use_region_encoder=use_region_encoder)
        outputs = build_graph(model, "vision_encoder")(pixels)
        assert spec_of(model, "vision_encoder").output_names == (names or ("image_tokens",))
        assert len(outputs) == len(spec_of(model, "vision_encoder").outputs)
        expected = model.encode_images(pixels).image_tokens.flatten(0, 1)
        torch.testing.assert_close(outputs[0], expected, rtol=0, atol=0)


@torch.inference_mode()
def test_decoder_graphs_take_their_inputs_in_the_order_of_the_table():
    model = make_model()
    config = model.config.detection
    given = {
        "pixels": torch.randn(2, 3, 64, 96),
        "pixel_mask": torch.ones(2, 64, 96, dtype=torch.bool),
        "super_link": torch.randn(2, 3, config.num_embs, config.l_hidden_size),
        "class_mask": torch.tensor([[True, True, False], [True, True, True]]),
    }
    spec = spec_of(model, "detection_decoder")
    maps = build_graph(model, "detection_backbone")(given["pixels"])
    names = spec_of(model, "detection_backbone").output_names
    inputs = given | dict(zip(names, maps, strict=True))
    outputs = build_graph(model, spec.name)(*(inputs[name] for name in spec.input_names))
    expected = model.detection_decoder(**given)
    for name, output in zip(spec.output_names, outputs, strict=True):
        torch.testing.assert_close(output, getattr(expected, name), rtol=0, atol=0)


def test_a_part_that_the_network_lacks_is_named():
    model = make_model(use_region_encoder=False)
    decoder = ("detection_backbone", "detection_decoder")
    assert list_graphs(model) == ("vision_encoder", "language_model", *decoder)
    with pytest.raises(ConfigError, match="no region encoder"):
        build_graph(model, "region_encoder")
    with pytest.raises(ConfigError, match="no pose decoder"):
        build_graph(model, "pose_decoder")
    with pytest.raises(ConfigError, match="no graph 'denoiser' in this network; expected"):
        build_graph(model, "denoiser")


def test_rotary_embeddings_that_change_with_length_are_refused():
    llm = ModelConfig.tiny().llm
    rope = {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}
    model = make_model(llm={**llm, "rope_parameters": rope})
    with pytest.raises(ConfigError, match="'dynamic' change with the length"):
        build_graph(model, "language_model")
