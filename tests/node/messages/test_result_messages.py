from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.node.scripted_perceiver import IMAGE_ROUTES, make_detections
from vl2_ros.node.messages.instance_messages import draw_labels
from vl2_ros.node.messages.result_messages import (
    RESULT,
    RESULT_TOPICS,
    ROUTE_TOPICS,
    SPATIAL_TOPICS,
    ResultMessages,
)
from vl2_ros.node.messages.rle import read_mask
from vl2_ros.node.request import Answer, Status
from vl2_ros.structures import (
    UNLABELLED,
    Branch,
    Detections,
    Frame,
    GeneratedImage,
    Keypoints,
    LabelMap,
    ModelInfo,
    Result,
    Route,
)
from vl2_ros.transports.message_types import StoreMessageTypes

FRAME = Frame(np.zeros((10, 12, 3), np.uint8), 1_700_000_000_000_000_123, "camera_link")
MODEL = ModelInfo("embedded", "0123abcd", "torch", "cpu", tuple(Route))


def make_image(route: Route, hw: tuple[int, int] = (10, 12)) -> GeneratedImage:
    rgb = np.arange(hw[0] * hw[1] * 3, dtype=np.uint8).reshape(*hw, 3)
    return GeneratedImage(route, rgb, seed=2**63 - 1, steps=20, scheduler="dpm++")


def make_answer(*routes: Route, found: Detections | None = None, **changes) -> Answer:
    found = make_detections(FRAME) if found is None else found
    branches = tuple(
        Branch(route, ("mug", "bowl"), found) for route in routes if route not in IMAGE_ROUTES
    )
    images = tuple(make_image(route) for route in routes if route in IMAGE_ROUTES)
    fields = {
        "request_id": "seven",
        "text": "find the mug and the bowl",
        "camera": "image",
        "status": Status.OK,
        "frame": FRAME,
        "result": Result(
            "seven", FRAME.stamp_ns, FRAME.frame_id, "I found them.", branches, images=images
        ),
        "stage_ms": {"queue": 0.5, "decode": 1.0, "language": 20.25},
    }
    return Answer(**(fields | changes))


def make_messages(answer: Answer) -> dict[str, list]:
    maker = ResultMessages(StoreMessageTypes(), lambda: MODEL)
    parts = maker.open_parts(answer)
    messages: dict[str, list] = {}
    for topic in maker.list_topics(answer):
        for message in maker.make_messages(topic, parts):
            assert message.__msgtype__ == topic.type_name
            messages.setdefault(topic.name, []).append(message)
    return messages | {RESULT.name: [maker.make_result(answer, parts)]}


def test_complete_result_holds_everything_of_the_answer():
    answer = make_answer(Route.SEGMENT, is_final=False, sequence=4)
    (result,) = make_messages(answer)["~/result"]
    assert (result.header.stamp.sec, result.header.stamp.nanosec) == (1_700_000_000, 123)
    assert result.header.frame_id == "camera_link"
    assert (result.command_id, result.command_text) == ("seven", "find the mug and the bowl")
    assert (result.camera, result.status, result.message) == ("image", 0, "")
    assert (result.is_final, result.sequence) == (False, 4)
    assert (result.text, result.routes) == ("I found them.", ["segment"])
    assert [(one.stage, one.duration_ms) for one in result.stage_times] == [
        ("queue", 0.5),
        ("decode", 1.0),
        ("language", 20.25),
    ]
    assert (result.model, result.model_identity) == ("embedded", "0123abcd")
    assert result.engine == "torch cpu"


def test_instance_is_the_detection_in_pixels():
    (result,) = make_messages(make_answer(Route.SEGMENT))["~/result"]
    mug, bowl = result.instances
    assert (mug.route, mug.label, mug.class_id) == ("segment", "mug", 0)
    assert (bowl.label, bowl.class_id) == ("bowl", 1)
    assert mug.score == pytest.approx(0.9)
    assert (mug.box.center.position.x, mug.box.center.position.y) == (3.5, 3.5)
    assert (mug.box.size_x, mug.box.size_y, mug.box.center.theta) == (5.0, 5.0, 0.0)
    expected = make_detections(FRAME).masks
    for instance, mask in zip(result.instances, expected, strict=True):
        wire = instance.mask
        np.testing.assert_array_equal(read_mask(wire).decode(), mask)


def test_what_is_not_known_is_empty_or_zero_on_the_wire():
    (result,) = make_messages(make_answer(Route.DETECT))["~/result"]
    assert (result.raw_text, result.in_domain, result.answer_score) == ("", 0, 0.0)
    assert result.answer_age == 0
    assert [one.track_id for one in result.instances] == [0, 0]
    (refused,) = make_messages(make_answer(status=Status.BUSY, result=None))["~/result"]
    assert (refused.raw_text, refused.in_domain, refused.answer_score) == ("", 0, 0.0)


