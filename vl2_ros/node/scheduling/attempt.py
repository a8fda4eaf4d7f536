"""One command about one image: decode, check, run the perceiver, stop on request."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from vl2_ros.errors import EngineError, InputError, TransportError
from vl2_ros.node.cameras.camera_buffer import BufferedImage
from vl2_ros.node.frames.target_frame import TargetFrame
from vl2_ros.node.guarded import catch_failure, error_text
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.scheduling.jobs import Job, Watch
from vl2_ros.processing.results.spatial import SpatialView
from vl2_ros.structures import (
    Command,
    Event,
    Frame,
    Result,
    ResultEvent,
    StageEvent,
    TrackingOptions,
    WatchMode,
    WatchOptions,
)


@dataclass(slots=True, eq=False, kw_only=True)
class Attempt:
    """Runs a job on an image and keeps its outcome, also when it fails midway.

    Attributes:
        job: the command.
        image: that it is about.
        perceiver: answers.
        parameters: of the node, as they were when the attempt began.
        is_stopped: called before each step; True ends the attempt without a result.
        log: receives failures of listeners.
        target_frame: where 3-D results are published; None: in the optical frame.
        stage_ms: wall time of each stage in milliseconds, queue and decode included.
        frame: the decoded image; None when it could not be decoded.
        space: calibration and depth of the image; None when there is no depth for it.
        space_fault: why instances that were found have no place in space, or none in the target
            frame; empty when they have, and where neither depth nor instances were to be expected.
        result: the answer; None when there is none.
        memory: what the perceiver keeps for the next frame; None when there is no answer.
    """

    job: Job
    image: BufferedImage
    perceiver: Perceiver
    parameters: NodeParameters
    is_stopped: Callable[[], bool]
    log: RepeatedLog
    target_frame: TargetFrame | None = None
    stage_ms: dict[str, float] = field(default_factory=dict)
    frame: Frame | None = None
    space: SpatialView | None = None
    space_fault: str = ""
    result: Result | None = None
    memory: object = None

    def run(self) -> None:
        """Answer, or stop.

        Raises:
            InputError: if an image or the command cannot be used.
            BaseException: what the perceiver raises, a panic of a native library included; the
                worker catches it with `guarded.catch_failure`.
        """
        if self.is_stopped():
            return
        self._notify(StageEvent("decode"))
        began_s = time.perf_counter()
        self.frame = _decode(self.image, f"the image of camera {self.job.camera}")
        images = tuple(
            _decode(image, f"image {index} of the command")
            for index, image in enumerate(self.job.images, start=1)
        )
        self.stage_ms["decode"] = (time.perf_counter() - began_s) * 1e3
        command = self._make_command(images)
        command.check_prompts(self.frame)
        memory = self.job.memory if isinstance(self.job, Watch) else None
        self._follow(self.perceiver.run(self.frame, command, memory))
        # Last: depth comes a little later than its image.
        self._read_space(self.frame)

    def _read_space(self, frame: Frame) -> None:
        # Without it the answer about the image itself is still right: no reason to fail.
        camera = f"camera {self.job.camera}"
        branches = self.result.branches if self.result is not None else ()
        found = [branch.detections for branch in branches if len(branch.detections)]
        try:
            self.space = self.image.image.read_space(frame.frame_hw)
        except InputError as error:
            if found:
                self.space_fault = f"nothing is placed in space: {camera}: {error}"
        if self.space is not None:
            if unseen := self.space.explain_unseen(found):
                self.space_fault = f"not everything is placed in space: {camera}: {unseen}"
            self._move_space(frame, self.space)

    def _move_space(self, frame: Frame, space: SpatialView) -> None:
        """Move what was measured into the target frame, if an answer has anything in space."""
        if self.target_frame is None or not (self.result and self.result.branches):
            return
        self.space, missing = self.target_frame.place(
            space,
            frame.frame_id,
            frame.stamp_ns,
            self.parameters.transform_timeout_s,
            self.is_stopped,
        )
        self.space_fault = "; ".join(one for one in (self.space_fault, missing) if one)

    def _make_command(self, images: tuple[Frame, ...]) -> Command:
        request, parameters = self.job.request, self.parameters
        threshold = request.score_threshold
        return Command(
            text=request.text,
            id=request.id,
            score_threshold=parameters.score_threshold if threshold is None else threshold,
            max_instances=parameters.max_instances,
            max_new_tokens=parameters.max_new_tokens,
            visual_prompts=request.visual_prompts,
            images=images,
            image_options=parameters.fill_image_options(request.image_options),
            tracking=self._choose_tracking(),
            watching=self._choose_watching(),
        )

    def _choose_watching(self) -> WatchOptions:
        mode = self.job.request.watch_mode
        if mode is None and self.parameters.watch_mode != "default":
            mode = WatchMode[self.parameters.watch_mode.upper()]
        return WatchOptions(mode, self.parameters.watch_refresh_frames)

    def _choose_tracking(self) -> TrackingOptions | None:
        parameters, job = self.parameters, self.job
        if not (isinstance(job, Watch) and parameters.tracking):
            return None
        return TrackingOptions(parameters.track_hidden_frames, job.next_track_id)

    def _follow(self, events: Iterator[Event]) -> None:
        try:
            while not self.is_stopped():
                event = next(events, None)
                if event is None:
                    raise EngineError("the perceiver ended without a result")
                if isinstance(event, ResultEvent):
                    self.result, self.memory = event.result, event.memory
                    self.stage_ms.update(event.result.stage_ms)
                    return
                self._notify(event)
        finally:
            # An iterator that is no generator has nothing to close.
            getattr(events, "close", lambda: None)()

    def _notify(self, event: Event) -> None:
        # A stage that is reported again is no sign of progress.
        if not isinstance(event, StageEvent):
            self.job.active_s = time.monotonic()
        elif event.stage != self.job.stage:
            self.job.stage, self.job.active_s = event.stage, time.monotonic()
        on_event = self.job.on_event
        if on_event is None or self.is_stopped():
            return
        failure = catch_failure("a listener to events", lambda: on_event(event), self.log)
        if failure is not None:
            self.log.log(
                logging.ERROR,
                "events",
                "a listener to events of %r failed: %s",
                self.job.request.id,
                error_text(failure),
            )


def _decode(image: BufferedImage, name: str) -> Frame:
    try:
        return image.decode()
    except (InputError, TransportError) as error:
        raise InputError(f"{name} cannot be used: {error}") from error
