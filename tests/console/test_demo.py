from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.console.command_line import check_document, run, run_beside
from tests.console.node_process import LiveNode
from tests.node.wire import PATIENCE_S, wait_until
from tests.recordings.recordings import FIRST_STAMP_NS, PERIOD_NS

STAMPS = [FIRST_STAMP_NS + index * PERIOD_NS for index in range(4)]


@pytest.fixture
def processes(dds_domain, monkeypatch):
    """Take the place of node and camera process; returns what they were started with."""
    started, nodes = [], []

    def start(recording, *, topic, serve_options):
        started.append((recording, topic, serve_options))
        nodes.append(LiveNode(recording, camera="/demo/camera"))
        return nodes[-1]

    monkeypatch.setattr("vl2_ros.clients.demo.DemoProcesses", start)
    monkeypatch.setattr("vl2_ros.clients.demo.find_free_domain", lambda: dds_domain)
    return started


def write_commands(folder: Path, *lines: str) -> Path:
    path = folder / "commands.txt"
    path.write_text("\n".join(lines))
    return path


def test_asks_one_sentence_an_image_and_writes_what_it_got(processes, bag, tmp_path, capsys):
    commands = write_commands(tmp_path, "# spoken", "segment it", "", "what is there?")
    out = tmp_path / "deep" / "out"
    assert run("demo", "--bag", bag, "--commands", commands, "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["00.png", "01.png", "results.jsonl"]
    assert Image.open(out / "00.png").width % 24 == 0
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    for row in rows:
        check_document(row)
    assert [row["command"] for row in rows] == ["segment it", "what is there?"]
    assert [row["stamp_ns"] for row in rows] == STAMPS[:2]
    assert "mask" in rows[0]["instances"][0] and rows[0]["status"] == "OK"
    assert rows[0]["overlay"] == str(out / "00.png") and rows[0]["seconds"] > 0
    printed = capsys.readouterr().out
    assert str(out) in printed.replace("\n", "")
    assert "answer to" in printed and "model scripted on numpy cpu" in printed
    assert processes == [(bag, None, [])], "defaults are the node's own"


def test_images_that_were_made_are_files_of_their_own(processes, bag, tmp_path):
    commands = write_commands(tmp_path, "change and segment it", "paint it")
    out = tmp_path / "out"
    assert run("demo", "--bag", bag, "--commands", commands, "--out", out) == 0
    names = ["00.png", "00_made.png", "01.png", "01_made.png", "results.jsonl"]
    assert sorted(path.name for path in out.iterdir()) == names
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    assert [row["images"][0]["file"] for row in rows] == [str(out / names[1]), str(out / names[3])]
    assert Image.open(out / "00_made.png").size == (24, 16)
    # Beside the enlarged frame.
    assert Image.open(out / "01.png").width > 2 * 24 * 4


def test_results_in_another_format(processes, bag, tmp_path, capsys):
    commands = write_commands(tmp_path, "segment it", "find it")
    out = tmp_path / "out"
    options = ("--bag", bag, "--commands", commands, "--out", out)
    assert run("demo", *options, "--format", "coco") == 0
    document = json.loads((out / "results.coco.json").read_text())
    assert [row["file_name"] for row in document["images"]] == [
        f"{Path(bag).stem}_{stamp}.jpg" for stamp in STAMPS[:2]
    ]
    assert "segmentation" in document["annotations"][0]
    assert run("demo", *options, "--format", "xml", "--force") == 2
    assert run("demo", *options) == 2
    assert "holds answers already; name another --out" in capsys.readouterr().err


def test_results_without_images(processes, bag, tmp_path):
    commands = write_commands(tmp_path, "segment it")
    out = tmp_path / "out"
    options = ("--bag", bag, "--commands", commands, "--out", out, "--no-images")
    assert run("demo", *options) == 0
    assert [path.name for path in out.iterdir()] == ["results.jsonl"]


def test_options_reach_the_node(processes, bag, tmp_path):
    commands = write_commands(tmp_path, "hello")
    topic = "/camera/image_raw/compressed"
    options = ("--weights", tmp_path, "--device", "cpu", "--topic", topic, "--out", tmp_path)
    options += ("--backend", "torch", "--engines", tmp_path, "--without", "pose_decoder")
    assert run("demo", "--bag", bag, "--commands", commands, *options) == 0
    given = ["--weights", str(tmp_path), "--device", "cpu", "--backend", "torch"]
    given += ["--engines", str(tmp_path), "--without", "pose_decoder"]
    assert processes == [(bag, topic, given)]


def test_unanswered_sentences_are_reported_at_the_end(processes, bag, tmp_path, capsys):
    commands = write_commands(tmp_path, "fail", "hello")
    assert run("demo", "--bag", bag, "--commands", commands, "--out", tmp_path) == 2
    streams = capsys.readouterr()
    assert "1 of 2 commands were not answered" in streams.err
    assert "EngineError" in streams.out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["01.png"]


def test_without_sentences_or_bag_nothing_is_started(processes, bag, tmp_path, capsys):
    commands = write_commands(tmp_path, "# nothing")
    assert run("demo", "--commands", commands, "--out", tmp_path / "out") == 2
    assert "holds no sentence" in capsys.readouterr().err
    commands = write_commands(tmp_path, "hello")
    missing = tmp_path / "none.mcap"
    assert run("demo", "--bag", missing, "--commands", commands, "--out", tmp_path) == 2
    assert "none.mcap does not exist" in capsys.readouterr().err
    assert processes == []


def test_without_dds_it_says_what_to_install(bag, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cyclonedds", None)
    monkeypatch.delitem(sys.modules, "vl2_ros.transports.dds.endpoints", raising=False)
    for name in [name for name in sys.modules if name.startswith("cyclonedds.")]:
        monkeypatch.setitem(sys.modules, name, None)
    commands = write_commands(tmp_path, "hello")
    assert run("demo", "--bag", bag, "--commands", commands, "--out", tmp_path) == 2
    assert "pip install 'vl2_ros[dds]'" in capsys.readouterr().err


def test_node_that_cannot_start_ends_it_with_the_reason(dds_domain, bag, tmp_path, capsys):
    commands = write_commands(tmp_path, "hello")
    weights = ("--weights", tmp_path / "none")
    options = ("--bag", bag, "--commands", commands, "--out", tmp_path, *weights)
    assert run("demo", *options) == 2
    error = capsys.readouterr().err
    assert "the node process ended with code 2: no weights folder at" in error


@pytest.mark.slow
def test_three_processes_answer_over_dds(dds_domain, tmp_path):
    """The whole of it, with the embedded model and the shipped recording."""
    commands = write_commands(tmp_path, "find the purple mug", "segment every mug")
    demo = run_beside("demo", "--commands", commands, "--out", tmp_path, "--device", "cpu")
    out, err = demo.communicate(timeout=280)
    assert demo.returncode == 0, err
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [row["routes"] for row in rows] == [["[DET]"], ["[SEG]"]]
    assert [row["stamp_ns"] for row in rows] == [0, 100_000_000]
    assert {row["model"] for row in rows} == {"embedded"}
    assert "2 overlay images" in out


def test_interrupt_ends_the_processes(dds_domain, bag, tmp_path):
    commands = write_commands(tmp_path, "hello")
    options = ("--bag", bag, "--commands", commands, "--out", tmp_path)
    demo = run_beside("demo", *options)

    def children() -> list[str]:
        path = Path(f"/proc/{demo.pid}/task/{demo.pid}/children")
        return path.read_text().split() if path.exists() else []

    wait_until(lambda: len(children()) == 2, "both processes run")
    pids = children()
    demo.terminate()
    demo.communicate(timeout=PATIENCE_S)
    assert demo.returncode != 0
    # One that was being started when the signal came ends by itself, a moment later.
    gone = "no process is left behind"
    wait_until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()], gone)
