from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.node.stepwise_perceiver import (
    STEPS,
    AnswerLog,
    StepwisePerceiver,
    ask,
    make_image,
    running_node,
)
from vl2_ros.errors import ConfigError, InputError
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.node.request import Mode, Status
from vl2_ros.structures import StageEvent, TextEvent, WatchMode, WatchOptions


@pytest.fixture
def perceiver() -> StepwisePerceiver:
    return StepwisePerceiver()


def test_an_answer_names_its_request_and_the_image_that_was_used(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(11))
        node.put_image("image", make_image(22))
        own = AnswerLog()
        node.submit(ask("a", "find the mug"), on_answer=own)
        (answer,) = log.wait_for(1)
        assert own.wait_for(1) == [answer]
    assert (answer.request_id, answer.text, answer.camera) == ("a", "find the mug", "image")
    assert (answer.status, answer.message, answer.is_final) == (Status.OK, "", True)
    assert answer.frame is not None and answer.frame.stamp_ns == 22
    assert answer.result is not None and answer.result.text == "saw 22"
    assert list(answer.stage_ms) == ["queue", "decode", "language"]
    assert min(answer.stage_ms.values()) >= 0.0
    assert node.info.name == "stepwise"


def test_a_request_before_any_image_waits_for_it(perceiver):
    with running_node(perceiver) as (node, log):
        node.submit(ask("a"))
        assert node.report().queue_length == 1
        node.put_image("image", make_image(5))
        assert log.wait_for(1)[0].status is Status.OK
    assert perceiver.runs == [("a", 5)]


def test_asks_are_answered_first_come_first_served(perceiver):
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        for name in "abcdef":
            node.submit(ask(name))
        perceiver.go()
        answers = log.wait_for(6)
    assert [answer.request_id for answer in answers] == list("abcdef")


def test_one_command_too_many_is_answered_busy_in_the_callers_thread(perceiver):
    perceiver.hold()
    with running_node(perceiver, queue_size=2) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("running"))
        perceiver.wait_for_steps(1)
        for name in ("first", "second", "third"):
            node.submit(ask(name))
        assert log.statuses() == [("third", Status.BUSY)]
        assert log.answers[0].message and log.threads[0] is threading.current_thread()
        perceiver.go()
        log.wait_for(4)
    done = [request_id for request_id, status in log.statuses() if status is Status.OK]
    assert done == ["running", "first", "second"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ask("x", camera="elsewhere"), ("elsewhere", "image")),
        (ask("x", text="  "), ("empty",)),
        (ask("x", text="m" * 1_000_000), ("1000000",)),
        (ask("x", score_threshold=float("nan")), ("score_threshold",)),
        (ask("x", mode=Mode.WATCH, camera="elsewhere"), ("elsewhere",)),
    ],
)
def test_an_invalid_request_is_answered_at_once(perceiver, request_, words):
    with running_node(perceiver) as (node, log):
        node.submit(request_)
        assert log.statuses() == [("x", Status.INVALID)]
        assert log.threads[0] is threading.current_thread()
        assert all(word in log.answers[0].message for word in words)
        assert node.report().queue_length == 0 and node.list_watches() == ()


def test_a_image_of_an_unknown_camera_is_refused(perceiver):
    with (
        running_node(perceiver, cameras=("left", "right")) as (node, _),
        pytest.raises(InputError, match="'up'.*left, right"),
    ):
        node.put_image("up", make_image(1))


def test_an_id_can_be_used_again_only_after_its_answer(perceiver):
    perceiver.hold()
    with running_node(perceiver, cameras=("image", "dark")) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("runs"))
        perceiver.wait_for_steps(1)
        node.submit(ask("waits", camera="dark"))
        node.submit(ask("watches", mode=Mode.WATCH, camera="dark"))
        for name in ("runs", "waits", "watches"):
            node.submit(ask(name))
            assert log.statuses()[-1] == (f"refused:{name}", Status.INVALID) and repr(name) in (
                log.answers[-1].message
            )
        again = AnswerLog()

        def resubmit(_: object) -> None:
            node.submit(ask("free", text="again"), on_answer=again)

        node.submit(ask("free"), on_answer=resubmit)
        perceiver.go()
        assert again.wait_for(1)[0].status is Status.OK
        assert log.wait_for_final("runs").status is Status.OK
    assert log.statuses().count(("runs", Status.OK)) == 1


def test_cameras_do_not_wait_for_each_other(perceiver):
    with running_node(perceiver, cameras=("left", "right")) as (node, log):
        node.submit(ask("l", camera="left"))
        node.submit(ask("r", camera="right"))
        node.put_image("right", make_image(2))
        assert log.wait_for(1)[0].request_id == "r"
        node.put_image("left", make_image(1))
        answers = log.wait_for(2)
        node.submit(ask("default"))
        assert log.wait_for(3)[2].camera == "left"
    assert [(a.camera, a.frame.stamp_ns) for a in answers if a.frame] == [("right", 2), ("left", 1)]


