"""A perceiver that breaks as a command says, made in the process that is to break."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.errors import EngineError, InputError, RouteError, ShapeError
from vl2_ros.flow.watch_memory import WatchMemory, read_memory, remember_tracks
from vl2_ros.isolation import perceiver_process
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    GeneratedImage,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    StageEvent,
    TextEvent,
)

FOREVER_S = 3_600


class SpecialError(EngineError):
    """As a layer might derive it from our tree."""


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("this cannot be pickled")


def hang_with_the_interpreter() -> None:
    """Hang as native code does that does not let other threads of Python run."""
    ctypes.PyDLL(None).sleep(FOREVER_S)


def run_out_of_recursion() -> None:
    run_out_of_recursion()


def lose_the_gpu() -> None:
    """Raise as libraries do after an illegal access; the driver of this process agrees."""
    perceiver_process.is_cuda_lost = lambda: True
    raise RuntimeError("CUDA error: an illegal memory access was encountered")


def fail(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


ACTS: dict[str, Callable[[], None]] = {
    "abort": os.abort,
    "be killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "leave": lambda: os._exit(7),
    "sleep": lambda: time.sleep(FOREVER_S),
    "hang": hang_with_the_interpreter,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "input": fail(InputError("say please")),
    "shape": fail(ShapeError("expected (1, 2)")),
    "route": fail(RouteError("[GEN] is not served")),
    "special": fail(SpecialError("the graph is torn")),
    "bug": fail(ZeroDivisionError("division by zero")),
    "system exit": fail(SystemExit(3)),
    "lose the gpu": lose_the_gpu,
    "recursion": run_out_of_recursion,
}


class FrameCount:
    """A memory: how many frames there were. The process knows how many of these are alive."""

    alive: weakref.WeakSet[FrameCount] = weakref.WeakSet()

    def __init__(self, frames: int) -> None:
        self.frames = frames
        self.alive.add(self)

    def __reduce__(self) -> str:
        raise TypeError("a memory must not leave its process")


class FaultyPerceiver:
    """Does what a command says, in stage "vision"; else answers with its process and the frame.

    "count" yields words for ever; the answer's text is how many runs were closed before. What
    begins with "remember" counts frames in a memory, "remember badly" with an answer that cannot
    be pickled; "track" finds a mug and tracks it as the flow does; "memories" is answered with the
    number of memories that are alive, "frames" with how often this frame was seen and how many are
    alive.
    """

    def __init__(self, name: str = "faulty") -> None:
        self.info = ModelInfo(name, "0123", "numpy", "cpu", (Route.ANSWER,))
        self.closed = 0
        self.seen: weakref.WeakKeyDictionary[Frame, int] = weakref.WeakKeyDictionary()

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        yield StageEvent("vision")
        if command.text in ACTS:
            ACTS[command.text]()
        if command.text == "rename":
            self.info = ModelInfo("renamed", "4567", "numpy", "cpu", (Route.ANSWER,))
        if command.text == "unpicklable":
            yield TextEvent(Unpicklable(), ())  # type: ignore[arg-type]
        if command.text == "nothing":
            return
        try:
            while command.text == "count":
                time.sleep(0.002)
                yield TextEvent("word", ())
        finally:
            self.closed += command.text == "count"
        if command.text.startswith("remember"):
            assert memory is None or isinstance(memory, FrameCount)
            kept = FrameCount(memory.frames + 1 if memory else 1)
            said: Any = Unpicklable() if command.text == "remember badly" else f"{kept.frames}"
            yield ResultEvent(Result(command.id, frame.stamp_ns, "", said), kept)
            return
        if command.text == "track":
            tracked, tracks = remember_tracks(frame, command, [see_mug()], read_memory(memory))
            kept = WatchMemory(tracks)
            yield ResultEvent(Result(command.id, frame.stamp_ns, "", "", tracked), kept)
            return
        if command.text == "memories":
            yield ResultEvent(Result(command.id, frame.stamp_ns, "", f"{len(FrameCount.alive)}"))
            return
        if command.text == "frames":
            self.seen[frame] = self.seen.get(frame, 0) + 1
            text = f"{self.seen[frame]} of {len(self.seen)}"
            yield ResultEvent(Result(command.id, frame.stamp_ns, "", text))
            return
        image = GeneratedImage(Route.EDIT, frame.rgb, seed=1, steps=1, scheduler="none")
        text = f"{os.getpid()} {self.closed}"
        yield ResultEvent(Result(command.id, frame.stamp_ns, frame.frame_id, text, images=(image,)))


def see_mug() -> Branch:
    boxes = np.array([[10, 10, 30, 30]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64), ("mug",))
    return Branch(Route.DETECT, ("mug",), found)


def make_late(seconds: float) -> FaultyPerceiver:
    time.sleep(seconds)
    return FaultyPerceiver()


def make_broken(act: str) -> FaultyPerceiver:
    ACTS[act]()
    raise AssertionError("the act should have ended this")


def make_without_package() -> FaultyPerceiver:
    import a_package_that_is_not_there  # noqa: F401

    return FaultyPerceiver()


def make_at_start(folder: str, good_starts: tuple[int, ...]) -> FaultyPerceiver:
    """Load in the starts that are named, counted from 1; die in the others."""
    count = len(list(Path(folder).iterdir())) + 1
    (Path(folder) / str(count)).touch()
    if count not in good_starts:
        os.abort()
    return FaultyPerceiver(f"start {count}")


def make_frame(value: int = 7, hw: tuple[int, int] = (8, 12)) -> Frame:
    return Frame(np.full((*hw, 3), value, np.uint8), stamp_ns=5, frame_id="camera")


def hold_a_child() -> None:
    """Keep a perceiver process and print its number; the parent of a test about parents."""
    from vl2_ros.isolation.child_perceiver import ChildPerceiver

    perceiver = ChildPerceiver(FaultyPerceiver)
    events = perceiver.run(make_frame(), Command("where"))
    (text,) = [event.result.text for event in events if isinstance(event, ResultEvent)]
    hung = perceiver.run(make_frame(), Command(sys.argv[-1]))
    while next(hung) != StageEvent("vision"):
        pass
    sys.stdout.write(text.split()[0] + "\n")
    sys.stdout.flush()
    time.sleep(FOREVER_S)
