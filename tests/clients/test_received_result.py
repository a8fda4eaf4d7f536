from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.node.scripted_perceiver import ScriptedPerceiver
from vl2_ros.clients.received_result import read_result
from vl2_ros.errors import TransportError
from vl2_ros.node.messages.result_messages import ResultMessages
from vl2_ros.node.request import Answer, Status
from vl2_ros.structures import Branch, Command, Detections, Frame, Keypoints, Result, Route
from vl2_ros.transports.message_types import StoreMessageTypes

TYPES = StoreMessageTypes()
PERCEIVER = ScriptedPerceiver()
FRAME = Frame(np.zeros((8, 10, 3), np.uint8), 12_000_000_034, "camera_link")


def make_answer(text: str, **fields) -> Answer:
    *_, last = PERCEIVER.run(FRAME, Command(text, id="c1"))
    stage_ms = {"queue": 0.5, "language": 1.5}
    values = {"frame": FRAME, "result": last.result, "stage_ms": stage_ms, **fields}
    return Answer("c1", text, "image", values.pop("status", Status.OK), **values)


def send(answer: Answer):
    """Make the message, then bytes, then the message as received."""
    message = ResultMessages(TYPES, lambda: PERCEIVER.info).make_result(answer)
    return TYPES.deserialize(bytes(TYPES.serialize(message)), message.__msgtype__)


@pytest.mark.parametrize(
    "text",
    [
        *("hello", "find it", "segment it", "find and segment it"),
        *("paint it", "change it", "find, change and paint it"),
    ],
)
def test_result_arrives_as_it_was_sent(text):
    answer = make_answer(text, is_final=False, sequence=7)
    received = read_result(send(answer))
    assert (received.command_id, received.text, received.camera) == ("c1", text, "image")
    assert (received.status, received.message) == (Status.OK, "")
    assert (received.is_final, received.sequence) == (False, 7)
    assert (received.model, received.model_identity) == ("scripted", "0123abcd")
    assert received.engine == "numpy cpu"
    got, sent = received.result, answer.result
    assert (got.stamp_ns, got.frame_id, got.text) == (FRAME.stamp_ns, "camera_link", sent.text)
    assert got.routes == sent.routes
    assert got.stage_ms == {"queue": 0.5, "language": 1.5}
    for ours, theirs in zip(got.branches, sent.branches, strict=True):
        assert (ours.route, ours.phrases) == (theirs.route, theirs.phrases)
        for name in ("boxes_xyxy", "scores", "class_ids", "masks"):
            one, other = getattr(ours.detections, name), getattr(theirs.detections, name)
            np.testing.assert_array_equal(one, other)
            assert np.asarray(one).dtype == np.asarray(other).dtype
        assert ours.detections.labels == theirs.detections.labels
    for mine, yours in zip(got.images, sent.images, strict=True):
        assert (mine.route, mine.seed) == (yours.route, yours.seed)
        assert (mine.steps, mine.scheduler) == (yours.steps, yours.scheduler)
        np.testing.assert_array_equal(mine.rgb, yours.rgb)


@pytest.mark.parametrize("in_domain", [None, True, False])
def test_what_is_known_of_an_answer_arrives(in_domain):
    sent = replace(make_answer("find it").result, raw_text="Yes.</s>", in_domain=in_domain)
    got = read_result(send(make_answer("find it", result=sent))).result
    assert (got.raw_text, got.in_domain, got.answer_score) == ("Yes.</s>", in_domain, None)
    assert got.answer_age == 0
    sent = replace(sent, answer_score=0.75, answer_age=4)
    got = read_result(send(make_answer("find it", result=sent))).result
    assert (got.answer_score, got.answer_age) == (0.75, 4)


def test_tracks_arrive_and_none_are_none():
    answer = make_answer("find it")
    (branch,) = answer.result.branches
    assert read_result(send(answer)).result.branches[0].detections.track_ids is None
    found = replace(branch.detections, track_ids=np.array([7, 0]))
    sent = replace(answer.result, branches=(replace(branch, detections=found),))
    (got,) = read_result(send(make_answer("find it", result=sent))).result.branches
    np.testing.assert_array_equal(got.detections.track_ids, [7, 0])
    assert got.detections.track_ids.dtype == np.int64


