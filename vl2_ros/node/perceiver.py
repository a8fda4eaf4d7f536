"""What the node needs of a model: answers one command about one frame, as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vl2_ros.structures import Command, Event, Frame, ModelInfo


class Perceiver(Protocol):
    """Answers one command about one frame at a time; `Pipeline` is one.

    One that holds more than memory, such as a process, has a method `close` besides.
    """

    @property
    def info(self) -> ModelInfo:
        """Return what the model says of itself."""

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Yield what happens, last one ResultEvent; closing the iterator stops the run.

        A stage may be reported again while nothing new happens. The perceiver keeps no state
        between runs: what it needs of earlier frames is in `memory`, which the caller owns.

        Args:
            frame: the image.
            command: the sentence and its limits.
            memory: of the last ResultEvent of the same watch; None begins anew. A run leaves it as
                it is and returns another, so that a run that fails has changed nothing.
        """


def close_perceiver(perceiver: Perceiver) -> None:
    """End what a perceiver holds; one that holds memory alone needs nothing."""
    getattr(perceiver, "close", lambda: None)()
