from __future__ import annotations

import io
import json
import os
import sys
import threading

import pytest

from tests.console.command_line import check_document, run, run_beside
from tests.console.node_process import LiveNode
from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import PATIENCE_S, Inbox
from tests.recordings.recordings import (
    FIRST_STAMP_NS,
    PERIOD_NS,
    record_mcap,
    record_old_database,
)
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.console import terminal
from vl2_ros.load_options import LoadOptions
from vl2_ros.node.parameters import NodeParameters, ProcessParameters
from vl2_ros.node.transport import NEWEST_FROM_ANY
from vl2_ros.recordings.bag import list_image_topics
from vl2_ros.structures import WatchMode
from vl2_ros.transports.dds.transport import DdsTransport

STAMPS = [FIRST_STAMP_NS + index * PERIOD_NS for index in range(4)]


@pytest.fixture
def node(dds_domain, bag):
    node = LiveNode(bag)
    yield node
    node.close()


@pytest.fixture
def perceiver(monkeypatch):
    """Take the place of the model that commands of this process load."""
    perceiver = ScriptedPerceiver()
    perceiver.loaded = []

    def load(options, progress=None):
        perceiver.loaded.append(options)
        return perceiver

    monkeypatch.setattr("vl2_ros.loading.load_pipeline", load)
    return perceiver


class TestSend:
    def test_prints_the_answer_with_its_instances(self, node, capsys):
        assert run("send", "find it", "--timeout", PATIENCE_S) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "answer to: find it"
        assert lines[1:3] == [
            "[DET] mug (0.90, 1 1 6 6, 24 px)",
            "[DET] bowl (0.50, 4 4 8 8, 16 px)",
        ]

    def test_json_is_one_document(self, node, capsys):
        options = ("--id", "mine", "--threshold", 0.5, "--camera", "/image", "--deadline", 60)
        assert run("send", "segment it", "--json", *options) == 0
        (document,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        check_document(document)
        assert (document["command_id"], document["command"]) == ("mine", "segment it")
        assert (document["status"], document["camera"]) == ("OK", "/image")
        assert document["stamp_ns"] == STAMPS[0] and document["frame_id"] == "camera_link"
        assert [one["label"] for one in document["instances"]] == ["mug", "bowl"]
        assert sum(document["instances"][0]["mask"]["counts"]) == 16 * 24
        assert (document["model"], document["engine"]) == ("scripted", "numpy cpu")
        ((_, command),) = node.perceiver.seen
        assert command.score_threshold == 0.5

    def test_watch_prints_a_line_for_each_result_until_its_duration(self, node, capsys):
        threading.Timer(1.0, node.show_next).start()
        assert run("send", "find it", "--watch", 0, "--duration", 4) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("OK       5.000 /image | ask-")
        assert "answer to: find it | [DET] mug (0.90, 1 1 6 6, 24 px)" in lines[0]
        assert len(lines) >= 3
        assert lines[-1].startswith("ENDED    - /image")

    def test_the_mode_of_a_watch_is_sent(self, node):
        options = ("--watch", 0, "--duration", 0.5, "--watch-mode", "cached")
        assert run("send", "find it", *options) == 0
        assert node.perceiver.seen[0][1].watching.mode is WatchMode.CACHED

    def test_an_unknown_mode_of_a_watch_is_refused_before_a_node_is_looked_for(self, capsys):
        assert run("send", "find it", "--watch", 0, "--watch-mode", "fast") == 2
        error = " ".join(capsys.readouterr().err.split())
        assert "--watch-mode must be one of plain, exact, cached, auto, got 'fast'" in error

    def test_interrupted_watch_is_stopped_on_the_node(self, node):
        process = run_beside("send", "find it", "--watch", 0)
        assert process.stdout.readline().startswith("OK")
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, err
        assert out.splitlines()[-1].startswith("ENDED") and err == ""
        assert node.server.node.list_watches() == ()

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["find it", "--camera", "attic"], "invalid: there is no camera 'attic'"),
            (["fail"], "failed: EngineError: the engine is out of memory"),
            (["a" * 4001], "invalid: the command has 4001 characters"),
            (["find it", "--threshold", "3"], "invalid: score_threshold must lie in 0..1"),
        ],
    )
    def test_refusal_is_one_red_line(self, node, capsys, arguments, expected):
        assert run("send", *arguments) == 2
        streams = capsys.readouterr()
        assert streams.out == "" and expected in streams.err
        assert [line for line in streams.err.splitlines() if line.startswith("error: ")]
        assert "Traceback" not in streams.err

    def test_refusal_as_json_is_printed_too(self, node, capsys):
        assert run("send", "fail", "--json") == 2
        streams = capsys.readouterr()
        document = json.loads(streams.out)
        check_document(document)
        assert document["status"] == document["error"]["type"] == "FAILED"
        assert "error: failed" in streams.err

    def test_no_node_as_json_is_an_error_object(self, dds_domain, capsys):
        assert run("send", "find it", "--timeout", 0.2, "--json") == 2
        document = json.loads(capsys.readouterr().out)
        check_document(document)
        assert document["error"]["type"] == "TransportError"

    def test_no_node_is_one_red_line_that_says_what_to_do(self, dds_domain, capsys):
        assert run("send", "find it", "--timeout", 0.2, "--node-name", "eyes") == 2
        assert "no node /eyes came within 0.2 s; start one" in capsys.readouterr().err

    def test_domain_out_of_range_is_one_red_line(self, capsys):
        assert run("send", "find it", "--domain", 999) == 2
        assert "domain must be 0 to 232, got 999" in capsys.readouterr().err


