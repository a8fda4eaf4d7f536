"""Decide what the node does next: which request runs, has expired or is canceled.

Decisions only, all of them at a time that the caller passes: no thread, lock or callback. Times
are seconds of the node's clock where nothing else is said.
"""

from __future__ import annotations

import math
from dataclasses import replace

from vl2_ros.errors import InputError
from vl2_ros.node.cameras.camera_buffer import HISTORY_BYTES, BufferedImage, CameraBuffer
from vl2_ros.node.clock import Moment
from vl2_ros.node.guarded import describe_error, error_text
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.reports import WatchState
from vl2_ros.node.request import Answer, Mode, Request, Status, StoredImage
from vl2_ros.node.scheduling.attempt import Attempt
from vl2_ros.node.scheduling.command_queue import CommandQueue
from vl2_ros.node.scheduling.jobs import Ask, Job, Watch
from vl2_ros.node.scheduling.watches import WatchList
from vl2_ros.structures import Command

#: Prefix of the id of a command that is refused because of its id.
REFUSED = "refused:"

#: A request and an answer to it, ready to be delivered.
Reply = tuple[Job, Answer]


class Schedule:
    """Cameras, waiting asks, watches, and the one job that runs.

    Args:
        parameters: of the node.
    """

    def __init__(self, parameters: NodeParameters) -> None:
        """Start empty and closed."""
        self.parameters = parameters
        self.cameras = {name: CameraBuffer(name) for name in parameters.cameras}
        self.queue = CommandQueue(parameters.queue_size)
        self.watches = WatchList()
        self.running: Job | None = None
        self.is_open = False
        self._is_watch_next = False

    def put_image(self, camera: str, image: StoredImage, now_s: float) -> None:
        """Store an image.

        Raises:
            InputError: if there is no such camera.
        """
        buffer = self.cameras.get(camera)
        if buffer is None:
            raise InputError(self._describe_unknown(camera))
        was_fresh = self._find_image(camera, now_s) is not None
        if buffer.put(image, now_s):
            self.watches.note_image(camera, now_s, is_first=not was_fresh)

    def admit(self, request: Request, now_s: float) -> tuple[Job, Answer | None]:
        """Accept a request, or refuse it with a reason.

        Returns:
            The job, and None when it was accepted; otherwise a BUSY or INVALID answer to it. Where
            another command has the id, the answer has it behind `REFUSED`, so that the other one
            keeps its one last result.
        """
        job = self._make_job(request, now_s)
        if self.has(request.id):
            message = (
                f"a command with the id {request.id!r} waits, runs or watches already; choose "
                "another id or stop that one first"
            )
            answer = job.make_answer(Status.INVALID, message)
            return job, replace(answer, request_id=refuse_id(request.id))
        refusal = self._find_fault(job) or self._find_excess(job)
        if refusal is not None:
            return job, job.make_answer(*refusal)
        if isinstance(job, Watch):
            self.watches.add(job)
        elif isinstance(job, Ask):
            self.queue.add(job)
        return job, None

    def take_next(self, now: Moment) -> tuple[Job, BufferedImage] | None:
        """Choose what runs now; None when nothing can.

        Asks run before watches, but after an ask it is the turn of a watch that is due, so that
        senders that ask again at once do not starve it.
        """

        def find_image(camera: str) -> BufferedImage | None:
            return self._find_image(camera, now.s)

        sources = [self.queue.take, self.watches.take]
        if self._is_watch_next:
            sources.reverse()
        task = sources[0](now.s, find_image) or sources[1](now.s, find_image)
        if task is None:
            return None
        job, image = task
        self._is_watch_next = isinstance(job, Ask)
        self.running = job
        job.stage, job.active_s, job.image = "queue", now.wall_s, image.image
        self.cameras[job.camera].mark_used(image)
        return job, image

    def find_next_due_s(self, now_s: float) -> float:
        """Return when something can run that can not yet, if nothing new comes."""
        return self.watches.find_next_due_s(now_s, lambda camera: self._find_image(camera, now_s))

    def find_next_deadline(self) -> Moment:
        """Return when an ask expires or a watch ends next, and when what runs is to be given up."""
        running = self.running
        next_s = min(self.queue.find_next_deadline_s(), self.watches.find_next_end_s())
        if running is None or running.is_answered or running.is_delivering:
            return Moment(next_s, math.inf)
        if isinstance(running, Ask) and math.isinf(running.answer_by_s):
            next_s = min(next_s, running.expires_s)
        return Moment(next_s, running.answer_by_s)

    def is_stopped(self, job: Job, now_s: float) -> bool:
        """Return whether a running job must stop."""
        if job.is_answered or job.stop_message is not None:
            return True
        return isinstance(job, Ask) and now_s >= job.expires_s

    def settle(
        self, attempt: Attempt, failure: BaseException | None, now_s: float
    ) -> Answer | None:
        """Return the answer of an attempt; None when none is due any more."""
        job = attempt.job
        if job.is_answered:
            return None
        if isinstance(job, Watch) and job.stop_message is not None:
            return None
        status, message = self._judge(attempt, failure, now_s)
        job.is_answered = isinstance(job, Ask)
        sequence = 0
        if isinstance(job, Watch):
            # Its end waits until this is out, as nothing may come after it.
            job.is_delivering = True
            sequence = job.result_count
            job.result_count += 1
            if attempt.result is not None:  # a frame that failed does not end a track
                job.keep(attempt.memory, attempt.result)
        return job.make_answer(
            status,
            message,
            image=job.image,
            frame=attempt.frame,
            space=attempt.space,
            result=attempt.result if status is Status.OK else None,
            is_final=isinstance(job, Ask),
            sequence=sequence,
            stage_ms=attempt.stage_ms,
        )

    def abort(self, job: Job, message: str) -> list[Reply]:
        """Note that a job failed outside of its attempt; a watch continues."""
        replies = self.finish(job)
        if isinstance(job, Ask) and not job.is_answered:
            job.is_answered = True
            replies.append((job, job.make_answer(Status.FAILED, message, image=job.image)))
        return replies

    def finish(self, job: Job) -> list[Reply]:
        """Note that a job does not run any more; a stopped watch is answered ENDED."""
        self.running = None
        job.is_delivering = False
        if isinstance(job, Watch) and job.stop_message is not None and not job.is_answered:
            job.is_answered = True
            return [(job, self._end(job, job.stop_message))]
        return []

    def take_overdue(self, now: Moment) -> list[Reply]:
        """Remove what waited too long and what has lasted long enough; give up what hangs."""
        replies: list[Reply] = [
            (ask, ask.make_answer(Status.EXPIRED, self._explain_expiry(ask, now.s)))
            for ask in self.queue.take_expired(now.s)
        ]
        for watch in self.watches.take_ended(now.s):
            message = f"its duration_s of {watch.request.duration_s:g} s is over"
            replies += self._stop_watch(watch, message, now.wall_s)
        running = self.running
        if isinstance(running, Ask) and now.s >= running.expires_s:
            running.stop_soon(now.wall_s)
        if running is not None and not running.is_delivering and now.wall_s >= running.answer_by_s:
            replies += self.give_up_running()
        return replies

    def give_up_running(self) -> list[Reply]:
        """Answer the running job without waiting for it; its later result is dropped."""
        job = self.running
        if job is None or job.is_answered:
            return []
        job.is_answered = True
        if isinstance(job, Watch):
            return [(job, self._end(job, job.stop_message or "given up"))]
        status, message = Status.CANCELED, job.stop_message or "given up"
        if isinstance(job, Ask) and job.stop_message is None:
            status, message = Status.EXPIRED, _explain_late(job)
        return [(job, job.make_answer(status, message, image=job.image))]

    def cancel(self, request_id: str, message: str, wall_s: float) -> tuple[int, list[Reply]]:
        """End the command or watch of this id, or all of them when it is empty.

        Args:
            request_id: of the command or watch.
            message: of its answer.
            wall_s: the wall's seconds; what runs and does not stop is given up a while after.

        Returns:
            How many were ended, and the answers to those that do not run; one that runs is
            answered when it has stopped.
        """
        asks = self.queue.take_named(request_id)
        replies: list[Reply] = [(ask, ask.make_answer(Status.CANCELED, message)) for ask in asks]
        watches = self.watches.take_named(request_id)
        for watch in watches:
            replies += self._stop_watch(watch, message, wall_s)
        count = len(asks) + len(watches)
        running = self.running
        is_meant = running is not None and request_id in ("", running.request.id)
        if isinstance(running, Ask) and is_meant and running.is_unsettled:
            running.stop_message = message
            running.stop_soon(wall_s)
            count += 1
        return count, replies

    def has(self, request_id: str) -> bool:
        """Return whether a command of this id waits, runs or watches."""
        running = self.running
        # A running watch is on the list until it is stopped; who has stopped it may use its id.
        is_running = (
            isinstance(running, Ask) and running.is_unsettled and running.request.id == request_id
        )
        return is_running or self.queue.has(request_id) or self.watches.has(request_id)

    def describe_watches(self, now_s: float) -> tuple[WatchState, ...]:
        """List the standing commands in the order they were given."""
        return self.watches.describe(now_s, lambda camera: self._find_image(camera, now_s))

    def keep_history(self, is_kept: bool) -> None:
        """Keep the images of the last seconds for asks about a past one, or keep none."""
        for buffer in self.cameras.values():
            buffer.keep_history(HISTORY_BYTES // len(self.cameras) if is_kept else 0)

    def clear_cameras(self) -> None:
        """Drop all images."""
        for buffer in self.cameras.values():
            buffer.clear()

    def _make_job(self, request: Request, now_s: float) -> Job:
        camera = request.camera or self.parameters.cameras[0]
        images = tuple(BufferedImage(image) for image in request.images)
        if request.mode is Mode.WATCH:
            return Watch(request=request, camera=camera, waits_since_s=now_s, images=images)
        return Ask(
            request=request,
            camera=camera,
            waits_since_s=now_s,
            images=images,
            limit_s=request.deadline_s or self.parameters.command_deadline_s,
            past_image=self._find_past(camera, request.image_age_s, now_s),
        )

    def _find_past(self, camera: str, age_s: float, now_s: float) -> BufferedImage | None:
        if not age_s or camera not in self.cameras:
            return None
        return self.cameras[camera].find_past(now_s - age_s, self.parameters.max_frame_age_s)

    def _find_fault(self, job: Job) -> tuple[Status, str] | None:
        request = job.request
        if request.mode is Mode.STOP:
            return Status.INVALID, "STOP ends requests and is none; cancel them by their id"
        if request.id.startswith(REFUSED):
            return Status.INVALID, f"ids that begin with {REFUSED} are the node's; choose another"
        if job.camera not in self.cameras:
            return Status.INVALID, self._describe_unknown(job.camera)
        threshold = request.score_threshold
        try:
            Command(request.text, score_threshold=0.0 if threshold is None else threshold)
        except InputError as error:
            return Status.INVALID, str(error)
        return None

    def _find_excess(self, job: Job) -> tuple[Status, str] | None:
        if not self.is_open:
            return Status.BUSY, "the node is stopped; start it and ask again"
        most = self.parameters.max_watches
        if isinstance(job, Watch) and len(self.watches) >= most:
            there = len(self.watches)
            return Status.BUSY, f"{there} watches are there, at most {most} (max_watches); stop one"
        if isinstance(job, Ask) and self.queue.is_full:
            return (
                Status.BUSY,
                f"{len(self.queue)} commands wait, no more are accepted; ask again later",
            )
        occupied = self.queue.size_bytes + self.watches.size_bytes
        size, limit_mb = job.request.size_bytes, self.parameters.queue_mb
        if size and occupied + size > limit_mb * 1e6:
            return Status.BUSY, (
                f"waiting commands and watches have {occupied / 1e6:.1f} MB of images and visual "
                f"prompts, {size / 1e6:.1f} MB more are over queue_mb of {limit_mb:g}; ask again "
                "later or send smaller images"
            )
        return None

    def _find_image(self, camera: str, now_s: float) -> BufferedImage | None:
        return self.cameras[camera].find_fresh(now_s, self.parameters.max_frame_age_s)

    def _judge(
        self, attempt: Attempt, failure: BaseException | None, now_s: float
    ) -> tuple[Status, str]:
        job = attempt.job
        if job.stop_message is not None:
            return Status.CANCELED, job.stop_message
        if isinstance(failure, InputError):
            return Status.INVALID, error_text(failure)
        if failure is not None:
            return Status.FAILED, describe_error(failure)
        if isinstance(job, Ask) and now_s >= job.expires_s:
            return Status.EXPIRED, _explain_late(job)
        return Status.OK, attempt.space_fault

    def _explain_expiry(self, ask: Ask, now_s: float) -> str:
        if ask.past_image or self._find_image(ask.camera, now_s) is not None:
            return (
                f"there was no time: other commands kept the worker busy for the {ask.limit_s:g} s "
                "of the deadline; ask again later or give a longer deadline_s"
            )
        age_s = self.cameras[ask.camera].find_age_s(now_s)
        if age_s >= ask.limit_s:
            came = f"no image came on {ask.camera} in the {ask.limit_s:g} s of the deadline"
        else:
            came = (
                f"no new image came on {ask.camera}: the last one is {age_s:.2f} s old, over "
                f"max_frame_age_s of {self.parameters.max_frame_age_s:g} s"
            )
        return f"{came}; check that the camera publishes on this topic, with this type and QoS"

    def _stop_watch(self, watch: Watch, message: str, wall_s: float) -> list[Reply]:
        """Answer a watch that was taken off the list; one that runs is answered by `finish`."""
        if watch is self.running:
            watch.stop_message = message
            watch.stop_soon(wall_s)
            return []
        return [(watch, self._end(watch, message))]

    def _end(self, watch: Watch, message: str) -> Answer:
        # The worker may keep the watch until its next task.
        watch.memory = watch.image = None
        return watch.make_answer(Status.ENDED, message, sequence=watch.result_count)

    def _describe_unknown(self, camera: str) -> str:
        return f"there is no camera {camera!r}; the node has: {', '.join(self.cameras)}"


def refuse_id(request_id: str) -> str:
    """Return the id of a refusal to what came with the id of another command.

    So every id keeps exactly one final answer.
    """
    return f"{REFUSED}{request_id}"


def _explain_late(ask: Ask) -> str:
    return (
        f"there was no time: the deadline of {ask.limit_s:g} s passed in stage {ask.stage}; give a "
        "longer deadline_s"
    )