@pytest.mark.parametrize(("in_domain", "name"), [(True, "INSIDE"), (False, "OUTSIDE")])
def test_what_is_known_of_an_answer_stands_in_its_result(in_domain, name):
    answer = make_answer(Route.DETECT)
    known = replace(
        answer.result,
        raw_text="It is.[DET]</s>",
        in_domain=in_domain,
        answer_score=0.75,
        answer_age=4,
    )
    (result,) = make_messages(replace(answer, result=known))["~/result"]
    assert (result.raw_text, result.answer_score) == ("It is.[DET]</s>", 0.75)
    assert result.answer_age == 4
    assert result.in_domain == getattr(result, f"DOMAIN_{name}")
    assert ("unlike those that the model was trained on" in result.message) == (not in_domain)


def test_tracks_are_in_every_message_about_instances():
    found = replace(make_detections(FRAME), track_ids=np.array([7, 0]))
    messages = make_messages(make_answer(Route.SEGMENT, found=found))
    for message in (*messages["~/result"], *messages["~/segmentation"]):
        assert [one.track_id for one in message.instances] == [7, 0]
    (array,) = messages["~/detections"]
    assert [one.id for one in array.detections] == ["7", ""]


def test_instances_without_masks_have_none_on_the_wire():
    found = make_detections(FRAME)
    bare = Detections(found.boxes_xyxy, found.scores, found.class_ids, found.labels)
    (result,) = make_messages(make_answer(Route.DETECT, found=bare))["~/result"]
    assert [(one.mask.height, len(one.mask.counts)) for one in result.instances] == [(0, 0)] * 2


def test_detections_hold_the_boxes_of_all_routes():
    (array,) = make_messages(make_answer(Route.DETECT, Route.SEGMENT))["~/detections"]
    assert array.header.frame_id == "camera_link"
    assert len(array.detections) == 4
    mug = array.detections[0]
    assert mug.header.stamp.nanosec == 123
    (hypothesis,) = mug.results
    assert hypothesis.hypothesis.class_id == "mug"
    assert hypothesis.hypothesis.score == pytest.approx(0.9)
    assert (mug.bbox.center.position.x, mug.bbox.size_x) == (3.5, 5.0)


@pytest.mark.parametrize("route", list(Route))
def test_route_decides_the_topics(route):
    branches = () if route is Route.ANSWER else (route,)
    names = set(make_messages(make_answer(*branches)))
    # There is no depth in this answer.
    silent = {topic.name for topic in SPATIAL_TOPICS}
    expected = {topic.name for topic in ROUTE_TOPICS[route]} - silent
    assert names == expected | {"~/result"}


def test_several_routes_share_their_topics_in_the_order_of_the_list():
    answer = make_answer(Route.POSE, Route.SEGMENT, Route.DETECT)
    topics = ResultMessages(StoreMessageTypes(), lambda: MODEL).list_topics(answer)
    assert list(topics) == sorted(set(topics), key=RESULT_TOPICS.index)
    by_name = {name: messages[-1] for name, messages in make_messages(answer).items()}
    assert by_name["~/segmentation"].route == "segment"
    assert by_name["~/poses"].route == "pose"
    assert by_name["~/segmentation"].phrases == ["mug", "bowl"]
    assert by_name["~/segmentation"].command_id == "seven"
    assert [one.label for one in by_name["~/segmentation"].instances] == ["mug", "bowl"]
    assert by_name["~/result"].routes == ["pose", "segment", "detect"]
    assert len(by_name["~/result"].instances) == 6


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OK])
def test_answer_that_is_not_ok_is_one_result(status):
    answer = make_answer(status=status, message="why", frame=None, result=None)
    messages = make_messages(answer)
    assert set(messages) == {"~/result"}
    (result,) = messages["~/result"]
    assert (result.status, result.message, result.text) == (status, "why", "")
    assert (result.routes, result.instances) == ([], [])
    assert (result.header.stamp.sec, result.header.frame_id) == (0, "")


def test_nothing_found_is_said_on_every_topic():
    messages = make_messages(make_answer(Route.SEGMENT, found=Detections.empty()))
    assert messages["~/detections"][0].detections == []
    assert messages["~/segmentation"][0].instances == []
    assert (messages["~/label_image"][0].data == 255).all()
    assert len(messages["~/label_info"][0].class_map) == 2