class TestEcho:
    def test_prints_each_result_as_it_comes_of_any_client(self, node):
        process = run_beside("echo")
        transport = DdsTransport("other")
        client = PerceptionClient(transport)
        client.require_node(PATIENCE_S)
        for index, text in enumerate(("find\nit", "hello")):
            client.send(text, command_id=f"c{index}")
            line = process.stdout.readline()
            assert line.startswith("OK       5.000 /image | c")
            assert f"c{index}#0 | answer to: " in line
        process.terminate()
        out, _ = process.communicate(timeout=PATIENCE_S)
        assert (out, process.returncode) == ("", 0)
        transport.close()

    def test_json_ends_after_the_count(self, node):
        process = run_beside("echo", "--json", "--count", 1)
        assert run("send", "find it") == 0
        out, _ = process.communicate(timeout=PATIENCE_S)
        (document,) = [json.loads(line) for line in out.splitlines()]
        check_document(document)
        assert document["text"] == "answer to: find it" and process.returncode == 0

    def test_waiting_for_a_node_is_not_silent(self, dds_domain):
        process = run_beside("echo")
        assert f"no node /vl2 in ROS domain {dds_domain} yet" in process.stderr.readline()
        process.terminate()
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0


class TestCamera:
    def test_plays_a_recording_to_its_end(self, dds_domain, bag, capsys):
        transport = DdsTransport("other")
        kind = "sensor_msgs/msg/CompressedImage"
        inbox = Inbox(transport, "/front/compressed", kind, NEWEST_FROM_ANY)
        process = run_beside("camera", bag, "--onto", "/front", "--loop", "--rate", 20)
        stamps = {
            message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            for message in inbox.wait(6)
        }
        assert stamps <= set(STAMPS) and len(stamps) >= 2
        process.terminate()
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, err) == (0, "")
        assert f"/front in ROS domain {dds_domain}" in out
        transport.close()
        assert run("camera", bag) == 0
        assert "/camera/image_raw in ROS" in capsys.readouterr().out

    def test_steps_by_lines_of_input(self, dds_domain, bag):
        transport = DdsTransport("other")
        kind = "sensor_msgs/msg/CompressedImage"
        inbox = Inbox(transport, "/eye/compressed", kind, NEWEST_FROM_ANY)
        process = run_beside("camera", bag, "--onto", "/eye", "--step", "--rate", 50)
        for stamp_ns in STAMPS:
            inbox.wait(3, lambda one, ns=stamp_ns % 10**9: one.header.stamp.nanosec == ns)
            process.stdin.write("\n")
            process.stdin.flush()
        process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        transport.close()

    def test_missing_recording_is_one_red_line(self, dds_domain, capsys):
        assert run("camera", "nothing.mcap") == 2
        assert "nothing.mcap does not exist; expected" in capsys.readouterr().err


