"""Collect images of different tile counts into one batch, and choose the tile of a region.

A row is one conversation. Its images are split into tiles (the whole image last), all splits of
all rows are encoded together (docs/spec/core.md, sections 3.4 and 4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from vl2_ros.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class ImageBatch:
    """The tiles of all rows that show an image.

    Attributes:
        pixels: (n, 3, S, S) tiles, row after row.
        starts: for each row the index of its first tile, None for a row without an image.
        counts: for each row its number of tiles, 0 without an image.
    """

    pixels: Tensor
    starts: tuple[int | None, ...]
    counts: tuple[int, ...]


def gather_rows(
    images: Sequence[Tensor | None] | Tensor | None,
    patch_counts: Sequence[int],
    tokens_per_tile: int,
) -> ImageBatch | None:
    """Collect the tiles of the rows that have image tokens; the other rows' tiles are skipped.

    Args:
        images: per row (n_i, 3, S, S) or (3, S, S) or None; or one tensor (B, 3, S, S).
        patch_counts: number of `<im_patch>` ids in each row.
        tokens_per_tile: image tokens that one tile gives.

    Returns:
        The batch to encode, or None when no row has image tokens.

    Raises:
        InputError: if the tiles of a row do not give as many tokens as its ids ask for.
    """
    if not any(patch_counts):
        return None
    entries: list[Tensor | None] = [None] * len(patch_counts) if images is None else list(images)
    if len(entries) != len(patch_counts):
        raise InputError(f"expected images for {len(patch_counts)} rows, got {len(entries)}")
    tiles: list[Tensor] = []
    starts: list[int | None] = []
    counts: list[int] = []
    for row, (entry, wanted) in enumerate(zip(entries, patch_counts, strict=True)):
        stack = [] if entry is None or not wanted else _split(entry)
        if len(stack) * tokens_per_tile != wanted:
            raise InputError(
                f"row {row} has {wanted} <im_patch> ids and {len(stack)} tiles of "
                f"{tokens_per_tile} tokens; expand each <image> to as many ids as its tiles give"
            )
        starts.append(sum(counts) if wanted else None)
        counts.append(len(stack))
        tiles.extend(stack)
    return ImageBatch(torch.stack(tiles), tuple(starts), tuple(counts))


def _split(entry: Tensor) -> list[Tensor]:
    return list(entry) if entry.ndim == 4 else [entry]


def pair_regions(
    batch: ImageBatch,
    region_counts: Sequence[int],
    num_splits: Sequence[Sequence[int]] | None = None,
) -> list[int]:
    """Name the tile that each region reads: the last split (the whole image) of its image.

    Args:
        batch: the tiles that are encoded.
        region_counts: number of regions in each row.
        num_splits: tiles of each image of each row, for rows with several images: region j then
            belongs to image j. None means that a row has one image.

    Returns:
        Index into `batch.pixels` for each region, row after row.

    Raises:
        InputError: if a row has regions but no image for them, or the splits do not add up.
    """
    index: list[int] = []
    for row, count in enumerate(region_counts):
        if not count:
            continue
        start, tiles = batch.starts[row], batch.counts[row]
        if start is None:
            raise InputError(f"row {row} has {count} regions but no image; add its image")
        if num_splits is None:
            index += [start + tiles - 1] * count
            continue
        ends = list(accumulate(num_splits[row]))
        if not ends or ends[-1] != tiles or count > len(ends):
            raise InputError(
                f"row {row} has {tiles} tiles and {count} regions, its splits are "
                f"{list(num_splits[row])}; they must add up to the tiles, one image per region"
            )
        index += [start + end - 1 for end in ends[:count]]
    return index


def pad_images(images: Sequence[Tensor], multiple: int = 32) -> tuple[Tensor, Tensor]:
    """Batch decoder images: zeros to the right and below, sides rounded up to a multiple.

    Args:
        images: (3, H_i, W_i) normalised images.
        multiple: sides of the batch are divisible by it.

    Returns:
        pixels (B, 3, H, W) and pixel_mask (B, H, W) bool, true where there is image.
    """
    height = max(image.shape[1] for image in images)
    width = max(image.shape[2] for image in images)
    height, width = (-(-side // multiple) * multiple for side in (height, width))
    pixels = images[0].new_zeros(len(images), images[0].shape[0], height, width)
    mask = torch.zeros(len(images), height, width, dtype=torch.bool, device=pixels.device)
    for row, image in enumerate(images):
        pixels[row, :, : image.shape[1], : image.shape[2]] = image
        mask[row, : image.shape[1], : image.shape[2]] = True
    return pixels, mask
