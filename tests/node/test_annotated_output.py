"""Images with answers drawn in: their stamps and sizes, and that no answer waits for them."""

from __future__ import annotations

import logging
import threading
from collections import Counter

import numpy as np
import pytest

from tests.node.messages.test_result_messages import make_answer
from vl2_ros.node.annotated_output import (
    ANNOTATED,
    ANNOTATED_COMPRESSED,
    AnnotatedOutput,
    DrawingThread,
)
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.request import Answer
from vl2_ros.node.result_output import ResultOutput
from vl2_ros.structures import Frame, ModelInfo, Route
from vl2_ros.transports.message_types import StoreMessageTypes
from vl2_ros.views.shrink import MAX_SIDE

PATIENCE_S = 30.0
MODEL = ModelInfo("embedded", "0", "numpy", "cpu", (Route.SEGMENT,))


class Outlet:
    """A publisher that keeps what it is given, and may be held up."""

    def __init__(self, subscribers: int = 1) -> None:
        self.subscribers = subscribers
        self.messages: list = []
        self.threads: Counter[threading.Thread] = Counter()
        self.is_open = threading.Event()
        self.is_open.set()
        self.changed = threading.Condition()
        self.held = 0

    def count_subscribers(self) -> int:
        return self.subscribers

    def publish(self, message) -> None:
        with self.changed:
            self.held += 1
            self.changed.notify_all()
        assert self.is_open.wait(PATIENCE_S)
        with self.changed:
            self.messages.append(message)
            self.threads[threading.current_thread()] += 1
            self.changed.notify_all()

    def stamps(self) -> list[int]:
        return [one.header.stamp.nanosec for one in self.messages]

    def wait_for(self, is_so) -> None:
        with self.changed:
            assert self.changed.wait_for(is_so, PATIENCE_S)


def make_answers(*stamps: int, command: str = "a", hw=(24, 32)) -> list[Answer]:
    rgb = np.full((*hw, 3), 90, np.uint8)
    return [
        make_answer(Route.SEGMENT, frame=Frame(rgb, stamp, "camera_link"), request_id=command)
        for stamp in stamps
    ]


@pytest.fixture
def raw() -> Outlet:
    return Outlet()


@pytest.fixture
def packed() -> Outlet:
    return Outlet(subscribers=0)


@pytest.fixture
def output(raw, packed) -> AnnotatedOutput:
    return AnnotatedOutput(StoreMessageTypes(), {ANNOTATED: raw, ANNOTATED_COMPRESSED: packed})


@pytest.fixture
def drawing(output, raw):
    thread = DrawingThread(output, RepeatedLog(logging.getLogger(__name__)))
    yield thread
    raw.is_open.set()
    thread.finish(PATIENCE_S)


@pytest.mark.parametrize(
    ("hw", "drawn_hw"),
    [((480, 640), (480, 640)), ((1080, 1920), (720, MAX_SIDE)), ((2000, 500), (MAX_SIDE, 320))],
)
def test_images_have_the_stamp_of_their_frame_and_a_bounded_size(output, raw, packed, hw, drawn_hw):
    packed.subscribers = 1
    (answer,) = make_answers(7, hw=hw)
    output.publish(answer)
    for message in (raw.messages[0], packed.messages[0]):
        assert (message.header.stamp.nanosec, message.header.frame_id) == (7, "camera_link")
    image = raw.messages[0]
    # Below the image is a strip with the words.
    assert image.width == drawn_hw[1] and 0 < image.height - drawn_hw[0] < drawn_hw[0]


def test_nothing_is_drawn_without_subscribers_or_an_image(output, raw, monkeypatch):
    monkeypatch.setattr("vl2_ros.node.annotated_output.draw_overlay", None)
    (answer,) = make_answers(1)
    raw.subscribers = 0
    assert not output.is_wanted(answer)
    output.publish(answer)
    raw.subscribers = 1
    blind = make_answer(Route.SEGMENT, frame=None)
    assert output.is_wanted(answer) and not output.is_wanted(blind)
    output.publish(blind)
    assert raw.messages == []