class TestServe:
    @pytest.fixture(autouse=True)
    def stay(self, monkeypatch):
        """Return with the code of the process where `vl2 serve` would end it."""

        def leave(code: int) -> None:
            raise SystemExit(code)

        monkeypatch.setattr("vl2_ros.console.terminal.leave_process", leave)

    def test_serves_until_it_is_interrupted(self, dds_domain, bag, perceiver, capsys, monkeypatch):
        answers = []

        def ask_then_end() -> None:
            transport = DdsTransport("other")
            client = PerceptionClient(transport, node_name="eyes", namespace="robot")
            client.require_node(PATIENCE_S)
            answers.extend(client.follow(client.send("find it", camera="/front"), PATIENCE_S))
            transport.close()
            ended.set()

        def wait() -> None:
            assert ended.wait(PATIENCE_S)
            raise KeyboardInterrupt

        ended = threading.Event()
        monkeypatch.setattr("vl2_ros.console.terminal.wait_for_interrupt", wait)
        camera = run_beside("camera", bag, "--loop")
        threading.Thread(target=ask_then_end).start()
        names = ("--node-name", "eyes", "--namespace", "robot", "--device", "cpu")
        cameras = ("--camera", "/back", "--camera", "/front")
        remap = ("--remap", "/front:=/camera/image_raw")
        settings = ("--command-deadline-s", 60, "--score-threshold", 0.6)
        backend = ("--backend", "torch", "--engines", bag.parent, "--no-allow-fallback")
        settings += ("--without", "image_generation", "--memory-budget-mb", 8000)
        assert run("serve", *names, *cameras, *remap, *settings, *backend) == 0
        camera.terminate()
        camera.communicate(timeout=PATIENCE_S)
        (answer,) = answers
        assert answer.status.name == "OK" and answer.result.stamp_ns in STAMPS
        assert {command.score_threshold for _, command in perceiver.seen} == {0.6}
        chosen = {"backend": "torch", "engines": bag.parent, "allow_fallback": False}
        chosen |= {"without": ("image_generation",), "memory_budget_mb": 8000.0}
        assert perceiver.loaded == [ProcessParameters(device="cpu", **chosen)]
        out = capsys.readouterr().out
        assert "/robot/eyes looks at /back, /camera/image_raw" in out
        assert f"ROS domain {dds_domain}" in out and "model scripted on cpu" in out

    def test_the_model_on_ros_is_set_by_parameters(self, monkeypatch):
        passed = {}
        monkeypatch.setattr(
            "vl2_ros.console.ros_node.run", lambda **options: passed.update(options)
        )
        options = ("--without", "pose_decoder", "--memory-budget-mb", 5, "--image-steps", 9)
        assert run("serve", "--transport", "ros", *options, "--device", "cpu") == 0
        values = passed["parameters"]
        assert (values["without"], values["memory_budget_mb"]) == (["pose_decoder"], 5.0)
        assert (values["image_steps"], values["autostart"]) == (9, True)
        assert run("serve", "--transport", "ros") == 0
        assert passed["parameters"]["without"] == [""]
        cameras = ("--camera", "left", "--camera", "right")
        depth = ("--depth-topic", "", "--depth-topic", "right/depth")
        assert run("serve", "--transport", "ros", *cameras, *depth) == 0
        assert passed["parameters"]["depth_topics"] == ["", "right/depth"]
        assert run("serve", "--transport", "ros", *cameras, "--depth-topic", "") == 0
        assert passed["parameters"]["depth_topics"] == [""]

    def test_end_of_input_ends_it_when_asked_for(self, dds_domain, perceiver, monkeypatch):
        read_end, write_end = os.pipe()
        with os.fdopen(read_end) as text, os.fdopen(write_end, "w") as pipe:
            monkeypatch.setattr(sys, "stdin", text)
            threading.Timer(0.5, pipe.close).start()
            assert run("serve", "--end-with-input", "--device", "cpu") == 0

    def test_input_that_has_ended_before_ends_it_too(self, dds_domain, perceiver, monkeypatch):
        """Also in a job of a shell, which begins with signals ignored."""
        with terminal.ignore_signals():
            monkeypatch.setattr(sys, "stdin", io.StringIO())
            assert run("serve", "--end-with-input", "--device", "cpu") == 0

    def test_every_parameter_of_the_node_is_an_option(self, capsys, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        assert run("serve", "--help") == 0
        out = capsys.readouterr().out
        for name in NodeParameters.__dataclass_fields__:
            singular = name.removesuffix("s") if name in ("cameras", "depth_topics") else name
            option = f"--{singular.replace('_', '-')}"
            assert f" {option} " in out, option
        # Those of its own also keep their texts.
        assert "Other name of a topic" in out and "--end-with-input" not in out

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--transport", "carrier"], "--transport must be dds or ros, got 'carrier'"),
            (["--queue-size", "0"], "queue_size must be at least 1, got 0"),
            (["--image-transport", "pigeon"], "image_transport must be one of auto, raw"),
            (["--camera", "a", "--camera", "a"], "cameras must differ"),
            (["--depth-topic", "a", "--depth-topic", "b"], "depth_topics must have one topic"),
            (["--remap", "a=b"], "written from:=to, such as image:=/camera/image_raw"),
            (["--remap", "a b:=c"], "'a b' is no ROS name"),
            (["--node-name", "a b"], "node name 'a b' must be letters"),
            (["--weights", "nowhere"], "no weights folder at nowhere"),
        ],
    )
    def test_bad_options_are_one_red_line(self, dds_domain, capsys, options, expected):
        assert run("serve", *options) == 2
        streams = capsys.readouterr()
        assert streams.err.startswith("error: ") and expected in streams.err


