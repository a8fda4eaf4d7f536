"""The queue of asks: bounded, first come first served among those that can run, deadlines."""

from __future__ import annotations

import math
from collections.abc import Callable

from vl2_ros.node.cameras.camera_buffer import BufferedImage
from vl2_ros.node.scheduling.jobs import Ask


class CommandQueue:
    """Waiting asks in the order of arrival.

    Args:
        size: most asks that wait.
    """

    def __init__(self, size: int) -> None:
        """Start empty."""
        self._size = size
        self._asks: list[Ask] = []

    def __len__(self) -> int:
        """Return how many wait."""
        return len(self._asks)

    @property
    def is_full(self) -> bool:
        """Return whether the queue is full."""
        return len(self._asks) >= self._size

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the images and visual prompts of all waiting asks."""
        return sum(ask.request.size_bytes for ask in self._asks)

    def has(self, request_id: str) -> bool:
        """Return whether an ask of this id waits."""
        return any(ask.request.id == request_id for ask in self._asks)

    def add(self, ask: Ask) -> None:
        """Append an ask."""
        self._asks.append(ask)

    def take(
        self, now_s: float, find_image: Callable[[str], BufferedImage | None]
    ) -> tuple[Ask, BufferedImage] | None:
        """Remove the first ask that is not too late and has an image.

        Args:
            now_s: seconds of the node's clock.
            find_image: camera to its newest image that is fresh, for asks about no past image.

        Returns:
            The ask and its image; None when there is none.
        """
        for ask in self._asks:
            image = ask.past_image or find_image(ask.camera)
            if now_s < ask.expires_s and image is not None:
                self._asks.remove(ask)
                return ask, image
        return None

    def take_expired(self, now_s: float) -> list[Ask]:
        """Remove and return the asks whose deadline has passed."""
        return self._remove(lambda ask: now_s >= ask.expires_s)

    def take_named(self, request_id: str) -> list[Ask]:
        """Remove and return the asks of this id; all when it is empty."""
        return self._remove(lambda ask: request_id in ("", ask.request.id))

    def find_next_deadline_s(self) -> float:
        """Return when the first deadline passes; infinite when none waits."""
        return min((ask.expires_s for ask in self._asks), default=math.inf)

    def _remove(self, is_meant: Callable[[Ask], bool]) -> list[Ask]:
        meant = [ask for ask in self._asks if is_meant(ask)]
        self._asks = [ask for ask in self._asks if ask not in meant]
        return meant
