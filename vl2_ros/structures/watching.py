"""How images of a watch after the first are answered."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from vl2_ros.errors import InputError


class WatchMode(IntEnum):
    """How images of a watch after the first are answered; values are those of the messages."""

    PLAIN = 1
    EXACT = 2
    CACHED = 3
    AUTO = 4


@dataclass(frozen=True, slots=True)
class WatchOptions:
    """How images of a watch after the first are answered.

    PLAIN answers each as if it were the first, token by token. EXACT has the model verify the last
    answer, or one that is expected from the sentence, in one call: the answer is that of PLAIN.
    CACHED keeps an answer that only names what it looks for, with its super-link states, and runs
    the decoder alone. AUTO does so as long as the image shows the same scene.

    Attributes:
        mode: one of the four; None: the model's own, AUTO for spoken commands as those of the
            embedded model, EXACT for released weights.
        refresh_frames: AUTO: an answer serves so many frames at most, its own included.
    """

    mode: WatchMode | None = None
    refresh_frames: int = 30

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.refresh_frames < 1:
            raise InputError(f"refresh_frames must be at least 1, got {self.refresh_frames}")
