"""Generated and edited images on the command line, through the pipeline and through a node."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.console.command_line import check_document, run
from tests.console.node_process import LiveNode
from tests.flow.test_pipeline import DetectionDecoder
from tests.flow.test_pipeline_images import Generator, make_pipeline
from tests.node.scripted_perceiver import STEPS, ScriptedPerceiver, make_detections
from vl2_ros.console.image_options import read_size
from vl2_ros.errors import InputError
from vl2_ros.load_options import LoadOptions
from vl2_ros.recordings.bag import list_image_topics
from vl2_ros.structures import Branch, Frame, GeneratedImage, ImageOptions, Result, Route
from vl2_ros.views.answer_files import AnswerFiles, save_answer
from vl2_ros.views.overlay import draw_overlay

GENERATED = "Here it is [GEN]."
EDITED = "Here it is [EDIT]."
OPTIONS = (
    *("--seed", 7, "--steps", 20, "--guidance", 7.5, "--image-guidance", 1.5),
    *("--size", "640x512", "--scheduler", "dpm++"),
)
EXPECTED = ImageOptions(7, 20, 7.5, 1.5, (512, 640), "dpm++")


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "table.png"
    rows = np.arange(40, dtype=np.uint8)[:, None, None]
    Image.fromarray(np.broadcast_to(rows, (40, 60, 3)).copy()).save(path)
    return path


@pytest.fixture
def model(monkeypatch, json_tokenizer):
    """Takes the place of the model that is loaded: says an answer and makes scripted images."""

    class Model:
        def __init__(self):
            self.loaded = []

        def says(self, answer, **parts):
            self.drawer, self.editor = Generator(Route.GENERATE), Generator(Route.EDIT)
            parts = {"generators": [self.drawer, self.editor], **parts}
            self.pipeline = make_pipeline(json_tokenizer, answer, **parts)

    model = Model()

    def load(options, progress=None):
        model.loaded.append(options)
        return model.pipeline

    monkeypatch.setattr("vl2_ros.loading.load_pipeline", load)
    return model


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


class TestAsk:
    def test_a_sentence_alone_draws(self, model, tmp_path, capsys):
        model.says(GENERATED)
        out = tmp_path / "mug.png"
        assert run("ask", "draw a red mug", "--save", out, *OPTIONS) == 0
        ((states, options, source),) = model.drawer.calls
        assert (options, source) == (EXPECTED, None)
        assert read(out).shape == (64, 64, 3) and (read(out) == 128).all()
        printed = capsys.readouterr().out.replace("\n", " ")
        assert "Here it is. [GEN] 64x64, seed 7, 2 steps of euler" in printed
        assert f"image: {out}" in printed and "overlay" not in printed
        assert [path.name for path in tmp_path.iterdir()] == ["mug.png"]

    def test_an_edit_keeps_the_size_of_its_image(self, model, image, tmp_path):
        model.says(EDITED)
        out = tmp_path / "red.png"
        assert run("ask", image, "make the mug red", "--save", out) == 0
        np.testing.assert_array_equal(read(out), read(image)[::-1])
        ((_, options, source),) = model.editor.calls
        assert options == ImageOptions() and source.frame_hw == (40, 60)

    def test_json_has_what_reproduces_the_image_and_its_path(self, model, tmp_path, capsys):
        model.says(GENERATED)
        out = tmp_path / "mug.png"
        assert run("ask", "draw a mug", "--json", "--save", out, "--seed", 7) == 0
        document = json.loads(capsys.readouterr().out)
        made = {"route": "[GEN]", "width": 64, "height": 64, "seed": 7, "steps": 2}
        assert document["images"] == [made | {"scheduler": "euler", "file": str(out)}]
        assert (document["image"], document["overlay"]) == (None, None)
        assert document["routes"] == ["[GEN]"] and document["command"] == "draw a mug"
        model.says(GENERATED)
        assert run("ask", "draw a mug", "--json") == 0
        assert json.loads(capsys.readouterr().out)["images"][0]["file"] is None

    def test_several_images_are_numbered(self, model, image, tmp_path):
        model.says("The first [EDIT], another [EDIT].")
        out = tmp_path / "out.png"
        assert run("ask", image, image, "make the mug red", "--save", out) == 0
        names = {path.name for path in tmp_path.glob("out*")}
        assert names == {"out_0.png", "out_0_2.png", "out_1.png", "out_1_2.png"}

    def test_what_was_found_beside_it_gets_an_overlay(self, model, image, tmp_path, capsys):
        model.says("mug[DET]. Here it is [EDIT].", detection=DetectionDecoder())
        out = tmp_path / "out.png"
        assert run("ask", image, "do both", "--save", out, "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["overlay"] == str(tmp_path / "out_overlay.png")
        assert document["images"][0]["file"] == str(out)
        assert read(out).shape == (40, 60, 3)
        assert read(tmp_path / "out_overlay.png").shape[0] > 40

    def test_image_generation_may_be_direct(self, model, tmp_path):
        model.says("nothing that is generated")
        out = tmp_path / "mug.png"
        assert run("ask", "draw a mug", "--direct", "--save", out) == 0
        assert len(model.drawer.calls) == 1 and out.exists()

    def test_parts_and_budget_reach_the_loading(self, model, image):
        model.says("A mug.")
        options = ("--without", "image_editing", "--without", "pose_decoder")
        assert (
            run("ask", image, "what?", *options, "--memory-budget-mb", 900, "--device", "cpu") == 0
        )
        assert run("ask", image, "what?", "--device", "cpu") == 0
        assert model.loaded == [
            LoadOptions(
                device="cpu", without=("image_editing", "pose_decoder"), memory_budget_mb=900.0
            ),
            LoadOptions(device="cpu"),
        ]

    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["make the mug red"], "expected images and then a sentence, got only 'make the mug"),
            (["find the mug"], 'or without an image: vl2 ask "draw a red mug"'),
            (["pose of the teapot"], "expected images and then a sentence"),
            (["table.png"], "expected images and then a sentence"),
            (["draw a mug", "--point", "3,4"], "there is no image to look at"),
            (["draw a mug", "--labels", "a.png"], "--labels takes one image, got 0"),
            (["draw a mug", "--steps", "0"], "steps must lie in 1..1000, got 0"),
            (["draw a mug", "--steps", "10000"], "steps must lie in 1..1000, got 10000"),
            (["draw a mug", "--guidance", "nan"], "guidance must be a number in 0..100, got nan"),
            (["draw a mug", "--image-guidance", "-1"], "image_guidance must be a number in 0..100"),
            (["draw a mug", "--seed", "-1"], "seed must lie in 0.."),
            (["draw a mug", "--size", "512"], "--size takes WIDTHxHEIGHT in pixels"),
            (["draw a mug", "--size", "500x512"], "multiples of 8 in 64..2048, got (512, 500)"),
            (["draw a mug", "--size", "99999x8"], "multiples of 8 in 64..2048"),
            (["draw a mug", "--scheduler", "magic"], "unknown scheduler 'magic'"),
            (
                ["draw a mug", "--save", "no/where.png"],
                "no/where.png lies in a folder",
            ),
            (["draw a mug", "--save", "mug.xyz"], "mug.xyz is no image; expected a name with .png"),
        ],
    )
    def test_what_cannot_be_used_is_one_red_line(
        self, model, image, monkeypatch, capsys, arguments, expected
    ):
        monkeypatch.chdir(image.parent)
        model.says(GENERATED)
        assert run("ask", *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and expected in error.replace("\n", " ")

    def test_a_decoder_that_is_excluded_is_named(self, model, image, capsys):
        model.says(GENERATED, generators=[], absent={"image_generation": "it was switched off"})
        assert run("ask", image, "draw a mug") == 2
        assert "image_generation is not loaded: it was switched off" in capsys.readouterr().err
        assert run("ask", "draw a mug") == 2
        assert (
            "this model cannot generate images; its routes are: answer" in capsys.readouterr().err
        )

    def test_the_embedded_model_answers_in_words_and_draws_nothing(self, image, capsys):
        assert run("ask", "draw a red mug", "--device", "cpu") == 2
        assert (
            "this model cannot generate images; its routes are: answer, detect"
            in capsys.readouterr().err
        )
        assert run("ask", image, "draw a red mug", "--device", "cpu", "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["images"] == [] and document["text"]


def test_steps_are_shown_while_an_image_is_made(model, monkeypatch, tmp_path):
    shown = []

    class Bar:
        def __enter__(self):
            return lambda done, total: shown.append((done, total))

        def __exit__(self, *error):
            return None

    monkeypatch.setattr("vl2_ros.console.display.show_progress", lambda what: Bar())
    model.says(GENERATED)
    assert run("ask", "draw a mug") == 0
    assert shown == [(1, 2), (2, 2)]


class TestNode:
    @pytest.fixture
    def node(self, dds_domain, bag):
        node = LiveNode(bag)
        yield node
        node.close()

    def test_send_passes_the_options_and_saves_the_image(self, node, tmp_path, capsys):
        out = tmp_path / "mug.png"
        assert run("send", "paint it", "--save", out, *OPTIONS) == 0
        ((_, command),) = node.perceiver.seen
        assert command.image_options == EXPECTED
        assert read(out).shape == (512, 640, 3) and (read(out) == 77).all()
        printed = capsys.readouterr().out.replace("\n", " ")
        assert "[GEN] 640x512, seed 7, 20 steps of dpm++" in printed and str(out) in printed

    def test_send_as_json_names_the_file(self, node, tmp_path, capsys):
        out = tmp_path / "edit.png"
        assert run("send", "change it", "--save", out, "--json") == 0
        document = json.loads(capsys.readouterr().out)
        (made,) = document["images"]
        assert (made["route"], made["file"], made["steps"]) == ("[EDIT]", str(out), STEPS)
        assert read(out).shape[:2] == (made["height"], made["width"]) == (16, 24)
        assert document["instances"] == []

    def test_send_saves_the_overlay_of_what_was_found(self, node, tmp_path, capsys):
        out = tmp_path / "found.png"
        assert run("send", "segment it", "--save", out, "--json") == 0
        document = json.loads(capsys.readouterr().out)
        assert document["overlay"] == str(out)
        ((frame, _),) = node.perceiver.seen
        branch = Branch(Route.SEGMENT, ("mug", "bowl"), make_detections(frame))
        expected = draw_overlay(frame, Result("", 0, "", "", (branch,)), caption=False)
        written = read(out)
        assert len(written) > len(expected), "the caption is below"
        np.testing.assert_array_equal(written[: len(expected)], expected)

    def test_an_edit_and_what_was_found_are_two_files(self, node, tmp_path):
        assert run("send", "change and segment it", "--save", tmp_path / "a.png") == 0
        assert sorted(one.name for one in tmp_path.glob("*.png")) == ["a.png", "a_overlay.png"]

    def test_nothing_to_save_is_reported(self, node, tmp_path, capsys, monkeypatch):
        monkeypatch.setattr(
            "vl2_ros.node.annotated_output.draw_overlay", lambda *values, **more: 1 / 0
        )
        monkeypatch.setattr("vl2_ros.console.send_command._LAST_WORD_S", 0.1)
        assert run("send", "find it", "--save", tmp_path / "none.png") == 0
        assert "sent no image with the answer; nothing was written" in capsys.readouterr().err
        assert run("send", "fail", "--save", tmp_path / "none.png") == 2
        assert not (tmp_path / "none.png").exists()

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            (["--seed", "0"], "seed 0 cannot be sent to a node, as 0 means the node's default"),
            (["--guidance", "0"], "guidance 0 cannot be sent to a node"),
            (["--steps", "0"], "steps must lie in 1..1000, got 0"),
            (["--guidance", "nan"], "guidance must be a number in 0..100, got nan"),
        ],
    )
    def test_options_that_cannot_be_sent_are_one_red_line(self, node, capsys, options, expected):
        assert run("send", "paint it", *options) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and expected in error.replace("\n", " ")
        assert node.perceiver.seen == []

    def test_a_decoder_that_is_switched_off_is_one_red_line(self, node, capsys):
        node.perceiver.without = (Route.EDIT,)
        assert run("send", "change it") == 2
        assert "failed: RouteError: the answer opened" in capsys.readouterr().err


def test_bag_makes_the_same_image_of_every_frame(bag, monkeypatch, tmp_path):
    perceiver = ScriptedPerceiver()
    loaded = []

    def load(options, progress=None):
        loaded.append(options)
        return perceiver

    monkeypatch.setattr("vl2_ros.loading.load_pipeline", load)
    out = tmp_path / "results.mcap"
    options = ("--without", "pose_decoder", "--memory-budget-mb", 10.5, "--device", "cpu")
    assert run("bag", bag, out, "-c", "change it", *OPTIONS, *options) == 0
    topics = {topic.name: topic.message_count for topic in list_image_topics(out)}
    assert topics == {"/vl2/generated_image": 4, "/vl2/annotated/compressed": 4}
    assert {command.image_options for _, command in perceiver.seen} == {EXPECTED}
    assert loaded == [LoadOptions(device="cpu", without=("pose_decoder",), memory_budget_mb=10.5)]


def test_bag_lists_its_answers_beside_the_recording(bag, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(
        "vl2_ros.loading.load_pipeline", lambda options, progress: ScriptedPerceiver()
    )
    out = tmp_path / "results.mcap"
    options = ("bag", bag, out, "-c", "find it", "-c", "segment it")
    assert run(*options, "--format", "json") == 0
    rows = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    for row in rows:
        check_document(row)
    assert [row["command"] for row in rows] == ["find it", "segment it"] * 4
    assert {row["image"] for row in rows} == {str(bag)} and rows[0]["model"] == "scripted"
    assert str(tmp_path / "results.jsonl") in capsys.readouterr().out.replace("\n", "")
    assert run(*options, "--format", "json") == 2
    assert "results.mcap is there already" in capsys.readouterr().err.replace("\n", "")
    out.unlink()
    assert run(*options, "--format", "json") == 2
    listed = f"--format: {tmp_path / 'results.jsonl'} is there already"
    assert listed in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("text", ["", "512", "x", "512x", "5.5x7", "-8x8", "512*512", "8x8x8"])
def test_size_written_otherwise_is_refused(text):
    with pytest.raises(InputError, match="such as 512x512"):
        read_size(text)


def test_size_is_width_and_height():
    assert read_size(" 640X512") == (512, 640)


def test_files_without_a_frame_are_the_images_alone(tmp_path):
    image = GeneratedImage(Route.GENERATE, np.zeros((64, 64, 3), np.uint8), 1, 2, "euler")
    result = Result("", 0, "", "Two.", images=(image, image))
    files = save_answer(None, "draw it", result, tmp_path / "a.png")
    assert files == AnswerFiles(None, (tmp_path / "a.png", tmp_path / "a_2.png"))
    assert save_answer(None, "", replace(result, images=()), tmp_path / "b.png") == AnswerFiles()
    frame = Frame(np.zeros((64, 64, 3), np.uint8))
    files = save_answer(frame, "", replace(result, images=()), tmp_path / "c.png")
    assert files == AnswerFiles(tmp_path / "c.png")
