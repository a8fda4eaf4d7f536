"""Visual prompts: where a command points in an image."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from vl2_ros.errors import InputError, ShapeError
from vl2_ros.structures.run_lengths import RunLengths


class PromptKind(Enum):
    """How a command points in an image."""

    POINT = 0
    BOX = 1
    SCRIBBLE = 2
    POLYGON = 3
    MASK = 4


#: Least and most points of each kind of prompt.
PROMPT_POINTS = {
    PromptKind.POINT: (1, 1),
    PromptKind.BOX: (2, 2),
    PromptKind.SCRIBBLE: (2, 10_000),
    PromptKind.POLYGON: (3, 10_000),
    PromptKind.MASK: (0, 0),
}


@dataclass(frozen=True, slots=True, eq=False)
class VisualPrompt:
    """Where a command points in one of its images.

    Attributes:
        kind: what the points mean; a box has its upper left and its lower right corner.
        points_xy: (P, 2) float64 pixels of the image; (0, 2) for a mask.
        mask: on the image, for MASK only: (H, W) bool, or run lengths, which take no memory
            before `check_inside` has compared their size with the image's.
        image: 0 the frame, i the i-th of the command's images.
    """

    kind: PromptKind
    points_xy: np.ndarray
    mask: np.ndarray | RunLengths | None = None
    image: int = 0

    def __post_init__(self) -> None:
        """Check number and shape of the points."""
        if self.points_xy.ndim != 2 or self.points_xy.shape[1] != 2:
            raise ShapeError(f"points_xy must be (P, 2), got {self.points_xy.shape}")
        least, most = PROMPT_POINTS[self.kind]
        if not least <= len(self.points_xy) <= most:
            raise InputError(
                f"a visual prompt of kind {self.kind.name} needs {least} to {most} points, "
                f"got {len(self.points_xy)}"
            )
        if (self.mask is None) is (self.kind is PromptKind.MASK):
            raise InputError("a visual prompt has a mask when its kind is MASK, and only then")

    def decode_mask(self) -> np.ndarray | None:
        """Return the mask, (H, W) bool; None when the kind is another one."""
        return self.mask.decode() if isinstance(self.mask, RunLengths) else self.mask

    def check_inside(self, frame_hw: tuple[int, int]) -> None:
        """Check the prompt against the size of its image.

        Raises:
            InputError: if a point is outside or not finite, a box is turned inside out, or the
                mask is empty or of another size.
        """
        height, width = frame_hw
        if self.mask is not None:
            _check_mask(self.mask, frame_hw)
        inside = (self.points_xy >= 0) & (self.points_xy <= (width, height))
        if not inside.all():
            x, y = self.points_xy[~inside.all(axis=1)][0]
            raise InputError(
                f"the visual prompt's point ({x:g}, {y:g}) is outside the image of "
                f"{width}x{height} pixels"
            )
        if self.kind is PromptKind.BOX and not (self.points_xy[0] < self.points_xy[1]).all():
            raise InputError(
                "the visual prompt's box needs its upper left, then its lower right corner, got "
                f"{self.points_xy.tolist()}"
            )


def _check_mask(mask: np.ndarray | RunLengths, frame_hw: tuple[int, int]) -> None:
    mask_hw = mask.mask_hw if isinstance(mask, RunLengths) else mask.shape
    if mask_hw != frame_hw:
        raise InputError(
            f"the visual prompt's mask is {mask_hw[1]}x{mask_hw[0]}, expected the image's "
            f"{frame_hw[1]}x{frame_hw[0]}"
        )
    if mask.is_empty if isinstance(mask, RunLengths) else not mask.any():
        raise InputError("the visual prompt's mask is empty; expected at least one pixel")
