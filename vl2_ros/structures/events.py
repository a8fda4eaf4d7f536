"""Events that a run reports while it lasts."""

from __future__ import annotations

from dataclasses import dataclass

from vl2_ros.structures.result import Result
from vl2_ros.structures.route import Route


@dataclass(frozen=True, slots=True)
class StageEvent:
    """A stage of the flow has begun: preprocess, vision, language, detection, diffusion.

    Where the model has a process of its own, also restart and wait, and each again while it lasts.
    """

    stage: str


@dataclass(frozen=True, slots=True)
class TextEvent:
    """The answer has grown to `text` and has opened `routes` so far."""

    text: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class ProgressEvent:
    """`step` of `steps` in a long stage is done, 1 first."""

    stage: str
    step: int
    steps: int


@dataclass(frozen=True, slots=True, eq=False)
class ResultEvent:
    """The last event of a run.

    Attributes:
        result: the answer.
        memory: what the perceiver keeps for the next frame of the same watch, known to it alone;
            None where it keeps nothing.
    """

    result: Result
    memory: object = None


Event = StageEvent | TextEvent | ProgressEvent | ResultEvent
