"""The loss of the embedded model: language, detection with masks, and labels on tokens."""

from __future__ import annotations

import torch
from torch import nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.model.network import VisionLLM
from vl2_ros.sim.colors import COLORS
from vl2_ros.training.embedded.packs import IMAGE, PADDING, Packs
from vl2_ros.training.embedded.reading import read_packs
from vl2_ros.training.embedded.tabletop_batches import (
    LABELLED_KINDS,
    ConversationRows,
    TokenLabels,
    TrainingBatch,
)


class TokenLabeller(nn.Linear):
    """Names the kind and the colour that each token stands for; thrown away after training.

    Without it three fresh parts wait for each other: names that the LLM does not distinguish give
    the decoder nothing to match, image features that do not distinguish kinds give the names no
    meaning. The loss says directly what an image token shows and what a slot group names.
    """

    def __init__(self, width: int) -> None:
        """Make the layer for tokens of `width` channels."""
        super().__init__(width, len(LABELLED_KINDS) + 1 + len(COLORS) + 1)

    def compute_loss(self, tokens: torch.Tensor, labels: TokenLabels) -> torch.Tensor:
        """Return the mean cross entropy for tokens (B, M, C); positions labelled -1 are ignored."""
        logits = self(tokens).float()
        kinds, colors = logits.split([len(LABELLED_KINDS) + 1, len(COLORS) + 1], dim=2)
        return _mean_cross_entropy(kinds, labels.kinds) + _mean_cross_entropy(colors, labels.colors)


def _mean_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    real = labels >= 0
    if not real.any():
        return 0.0 * logits.sum()
    return nn.functional.cross_entropy(logits[real], labels[real])


def _detection(config: ModelConfig) -> DetectionConfig:
    if config.detection is None:
        raise ConfigError("expected a model with a detection decoder, got a config without one")
    return config.detection


def get_decoder(model: VisionLLM) -> DetectionDecoder:
    """Return the detection decoder.

    Raises:
        ConfigError: if the model has none.
    """
    decoder = model.detection_decoder
    if not isinstance(decoder, DetectionDecoder):
        raise ConfigError("expected a model with a detection decoder, got one without")
    return decoder


class TokenLabellers(nn.Module):
    """Labellers for the image tokens of the LLM and of the decoder, and for the super link."""

    def __init__(self, config: ModelConfig) -> None:
        """Make fresh layers."""
        super().__init__()
        self.image_tokens = TokenLabeller(config.llm_width)
        self.decoder_tokens = TokenLabeller(_detection(config).d_model)
        self.super_link = TokenLabeller(config.llm_width)


def compute_loss(
    model: VisionLLM,
    batch: TrainingBatch,
    labellers: TokenLabellers | None = None,
    super_link_gradient: float = 1.0,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Run one batch through the whole network.

    Args:
        model: in training mode.
        batch: images, conversations and targets; without the short and the blind rows the LLM
            only names the classes and gets no gradient.
        labellers: add their losses on the image tokens, the decoder's tokens and the super link.
        super_link_gradient: factor on the gradient that the decoder sends into the LLM.

    Returns:
        The total loss, and its parts for the log.
    """
    if batch.short_rows is None or batch.blind_packs is None:
        with torch.no_grad():
            tokens = model.encode_images(batch.vision_pixels).image_tokens  # (B, M, C)
            hidden = model(
                batch.rows.input_ids,
                batch.rows.attention_mask,
                image_tokens=tokens,
                with_logits=False,
            ).hidden.float()
            super_link, class_mask = model.super_link.gather_detection(hidden, batch.rows.input_ids)
        losses, parts = _decoder_loss(model, batch, super_link, class_mask, labellers)
        return torch.stack(list(parts.values())).sum(), parts | losses

    tokens = model.encode_images(batch.vision_pixels).image_tokens  # (B, M, C)
    start = 1 + int((batch.rows.input_ids[0] == model.tokens.image_patch).nonzero().max())
    both = join_rows(batch.rows, batch.short_rows, start)
    joined, blind = read_packs(model, [(both, tokens), (batch.blind_packs.packs, None)])
    # The states of both conversations about an image, as each has them alone.
    length = batch.rows.input_ids.shape[1]
    seeing, short = joined[:, :length], torch.cat([joined[:, :start], joined[:, length:]], dim=1)
    language = {
        "lm": model.language_loss(seeing, batch.rows.labels),
        "lm_short": model.language_loss(short, batch.short_rows.labels),
        "lm_blind": model.language_loss(blind, batch.blind_packs.packs.labels),
    }
    links = []
    for hidden, rows in ((seeing, batch.rows), (blind, batch.blind_packs.packs)):
        states = hidden.float().clone()
        if states.requires_grad:
            states.register_hook(lambda gradient: gradient * super_link_gradient)
        links.append(model.super_link.gather_detection(states, rows.input_ids))
    losses, parts = _decoder_loss(model, batch, *links[0], labellers)
    parts |= language
    if labellers is not None:
        parts["image_tokens"] = labellers.image_tokens.compute_loss(
            tokens, batch.image_token_labels
        )
        parts["names"] = labellers.super_link.compute_loss(links[0][0].mean(2), batch.rows.named)
        parts["names_blind"] = labellers.super_link.compute_loss(
            links[1][0].mean(2), batch.blind_packs.named
        )
    return torch.stack(list(parts.values())).sum(), parts | losses


def join_rows(first: ConversationRows, second: ConversationRows, start: int) -> Packs:
    """Put the second conversation of each row behind the first one.

    Args:
        first: rows that begin with an image.
        second: rows about the same images.
        start: tokens that both begin with, up to the end of the image.
    """
    segments, positions = [], []
    for number, rows, begin in ((1, first, 0), (2, second, start)):
        mask = rows.attention_mask[:, begin:]
        segments.append(torch.where(mask, number, PADDING))
        positions.append(torch.arange(begin, rows.input_ids.shape[1], device=mask.device))
    joined = torch.cat(segments, dim=1)
    joined[:, :start] = IMAGE
    return Packs(
        input_ids=torch.cat([first.input_ids, second.input_ids[:, start:]], dim=1),
        labels=torch.cat([first.labels, second.labels[:, start:]], dim=1),
        position_ids=torch.cat(positions).expand_as(joined),
        segments=joined,
    )


def _decoder_loss(
    model: VisionLLM,
    batch: TrainingBatch,
    super_link: torch.Tensor,
    class_mask: torch.Tensor,
    labellers: TokenLabellers | None,
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Return the decoder's losses one by one, and their total with that of its tokens' labels."""
    decoder = get_decoder(model)
    seen: list[torch.Tensor] = []
    # The finest token map goes from the encoder to the mask branch.
    listener = decoder.mask_branch.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    losses = decoder.compute_losses(
        batch.pixels, super_link, class_mask, batch.targets, pixel_mask=batch.pixel_mask
    )
    listener.remove()
    parts = {"detection": total_loss(losses, decoder.config)}
    if labellers is not None:
        parts["decoder_tokens"] = labellers.decoder_tokens.compute_loss(
            seen[0].flatten(2).transpose(1, 2), batch.decoder_token_labels
        )
    return losses, parts
