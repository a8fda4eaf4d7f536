"""VisionLLM: logits and super-link states of pixels and token ids, in one pass or in steps.

Composed of the vision encoder, the projector, the region encoder, the LLM with the super link, the
two perception decoders, image generation and image editing. Released weights:
OpenGVLab/VisionLLMv2 (arXiv 2406.08394).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import Cache

from vl2_ros.errors import ConfigError, InputError
from vl2_ros.model.config import REGION_LEVELS, ModelConfig
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.language.growing_cache import make_cache
from vl2_ros.model.language.image_rows import gather_rows, pair_regions
from vl2_ros.model.language.projector import build_projector, shuffle_tokens
from vl2_ros.model.language.region_encoder import RegionEncoder
from vl2_ros.model.language.super_link import SuperLink
from vl2_ros.model.language.tokens import TokenIds
from vl2_ros.model.language.vision_encoder import VisionEncoder, tokens_to_map
from vl2_ros.model.parts import PARTS
from vl2_ros.model.pose.config import PoseConfig

IGNORED_LABEL = -100


@dataclass(frozen=True, slots=True, eq=False)
class VisionFeatures:
    """The vision encoder's output for n tiles.

    Attributes:
        image_tokens: (n, N, C) tokens for the LLM.
        region_maps: three (n, Cv, g, g) maps for the region encoder, shallow to deep; empty when
            they were not requested.
    """

    image_tokens: Tensor
    region_maps: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class LanguageOutput:
    """The output of one pass of the LLM.

    Attributes:
        logits: (B, T, V) float32; None where only the loss was requested.
        hidden: (B, T, C) states after the final norm.
        loss: mean cross entropy over the supervised tokens of the batch, or None without labels.
        input_embeds: (B, T, C) input of the LLM.
    """

    logits: Tensor | None
    hidden: Tensor
    loss: Tensor | None
    input_embeds: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class StepOutput:
    """The output of one call with the cache.

    Attributes:
        logits: (1, L, V) float32, for the token after each of the last L positions fed.
        hidden: (1, t, C) states of the positions fed, after the final norm.
    """

    logits: Tensor
    hidden: Tensor

    @property
    def last_logits(self) -> Tensor:
        """Return the logits (1, V) for the token after the last one fed."""
        return self.logits[:, -1]


class VisionLLM(nn.Module):
    """The generalist network without image and text handling.

    Every part of `parts.PARTS` is an attribute of that name, None where the network lacks it.
    """

    def __init__(self, config: ModelConfig, tokens: TokenIds) -> None:
        """Make the network with fresh weights.

        Raises:
            ConfigError: if a special token lies outside the vocabulary.
        """
        super().__init__()
        self.config = config
        self.tokens = tokens
        self.vision_encoder = VisionEncoder.build(config)
        self.projector = build_projector(config)
        self.llm = LlamaForCausalLM(LlamaConfig(**config.llm, attn_implementation=config.attention))
        self.region_encoder = self._build("region_encoder")
        self.super_link = SuperLink(config, tokens)
        for part in PARTS.values():
            if part.routes:
                setattr(self, part.name, self._build(part.name))
        highest = max(tokens.image_patch, tokens.region, *tokens.routing, *tokens.slots)
        if highest >= self.llm.config.vocab_size:
            raise ConfigError(
                f"token id {highest} lies outside the vocabulary of {self.llm.config.vocab_size}; "
                "use the tokenizer that belongs to the config"
            )

    def _build(self, part: str) -> nn.Module | None:
        return build_part(self.config, part) if part in self.config.parts else None

    def encode_images(self, pixels: Tensor, *, with_region_maps: bool = True) -> VisionFeatures:
        """Encode tiles for the LLM and, where the model has a region encoder, for regions.

        Args:
            pixels: (n, 3, S, S) normalised tiles.
            with_region_maps: False skips the blocks that only regions need.
        """
        with_region_maps = with_region_maps and self.region_encoder is not None
        blocks = self.config.vision["num_hidden_layers"]
        chosen = self.config.vision_output_layer % (blocks + 1)
        states = self.vision_encoder.encode(pixels, blocks if with_region_maps else chosen)
        patches = states[chosen][:, 1:]  # the class token comes first
        if self.config.use_pixel_shuffle:
            patches = shuffle_tokens(patches)
        maps = states[-REGION_LEVELS:] if with_region_maps else []
        return VisionFeatures(
            self.projector(patches), tuple(tokens_to_map(state[:, 1:]) for state in maps)
        )

    def encode_patches(self, pixels: Tensor) -> Tensor:
        """Return the patch tokens (n, N, Cv) of tiles (n, 3, S, S) as the projector reads them.

        They are not merged yet, row by row, without the class token.
        """
        blocks = self.config.vision["num_hidden_layers"]
        depth = self.config.vision_output_layer % (blocks + 1)
        return self.vision_encoder.encode(pixels, depth)[-1][:, 1:]

    def encode_regions(
        self,
        pixels: Tensor,
        masks: Tensor,
        region_maps: Sequence[Tensor],
        image_index: Sequence[int] | Tensor,
        max_points: int | None = None,
    ) -> Tensor:
        """Encode visual prompts.

        Args:
            pixels: (n, 3, S, S) normalised tiles.
            masks: (R, S, S), non-zero inside, on the frame of the squashed whole image.
            region_maps: three (n, Cv, g, g) maps from `encode_images`.
            image_index: (R,) the tile that each region reads.
            max_points: most pixels of each mask that are used, the first ones; None uses all.

        Returns:
            (R, C) features, one per `<region>`.

        Raises:
            ConfigError: if the model has no region encoder.
        """
        if self.region_encoder is None:
            raise ConfigError("this model has no region encoder (use_region_encoder is false)")
        index = torch.as_tensor(image_index, dtype=torch.long, device=pixels.device)
        maps = [region_map[index] for region_map in region_maps]
        return self.region_encoder(pixels[index], masks, maps, max_points)

    def encode_rows(
        self,
        input_ids: Tensor,
        images: Sequence[Tensor | None] | Tensor | None,
        regions: Sequence[Tensor | None] | None = None,
        num_splits: Sequence[Sequence[int]] | None = None,
        max_points: int | None = None,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Encode the images and regions of a batch of rows for `forward`.

        Args:
            input_ids: (B, T) ids; rows without `<im_patch>` are skipped with their images.
            images: per row (n_i, 3, S, S) splits, or one tensor (B, 3, S, S).
            regions: per row (R_i, S, S) masks or None.
            num_splits: splits of each image, for rows with several images.
            max_points: see `encode_regions`.

        Returns:
            image_tokens (sum, C) and region_features (R, C), None where there is nothing.

        Raises:
            InputError: if counts of ids, tiles and regions do not agree.
        """
        patch_counts = (input_ids == self.tokens.image_patch).sum(dim=1).tolist()
        batch = gather_rows(images, patch_counts, self.config.tokens_per_tile)
        masks = [mask for mask in regions or () if mask is not None and len(mask)]
        if batch is None:
            if masks:
                raise InputError("regions need an image, but no row has <im_patch> ids")
            return None, None
        features = self.encode_images(batch.pixels, with_region_maps=bool(masks))
        image_tokens = features.image_tokens.flatten(0, 1)
        if not masks:
            return image_tokens, None
        counts = [0 if mask is None else len(mask) for mask in regions or ()]
        index = pair_regions(batch, counts, num_splits)
        region_features = self.encode_regions(
            batch.pixels, torch.cat(masks), features.region_maps, index, max_points
        )
        return image_tokens, region_features

    def embed(
        self,
        input_ids: Tensor,
        image_tokens: Tensor | None = None,
        region_features: Tensor | None = None,
    ) -> Tensor:
        """Make the LLM's input: word embeddings, query tables, image tokens, region features.

        Args:
            input_ids: (B, T) ids, slots already present after every routing token.
            image_tokens: (M, C) or (n, N, C) in row-major order of `<im_patch>`.
            region_features: (R, C) in row-major order of `<region>`.

        Returns:
            (B, T, C).

        Raises:
            InputError: if the number of features and of ids differ.
        """
        embeds = self.super_link.fill_slots(self.llm.get_input_embeddings()(input_ids), input_ids)
        for name, token_id, features in (
            ("<im_patch>", self.tokens.image_patch, image_tokens),
            ("<region>", self.tokens.region, region_features),
        ):
            embeds = _substitute(embeds, input_ids == token_id, features, name)
        return embeds

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        image_tokens: Tensor | None = None,
        region_features: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        with_logits: bool = True,
    ) -> LanguageOutput:
        """Run whole rows in one pass.

        Args:
            input_ids: (B, T) ids, right padded, slots already present.
            attention_mask: (B, T), true or 1 = real; None when nothing is padded.
            image_tokens: see `embed`.
            region_features: see `embed`.
            labels: (B, T) ids, -100 = not supervised; slot ids are never supervised.
            with_logits: False runs the head for the supervised positions only, as training wants.
        """
        embeds = self.embed(input_ids, image_tokens, region_features)
        hidden = self.llm.model(
            inputs_embeds=embeds, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        logits = self.llm.lm_head(hidden).float() if with_logits else None
        loss = None if labels is None else self.language_loss(hidden, labels)
        return LanguageOutput(logits, hidden, loss, embeds)

    def new_cache(self) -> Cache:
        """Make an empty key-value cache for `step`."""
        return make_cache(self.llm.config)

    def step(
        self,
        input_ids: Tensor,
        cache: Cache,
        image_tokens: Tensor | None = None,
        region_features: Tensor | None = None,
        *,
        logit_count: int = 1,
    ) -> StepOutput:
        """Append positions to a sequence that is decoded with a cache.

        Args:
            input_ids: (1, t) ids; a routing token and its slots come in the same call.
            cache: from `new_cache`, updated in place.
            image_tokens: see `embed`.
            region_features: see `embed`.
            logit_count: L, how many of the last positions logits are returned for.

        Raises:
            InputError: if the slots of a routing token are not in the same call.
        """
        embeds = self.embed(input_ids, image_tokens, region_features)
        hidden = self.llm.model(
            inputs_embeds=embeds, past_key_values=cache, use_cache=True
        ).last_hidden_state
        return StepOutput(self.llm.lm_head(hidden[:, -logit_count:]).float(), hidden)

    def language_loss(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of the supervised tokens, 0 when there is none.

        Args:
            hidden: (B, T, C) states after the final norm.
            labels: (B, T) ids, -100 = not supervised; slot ids are never supervised.
        """
        ignored = torch.tensor(self.super_link.ignored_labels(), device=labels.device)
        targets = labels.masked_fill(torch.isin(labels, ignored), IGNORED_LABEL)[:, 1:]
        supervised = targets != IGNORED_LABEL
        logits = self.llm.lm_head(hidden[:, :-1][supervised]).float()
        total = nn.functional.cross_entropy(logits, targets[supervised], reduction="sum")
        # A batch without a supervised token has loss 0, not NaN.
        return total / supervised.sum().clamp(min=1)


def build_part(config: ModelConfig, part: str) -> nn.Module:
    """Make one of `parts.PARTS` with fresh weights; its library is imported only now.

    Args:
        config: of the whole network, which has the part.
        part: name of the part.
    """
    row = PARTS[part]
    if row.config is None:
        return RegionEncoder(config)
    settings = getattr(config, row.config_field)
    if row.config is DetectionConfig:
        from vl2_ros.model.detection.decoder import DetectionDecoder

        return DetectionDecoder(settings)
    if row.config is PoseConfig:
        from vl2_ros.model.pose.decoder import PoseDecoder

        return PoseDecoder(settings)
    from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork

    return ImageGeneratorNetwork(settings)


def _substitute(embeds: Tensor, where: Tensor, features: Tensor | None, name: str) -> Tensor:
    """Replace the embeddings at `where` (B, T) by rows of `features`, in row-major order."""
    wanted = int(where.sum())
    given = 0 if features is None else features.shape[:-1].numel()
    if wanted != given:
        raise InputError(
            f"the rows have {wanted} {name} ids, got {given} features for them; they must be equal"
        )
    if features is None or not given:
        return embeds
    rows = features.reshape(given, -1).to(embeds.dtype)
    return embeds.masked_scatter(where.unsqueeze(-1), rows)
