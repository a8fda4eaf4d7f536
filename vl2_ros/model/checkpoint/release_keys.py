"""Map state-dict names of released VisionLLM v2 checkpoints to the names here, as one table.

Knows names and row blocks, no file. A name is translated alone, so that a loader can stream shards.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.errors import CheckpointError
from vl2_ros.model.parts import PARTS

#: Buffers that are computed again.
RECOMPUTED = (r"\.relative_position_index$", r"\.inv_freq$", r"\.position_ids$")

#: Names that one tensor may have in a release; any of them fills the one module here.
_BOX_HEAD = r"^gdino\.(?:model\.decoder\.)?bbox_embed\.\d+\."
_MASK_HEAD = r"^gdino\.mask_embed\.\d+\."
_POSE_BOX_HEAD = r"^unipose\.(?:transformer\.decoder\.)?bbox_embed\.\d+\."
_KEYPOINT_HEAD = r"^unipose\.(?:transformer\.decoder\.)?pose_embed\.\d+\."
_KEYPOINT_SIZE_HEAD = r"^unipose\.(?:transformer\.decoder\.)?pose_hw_embed\.\d+\."
_DECODER = r"^(detection_decoder\.)"
_POSE = r"^(pose_decoder\.)"
_POSE_BLOCK = r"^(pose_decoder\.backbone\.swin\.encoder\.layers\.\d+\.blocks\.\d+)\."
_POSE_ENCODER = r"^(pose_decoder\.encoder\.layers\.\d+)\."
_IMAGES = r"^(image_(?:generation|editing)\.)"
_VAE_ATTENTION = r"^(image_\w+\.vae\..*\.attentions\.\d+\.)"
_POSE_LAYER = r"^(pose_decoder\.decoder\.layers\.\d+)\."

#: Rewrites, all applied in this order: top modules, backbones, the rest of the detection decoder,
#: the rest of the pose decoder, image generation and editing.
_REWRITES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"^vis_encoder\.(?:vision_model\.)?", "vision_encoder."),
        (r"^vl_bridge\.", "projector."),
        (r"^emb_embeddings_(det|pose|gen|edit)\.", r"super_link.\1."),
        (_BOX_HEAD, "detection_decoder.box_head."),
        (_MASK_HEAD, "detection_decoder.mask_head."),
        (r"^gdino\.patch2query\.", "detection_decoder.text_projection."),
        (r"^gdino\.model\.", "detection_decoder."),
        # Swin, as transformers 5 names it.
        (r"^(detection_decoder\.backbone)\.conv_encoder\.model\.", r"\1."),
        (r"^(detection_decoder\.backbone)\.(embeddings|encoder)\.", r"\1.swin.\2."),
        (r"(\.blocks\.\d+\.attention)\.self\.query\.", r"\1.q_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.key\.", r"\1.k_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.value\.", r"\1.v_proj."),
        (r"(\.blocks\.\d+\.attention)\.self\.(relative_position_bias)_table$", r"\1.\2.\2_table"),
        (r"(\.blocks\.\d+\.attention)\.output\.dense\.", r"\1.o_proj."),
        (r"(\.blocks\.\d+)\.intermediate\.dense\.", r"\1.mlp.fc1."),
        (r"(\.blocks\.\d+)\.output\.dense\.", r"\1.mlp.fc2."),
        # Glue around transformers' encoder and decoder.
        (_DECODER + r"input_proj_vision\.", r"\1levels.projections."),
        (_DECODER + r"level_embed$", r"\1levels.level_embed"),
        (_DECODER + r"query_position_embeddings\.", r"\1query_embeddings."),
        (_DECODER + r"enc_output\.", r"\1query_selection.projection."),
        (_DECODER + r"enc_output_norm\.", r"\1query_selection.norm."),
        (_DECODER + r"encoder_output_bbox_embed\.", r"\1query_selection.box_head."),
        (_DECODER + r"mask_embed\.", r"\1encoder_mask_head."),
        (_DECODER + r"mask_features\.", r"\1mask_branch.features."),
        (_DECODER + r"(lateral|output)_convs\.(\d+)\.norm\.", r"\1mask_branch.\2_convs.\3.1."),
        (_DECODER + r"(lateral|output)_convs\.(\d+)\.w", r"\1mask_branch.\2_convs.\3.0.w"),
        # The pose decoder has the names of its paper's code.
        (_POSE_BOX_HEAD, "pose_decoder.heads.box."),
        (_KEYPOINT_HEAD, "pose_decoder.heads.keypoint."),
        (_KEYPOINT_SIZE_HEAD, "pose_decoder.heads.keypoint_size."),
        (r"^unipose\.transformer\.decoder\.hw\.", "pose_decoder.heads.slot_sizes."),
        (r"^unipose\.transformer\.decoder\.hw_append\.", "pose_decoder.heads.further_slot_sizes."),
        (r"^unipose\.projection_llava\.", "pose_decoder.text_projection."),
        (r"^unipose\.projection_kpt_llava\.", "pose_decoder.keypoint_projection."),
        (r"^unipose\.input_proj\.", "pose_decoder.levels.projections."),
        (r"^unipose\.(?:transformer\.)?", "pose_decoder."),
        (_POSE + r"backbone\.0\.patch_embed\.proj\.", r"\1backbone.0.patch_embed.projection."),
        (_POSE + r"backbone\.0\.patch_embed\.norm\.", r"\1backbone.swin.embeddings.norm."),
        (
            _POSE + r"backbone\.0\.patch_embed\.",
            r"\1backbone.swin.embeddings.patch_embeddings.",
        ),
        (_POSE + r"backbone\.0\.layers\.", r"\1backbone.swin.encoder.layers."),
        (_POSE + r"backbone\.0\.norm1\.", r"\1backbone.hidden_states_norms.stage2."),
        (_POSE + r"backbone\.0\.norm2\.", r"\1backbone.hidden_states_norms.stage3."),
        (_POSE + r"backbone\.0\.norm3\.", r"\1backbone.hidden_states_norms.stage4."),
        (_POSE_BLOCK + r"norm1\.", r"\1.layernorm_before."),
        (_POSE_BLOCK + r"norm2\.", r"\1.layernorm_after."),
        (_POSE_BLOCK + r"attn\.proj\.", r"\1.attention.o_proj."),
        (_POSE_BLOCK + r"attn\.(relative_position_bias)_table$", r"\1.attention.\2.\2_table"),
        (_POSE_BLOCK + r"attn\.", r"\1.attention."),
        (_POSE + r"level_embed$", r"\1levels.level_embed"),
        (_POSE + r"tgt_embed\.", r"\1query_embeddings."),
        (_POSE + r"enc_output\.", r"\1query_selection.projection."),
        (_POSE + r"enc_output_norm\.", r"\1query_selection.norm."),
        (_POSE + r"enc_out_bbox_embed\.", r"\1query_selection.box_head."),
        (_POSE_ENCODER + r"linear", r"\1.deformable_layer.fc"),
        (_POSE_ENCODER + r"norm1\.", r"\1.deformable_layer.self_attn_layer_norm."),
        (_POSE_ENCODER + r"norm2\.", r"\1.deformable_layer.final_layer_norm."),
        (_POSE_ENCODER + r"self_attn\.", r"\1.deformable_layer.self_attn."),
        (_POSE + r"encoder\.text_layers\.(\d+)\.", r"\1encoder.layers.\2.text_enhancer_layer."),
        (r"(\.text_enhancer_layer)\.linear", r"\1.fc"),
        (r"(\.text_enhancer_layer)\.norm1\.", r"\1.layer_norm_before."),
        (r"(\.text_enhancer_layer)\.norm2\.", r"\1.layer_norm_after."),
        (_POSE + r"encoder\.fusion_layers\.(\d+)\.", r"\1encoder.layers.\2.fusion_layer."),
        (r"^(pose_decoder\..*\.fusion_layer)\.gam_v$", r"\1.vision_param"),
        (r"^(pose_decoder\..*\.fusion_layer)\.gam_l$", r"\1.text_param"),
        (r"^(pose_decoder\..*\.fusion_layer\..*)_v([._])", r"\1_vision\2"),
        (r"^(pose_decoder\..*\.fusion_layer\..*)_l([._])", r"\1_text\2"),
        (r"^(pose_decoder\..*\.fusion_layer\.attn)\.v_proj", r"\1.vision_proj"),
        (r"^(pose_decoder\..*\.fusion_layer\.attn)\.l_proj", r"\1.text_proj"),
        (_POSE_LAYER + r"cross_attn\.", r"\1.encoder_attn."),
        (_POSE_LAYER + r"ca_text\.", r"\1.encoder_attn_text."),
        (_POSE_LAYER + r"norm1\.", r"\1.encoder_attn_layer_norm."),
        (_POSE_LAYER + r"norm2\.", r"\1.self_attn_layer_norm."),
        (_POSE_LAYER + r"norm3\.", r"\1.final_layer_norm."),
        (_POSE_LAYER + r"catext_norm\.", r"\1.encoder_attn_text_layer_norm."),
        (_POSE_LAYER + r"linear", r"\1.fc"),
        (_POSE + r"decoder\.norm\.", r"\1decoder.layer_norm."),
        (_POSE + r"decoder\.ref_point_head\.", r"\1decoder.reference_points_head."),
        # Image generation and editing are diffusers' and transformers' behind the mapper.
        (r"^sd\.", "image_generation."),
        (r"^ip2p\.", "image_editing."),
        (_IMAGES + r"llm2sd_mapper_queries$", r"\1prompt_mapper.queries"),
        (_IMAGES + r"llm2sd_mapper\.", r"\1prompt_mapper."),
        (_IMAGES + r"emb_proj\.", r"\1prompt_mapper.projection."),
        (_IMAGES + r"sd_text_encoder\.(?:text_model\.)?", r"\1text_encoder."),
        (_IMAGES + r"sd_unet\.", r"\1denoiser."),
        (_IMAGES + r"sd_vae\.", r"\1vae."),
        # The autoencoder's attention, as files of the first diffusers name it.
        (_VAE_ATTENTION + r"query\.", r"\1to_q."),
        (_VAE_ATTENTION + r"key\.", r"\1to_k."),
        (_VAE_ATTENTION + r"value\.", r"\1to_v."),
        (_VAE_ATTENTION + r"proj_attn\.", r"\1to_out.0."),
    )
)
#: Packed rows of query, key and value, and the names that the three have here.
_PACKED = (
    (
        re.compile(r"^((?:detection|pose)_decoder\..*)\.in_proj_(weight|bias)$"),
        ("query", "key", "value"),
    ),
    (
        re.compile(r"^(pose_decoder\.backbone\..*)\.qkv\.(weight|bias)$"),
        ("q_proj", "k_proj", "v_proj"),
    ),
)
_OURS = re.compile(rf"^(vision_encoder|projector|llm|super_link|{'|'.join(PARTS)})\.")
_SKIPPED = re.compile("|".join(RECOMPUTED))


@dataclass(frozen=True, slots=True)
class KeyTarget:
    """Where (a part of) a released tensor goes.

    Attributes:
        name: our state-dict name.
        block: index of the block of rows that is meant, of `blocks` equal ones.
        blocks: 1 for a whole tensor, 3 for packed query, key and value.
    """

    name: str
    block: int = 0
    blocks: int = 1

    @property
    def part(self) -> str:
        """The part of the network that it belongs to."""
        return self.name.split(".", 1)[0]

    def take(self, tensor: Tensor) -> Tensor:
        """Return the rows that belong to `name`, a view.

        Raises:
            CheckpointError: if the rows cannot be divided.
        """
        if self.blocks == 1:
            return tensor
        if tensor.ndim == 0 or tensor.shape[0] % self.blocks:
            raise CheckpointError(
                f"{self.name}: expected rows in {self.blocks} equal blocks, "
                f"got shape {tuple(tensor.shape)}"
            )
        return tensor.chunk(self.blocks)[self.block]


def rename_key(name: str) -> list[KeyTarget] | None:
    """Return where one released tensor goes.

    Returns:
        One target, or three for packed attention weights; an empty list for a known name that is
        skipped (`RECOMPUTED`); None for a name that no release has.
    """
    if _SKIPPED.search(name):
        return []
    renamed = name
    for pattern, replacement in _REWRITES:
        renamed = pattern.sub(replacement, renamed)
    for pattern, parts in _PACKED:
        packed = pattern.match(renamed)
        if packed is not None:
            prefix, kind = packed.groups()
            return [
                KeyTarget(f"{prefix}.{part}.{kind}", block, 3) for block, part in enumerate(parts)
            ]
    return [KeyTarget(renamed)] if _OURS.match(renamed) else None


def check_alias(name: str, known: Tensor, other: Tensor) -> None:
    """Check that two released tensors that fill one place are equal.

    Raises:
        CheckpointError: if they differ.
    """
    if known is other or known.is_meta or torch.equal(known, other):
        return
    raise CheckpointError(
        f"{name}: the checkpoint has this shared tensor under several names with different "
        "values; expected one value, the file is damaged or of another model"
    )