def test_poses_hold_named_keypoints_in_pixels_and_edges():
    found = make_detections(FRAME)
    keypoints = Keypoints(
        names=("nose", "left eye"),
        points_xy=np.array([[(1, 2), (3, 4.5)], [(5, 6), (7, 8)]], np.float32),
        scores=np.array([[0.9, 0.9], [0.5, 0.5]], np.float32),
        edges=((0, 1),),
    )
    values = (found.boxes_xyxy, found.scores, found.class_ids, found.labels, None)
    messages = make_messages(make_answer(Route.POSE, found=Detections(*values, keypoints)))
    (array,), (result,) = messages["~/poses"], messages["~/result"]
    assert array.route == "pose"
    assert len(messages["~/detections"][0].detections) == 2
    for instances in (array.instances, result.instances):
        first = instances[0]
        assert [(p.name, p.x, p.y) for p in first.keypoints] == [
            ("nose", 1.0, 2.0),
            ("left eye", 3.0, 4.5),
        ]
        assert first.keypoints[0].score == pytest.approx(0.9)
        assert list(first.skeleton_edges) == [0, 1]
        assert [p.x for p in instances[1].keypoints] == [5.0, 7.0]


def test_edit_has_its_frame_id_and_a_generated_image_none():
    images = (make_image(Route.GENERATE, (64, 48)), make_image(Route.EDIT))
    result = Result("seven", FRAME.stamp_ns, FRAME.frame_id, "Here.", images=images)
    messages = make_messages(make_answer(result=result))
    (complete,) = messages["~/result"]
    assert complete.routes == ["generate", "edit"] and complete.instances == []
    for message, sent, made in zip(
        complete.images, messages["~/generated_image"], images, strict=True
    ):
        assert message.image is sent
        assert (message.seed, message.steps, message.scheduler) == (2**63 - 1, 20, "dpm++")
        assert (sent.encoding, sent.step) == ("rgb8", sent.width * 3)
        np.testing.assert_array_equal(sent.data.reshape(sent.height, sent.width, 3), made.rgb)
        assert (sent.header.stamp.sec, sent.header.stamp.nanosec) == (1_700_000_000, 123)
    generated, edit = complete.images
    assert (generated.route, generated.image.header.frame_id) == ("generate", "")
    assert (edit.route, edit.image.header.frame_id) == ("edit", "camera_link")
    assert (edit.image.height, edit.image.width) == FRAME.frame_hw


def test_label_image_shows_the_class_of_the_better_of_two_instances():
    (image,) = make_messages(make_answer(Route.SEGMENT))["~/label_image"]
    assert (image.height, image.width, image.encoding, image.step) == (10, 12, "16UC1", 24)
    labels = image.data.view(np.uint16).reshape(10, 12)
    mug, bowl = make_detections(FRAME).masks
    np.testing.assert_array_equal(labels == 0, mug)
    np.testing.assert_array_equal(labels == 1, bowl & ~mug)
    assert (mug & bowl).any()
    assert labels[3, 3] == UNLABELLED


def test_label_image_and_its_legend_show_the_class_of_every_pixel():
    class_ids = np.array([[0, 1, UNLABELLED], [2, 2, 0]], np.uint16)
    branch = Branch(
        Route.SEGMENT, ("road", "sky", "car"), Detections.empty(), LabelMap(class_ids, 0.25)
    )
    result = Result("seven", FRAME.stamp_ns, FRAME.frame_id, "", (branch,))
    messages = make_messages(make_answer(result=result))
    (image,), (info,) = messages["~/label_image"], messages["~/label_info"]
    np.testing.assert_array_equal(image.data.view(np.uint16).reshape(2, 3), class_ids)
    assert info.header == image.header
    legend = {one.class_id: one.class_name for one in info.class_map}
    assert (legend, info.threshold) == ({0: "road", 1: "sky", 2: "car"}, 0.25)


def test_legend_is_kept_for_who_comes_late():
    (topic,) = (topic for topic in RESULT_TOPICS if topic.name == "~/label_info")
    assert topic.qos.transient_local and topic.qos.depth == 1


def test_labels_of_instances_without_masks_are_unlabelled():
    branch = Branch(Route.SEGMENT, (), Detections.empty())
    labels = draw_labels(branch, (4, 5))
    assert (labels.shape, labels.dtype) == ((4, 5), np.uint16)
    assert (labels == UNLABELLED).all()


def test_every_message_can_be_written_and_read():
    types = StoreMessageTypes()
    for route in Route:
        for messages in make_messages(make_answer(route)).values():
            for message in messages:
                data = types.serialize(message)
                assert type(types.deserialize(data, message.__msgtype__)) is type(message)
