"""The noise of a seed in numpy: the numbers that torch's generator on the CPU gives for it.

So an image of a seed does not depend on which library runs the networks.
"""

from __future__ import annotations

import numpy as np

#: Values that are made of one another: eight pairs of uniform ones give eight pairs of normal ones.
_BLOCK = 16
_HALF = _BLOCK // 2
_UNIFORM_BITS = 24


class Noise:
    """A stream of standard normal float32 numbers, from a Mersenne twister by Box and Muller.

    Args:
        seed: 0 or more; its lowest 32 bits count.
    """

    def __init__(self, seed: int) -> None:
        self._random = np.random.RandomState(seed % (1 << 32))

    def draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the next numbers, float32 of a shape; streams are torch's from 16 values on."""
        count = int(np.prod(shape))
        whole = max(count - count % _BLOCK, _BLOCK)
        uniform = self._draw_uniform(max(count, _BLOCK))
        values = np.empty(len(uniform), np.float32)
        values[:whole] = _to_normal(uniform[:whole])
        if len(values) > whole:
            # The last block overlaps the one before, and is drawn again.
            values[-_BLOCK:] = _to_normal(self._draw_uniform(_BLOCK))
        return values[:count].reshape(shape)

    def _draw_uniform(self, count: int) -> np.ndarray:
        """Return values in 0..1, 1 not among them, of as many bits as a float32 has."""
        words = self._random.randint(0, 1 << 32, size=count, dtype=np.uint32)
        return (words & ((1 << _UNIFORM_BITS) - 1)).astype(np.float32) / np.float32(
            1 << _UNIFORM_BITS
        )


def _to_normal(uniform: np.ndarray) -> np.ndarray:
    first, second = uniform.reshape(-1, 2, _HALF).swapaxes(0, 1)
    radius = np.sqrt(np.float32(-2) * np.log(np.float32(1) - first))
    angle = np.float32(2 * np.pi) * second
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1).astype(np.float32)
