"""Round matrices to int8 or int4 with symmetric scales, one matrix at a time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cholesky

#: Largest block of int4 weights that shares a scale; what TensorRT and ONNX Runtime are fastest at.
MOST_BLOCK = 128
#: Smaller blocks have no kernel in ONNX Runtime.
LEAST_BLOCK = 16
#: Shares of a block's largest value that are tried as the end of its range: rounding all others
#: finer may cost less than cutting the largest.
_RANGES = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)
#: Columns that are rounded at a time, to bound memory.
_COLUMNS = 1024
#: Share of the mean square of activations that is added to each, so that all differ.
_DAMPING = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class RoundedWeights:
    """A matrix (K, N) as whole numbers and scales.

    Attributes:
        values: (K, N) int8; -7..7 for int4, -127..127 for int8.
        scales: (N,) float32 for int8, (K / block, N) for int4.
        block: rows that share a scale; 0 for int8, where a column does.
    """

    values: np.ndarray
    scales: np.ndarray
    block: int

    def widen(self) -> np.ndarray:
        """Return the (K, N) float32 matrix that the numbers stand for."""
        if not self.block:
            return self.values * self.scales
        rows = np.repeat(self.scales, self.block, axis=0)
        return np.asarray(self.values * rows)


def choose_block(width: int) -> int:
    """Return the largest power of two up to 128 that divides a width; 0 where none of 16 does."""
    block = MOST_BLOCK
    while block >= LEAST_BLOCK:
        if width % block == 0:
            return block
        block //= 2
    return 0


def round_columns(weights: np.ndarray) -> RoundedWeights:
    """Round a matrix to int8 with a scale for each column.

    Args:
        weights: (K, N) floats.
    """
    values = np.empty(weights.shape, np.int8)
    scales = np.empty(weights.shape[1], np.float32)
    for start in range(0, weights.shape[1], _COLUMNS):
        part = weights[:, start : start + _COLUMNS].astype(np.float32)
        scale = _scale_of(np.abs(part).max(axis=0), 127)
        # A small scale, rounded to float16, may be too small by some percent.
        values[:, start : start + _COLUMNS] = np.clip(np.rint(part / scale), -127, 127)
        scales[start : start + _COLUMNS] = scale
    return RoundedWeights(values, scales, 0)


def round_blocks(weights: np.ndarray, block: int) -> RoundedWeights:
    """Round a matrix to int4 with a scale for each block of rows of a column.

    Of several ranges each block gets the one with the least squared error.

    Args:
        weights: (K, N) floats; `block` divides K.
        block: rows that share a scale.
    """
    height, width = weights.shape
    values = np.empty(weights.shape, np.int8)
    scales = np.empty((height // block, width), np.float32)
    for start in range(0, width, _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        part = weights[:, columns].astype(np.float32)
        rounded, scale = _round_best(part.reshape(height // block, block, -1))
        values[:, columns] = rounded.reshape(part.shape)
        scales[:, columns] = scale
    return RoundedWeights(values, scales, block)


def round_compensated(weights: np.ndarray, block: int, moments: np.ndarray) -> RoundedWeights:
    """Round a matrix to int4, each row making up for the errors of those before it.

    The error of a row is spread over the rows that are still to be rounded, as far as activations
    are correlated (the method known as GPTQ): the product errs about half as much as with rows that
    are rounded alone.

    Args:
        weights: (K, N) floats; `block` divides K.
        block: rows that share a scale.
        moments: (K, K) mean products of activations.
    """
    height, width = weights.shape
    left = weights.astype(np.float32)
    spread = _spread_errors(moments)
    values = np.empty((height, width), np.int8)
    scales = np.empty((height // block, width), np.float32)
    for start in range(0, height, block):
        rows = slice(start, start + block)
        scale = scales[start // block] = round_blocks(left[rows], block).scales[0]
        errors = np.empty((block, width), np.float32)
        for index in range(start, start + block):
            values[index] = np.clip(np.rint(left[index] / scale), -7, 7)
            error = (left[index] - values[index] * scale) / spread[index, index]
            errors[index - start] = error
            behind = slice(index + 1, start + block)
            left[behind] -= np.outer(spread[index, behind], error)
        left[start + block :] -= spread[rows, start + block :].T @ errors
    return RoundedWeights(values, scales, block)


def _spread_errors(moments: np.ndarray) -> np.ndarray:
    """Return the (K, K) upper triangle by which the error of a row is spread over those behind."""
    damped = moments.astype(np.float64)
    # Activations that were never seen would make it singular.
    damped.flat[:: len(damped) + 1] += _DAMPING * np.mean(np.diag(damped)) + 1e-12
    inverse = np.linalg.inv(damped)
    return np.asarray(cholesky(inverse, lower=False), np.float32)


def pack_int4(values: np.ndarray) -> np.ndarray:
    """Pack int8 values of -8..7 as ONNX stores int4: two in a byte, the first in the low half.

    Returns:
        (ceil(n / 2),) uint8.
    """
    flat = values.reshape(-1).view(np.uint8) & 0xF
    if flat.size % 2:
        flat = np.append(flat, np.uint8(0))
    return np.asarray(flat[0::2] | (flat[1::2] << 4))


def _round_best(blocks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (B, block, n) whole numbers and (B, n) scales of the range with the least error."""
    largest = np.abs(blocks).max(axis=1)
    best = scales = least = None
    for share in _RANGES:
        scale = _scale_of(largest * share, 7)
        rounded = np.clip(np.rint(blocks / scale[:, None]), -7, 7)
        error = np.square(rounded * scale[:, None] - blocks).sum(axis=1)
        if best is None or scales is None or least is None:
            best, scales, least = rounded, scale, error
            continue
        better = error < least
        best = np.where(better[:, None], rounded, best)
        scales, least = np.where(better, scale, scales), np.where(better, error, least)
    assert best is not None and scales is not None
    return best, scales


def _scale_of(largest: np.ndarray, levels: int) -> np.ndarray:
    """Return scales that float16 represents exactly: TensorRT multiplies by them as float16."""
    scale = (largest / levels).astype(np.float16).astype(np.float32)
    # A column of zeros, or of less than float16 can represent, may have any scale.
    return np.where(scale > 0, scale, np.float32(2.0**-14))
