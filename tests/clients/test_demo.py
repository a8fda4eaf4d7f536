from __future__ import annotations

import queue
import socket
import threading

import pytest

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.recordings.recordings import (
    FIRST_STAMP_NS,
    PERIOD_NS,
    McapRecording,
    make_frames,
    make_image,
    record_camera,
    write_bytes,
)
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.clients.demo import (
    CAMERA,
    ask_images,
    find_free_domain,
    list_questions,
)
from vl2_ros.clients.received_images import ReceivedImages
from vl2_ros.errors import TransportError
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.recordings.bag import read_images
from vl2_ros.recordings.camera_player import open_camera, step_camera
from vl2_ros.structures import Frame
from vl2_ros.transports.memory import MemoryBus, MemoryTransport


class Stage:
    """The demo's three parts in one process: camera thread, node, client."""

    def __init__(self, bag, *, delay_node: bool = False) -> None:
        bus = MemoryBus()
        self.perceiver = ScriptedPerceiver()
        self.transports = {
            name: MemoryTransport(bus, name) for name in ("vl2", "vl2_camera", "vl2_demo")
        }
        parameters = NodeParameters(cameras=(CAMERA,), max_frame_age_s=0.0)
        self.server = PerceptionServer(self.perceiver, self.transports["vl2"], parameters)
        self.server.start()
        asking = self.transports["vl2_demo"]
        self.client, self.images = PerceptionClient(asking), ReceivedImages(asking, CAMERA)
        self.steps: queue.SimpleQueue[bool] = queue.SimpleQueue()
        _, publish = open_camera(self.transports["vl2_camera"], bag, onto=CAMERA)
        self.camera = threading.Thread(
            target=step_camera, args=(read_images(bag), publish, self.steps)
        )
        self.camera.start()

    def ask(self, questions, check=lambda: None):
        return ask_images(
            self.client,
            self.images,
            questions,
            step=lambda: self.steps.put(True),
            check=check,
        )

    def close(self) -> None:
        self.steps.put(False)
        self.camera.join()
        self.server.stop()
        for transport in self.transports.values():
            transport.close()


@pytest.fixture
def bag(tmp_path):
    record_camera(tmp_path / "camera.mcap", 4, compressed=True)
    return tmp_path / "camera.mcap"


@pytest.fixture
def stage(bag):
    stage = Stage(bag)
    yield stage
    stage.close()


def test_every_sentence_is_asked_about_its_image(bag, stage):
    questions = list_questions(bag, ["find it", "hello", "segment it", "pose"], topic=None)
    answers = list(stage.ask(questions))
    stamps = [FIRST_STAMP_NS + index * PERIOD_NS for index in range(4)]
    assert [answer.frame.stamp_ns for answer in answers] == stamps
    assert [answer.received.result.stamp_ns for answer in answers] == stamps
    assert [answer.sentence for answer in answers] == [sentence for sentence, _ in questions]
    assert {answer.received.status for answer in answers} == {Status.OK}
    for index, answer in enumerate(answers):
        assert abs(int(answer.frame.rgb.mean()) - 20 * index) <= 2
        assert answer.seconds > 0


@pytest.mark.parametrize("stamps", [(0, 0, 0, 0), (7, 7, 9, 9), (9, 3, 3, 8)])
def test_every_sentence_is_asked_about_its_image_where_stamps_repeat(tmp_path, stamps):
    """Drivers exist that stamp every image with zero, or one frame twice."""
    path = tmp_path / "camera.mcap"
    with McapRecording(path) as recording:
        channel = recording.open_topic("/image")
        for index, (frame, stamp_ns) in enumerate(zip(make_frames(4), stamps, strict=True)):
            image = make_image(Frame(frame.rgb, stamp_ns, "camera_link"))
            recording.add(channel, index * PERIOD_NS, write_bytes(image))
    stage = Stage(path)
    questions = list_questions(path, ["find it", "hello", "segment it", "hello"], topic=None)
    answers = list(stage.ask(questions))
    stage.close()
    assert [int(answer.frame.rgb.mean()) for answer in answers] == [0, 20, 40, 60]
    seen = [int(frame.rgb.mean()) for frame, _ in stage.perceiver.seen]
    assert seen[0] == 0 and seen[-1] == 60 and set(seen) == {0, 20, 40, 60}
    assert questions[0][1] == stamps[0]


