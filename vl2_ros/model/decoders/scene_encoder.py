"""Encode pixels and class conditions as one scene: the first half of both decoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.model.decoders.attention.feature_levels import FeatureLevels, ImageTokens
from vl2_ros.model.decoders.prediction_heads import CastingMLP
from vl2_ros.model.decoders.transformer import (
    TransformerSizes,
    build_backbone,
    build_encoder,
    encode_classes,
)


class SceneSizes(TransformerSizes, Protocol):
    """Fields that a decoder configuration needs here, for detection and pose alike."""

    @property
    def backbone_config(self) -> Mapping[str, Any]:
        """Fields of the backbone's config."""

    @property
    def out_stages(self) -> tuple[str, ...]:
        """Backbone stages that are used, fine to coarse."""

    @property
    def feature_stages(self) -> tuple[str, ...]:
        """Backbone stages that become tokens, fine to coarse."""

    @property
    def num_feature_levels(self) -> int:
        """Token levels."""

    @property
    def norm_groups(self) -> int:
        """Groups of every group norm."""

    @property
    def positional_embedding_temperature(self) -> int:
        """Base of the image's sine position."""

    @property
    def l_hidden_size(self) -> int:
        """Channels C of the super-link states."""

    @property
    def max_text_len(self) -> int:
        """Most classes in one call."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodedScene:
    """Image and classes after they have exchanged information.

    Attributes:
        image: image tokens before the encoder, with their geometry.
        tokens: (B, S, D) image tokens after it.
        raw_classes: (B, N, D) class features before it.
        classes: (B, N, D) class features after it.
        class_mask: (B, N) bool, the real classes, N at least 1.
        maps: backbone maps by stage.
    """

    image: ImageTokens
    tokens: Tensor
    raw_classes: Tensor
    classes: Tensor
    class_mask: Tensor
    maps: Mapping[str, Tensor]


class SceneEncoder(nn.Module):
    """Backbone, feature levels, class projection and image-text encoder."""

    def __init__(self, config: SceneSizes) -> None:
        """Make the parts with fresh weights."""
        super().__init__()
        self.config = config
        width = config.d_model
        self.backbone = build_backbone(dict(config.backbone_config), config.out_stages)
        channels = dict(zip(config.out_stages, self.backbone.channels, strict=True))
        self.levels = FeatureLevels(
            [channels[stage] for stage in config.feature_stages],
            width=width,
            num_levels=config.num_feature_levels,
            norm_groups=config.norm_groups,
            temperature=config.positional_embedding_temperature,
        )
        self.text_projection = CastingMLP(config.l_hidden_size, width, width, 3)
        self.encoder = build_encoder(config)

    def encode_scene(
        self,
        pixels: Tensor,
        super_link: Tensor,
        class_mask: Tensor,
        pixel_mask: Tensor | None = None,
    ) -> EncodedScene:
        """Let an image and its classes exchange information.

        Args:
            pixels: (B, 3, H, W) normalised images, padded on the right and the bottom with 0.
            super_link: (B, N, K, C) states at the slots of each class, in answer order.
            class_mask: (B, N) bool, true = real class; real ones come first.
            pixel_mask: (B, H, W) bool, true = valid pixel; None when nothing is padded.

        Raises:
            InputError: if there are more classes than `max_text_len`.
            ShapeError: if the tensors do not fit together.
        """
        self._check(pixels, super_link, class_mask, pixel_mask)
        if pixel_mask is None:
            pixel_mask = torch.ones_like(pixels[:, 0], dtype=torch.bool)
        class_mask = class_mask.bool()
        if not class_mask.shape[1]:
            super_link = nn.functional.pad(super_link, (0, 0, 0, 0, 0, 1))
            class_mask = nn.functional.pad(class_mask, (0, 1))
        pixels = pixels.to(self.levels.level_embed.dtype)
        if self.config.backbone_config["model_type"] == "resnet":
            # Convolutions and pooling are a quarter faster so on a CPU.
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        found = self.backbone(pixels).feature_maps
        maps = dict(zip(self.config.out_stages, found, strict=True))
        image = self.levels([maps[stage] for stage in self.config.feature_stages], pixel_mask)
        raw_classes = self.text_projection(super_link).mean(2)
        tokens, classes = encode_classes(
            self.encoder, image, raw_classes, attended_classes(class_mask)
        )
        return EncodedScene(image, tokens, raw_classes, classes, class_mask, maps)

    def _check(
        self, pixels: Tensor, super_link: Tensor, class_mask: Tensor, pixel_mask: Tensor | None
    ) -> None:
        batch, _, height, width = pixels.shape
        channels = self.config.l_hidden_size
        groups = (batch, class_mask.shape[1], super_link.shape[2], channels)
        if tuple(class_mask.shape) != groups[:2] or tuple(super_link.shape) != groups:
            raise ShapeError(
                f"expected super_link (B, N, K, {channels}) and class_mask (B, N) "
                f"for {batch} images, got {tuple(super_link.shape)} and {tuple(class_mask.shape)}"
            )
        if pixel_mask is not None and tuple(pixel_mask.shape) != (batch, height, width):
            raise ShapeError(
                f"pixel_mask must be {(batch, height, width)}, got {tuple(pixel_mask.shape)}"
            )
        if class_mask.shape[1] > self.config.max_text_len:
            raise InputError(
                f"at most {self.config.max_text_len} classes fit in one call, got "
                f"{class_mask.shape[1]}; split the list into several calls"
            )


def attended_classes(class_mask: Tensor) -> Tensor:
    """Return the mask for attention: an image without classes sees its first, padded one.

    A softmax over nothing would be NaN and, through the maximum in the fusion, spoil the batch.
    """
    first = torch.arange(class_mask.shape[1], device=class_mask.device) == 0
    return class_mask | (first & ~class_mask.any(1, keepdim=True))
