"""`vl2 ask` about folders, videos, streams and what is none of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.console.command_line import check_document, run
from vl2_ros.console.output.overlay_saver import FileSaver
from vl2_ros.errors import InputError
from vl2_ros.sources.video import VideoWriter, read_video
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    GeneratedImage,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
)


class FakePipeline:
    """Finds the whole image; one that begins with 99 cannot be used."""

    info = ModelInfo("fake", "0123", "numpy", "cpu", ())

    def __init__(self) -> None:
        self.asked: list[tuple[Frame, Command]] = []

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        self.asked.append((frame, command))
        if frame.rgb[0, 0, 0] == 99:
            raise InputError("the image is of no use")
        height, width = frame.frame_hw
        found = Detections(
            np.array([[0, 0, width, height]], np.float32),
            np.array([0.9], np.float32),
            np.array([0]),
            ("wall",),
        )
        yield ResultEvent(Result("", 0, "", "A wall.", (Branch(Route.DETECT, ("wall",), found),)))


@pytest.fixture
def pipeline(monkeypatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr("vl2_ros.loading.load_pipeline", lambda options, progress: fake)
    return fake


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "photos"
    path.mkdir()
    for index, value in enumerate((10, 20, 30)):
        Image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(path / f"{index}.png")
    return path


@pytest.fixture
def clip(tmp_path) -> Path:
    writer = VideoWriter(tmp_path / "clip.mp4")
    for index in range(6):
        writer.add(np.full((64, 96, 3), 40 * index, np.uint8), index * 100_000_000)
    writer.close()
    return tmp_path / "clip.mp4"


def test_folder_is_answered_image_by_image_into_a_folder(pipeline, folder, tmp_path, capsys):
    assert run("ask", folder, "what is it?", "--save", tmp_path / "out") == 0
    assert [frame.rgb[0, 0, 0] for frame, _ in pipeline.asked] == [10, 20, 30]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        *("0.png", "1.png", "2.png")
    ]
    printed = capsys.readouterr().out.replace("\n", "")
    assert f"{folder / '1.png'}:A wall." in printed and str(tmp_path / "out" / "2.png") in printed


def test_one_error_a_file_and_exit_code_one_at_the_end(pipeline, folder, capsys):
    (folder / "1.png").write_bytes(b"no image")
    Image.fromarray(np.full((40, 60, 3), 99, np.uint8)).save(folder / "3.png")
    assert run("ask", folder, "what is it?", "--json") == 1
    streams = capsys.readouterr()
    documents = [json.loads(line) for line in streams.out.splitlines()]
    for document in documents:
        check_document(document)
    assert [Path(one["image"]).name for one in documents] == ["0.png", "1.png", "2.png", "3.png"]
    assert [one["error"] is None for one in documents] == [True, False, True, False]
    assert documents[3]["error"]["message"] == "the image is of no use"
    lines = streams.err.splitlines()
    assert [line.startswith("error: ") for line in lines] == [True, True, False]
    assert lines[1] == f"error: {folder / '3.png'}: the image is of no use"
    assert lines[2] == "2 of 4 images have no answer"


def test_video_becomes_a_video_with_the_same_times(pipeline, clip, tmp_path, capsys):
    out = tmp_path / "found.mp4"
    assert run("ask", clip, "what is it?", "--save", out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6
    assert lines[2].startswith(f"{clip}@0.200s | A wall. | [DET] wall (0.90, 0 0 96 64) | ")
    stamps = [round(frame.stamp_ns / 1e6) for frame in read_video(str(out))]
    assert stamps == [0, 100, 200, 300, 400, 500]


@pytest.mark.parametrize(("rate", "stamps"), [(5, [0, 200, 400]), (3, [0, 400]), (100, None)])
def test_rate_thins_a_video_out(pipeline, clip, rate, stamps):
    assert run("ask", clip, "what is it?", "--rate", rate) == 0
    asked = [round(frame.stamp_ns / 1e6) for frame, _ in pipeline.asked]
    assert asked == (stamps or [0, 100, 200, 300, 400, 500])


def test_frames_of_a_video_into_a_folder(pipeline, clip, tmp_path):
    assert run("ask", clip, "what is it?", "--rate", 3, "--save", tmp_path / "out") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["clip.mp4@0.000s.png", "clip.mp4@0.400s.png"]


def test_same_names_from_two_folders_are_two_files(pipeline, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "0.jpg").write_bytes((folder / "0.png").read_bytes())
    assert run("ask", folder / "0.png", other, "what is it?", "--save", tmp_path / "out") == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["0.png", "0_2.png"]


def test_answer_is_printed_before_its_file_is_written(pipeline, folder, monkeypatch, capsys):
    def fail(*words: object) -> None:
        raise InputError("the disk is full")

    monkeypatch.setattr("vl2_ros.console.output.overlay_saver.save_answer", fail)
    image = folder / "0.png"
    assert run("ask", image, "what is it?", "--save", folder / "out.png") == 2
    streams = capsys.readouterr()
    assert "A wall." in streams.out and "error: the disk is full" in streams.err
    assert run("ask", image, "what is it?", "--save", folder / "out.png", "--json") == 2
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first["text"] == "A wall." and first["overlay"] is None
    assert second["error"]["message"] == "the disk is full"


def test_max_new_tokens_reaches_the_model(pipeline, folder):
    assert run("ask", folder / "0.png", "what is it?", "--max-new-tokens", 7) == 0
    assert pipeline.asked[0][1].max_new_tokens == 7


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["photos", "find it", "--save", "photos"], "the folder photos is not empty"),
        (["photos", "find it", "--save", "out.mp4"], "is a video; the sources are images"),
        (["photos/0.png", "find it", "--save", "photos/1.png"], "is there already"),
        (["clip.mp4", "find it", "--save", "clip.mp4"], "add --force to replace it"),
        (["clip.mp4", "find it", "--rate", "-1"], "--rate must be zero or a positive number"),
        (["clip.mp4", "find it", "--labels", "a.png"], "--labels takes one image"),
        (["", "find it"], "a source is empty"),
        (["clip.mp4", "find it", "--save", "clip.mp4", "--force"], "holds what is read"),
        (["photos", "find it", "--save", "photos", "--force"], "holds what is read"),
        (["photos/0.png", "find it", "--save", "photos/0.png", "--force"], "holds what is read"),
        (["photos", "find it", "--save", "found.png"], "found_7.png is there already"),
        (
            ["clip.mp4", "find it", "--format", "csv", "--out", "a.mp4", "--save", "./a.mp4"],
            "--out and --save are the same file",
        ),
        (
            ["photos/0.png", "0.png", "find it", "--format", "yolo", "--out", "y"],
            "would share labels/0.txt",
        ),
        (["none/*.jpg", "find it"], "no file fits the pattern none/*.jpg"),
        (["empty", "find it"], "the folder empty holds no image"),
        (["drive.mcap", "find it"], "is a recording; ask about it with: vl2 bag"),
        (["ftp://x/y", "find it"], "expected an address with rtsp://"),
    ],
)
def test_what_does_not_fit_is_one_red_line_before_loading(
    pipeline, folder, clip, monkeypatch, capsys, words, expected
):
    monkeypatch.chdir(folder.parent)
    (folder.parent / "empty").mkdir()
    for name in ("found_7.png", "0.png"):
        Image.new("RGB", (8, 8)).save(name)
    before = {path: path.read_bytes() for path in folder.parent.rglob("*.[pm][np][g4]")}
    assert run("ask", *words) == 2
    assert {path: path.read_bytes() for path in before} == before
    streams = capsys.readouterr()
    assert streams.err.count("\n") == 1 and expected in streams.err
    assert pipeline.asked == [] and streams.out == ""


@pytest.mark.parametrize(
    ("words", "data"),
    [
        (["bad.mp4"], b""),
        (["bad.mkv"], b"not a video"),
        (["bad.npy"], b"\x93NUMPY"),
        (["bad.png", "bad.png"], b"\x89PNG"),
    ],
)
def test_what_cannot_be_read_is_one_red_line_each(
    pipeline, tmp_path, monkeypatch, capsys, words, data
):
    monkeypatch.chdir(tmp_path)
    Path(words[0]).write_bytes(data)
    assert run("ask", *words, "find it") == 1
    lines = capsys.readouterr().err.splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    assert len(errors) == len(words) and all(words[0] in line for line in errors)
    assert len(lines) == len(errors) + 1 and pipeline.asked == []


def test_force_replaces_what_is_there(pipeline, folder):
    options = ("--save", folder / "1.png", "--force")
    assert run("ask", folder / "0.png", "find it", *options) == 0


def test_a_video_without_its_package_says_what_to_install(pipeline, clip, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.delitem(sys.modules, "vl2_ros.sources.video")
    assert run("ask", clip, "find it") == 2
    assert "pip install 'vl2_ros[video]'" in capsys.readouterr().err


def test_errors_are_in_the_file_of_json_as_well(pipeline, folder, tmp_path, capsys):
    (folder / "1.png").write_bytes(b"no image")
    assert run("ask", folder, "what is it?", "--json", "--out", tmp_path / "a.jsonl") == 1
    documents = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [one["error"] is None for one in documents] == [True, False, True]
    for document in documents:
        check_document(document)
    assert capsys.readouterr().out == ""


def test_frames_of_a_video_have_label_files_of_their_own(pipeline, clip, tmp_path):
    assert run("ask", clip, "find it", "--format", "yolo", "--out", tmp_path / "y") == 0
    names = sorted(path.name for path in (tmp_path / "y" / "labels").iterdir())
    assert names[:2] == ["clip.mp4@0.000s.txt", "clip.mp4@0.100s.txt"] and len(names) == 6


def test_names_that_are_no_utf8_are_written(pipeline, folder, tmp_path):
    (folder / "2.png").rename(folder / os.fsdecode(b"2\xff.png"))
    assert run("ask", folder, "find it", "--format", "csv", "--out", tmp_path / "a.csv") == 0
    assert "2\\udcff.png,0,find it,OK" in (tmp_path / "a.csv").read_text(encoding="utf-8")


def test_a_full_disk_is_one_red_line(pipeline, folder, capsys):
    for name in ("json", "csv", "coco", "labelstudio"):
        words = ("--format", name, "--out", "/dev/full", "--force")
        assert run("ask", folder, "find it", *words) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "cannot write /dev/full: [Errno 28]" in error


def test_a_full_standard_output_is_one_red_line():
    words = [sys.executable, "-m", "vl2_ros.cli", "--version"]
    with open("/dev/full", "w") as full:
        ended = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert ended.returncode == 2
    assert ended.stderr.count("\n") == 1 and "cannot read or write: [Errno 28]" in ended.stderr


def test_an_overlay_beside_a_generated_image_replaces_nothing(tmp_path):
    made = GeneratedImage(
        Route.GENERATE, np.zeros((8, 8, 3), np.uint8), seed=1, steps=1, scheduler="ddim"
    )
    result = Result("", 0, "", "Here.", images=(made, made))
    (tmp_path / "a_2.png").write_bytes(b"mine")
    saver = FileSaver(tmp_path / "a.png", is_one=True, force=False)
    with pytest.raises(InputError, match=r"a_2.png is there already; .* --force"):
        saver.save(None, None, "draw it", result)
    assert (tmp_path / "a_2.png").read_bytes() == b"mine" and not (tmp_path / "a.png").exists()
    FileSaver(tmp_path / "a.png", is_one=True, force=True).save(None, None, "draw it", result)
    assert (tmp_path / "a_2.png").read_bytes() != b"mine"
