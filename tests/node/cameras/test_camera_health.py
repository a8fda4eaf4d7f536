"""What is said of a camera that is silent or loses images: what to change, and on which side."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.transports.harness import MemoryHarness, Rig
from vl2_ros.node.cameras.camera_health import CameraHealth, CameraMonitor
from vl2_ros.node.cameras.camera_input import COMPRESSED_IMAGE_TYPE, IMAGE_TYPE, CameraInput
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.reports import CameraReport
from vl2_ros.node.transport import Qos


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(MemoryHarness())
    yield rig
    rig.close()


class Monitored:
    """A camera on a transport that has advice, and counts that the test names."""

    def __init__(self, rig: Rig, *publishers: Qos, **parameters) -> None:
        self._rig = rig
        transport = rig.open("vl2")
        transport.loss_advice = "enlarge the buffers"
        self._parameters = NodeParameters(**parameters)
        self.input = CameraInput("image", self._parameters, transport, print)
        for qos in publishers:
            self.publish("/image", IMAGE_TYPE, qos)
        self.input.subscribe()
        self._monitor = CameraMonitor(self.input, transport)
        self.now_s = 100.0

    def publish(self, topic: str, type_name: str, qos: Qos) -> None:
        self._rig.open("camera").advertise(topic, type_name, qos)

    def check(self, received: int = 0, lost: int = 0, age_s: float = math.inf) -> CameraHealth:
        self.now_s += 1.0
        self.input.topic._subscription.lost_count = lost
        report = CameraReport("image", received, 0, 0, age_s, 1.0)
        return self._monitor.check(report, self._parameters, 60.0, self.now_s)


RELIABLE, BEST_EFFORT = Qos(), Qos(reliable=False)


@pytest.mark.parametrize(
    ("publishers", "reliability", "expected", "is_reliable"),
    [
        ([RELIABLE], "auto", "the subscription is reliable already; enlarge the buffers", True),
        ([BEST_EFFORT], "auto", "driver publish with reliable QoS; enlarge the buffers", False),
        (
            [RELIABLE],
            "best_effort",
            "not sent again; set image_reliability to auto; enlarge the buffers",
            False,
        ),
        (
            [RELIABLE, BEST_EFFORT],
            "reliable",
            "but 1 of 2 publishers offer best effort, of which it receives nothing; set "
            "image_reliability to auto; enlarge the buffers",
            True,
        ),
    ],
)
def test_silence_names_reliability_and_buffers(rig, publishers, reliability, expected, is_reliable):
    camera = Monitored(rig, *publishers, image_reliability=reliability, image_transport="raw")
    health = camera.check()
    assert (
        f"no image ever came on /image, although {len(publishers)} publish there" in health.silence
    )
    assert health.silence.endswith(expected)
    assert (health.reliable, health.topic, health.loss) == (is_reliable, "/image", "")


def test_silent_raw_images_beside_compressed_ones_name_the_choice(rig):
    camera = Monitored(rig, RELIABLE)
    camera.publish("/image/compressed", COMPRESSED_IMAGE_TYPE, RELIABLE)
    silence = camera.check().silence
    assert "although 2 publish there" in silence
    assert silence.endswith("; to take /image/compressed, set image_transport to compressed")


def test_silence_without_publishers_names_the_topics(rig):
    camera = Monitored(rig)
    silence = camera.check(received=3, age_s=4.25).silence
    assert silence == (
        "no image came on /image or /image/compressed for 4.2 s: nothing publishes there; start "
        "the camera, or name or remap its topic"
    )


def test_silence_of_another_type_names_it(rig):
    camera = Monitored(rig)
    camera.publish("/image", "std_msgs/msg/String", RELIABLE)
    camera.publish("/image", "evil\nERROR vl2_ros: forged", RELIABLE)
    silence = camera.check().silence
    assert r"what publishes there sends evil\nERROR vl2_ros: forged, std_msgs/msg/String" in silence
    assert f"expected {IMAGE_TYPE} or {COMPRESSED_IMAGE_TYPE}" in silence
    assert silence.isprintable()


def test_images_that_come_but_far_fewer_than_sent_are_a_loss(rig):
    camera = Monitored(rig, BEST_EFFORT)
    assert camera.check(received=10, lost=1, age_s=0.1).loss == ""
    health = camera.check(received=14, lost=7, age_s=0.1)
    assert health.silence == ""
    assert health.loss.startswith("6 of 10 images were lost on their way in the last 1 s; ")
    assert health.loss.endswith("driver publish with reliable QoS; enlarge the buffers")
    assert health.lost == 7
    # Over the last seconds, not since the start.
    for second in range(1, 8):
        health = camera.check(received=14 + 10 * second, lost=7, age_s=0.1)
    assert (health.loss, health.lost) == ("", 7)


def test_images_that_are_missing_by_their_stamps_are_a_loss(rig):
    """As most middleware reports none of those that it has lost."""
    camera = Monitored(rig, RELIABLE)
    for index in range(40):
        if index % 5 not in (1, 2):
            camera.input.gaps.note(index * 100_000_000)
    health = camera.check(received=30, age_s=0.1)
    assert health.loss == (
        "16 of the last 39 images did not come: their stamps have gaps in a rate of 10.0 Hz; the "
        "subscription is reliable already; enlarge the buffers"
    )
    assert camera.check(received=30, age_s=4.0).loss == "", "it is silent then"


def test_few_lost_images_are_no_loss(rig):
    camera = Monitored(rig, RELIABLE)
    camera.check(age_s=0.1)
    assert camera.check(received=1, lost=2, age_s=0.1).loss == ""
    assert camera.check(received=50, lost=9, age_s=0.1).loss == ""


def test_fresh_camera_is_not_silent(rig):
    camera = Monitored(rig, RELIABLE, camera_timeout_s=61.0)
    assert camera.check().silence == ""
