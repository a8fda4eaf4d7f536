"""Pointing, examples, label images and generated images through `vl2 ask`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.console.command_line import check_document, run
from vl2_ros.structures import (
    UNLABELLED,
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    LabelMap,
    ModelInfo,
    PromptKind,
    Result,
    ResultEvent,
    Route,
)


class FakePipeline:
    """Labels the left half of every image as road when asked for labels."""

    info = ModelInfo("fake", "0123", "numpy", "cpu", ())

    def __init__(self) -> None:
        self.asked: list[Command] = []

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        self.asked.append(command)
        command.check_prompts(frame)
        branches: tuple[Branch, ...] = ()
        if "label" in command.text:
            class_ids = np.full(frame.frame_hw, UNLABELLED, np.uint16)
            class_ids[:, : frame.frame_hw[1] // 2] = 0
            label_map = LabelMap(class_ids, 0.35)
            branches = (Branch(Route.SEGMENT, ("road", "sky"), Detections.empty(), label_map),)
        yield ResultEvent(Result("", 0, "", "Yes.", branches))


@pytest.fixture
def pipeline(monkeypatch) -> FakePipeline:
    fake = FakePipeline()
    monkeypatch.setattr("vl2_ros.loading.load_pipeline", lambda options, progress: fake)
    return fake


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "table.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    return path


@pytest.fixture
def region(tmp_path) -> Path:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 30:50] = 255
    Image.fromarray(mask).save(tmp_path / "region.png")
    return tmp_path / "region.png"


def test_every_way_of_pointing_reaches_the_model_in_order(pipeline, image, region):
    options = [
        *("--box", "1,2,30,40", "--point", "5,6.5", "--point", "7,8", "--region", region),
        *("--scribble", "0,0,59,39", "--polygon", "1,1,9,1,9,9"),
    ]
    assert run("ask", image, "segment these", *options) == 0
    (command,) = pipeline.asked
    prompts = command.visual_prompts
    assert [prompt.kind for prompt in prompts] == [
        *(PromptKind.POINT, PromptKind.POINT, PromptKind.BOX),
        *(PromptKind.SCRIBBLE, PromptKind.POLYGON, PromptKind.MASK),
    ]
    assert prompts[0].points_xy.tolist() == [[5, 6.5]]
    assert prompts[2].points_xy.tolist() == [[1, 2], [30, 40]]
    assert prompts[5].mask.sum() == 200 and prompts[5].mask[10:20, 30:50].all()
    assert {prompt.image for prompt in prompts} == {0} and not command.direct


def test_examples_are_pointed_into_by_number(pipeline, image, region, tmp_path):
    Image.fromarray(np.zeros((9, 8, 3), np.uint8)).save(tmp_path / "small.png")
    options = ["--example", tmp_path / "small.png", "--example", image]
    options += ["--region", f"{region}@2", "--point", "3,4@1", "--direct"]
    assert run("ask", image, "find the same thing", *options) == 0
    (command,) = pipeline.asked
    assert [one.frame_hw for one in command.images] == [(9, 8), (40, 60)]
    assert [prompt.image for prompt in command.visual_prompts] == [1, 2]
    assert command.direct


def test_label_image_and_legend(pipeline, image, tmp_path, capsys):
    labels = tmp_path / "labels.png"
    assert run("ask", image, "label it", "--labels", labels) == 0
    written = np.asarray(Image.open(labels))
    assert written.shape == (40, 60)
    assert (written[:, :30] == 0).all() and (written[:, 30:] == UNLABELLED).all()
    out = capsys.readouterr().out
    assert "class 0: road, 1200 px" in out and "class 1: sky, 0 px" in out
    assert run("ask", image, "label it", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["classes"][0] == {"class_id": 0, "label": "road", "pixels": 1200}


class TestFormat:
    def test_is_printed_or_written(self, pipeline, image, tmp_path, capsys):
        assert run("ask", image, image, "find it", "--format", "csv") == 0
        printed = capsys.readouterr().out
        assert len(printed.splitlines()) == 3
        out = tmp_path / "rows.csv"
        assert run("ask", image, image, "find it", "--format", "csv", "--out", out) == 0
        assert out.read_text() == printed and capsys.readouterr().out == ""

    def test_json_is_the_format_json(self, pipeline, image, capsys):
        assert run("ask", image, "label it", "--json") == 0
        document = json.loads(capsys.readouterr().out)
        check_document(document)
        assert run("ask", image, "label it", "--format", "json") == 0
        again = json.loads(capsys.readouterr().out)
        assert again | {"seconds": 0} == document | {"seconds": 0}

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--format", "xml"], "--format must be one of json, coco, yolo, labelstudio, csv"),
            (["--format", "yolo"], "is a folder of files; name it with --out FOLDER"),
            (["--format", "csv", "--json"], "--json and --format csv exclude each other"),
            (["--out", "a.csv"], "--out is the file of --format; name one"),
            (["--format", "csv", "--out", "none/a.csv"], "lies in a folder that is not there"),
            (["--format", "csv", "--out", "."], "is there already"),
        ],
    )
    def test_what_does_not_fit_is_refused_before_loading(
        self, pipeline, image, options, expected, capsys
    ):
        assert run("ask", image, "find it", *options) == 2
        assert expected in capsys.readouterr().err.replace("\n", "")
        assert pipeline.asked == []

    def test_error_is_an_object_on_standard_output(self, pipeline, image, capsys):
        assert run("ask", "none.jpg", "find it", "--json") == 2
        document = json.loads(capsys.readouterr().out)
        check_document(document)
        assert document["error"]["type"] == "InputError"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--point", "5"], "--point takes pixels as x,y pairs with commas between"),
        (["--point", "a,b"], "got 'a,b'"),
        (["--point", ""], "--point takes pixels"),
        (["--box", "1,2"], "kind BOX needs 2 to 2 points, got 1"),
        (["--box", "9,9,1,1"], "upper left, then its lower right corner"),
        (["--polygon", "1,1,2,2"], "kind POLYGON needs 3"),
        (["--point", "60.5,3"], "outside the image of 60x40"),
        (["--point", "3,3@1"], "example 1, but 0 were given by --example"),
        (["--region", "none.png"], "cannot read none.png"),
        (["--region", "small.png"], "mask is 8x9, expected the image's 60x40"),
        (["--region", "black.png"], "mask is empty"),
        (["--example", "none.png"], "cannot read none.png"),
        (["--labels", "out.png"], "nothing to write; ask for example"),
    ],
)
def test_pointing_that_cannot_be_used_is_one_red_line(
    pipeline, image, monkeypatch, capsys, options, expected
):
    monkeypatch.chdir(image.parent)
    Image.fromarray(np.full((9, 8, 3), 9, np.uint8)).save("small.png")
    Image.fromarray(np.zeros((40, 60, 3), np.uint8)).save("black.png")
    assert run("ask", image, "what is this?", *options) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("error: ") and expected in streams.err.replace("\n", " ")


def test_pointing_without_an_image_says_what_is_expected(pipeline, image, capsys):
    assert run("ask", "what is this?", "--point", "3,4") == 2
    assert "expected images and then a sentence" in capsys.readouterr().err
    assert run("ask", image, image, "label it", "--labels", "c.png") == 2
    assert "--labels takes one image, got 2 sources" in capsys.readouterr().err