def test_answers_do_not_wait_and_the_newest_is_drawn(drawing, raw):
    first, *others = make_answers(1, 2, 3, 4)
    raw.is_open.clear()
    drawing.publish(first)
    raw.wait_for(lambda: raw.held == 1)
    for answer in others:  # would hang if it waited
        drawing.publish(answer)
    raw.is_open.set()
    raw.wait_for(lambda: len(raw.messages) == 2)
    drawing.finish(PATIENCE_S)
    assert raw.stamps() == [1, 4]


def test_each_command_has_its_turn_and_only_some_wait(drawing, raw):
    raw.is_open.clear()
    drawing.publish(make_answers(1)[0])
    raw.wait_for(lambda: raw.held == 1)
    for stamp in range(10, 14):
        for command in "bc":
            drawing.publish(make_answers(stamp, command=command)[0])
    raw.is_open.set()
    raw.wait_for(lambda: len(raw.messages) == 3)
    assert raw.stamps() == [1, 13, 13]
    raw.is_open.clear()
    drawing.publish(make_answers(20)[0])
    raw.wait_for(lambda: raw.held == 4)
    for index in range(40):
        drawing.publish(make_answers(100 + index, command=f"ask {index}")[0])
    raw.is_open.set()
    drawing.finish(PATIENCE_S)
    assert raw.stamps()[3:] == [20, *range(132, 140)]


def test_what_waits_is_drawn_at_the_end_and_a_later_answer_starts_again(drawing, raw):
    drawing.publish(make_answers(1)[0])
    drawing.finish(PATIENCE_S)
    assert raw.stamps() == [1]
    drawing.finish(PATIENCE_S)
    drawing.publish(make_answers(2)[0])
    raw.wait_for(lambda: raw.stamps() == [1, 2])


def test_the_end_does_not_wait_longer_than_it_may(drawing, raw):
    raw.is_open.clear()
    for command in "ab":
        drawing.publish(make_answers(1, command=command)[0])
    raw.wait_for(lambda: raw.held == 1)
    drawing.finish(0.05)
    raw.is_open.set()
    raw.wait_for(lambda: len(raw.messages) == 1)
    drawing.publish(make_answers(3)[0])
    raw.wait_for(lambda: len(raw.messages) == 2)
    assert raw.stamps() == [1, 3], "what waited at the end was dropped"


def test_a_thread_that_ends_late_draws_nothing_of_the_next_one(drawing, raw):
    raw.is_open.clear()
    drawing.publish(make_answers(1)[0])
    raw.wait_for(lambda: raw.held == 1)
    drawing.finish(0.0)
    for command in "bc":
        drawing.publish(make_answers(2, command=command)[0])
    raw.wait_for(lambda: raw.held == 2)
    raw.is_open.set()
    raw.wait_for(lambda: len(raw.messages) == 3)
    assert sorted(raw.threads.values()) == [1, 2]


class Line:
    """A transport that notes which topics messages are sent on, in order."""

    types = StoreMessageTypes()

    def __init__(self) -> None:
        self.sent: list[str] = []

    def advertise(self, topic, type_name, qos):
        outlet = Outlet()
        outlet.publish = lambda message: self.sent.append(topic)
        return outlet


def test_an_answer_is_drawn_when_its_result_has_been_sent(monkeypatch):
    line = Line()

    def draw(self, answer):
        line.sent.append("drawing")
        raise RuntimeError("no memory for images")

    monkeypatch.setattr(DrawingThread, "publish", draw)
    ResultOutput(line, lambda: MODEL, draws_beside=True).publish(make_answers(1)[0])
    assert line.sent[-2:] == [RESULT.name, "drawing"] and ANNOTATED.name not in line.sent


def test_without_a_thread_an_answer_is_drawn_before_its_result_is_sent():
    line = Line()
    ResultOutput(line, lambda: MODEL).publish(make_answers(1)[0])
    assert line.sent[-3:] == [ANNOTATED.name, ANNOTATED_COMPRESSED.name, RESULT.name]