def test_commands_about_one_image_decode_it_once(perceiver):
    decoded: list[int] = []
    perceiver.hold()
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(3, on_decode=lambda: decoded.append(3)))
        node.submit(ask("w", mode=Mode.WATCH))
        node.submit(ask("a"))
        node.submit(ask("b"))
        perceiver.go()
        log.wait_for(3)
    assert decoded == [3] and len(perceiver.runs) == 3


def test_further_images_reach_the_perceiver_decoded(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a", images=(make_image(8), make_image(9))))
        assert log.wait_for(1)[0].status is Status.OK
    assert [frame.stamp_ns for frame in perceiver.commands[0].images] == [8, 9]


def test_events_come_in_order_and_none_after_the_answer(perceiver):
    heard: list[object] = []
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_event=heard.append, on_answer=heard.append)
        node.submit(ask("b"))
        answers = log.wait_for(2)
    assert heard[:2] == [StageEvent("decode"), StageEvent("language")]
    assert heard[2:5] == [TextEvent("word", ()), TextEvent("word word", ()), heard[4]]
    assert heard[5:] == [answers[0]]


def test_limits_come_from_the_request_or_from_the_parameters_as_they_are_now(perceiver):
    with running_node(perceiver, score_threshold=0.5, max_instances=7) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        node.submit(ask("b", score_threshold=0.0))
        log.wait_for(2)
        parameters = NodeParameters(
            max_frame_age_s=0.0, command_deadline_s=600.0, score_threshold=0.9, max_new_tokens=5
        )
        node.change_parameters(parameters)
        assert node.parameters == parameters
        node.submit(ask("c"))
        log.wait_for(3)
    limits = [(c.score_threshold, c.max_instances, c.max_new_tokens) for c in perceiver.commands]
    assert limits == [(0.5, 7, 192), (0.0, 7, 192), (0.9, 100, 5)]


def test_the_watch_mode_is_the_requests_else_the_parameters_else_the_models(perceiver):
    with running_node(perceiver, watch_refresh_frames=9) as (node, log):
        node.put_image("image", make_image(1))
        for index, mode in enumerate(("default", "plain", "exact", "cached", "auto")):
            node.change_parameters(replace(node.parameters, watch_mode=mode))
            node.submit(ask(f"a{index}"))
            log.wait_for(index + 1)
        node.submit(ask("w", watch_mode=WatchMode.EXACT))
        log.wait_for(6)
    modes = [None, *WatchMode, WatchMode.EXACT]
    assert [one.watching for one in perceiver.commands] == [WatchOptions(one, 9) for one in modes]


def test_a_parameter_that_is_not_live_cannot_change(perceiver):
    with running_node(perceiver) as (node, _):
        before = node.parameters
        for name, value in (("queue_size", 3), ("cameras", ("b",)), ("diagnostics_period_s", 2.0)):
            with pytest.raises(ConfigError, match=name):
                node.change_parameters(NodeParameters(**{name: value, "max_instances": 1}))
        assert node.parameters is before


def test_an_old_image_is_not_used_until_the_parameter_allows_it(perceiver):
    with running_node(perceiver, max_frame_age_s=0.001) as (node, log):
        node.put_image("image", make_image(1))
        threading.Event().wait(0.05)
        node.submit(ask("a"))
        node.submit(ask("w", mode=Mode.WATCH))
        threading.Event().wait(0.1)
        assert log.answers == [] and perceiver.runs == []
        node.change_parameters(NodeParameters(max_frame_age_s=0.0, command_deadline_s=600.0))
        assert {answer.request_id for answer in log.wait_for(2)} == {"a", "w"}


def test_the_report_sums_up_the_node(perceiver):
    perceiver.hold()
    with running_node(perceiver, cameras=("image", "dark"), queue_size=1) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        perceiver.wait_for_steps(1)
        for stamp in (2, 3, 4):
            node.put_image("image", make_image(stamp))
        node.submit(ask("w", mode=Mode.WATCH, camera="dark", rate_hz=5.0))
        node.submit(ask("b", camera="dark"))
        node.submit(ask("c"))
        report = node.report()
        assert (report.running_id, report.queue_length) == ("a", 1)
        assert [(c.name, c.received, c.dropped, c.used) for c in report.cameras] == [
            ("image", 4, 2, 1),
            ("dark", 0, 0, 0),
        ]
        assert [(w.id, w.camera, w.rate_hz, w.remaining_s) for w in report.watches] == [
            ("w", "dark", 5.0, 0.0)
        ]
        assert report.watches == node.list_watches()
        assert report.is_worker_alive and report.last_error == ""
        assert report.stage_mean_ms == {}
        perceiver.go()
        log.wait_for_final("a")
        report = node.report()
        assert report.answer_counts[Status.OK] == 1 and report.answer_counts[Status.BUSY] == 1
        assert set(report.answer_counts) == set(Status)
        assert (
            set(report.stage_mean_ms)
            == set(report.stage_max_ms)
            == {
                "queue",
                "decode",
                "language",
            }
        )
    assert not node.report().is_worker_alive


