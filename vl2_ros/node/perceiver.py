"""What the node needs of a model: answers one command about one frame, as a stream of events."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from vl2_ros.structures import Command, Event, Frame, ModelInfo


class Perceiver(Protocol):
    """Answers one command about one frame at a time; `Pipeline` is one."""

    @property
    def info(self) -> ModelInfo:
        """Return what answers; its identity may become known later."""

    def run(self, frame: Frame, command: Command) -> Iterator[Event]:
        """Yield what happens, last one ResultEvent; closing the iterator stops the run."""
