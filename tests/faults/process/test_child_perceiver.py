"""A perceiver process may crash, hang or be killed: each run ends, the next is answered."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.faults.process import faulty_perceiver
from tests.faults.process.faulty_perceiver import FaultyPerceiver, make_frame
from tests.node.stepwise_perceiver import AnswerLog, ask, make_image
from tests.node.wire import PATIENCE_S, wait_until
from vl2_ros.errors import (
    CheckpointError,
    ConfigError,
    EngineError,
    InputError,
    RouteError,
    ShapeError,
    VL2Error,
)
from vl2_ros.flow.watch_memory import WatchMemory
from vl2_ros.isolation.child_perceiver import ChildPerceiver
from vl2_ros.isolation.cuda_health import is_cuda_lost
from vl2_ros.isolation.supervisor import Watchdog
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.request import Mode
from vl2_ros.structures import (
    Command,
    Frame,
    Result,
    ResultEvent,
    StageEvent,
    TextEvent,
    TrackingOptions,
)

#: For the clock that a test moves on; no machine is so slow.
STRICT = Watchdog(stall_s=600.0)


@pytest.fixture(scope="module")
def shared() -> Iterator[ChildPerceiver]:
    """For tests after which the process lives on; patient, as they may run on a busy machine."""
    with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
        yield perceiver


def answer(perceiver: ChildPerceiver, text: str = "where", frame: Frame | None = None) -> Result:
    events = list(perceiver.run(frame or make_frame(), Command(text, id="a")))
    assert isinstance(events[-1], ResultEvent)
    return events[-1].result


def answer_in_time(perceiver: ChildPerceiver) -> Result:
    """Ask again as long as the process is being restarted, as a client would."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return answer(perceiver)
        except EngineError as error:
            assert "started" in str(error) and time.monotonic() < end_s


def remember(perceiver: ChildPerceiver, memory: object = None) -> tuple[str, object]:
    """Show a frame of a watch; return how many there were and the memory for the next one."""
    *_, last = perceiver.run(make_frame(), Command("remember"), memory)
    assert isinstance(last, ResultEvent)
    return last.result.text, last.memory


def find_pid(result: Result) -> int:
    return int(result.text.split()[0])


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


class TestCrash:
    @pytest.mark.parametrize(
        ("act", "end"),
        [
            ("abort", "was ended by signal 6 (SIGABRT) in stage vision"),
            ("be killed", "was ended by signal 9 (SIGKILL; the system does so when memory runs"),
            ("leave", "ended with code 7 in stage vision"),
        ],
    )
    def test_ends_its_run_with_the_reason_and_the_next_is_answered(self, act, end):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            before = find_pid(answer(perceiver))
            with pytest.raises(EngineError) as caught:
                answer(perceiver, act)
            after = find_pid(answer_in_time(perceiver))
        assert f"the perceiver process {end}" in str(caught.value)
        assert "it is being restarted, ask again" in str(caught.value)
        assert after != before and not is_running(before)

    def test_of_an_idle_process_fails_no_command(self):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            before = find_pid(answer(perceiver))
            os.kill(before, signal.SIGKILL)
            # Asked at once, before the end can be known: the run was not begun, so it is done anew.
            assert find_pid(answer(perceiver)) != before

    def test_of_the_gpu_is_an_error_then_a_restart(self, caplog):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            before = find_pid(answer(perceiver))
            with pytest.raises(EngineError, match="RuntimeError: CUDA error: an illegal memory"):
                answer(perceiver, "lose the gpu")
            assert find_pid(answer_in_time(perceiver)) != before
        assert "ended as its GPU answers no call any more" in caplog.text

    @pytest.mark.parametrize(
        ("get_code", "context", "sync_code", "is_lost"),
        [
            (3, None, 3, False),  # CUDA was never used
            (0, None, 201, False),  # nor by this thread
            (0, 1234, 0, False),
            (0, 1234, 700, True),  # an illegal access
            (710, None, 710, True),  # a failed assertion, reported by any call
        ],
    )
    def test_of_the_gpu_is_reported_by_its_driver(self, get_code, context, sync_code, is_lost):
        class Driver:
            def cuCtxGetCurrent(self, pointer: object) -> int:  # noqa: N802 - CUDA's name
                pointer._obj.value = context
                return get_code

            def cuCtxSynchronize(self) -> int:  # noqa: N802 - CUDA's name
                return sync_code

        assert is_cuda_lost(Driver()) is is_lost

    def test_signals_to_the_group_are_left_to_the_parent(self, shared):
        pid = find_pid(answer(shared))
        for name in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, name)
        assert find_pid(answer(shared)) == pid


