"""A perceiver without a network: the words say what it answers, the test says when."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace

import numpy as np

from vl2_ros.errors import EngineError, RouteError
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    GeneratedImage,
    Masks,
    ModelInfo,
    ProgressEvent,
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
IMAGE_ROUTES = (Route.GENERATE, Route.EDIT)
#: Denoising steps of an image, unless a command says otherwise.
STEPS = 4
PATIENCE_S = 30.0


class ScriptedPerceiver:
    """Opens the routes that the words of a command name; "fail" and "crash" do what they say.

    Attributes:
        seen: the frames and commands it was asked about, in order.
        may_answer: cleared, every run waits for it, yielding a word now and then.
        is_running: set while a run waits.
        may_end: cleared, a run waits for it after its denoising steps.
        closed_count: runs that were closed before their end.
        steps_done: denoising steps of all runs.
        without: routes that are switched off.
        track_ids: of the two instances of every branch, (2,) int64; None: not tracked.
    """

    def __init__(self) -> None:
        self.info = ModelInfo(
            "scripted", "0123abcd", "numpy", "cpu", tuple(Route), names=("mug", "bowl")
        )
        self.seen: list[tuple[Frame, Command]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.is_running = threading.Event()
        self.may_end = threading.Event()
        self.may_end.set()
        self.closed_count = 0
        self.steps_done = 0
        self.without: tuple[Route, ...] = ()
        self.track_ids: np.ndarray | None = None

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        self.seen.append((frame, command))
        if "fail" in command.text:
            raise EngineError("the engine is out of memory")
        if "crash" in command.text:
            raise ZeroDivisionError("a bug")
        routes = tuple(route for word, route in WORDS.items() if word in command.text)
        if set(routes) & set(self.without):
            raise RouteError("the answer opened [GEN], but image_generation is switched off")
        try:
            yield StageEvent("language")
            while not self.may_answer.wait(0.005):
                self.is_running.set()
                yield TextEvent("still thinking", routes)
            images = []
            for route in routes:
                if route in IMAGE_ROUTES:
                    images.append((yield from self._make_image(frame, command, route)))
        except GeneratorExit:
            self.closed_count += 1
            raise
        finally:
            self.is_running.clear()
        branches = tuple(
            Branch(
                route,
                ("mug", "bowl"),
                replace(make_detections(frame), track_ids=self.track_ids),
            )
            for route in routes
            if route not in IMAGE_ROUTES
        )
        yield ResultEvent(
            Result(
                command_id=command.id,
                stamp_ns=frame.stamp_ns,
                frame_id=frame.frame_id,
                text=f"answer to: {command.text}",
                branches=branches,
                stage_ms={"language": 1.5},
                images=tuple(images),
                raw_text=f"answer to: {command.text}" + "".join(one.value for one in routes),
            )
        )

    def _make_image(
        self, frame: Frame, command: Command, route: Route
    ) -> Generator[Event, None, GeneratedImage]:
        """An edit is the frame turned into its negative, a generated image is even grey."""
        options = command.image_options
        steps = options.steps or STEPS
        yield StageEvent("diffusion")
        for step in range(1, steps + 1):
            self.steps_done += 1
            yield ProgressEvent("diffusion", step, steps)
        self.may_end.wait(PATIENCE_S)
        if route is Route.EDIT:
            rgb = 255 - frame.rgb
        else:
            rgb = np.full((*(options.size_hw or (64, 96)), 3), 77, np.uint8)
        seed = 1234 if options.seed is None else options.seed
        return GeneratedImage(route, rgb, seed, steps, options.scheduler or "pndm")


def make_detections(frame: Frame) -> Detections:
    """Two things in any image of 8x8 pixels and more; the first mask has a hole."""
    masks = np.zeros((2, *frame.frame_hw), np.bool_)
    masks[0, 1:6, 1:6] = True
    masks[0, 3, 3] = False
    masks[1, 4:8, 4:8] = True
    return Detections(
        boxes_xyxy=np.array([[1, 1, 6, 6], [4, 4, 8, 8]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        class_ids=np.array([0, 1]),
        labels=("mug", "bowl"),
        masks=Masks.cut(masks),
    )
