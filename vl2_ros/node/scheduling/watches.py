"""The list of watches: whose turn it is, at which rate, until when."""

from __future__ import annotations

import math
from collections.abc import Callable

from vl2_ros.node.cameras.camera_buffer import BufferedImage
from vl2_ros.node.reports import WatchState
from vl2_ros.node.scheduling.jobs import Watch

FindImage = Callable[[str], BufferedImage | None]


class WatchList:
    """Watches in the order they were given; the one whose turn is longest ago comes first."""

    def __init__(self) -> None:
        """Start empty."""
        self._watches: list[Watch] = []
        self._turn = 0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._watches)

    @property
    def size_bytes(self) -> int:
        """Return the bytes of the images and visual prompts of all of them."""
        return sum(watch.request.size_bytes for watch in self._watches)

    def has(self, request_id: str) -> bool:
        """Return whether there is a watch of this id."""
        return any(watch.request.id == request_id for watch in self._watches)

    def add(self, watch: Watch) -> None:
        """Add a watch; it is due at once."""
        self._watches.append(watch)

    def take(self, now_s: float, find_image: FindImage) -> tuple[Watch, BufferedImage] | None:
        """Choose the watch whose turn it is, and plan its next turn.

        Args:
            now_s: seconds of the node's clock.
            find_image: camera to its newest image that is fresh.

        Returns:
            A watch that is due and an image that it has not used; None when there is none.
        """
        ready = [pair for pair in self._find_unseen(now_s, find_image) if pair[0].due_s <= now_s]
        if not ready:
            return None
        watch, image = min(ready, key=lambda pair: pair[0].last_turn)
        self._turn += 1
        watch.last_turn = self._turn
        watch.ready_since_s = None
        watch.seen_number = image.number
        watch.waits_since_s = max(watch.due_s, image.received_s)
        watch.plan_next(now_s)
        return watch, image

    def note_image(self, camera: str, now_s: float, *, is_first: bool) -> None:
        """Note that an image has come, to measure how long a watch waits for its turn.

        Args:
            camera: that sent it.
            now_s: seconds of the node's clock.
            is_first: none was fresh before it; what went before does not count as waiting.
        """
        for watch in self._watches:
            if watch.camera == camera and (is_first or watch.ready_since_s is None):
                watch.ready_since_s = now_s

    def take_ended(self, now_s: float) -> list[Watch]:
        """Remove and return the watches whose duration is over."""
        return self._remove(lambda watch: now_s >= watch.ends_s)

    def take_named(self, request_id: str) -> list[Watch]:
        """Remove and return the watches of this id; all when it is empty."""
        return self._remove(lambda watch: request_id in ("", watch.request.id))

    def find_next_due_s(self, now_s: float, find_image: FindImage) -> float:
        """Return when a watch that has a new image is due; infinite when none has."""
        unseen = self._find_unseen(now_s, find_image)
        return min((watch.due_s for watch, _ in unseen), default=math.inf)

    def find_next_end_s(self) -> float:
        """Return when the next watch ends by itself; infinite when none does."""
        return min((watch.ends_s for watch in self._watches), default=math.inf)

    def describe(self, now_s: float, find_image: FindImage) -> tuple[WatchState, ...]:
        """List the watches; one that is over counts until `take_ended` has removed it."""
        # An image that has become too old meanwhile gives no watch a turn.
        ready = [watch for watch, _ in self._find_unseen(now_s, find_image)]
        return tuple(
            WatchState(
                id=watch.request.id,
                text=watch.request.text,
                camera=watch.camera,
                rate_hz=watch.request.rate_hz,
                remaining_s=_count_remaining_s(watch, now_s),
                waits_s=_count_waits_s(watch, now_s) if watch in ready else 0.0,
                result_count=watch.result_count,
                watch_mode=watch.request.watch_mode,
            )
            for watch in self._watches
        )

    def _find_unseen(
        self, now_s: float, find_image: FindImage
    ) -> list[tuple[Watch, BufferedImage]]:
        unseen = []
        for watch in self._watches:
            image = find_image(watch.camera)
            if image is not None and image.number != watch.seen_number and now_s < watch.ends_s:
                unseen.append((watch, image))
        return unseen

    def _remove(self, is_meant: Callable[[Watch], bool]) -> list[Watch]:
        meant = [watch for watch in self._watches if is_meant(watch)]
        self._watches = [watch for watch in self._watches if watch not in meant]
        return meant


def _count_waits_s(watch: Watch, now_s: float) -> float:
    if watch.ready_since_s is None:
        return 0.0
    return max(0.0, now_s - max(watch.ready_since_s, watch.due_s))


def _count_remaining_s(watch: Watch, now_s: float) -> float:
    if math.isinf(watch.ends_s):
        return 0.0
    # Never 0, which means that it does not end.
    return max(watch.ends_s - now_s, 1e-3)
