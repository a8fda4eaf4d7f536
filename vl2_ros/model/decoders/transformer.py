"""Build transformers' Grounding DINO encoder and decoder from our configuration.

Both perception decoders use them; the initialisation follows Deformable DETR.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AutoBackbone, GroundingDinoConfig, ResNetConfig, SwinConfig
from transformers.models.grounding_dino.modeling_grounding_dino import (
    GroundingDinoDecoder,
    GroundingDinoEncoder,
    GroundingDinoFusionLayer,
)

from vl2_ros.model.decoders.attention.deformable_attention import (
    DeformableAttention,
    use_float_sampling,
)
from vl2_ros.model.decoders.attention.feature_levels import ImageTokens
from vl2_ros.model.decoders.attention.image_text_fusion import use_fusion_by_class
from vl2_ros.model.decoders.attention.sine_positions import encode_boxes, encode_sines
from vl2_ros.model.decoders.prediction_heads import CastingMLP, inverse_sigmoid
from vl2_ros.model.decoders.query_groups import GroupAttention, QueryGroups

_TRANSFORMER_FIELDS = (
    "d_model",
    "encoder_layers",
    "decoder_layers",
    "encoder_attention_heads",
    "decoder_attention_heads",
    "encoder_ffn_dim",
    "decoder_ffn_dim",
    "encoder_n_points",
    "decoder_n_points",
    "num_feature_levels",
    "activation_function",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "text_enhancer_dropout",
    "fusion_dropout",
    "fusion_droppath",
    "max_text_len",
    "layer_norm_eps",
)
_BACKBONES = {"swin": SwinConfig, "resnet": ResNetConfig}


class TransformerSizes(Protocol):
    """Fields that a decoder configuration needs here, beside those of `_TRANSFORMER_FIELDS`."""

    @property
    def d_model(self) -> int:
        """Width D."""

    @property
    def fusion_init_scale(self) -> float:
        """Initial layer scale of the image-text fusion."""


def build_backbone(values: dict[str, Any], stages: tuple[str, ...]) -> nn.Module:
    """Make a backbone with fresh weights.

    Args:
        values: fields of the backbone's config with `model_type` swin or resnet.
        stages: stages that come out as maps, fine to coarse.
    """
    plain = {name: value for name, value in values.items() if name != "model_type"}
    config = _BACKBONES[values["model_type"]](**plain, out_features=list(stages))
    # The fused kernels gain nothing on a CPU and cannot be exported.
    config._attn_implementation = "eager"
    backbone = AutoBackbone.from_config(config)
    if hasattr(backbone, "swin"):
        backbone.swin.layernorm = nn.Identity()  # normalises an output that is not read
    return backbone


def make_transformer_config(sizes: TransformerSizes) -> GroundingDinoConfig:
    """Return the configuration that transformers' encoder and decoder read.

    `num_queries` is 1: the decoder uses it only to repeat the class mask, which broadcasts then, so
    that any number of queries may come in.
    """
    values = {name: getattr(sizes, name) for name in _TRANSFORMER_FIELDS}
    config = GroundingDinoConfig(**values, num_queries=1)
    config._attn_implementation = "eager"
    return config


class ImageTextEncoder(GroundingDinoEncoder):
    """Transformers' encoder with the geometry of `ImageTokens`."""

    def forward(
        self,
        image: ImageTokens,
        text_features: Tensor,
        text_attention_mask: Tensor,
        text_position_embedding: Tensor,
        text_self_attention_masks: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Args:
            image: the image tokens.
            text_features: (B, N, D) classes.
            text_attention_mask: (B, N) bool, true = padding.
            text_position_embedding: (B, N, D).
            text_self_attention_masks: (B, N, N) bool, true where a class does not see another.

        Returns:
            Image tokens (B, S, D) and classes (B, N, D).
        """
        tokens, classes = image.tokens, text_features
        references = image.centres[:, :, None] * image.valid_ratios[:, None]
        for layer in self.layers:
            (tokens, classes), _ = layer(
                vision_features=tokens,
                vision_position_embedding=image.positions.to(tokens.dtype),
                spatial_shapes=None,
                spatial_shapes_list=image.level_sizes,
                level_start_index=None,
                key_padding_mask=image.is_padding,
                reference_points=references,
                text_features=classes,
                text_attention_mask=text_attention_mask,
                text_position_embedding=text_position_embedding,
                text_self_attention_masks=text_self_attention_masks,
            )
        return tokens, classes


class QueryDecoder(GroundingDinoDecoder):
    """Transformers' decoder with the geometry of `ImageTokens`; boxes are refined in each layer."""

    def forward(
        self,
        states: Tensor,
        boxes: Tensor,
        *,
        image: ImageTokens,
        tokens: Tensor,
        classes: Tensor,
        class_mask: Tensor,
        self_attention: Tensor | None = None,
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Run all layers; arguments as of `run_decoder_layer`, for the first layer.

        Returns:
            Of each layer the normed states (B, Q, D), and the boxes (B, Q, 4) that entered it,
            without gradient, and at last those that left the last one.
        """
        normed, entering = [], [boxes]
        for index in range(len(self.layers)):
            states = run_decoder_layer(
                self,
                index,
                states,
                entering[-1],
                image=image,
                tokens=tokens,
                classes=classes,
                class_mask=class_mask,
                self_attention=self_attention,
            )
            normed.append(self.layer_norm(states))
            refined = inverse_sigmoid(entering[-1]) + self.bbox_embed[index](states)
            entering.append(refined.sigmoid().detach())
        return normed, entering


def build_encoder(sizes: TransformerSizes) -> ImageTextEncoder:
    """Make the image-text encoder with fresh weights."""
    config = make_transformer_config(sizes)
    encoder = ImageTextEncoder(config)
    use_float_sampling(encoder.layers, config, is_decoder=False)
    use_fusion_by_class(encoder.layers, config)
    reset_transformer(encoder, sizes.fusion_init_scale)
    return encoder


def build_decoder(
    sizes: TransformerSizes, box_head: nn.Module, *, grouped_from: int | None = None
) -> QueryDecoder:
    """Make the query decoder with fresh weights.

    Args:
        sizes: the configuration.
        box_head: refines the boxes after every layer; stays registered with its owner only.
        grouped_from: first layer whose self-attention takes `QueryGroups`; None for none.
    """
    config = make_transformer_config(sizes)
    decoder = QueryDecoder(config)
    use_float_sampling(decoder.layers, config, is_decoder=True)
    for layer in decoder.layers[grouped_from:] if grouped_from is not None else ():
        layer.self_attn = GroupAttention(config, config.decoder_attention_heads)
    width = sizes.d_model
    decoder.reference_points_head = CastingMLP(2 * width, width, width, 2)
    reset_transformer(decoder, sizes.fusion_init_scale)
    decoder.bbox_embed = [box_head] * len(decoder.layers)
    return decoder


@torch.no_grad()
def reset_transformer(module: nn.Module, fusion_scale: float) -> None:
    """Initialise as Deformable DETR does: Xavier matrices, sampling offsets on a ring."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            nn.init.zeros_(part.bias)
        elif isinstance(part, GroundingDinoFusionLayer):
            part.vision_param.fill_(fusion_scale)
            part.text_param.fill_(fusion_scale)
    for part in module.modules():
        if isinstance(part, DeformableAttention):
            _reset_sampling(part)


def _reset_sampling(attention: DeformableAttention) -> None:
    """Point head h in direction 2 pi h / heads, point p at distance p + 1, all weights equal."""
    for layer in (attention.sampling_offsets, attention.attention_weights):
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    angles = torch.arange(attention.n_heads) * (2.0 * math.pi / attention.n_heads)
    ring = torch.stack([angles.cos(), angles.sin()], dim=-1)
    ring = ring / ring.abs().amax(-1, keepdim=True)
    steps = torch.arange(1, attention.n_points + 1)
    offsets = ring[:, None, None] * steps[:, None]  # (heads, 1, points, 2)
    offsets = offsets.expand(-1, attention.n_levels, -1, -1)
    attention.sampling_offsets.bias.copy_(offsets.flatten())


def run_decoder_layer(
    decoder: GroundingDinoDecoder,
    index: int,
    states: Tensor,
    boxes: Tensor,
    *,
    image: ImageTokens,
    tokens: Tensor,
    classes: Tensor,
    class_mask: Tensor,
    self_attention: Tensor | QueryGroups | None = None,
) -> Tensor:
    """Run one layer of the query decoder, where the loop around it is not transformers'.

    Args:
        decoder: from `build_decoder`.
        index: of the layer.
        states: (B, Q, D) before the layer.
        boxes: (B, Q, 4) cxcywh, relative to the valid image.
        image: the image tokens before the encoder, for their geometry.
        tokens: (B, S, D) the tokens after it.
        classes: (B, N, D) class features after it.
        class_mask: (B, N) bool, true = real; at least one per image.
        self_attention: additive mask (1, 1, Q, Q), groups, or None.

    Returns:
        (B, Q, D), not normed.
    """
    ratios = image.valid_ratios
    on_levels = boxes[:, :, None] * torch.cat([ratios, ratios], dim=-1)[:, None]
    position = encode_boxes(on_levels[:, :, 0], states.shape[-1] // 2)
    blocked = torch.zeros_like(class_mask, dtype=classes.dtype)
    blocked = blocked.masked_fill(~class_mask, torch.finfo(classes.dtype).min)
    output = decoder.layers[index](
        hidden_states=states,
        position_embeddings=decoder.reference_points_head(position),
        reference_points=on_levels,
        spatial_shapes_list=list(image.level_sizes),
        vision_encoder_hidden_states=tokens,
        vision_encoder_attention_mask=~image.is_padding,
        text_encoder_hidden_states=classes,
        text_encoder_attention_mask=blocked[:, None, None],
        self_attn_mask=self_attention,
    )
    return output[0]


def encode_classes(
    encoder: ImageTextEncoder, image: ImageTokens, classes: Tensor, class_mask: Tensor
) -> tuple[Tensor, Tensor]:
    """Let image tokens and class features exchange information.

    Args:
        encoder: from `build_encoder`.
        image: the image tokens.
        classes: (B, N, D) class features, padded rows behind the real ones.
        class_mask: (B, N) bool, true = real; at least one per image.

    Returns:
        Image tokens (B, S, D) and class features (B, N, D).
    """
    count = class_mask.shape[1]
    allowed = class_mask[:, :, None] & class_mask[:, None, :]
    allowed = allowed | torch.eye(count, dtype=torch.bool, device=class_mask.device)
    ids = torch.arange(count, device=class_mask.device) * class_mask
    positions = encode_sines(ids.float() * (2 * math.pi), classes.shape[-1])
    # Transformers wants true where attention is not allowed.
    found: tuple[Tensor, Tensor] = encoder(
        image,
        text_features=classes,
        text_attention_mask=~class_mask,
        text_position_embedding=positions.to(classes.dtype),
        text_self_attention_masks=~allowed,
    )
    return found
