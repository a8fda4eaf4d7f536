"""Packs: several short conversations about one image in one row of tokens.

A pack begins with the image; the conversations follow, and each sees the image and itself. So an
image costs its tokens once, however much is said about it, and little of a row is padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vl2_ros.processing.language.prompt import IGNORED_LABEL

#: Segment of padding, and of the begin token and the image that all conversations see.
PADDING, IMAGE = -1, 0


@dataclass(frozen=True, slots=True, eq=False)
class Packs:
    """Token rows of several conversations each, padded on the right.

    Attributes:
        input_ids: (B, T) int64.
        labels: (B, T) int64, -100 where no loss applies.
        position_ids: (B, T) int64; each conversation counts on from the end of the image.
        segments: (B, T) int64: `IMAGE`, then 1, 2, ... for the conversations, `PADDING`.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    position_ids: torch.Tensor
    segments: torch.Tensor

    def visibility(self) -> torch.Tensor:
        """Return (B, 1, T, T) float32 to add to attention scores: 0 where a position is seen."""
        queries, keys = self.segments[:, :, None], self.segments[:, None, :]
        seen = ((keys == queries) | (keys == IMAGE)).tril()
        nothing = torch.zeros(seen.shape, device=seen.device)
        return nothing.masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]


def pack_rows(
    packs: Sequence[Sequence[tuple[np.ndarray, np.ndarray]]], *, image_patch: int, pad: int
) -> Packs:
    """Join encoded conversations, those about one image in one pack.

    Args:
        packs: per pack the (ids, labels) rows, all with the same tokens up to the last
            `image_patch`, or with the same first token where there is no image.
        image_patch: id of the image tokens.
        pad: id that fills a row.
    """
    joined = [_join([*rows], image_patch) for rows in packs]
    shape = len(joined), max(row.shape[1] for row in joined)
    fields = [torch.full(shape, fill) for fill in (pad, IGNORED_LABEL, 0, PADDING)]
    for index, row in enumerate(joined):
        for field, values in zip(fields, row, strict=True):
            field[index, : row.shape[1]] = torch.from_numpy(values)
    return Packs(*fields)


def _join(rows: list[tuple[np.ndarray, np.ndarray]], image_patch: int) -> np.ndarray:
    """Return (4, T): ids, labels, positions, segments."""
    start = 1 + max(np.flatnonzero(rows[0][0] == image_patch), default=0)
    pieces = [(rows[0][0][:start], rows[0][1][:start], np.arange(start), np.full(start, IMAGE))]
    for segment, (ids, labels) in enumerate(rows, start=1):
        count = len(ids) - start
        positions = start + np.arange(count)
        pieces.append((ids[start:], labels[start:], positions, np.full(count, segment)))
    return np.concatenate([np.stack(piece) for piece in pieces], axis=1)
