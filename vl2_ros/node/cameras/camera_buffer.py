"""The newest image of one camera, its last seconds, and counts of used and dropped images.

Knows neither threads nor clocks: the caller holds the lock and passes the time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from vl2_ros.node.cameras.arrivals import Arrivals
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.request import StoredImage
from vl2_ros.structures import Frame

#: Seconds for which images are kept, and the most bytes that those of all cameras take.
HISTORY_S = 2.0
HISTORY_BYTES = 64_000_000


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


@dataclass(frozen=True, slots=True)
class _Kept:
    image: StoredImage
    received_s: float


class ImageHistory:
    """Keeps the images of the last seconds as they came, not decoded.

    A sentence is understood about a second after it was said; the image that it is about is the
    one that was the newest when it ended.

    Where all of the last `HISTORY_S` do not fit, they are kept at intervals that do, so that the
    whole time is covered.

    Args:
        most_bytes: of all images together.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._images: deque[_Kept] = deque()
        self._size_bytes = 0

    def __len__(self) -> int:
        """Return how many are kept."""
        return len(self._images)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all of them."""
        return self._size_bytes

    def add(self, image: StoredImage, received_s: float) -> None:
        """Keep an image that has just come, unless the one before it is too near."""
        interval_s = HISTORY_S * image.size_bytes / self._most_bytes
        if not self._images or received_s - self._images[-1].received_s >= interval_s:
            self._images.append(_Kept(image, received_s))
            self._size_bytes += image.size_bytes
        while self._images and self._is_over(received_s):
            self._size_bytes -= self._images.popleft().image.size_bytes

    def find(self, at_s: float, max_age_s: float) -> StoredImage | None:
        """Return the newest image that had come by then; None when it is not kept any more.

        Args:
            at_s: seconds of the node's clock.
            max_age_s: seconds since arrival for which an image was fresh then; 0: forever.
        """
        for kept in reversed(self._images):
            if kept.received_s <= at_s:
                is_fresh = not max_age_s or at_s - kept.received_s <= max_age_s
                return kept.image if is_fresh else None
        return None

    def clear(self) -> None:
        """Drop all of them."""
        self._images.clear()
        self._size_bytes = 0

    def _is_over(self, now_s: float) -> bool:
        is_old = now_s - self._images[0].received_s > HISTORY_S
        return is_old or self._size_bytes > self._most_bytes


class CameraBuffer:
    """Keeps the newest image of one camera; an older one is dropped when a newer one comes.

    Those of the last seconds stay within reach while `keep_history` says so.

    Args:
        name: of the camera.
    """

    def __init__(self, name: str) -> None:
        """Start empty."""
        self.name = name
        self._newest: BufferedImage | None = None
        self._history: ImageHistory | None = None
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
        if self._history is not None:
            self._history.add(image, now_s)
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

    def find_past(self, at_s: float, max_age_s: float) -> BufferedImage | None:
        """Return the image that was the newest at a time; None when that is not known any more.

        Args:
            at_s: seconds of the node's clock.
            max_age_s: seconds since arrival for which an image was fresh then; 0: forever.
        """
        if self._newest is not None and self._newest.received_s <= at_s:
            return self.find_fresh(at_s, max_age_s)
        found = None if self._history is None else self._history.find(at_s, max_age_s)
        # Decoded anew: what was decoded before takes more memory than is kept.
        return None if found is None else BufferedImage(found)

    def keep_history(self, most_bytes: int) -> None:
        """Keep the images of the last seconds as well, in at most so many bytes; 0: none."""
        if not most_bytes:
            self._history = None
        elif self._history is None:
            self._history = ImageHistory(most_bytes)

    def mark_used(self, image: BufferedImage) -> None:
        """Count an image as used, once."""
        self._used += not image.is_used
        image.is_used = True

    def find_age_s(self, now_s: float) -> float:
        """Return seconds since the last image; infinite before the first one."""
        return self._arrivals.find_age_s(now_s)

    def clear(self) -> None:
        """Drop the images; the counts stay."""
        self._newest = None
        if self._history is not None:
            self._history.clear()

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
