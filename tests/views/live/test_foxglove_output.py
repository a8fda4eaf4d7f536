from __future__ import annotations

import json
import time
from contextlib import closing, contextmanager

import numpy as np
import pytest
from websockets.sync.client import connect

from tests.node.wire import wait_until
from vl2_ros.errors import ConfigError
from vl2_ros.structures import Branch, Detections, Frame, Keypoints, Result, Route
from vl2_ros.views.live.placed_box import PlacedBox

pytest.importorskip("foxglove", reason="foxglove-sdk is not installed")

from vl2_ros.views.live.foxglove_output import FoxgloveOutput  # noqa: E402 - needs the package

STAMP_NS = 5_000_000_007
#: Bytes of a message of Foxglove's protocol before its data: kind, subscription, time.
HEAD = 1 + 4 + 8


@pytest.fixture
def output():
    with closing(FoxgloveOutput()) as output:
        yield output


@contextmanager
def subscribed(output: FoxgloveOutput, *topics: str):
    """Connect as Foxglove does; yields a function that returns the data of the next message."""
    with connect(output.url, subprotocols=["foxglove.sdk.v1"]) as stream:
        channels = {}
        while len(channels) < 3:
            document = json.loads(stream.recv(timeout=10))
            channels |= {one["topic"]: one for one in document.get("channels", [])}
        wanted = [
            {"id": index, "channelId": channels[topic]["id"]} for index, topic in enumerate(topics)
        ]
        stream.send(json.dumps({"op": "subscribe", "subscriptions": wanted}))
        wait_until(lambda: output.wants_frame or output.wants_boxes, "it is subscribed")
        time.sleep(0.1)  # to all of them

        def receive() -> tuple[int, bytes]:
            while isinstance(one := stream.recv(timeout=10), str):
                pass
            return int.from_bytes(one[1:5], "little"), one[HEAD:]

        receive.channels = channels
        yield receive


def make_result() -> Result:
    points = np.array([[[3, 4], [5, 6]]], np.float32)
    found = Detections(
        boxes_xyxy=np.array([[1, 2, 11, 12]], np.float32),
        scores=np.array([0.9], np.float32),
        class_ids=np.array([0]),
        labels=("red mug",),
        keypoints=Keypoints(("a", "b"), points, np.ones((1, 2), np.float32), ((0, 1),)),
        track_ids=np.array([7]),
    )
    return Result("a", STAMP_NS, "camera", "text", (Branch(Route.POSE, ("red mug",), found),))


def test_image_and_annotations_are_sent(output):
    frame = Frame(np.full((48, 64, 3), 90, np.uint8), STAMP_NS, "camera")
    with subscribed(output, "/vl2/image", "/vl2/annotations") as receive:
        schemas = {topic: one["schemaName"] for topic, one in receive.channels.items()}
        assert schemas == {
            "/vl2/image": "foxglove.CompressedImage",
            "/vl2/annotations": "foxglove.ImageAnnotations",
            "/vl2/scene": "foxglove.SceneUpdate",
        }
        output.show(frame, [make_result()], 0.0)
        data = dict([receive(), receive()])
    assert b"\xff\xd8\xff" in data[0] and b"camera" in data[0] and b"jpeg" in data[0]
    assert b"red mug 0.90 #7" in data[1]
    for number in (11.0, 12.0, 3.0, 6.0):
        assert np.float64(number).tobytes() in data[1]


def test_boxes_in_space_are_sent(output):
    assert not output.wants_boxes
    box = PlacedBox("mug 0.90", (0.25, 0.5, 1.5), (0.1, 0.2, 0.3))
    with subscribed(output, "/vl2/scene") as receive:
        assert output.wants_boxes and not output.wants_frame
        output.show_boxes(STAMP_NS, "camera_optical", [box])
        _, data = receive()
    assert b"camera_optical" in data and b"mug 0.90" in data
    for number in (0.25, 0.5, 1.5, 0.1, 0.2, 0.3):
        assert np.float64(number).tobytes() in data


def test_nothing_is_wanted_without_a_subscription(output):
    assert not output.wants_frame and not output.wants_boxes
    with subscribed(output, "/vl2/image"):
        assert output.wants_frame
    wait_until(lambda: not output.wants_frame, "the client has gone")


def test_a_port_in_use_is_an_error(output):
    port = int(output.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match="choose another --foxglove-port"):
        FoxgloveOutput(port)
