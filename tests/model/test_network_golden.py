"""The network against the reference vectors; every size comes from the files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.renamed_release import rename_release_keys
from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.prompt_mapper import PromptMapper
from vl2_ros.model.language.image_rows import pad_images
from vl2_ros.model.language.projector import make_projector, pixel_shuffle
from vl2_ros.model.language.super_link import insert_slots, pack_groups, pack_pose
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS

pytestmark = pytest.mark.golden

TOLERANCE = 1e-4
ReadCore = Callable[[str], Any]


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


def assert_close(actual: Tensor, expected: Tensor, where: Tensor | None = None) -> None:
    if where is not None:
        actual, expected = actual[where], expected[where]
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=TOLERANCE, rtol=0)


def run_rows(model: VisionLLM, golden: Any, **more: Any):
    images = golden["images"] if "images" in golden.tensors else golden.numbered("images")
    regions = golden.numbered("regions") or None
    image_tokens, region_features = model.encode_rows(golden["input_ids"], images, regions, **more)
    mask = golden["attention_mask"] if "attention_mask" in golden.tensors else None
    output = model(golden["input_ids"], mask, image_tokens, region_features)
    return image_tokens, region_features, output


def test_release_weights_load_without_missing_or_unexpected_keys(
    core_model: VisionLLM, read_core: ReadCore
):
    weights = read_core("core_weights").tensors
    renamed = rename_release_keys(weights)
    mappers = {
        f"{part.name}.prompt_mapper.{name}"
        for part in IMAGE_PARTS.values()
        for name in PromptMapper(DiffusionConfig.tiny(part.image_kind)).state_dict()
    }
    assert set(renamed) == set(core_model.state_dict()) | mappers
    for release_name, name in (
        ("llm.lm_head.weight", "llm.lm_head.weight"),
        ("vl_bridge.0.bias", "projector.0.bias"),
        ("emb_embeddings_pose.weight", "super_link.pose.weight"),
    ):
        assert torch.equal(core_model.state_dict()[name], weights[release_name])


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_one_pass_detection(core_model: VisionLLM, read_core: ReadCore, attention: str):
    golden = read_core("core_det")
    model = VisionLLM(replace(core_model.config, attention=attention), core_model.tokens).eval()
    model.load_state_dict(core_model.state_dict())
    ids, mask = golden["input_ids"], golden["attention_mask"]

    states = model.vision_encoder.encode(golden["images"], len(golden.numbered("clip_hidden")) - 1)
    for actual, expected in zip(states, golden.numbered("clip_hidden"), strict=True):
        assert_close(actual, expected)
    assert_close(model.encode_images(golden["images"]).image_tokens, golden["bridged"])

    image_tokens, _ = model.encode_rows(ids, golden["images"])
    output = model(ids, mask, image_tokens, labels=golden["labels"])
    assert_close(output.input_embeds, golden["llm_inputs_embeds"], mask)
    layers = model.llm.model(
        inputs_embeds=output.input_embeds, attention_mask=mask, output_hidden_states=True
    ).hidden_states
    for actual, expected in zip(layers, golden.numbered("llm_hidden"), strict=True):
        assert_close(actual, expected, mask)
    assert_close(output.hidden, golden.numbered("llm_hidden")[-1], mask)
    assert_close(output.logits, golden["logits"], mask)
    assert_close(output.loss, golden["loss"][0])

    super_link, class_mask = model.super_link.gather_detection(output.hidden, ids)
    assert_close(super_link, golden["text_query"])
    assert torch.equal(class_mask, golden["text_query_masks"])


def test_decoder_images_are_padded(read_core: ReadCore):
    golden = read_core("core_det")
    images = golden.numbered("image_aug")
    pixels, mask = pad_images(images)
    assert list(pixels.shape) == golden["det_pixel_values_shape"].tolist()
    assert torch.equal(mask, golden["det_pixel_mask"])
    for row, image in enumerate(images):
        assert torch.equal(pixels[row, :, : image.shape[1], : image.shape[2]], image)
    assert not pixels.masked_select(~mask.unsqueeze(1)).any()


def test_pose_condition(core_model: VisionLLM, read_core: ReadCore):
    golden = read_core("core_pose")
    _, _, output = run_rows(core_model, golden)
    assert_close(output.input_embeds, golden["llm_inputs_embeds"], golden["attention_mask"])
    assert_close(output.hidden, golden["llm_hidden_last"], golden["attention_mask"])
    pose = pack_pose(
        core_model.super_link.gather(output.hidden, golden["input_ids"]),
        golden["obj_query_masks"].sum(dim=1).tolist(),
        like=core_model.super_link.table("[POSE]"),
    )
    for actual, actual_mask, kind in (
        (pose.objects, pose.object_mask, "obj"),
        (pose.keypoints, pose.keypoint_mask, "kpt"),
    ):
        kept = golden[f"{kind}_querys"]
        assert_close(actual[:, : kept.shape[1]], kept)
        assert not actual[:, kept.shape[1] :].any()
        assert torch.equal(actual_mask, golden[f"{kind}_query_masks"])


def test_step_by_step_equals_one_pass(core_model: VisionLLM, read_core: ReadCore):
    golden = read_core("core_generate")
    tokens, counts = core_model.tokens, core_model.super_link.counts
    ids = read_core("core_weights").info["token_ids"]
    added = [value for token, value in ids.items() if token not in ("<s>", "</s>", "<unk>")]
    image_tokens, _ = core_model.encode_rows(golden["prompt_ids"], golden["images"])

    cache = core_model.new_cache()
    feed = insert_slots(golden["prompt_ids"][0].tolist(), tokens, counts)
    generated, lengths, hidden, groups = [], [], [], []
    for forced in golden["forced"].tolist():
        step = core_model.step(torch.tensor([feed]), cache, image_tokens)
        image_tokens = None
        lengths.append(len(feed))
        hidden.append(step.hidden)
        if feed[0] in tokens.routing:
            groups.append(step.hidden[0, 1:])
        logits = step.last_logits[0].clone()
        logits[[*added, tokens.eos]] = -torch.inf
        generated.append(forced if forced >= 0 else int(logits.argmax()))
        feed = insert_slots([generated[-1]], tokens, counts)

    assert generated == golden["generated_ids"][0].tolist()
    assert lengths == golden["cache_step_lengths"].tolist()
    expanded = insert_slots([*golden["prompt_ids"][0].tolist(), *generated], tokens, counts)
    assert expanded == golden["expanded_ids"][0].tolist()
    assert_close(torch.cat(hidden, dim=1), golden["cache_hidden_last"])
    super_link, class_mask = pack_groups([groups], like=core_model.super_link.table("[DET]"))
    assert_close(super_link, golden["text_query"])
    assert torch.equal(class_mask, golden["text_query_masks"])

    image_tokens, _ = core_model.encode_rows(golden["expanded_ids"], golden["images"])
    output = core_model(golden["expanded_ids"], None, image_tokens)
    assert_close(output.hidden, golden["one_pass_hidden_last"])
    assert_close(output.logits, golden["one_pass_logits"])
    super_link, _ = core_model.super_link.gather_detection(output.hidden, golden["expanded_ids"])
    assert_close(super_link, golden["text_query"])


def test_routing_token_in_the_prompt_gets_slots(core_model: VisionLLM, read_core: ReadCore):
    golden = read_core("core_chat")
    ids, mask = core_model.super_link.complete_rows(golden["prompt_ids"].tolist())
    assert torch.equal(ids, golden["expanded_ids"])
    image_tokens, _ = core_model.encode_rows(ids, golden["images"])
    output = core_model(ids, mask, image_tokens)
    assert_close(output.input_embeds, golden["llm_inputs_embeds"])
    assert_close(output.hidden, golden["llm_hidden_last"])
    step = core_model.step(ids, core_model.new_cache(), image_tokens)
    assert_close(step.hidden, golden["llm_hidden_last"])


@pytest.mark.parametrize("part", ["t2i", "edit"])
def test_generation_routes_use_their_tables(core_model: VisionLLM, read_core: ReadCore, part: str):
    golden = read_core("core_gen_edit")
    ids = golden[f"{part}_input_ids"]
    mask = ids != core_model.tokens.pad
    image_tokens, _ = core_model.encode_rows(ids, golden[f"{part}_images"])
    output = core_model(ids, mask, image_tokens)
    assert_close(output.input_embeds, golden[f"{part}_llm_inputs_embeds"], mask)
    assert_close(output.hidden, golden[f"{part}_hidden_last"], mask)


def test_slots_of_a_generation_route_are_written_as_in_training(
    core_model: VisionLLM, read_core: ReadCore
):
    golden = read_core("core_gen_edit")
    row = [*golden["gen_prompt_ids"][0].tolist(), *golden["gen_generated_ids"][0].tolist()]
    complete = insert_slots(row, core_model.tokens, core_model.super_link.counts)
    assert complete == golden["gen_expanded_ids"][0].tolist()


def test_regions_by_both_point_rules(core_model: VisionLLM, read_core: ReadCore):
    golden = read_core("core_region")
    masks = golden.numbered("regions")
    index = [row for row, mask in enumerate(masks) for _ in mask]
    embedded = core_model.region_encoder.embed_masks(golden["images"][index], torch.cat(masks))
    assert_close(embedded, golden["mask_embedding"])

    _, all_points, _ = run_rows(core_model, golden)
    assert_close(all_points, golden["region_features_all_points"])
    _, features, output = run_rows(core_model, golden, max_points=2304)
    assert_close(features, golden["region_features"])
    assert_close(output.input_embeds, golden["llm_inputs_embeds"], golden["attention_mask"])
    assert_close(output.hidden, golden["llm_hidden_last"], golden["attention_mask"])
    super_link, class_mask = core_model.super_link.gather_detection(
        output.hidden, golden["input_ids"]
    )
    assert_close(super_link, golden["text_query"])
    assert torch.equal(class_mask, golden["text_query_masks"])


@pytest.mark.parametrize("name", ["core_anyres", "core_incontext"])
def test_rows_of_several_splits(core_model: VisionLLM, read_core: ReadCore, name: str):
    golden = read_core(name)
    num_splits = golden["num_splits"].tolist() if "num_splits" in golden.tensors else None
    image_tokens, features, output = run_rows(core_model, golden, num_splits=num_splits)
    if "bridged" in golden.tensors:
        assert_close(image_tokens, golden["bridged"].flatten(0, 1))
    assert_close(features, golden["region_features"])
    assert_close(output.input_embeds, golden["llm_inputs_embeds"], golden["attention_mask"])
    assert_close(output.hidden, golden["llm_hidden_last"], golden["attention_mask"])
    super_link, _ = core_model.super_link.gather_detection(output.hidden, golden["input_ids"])
    assert_close(super_link, golden["text_query"])


def test_pixel_shuffle_variant(read_core: ReadCore):
    golden = read_core("core_pixelshuffle")
    assert torch.equal(pixel_shuffle(golden["shuffle_in"]), golden["shuffle_out"])
    tokens = TokenIds.from_lookup(golden.info["token_ids"].get, eos=2, pad=0)
    model = VisionLLM(ModelConfig.from_release(golden.info["config"]), tokens).eval()
    prefix = "weights."
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in golden.tensors.items()
        if name.startswith(prefix)
    }
    model.load_state_dict(rename_release_keys(weights), strict=True)
    assert_close(model.projector(golden["bridge_input"]), golden["bridged"])
    assert_close(model.encode_images(golden["images"]).image_tokens, golden["bridged"])
    _, _, output = run_rows(model, golden)
    assert_close(output.input_embeds, golden["llm_inputs_embeds"])
    assert_close(output.hidden, golden["llm_hidden_last"])


def test_internlm2_variant_is_named_as_not_supported(read_core: ReadCore):
    with pytest.raises(ConfigError, match="InternLM2ForCausalLM"):
        ModelConfig.from_release(read_core("core_internlm2").info["config"])


def test_projector_kinds(read_core: ReadCore):
    golden = read_core("core_bridges")
    kinds = [name.removesuffix(".out") for name in golden.tensors if name.endswith(".out")]
    assert kinds
    for kind in kinds:
        expected = golden[f"{kind}.out"]
        projector = make_projector(kind, golden["in"].shape[1], expected.shape[1])
        prefix = f"{kind}.vl_bridge."
        projector.load_state_dict(
            {
                name.removeprefix(prefix): tensor
                for name, tensor in golden.tensors.items()
                if name.startswith(prefix)
            }
        )
        assert_close(projector(golden["in"]), expected)
