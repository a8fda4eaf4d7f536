"""A box in space, as viewers show it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlacedBox:
    """A box in space, in the optical frame of its camera.

    Attributes:
        label: with its score, as it is shown.
        center_m: x, y, z in metres.
        size_m: along x, y, z in metres.
        turned: unit quaternion x, y, z, w.
    """

    label: str
    center_m: tuple[float, float, float]
    size_m: tuple[float, float, float]
    turned: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)
