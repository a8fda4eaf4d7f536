from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace

import cv2
import numpy as np
import pytest

from tests.clients.live_stage import CAMERA, FRAME_HW, LiveStage
from tests.node.wire import wait_until
from tests.views.live.page_socket import open_stream, receive_document, receive_frame
from vl2_ros.clients.live_answers import KEPT_S, DrawnResults, describe_answer
from vl2_ros.clients.live_view import LiveView
from vl2_ros.clients.received_result import ReceivedResult
from vl2_ros.errors import ConfigError
from vl2_ros.node.request import Status
from vl2_ros.structures import PromptKind, Result


@pytest.fixture
def stage():
    stage = LiveStage()
    yield stage
    stage.close()


def send(stream, **command) -> None:
    stream.send(json.dumps(command))


def decode(jpeg: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def is_drawn(jpeg: bytes) -> bool:
    """The camera shows even grey: colour is what was drawn."""
    image = decode(jpeg)
    return int((image.max(axis=2) - image.min(axis=2)).max()) > 40


def test_page_shows_the_camera_that_the_node_names(stage):
    with open_stream(stage.server.port) as page:
        header, jpeg = receive_frame(page)
        assert (header["height"], header["width"]) == FRAME_HW and header["age_s"] is None
        assert decode(jpeg).shape == (*FRAME_HW, 3) and not is_drawn(jpeg)
        state = receive_document(page, "state")
        assert "/vl2" in state["summary"] and CAMERA in state["summary"]
        assert [name for name, _ in state["rates"]] == ["camera", "shown", "results"]


@pytest.mark.parametrize("camera", ["", "image", CAMERA, CAMERA.lstrip("/")])
def test_a_remapped_camera_is_shown_by_its_name_and_its_topic(camera):
    remapped = {"node_camera": "image", "remap": {"image": CAMERA}}
    with (
        closing(LiveStage(camera=camera, **remapped)) as stage,
        open_stream(stage.server.port) as page,
    ):
        receive_frame(page)
        wait_until(
            lambda: CAMERA in receive_document(page, "state")["summary"], "the camera is found"
        )
        send(page, type="watch", text="segment it")
        receive_document(page, "answer", status="OK", is_live=True)
        wait_until(lambda: is_drawn(receive_frame(page)[1]), "the answer is drawn")


def test_an_answer_about_another_clients_unknown_camera_is_shown(stage):
    with open_stream(stage.server.port) as page:
        receive_frame(page)
        stage.client.send("find it", command_id="other", camera="no camera")
        answer = receive_document(page, "answer", id="other")
        assert answer["status"] == "INVALID" and "there is no camera" in answer["text"]


def test_a_sentence_is_answered_on_every_page(stage):
    with open_stream(stage.server.port) as mine, open_stream(stage.server.port) as other:
        receive_frame(mine)
        send(mine, type="ask", text="segment the mug")
        for page in (mine, other):
            sent = receive_document(page, "answer", status="SENT")
            assert sent["question"] == "segment the mug" and sent["is_live"]
            answer = receive_document(page, "answer", id=sent["id"], status="OK")
            assert answer["text"] == "answer to: segment the mug" and not answer["is_live"]
            assert answer["found"] == ["mug 0.90", "bowl 0.50"]
            ((_, image),) = answer["images"]
            assert image.startswith("data:image/jpeg;base64,")
    with open_stream(stage.server.port) as late:
        assert receive_document(late, "answer")["id"] == sent["id"]


def test_watch_is_drawn_until_it_is_stopped(stage):
    with open_stream(stage.server.port) as page:
        send(page, type="watch", text="segment it")
        answer = receive_document(page, "answer", status="OK", is_live=True)
        while not is_drawn((frame := receive_frame(page))[1]):
            pass
        assert frame[0]["age_s"] >= 0.0
        send(page, type="stop", id=answer["id"])
        ended = receive_document(page, "answer", id=answer["id"], is_live=False)
        assert ended["status"] == "ENDED"
        while is_drawn((frame := receive_frame(page))[1]):
            pass
        assert frame[0]["age_s"] is None


def test_points_and_boxes_reach_the_node(stage):
    prompts = [
        {"kind": "point", "points": [[320, 100.5]]},
        {"kind": "box", "points": [[10, 20], [630, 470]]},
    ]
    with open_stream(stage.server.port) as page:
        receive_frame(page)
        send(page, type="ask", text="find it", prompts=prompts)
        receive_document(page, "answer", status="OK")
    _, command = stage.perceiver.seen[-1]
    point, box = command.visual_prompts
    assert (point.kind, box.kind) == (PromptKind.POINT, PromptKind.BOX)
    np.testing.assert_array_equal(point.points_xy, [[320, 100.5]])
    np.testing.assert_array_equal(box.points_xy, [[10, 20], [630, 470]])


def test_refusals_are_shown(stage):
    prompts = [{"kind": "point", "points": [[5000, 1]]}]
    with open_stream(stage.server.port) as page:
        receive_frame(page)
        send(page, type="ask", text="find it", prompts=prompts)
        answer = receive_document(page, "answer", is_bad=True)
        assert answer["status"] == "INVALID" and "outside the image" in answer["text"]
        send(page, type="ask", text="change it")
        answer = receive_document(page, "answer", status="OK")
        assert [name for name, _ in answer["images"]] == ["[EDIT]"]


def test_tracks_are_named(stage):
    stage.perceiver.track_ids = np.array([7, 0])
    with open_stream(stage.server.port) as page:
        send(page, type="watch", text="find it")
        answer = receive_document(page, "answer", status="OK")
    assert answer["found"] == ["mug 0.90 #7", "bowl 0.50"]


def test_camera_is_subscribed_only_while_someone_looks(stage, clock):
    def is_wanted() -> bool:
        return stage.camera.count_subscribers() == 2  # the node's own is one

    assert not is_wanted()
    with open_stream(stage.server.port) as page:
        receive_frame(page)
        assert is_wanted()
    wait_until(lambda: not stage.audience.wants_frame, "the page has gone")
    clock.advance(10.0)
    wait_until(lambda: not is_wanted(), "the subscription is closed")
    with open_stream(stage.server.port) as page:
        receive_frame(page)


def test_close_ends_its_watches():
    stage = LiveStage(camera=CAMERA)
    with open_stream(stage.server.port) as page:
        send(page, type="watch", text="find it")
        receive_document(page, "answer", status="OK")
    assert stage.node.node.report().watches
    stage.view.close()
    wait_until(lambda: not stage.node.node.report().watches, "the watch has ended")
    assert stage.view.failure == ""
    stage.close()


def test_a_watch_ends_with_the_view_after_any_number_of_questions():
    with closing(LiveStage(camera=CAMERA)) as stage, open_stream(stage.server.port) as page:
        send(page, type="watch", text="find it")
        receive_document(page, "answer", status="OK", is_live=True)
        for number in range(110):
            send(page, type="ask", text=f"segment {number}")
            receive_document(page, "answer", question=f"segment {number}", status="OK")
        stage.view.close()
        wait_until(lambda: not stage.node.node.report().watches, "the watch has ended")


def test_options_are_checked():
    with closing(LiveStage()) as stage:
        arguments = (stage.client, stage._transports[2], stage.audience, [])
        for rate in (0.0, -1.0, 61.0, float("nan")):
            with pytest.raises(ConfigError, match="rate"):
                LiveView(*arguments, rate_hz=rate)
        with pytest.raises(ConfigError, match="image_transport"):
            LiveView(*arguments, camera="a", image_transport="png")
        with pytest.raises(ConfigError, match="no ROS name"):
            LiveView(*arguments, camera="a b")


def make_received(name: str, stamp_ns: int, *, is_final: bool, status=Status.OK) -> ReceivedResult:
    result = Result(name, stamp_ns, "camera", name)
    return ReceivedResult(result, status, "", "find it", "cam", is_final, 0, "", "", "")


def select(drawn: DrawnResults, frame_s: float, arrivals=None) -> tuple[list[str], float | None]:
    results, age_s = drawn.select(frame_s, (arrivals or {}).get)
    return [one.text for one in results], age_s


def test_newest_result_of_each_watch_and_the_last_question_are_drawn():
    drawn = DrawnResults()
    for name, is_final in (("a", False), ("ask 1", True), ("b", False), ("ask 2", True)):
        drawn.add(make_received(name, 1, is_final=is_final), 10.0)
    drawn.add(make_received("a", 2, is_final=False), 11.0)
    assert select(drawn, 11.5) == (["b", "ask 2", "a"], 0.5)
    drawn.add(make_received("b", 0, is_final=True, status=Status.ENDED), 11.5)
    assert select(drawn, 12.0) == (["ask 2", "a"], 1.0)


def test_old_results_are_not_drawn():
    drawn = DrawnResults()
    drawn.add(make_received("slow", 7, is_final=True), 100.0)
    # Asked about an image that came long before the answer did.
    assert select(drawn, 101.0, {7: 60.0}) == (["slow"], 41.0)
    # The same image comes again and again.
    assert select(drawn, 200.0, {7: 200.0}) == (["slow"], 0.0)
    assert select(drawn, 100.1 + KEPT_S, {7: 60.0}) == ([], None)


def test_an_answer_about_an_unlike_image_says_so():
    received = make_received("a", 1, is_final=True)
    assert describe_answer(received)["facts"] == []
    unlike = replace(received.result, in_domain=False)
    assert describe_answer(replace(received, result=unlike))["facts"] == [unlike.message]
    (fact,) = describe_answer(replace(received, message="no depth"))["facts"]
    assert fact == "no depth"
