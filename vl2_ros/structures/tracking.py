"""How objects are tracked over the frames of a watch."""

from __future__ import annotations

from dataclasses import dataclass

from vl2_ros.errors import InputError


@dataclass(frozen=True, slots=True)
class TrackingOptions:
    """How objects are tracked over the frames of a watch.

    Attributes:
        hidden_frames: most frames in a row without the object; after one more its track ends.
        first_id: least id of a new track, 1 or more; one past those that the watch has used.
    """

    hidden_frames: int = 20
    first_id: int = 1

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.hidden_frames < 0 or self.first_id < 1:
            raise InputError(
                "hidden_frames must be at least 0 and first_id at least 1, got "
                f"{self.hidden_frames} and {self.first_id}"
            )
