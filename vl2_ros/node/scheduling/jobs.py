"""A request inside of the node: an ask or a watch, with its times and listeners."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from vl2_ros.node.cameras.camera_buffer import BufferedImage
from vl2_ros.node.request import Answer, Request, Status, StoredImage
from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import Event, Frame, Result

#: Seconds that a stopped job has to end by itself; then it is answered all the same.
GRACE_S = 0.5


@dataclass(slots=True, eq=False, kw_only=True)
class Job:
    """The common part of asks and watches. Times are seconds of the node's clock, or of the wall.

    Attributes:
        request: as received.
        camera: its camera.
        waits_since_s: when it began to wait for the worker.
        on_event: called with each stage, word and step.
        on_answer: called with each answer.
        images: further images of the request.
        stop_message: why it must stop; None while it may continue.
        answer_by_s: once it must stop, its last answer is due then, whatever it is doing; of the
            wall, as what hangs does so while simulated time stands still as well.
        is_answered: its last answer is made.
        is_delivering: an answer that is not its last is on its way out, while it runs.
        stage: the last one that began, while it runs.
        active_s: when it last made progress: it began, or an event came; of the wall.
        image: the one that it is about, once it has begun; of a watch the last one.
    """

    request: Request
    camera: str
    waits_since_s: float
    on_event: Callable[[Event], None] | None = None
    on_answer: Callable[[Answer], None] | None = None
    images: tuple[BufferedImage, ...] = ()
    stop_message: str | None = None
    answer_by_s: float = math.inf
    is_answered: bool = False
    is_delivering: bool = False
    stage: str = "queue"
    active_s: float = 0.0
    image: StoredImage | None = None

    def stop_soon(self, wall_s: float) -> None:
        """Set when its last answer is due, now that it must stop; the first call counts."""
        self.answer_by_s = min(self.answer_by_s, wall_s + GRACE_S)

    def make_answer(
        self,
        status: Status,
        message: str = "",
        *,
        image: StoredImage | None = None,
        frame: Frame | None = None,
        space: SpatialView | None = None,
        result: Result | None = None,
        is_final: bool = True,
        sequence: int = 0,
        stage_ms: Mapping[str, float] | None = None,
    ) -> Answer:
        """Make an answer to this request; the arguments are the fields of `Answer`."""
        return Answer(
            request_id=self.request.id,
            text=self.request.text,
            camera=self.camera,
            status=status,
            message=message,
            image=image,
            frame=frame,
            space=space,
            result=result,
            is_final=is_final,
            sequence=sequence,
            stage_ms=dict(stage_ms or {}),
        )


@dataclass(slots=True, eq=False, kw_only=True)
class Ask(Job):
    """A command that is answered once.

    Attributes:
        limit_s: seconds from arrival within which the answer is useful.
        past_image: that it is about; None: about the newest when it runs.
        expires_s: end of that time.
    """

    limit_s: float
    past_image: BufferedImage | None = None
    expires_s: float = field(init=False)

    def __post_init__(self) -> None:
        """Count the deadline from arrival."""
        self.expires_s = self.waits_since_s + self.limit_s

    @property
    def is_unsettled(self) -> bool:
        """Return whether it can still be canceled."""
        return not self.is_answered and self.stop_message is None


@dataclass(slots=True, eq=False, kw_only=True)
class Watch(Job):
    """A command that is answered repeatedly.

    Attributes:
        due_s: earliest time of its next turn.
        ends_s: it ends by itself then.
        seen_number: of the last image that it used.
        last_turn: turn of the worker that it had last; 0 when it had none.
        ready_since_s: since when there is an image that it has not used; None while there is
            none.
        result_count: results so far.
        memory: what the perceiver keeps from the last frame that it answered; None before the
            first one and once the watch has ended.
        next_track_id: one past the ids of its tracks so far, also of those that a perceiver has
            forgotten because its process was restarted.
    """

    due_s: float = field(init=False)
    ends_s: float = field(init=False)
    seen_number: int = 0
    last_turn: int = 0
    ready_since_s: float | None = None
    result_count: int = 0
    memory: object = None
    next_track_id: int = 1

    def __post_init__(self) -> None:
        """Be due at once, and end after the duration."""
        self.due_s = self.waits_since_s
        self.ends_s = self.waits_since_s + (self.request.duration_s or math.inf)

    def keep(self, memory: object, result: Result) -> None:
        """Keep what the next frame needs of an answer."""
        self.memory = memory
        for branch in result.branches:
            if branch.detections.track_ids is not None:
                most = int(branch.detections.track_ids.max(initial=0))
                self.next_track_id = max(self.next_track_id, most + 1)

    def plan_next(self, now_s: float) -> None:
        """Set when the next turn is due, after one that begins now.

        Due times lie a period apart, so that small delays do not add up. After a delay of more
        than half a period they move on instead of being made up for.
        """
        if self.request.rate_hz:
            period_s = 1.0 / self.request.rate_hz
            self.due_s = max(self.due_s + period_s, now_s + 0.5 * period_s)
