"""Colour words to jittered RGB values that stay apart from each other.

Knows hue ranges and no shape.
"""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ColorRange:
    """Range of one colour word: hue in degrees, saturation and value in 0..1."""

    hue: tuple[float, float]
    saturation: tuple[float, float]
    value: tuple[float, float]

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        """Draw one colour as (3,) RGB in 0..1."""
        hue = rng.uniform(*self.hue) % 360.0 / 360.0
        saturation, value = rng.uniform(*self.saturation), rng.uniform(*self.value)
        return np.array(colorsys.hsv_to_rgb(hue, saturation, value))


COLOR_RANGES: dict[str, ColorRange] = {
    "red": ColorRange((352, 363), (0.84, 1.0), (0.58, 0.88)),
    "green": ColorRange((108, 142), (0.65, 0.95), (0.38, 0.72)),
    "blue": ColorRange((213, 232), (0.75, 1.0), (0.5, 0.88)),
    "yellow": ColorRange((50, 57), (0.8, 1.0), (0.86, 1.0)),
    "orange": ColorRange((23, 31), (0.9, 1.0), (0.9, 1.0)),
    "purple": ColorRange((272, 290), (0.55, 0.85), (0.42, 0.72)),
    "white": ColorRange((0, 360), (0.0, 0.05), (0.9, 1.0)),
    "black": ColorRange((0, 360), (0.0, 0.2), (0.03, 0.1)),
}
COLORS: tuple[str, ...] = tuple(COLOR_RANGES)

#: Unlabelled clutter: greys and browns that no colour word names.
CLUTTER_RANGES: tuple[ColorRange, ...] = (
    ColorRange((0, 360), (0.0, 0.06), (0.3, 0.6)),
    ColorRange((20, 38), (0.3, 0.55), (0.25, 0.5)),
)
#: Table tops and floors: pale or muted, so that labelled objects stand out.
SURFACE_RANGES: tuple[ColorRange, ...] = (
    ColorRange((0, 360), (0.0, 0.3), (0.3, 0.9)),
    ColorRange((22, 40), (0.25, 0.6), (0.3, 0.8)),
)


def sample_surface(rng: np.random.Generator) -> np.ndarray:
    """Draw a colour for a table top or a floor as (3,) RGB in 0..1."""
    return SURFACE_RANGES[int(rng.integers(len(SURFACE_RANGES)))].sample(rng)
