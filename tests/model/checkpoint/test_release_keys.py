from __future__ import annotations

import pytest
import torch

from tests.model.renamed_release import rename_release_keys
from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.release_keys import rename_key


@pytest.mark.parametrize(
    ("release", "ours"),
    [
        (
            "vis_encoder.vision_model.embeddings.class_embedding",
            "vision_encoder.embeddings.class_embedding",
        ),
        ("vl_bridge.0.weight", "projector.0.weight"),
        ("vl_bridge.weight", "projector.weight"),
        ("llm.model.norm.weight", "llm.model.norm.weight"),
        ("emb_embeddings_gen.weight", "super_link.gen.weight"),
        ("region_encoder.up_dim.bias", "region_encoder.up_dim.bias"),
        ("gdino.bbox_embed.3.layers.1.bias", "detection_decoder.box_head.layers.1.bias"),
        (
            "gdino.model.decoder.bbox_embed.0.layers.1.bias",
            "detection_decoder.box_head.layers.1.bias",
        ),
        ("gdino.mask_embed.5.layers.0.weight", "detection_decoder.mask_head.layers.0.weight"),
        (
            "gdino.model.mask_embed.layers.0.weight",
            "detection_decoder.encoder_mask_head.layers.0.weight",
        ),
        ("gdino.model.level_embed", "detection_decoder.levels.level_embed"),
        ("unipose.bbox_embed.5.layers.1.bias", "pose_decoder.heads.box.layers.1.bias"),
        (
            "unipose.transformer.decoder.pose_hw_embed.0.layers.2.weight",
            "pose_decoder.heads.keypoint_size.layers.2.weight",
        ),
        (
            "unipose.transformer.encoder.fusion_layers.3.attn.values_l_proj.weight",
            "pose_decoder.encoder.layers.3.fusion_layer.attn.values_text_proj.weight",
        ),
        (
            "unipose.transformer.encoder.text_layers.2.norm1.weight",
            "pose_decoder.encoder.layers.2.text_enhancer_layer.layer_norm_before.weight",
        ),
        (
            "unipose.transformer.decoder.layers.4.norm1.weight",
            "pose_decoder.decoder.layers.4.encoder_attn_layer_norm.weight",
        ),
        ("unipose.backbone.0.norm2.bias", "pose_decoder.backbone.hidden_states_norms.stage3.bias"),
        ("sd.llm2sd_mapper_queries", "image_generation.prompt_mapper.queries"),
        ("ip2p.emb_proj.2.bias", "image_editing.prompt_mapper.projection.2.bias"),
        (
            "sd.llm2sd_mapper.decoder.layers.0.multihead_attn.in_proj_weight",
            "image_generation.prompt_mapper.decoder.layers.0.multihead_attn.in_proj_weight",
        ),
        (
            "ip2p.sd_text_encoder.text_model.final_layer_norm.weight",
            "image_editing.text_encoder.final_layer_norm.weight",
        ),
        (
            "sd.sd_text_encoder.encoder.layers.0.mlp.fc1.weight",
            "image_generation.text_encoder.encoder.layers.0.mlp.fc1.weight",
        ),
        ("ip2p.sd_unet.conv_in.weight", "image_editing.denoiser.conv_in.weight"),
        (
            "sd.sd_unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
            "image_generation.denoiser.mid_block.attentions.0.transformer_blocks.0.attn1"
            ".to_q.weight",
        ),
        (
            "sd.sd_vae.encoder.mid_block.attentions.0.to_out.0.bias",
            "image_generation.vae.encoder.mid_block.attentions.0.to_out.0.bias",
        ),
        (
            "sd.sd_vae.decoder.mid_block.attentions.0.proj_attn.weight",
            "image_generation.vae.decoder.mid_block.attentions.0.to_out.0.weight",
        ),
    ],
)
def test_a_released_name_has_one_place(release: str, ours: str) -> None:
    targets = rename_key(release)
    assert targets is not None
    assert [target.name for target in targets] == [ours]


def test_packed_attention_is_split_in_query_key_value() -> None:
    packed = torch.arange(12.0).view(6, 2)
    name = "gdino.model.decoder.layers.2.self_attn.in_proj_weight"
    state = rename_release_keys({name: packed})
    prefix = "detection_decoder.decoder.layers.2.self_attn"
    assert list(state) == [f"{prefix}.{part}.weight" for part in ("query", "key", "value")]
    assert torch.equal(torch.cat(list(state.values())), packed)


def test_packed_attention_of_the_pose_backbone_is_split_too() -> None:
    targets = rename_key("unipose.backbone.0.layers.0.blocks.1.attn.qkv.bias")
    prefix = "pose_decoder.backbone.swin.encoder.layers.0.blocks.1.attention"
    assert targets is not None
    assert [target.name for target in targets] == [f"{prefix}.{p}_proj.bias" for p in "qkv"]
    assert [target.block for target in targets] == [0, 1, 2]


def test_packed_attention_of_a_wrong_size_is_refused() -> None:
    with pytest.raises(CheckpointError, match="3 equal blocks"):
        rename_release_keys({"gdino.model.decoder.layers.0.self_attn.in_proj_bias": torch.zeros(5)})


@pytest.mark.parametrize(
    "name",
    [
        "unipose.backbone.0.layers.0.blocks.1.attn.relative_position_index",
        "llm.model.layers.0.self_attn.rotary_emb.inv_freq",
        "gdino.model.backbone.conv_encoder.model.encoder.layers.0.blocks.1"
        ".attention.self.relative_position_index",
    ],
)
def test_computed_buffers_are_skipped(name: str) -> None:
    assert rename_key(name) == []


def test_an_unknown_name_is_kept_for_the_strict_load_to_list() -> None:
    assert rename_key("audio_encoder.weight") is None
    assert list(rename_release_keys({"audio_encoder.weight": torch.zeros(1)})) == [
        "audio_encoder.weight"
    ]


def test_copies_of_a_shared_tensor_must_agree() -> None:
    name = "gdino.mask_embed.{}.layers.0.bias"
    same = {name.format(i): torch.ones(3) for i in range(6)}
    assert list(rename_release_keys(same)) == ["detection_decoder.mask_head.layers.0.bias"]
    with pytest.raises(CheckpointError, match="several names"):
        rename_release_keys({**same, name.format(6): torch.zeros(3)})
