"""What one optimisation step of conversations consists of, as tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vl2_ros.datasets.samples import Group
from vl2_ros.errors import InputError
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.diffusion.losses import ImageTargets
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.processing.language.prompt import IGNORED_LABEL


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSample:
    """One conversation as tensors.

    Attributes:
        group: what it trains.
        ids: (T,) int64.
        labels: (T,) int64, -100 where no loss applies.
        tiles: (n, 3, S, S) float32 of all images, in order.
        region_masks: (R, S, S) float32 of 0 and 1.
        region_tiles: (R,) int64, the tile that each region lies on.
        pixels: (3, H, W) float32 of a perception decoder, or None.
        pixel_mask: (H, W) bool, true = image, or None.
        targets: of one image; of n = 1 images for generation and editing; None for TEXT.
        names: (N,) int64 numbers of the names behind the answer's routing tokens; (0,) where they
            are not of a list.
    """

    group: Group
    ids: Tensor
    labels: Tensor
    tiles: Tensor
    region_masks: Tensor
    region_tiles: Tensor
    names: Tensor
    pixels: Tensor | None = None
    pixel_mask: Tensor | None = None
    targets: ObjectTargets | PoseTargets | ImageTargets | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images of a perception decoder without a conversation; only their tokens are labelled.

    Attributes:
        pixels: (b, 3, H, W) float32.
        pixel_mask: (b, H, W) bool, true = image.
        targets: of each image.
        names: of each image, see `EncodedSample`.
    """

    pixels: Tensor
    pixel_mask: Tensor
    targets: tuple[ObjectTargets | PoseTargets, ...]
    names: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ConversationBatch:
    """Everything of one step; B rows of one group.

    Attributes:
        group: what it trains beside the language side.
        input_ids: (B, T) int64, padded on the right.
        labels: (B, T) int64, -100 where no loss applies.
        attention_mask: (B, T) bool, true = real.
        tiles: (n, 3, S, S) float32 of all images, row after row.
        region_masks: (R, S, S) float32 of 0 and 1, row after row.
        region_tiles: (R,) int64, index into `tiles`.
        pixels: (B, 3, H, W) float32 of a perception decoder, or None.
        pixel_mask: (B, H, W) bool, or None.
        targets: one per row for DETECTION and POSE, else empty.
        images: of GENERATION and EDITING, all rows together.
        names: one per row, see `EncodedSample`.
        labelled: further images for labels on tokens, or None.
    """

    group: Group
    input_ids: Tensor
    labels: Tensor
    attention_mask: Tensor
    tiles: Tensor
    region_masks: Tensor
    region_tiles: Tensor
    pixels: Tensor | None
    pixel_mask: Tensor | None
    targets: tuple[ObjectTargets | PoseTargets, ...]
    images: ImageTargets | None
    names: tuple[Tensor, ...]
    labelled: LabelledImages | None = None


def collate(
    samples: Sequence[EncodedSample], *, pad_id: int, labelled: LabelledImages | None = None
) -> ConversationBatch:
    """Stack samples of one group, padded on the right and the bottom.

    Args:
        samples: at least one.
        pad_id: fills the rows of ids.
        labelled: further images of the same batch.

    Raises:
        InputError: if the samples are of several groups.
    """
    groups = {one.group for one in samples}
    if len(groups) != 1:
        raise InputError(
            "a batch needs samples of one group, got "
            f"{sorted(group.value for group in groups)}; give each group a source of its own"
        )
    length = max(len(one.ids) for one in samples)
    starts = torch.tensor([0, *(len(one.tiles) for one in samples)]).cumsum(0)
    pixels, pixel_mask = _stack_pixels([(one.pixels, one.pixel_mask) for one in samples])
    return ConversationBatch(
        group=samples[0].group,
        input_ids=torch.stack([_fill(one.ids, length, pad_id) for one in samples]),
        labels=torch.stack([_fill(one.labels, length, IGNORED_LABEL) for one in samples]),
        attention_mask=torch.stack([torch.arange(length) < len(one.ids) for one in samples]),
        tiles=torch.cat([one.tiles for one in samples]),
        region_masks=torch.cat([one.region_masks for one in samples]),
        region_tiles=torch.cat(
            [one.region_tiles + start for one, start in zip(samples, starts, strict=False)]
        ),
        pixels=pixels,
        pixel_mask=pixel_mask,
        targets=tuple(
            one.targets for one in samples if isinstance(one.targets, ObjectTargets | PoseTargets)
        ),
        images=_join_images([one.targets for one in samples]),
        names=tuple(one.names for one in samples),
        labelled=labelled,
    )


def _fill(row: Tensor, length: int, value: int) -> Tensor:
    return torch.nn.functional.pad(row, (0, length - len(row)), value=value)


def collate_labelled(images: Sequence[LabelledImages]) -> LabelledImages | None:
    """Join images, padded on the right and the bottom; None where there are none."""
    pixels, pixel_mask = _stack_pixels(
        [pair for one in images for pair in zip(one.pixels, one.pixel_mask, strict=True)]
    )
    if pixels is None or pixel_mask is None:
        return None
    return LabelledImages(
        pixels,
        pixel_mask,
        tuple(target for one in images for target in one.targets),
        tuple(names for one in images for names in one.names),
    )


def _stack_pixels(
    pairs: Sequence[tuple[Tensor | None, Tensor | None]],
) -> tuple[Tensor | None, Tensor | None]:
    """Pad pixels and masks of all rows to the largest canvas."""
    found = [(pixels, mask) for pixels, mask in pairs if pixels is not None and mask is not None]
    if not found:
        return None, None
    height = max(pixels.shape[1] for pixels, _ in found)
    width = max(pixels.shape[2] for pixels, _ in found)
    padded = [
        [
            torch.nn.functional.pad(one, (0, width - one.shape[-1], 0, height - one.shape[-2]))
            for one in pair
        ]
        for pair in found
    ]
    return torch.stack([pair[0] for pair in padded]), torch.stack([pair[1] for pair in padded])


def _join_images(targets: Sequence[object]) -> ImageTargets | None:
    images = [one for one in targets if isinstance(one, ImageTargets)]
    if not images:
        return None
    return ImageTargets(
        target_pixels=torch.cat([one.target_pixels for one in images]),
        source_pixels=_join([one.source_pixels for one in images]),
        caption_ids=_join([one.caption_ids for one in images]),
    )


def _join(tensors: Sequence[Tensor | None]) -> Tensor | None:
    found = [one for one in tensors if one is not None]
    return torch.cat(found) if found else None