class TestHang:
    @pytest.mark.parametrize("act", ["sleep", "hang", "stop"])
    def test_is_killed_and_the_next_is_answered(self, act, clock):
        with closing(ChildPerceiver(FaultyPerceiver, STRICT)) as perceiver:
            events = perceiver.run(make_frame(), Command(act))
            assert next(event for event in events if event == StageEvent("vision"))
            clock.advance(STRICT.stall_s + 1)
            with pytest.raises(EngineError, match=r"after hanging for 600 s in stage vision; it"):
                list(events)
            assert answer_in_time(perceiver).stamp_ns == 5

    def test_yields_meanwhile_so_that_the_caller_can_stop(self, shared):
        events = shared.run(make_frame(), Command("count"))
        assert next(events) == StageEvent("vision")
        assert next(events) == TextEvent("word", ())
        events.close()
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            events = perceiver.run(make_frame(), Command("hang"))
            seen = [next(event for event in events if event == StageEvent("vision"))]
            seen += [next(events), next(events)]
            events.close()
        assert seen == [StageEvent("vision")] * 3

    def test_of_a_run_that_is_not_waited_for_is_also_killed(self, caplog, clock):
        with closing(ChildPerceiver(FaultyPerceiver, STRICT)) as perceiver:
            before = find_pid(answer(perceiver))
            events = perceiver.run(make_frame(), Command("hang"))
            assert next(event for event in events if event == StageEvent("vision"))
            events.close()
            clock.advance(STRICT.stall_s + 1)
            wait_until(lambda: not is_running(before), "the hung process is killed")
            assert find_pid(answer_in_time(perceiver)) != before
        assert "was killed after hanging for 600 s in stage vision" in caplog.text

    def test_idle_is_no_hang(self, clock):
        with closing(ChildPerceiver(FaultyPerceiver, STRICT)) as perceiver:
            before = find_pid(answer(perceiver))
            clock.advance(2 * STRICT.stall_s)
            time.sleep(0.5)  # the watchdog looks ten times a second
            assert find_pid(answer(perceiver)) == before


