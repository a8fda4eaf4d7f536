"""Weighted bilinear samples of multi-scale maps: the inner step of deformable attention.

Three forms with equal results: one `grid_sample` per level, and for few tokens a matrix of weights
times the values, which trains two to three times faster on a CPU; of the last there is one for
exported graphs, with the queries innermost.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vl2_ros.model.decoders.attention.constants import make_constant

#: Most tokens for which the matrix form is used on a CPU; it grows with tokens times queries.
_MATRIX_TOKENS = 512
_exports_matrix: ContextVar[bool] = ContextVar("exports_matrix", default=False)


@contextlib.contextmanager
def export_for_cpu(tokens: int) -> Iterator[None]:
    """Let modules that are exported within have the form that is fastest on a CPU.

    Args:
        tokens: most of them that the graph will read.
    """
    token = _exports_matrix.set(tokens <= _MATRIX_TOKENS)
    try:
        yield
    finally:
        _exports_matrix.reset(token)


def exports_for_cpu() -> bool:
    """Return whether modules are exported with `sample_by_shares`."""
    return _exports_matrix.get()


def prefers_matrix(values: Tensor) -> bool:
    """Return whether the matrix form is the faster one for values (B, S, C)."""
    is_small = values.shape[1] <= _MATRIX_TOKENS and values.device.type == "cpu"
    return is_small and not torch.compiler.is_exporting()


def sample_by_matrix(
    values: Tensor, points: Tensor, weights: Tensor, level_sizes: Sequence[tuple[int, int]]
) -> Tensor:
    """Return the weighted sum of samples for every query; outside a map everything is 0.

    Args:
        values: (R, S, C) float32, level after level, row-major; R counts images times heads.
        points: (R, Q, L, P, 2) x, y in 0..1 of each level's map.
        weights: (R, Q, L, P).
        level_sizes: L pairs (H_l, W_l).

    Returns:
        (R, Q, C).
    """
    sampled: Tensor = _MatrixSampling.apply(values, points, weights, tuple(level_sizes))
    return sampled


def sample_by_grid(
    values: Tensor, grids: Tensor, weights: Tensor, level_sizes: Sequence[tuple[int, int]]
) -> Tensor:
    """Do as `sample_by_matrix` with one `grid_sample` per level, channels before positions.

    Args:
        values: (R, C, S) float32.
        grids: (L, R, P, Q, 2) x, y in -1..1 of each level's map.
        weights: (L, R, P, Q).
        level_sizes: L pairs (H_l, W_l).

    Returns:
        (R, C, Q).
    """
    start = 0
    total: Any = 0.0
    for grid, shares, (height, width) in zip(
        grids.unbind(), weights[:, :, None].unbind(), level_sizes, strict=True
    ):
        level_map = values[..., start : start + height * width].unflatten(2, (height, width))
        start += height * width
        samples = nn.functional.grid_sample(
            level_map, grid, mode="bilinear", align_corners=False
        )  # (R, C, P, Q)
        total = total + (samples * shares).sum(2)
    return total


def sample_by_shares(
    values: Tensor, positions: Tensor, weights: Tensor, level_sizes: Sequence[tuple[int, int]]
) -> Tensor:
    """Do as `sample_by_matrix` in few nodes, whose innermost axis is long.

    Args:
        values: (R, C, S) float32.
        positions: (R, L, P, 2, Q) x and y, in pixels from the centre of each level's first one.
        weights: (R, L, P, Q).
        level_sizes: L pairs (H_l, W_l).

    Returns:
        (R, C, Q).
    """
    device, dtype = positions.device, positions.dtype
    by_level = tuple((width, height) for height, width in level_sizes)
    sizes = make_constant(by_level, device=device, dtype=dtype)[:, None, :, None]
    counts = tuple(height * width for height, width in level_sizes)
    first = (0, *itertools.accumulate(counts[:-1]))
    starts = make_constant(first, device=device, dtype=dtype)[:, None, None]
    # The pixel before and the one behind; a map of one pixel has none behind.
    step = (sizes - 1).clamp(max=1)
    before = torch.minimum(positions.floor().clamp(min=0), sizes - 1 - step)
    distance = positions - before
    near = torch.relu(1 - distance.abs())
    far = torch.relu(1 - (distance - 1).abs()) * step
    (width, _), (step_x, step_y) = sizes.unbind(2), step.unbind(2)
    (column, row), (near_x, near_y), (far_x, far_y) = (one.unbind(3) for one in (before, near, far))
    upper = starts + row * width + column
    lower = upper + step_y * width
    index = [upper, upper + step_x, lower, lower + step_x]
    rows = near_y * weights, far_y * weights
    share = [one * two for one in rows for two in (near_x, far_x)]
    # Whole numbers below 2^24 are exact in float32.
    flat = torch.cat([one.flatten(1, 2) for one in index], dim=1).to(torch.int64)
    shares = torch.cat([one.flatten(1, 2) for one in share], dim=1)
    matrix = values.new_zeros(values.shape[0], values.shape[2], weights.shape[3])
    return values @ matrix.scatter_add(1, flat, shares)


class _MatrixSampling(torch.autograd.Function):
    """Scatter the share of every corner into (R, Q, S), then one matrix product."""

    @staticmethod
    def forward(
        context: Any,
        values: Tensor,
        points: Tensor,
        weights: Tensor,
        level_sizes: tuple[tuple[int, int], ...],
    ) -> Tensor:
        widths = points.new_tensor([[width] for _, width in level_sizes])
        heights = points.new_tensor([[height] for height, _ in level_sizes])
        columns, column_shares, column_inside = _find_neighbours(points[..., 0], widths)
        rows, row_shares, row_inside = _find_neighbours(points[..., 1], heights)
        counts = widths * heights
        first = counts.cumsum(0) - counts
        # Whole numbers below 2^24 are exact in float32.
        index = torch.cat(
            [(row * widths + first + column).flatten(2) for row in rows for column in columns],
            dim=2,
        ).to(torch.int64)
        weighted = [share * weights for share in row_shares]
        share = torch.cat([(y * x).flatten(2) for y in weighted for x in column_shares], dim=2)
        matrix = values.new_zeros(*points.shape[:2], values.shape[1])
        matrix.scatter_add_(2, index, share)
        context.save_for_backward(
            *(values, weights, widths, heights, index, matrix),
            *(*column_shares, *row_shares, *column_inside, *row_inside),
        )
        return matrix @ values

    @staticmethod
    @once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        values, weights, widths, heights, index, matrix, *corners = context.saved_tensors
        x0, x1, y0, y1, in_x0, in_x1, in_y0, in_y1 = corners
        by_token = gradient @ values.transpose(1, 2)  # (R, Q, S)
        by_corner = by_token.gather(2, index).unflatten(2, (4, *weights.shape[2:]))
        a, b, c, d = by_corner.unbind(2)
        upper, lower = a * x0 + b * x1, c * x0 + d * x1
        by_weight = upper * y0 + lower * y1
        left, right = a * y0 + c * y1, b * y0 + d * y1
        by_x = (right * in_x1 - left * in_x0) * weights * widths
        by_y = (lower * in_y1 - upper * in_y0) * weights * heights
        by_point = torch.stack([by_x, by_y], dim=-1)
        return matrix.transpose(1, 2) @ gradient, by_point, by_weight, None


_Pair = tuple[Tensor, Tensor]


def _find_neighbours(points: Tensor, sizes: Tensor) -> tuple[_Pair, _Pair, _Pair]:
    """Return the pixels before and after points (R, Q, L, P) along one axis.

    Args:
        points: coordinates in 0..1.
        sizes: (L, 1) pixels of each level along the axis.

    Returns:
        Pixel numbers, bilinear shares (0 outside) and whether the pixel is inside (0 or 1); all
        float32 (R, Q, L, P).
    """
    position = points * sizes - 0.5
    # Two pixels outside nothing is read, as farther out.
    position = torch.minimum(position.clamp(min=-2.0), sizes + 1)
    before = position.floor()
    fraction = position - before
    after = before + 1
    last = sizes - 1
    in_before = ((before >= 0) & (before <= last)).to(points.dtype)
    in_after = ((after >= 0) & (after <= last)).to(points.dtype)
    pixels = (
        torch.minimum(before.clamp(min=0.0), last),
        torch.minimum(after.clamp(min=0.0), last),
    )
    shares = (1 - fraction) * in_before, fraction * in_after
    return pixels, shares, (in_before, in_after)
