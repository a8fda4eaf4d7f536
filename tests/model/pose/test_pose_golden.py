"""The pose decoder against the reference, from prompt features to poses in pixels."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.model.detection.detection_golden import Group
from tests.model.pose.pose_golden import (
    assert_close,
    inputs_of,
    lay_out,
    make_decoder,
    read_runs,
    read_weights,
)
from vl2_ros.model.decoders.attention.feature_levels import resize_mask
from vl2_ros.model.decoders.query_groups import QueryGroups
from vl2_ros.model.decoders.query_selection import make_proposals
from vl2_ros.model.pose.decoder import PoseDecoder

pytestmark = pytest.mark.golden

#: Our setting for each variant of the reference's mask that is worth reproducing.
VARIANTS = {"main": "released", "block_mask": "group"}


@pytest.fixture(scope="module")
def eval_group(golden_dir: Path) -> Group:
    return Group(golden_dir, "unipose_tiny_eval")


@pytest.fixture(scope="module")
def run(golden_dir: Path, eval_group: Group) -> SimpleNamespace:
    """Every stage of the variant `main`, which all checkpoints belong to."""
    decoder = make_decoder(golden_dir, group_mask=VARIANTS["main"])
    inputs = inputs_of(eval_group)
    kept = {}
    decoder.backbone.register_forward_hook(lambda _, args, out: kept.update(out=out.feature_maps))
    decoder.query_selection.norm.register_forward_hook(lambda _, args, out: kept.update(tokens=out))
    with torch.inference_mode():
        scene = decoder.encode(**inputs)
        selected = decoder.select(scene)
        states = decoder.decode(scene, selected)
    return SimpleNamespace(decoder=decoder, scene=scene, selected=selected, states=states, **kept)


def test_weights_load_strictly_and_every_name_of_a_shared_one_is_known(golden_dir: Path) -> None:
    config, weights = read_weights(golden_dir)
    decoder = PoseDecoder(config)
    assert set(decoder.state_dict()) == set(weights)
    decoder.load_state_dict(weights)
    info = json.loads((golden_dir / "unipose_tiny_weights.json").read_text())
    swin = info["config"]["swin"]
    assert decoder.config.backbone_config["embed_dim"] == swin["embed_dim"]
    assert decoder.config.num_groups == info["config"]["num_groups"]


def test_prompt_features_match(run, eval_group: Group) -> None:
    assert_close(run.scene.raw_classes, eval_group["ck.obj_prompt"])
    assert_close(run.scene.keypoints, eval_group["ck.kpt_prompt"])
    padding = run.scene.keypoints[~run.scene.keypoint_mask]
    assert len(padding) and not padding.any()


def test_backbone_levels_and_positions_match(run, eval_group: Group) -> None:
    image = run.scene.image
    pixel_mask = ~eval_group["in.pad_mask"].bool()
    for index, feature in enumerate(run.out):
        assert_close(feature, eval_group[f"ck.backbone.{index}"])
    for level, size in enumerate(image.level_sizes):
        assert_close(image.level_map(image.tokens, level), eval_group[f"ck.input_proj.{level}"])
        sine = image.positions - run.decoder.levels.level_embed[level]
        assert_close(image.level_map(sine, level), eval_group[f"ck.level_pos.{level}"])
        padding = ~resize_mask(pixel_mask, size)
        assert torch.equal(padding, eval_group[f"ck.level_pad_mask.{level}"].bool())


def test_encoder_matches(run, eval_group: Group) -> None:
    assert_close(run.scene.tokens, eval_group["ck.memory"])
    assert_close(run.scene.classes, eval_group["ck.memory_text"])


def test_query_selection_matches_and_indices_are_exact(run, eval_group: Group) -> None:
    image, selected = run.scene.image, run.selected
    assert torch.equal(selected.token_index, eval_group["ck.topk_encoder"])
    assert_close(selected.boxes_cxcywh_norm, eval_group["ck.enc_selected_box"])
    proposals = make_proposals(image.is_padding, image.centres, image.level_sizes).sigmoid()
    index = selected.token_index[..., None].expand(-1, -1, 4)
    assert_close(proposals.gather(1, index), eval_group["ck.enc_anchor_box"])
    index = selected.token_index[..., None].expand(-1, -1, run.tokens.shape[-1])
    assert_close(run.tokens.gather(1, index), eval_group["ck.enc_selected_hidden"])


def test_layers_and_references_match(run, eval_group: Group) -> None:
    states = run.states
    assert torch.equal(states.chosen, eval_group["ck.topk_group"])
    layers = [*states.boxes.states, *states.groups.states]
    assert len(layers) == run.decoder.config.decoder_layers
    for index, normed in enumerate(layers):
        assert_close(normed, eval_group[f"ck.hs.{index}"])
    references = [*states.boxes.entering, *states.groups.entering, states.groups.leaving]
    for index, boxes in enumerate(references):
        assert_close(boxes, eval_group[f"ck.ref.{index}"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_outputs_match(golden_dir: Path, eval_group: Group, variant: str) -> None:
    decoder = make_decoder(golden_dir, group_mask=VARIANTS[variant])
    inputs = inputs_of(eval_group)
    with torch.inference_mode():
        output = decoder(**inputs)
        scene = decoder.encode(**inputs)
        selected = decoder.select(scene)
        chosen = decoder.decode(scene, selected).chosen
    assert torch.equal(selected.token_index, eval_group[f"out.{variant}.topk_encoder"])
    assert torch.equal(chosen, eval_group[f"out.{variant}.topk_group"])
    assert_close(output.pred_logits, eval_group[f"out.{variant}.pred_logits"])
    assert_close(output.pred_boxes, eval_group[f"out.{variant}.pred_boxes"])
    assert_close(lay_out(output.pred_keypoints), eval_group[f"out.{variant}.pred_keypoints"])


def test_masks_are_exact(run, eval_group: Group) -> None:
    slot_mask = torch.nn.functional.pad(run.scene.keypoint_mask, (1, 0), value=True)
    for name, is_released in (("eval_released", True), ("block", False)):
        groups = QueryGroups(run.states.count, slot_mask, is_released=is_released)
        for image, visible in enumerate(groups.everywhere()):
            golden = read_runs(eval_group[f"mask.{name}.{image}"], len(visible))
            assert torch.equal(visible, golden), (name, image)


def test_without_padded_slots_real_keypoints_stay(golden_dir: Path, eval_group: Group) -> None:
    """By the clean rule the number of slots is free, so that few keypoints cost little."""
    decoder = make_decoder(golden_dir)
    inputs = inputs_of(eval_group)
    count = int(inputs["keypoint_mask"].sum(1).max())
    for name in ("keypoint_link", "keypoint_mask"):
        inputs[name] = inputs[name][:, :count]
    with torch.inference_mode():
        output = decoder(**inputs)
    assert output.pred_keypoints.shape[2] == count < decoder.config.num_keypoints
    assert_close(output.pred_logits, eval_group["out.block_mask.pred_logits"])
    golden = eval_group["out.block_mask.pred_keypoints"]
    golden = golden[..., : 2 * count].unflatten(-1, (count, 2))
    real = inputs["keypoint_mask"][:, None].expand(golden.shape[:3])
    assert_close(output.pred_keypoints[real], golden[real])
