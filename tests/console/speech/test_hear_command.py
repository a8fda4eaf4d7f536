"""`vl2 hear`, `vl2 serve --speech`, `vl2 microphone` and `vl2 bag --audio-topic`."""

from __future__ import annotations

import re
import sys
import threading
from contextlib import closing, nullcontext

import numpy as np
import pytest

from tests.console.command_line import run, run_beside
from tests.console.node_process import LiveNode
from tests.node.hearing.scripted_ears import make_audio, make_ears, make_pause, make_voice
from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import PATIENCE_S, Inbox, wait_until
from tests.recordings.test_bag_results import read_recording
from tests.recordings.test_bag_speech import write_drive
from vl2_ros.node.hearing.audio_messages import AUDIO_TYPE
from vl2_ros.node.hearing.heard_messages import HEARD_TYPE
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.parameters import HearingParameters
from vl2_ros.node.transport import Qos
from vl2_ros.speech.listener import Listener
from vl2_ros.speech.segmenter import Segmenter
from vl2_ros.transports.dds.transport import DdsTransport


@pytest.fixture
def ears(monkeypatch):
    """Take the place of the recogniser that commands of this process load."""
    loaded = []

    def load(parameters: HearingParameters):
        loaded.append(parameters)
        return make_ears("find the mug", "find the bowl")

    monkeypatch.setattr("vl2_ros.console.ros_node.load_ears", load)
    return loaded


@pytest.fixture(autouse=True)
def stay(monkeypatch):
    """A command that ends its process ends here as an exception."""

    def leave(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr("vl2_ros.console.terminal.leave_process", leave)


def test_hears_for_a_node_over_dds_until_it_is_interrupted(
    dds_domain, bag, ears, capsys, monkeypatch
):
    heard, answered, ended = [], [], threading.Event()

    def speak_then_end() -> None:
        with closing(DdsTransport("robot")) as transport:
            audio = transport.advertise("/mic", AUDIO_TYPE, Qos(depth=100))
            inbox = Inbox(transport, "/vl2/heard", HEARD_TYPE, Qos(depth=10))
            results = Inbox(transport, RESULT.name.replace("~", "/vl2"), RESULT.type_name, Qos())
            wait_until(lambda: audio.count_subscribers() > 0, "it hears /mic")
            wait_until(lambda: transport.count_publishers("/vl2/heard") > 0, "it says what")
            for samples in (make_pause(0.3), make_voice(0.8), make_pause(0.8)):
                audio.publish(make_audio(transport.types, samples))
            heard.extend(inbox.wait())
            answered.extend(results.wait_for(heard[0].command_id))
            ended.set()

    def wait() -> None:
        assert ended.wait(PATIENCE_S)
        raise KeyboardInterrupt

    monkeypatch.setattr("vl2_ros.console.terminal.wait_for_interrupt", wait)
    with closing(LiveNode(bag)):
        speaker = threading.Thread(target=speak_then_end)
        speaker.start()
        options = ("--audio-topic", "/mic", "--min-score", 0.4, "--speech-threads", 1)
        assert run("hear", *options) == 0
        speaker.join()
    assert ears == [HearingParameters(audio_topic="/mic", min_score=0.4, speech_threads=1)]
    assert [one.text for one in heard] == ["find the mug"]
    assert [one.command_text for one in answered] == ["find the mug"]
    out = capsys.readouterr().out
    assert f"/vl2_hearing hears /mic in ROS domain {dds_domain}" in out
    assert re.search(r"^heard 'find the mug' \(0\.\d\d\)$", out, flags=re.M)


def test_hearing_on_ros_is_set_by_parameters(monkeypatch):
    passed = {}
    monkeypatch.setattr(
        "vl2_ros.console.ros_node.run_hearing", lambda **options: passed.update(options)
    )
    options = ("--node-name", "eyes", "--namespace", "robot", "--remap", "audio:=/mic")
    assert run("hear", "--transport", "ros", *options, "--wake-phrase", "hey robot") == 0
    assert passed["node_name"] == "eyes_hearing"
    assert passed["arguments"] == ["--ros-args", "-r", "audio:=/mic", "-r", "__ns:=/robot"]
    values = passed["parameters"]
    assert (values["node"], values["wake_phrase"], values["autostart"]) == (
        "eyes",
        "hey robot",
        True,
    )


def test_serve_hears_in_a_process_of_its_own(dds_domain, monkeypatch):
    started = []

    def start(name, words, on_end):
        started.append((name, words))
        return nullcontext()

    def wait() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vl2_ros.clients.child_process.run_beside", start)
    monkeypatch.setattr("vl2_ros.console.terminal.wait_for_interrupt", wait)
    monkeypatch.setattr(
        "vl2_ros.loading.load_pipeline", lambda options, progress=None: ScriptedPerceiver()
    )
    options = ("--device", "cpu", "--node-name", "eyes", "--remap", "image:=/front")
    assert run("serve", *options) == 0
    assert started == []
    options += ("--speech", "--audio-topic", "/mic", "--wake-phrase", "hey robot")
    assert run("serve", *options) == 0
    ((name, words),) = started
    assert name == "hearing"
    assert words[:2] == ["hear", "--end-with-input"]
    given = " ".join(words)
    for part in (
        "--audio-topic /mic --wake-phrase hey robot",
        "--node-name eyes",
        "--remap image:=/front",
        "--transport dds",
    ):
        assert part in given
    # The command line takes them.
    assert run(*words[:1], *words[2:], "--help") == 0


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--min-score", "2"], "min_score must be at most 1, got 2"),
        (["--wake-phrase", "?!"], "the wake phrase must have words"),
        (["--audio-topic", "a b"], "'a b' is no ROS name"),
        (["--transport", "carrier"], "--transport must be dds or ros, got 'carrier'"),
    ],
)
def test_bad_options_are_one_red_line(dds_domain, ears, capsys, options, expected):
    assert run("hear", *options) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("error: ") and expected in streams.err