def test_stop_answers_everything_and_start_works_again(perceiver):
    perceiver.hold()
    log = AnswerLog()
    parameters = NodeParameters(
        cameras=("image", "dark"), max_frame_age_s=0.0, command_deadline_s=600.0
    )
    node = PerceptionNode(perceiver, parameters, log)
    node.submit(ask("early"))
    assert log.statuses() == [("early", Status.BUSY)]
    node.stop()
    node.start()
    with pytest.raises(ConfigError, match="runs already"):
        node.start()
    image = make_image(1)
    decoder = weakref.ref(image.decode)
    node.put_image("image", image)
    node.submit(ask("runs"))
    perceiver.wait_for_steps(1)
    node.submit(ask("waits", camera="dark"))
    node.submit(ask("watches", mode=Mode.WATCH, camera="dark"))
    stopping = threading.Thread(target=node.stop)
    stopping.start()
    log.wait_for_final("waits")
    node.submit(ask("late"))
    perceiver.go()
    stopping.join()
    assert log.wait_for_final("late").status is Status.BUSY
    assert sorted(log.statuses()[1:]) == [
        ("late", Status.BUSY),
        ("runs", Status.CANCELED),
        ("waits", Status.CANCELED),
        ("watches", Status.ENDED),
    ]
    assert perceiver.steps == perceiver.closed == 1
    assert not node.report().is_worker_alive and node.list_watches() == ()
    assert [t.name for t in threading.enumerate() if t.name.startswith("vl2 ")] == []
    log.answers.clear()
    del image
    gc.collect()
    assert decoder() is None
    node.stop()
    node.start()
    node.put_image("image", make_image(2))
    node.submit(ask("runs"))
    assert log.wait_for_final("runs").status is Status.OK
    node.stop()


def test_stop_from_a_callback_is_refused_instead_of_waiting_for_itself(perceiver):
    refusals: list[ConfigError] = []
    with running_node(perceiver) as (node, log):

        def stop(_: object) -> None:
            with pytest.raises(ConfigError, match="callback") as caught:
                node.stop()
            refusals.append(caught.value)

        node.put_image("image", make_image(1))
        node.submit(ask("a"), on_answer=stop)
        node.submit(ask("b"))
        log.wait_for(2)
    assert len(refusals) == 1


def test_every_request_gets_one_final_answer_whatever_is_called_meanwhile(perceiver):
    cameras = ("left", "right")
    with running_node(perceiver, cameras=cameras, queue_size=4, max_watches=3) as (node, log):
        done = threading.Event()

        def shoot() -> None:
            stamp = 0
            while not done.is_set():
                stamp += 1
                node.put_image(cameras[stamp % 2], make_image(stamp))
                done.wait(0.0005)

        def talk(name: str) -> None:
            random = np.random.default_rng(ord(name))
            for index in range(60):
                mode = Mode.WATCH if random.random() < 0.3 else Mode.ASK
                duration_s = 0.003 if random.random() < 0.5 else 0.0
                deadline_s = 0.002 if random.random() < 0.3 else 0.0
                node.submit(
                    ask(
                        f"{name}{index}",
                        mode=mode,
                        camera=cameras[index % 2],
                        duration_s=duration_s,
                        deadline_s=deadline_s,
                    )
                )
                if random.random() < 0.4:
                    node.cancel(f"{name}{int(random.integers(0, index + 1))}")
                if random.random() < 0.02:
                    node.cancel("")
                done.wait(0.001)

        camera = threading.Thread(target=shoot)
        talkers = [threading.Thread(target=talk, args=(name,)) for name in "abc"]
        for thread in (camera, *talkers):
            thread.start()
        for thread in talkers:
            thread.join()
        done.set()
        camera.join()
        node.stop()
        assert node.report().last_error == ""
    for name in "abc":
        for index in range(60):
            own = [a for a in log.answers if a.request_id == f"{name}{index}"]
            assert [a.is_final for a in own] == [False] * (len(own) - 1) + [True]
            if own[-1].status is Status.ENDED:
                assert [a.sequence for a in own] == list(range(len(own)))
                stamps = [a.frame.stamp_ns for a in own if a.frame is not None]
                assert stamps == sorted(set(stamps))
    assert {a.status for a in log.answers} >= {Status.OK, Status.ENDED}


def test_the_node_needs_numpy_alone():
    blocked = ["torch", "cv2", "PIL", "scipy", "rosbags", "mcap", "cyclonedds", "rclpy", "rich"]
    code = (
        f"import sys\nfor name in {blocked!r}: sys.modules[name] = None\n"
        "import vl2_ros.node.perception\n"
        "print([n for n in ('vl2_ros.model', 'vl2_ros.flow.pipeline') if n in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_the_perceiver_takes_as_many_steps_as_it_says(perceiver):
    with running_node(perceiver) as (node, log):
        node.put_image("image", make_image(1))
        node.submit(ask("a"))
        log.wait_for(1)
    assert (perceiver.steps, perceiver.closed) == (STEPS, 1)