def test_wide_boxes_keep_their_corners():
    found = Detections(
        boxes_xyxy=np.array([[1, 2, 9, 4], [0.5, 0.25, 2, 7]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        class_ids=np.zeros(2, np.int64),
        labels=("cup", "cup"),
    )
    branch = Branch(Route.DETECT, ("cup",), found)
    result = Result("c1", FRAME.stamp_ns, "camera_link", "two", (branch,))
    (got,) = read_result(send(make_answer("find it", result=result))).result.branches
    np.testing.assert_array_equal(got.detections.boxes_xyxy, found.boxes_xyxy)


def test_refusal_arrives_without_image():
    answer = make_answer("find it", status=Status.EXPIRED, message="too late")
    received = read_result(send(Answer("c1", "find it", "image", Status.EXPIRED, "too late")))
    assert (received.status, received.message) == (Status.EXPIRED, "too late")
    assert (received.result.stamp_ns, received.result.branches) == (0, ())
    assert read_result(send(answer)).status is Status.EXPIRED


def test_route_without_instances_is_there():
    message = send(make_answer("segment it"))
    message.instances = []
    (branch,) = read_result(message).result.branches
    assert (branch.route, len(branch.detections)) == (Route.SEGMENT, 0)
    assert branch.detections.masks is None


def test_instances_without_masks_have_none():
    message = send(make_answer("find it"))
    for instance in message.instances:
        instance.mask = TYPES.make("vl2_ros/msg/InstanceMask")
    (branch,) = read_result(message).result.branches
    assert branch.detections.masks is None and len(branch.detections) == 2


def test_phrase_that_found_nothing_keeps_its_index():
    message = send(make_answer("find it"))
    message.instances = message.instances[1:]
    (branch,) = read_result(message).result.branches
    assert branch.phrases == ("", "bowl")
    assert branch.detections.class_ids.tolist() == [1]


def shorten_mask(message):
    message.instances[0].mask.counts = message.instances[0].mask.counts[:-1]


def resize_mask(message):
    mask = message.instances[0].mask
    mask.height, mask.width = 1, 1
    mask.counts = np.array([0, 1], np.uint32)


def name_other_route(message):
    message.routes = ["teleport"]


def name_closed_route(message):
    message.instances[0].route = "pose"


def set_status(message):
    message.status = 99


def set_domain(message):
    message.in_domain = 3


def set_answer_score(message):
    message.answer_score = float("nan")


def shorten_image(message):
    message.images[0].image.data = message.images[0].image.data[:-1]


def name_image_otherwise(message):
    message.images[0].route = "detect"


@pytest.mark.parametrize(
    "damage",
    [
        *(shorten_mask, resize_mask, name_other_route, name_closed_route, set_status),
        *(shorten_image, name_image_otherwise, set_domain, set_answer_score),
    ],
)
def test_message_of_another_version_is_one_clear_error(damage):
    message = send(make_answer("segment and paint it"))
    damage(message)
    with pytest.raises(TransportError, match=r"result of command 'c1' cannot be read.*version"):
        read_result(message)


def make_poses() -> Detections:
    points = np.arange(12, dtype=np.float32).reshape(2, 3, 2) / 4
    return Detections(
        boxes_xyxy=np.array([[1, 2, 9, 4], [0.5, 0.25, 2, 7]], np.float32),
        scores=np.array([0.9, 0.5], np.float32),
        class_ids=np.array([0, 1], np.int64),
        labels=("cat", "dog"),
        keypoints=Keypoints(
            names=("nose", "left eye", "tip of tail"),
            points_xy=points,
            scores=np.array([[0.9] * 3, [0.5] * 3], np.float32),
            edges=((0, 1), (1, 2)),
        ),
    )


def send_poses(found: Detections):
    branch = Branch(Route.POSE, ("cat", "dog"), found)
    result = Result("c1", FRAME.stamp_ns, "camera_link", "two", (branch,))
    return send(make_answer("pose it", result=result))


def test_poses_arrive_as_they_were_sent():
    sent = make_poses()
    (got,) = read_result(send_poses(sent)).result.branches
    ours, theirs = got.detections.keypoints, sent.keypoints
    assert (got.route, ours.names, ours.edges) == (Route.POSE, theirs.names, theirs.edges)
    np.testing.assert_array_equal(ours.points_xy, theirs.points_xy)
    np.testing.assert_array_equal(ours.scores, theirs.scores)
    assert ours.points_xy.dtype == np.float32
    assert got.detections.masks is None


def test_poses_with_unequal_keypoints_cannot_be_read():
    message = send_poses(make_poses())
    message.instances[1].keypoints[0].name = "beak"
    with pytest.raises(TransportError, match="beak"):
        read_result(message)
    message = send_poses(make_poses())
    message.instances[0].skeleton_edges = message.instances[1].skeleton_edges = np.array(
        [0, 1, 2], np.uint16
    )
    with pytest.raises(TransportError, match="pairs"):
        read_result(message)
