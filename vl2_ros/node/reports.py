"""Reports of the node's state: cameras, queue, watches, answers and their times."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

from vl2_ros.node.request import Answer, Status
from vl2_ros.structures import WatchMode

#: Number of last answers whose stage times are kept.
STAGE_WINDOW = 100


@dataclass(frozen=True, slots=True)
class CameraReport:
    """Images of one camera since the node was made.

    Attributes:
        name: of the camera.
        received: images that came.
        dropped: images that a newer one replaced before any command used them.
        used: images that at least one command used.
        last_age_s: seconds since the last one came; infinite when none ever did.
        rate_hz: images a second in the last seconds; 0 when fewer than two came.
    """

    name: str
    received: int
    dropped: int
    used: int
    last_age_s: float
    rate_hz: float


@dataclass(frozen=True, slots=True)
class WatchState:
    """One standing command.

    Attributes:
        id: of its request.
        text: the sentence.
        camera: the camera that it watches.
        rate_hz: most results a second; 0: one for every image.
        remaining_s: seconds until it ends by itself; 0: never.
        result_count: results so far.
        watch_mode: how images after the first are answered; None: the node's default.
        waits_s: seconds for which it has been due, with a new image, and had no turn.
    """

    id: str
    text: str
    camera: str
    rate_hz: float
    remaining_s: float
    result_count: int
    watch_mode: WatchMode | None = None
    waits_s: float = 0.0


@dataclass(frozen=True, slots=True)
class NodeReport:
    """The state of the node at one moment.

    Attributes:
        cameras: in the order of the parameter.
        queue_length: commands that wait.
        running_id: of the command that is being answered; empty when none is.
        running_stage: the stage that it is in; empty when none runs.
        idle_s: seconds since the running command last made progress; 0 when none runs.
        is_stalled: `idle_s` is over the node's stall_limit_s.
        watches: in the order they were given.
        answer_counts: answers since the node was made; every status is a key.
        unlike_count: answers about images that are unlike those of training.
        stage_mean_ms: mean time of each stage over the last answers that were OK.
        stage_max_ms: longest time of each stage over the same answers.
        is_worker_alive: the worker and the timekeeper run.
        last_error: of the perceiver or of a listener, newest; empty when none failed.
    """

    cameras: tuple[CameraReport, ...]
    queue_length: int
    running_id: str
    running_stage: str
    idle_s: float
    is_stalled: bool
    watches: tuple[WatchState, ...]
    answer_counts: Mapping[Status, int]
    unlike_count: int
    stage_mean_ms: Mapping[str, float]
    stage_max_ms: Mapping[str, float]
    is_worker_alive: bool
    last_error: str


class AnswerStatistics:
    """Counts answers and keeps the stage times of the last ones."""

    def __init__(self) -> None:
        """Start at zero."""
        self._counts: Counter[Status] = Counter()
        self.unlike_count = 0
        self._stage_ms: deque[Mapping[str, float]] = deque(maxlen=STAGE_WINDOW)

    def add(self, answer: Answer) -> None:
        """Count one answer; stage times only of one that is OK, as others stopped midway."""
        self._counts[answer.status] += 1
        self.unlike_count += answer.result is not None and answer.result.in_domain is False
        if answer.status is Status.OK:
            self._stage_ms.append(answer.stage_ms)

    def count(self) -> dict[Status, int]:
        """Return how many answers had each status."""
        return {status: self._counts[status] for status in Status}

    def mean_ms(self) -> dict[str, float]:
        """Return the mean time of each stage, over the answers that had it."""
        return {stage: sum(times) / len(times) for stage, times in self._collect().items()}

    def max_ms(self) -> dict[str, float]:
        """Return the longest time of each stage."""
        return {stage: max(times) for stage, times in self._collect().items()}

    def _collect(self) -> dict[str, list[float]]:
        collected: dict[str, list[float]] = {}
        for stage_ms in self._stage_ms:
            for stage, spent_ms in stage_ms.items():
                collected.setdefault(stage, []).append(spent_ms)
        return collected
