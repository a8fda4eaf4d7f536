"""The interface of transform lookups between frames, and why one can find nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from vl2_ros.errors import InputError
from vl2_ros.node.transport import Transport
from vl2_ros.processing.results.rigid_transform import RigidTransform


class MissingTransformError(InputError):
    """There is no transform between two frames at the time of an image.

    Attributes:
        late_s: by how many seconds the newest transforms of the same frames are older than the
            image, so that the next ones may bring it; 0 where that is not the reason.
    """

    def __init__(self, message: str, *, late_s: float = 0.0) -> None:
        super().__init__(message)
        self.late_s = late_s


class FrameLookup(Protocol):
    """Finds transforms between named frames; any thread may call it."""

    def find(self, target: str, source: str, stamp_ns: int) -> RigidTransform:
        """Return how points of `source` become points of `target`; never waits.

        Args:
            target: frame of the returned points.
            source: frame of the given points.
            stamp_ns: time of the points, nanoseconds since the epoch, above 0.

        Raises:
            MissingTransformError: if it is not known, with the reason.
        """

    def close(self) -> None:
        """Stop listening to transforms; a second call does nothing."""


#: Opens the lookup of a node on its transport.
OpenFrames = Callable[[Transport], FrameLookup]
