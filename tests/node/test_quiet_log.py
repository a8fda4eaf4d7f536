from __future__ import annotations

import logging
import threading

import pytest

from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog

LOGGER = logging.getLogger("vl2_ros.test_quiet_log")


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.DEBUG)
    return lambda: [record.getMessage() for record in caplog.records]


def test_repeats_are_one_line_a_period_with_their_count(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock)
    written = []
    for second in range(121):
        clock.now = 100.0 + second
        written.append(log.log(logging.WARNING, "watch", "watch %s failed", second))
    assert [index for index, one in enumerate(written) if one] == [0, 60, 120]
    assert lines() == [
        "watch 0 failed",
        "watch 60 failed (59 more times in the last 60 s)",
        "watch 120 failed (59 more times in the last 60 s)",
    ]


def test_keys_do_not_hold_each_other_back(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock)
    for key in ("a", "b", "a", "b"):
        log.log(logging.WARNING, key, "%s", key)
    assert lines() == ["a", "b"]


def test_percent_signs_of_a_text_are_no_places(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock)
    log.log(logging.INFO, "a", "100 % done, 50%s")
    log.log(logging.INFO, "a", "100 % done, 50%s")
    log.log(logging.INFO, "b", "%s", "5%d")
    clock.now += 61
    log.flush()
    log.log(logging.INFO, "b", "%s", "5%d")
    assert lines() == [
        "100 % done, 50%s",
        "5%d",
        "100 % done, 50%s (1 more times in the last 61 s)",
        "5%d",
    ]


def test_only_the_first_of_a_key_has_a_traceback(clock, caplog):
    log = RepeatedLog(LOGGER, 60.0, clock)
    for _ in range(3):
        try:
            raise ZeroDivisionError("a bug")
        except ZeroDivisionError:
            log.log(logging.ERROR, "bug", "failed", exc_info=True)
        clock.now += 61
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, False]
    assert "ZeroDivisionError: a bug" in caplog.text


def test_end_of_a_flood_is_reported_once(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock)
    for _ in range(5):
        log.log(logging.WARNING, "busy", "the queue is full")
    log.flush()
    assert len(lines()) == 1
    clock.now += 70
    log.flush()
    log.flush()
    assert lines()[1:] == ["the queue is full (4 more times in the last 70 s)"]


def test_memory_for_keys_is_bounded(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock, most_keys=2)
    for key in ("a", "b", "c", "b", "a"):
        log.log(logging.WARNING, key, "%s", key)
    # "a" was forgotten for "c", hence it is new again; "b" was not.
    assert lines() == ["a", "b", "c", "a"]


def test_threads_write_one_line_together(clock, lines):
    log = RepeatedLog(LOGGER, 60.0, clock)

    def flood() -> None:
        for _ in range(200):
            log.log(logging.WARNING, "busy", "full")

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clock.now += 60
    log.flush()
    assert lines() == ["full", "full (799 more times in the last 60 s)"]


class Panic(BaseException):
    """As native libraries raise one; no Exception."""


@pytest.mark.parametrize("error", [ValueError("x"), Panic("x"), GeneratorExit()])
def test_guarded_call_survives_whatever_is_raised(clock, caplog, error):
    def fail() -> None:
        raise error

    call = guarded(fail, "the callback of /topic", RepeatedLog(LOGGER, 60.0, clock))
    assert call() is None and call() is None
    (record,) = caplog.records
    assert "the callback of /topic failed" in record.getMessage()
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_main_thread_can_still_be_ended_and_another_is_not(clock, caplog, error):
    def end() -> None:
        raise error

    call = guarded(end, "it", RepeatedLog(LOGGER, 60.0, clock))
    with pytest.raises(error):
        call()
    came_back = threading.Event()
    thread = threading.Thread(target=lambda: (call(), came_back.set()))
    thread.start()
    thread.join()
    assert came_back.is_set()
    assert len(caplog.records) == 1


def test_guarded_call_gives_back_what_it_got(clock):
    call = guarded(lambda first, *, second: (first, second), "it", RepeatedLog(LOGGER))
    assert call(1, second=2) == (1, 2)
