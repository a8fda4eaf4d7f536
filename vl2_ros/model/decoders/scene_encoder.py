"""Encode pixels and class conditions as one scene: the first half of both decoders.

The image branch does not depend on the classes: its maps serve every command about an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.model.decoders.attention.feature_levels import FeatureLevels, ImageTokens
from vl2_ros.model.decoders.backbone_config import find_stride
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
    def lateral_stages(self) -> tuple[str, ...]:
        """Backbone stages that are read again behind the encoder, coarse to fine."""

    @property
    def num_feature_levels(self) -> int:
        """Token levels."""

    @property
    def map_count(self) -> int:
        """Maps of the image branch: token levels, then lateral stages."""

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
        laterals: projected backbone maps of the lateral stages.
    """

    image: ImageTokens
    tokens: Tensor
    raw_classes: Tensor
    classes: Tensor
    class_mask: Tensor
    laterals: tuple[Tensor, ...]


class SceneEncoder(nn.Module):
    """Backbone, feature levels, class projection and image-text encoder.

    Attributes:
        lateral_width: channels of the projected maps of lateral stages; 0 without such stages.
    """

    lateral_width = 0

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

    def encode_image(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Run the image branch, which does not depend on the classes.

        Args:
            pixels: (B, 3, H, W) normalised images, padded on the right and the bottom with 0.

        Returns:
            `map_count` maps: token levels (B, D, H_l, W_l), fine to coarse, then the projected maps
            of the lateral stages, coarse to fine.
        """
        pixels = pixels.to(self.levels.level_embed.dtype)
        if self.config.backbone_config["model_type"] == "resnet":
            # Convolutions and pooling are a quarter faster so on a CPU.
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        found = self.backbone(pixels).feature_maps
        maps = dict(zip(self.config.out_stages, found, strict=True))
        levels = self.levels.project([maps[stage] for stage in self.config.feature_stages])
        laterals = [maps[stage] for stage in self.config.lateral_stages]
        return (*levels, *self._project_laterals(laterals))

    @property
    def image_parts(self) -> dict[str, nn.Module]:
        """The modules that `encode_image` uses, by a name for each."""
        return {"backbone": self.backbone, "levels": self.levels}

    def _project_laterals(self, laterals: list[Tensor]) -> list[Tensor]:
        """Project the maps of the lateral stages; a decoder that has any does it."""
        return laterals

    def list_map_shapes(self, image_hw: tuple[int, int]) -> list[tuple[int, int, int]]:
        """Return channels, height and width of each map that `encode_image` makes of an image."""
        config = self.config
        strides = [find_stride(config.backbone_config, one) for one in config.feature_stages]
        while len(strides) < config.num_feature_levels:
            strides.append(2 * strides[-1])
        maps = [(config.d_model, stride) for stride in strides]
        for stage in config.lateral_stages:
            maps.append((self.lateral_width, find_stride(config.backbone_config, stage)))
        height, width = image_hw
        return [(count, -(-height // step), -(-width // step)) for count, step in maps]

    def encode_scene(
        self, maps: Sequence[Tensor], super_link: Tensor, class_mask: Tensor, pixel_mask: Tensor
    ) -> EncodedScene:
        """Let an image and its classes exchange information.

        Args:
            maps: from `encode_image`.
            super_link: (B, N, K, C) states at the slots of each class, in answer order.
            class_mask: (B, N) bool, true = real class; real ones come first.
            pixel_mask: (B, H, W) bool, true = valid pixel.

        Raises:
            InputError: if there are more classes than `max_text_len`.
            ShapeError: if the tensors do not fit together.
        """
        assert len(maps) == self.config.map_count
        self._check(maps[0].shape[0], super_link, class_mask)
        class_mask = class_mask.bool()
        if not class_mask.shape[1]:
            super_link = nn.functional.pad(super_link, (0, 0, 0, 0, 0, 1))
            class_mask = nn.functional.pad(class_mask, (0, 1))
        dtype, count = self.levels.level_embed.dtype, self.config.num_feature_levels
        levels, laterals = maps[:count], maps[count:]
        image = self.levels([level.to(dtype) for level in levels], pixel_mask)
        raw_classes = self.text_projection(super_link).mean(2)
        tokens, classes = encode_classes(
            self.encoder, image, raw_classes, attended_classes(class_mask)
        )
        laterals = tuple(lateral.to(dtype) for lateral in laterals)
        return EncodedScene(image, tokens, raw_classes, classes, class_mask, laterals)

    def _check(self, batch: int, super_link: Tensor, class_mask: Tensor) -> None:
        channels = self.config.l_hidden_size
        groups = (batch, class_mask.shape[1], super_link.shape[2], channels)
        if tuple(class_mask.shape) != groups[:2] or tuple(super_link.shape) != groups:
            raise ShapeError(
                f"expected super_link (B, N, K, {channels}) and class_mask (B, N) "
                f"for {batch} images, got {tuple(super_link.shape)} and {tuple(class_mask.shape)}"
            )
        if class_mask.shape[1] > self.config.max_text_len:
            raise InputError(
                f"at most {self.config.max_text_len} classes fit in one call, got "
                f"{class_mask.shape[1]}; split the list into several calls"
            )


def complete_mask(pixels: Tensor, pixel_mask: Tensor | None) -> Tensor:
    """Return the mask (B, H, W) of images (B, 3, H, W); all true where None says so.

    Raises:
        ShapeError: if it is of another shape than the images.
    """
    if pixel_mask is None:
        return torch.ones_like(pixels[:, 0], dtype=torch.bool)
    batch, _, height, width = pixels.shape
    if tuple(pixel_mask.shape) != (batch, height, width):
        raise ShapeError(
            f"pixel_mask must be {(batch, height, width)}, got {tuple(pixel_mask.shape)}"
        )
    return pixel_mask


def attended_classes(class_mask: Tensor) -> Tensor:
    """Return the mask for attention: an image without classes sees its first, padded one.

    A softmax over nothing would be NaN and, through the maximum in the fusion, spoil the batch.
    """
    first = torch.arange(class_mask.shape[1], device=class_mask.device) == 0
    return class_mask | (first & ~class_mask.any(1, keepdim=True))