def test_sentence_is_asked_again_when_the_node_looked_at_the_image_before(bag, stage):
    questions = list_questions(bag, ["hello", "find it"], topic=None)
    first_stamp, late_stamp = (stamp for _, stamp in questions)
    wait_for = stage.images.wait_for
    seen = []

    class EarlyImages(ReceivedImages):
        """Believes that an image is there before the camera has shown it."""

        def __init__(self) -> None: ...

        def wait_for(self, stamp_ns, timeout_s):
            return wait_for(first_stamp, timeout_s)

        find = staticmethod(stage.images.find)

    run = stage.perceiver.run

    def run_and_step(frame, command, memory):
        seen.append((command.text, frame.stamp_ns))
        if len(seen) == 2:
            stage.steps.put(True)
            assert wait_for(late_stamp, 30)
        return run(frame, command, memory)

    stage.perceiver.run = run_and_step
    asked = ask_images(
        stage.client, EarlyImages(), questions, step=lambda: None, check=lambda: None
    )
    answers = list(asked)
    assert seen[:2] == [("hello", first_stamp), ("find it", first_stamp)]
    assert seen[-1] == ("find it", late_stamp) and len(seen) >= 3
    assert [answer.frame.stamp_ns for answer in answers] == [first_stamp, late_stamp]


def test_answer_about_another_image_is_an_error_not_an_answer(bag, stage):
    """Another camera on the demo's topic: the node never uses the sentence's image."""
    ((sentence, stamp_ns),) = list_questions(bag, ["hello"], topic=None)
    stage.images.wait_for = lambda stamp_ns, timeout_s: True
    with pytest.raises(TransportError, match="looked at another image than the one of demo-0"):
        list(stage.ask([(sentence, stamp_ns + 1)]))


def test_refused_sentence_has_no_image_and_the_next_is_asked(bag, stage):
    answers = list(stage.ask(list_questions(bag, ["fail", "hello"], topic=None)))
    assert [answer.received.status for answer in answers] == [Status.FAILED, Status.OK]
    assert answers[0].frame is None and answers[1].frame is not None


def test_end_of_a_process_ends_the_asking(bag, stage):
    def check() -> None:
        raise TransportError("the node process ended with code 2: no such weights")

    stage.perceiver.may_answer.clear()
    with pytest.raises(TransportError, match="no such weights"):
        list(stage.ask(list_questions(bag, ["hello"], topic=None), check))
    stage.perceiver.may_answer.set()


def test_questions_end_with_the_recording_or_the_sentences(bag):
    stamps = [FIRST_STAMP_NS + index * PERIOD_NS for index in range(4)]
    assert list_questions(bag, ["a"] * 9, topic=None) == [("a", stamp) for stamp in stamps]
    assert list_questions(bag, ["a", "b"], topic=None) == [("a", stamps[0]), ("b", stamps[1])]
    with pytest.raises(TransportError, match="no image topic '/other'"):
        list_questions(bag, ["a"], topic="/other")


def test_domain_in_use_is_skipped(dds_domain):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("", 7400 + 250 * dds_domain + 10))
        assert find_free_domain(first=dds_domain) != dds_domain
    assert find_free_domain(first=dds_domain) == dds_domain


def test_domains_stay_in_the_recommended_range():
    assert {1 <= find_free_domain(first) <= 101 for first in (1, 50, 101)} == {True}
    assert 1 <= find_free_domain() <= 101
