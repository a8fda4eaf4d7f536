"""Merge parts of a recording by time, opening each part only when it is needed."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol, TypeVar


class TimedMessage(NamedTuple):
    """One message as stored.

    Attributes:
        time_ns: when it was recorded, nanoseconds since the epoch.
        key: of its topic.
        data: its bytes.
    """

    time_ns: int
    key: int
    data: bytes


class Timed(Protocol):
    """An item with a time, in nanoseconds since the epoch."""

    @property
    def time_ns(self) -> int:
        """Return when it was recorded."""


T = TypeVar("T", bound=Timed)


def merge_in_time(parts: Iterable[tuple[int, Callable[[], Iterator[T]]]]) -> Iterator[T]:
    """Merge messages by their time; those of one time stay in the order of their parts.

    Args:
        parts: time of the first message of each, and a function that opens it in order of time.
    """
    openers: list[Callable[[], Iterator[T]]] = []
    heap: list[tuple[int, int]] = []
    for index, (start_ns, open_part) in enumerate(parts):
        openers.append(open_part)
        heap.append((start_ns, index))
    heapq.heapify(heap)
    begun: dict[int, tuple[T, Iterator[T]]] = {}
    while heap:
        _, index = heapq.heappop(heap)
        if index in begun:
            message, source = begun.pop(index)
            yield message
        else:
            source = openers[index]()
        following = next(source, None)
        if following is not None:
            begun[index] = (following, source)
            heapq.heappush(heap, (following.time_ns, index))
