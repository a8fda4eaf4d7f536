"""A perceiver without a network: the words say what it answers, the test says when."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    StageEvent,
    TextEvent,
)

#: Words of a command that open a route.
WORDS = {
    "find": Route.DETECT,
    "point": Route.GROUND,
    "segment": Route.SEGMENT,
    "pose": Route.POSE,
    "paint": Route.GENERATE,
    "change": Route.EDIT,
}
PATIENCE_S = 30.0


class ScriptedPerceiver:
    """Opens the routes that the words of a command name; "fail" and "crash" do what they say.

    Attributes:
        seen: the frames and commands it was asked about, in order.
        may_answer: cleared, every run waits for it, yielding a word now and then.
        is_running: set while a run waits.
        closed_count: runs that were closed before their end.
    """

    def __init__(self) -> None:
        self.info = ModelInfo("scripted", "0123abcd", "numpy", "cpu", tuple(Route))
        self.seen: list[tuple[Frame, Command]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_running = threading.Event()
        self.closed_count = 0

    def run(self, frame: Frame, command: Command) -> Iterator[Event]:
        self.seen.append((frame, command))
        if "fail" in command.text:
            raise EngineError("the engine is out of memory")
        if "crash" in command.text:
            raise ZeroDivisionError("a bug")
        routes = tuple(route for word, route in WORDS.items() if word in command.text)
        try:
            yield StageEvent("language")
            while not self.may_answer.wait(0.005):
                self.is_running.set()
                yield TextEvent("still thinking", routes)
        except GeneratorExit:
            self.closed_count += 1
            raise
        finally:
            self.is_running.clear()
        branches = tuple(Branch(route, ("mug", "bowl"), make_detections(frame)) for route in routes)
        yield ResultEvent(
            Result(
                command_id=command.id,
                stamp_ns=frame.stamp_ns,
                frame_id=frame.frame_id,
                text=f"answer to: {command.text}",
                branches=branches,
                stage_ms={"language": 1.5},
            )
        )


def make_detections(frame: Frame) -> Detections:
    """Two things in any picture of 8x8 pixels and more; the first mask has a hole."""
    masks = np.zeros((2, *frame.frame_hw), np.bool_)
    masks[0, 1:6, 1:6] = True
    masks[0, 3, 3] = False
    masks[1, 4:8, 4:8] = True
    return Detections(
        boxes_xyxy=np.array([[1, 1, 6, 6], [4, 4, 8, 8]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        class_ids=np.array([0, 1]),
        labels=("mug", "bowl"),
        masks=masks,
    )
