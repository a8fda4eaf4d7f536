"""The loss of the embedded model: language, detection with masks, and labels on tokens."""

from __future__ import annotations

import torch
from torch import nn

from vl2_ros.errors import ConfigError
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.decoders.set_losses import total_loss
from vl2_ros.model.detection.config import DetectionConfig
from vl2_ros.model.detection.decoder import DetectionDecoder
from vl2_ros.model.network import LanguageOutput, VisionLLM
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.training.embedded.tabletop_batches import ConversationRows, TokenLabels, TrainingBatch


class TokenLabeller(nn.Linear):
    """Names the kind and the colour that each token stands for; thrown away after training.

    Without it three fresh parts wait for each other: names that the LLM does not distinguish give
    the decoder nothing to match, image features that do not distinguish kinds give the names no
    meaning. The loss says directly what an image token shows and what a slot group names.
    """

    def __init__(self, width: int) -> None:
        """Make the layer for tokens of `width` channels."""
        super().__init__(width, len(KINDS) + 1 + len(COLORS) + 1)

    def compute_loss(self, tokens: torch.Tensor, labels: TokenLabels) -> torch.Tensor:
        """Return the mean cross entropy for tokens (B, M, C); positions labelled -1 are ignored."""
        real = labels.kinds >= 0
        if not real.any():
            return 0.0 * self(tokens).sum()
        logits = self(tokens[real]).float()
        kinds, colors = logits.split([len(KINDS) + 1, len(COLORS) + 1], dim=1)
        cross_entropy = nn.functional.cross_entropy
        return cross_entropy(kinds, labels.kinds[real]) + cross_entropy(colors, labels.colors[real])


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
    if batch.short_rows is None or batch.blind_rows is None:
        with torch.no_grad():
            tokens = model.encode_images(batch.vision_pixels).image_tokens  # (B, M, C)
            hidden = _read(model, batch.rows, tokens).hidden.float()
            super_link, class_mask = model.super_link.gather_detection(hidden, batch.rows.input_ids)
        losses, parts = _decoder_loss(model, batch, super_link, class_mask, labellers)
        return torch.stack(list(parts.values())).sum(), parts | losses

    tokens = model.encode_images(batch.vision_pixels).image_tokens  # (B, M, C)
    output = _read(model, batch.rows, tokens)
    blind = _read(model, batch.blind_rows, None)
    language = {
        "lm": output.loss,
        "lm_short": _read(model, batch.short_rows, tokens).loss,
        "lm_blind": blind.loss,
    }
    links = []
    for hidden, rows in ((output.hidden, batch.rows), (blind.hidden, batch.blind_rows)):
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
            links[1][0].mean(2), batch.blind_rows.named
        )
    return torch.stack(list(parts.values())).sum(), parts | losses


def _read(model: VisionLLM, rows: ConversationRows, tokens: torch.Tensor | None) -> LanguageOutput:
    return model(
        rows.input_ids,
        rows.attention_mask,
        image_tokens=tokens,
        labels=rows.labels,
        with_logits=False,
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