@pytest.mark.parametrize(
    "command",
    [
        ["bag", "{bag}", "{out}", "-c", "hello"],
        ["camera", "{bag}", "--loop"],
        ["demo", "--bag", "{bag}", "--out", "{out}"],
    ],
)
@pytest.mark.parametrize("write", [record_mcap, record_old_database])
def test_camera_without_an_image_is_an_error_of_each_command(
    dds_domain, perceiver, tmp_path, capsys, write, command
):
    bag = write(tmp_path / f"drive{'.mcap' if write is record_mcap else '.db3'}", [])
    arguments = [one.format(bag=bag, out=tmp_path / "out.mcap") for one in command]
    assert run(*arguments, "--topic", "/image") == 2
    assert f"{bag} has no image on /image" in "".join(capsys.readouterr().err.split("\n"))
    assert perceiver.loaded == [] and not (tmp_path / "out.mcap").exists()
    assert run(*arguments) == 2


class TestBag:
    def test_writes_results_of_every_image(self, bag, perceiver, tmp_path, capsys):
        out = tmp_path / "results.mcap"
        commands = ("--command", "segment it", "-c", "hello")
        assert run("bag", bag, *commands, out, "--device", "cpu", "--threshold", 0.6) == 0
        assert f"8 results: {out}" in capsys.readouterr().out.replace("\n", "")
        topics = {topic.name: topic.message_count for topic in list_image_topics(out)}
        assert topics == {"/vl2/label_image": 4, "/vl2/annotated/compressed": 8}
        assert [command.text for _, command in perceiver.seen] == ["segment it", "hello"] * 4
        assert {command.score_threshold for _, command in perceiver.seen} == {0.6}
        assert perceiver.loaded == [LoadOptions(device="cpu")]

    def test_rate_topic_and_images_are_options(self, bag, perceiver, tmp_path):
        out = tmp_path / "results.mcap"
        topic = ("--topic", "/camera/image_raw/compressed")
        assert run("bag", bag, out, "-c", "hello", "--rate", 5, "--no-images", *topic) == 0
        assert [frame.stamp_ns for frame, _ in perceiver.seen] == STAMPS[::2]
        assert list_image_topics(out) == ()

    def test_failures_are_counted_and_reported(self, bag, perceiver, tmp_path, capsys):
        assert run("bag", bag, tmp_path / "results.mcap", "-c", "fail") == 0
        streams = capsys.readouterr()
        assert "4 of them without an answer, the first: EngineError: the" in streams.err

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["nothing.mcap", "out.mcap", "-c", "find it"], "nothing.mcap does not exist"),
            (["{bag}", "out.bag", "-c", "find it"], "expected a name such as out.mcap"),
            (["{bag}", "no/where/out.mcap", "-c", "find it"], "cannot write no/where/out.mcap"),
            (["{bag}", "{bag}", "-c", "find it"], "is the recording itself"),
            (["{bag}", "out.mcap", "-c", " "], "the command is empty"),
            (["{bag}", "out.mcap", "-c", "a", "--topic", "/b"], "no image topic '/b'; it has"),
            (["{bag}", "out.mcap", "-c", "a", "--rate", "-1"], "rate_hz must be zero or"),
        ],
    )
    def test_bad_arguments_are_one_red_line(self, bag, perceiver, capsys, arguments, expected):
        assert run("bag", *(argument.format(bag=bag) for argument in arguments)) == 2
        streams = capsys.readouterr()
        assert streams.err.startswith("error: ") and expected in streams.err
        assert bag.exists()

    def test_existing_results_are_overwritten_only_when_asked(
        self, bag, perceiver, tmp_path, capsys
    ):
        out = tmp_path / "results.mcap"
        out.write_bytes(b"work of hours")
        assert run("bag", bag, out, "-c", "hello") == 2
        # Terminals are narrow: the line may be folded anywhere.
        assert "add --force to replace it" in " ".join(capsys.readouterr().err.split())
        assert out.read_bytes() == b"work of hours" and perceiver.loaded == []
        assert run("bag", bag, out, "-c", "hello", "--force", "--no-images") == 0
        assert len(perceiver.seen) == 4

    def test_a_command_is_needed(self, bag, tmp_path, capsys):
        assert run("bag", bag, tmp_path / "out.mcap") == 2
        assert "--command" in capsys.readouterr().err