def test_missing_package_says_what_to_install(dds_domain, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    monkeypatch.setitem(sys.modules, "faster_whisper.vad", None)
    assert run("hear") == 2
    assert "pip install 'vl2_ros[speech]'" in " ".join(capsys.readouterr().err.split())


def test_bag_hears_an_audio_topic(tmp_path, capsys, monkeypatch):
    perceiver = ScriptedPerceiver()
    monkeypatch.setattr("vl2_ros.loading.load_pipeline", lambda *given: perceiver)
    asked = []

    def make(options, report):
        asked.append(options)
        made = make_ears("find the mug", "the meeting was moved")
        return Listener(made.recogniser, Segmenter(made.make_detector()), None, report)

    monkeypatch.setattr("vl2_ros.console.node_commands.make_listener", make)
    source = write_drive(tmp_path / "drive.mcap", ((0.6, 1.2), (2.1, 3.1)), seconds=4.0)
    out = tmp_path / "out.mcap"
    options = ("--audio-topic", "/audio", "--name", "teapot", "--no-images")
    assert run("bag", source, out, *options) == 0
    (options,) = asked
    assert options.names == ("teapot", *perceiver.info.names)
    streams = capsys.readouterr()
    assert "1 results" in streams.out
    assert "heard 'the meeting was moved'" in streams.err
    recorded = read_recording(out)
    assert [message.command_text for _, message in recorded["/vl2/result"]] == ["find the mug"]
    assert len(recorded["/vl2/heard"]) == 2


def test_microphone_plays_a_file_onto_a_topic(dds_domain, tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="speech: soundfile is not installed")
    path = tmp_path / "voice.wav"
    soundfile.write(path, make_voice(1.5, 8000), 8000)
    with closing(DdsTransport("robot")) as transport:
        inbox = Inbox(transport, "/mic", AUDIO_TYPE, Qos(depth=100))
        process = run_beside("microphone", path, "--onto", "/mic")
        # The last one is the pause after the file.
        messages = inbox.wait(1, lambda one: one.rate == 8000 and not np.any(one.float32_data))
        out, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert f"/mic in ROS domain {dds_domain}" in out
    assert messages[-1].channels == 1


def test_microphone_refuses_what_is_no_audio_before_it_publishes(dds_domain, tmp_path, capsys):
    pytest.importorskip("soundfile", reason="speech: soundfile is not installed")
    assert run("microphone", tmp_path / "nothing.wav") == 2
    assert "expected a WAV or FLAC file" in capsys.readouterr().err
