"""The newest image of one camera, and counts of used and dropped images.

Knows neither threads nor clocks: the caller holds the lock and passes the time.
"""

from __future__ import annotations

from dataclasses import dataclass

from vl2_ros.node.cameras.arrivals import Arrivals
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.request import StoredImage
from vl2_ros.structures import Frame


@dataclass(slots=True, eq=False)
class BufferedImage:
    """A stored image that is decoded once, however many commands use it.

    Attributes:
        image: as it came.
        number: 1, 2, ... in the order of arrival at its camera.
        received_s: time of arrival by the node's clock.
        is_used: a command has used it.
    """

    image: StoredImage
    number: int = 0
    received_s: float = 0.0
    is_used: bool = False
    _frame: Frame | None = None

    def decode(self) -> Frame:
        """Return the frame; for one thread only. Raises what `StoredImage.decode` raises."""
        if self._frame is None:
            self._frame = self.image.decode()
        return self._frame


class CameraBuffer:
    """Keeps the newest image of one camera; an older one is dropped when a newer one comes.

    Args:
        name: of the camera.
    """

    def __init__(self, name: str) -> None:
        """Start empty."""
        self.name = name
        self._newest: BufferedImage | None = None
        self._arrivals = Arrivals()
        self._dropped = 0
        self._used = 0
        self._number = 0

    def put(self, image: StoredImage, now_s: float) -> bool:
        """Replace the stored image; the same object again is no new image.

        Returns:
            Whether it is a new one.
        """
        self._arrivals.add(now_s)
        if self._newest is not None:
            if self._newest.image is image:
                return False
            self._dropped += not self._newest.is_used
        self._number += 1
        self._newest = BufferedImage(image, self._number, now_s)
        return True

    def find_fresh(self, now_s: float, max_age_s: float) -> BufferedImage | None:
        """Return the newest image, None when there is none or it is too old.

        Args:
            now_s: seconds of the node's clock.
            max_age_s: seconds since arrival for which an image is fresh; 0: forever.
        """
        image = self._newest
        if image is None or (max_age_s and now_s - image.received_s > max_age_s):
            return None
        return image

    def mark_used(self, image: BufferedImage) -> None:
        """Count an image as used, once."""
        self._used += not image.is_used
        image.is_used = True

    def find_age_s(self, now_s: float) -> float:
        """Return seconds since the last image; infinite before the first one."""
        return self._arrivals.find_age_s(now_s)

    def clear(self) -> None:
        """Drop the image; the counts stay."""
        self._newest = None

    def report(self, now_s: float) -> CameraReport:
        """Return the counts and the arrival rate."""
        return CameraReport(
            name=self.name,
            received=self._arrivals.count,
            dropped=self._dropped,
            used=self._used,
            last_age_s=self.find_age_s(now_s),
            rate_hz=self._arrivals.find_rate_hz(now_s),
        )
