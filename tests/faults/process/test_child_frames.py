"""A frame crosses to its perceiver once, and is the same object for all commands there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.faults.process.faulty_perceiver import FaultyPerceiver, make_frame
from tests.node.wire import wait_until
from vl2_ros.errors import EngineError
from vl2_ros.flow.frame_memory import MOST_FRAMES
from vl2_ros.isolation.channel import Channel
from vl2_ros.isolation.child_perceiver import ChildPerceiver
from vl2_ros.isolation.messages import Run
from vl2_ros.structures import Command, Frame, ResultEvent


@pytest.fixture(scope="module")
def perceiver() -> Iterator[ChildPerceiver]:
    with closing(ChildPerceiver(FaultyPerceiver)) as made:
        yield made


@pytest.fixture
def crossed(monkeypatch) -> list[bool]:
    """Of each run that was sent, whether its frame went with it."""
    sent: list[bool] = []
    send = Channel.send

    def record(self, message):
        if isinstance(message, Run):
            sent.append(message.frame is not None)
        send(self, message)

    monkeypatch.setattr(Channel, "send", record)
    return sent


def count(perceiver: ChildPerceiver, frame: Frame) -> str:
    """Return how often the process saw a frame, and of how many that it has."""
    *_, last = perceiver.run(frame, Command("frames"))
    assert isinstance(last, ResultEvent)
    return last.result.text


def test_commands_about_a_frame_share_it(perceiver, crossed):
    frame, other = make_frame(1), make_frame(1)
    assert [count(perceiver, frame)[0] for _ in range(3)] == ["1", "2", "3"]
    assert count(perceiver, other)[0] == "1"
    assert count(perceiver, frame)[0] == "4"
    assert crossed == [True, False, False, True, False]


def test_the_process_drops_what_this_one_has_dropped(perceiver):
    frames = [make_frame(value) for value in range(MOST_FRAMES - 1)]
    for frame in frames:
        count(perceiver, frame)
    frames.clear()
    del frame
    # Each look is a frame of its own.
    wait_until(lambda: count(perceiver, make_frame()) == "1 of 1", "the frames are dropped")


def test_of_many_frames_the_process_keeps_a_few(perceiver):
    frames = [make_frame(value) for value in range(3 * MOST_FRAMES)]
    for frame in frames:
        assert count(perceiver, frame)[0] == "1"
    wait_until(
        lambda: count(perceiver, frames[-1]).endswith(f" of {MOST_FRAMES}"), "the rest is dropped"
    )
    assert count(perceiver, frames[0])[0] == "1"


def test_a_frame_of_a_run_that_was_stopped_is_there_for_the_next(perceiver, crossed):
    frame = make_frame()
    perceiver.run(frame, Command("never begun")).close()
    events = perceiver.run(frame, Command("count"))
    next(events)
    events.close()
    assert count(perceiver, frame)[0] == "1"
    assert crossed == [True, False]


def test_a_restarted_process_gets_the_frame_again(crossed):
    frame = make_frame()
    with closing(ChildPerceiver(FaultyPerceiver)) as perceiver:
        assert count(perceiver, frame)[0] == "1"
        with pytest.raises(EngineError, match="SIGABRT"):
            list(perceiver.run(frame, Command("abort")))
        assert count(perceiver, frame)[0] == "1"
        assert count(perceiver, frame)[0] == "2"
    assert crossed == [True, False, True, False]
