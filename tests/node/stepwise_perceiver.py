"""A perceiver that a test holds and lets go step by step, and a log of a node's answers."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.request import Answer, Request, Status, StoredImage
from vl2_ros.structures import (
    Command,
    Event,
    Frame,
    ModelInfo,
    ProgressEvent,
    Result,
    ResultEvent,
    Route,
    StageEvent,
    TextEvent,
)

#: Long enough for any machine; no test that passes waits for it.
PATIENCE_S = 30.0
STEPS = 3


@dataclass(frozen=True)
class FrameCount:
    """How many frames a watch has seen, and which watch."""

    frames: int
    watch: str


@dataclass
class StepwisePerceiver:
    """Answers `saw <stamp>` after three steps; while held, each step needs a permit.

    A command whose text is a key of `failures` raises that instead. The steps are words, or
    denoising steps where it `draws`. Its memory is the number of frames so far; `memories` has
    what each run was given.
    """

    failures: dict[str, Exception] = field(default_factory=dict)
    draws: bool = False
    info: ModelInfo = ModelInfo("stepwise", "0123", "none", "cpu", (Route.ANSWER,))

    def __post_init__(self) -> None:
        self.runs: list[tuple[str, int]] = []
        self.commands: list[Command] = []
        self.memories: list[object] = []
        self.steps = 0
        self.closed = 0
        self._is_held = False
        self._permits = 0
        self._changed = threading.Condition()

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        # Kept, so that nothing but a call of close ends it early.
        self._events = self._answer(frame, command, memory)
        return self._events

    def _answer(self, frame: Frame, command: Command, memory: object) -> Iterator[Event]:
        self.runs.append((command.id, frame.stamp_ns))
        self.commands.append(command)
        self.memories.append(memory)
        assert memory is None or isinstance(memory, FrameCount)
        try:
            yield StageEvent("diffusion" if self.draws else "language")
            if command.text in self.failures:
                raise self.failures[command.text]
            for step in range(STEPS):
                self._step()
                if self.draws:
                    yield ProgressEvent("diffusion", step + 1, STEPS)
                else:
                    yield TextEvent(" ".join(["word"] * (step + 1)), ())
            yield ResultEvent(
                Result(
                    command_id=command.id,
                    stamp_ns=frame.stamp_ns,
                    frame_id=frame.frame_id,
                    text=f"saw {frame.stamp_ns}",
                    stage_ms={"language": 1.0},
                ),
                FrameCount(memory.frames + 1 if memory else 1, command.id),
            )
        finally:
            self.closed += 1

    def _step(self) -> None:
        with self._changed:
            self.steps += 1
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: not self._is_held or self._permits, PATIENCE_S)
            self._permits = max(0, self._permits - 1)

    def hold(self) -> None:
        with self._changed:
            self._is_held, self._permits = True, 0

    def allow_step(self) -> None:
        with self._changed:
            self._permits += 1
            self._changed.notify_all()

    def go(self) -> None:
        with self._changed:
            self._is_held = False
            self._changed.notify_all()

    def wait_for_steps(self, count: int) -> None:
        """Wait until so many steps have begun since the start."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.steps >= count, PATIENCE_S), self.runs


class AnswerLog:
    """Keeps answers in the order of arrival, with the thread that brought them."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.threads: list[threading.Thread] = []
        self._changed = threading.Condition()

    def __call__(self, answer: Answer) -> None:
        with self._changed:
            self.answers.append(answer)
            self.threads.append(threading.current_thread())
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[Answer]:
        with self._changed:
            is_there = self._changed.wait_for(lambda: len(self.answers) >= count, PATIENCE_S)
            assert is_there, f"expected {count} answers, got {self.statuses()}"
            return list(self.answers)

    def wait_for_final(self, request_id: str) -> Answer:
        def find() -> list[Answer]:
            return [a for a in self.answers if a.request_id == request_id and a.is_final]

        with self._changed:
            assert self._changed.wait_for(find, PATIENCE_S), self.statuses()
            return find()[0]

    def statuses(self) -> list[tuple[str, Status]]:
        return [(answer.request_id, answer.status) for answer in self.answers]


def make_image(
    stamp_ns: int, *, hw: tuple[int, int] = (4, 6), on_decode: Callable[[], None] | None = None
) -> StoredImage:
    def decode() -> Frame:
        if on_decode is not None:
            on_decode()
        return Frame(np.zeros((*hw, 3), np.uint8), stamp_ns, "optical")

    return StoredImage(stamp_ns, "optical", decode)


def make_broken_image(error: Exception) -> StoredImage:
    def decode() -> Frame:
        raise error

    return StoredImage(1, "optical", decode)


def ask(request_id: str, text: str = "find the mug", **fields: object) -> Request:
    return Request(text=text, id=request_id, **fields)  # type: ignore[arg-type]


@contextmanager
def running_node(
    perceiver: StepwisePerceiver, **parameters: object
) -> Iterator[tuple[PerceptionNode, AnswerLog]]:
    """A started node; images never get too old unless the test says so."""
    log = AnswerLog()
    settings = {"max_frame_age_s": 0.0, "command_deadline_s": 600.0, **parameters}
    node = PerceptionNode(perceiver, NodeParameters(**settings), log)  # type: ignore[arg-type]
    node.start()
    try:
        yield node, log
    finally:
        perceiver.go()
        node.stop()
