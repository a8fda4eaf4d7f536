from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from vl2_ros.cli import EXTRAS, HELD_OUT, main
from vl2_ros.console.node_commands import DEMO_BAG, DEMO_COMMANDS
from vl2_ros.errors import RouteError
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.recordings.bag import PinholeCamera, read_frames
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS
from vl2_ros.structures import (
    Branch,
    Command,
    Detections,
    Event,
    Frame,
    Masks,
    ModelInfo,
    Result,
    ResultEvent,
    Route,
    WatchOptions,
)

REPOSITORY = Path(__file__).resolve().parent.parent


class FakePipeline:
    """Finds one instance in the upper left quarter of every image."""

    info = ModelInfo("fake", "0123", "numpy", "cpu", ())
    engines = SimpleNamespace(
        language_model=SimpleNamespace(info=SimpleNamespace(identity="")), region_encoder=None
    )

    def __init__(self) -> None:
        self.asked: list[tuple[Frame, Command]] = []

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        yield ResultEvent(self.answer(frame, command))

    def answer(self, frame: Frame, command: Command) -> Result:
        self.asked.append((frame, command))
        height, width = frame.frame_hw
        masks = np.zeros((1, height, width), bool)
        masks[0, : height // 2, : width // 2] = True
        found = Detections(
            np.array([[0, 0, width // 2, height // 2]], np.float32),
            np.array([0.8], np.float32),
            np.zeros(1, np.int64),
            ("red [mug]",),
            Masks.cut(masks),
        )
        branches = (Branch(Route.SEGMENT, ("red [mug]",), found),)
        text = f"I heard: {command.text}"
        return Result(command.id, frame.stamp_ns, frame.frame_id, text, branches, {"vision": 2.0})


@pytest.fixture
def pipeline(monkeypatch):
    fake = FakePipeline()
    fake.loaded = []

    def load(options, progress=None):
        fake.loaded.append(options)
        return fake

    monkeypatch.setattr("vl2_ros.loading.load_pipeline", load)
    return fake


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "table.png"
    Image.fromarray(np.full((40, 60, 3), 90, np.uint8)).save(path)
    return path


def run(*arguments: object) -> int:
    """Run the command line in this process; return its exit code."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_help_imports_nothing_heavy():
    code = (
        "import sys\n"
        "from vl2_ros.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as stop:\n    assert not stop.code\n"
        "heavy = ['torch', 'transformers', 'cv2', 'numpy', 'PIL', 'mujoco', 'rosbags', 'scipy',\n"
        "         'cyclonedds', 'mcap']\n"
        "sys.exit(', '.join(name for name in heavy if name in sys.modules) or 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY
    )
    assert done.returncode == 0, done.stderr
    assert "ask" in done.stdout and "demo" in done.stdout


@pytest.mark.parametrize(
    "command",
    [
        *("ask", "demo", "serve", "send", "echo", "camera", "bag"),
        *("info", "train", "convert", "simulate", "eval", "eval embedded"),
        *("eval coco", "eval tracks", "eval watch", "eval probe"),
    ],
)
def test_every_command_has_help(command, capsys):
    assert run(*command.split(), "--help") == 0
    assert "Usage" in capsys.readouterr().out


def test_ask_prints_answer_and_instances(pipeline, image, capsys):
    assert run("ask", image, "find the red mug", "--device", "cpu") == 0
    out = capsys.readouterr().out
    assert "I heard: find the red mug" in out
    assert "[SEG] red [mug] (0.80, 0 0 30 20, 600 px)" in out
    assert pipeline.loaded == [LoadOptions(device="cpu")]


def test_ask_json_is_one_document_an_image(pipeline, image, tmp_path, capsys):
    weights = tmp_path / "weights"
    assert run("ask", image, image, "find it", "--json", "--weights", weights) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(documents) == 2
    assert documents[0]["command"] == "find it"
    assert documents[0]["image"] == str(image)
    assert documents[0]["routes"] == ["[SEG]"]
    (instance,) = documents[0]["instances"]
    assert (instance["label"], instance["box_xyxy"]) == ("red [mug]", [0.0, 0.0, 30.0, 20.0])
    assert "mask" not in instance
    assert documents[0]["stage_ms"] == {"vision": 2.0} and documents[0]["seconds"] >= 0
    assert pipeline.loaded == [LoadOptions(weights)]


def test_ask_json_with_masks_has_run_lengths(pipeline, image, capsys):
    assert run("ask", image, "find it", "--json", "--masks") == 0
    (instance,) = json.loads(capsys.readouterr().out)["instances"]
    assert instance["mask"]["size"] == [40, 60] and sum(instance["mask"]["counts"]) == 2400


def test_ask_saves_overlays(pipeline, image, tmp_path, capsys):
    assert run("ask", image, "find it", "--save", tmp_path / "one.png") == 0
    assert str(tmp_path / "one.png") in capsys.readouterr().out.replace("\n", "")
    assert Image.open(tmp_path / "one.png").width % 60 == 0
    assert run("ask", image, image, "find it", "--save", tmp_path / "many.jpg") == 0
    assert (tmp_path / "many_0.jpg").exists() and (tmp_path / "many_1.jpg").exists()


def test_version_is_one_line(capsys):
    assert run("--version") == 0
    assert re.fullmatch(r"vl2_ros \d+\.\d+\.\d+", capsys.readouterr().out.strip())


@pytest.mark.parametrize("with_torch", [True, False])
def test_info_shows_what_the_embedded_model_knows(monkeypatch, capsys, with_torch):
    if not with_torch:
        monkeypatch.setattr("vl2_ros.console.info_command.find_spec", lambda name: None)
    assert run("info", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["knows"] == {"kinds": list(KINDS), "colors": list(COLORS)}
    assert sum(document["parts"].values()) == document["parameters"] == 9_945_807
    assert document["weights_mb"]["float32"] == 39.8
    assert document["chance"].keys() <= document["measured"].keys()
    monkeypatch.setenv("COLUMNS", "60")
    assert run("info") == 0
    printed = capsys.readouterr().out
    assert "cylinder" in printed and "\u2026" not in printed, "nothing is cut"


def test_card_has_the_numbers_of_the_page():
    card = json.loads((EMBEDDED_WEIGHTS / "card.json").read_text())
    page = (REPOSITORY / "docs" / "training.md").read_text()
    rows = dict(re.findall(r"^\| ([^|]+) \| ([^|]+) \|", page, flags=re.M))
    boxes = rows["boxes of all 12 kinds: AP50 / AP"].split(" / ")
    assert [f"{card['measured'][name]:.2f}" for name in ("box AP50", "box AP")] == boxes
    masks = rows["masks of all 12 kinds: AP50 / AP"].split(" / ")
    assert [f"{card['measured'][name]:.2f}" for name in ("mask AP50", "mask AP")] == masks
    for name, row in (
        ("right routes", "right route on 212 hand-written sentences"),
        ("routes and phrases", "right route and exactly the right phrases"),
        ("counts 0 to 4", "how many of a kind, 0 to 4 equally often: right"),
        ("yes or no", '"is there a red mug?", as often yes as no: right'),
        ("colours", "colours of things: right"),
    ):
        assert f"{card['measured'][name]:.1%}".replace("%", " %") == rows[row]


def test_ask_passes_the_threshold_and_the_default_is_the_commands(pipeline, image):
    assert run("ask", image, "find it") == 0
    assert run("ask", image, "find it", "--threshold", "0.6") == 0
    thresholds = [command.score_threshold for _, command in pipeline.asked]
    assert thresholds == [Command("x").score_threshold, 0.6]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["table.png"], "expected images and then a sentence"),
        (["missing.png", "find it"], "missing.png"),
        (["table.png", " "], "the command is empty"),
        (["table.png", "a" * 5000], "5000 characters"),
        (["table.png", "find it", "--threshold", "7"], "score_threshold must lie in 0..1"),
        (["table.png", "find it", "--save", "no/where.png"], "in a folder that is not there; make"),
        (
            ["table.png", "find it", "--save", "overlay.xyz"],
            "is no image; expected a name",
        ),
    ],
)
def test_bad_questions_are_one_red_line(pipeline, image, monkeypatch, capsys, arguments, expected):
    monkeypatch.chdir(image.parent)
    assert run("ask", *arguments) == 2
    streams = capsys.readouterr()
    assert streams.err.startswith("error: ") and expected in streams.err
    assert streams.err.count("\n") == 1 and "Traceback" not in streams.err


def test_error_of_the_pipeline_is_one_red_line(pipeline, image, monkeypatch, capsys):
    def refuse(frame, command):
        raise RouteError("no decoder for [POSE]")

    monkeypatch.setattr(pipeline, "answer", refuse)
    assert run("ask", image, "whose pose?") == 2
    assert capsys.readouterr().err == "error: no decoder for [POSE]\n"


def test_missing_package_names_the_extra(pipeline, image, monkeypatch, capsys):
    def refuse(*arguments, **options):
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr("vl2_ros.loading.load_pipeline", refuse)
    assert run("ask", image, "find it", "--device", "cpu") == 2
    assert "pip install 'vl2_ros[torch]'" in capsys.readouterr().err


def test_extras_are_those_of_setup():
    setup = (REPOSITORY / "setup.py").read_text()
    assert all(f'"{extra}": ' in setup for extra in EXTRAS.values())


def test_missing_weights_are_one_red_line(image, tmp_path, capsys):
    assert run("ask", image, "find it", "--weights", tmp_path / "none") == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_shipped_demo_has_a_sentence_for_each_frame():
    frames = list(read_frames(DEMO_BAG))
    sentences = DEMO_COMMANDS.read_text().splitlines()
    assert len(sentences) == len(frames) >= 12
    assert {frame.frame_hw for frame in frames} == {(480, 640)}
    assert DEMO_BAG.stat().st_size <= 5_000_000


def test_simulate_records_several_scenes_with_their_cameras(tmp_path, capsys):
    bag = tmp_path / "bag.mcap"
    size = ("--width", 64, "--height", 48)
    assert run("simulate", bag, "--seed", 7, "--seed", HELD_OUT, "--count", 2, *size) == 0
    assert "4 frames" in capsys.readouterr().out
    frames = list(read_frames(bag))
    assert [frame.stamp_ns for frame in frames] == [0, 10**8, 2 * 10**8, 3 * 10**8]
    assert frames[0].frame_id == "camera_optical_frame"
    assert np.abs(frames[0].rgb.astype(int) - frames[2].rgb).mean() > 5


def test_simulate_overwrites_only_when_asked(tmp_path, monkeypatch, capsys):
    camera = PinholeCamera((8, 8), fx=8.0, fy=8.0, cx=4.0, cy=4.0)
    frame = Frame(np.zeros((8, 8, 3), np.uint8), 5, "camera")
    monkeypatch.setattr("vl2_ros.cli._simulate_shots", lambda *_: [(frame, camera)])
    bag = tmp_path / "bag.mcap"
    bag.write_bytes(b"a drive")
    assert run("simulate", bag) == 2
    assert "add --force to replace it" in " ".join(capsys.readouterr().err.split())
    assert bag.read_bytes() == b"a drive"
    assert run("simulate", bag, "--force") == 0
    assert len(list(read_frames(bag))) == 1


def test_simulate_into_a_missing_folder_is_one_red_line(tmp_path, capsys):
    assert run("simulate", tmp_path / "none" / "bag.mcap", "--count", 1) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "seeds", "frames"),
    [
        ([], range(HELD_OUT, HELD_OUT + 300), 300),
        (["--frames", "20"], range(HELD_OUT, HELD_OUT + 20), 20),
        (["--seeds", "5:9"], range(5, 9), 4),
        (["--seeds", "5:9", "--frames", "2"], range(5, 9), 2),
    ],
)
def test_eval_takes_seeds_and_frames(pipeline, monkeypatch, capsys, options, seeds, frames):
    asked = {}

    def evaluate(model, **arguments):
        arguments.pop("progress")("frames", 1, 2)
        asked.update(arguments, model=model)
        return {"box_ap": 0.5, "seconds_per_answer": 0.1}

    monkeypatch.setattr("vl2_ros.evaluation.embedded.evaluate_embedded", evaluate)
    assert run("eval", "embedded", "--json", *options) == 0
    assert asked == {"model": pipeline, "seeds": seeds, "frames": frames, "parts": []}
    assert json.loads(capsys.readouterr().out) == {"box_ap": 0.5, "seconds_per_answer": 0.1}
    assert run("eval", "embedded", *options) == 0
    assert "0.500" in capsys.readouterr().out


@pytest.mark.parametrize("seeds", ["7", "9:3", "a:b", "3:3", ":", "-1:4"])
def test_eval_refuses_other_seeds(pipeline, capsys, seeds):
    assert run("eval", "embedded", f"--seeds={seeds}") == 2
    assert "A:B" in capsys.readouterr().err


def test_eval_watch_compares_the_modes_on_frames_of_a_source(
    pipeline, monkeypatch, tmp_path, capsys
):
    seen = {}

    def compare(model, scenes, command, progress):
        seen.update(model=model, command=command)
        seen["scenes"] = [(one.sentence, len(list(one.frames))) for one in scenes]
        return {"plain": {"drift_px": 0.0, "box_ap": None}, "auto": {"drift_px": 0.25}}

    monkeypatch.setattr("vl2_ros.evaluation.watches.modes.compare_modes", compare)
    for index in range(3):
        Image.new("RGB", (8, 6)).save(tmp_path / f"{index}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    options = ("--sentence", "find it", "--refresh-frames", 5, "--threshold", 0.5, "--json")
    assert run("eval", "watch", tmp_path, *options) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["auto"] == {"drift_px": 0.25}
    assert "3.png is skipped" in streams.err
    assert (seen["model"], seen["scenes"]) == (pipeline, [("find it", 3)])
    assert seen["command"].watching == WatchOptions(refresh_frames=5)
    assert seen["command"].score_threshold == 0.5
    bag = tmp_path / "bag.mcap"
    assert run("simulate", bag, "--count", 3, "--width", 64, "--height", 48) == 0
    assert run("eval", "watch", bag, "--sentence", "find it", "--frames", 2, "--json") == 0
    assert seen["scenes"] == [("find it", 2)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["clip.mp4"], "expected --sentence with a source"),
        (["none.png", "--sentence", "find it"], "cannot read none.png"),
        (["--seeds", "9:3"], "seeds must be A:B"),
        (["--turn", "0"], "above 0 and at most 360 degrees"),
    ],
)
def test_eval_watch_says_what_is_missing(pipeline, capsys, arguments, message):
    assert run("eval", "watch", *arguments) == 2
    assert message in " ".join(capsys.readouterr().err.split())


class _End:
    """How a run ended."""

    def __init__(self, is_complete: bool, best: float | None) -> None:
        self.is_complete, self.best = is_complete, best


def test_train_reads_the_recipe_with_its_changes(monkeypatch, tmp_path, capsys):
    calls = []

    def train(recipe, folder, *, device, report, show, score):
        assert score is None
        report("rendering", 0.5)
        show("nothing to resume")
        calls.append((recipe, folder, device))
        return _End(True, 0.5)

    monkeypatch.setattr("vl2_ros.training.run.train", train)
    monkeypatch.chdir(tmp_path)
    assert run("train", "embedded_all") == 0
    printed = capsys.readouterr()
    assert "training_runs/embedded_all/best" in printed.out.replace("\n", "")
    assert "nothing to resume" in printed.err
    options = ("--set", "steps=7", "--set", "rates.final=0.5", "--out", tmp_path / "mine")
    assert run("train", "embedded_all", *options, "--device", "cpu") == 0
    (plain, folder, _), (changed, mine, device) = calls
    assert folder == Path("training_runs/embedded_all") and mine == tmp_path / "mine"
    assert device == "cpu" and changed.rates.final == 0.5
    assert changed == replace(plain, steps=7, rates=changed.rates)


def test_train_that_was_interrupted_has_an_exit_code_of_its_own(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("vl2_ros.training.run.train", lambda *_, **__: _End(False, None))
    assert run("train", "embedded_all", "--out", tmp_path) == 75
    assert "checkpoint" not in capsys.readouterr().out


def test_train_with_a_bad_recipe_is_one_line(tmp_path, capsys):
    assert run("train", "embedded", "--out", tmp_path) == 2
    assert "expected one of embedded_all" in " ".join(capsys.readouterr().err.split())
    assert run("train", "embedded_all", "--set", "batch=0") == 2
    assert "batch must be at least 1" in " ".join(capsys.readouterr().err.split())


@pytest.mark.golden
def test_converted_release_reports_and_answers_the_same(golden_dir, tmp_path, capsys):
    source, target = golden_dir / "release_tiny" / "bin", tmp_path / "converted"
    assert run("info", "--json", "--weights", source) == 0
    before = json.loads(capsys.readouterr().out)
    assert (before["layout"], before["file_format"]) == ("release", "bin")
    assert run("convert", source, target) == 0
    assert list(target.glob("*.safetensors"))
    capsys.readouterr()
    assert run("info", "--json", "--weights", target) == 0
    after = json.loads(capsys.readouterr().out)
    assert (after["layout"], after["file_format"]) == ("vl2_ros", "safetensors")
    assert after["parts"] == before["parts"]
    assert run("info", "--weights", target) == 0
    assert "layout" in capsys.readouterr().out
    image = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    answers = []
    for weights in (source, target):
        words = (tmp_path / "image.png", "find the cat", "--json", "--device", "cpu")
        assert run("ask", *words, "--weights", weights) == 0
        answers.append(json.loads(capsys.readouterr().out))
    for key in ("text", "routes", "instances"):
        assert answers[0][key] == answers[1][key]


def test_coco_files_are_scored(tmp_path, capsys):
    box = {"image_id": 1, "category_id": 1, "bbox": [10.0, 10.0, 20.0, 20.0]}
    truth, found = tmp_path / "truth.json", tmp_path / "found.json"
    truth.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "height": 100, "width": 100}],
                "categories": [{"id": 1, "name": "mug"}],
                "annotations": [{"id": 1, "iscrowd": 0, "area": 400.0, **box}],
            }
        )
    )
    found.write_text(json.dumps([{"score": 0.5, **box}]))
    assert run("eval", "coco", truth, found, "--json") == 0
    assert json.loads(capsys.readouterr().out)["AP_all"] == pytest.approx(1.0)
    assert run("eval", "coco", truth, found) == 0
    assert "AP_50" in capsys.readouterr().out
    assert run("eval", "coco", truth, found, "--kind", "smell") == 2
    assert "--kind must be one of bbox, segm" in capsys.readouterr().err
    assert run("eval", "coco", truth, tmp_path / "none.json") == 2
    assert "expected the format of" in capsys.readouterr().err.replace("\n", " ")