class TestStop:
    def test_closes_the_run_in_the_process(self, shared):
        before = int(answer(shared).text.split()[1])
        events = shared.run(make_frame(), Command("count"))
        assert [next(events), next(events)] == [StageEvent("vision"), TextEvent("word", ())]
        events.close()
        # The next run follows at once and hears nothing of the one before.
        seen = list(shared.run(make_frame(), Command("where")))
        assert not any(isinstance(event, TextEvent) for event in seen)
        assert int(seen[-1].result.text.split()[1]) == before + 1

    def test_close_is_quick_and_may_be_repeated(self):
        perceiver = ChildPerceiver(FaultyPerceiver)
        pid = find_pid(answer(perceiver))
        events = perceiver.run(make_frame(), Command("hang"))
        next(events)
        perceiver.close()
        perceiver.close()
        with pytest.raises(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # no zombie is left either
        with pytest.raises(EngineError, match="was closed"):
            list(events)
        with pytest.raises(EngineError, match="the perceiver was closed; load it again"):
            answer(perceiver)

    def test_nothing_is_left_open(self):
        def count() -> int:
            gc.collect()
            return len(os.listdir("/proc/self/fd"))

        before = count()
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            for act in ("abort", "where"):
                with suppress(EngineError):
                    answer(perceiver, act, make_frame(hw=(300, 400)))
        assert count() == before

    @pytest.mark.parametrize("act", ["sleep", "hang", "stop"])
    def test_the_process_ends_with_its_parent(self, act):
        code = "from tests.faults.process.faulty_perceiver import hold_a_child as run; run()"
        parent = subprocess.Popen(
            [sys.executable, "-c", code, act], stdout=subprocess.PIPE, text=True
        )
        with parent:
            pid = int(parent.stdout.readline())
            assert is_running(pid)
            parent.kill()
        wait_until(lambda: not is_running(pid), "the process has ended with its parent")


class TestMemory:
    def test_stays_in_the_process_and_comes_back_by_its_handle(self, shared):
        first = second = None
        for frames in "123":
            text, first = remember(shared, first)
            assert text == frames
        assert remember(shared, second)[0] == "1", "another watch begins anew"
        assert remember(shared, first)[0] == "4"
        # A handle stays good until its watch has a newer one, as after a frame that failed.
        assert remember(shared, first)[0] == "4"

    def test_is_freed_with_the_last_handle(self, shared):
        memory = None
        for _ in range(20):
            memory = remember(shared, memory)[1]
        wait_until(lambda: answer(shared, "memories").text == "1", "older memories are freed")
        assert remember(shared, memory)[0] == "21"
        del memory
        wait_until(lambda: answer(shared, "memories").text == "0", "the last memory is freed")

    def test_of_a_run_that_was_stopped_or_failed_is_freed(self, shared):
        for _ in range(5):
            events = shared.run(make_frame(), Command("remember"))
            assert next(events) == StageEvent("vision")
            events.close()
            with pytest.raises(EngineError, match="this cannot be pickled"):
                list(shared.run(make_frame(), Command("remember badly")))
        wait_until(lambda: answer(shared, "memories").text == "0", "all memories are freed")

    def test_is_unknown_after_a_crash_and_the_watch_begins_anew(self):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            _, memory = remember(perceiver)
            with pytest.raises(EngineError, match="SIGABRT"):
                list(perceiver.run(make_frame(), Command("abort"), memory))
            answer_in_time(perceiver)
            text, memory = remember(perceiver, memory)
            assert text == "1"
            assert remember(perceiver, memory)[0] == "2"

    def test_that_is_no_handle_is_refused(self, shared):
        with pytest.raises(InputError, match="None or that of the watch's last result, got int"):
            list(shared.run(make_frame(), Command("remember"), 1))

    def test_of_none_is_none(self, shared):
        *_, last = shared.run(make_frame(), Command("where"))
        assert last.memory is None

    def test_of_watches_goes_through_a_node(self, shared):
        node = PerceptionNode(shared, NodeParameters(max_frame_age_s=0.0), log := AnswerLog())
        node.start()
        try:
            for name in "ab":
                node.submit(ask(name, "remember", mode=Mode.WATCH))
            for stamp in (1, 2, 3):
                node.put_image("image", make_image(stamp))
                answers = log.wait_for(2 * stamp)
                assert {one.result.text for one in answers[-2:]} == {str(stamp)}
            node.cancel("a")
            log.wait_for_final("a")
            node.submit(ask("a", "remember", mode=Mode.WATCH), on_answer=(again := AnswerLog()))
            assert again.wait_for(1)[0].result.text == "1"
            node.cancel("")
            wait_until(lambda: answer(shared, "memories").text == "0", "ended watches are freed")
        finally:
            node.stop()


class TestTracks:
    def test_stay_in_the_process_and_their_ids_with_the_objects(self, shared):
        memory = None
        for _ in range(3):
            ids, memory = self.track(shared, memory)
            assert ids == [1]
        assert not isinstance(memory, WatchMemory)
        assert self.track(shared)[0] == [1], "another watch begins anew"

    def test_get_ids_that_were_not_used_after_a_crash(self):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            node = PerceptionNode(
                perceiver, NodeParameters(max_frame_age_s=0.0), log := AnswerLog()
            )
            node.start()
            try:
                node.submit(ask("w", "track", mode=Mode.WATCH))
                node.put_image("image", make_image(1))
                log.wait_for(1)
                os.kill(find_pid(answer(perceiver)), signal.SIGKILL)
                answer_in_time(perceiver)
                node.put_image("image", make_image(2))
                answers = log.wait_for(2)
            finally:
                node.stop()
        ids = [one.result.detections.track_ids.tolist() for one in answers[:2]]
        assert ids == [[1], [2]]

    def track(self, perceiver: ChildPerceiver, memory: object = None) -> tuple[list[int], object]:
        command = Command("track", tracking=TrackingOptions())
        *_, last = perceiver.run(make_frame(), command, memory)
        assert isinstance(last, ResultEvent)
        return last.result.detections.track_ids.tolist(), last.memory


class TestErrors:
    @pytest.mark.parametrize(
        ("act", "kind", "text"),
        [
            ("input", InputError, "say please"),
            ("shape", ShapeError, "expected (1, 2)"),
            ("route", RouteError, "[GEN] is not served"),
            ("special", EngineError, "the graph is torn"),
            ("bug", EngineError, "ZeroDivisionError: division by zero"),
            ("system exit", EngineError, "SystemExit: 3"),
            ("recursion", EngineError, "RecursionError: maximum recursion depth exceeded"),
            ("unpicklable", EngineError, "TypeError: this cannot be pickled"),
            ("nothing", EngineError, "the perceiver ended without a result"),
        ],
    )
    def test_of_a_run_come_as_what_they_are(self, shared, caplog, act, kind, text):
        before = find_pid(answer(shared))
        with pytest.raises(VL2Error) as caught:
            answer(shared, act)
        assert type(caught.value) is kind and str(caught.value).startswith(text)
        is_foreign = ": " in text
        assert ("Traceback" in caplog.text and "faulty_perceiver.py" in caplog.text) is is_foreign
        assert find_pid(answer(shared)) == before, "an error is no end"

    @pytest.mark.parametrize(
        ("load", "kind", "text"),
        [
            (
                partial(load_pipeline, LoadOptions("/nowhere")),
                CheckpointError,
                "no weights folder at",
            ),
            (partial(faulty_perceiver.make_broken, "bug"), EngineError, "ZeroDivisionError: div"),
            (faulty_perceiver.make_without_package, ModuleNotFoundError, "No module named"),
            (
                partial(faulty_perceiver.make_broken, "abort"),
                EngineError,
                "the perceiver process was ended by signal 6 (SIGABRT) in stage load",
            ),
        ],
    )
    def test_of_the_first_load_are_raised(self, load: Callable[[], FaultyPerceiver], kind, text):
        with pytest.raises(kind) as caught:
            ChildPerceiver(load)
        assert type(caught.value) is kind and text in str(caught.value)

    def test_what_cannot_be_found_in_the_process_is_refused(self):
        with pytest.raises(ConfigError, match="load must be importable by name"):
            ChildPerceiver(lambda: FaultyPerceiver())

    def test_news_of_the_model_arrive(self):
        with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
            assert perceiver.info.name == "faulty"
            answer(perceiver, "rename")
            wait_until(lambda: perceiver.info.identity == "4567", "the new identity is there")


class TestLoading:
    def test_that_hangs_is_killed(self):
        with pytest.raises(EngineError, match="after loading for 1 s in stage load"):
            ChildPerceiver(partial(faulty_perceiver.make_late, 3600.0), Watchdog(load_s=1.0))

    def test_that_fails_later_is_tried_again_and_reported_meanwhile(self, tmp_path, caplog):
        caplog.set_level(logging.INFO)
        load = partial(faulty_perceiver.make_at_start, str(tmp_path), (1, 4))
        with closing(ChildPerceiver(load)) as perceiver:
            answer(perceiver)
            with pytest.raises(EngineError, match="SIGABRT"):
                answer(perceiver, "abort")
            events = perceiver.run(make_frame(), Command("where"))
            assert next(events) == StageEvent("restart")
            events.close()
            assert answer_in_time(perceiver)
            wait_until(lambda: perceiver.info.name == "start 4", "the fourth start has loaded")
        logged = [line for line in caplog.text.splitlines() if "it is started again in" in line]
        assert [line.rpartition(" in ")[2] for line in logged] == ["0 s", "1 s", "2 s"]
        assert "could not be loaded again: EngineError" in logged[1]
        assert "the restarted perceiver is another" in caplog.text


class TestArrays:
    def test_cross_unchanged_into_memory_of_their_own(self, shared):
        generator = np.random.default_rng(1)
        frames = [
            Frame(generator.integers(0, 255, (*hw, 3), np.uint8))
            for hw in ((8, 12), (720, 1280), (3001, 4003), (720, 1280))
        ]
        images = [answer(shared, frame=frame).images[0].rgb for frame in frames]
        for frame, image in zip(frames, images, strict=True):
            np.testing.assert_array_equal(image, frame.rgb)
            assert image.flags.writeable and image.flags.aligned
        images[1][:] = 0
        np.testing.assert_array_equal(images[3], frames[3].rgb)

    def test_that_are_views_cross_as_well(self, shared):
        whole = np.random.default_rng(2).integers(0, 255, (400, 600, 3), np.uint8)
        view = whole[::2, ::-3]
        np.testing.assert_array_equal(answer(shared, frame=Frame(view)).images[0].rgb, view)
