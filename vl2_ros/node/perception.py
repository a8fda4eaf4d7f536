"""The node without ROS: images and requests in, answers out, one worker thread.

Callers only store and return at once. The worker takes the newest image, asks before watches; a
second thread keeps time, so that a deadline is answered while the worker is busy or hangs. Knows
no transport and no message; needs numpy alone.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import threading
import time
from collections.abc import Callable
from functools import partial

from vl2_ros.errors import ConfigError
from vl2_ros.node.cameras.camera_buffer import BufferedImage
from vl2_ros.node.clock import Moment, NodeClock
from vl2_ros.node.frames.target_frame import TargetFrame
from vl2_ros.node.guarded import catch_failure, describe_error, error_text
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.reports import AnswerStatistics, NodeReport, WatchState
from vl2_ros.node.request import Answer, Request, Status, StoredImage
from vl2_ros.node.scheduling.attempt import Attempt
from vl2_ros.node.scheduling.interpreter import enter_service, leave_service
from vl2_ros.node.scheduling.jobs import Job
from vl2_ros.node.scheduling.schedule import Reply, Schedule
from vl2_ros.parameter_table import note_of
from vl2_ros.processing.printable import make_printable
from vl2_ros.structures import Event, ModelInfo

#: How long `stop` waits for the threads, in seconds.
STOP_S = 2.0
#: Pause of a thread whose own code failed, so that a lasting fault does not take a whole core.
_PAUSE_S = 0.1

_log = logging.getLogger(__name__)


class PerceptionNode:
    """Answers requests about the newest images of its cameras; every method is thread-safe.

    Answers and events are delivered without a lock held, on the thread that makes them: the
    worker, the timekeeper, or the caller of `submit`, `cancel` and `stop`. Answers to one request
    come in order, none after the final one, no event after the answer. What a callback raises is
    logged. Every request gets its final answer: one that is past its deadline or stopped, but does
    not end within `GRACE_S`, is answered by the timekeeper, and what comes of it later is dropped.

    Args:
        perceiver: answers one command about one frame.
        parameters: of the node.
        on_answer: called with every answer to every request.
        target_frame: where 3-D results are published; None: in the optical frame of their image.
        clock: of deadlines, durations, rates and ages; None: real time.
    """

    def __init__(
        self,
        perceiver: Perceiver,
        parameters: NodeParameters,
        on_answer: Callable[[Answer], None],
        target_frame: TargetFrame | None = None,
        clock: NodeClock | None = None,
    ) -> None:
        """Store the parts; nothing runs before `start`."""
        self._perceiver = perceiver
        self._on_answer = on_answer
        self._target_frame = target_frame
        self._clock = clock or NodeClock()
        self._schedule = Schedule(parameters)
        self._statistics = AnswerStatistics()
        self._last_error = ""
        self._repeated = RepeatedLog(_log)
        self._threads: tuple[threading.Thread, ...] = ()
        lock = threading.Lock()
        # Two conditions on one lock: an image wakes the worker, not the timekeeper.
        self._work_came = threading.Condition(lock)
        self._deadline_came = threading.Condition(lock)
        self._lock = lock

    @property
    def info(self) -> ModelInfo:
        """Return name, identity, backend and routes of the model."""
        return self._perceiver.info

    @property
    def parameters(self) -> NodeParameters:
        """Return the parameters as they are now."""
        return self._schedule.parameters

    def change_parameters(self, parameters: NodeParameters) -> None:
        """Use other values from the next decision on; the deadline of a waiting ask stays.

        Raises:
            ConfigError: if a parameter differs that does not change live; nothing changes then.
        """
        with self._lock:
            for item in dataclasses.fields(NodeParameters):
                old = getattr(self._schedule.parameters, item.name)
                new = getattr(parameters, item.name)
                if new != old and not note_of(item.name, NodeParameters).live:
                    raise ConfigError(
                        f"{item.name} is {old!r} as long as the node exists, got {new!r}; "
                        "create the node again to change it"
                    )
            self._schedule.parameters = parameters
            self._work_came.notify()

    def start(self) -> None:
        """Start the worker and the timekeeper.

        Raises:
            ConfigError: if they run already, or the worker still hangs after a stop.
        """
        with self._lock:
            if self._threads:
                raise ConfigError(self._explain_threads())
            self._schedule.is_open = True
            self._threads = (
                threading.Thread(target=self._work, name="vl2 worker", daemon=True),
                threading.Thread(target=self._keep_time, name="vl2 timekeeper", daemon=True),
            )
            for thread in self._threads:
                thread.start()
            enter_service()

    def stop(self, timeout_s: float = STOP_S) -> bool:
        """End every request, wait for the threads and drop the images.

        Asks are answered CANCELED, watches ENDED; the running one stops before its next token or
        decoder call, and is answered without waiting for it when that takes too long. A stopped
        node may be started again; stopping it twice does nothing.

        Args:
            timeout_s: most seconds to wait for the threads.

        Returns:
            False when the worker still hangs in the perceiver; then only the end of the process
            ends it. Call again to wait for longer.

        Raises:
            ConfigError: if called from a callback, as a thread cannot wait for itself.
        """
        self.refuse_own_thread()
        with self._lock:
            threads = self._threads
            self._schedule.is_open = False
            wall_s = self._clock.now().wall_s
            _, replies = self._schedule.cancel("", "the node was stopped", wall_s)
            self._work_came.notify_all()
            self._deadline_came.notify_all()
        self._deliver(replies)
        end_s = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        is_ended = not any(thread.is_alive() for thread in threads)
        replies = []
        with self._lock:
            # Else another thread has stopped the node, and maybe started it again.
            if self._threads is threads:
                replies = self._schedule.give_up_running()
                if threads and is_ended:
                    self._threads = ()
                    leave_service()
                self._schedule.clear_cameras()
        self._deliver(replies)
        if not is_ended:
            _log.critical("%s", self._explain_threads())
        return is_ended

    def refuse_own_thread(self) -> None:
        """Check that a stop is not called from a callback, which would wait for itself.

        Raises:
            ConfigError: if it is.
        """
        if threading.current_thread() in self._threads:
            raise ConfigError("stop cannot be called from a callback of the node")

    def put_image(self, camera: str, image: StoredImage) -> None:
        """Store an image; it replaces the one before. A node that is stopped keeps none.

        Raises:
            InputError: if there is no such camera.
        """
        with self._lock:
            self._schedule.put_image(camera, image, self._clock.now().s)
            if not self._schedule.is_open:
                # It was on its way when the node was stopped, and must not be the first one later.
                self._schedule.clear_cameras()
            self._work_came.notify()

    def keep_history(self, is_kept: bool) -> None:
        """Keep the images of the last seconds, for requests with an `image_age_s`, or keep none."""
        with self._lock:
            self._schedule.keep_history(is_kept)

    def submit(
        self,
        request: Request,
        *,
        on_event: Callable[[Event], None] | None = None,
        on_answer: Callable[[Answer], None] | None = None,
    ) -> None:
        """Accept a request; a BUSY or INVALID one is answered before the call returns.

        Args:
            request: the command.
            on_event: called with stages, words and steps while the request runs; the result comes
                as an answer only.
            on_answer: called, after the node's own, with every answer to this request.
        """
        with self._lock:
            job, refusal = self._schedule.admit(request, self._clock.now().s)
            job.on_event, job.on_answer = on_event, on_answer
            self._work_came.notify()
            self._deadline_came.notify()
        if refusal is not None:
            self._deliver([(job, refusal)])

    def cancel(self, request_id: str) -> int:
        """End an ask (CANCELED) or a watch (ENDED); with an empty id every one.

        What waits is answered before the call returns; what runs stops before its next token or
        decoder call and is answered then.

        Returns:
            How many were ended.
        """
        with self._lock:
            wall_s = self._clock.now().wall_s
            count, replies = self._schedule.cancel(request_id, "stopped on request", wall_s)
            # What runs and does not stop is answered by the timekeeper.
            self._deadline_came.notify()
        self._deliver(replies)
        return count

    def has(self, request_id: str) -> bool:
        """Return whether a command of this id waits, runs or watches."""
        with self._lock:
            return self._schedule.has(request_id)

    def list_watches(self) -> tuple[WatchState, ...]:
        """List the standing commands in the order they were given."""
        with self._lock:
            return self._schedule.describe_watches(self._clock.now().s)

    def report(self) -> NodeReport:
        """Sum up the state of the node."""
        with self._lock:
            now = self._clock.now()
            schedule, running = self._schedule, self._schedule.running
            idle_s = now.wall_s - running.active_s if running else 0.0
            return NodeReport(
                cameras=tuple(buffer.report(now.s) for buffer in schedule.cameras.values()),
                queue_length=len(schedule.queue),
                running_id=running.request.id if running else "",
                running_stage=running.stage if running else "",
                idle_s=idle_s,
                is_stalled=idle_s > schedule.parameters.stall_limit_s,
                watches=schedule.describe_watches(now.s),
                answer_counts=self._statistics.count(),
                unlike_count=self._statistics.unlike_count,
                stage_mean_ms=self._statistics.mean_ms(),
                stage_max_ms=self._statistics.max_ms(),
                is_worker_alive=bool(self._threads)
                and all(one.is_alive() for one in self._threads),
                last_error=self._last_error,
            )

    def count_answer(self, answer: Answer) -> None:
        """Count an answer that was made elsewhere, to a command that could not be read."""
        with self._lock:
            self._statistics.add(answer)

    def flush_log(self) -> None:
        """Log counts of repeats that are a minute old; to be called by a timer."""
        self._repeated.flush()

    def _work(self) -> None:
        while (task := self._wait_for_task()) is not None:
            job, image = task
            failure = catch_failure(
                "the worker", partial(self._execute, job, image), self._repeated
            )
            if failure is not None:
                self._recover(job, failure)

    def _recover(self, job: Job, failure: BaseException) -> None:
        """Answer a job although our own code failed on it."""
        with self._lock:
            replies = self._schedule.abort(job, describe_error(failure))
        kind = f"failed {type(failure).__name__}"
        self._note_error(kind, f"command {job.request.id!r} failed: {error_text(failure)}")
        self._deliver(replies)

    def _wait_for_task(self) -> tuple[Job, BufferedImage] | None:
        with self._lock:
            while self._schedule.is_open:
                now = self._clock.now()
                task = self._schedule.take_next(now)
                if task is not None:
                    # Its deadline is the timekeeper's from now on.
                    self._deadline_came.notify()
                    return task
                due_s = self._schedule.find_next_due_s(now.s)
                self._clock.wait(self._work_came, Moment(due_s, math.inf))
            return None

    def _execute(self, job: Job, image: BufferedImage) -> None:
        attempt = Attempt(
            job=job,
            image=image,
            perceiver=self._perceiver,
            parameters=self.parameters,
            is_stopped=lambda: self._schedule.is_stopped(job, self._clock.now().s),
            log=self._repeated,
            target_frame=self._target_frame,
            stage_ms={"queue": (self._clock.now().s - job.waits_since_s) * 1e3},
        )
        failure = catch_failure("the perceiver", attempt.run, self._repeated)
        with self._lock:
            answer = self._schedule.settle(attempt, failure, self._clock.now().s)
        if answer is not None and answer.status is Status.FAILED:
            kind = f"failed {type(failure).__name__}"
            self._note_error(kind, f"command {job.request.id!r} failed: {answer.message}")
        if answer is not None:
            self._deliver([(job, answer)])
        # Until here the job counts as running, so that no watch is ended before its result.
        with self._lock:
            replies = self._schedule.finish(job)
        self._deliver(replies)

    def _keep_time(self) -> None:
        while self._schedule.is_open:
            if catch_failure("the timekeeper", self._answer_overdue, self._repeated) is not None:
                time.sleep(_PAUSE_S)

    def _answer_overdue(self) -> None:
        with self._lock:
            replies = self._schedule.take_overdue(self._clock.now())
            if not replies and self._schedule.is_open:
                self._clock.wait(self._deadline_came, self._schedule.find_next_deadline())
        self._deliver(replies)

    def _explain_threads(self) -> str:
        running = self._schedule.running
        if self._schedule.is_open or running is None:
            return "the node runs already; stop it before it is started again"
        return (
            f"the worker hangs: command {running.request.id!r} has been in stage {running.stage} "
            f"for {time.monotonic() - running.active_s:.1f} s and does not stop; end the process"
        )

    def _deliver(self, replies: list[Reply]) -> None:
        for job, answer in replies:
            self.count_answer(answer)
            for listener in (self._on_answer, job.on_answer):
                if listener is not None:
                    self._notify(listener, answer)

    def _notify(self, listener: Callable[[Answer], None], answer: Answer) -> None:
        failure = catch_failure("a listener to answers", lambda: listener(answer), self._repeated)
        if failure is not None:
            kind = f"listener {type(failure).__name__}"
            self._note_error(kind, f"a listener to answers failed: {describe_error(failure)}")

    def _note_error(self, kind: str, message: str) -> None:
        # A watch that fails does so at the rate of its camera.
        self._repeated.log(logging.ERROR, kind, "%s", make_printable(message))
        with self._lock:
            self._last_error = message
