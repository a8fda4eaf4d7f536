"""Denoising queries for training: noised copies of the targets that the decoder must repair.

From DINO (arXiv 2203.03605): every group has each object once as a positive (small noise) and
once as a negative (large noise) query.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from vl2_ros.model.decoders.boxes import to_cxcywh, to_xyxy
from vl2_ros.model.decoders.prediction_heads import LOGIT_EPS, inverse_sigmoid
from vl2_ros.model.decoders.targets import TargetBatch


@dataclass(frozen=True, slots=True, eq=False)
class DenoisingNoise:
    """Random draws for G groups; second axis: positive, negative; one entry per padded object.

    Attributes:
        relabel: (G, 2, B, m) uniform in 0..1; below half the label noise ratio the class changes.
        new_class: (G, 2, B, m) int64, the class that is taken then.
        sign: (G, 2, B, m, 4) -1 or 1, direction of each corner coordinate.
        amount: (G, 2, B, m, 4) uniform in 0..1, negatives get 1 more.
    """

    relabel: Tensor
    new_class: Tensor
    sign: Tensor
    amount: Tensor

    @classmethod
    def draw(
        cls, groups: int, targets: TargetBatch, num_classes: int, generator: torch.Generator | None
    ) -> DenoisingNoise:
        """Draw noise with classes from 0 up to `num_classes`."""
        device = targets.class_index.device
        shape = (groups, 2, *targets.class_index.shape)
        kind = {"generator": generator, "device": device}
        return cls(
            relabel=torch.rand(shape, **kind),
            new_class=torch.randint(0, num_classes, shape, **kind),
            sign=torch.randint(0, 2, (*shape, 4), **kind).float() * 2 - 1,
            amount=torch.rand((*shape, 4), **kind),
        )


@dataclass(frozen=True, slots=True, eq=False)
class DenoisingQueries:
    """P = G * 2 * m queries that stand before the matching queries.

    Attributes:
        content: (B, P, D), 0 in unused slots.
        box_logits: (B, P, 4) float32, 0 in unused slots.
        groups: G.
        size: m, objects per group and sign.
    """

    content: Tensor
    box_logits: Tensor
    groups: int
    size: int

    @property
    def count(self) -> int:
        """P."""
        return self.groups * 2 * self.size

    def blocked(self, queries: int) -> Tensor:
        """Return (P + queries, P + queries) bool, true where a row may not see a column.

        A group sees itself and the matching queries; matching queries see no denoising query.
        """
        device = self.content.device
        group = torch.arange(self.count, device=device) // (2 * self.size)
        # Matching queries are group -1, which everyone sees.
        group = torch.cat([group, group.new_full((queries,), -1)])
        return (group[:, None] != group[None, :]) & (group[None, :] >= 0)


def count_groups(dn_number: int, size: int) -> int:
    """Return G for images of at most `size` objects."""
    return max(1, dn_number // size)


class DenoisingSettings(Protocol):
    """Fields that a decoder's configuration needs here, for detection and pose alike."""

    @property
    def dn_number(self) -> int:
        """Queries per image and sign; 0 for none."""

    @property
    def dn_labelbook_size(self) -> int:
        """Classes that label noise may draw from."""

    @property
    def label_noise_ratio(self) -> float:
        """Twice the share of changed classes."""

    @property
    def box_noise_scale(self) -> float:
        """Largest move of a positive's corner, in half box sides."""


def prepare_denoising(
    targets: TargetBatch,
    classes: Tensor,
    settings: DenoisingSettings,
    generator: torch.Generator | None,
    noise: DenoisingNoise | None,
    logit_eps: float = LOGIT_EPS,
) -> DenoisingQueries | None:
    """Draw noise, unless it is given, and build the queries; None where nothing is to be denoised.

    Args:
        targets: the batch's objects.
        classes: (B, N, D) class features before the encoder.
        settings: how many and how noisy.
        generator: source of the noise; None: torch's.
        noise: draws in place of the generator's.
        logit_eps: see `inverse_sigmoid`.
    """
    if not targets.total or not settings.dn_number:
        return None
    if noise is None:
        groups = count_groups(settings.dn_number, targets.class_index.shape[1])
        book = min(settings.dn_labelbook_size, classes.shape[1])
        noise = DenoisingNoise.draw(groups, targets, book, generator)
    return make_denoising(
        targets,
        classes,
        noise,
        label_noise_ratio=settings.label_noise_ratio,
        box_noise_scale=settings.box_noise_scale,
        logit_eps=logit_eps,
    )


def make_denoising(
    targets: TargetBatch,
    classes: Tensor,
    noise: DenoisingNoise,
    *,
    label_noise_ratio: float,
    box_noise_scale: float,
    logit_eps: float = LOGIT_EPS,
) -> DenoisingQueries:
    """Build the queries.

    Args:
        targets: the batch's objects, at least one.
        classes: (B, N, D) class features before the encoder; the gradient flows into them.
        noise: the draws.
        label_noise_ratio: twice the share of changed classes.
        box_noise_scale: largest move of a positive's corner, in half box sides.
        logit_eps: see `inverse_sigmoid`.
    """
    groups = noise.relabel.shape[0]
    labels = torch.where(
        noise.relabel < 0.5 * label_noise_ratio, noise.new_class, targets.class_index
    )
    rows = torch.arange(classes.shape[0], device=classes.device)[:, None]
    content = classes[rows, labels] * targets.is_object[..., None]  # (G, 2, B, m, D)
    boxes = _jitter(targets.boxes_cxcywh_norm, noise, box_noise_scale)
    box_logits = inverse_sigmoid(boxes, logit_eps) * targets.is_object[..., None]
    return DenoisingQueries(
        content=_to_slots(content),
        box_logits=_to_slots(box_logits),
        groups=groups,
        size=labels.shape[-1],
    )


def prepend(
    denoising: DenoisingQueries | None, content: Tensor, boxes: Tensor
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the denoising queries, if any, before the matching queries.

    Args:
        denoising: P queries, or None.
        content: (B, Q, D) of the matching queries.
        boxes: (B, Q, 4) cxcywh.

    Returns:
        (B, P + Q, D), (B, P + Q, 4), and the additive self-attention mask (1, 1, P + Q, P + Q), or
        None.
    """
    if denoising is None:
        return content, boxes, None
    count, queries = denoising.count, content.shape[1]
    boxes = torch.cat([denoising.box_logits.sigmoid(), boxes], dim=1)
    content = torch.cat([denoising.content.to(content.dtype), content], dim=1)
    blocked = torch.zeros(count + queries, count + queries).to(content)
    blocked = blocked.masked_fill(denoising.blocked(queries), float("-inf"))
    return content, boxes, blocked[None, None]


def _jitter(boxes_cxcywh: Tensor, noise: DenoisingNoise, scale: float) -> Tensor:
    half = boxes_cxcywh[..., 2:] / 2
    reach = torch.cat([half, half], dim=-1) * scale
    amount = noise.amount + torch.tensor([0.0, 1.0], device=half.device).view(2, 1, 1, 1)
    corners = to_xyxy(boxes_cxcywh) + noise.sign * amount * reach
    return to_cxcywh(corners.clamp(0.0, 1.0))


def _to_slots(x: Tensor) -> Tensor:
    """(G, 2, B, m, C) to (B, P, C), group by group, positives before negatives."""
    return x.permute(2, 0, 1, 3, 4).flatten(1, 3)
