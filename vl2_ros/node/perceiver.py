"""The interface of a model to the node: one command about one frame, a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vl2_ros.structures import Command, Event, Frame, ModelInfo


class Perceiver(Protocol):
    """Answers one command about one frame at a time; `Pipeline` is one.

    One that owns more than memory, such as a process, also has a method `close`.
    """

    @property
    def info(self) -> ModelInfo:
        """Return name, identity, backend and routes of the model."""

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Yield events, the last one a ResultEvent; closing the iterator stops the run.

        A stage may be reported again while nothing new happens. The perceiver keeps no state
        between runs: what it needs of earlier frames is in `memory`, which the caller owns.

        Args:
            frame: the image.
            command: the sentence and its limits.
            memory: of the last ResultEvent of the same watch; None starts anew. A run leaves it as
                it is and returns another, so that a run that fails has changed nothing.
        """


def close_perceiver(perceiver: Perceiver) -> None:
    """Close a perceiver; one that owns memory alone has nothing to close."""
    getattr(perceiver, "close", lambda: None)()
