from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.console.command_line import run
from tests.datasets.small_sets import make_coco, write_json, write_sets


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> dict:
    return write_sets(tmp_path_factory.mktemp("sets"))


def test_a_set_is_described(sets, capsys):
    assert run("data", "check", sets["coco_instances"]["annotations"], "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "coco_instances" and document["samples"] == 6
    assert document["records"] == {"files": 1, "images": 6, "annotations": 12, "categories": 3}
    assert sum(document["classes"].values()) == 12 and list(document["classes"])[1] == "Bowl"
    assert not document["lossy"] and not document["bad"]
    example = document["examples"][0]
    assert example["rounds"][0]["question"].startswith("<image>\n")
    assert "[DET][EMB][EMB2][EMB3][EMB4]" in example["rounds"][0]["answer"]
    assert len(document["examples"]) == 3 and example["images"] == ["80x60"]


@pytest.mark.parametrize(
    "kind",
    [
        *("coco_keypoints", "referring", "chat", "region_captions", "region_chat", "label_images"),
        *("interactive", "in_context", "text_to_image", "image_captions", "edits"),
    ],
)
def test_every_kind_is_printed_and_drawn(sets, kind, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    path = sets[kind]["annotations"]
    assert run("data", "check", path, "--kind", kind, "--sheet", sheet, "--samples", 1) == 0
    printed = capsys.readouterr().out
    assert "USER: " in printed and "ASSISTANT: " in printed and "[EMB" not in printed
    with Image.open(sheet) as image:
        pixels = np.asarray(image.convert("RGB")).reshape(-1, 3)
    assert pixels.shape[0] > 480 * 100 and len(np.unique(pixels, axis=0)) > 50


def test_what_is_bad_is_named_and_loud(tmp_path, capsys):
    document = make_coco(tmp_path)
    (tmp_path / "images" / "scene2.png").write_bytes(b"none")
    document["annotations"][0]["bbox"] = [0, 0, 0, 0]
    path = write_json(tmp_path / "index.json", document)
    assert run("data", "check", path, "--samples", 6) == 0
    captured = capsys.readouterr()
    assert "LOST 16.7% OF THE IMAGES" in captured.err
    assert "LOST 8.3% OF THE ANNOTATIONS" in captured.err
    assert "scene2.png" in captured.out and "box of no area" in captured.out
    assert run("data", "check", path, "--quick", "--samples", 1, "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["read_in_full"] == 1 and [one["unit"] for one in document["bad"]] == [
        "annotations"
    ]
    assert run("data", "check", path, "--strict") == 2
    assert "box of no area" in capsys.readouterr().err


def test_a_set_that_cannot_be_read_is_an_error_in_one_line(tmp_path, capsys):
    path = tmp_path / "index.json"
    for text in ("", "[1", '{"a": 1}'):
        path.write_text(text)
        assert run("data", "check", path) == 2
        assert capsys.readouterr().err.startswith("error: ")
    path.write_text("[]")
    assert run("data", "check", path, "--kind", "chat") == 0
    assert run("data", "check", path, "--kind", "chat", "--sheet", tmp_path / "a.png") == 2
    assert run("data", "check", path, "--kind", "chats") == 2
    assert run("data", "check", tmp_path / "none.json") == 2


def test_a_sheet_is_not_replaced_without_force(sets, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    sheet.write_bytes(b"mine")
    path = sets["coco_instances"]["annotations"]
    assert run("data", "check", path, "--quick", "--sheet", sheet) == 2
    assert "--force" in capsys.readouterr().err and sheet.read_bytes() == b"mine"
    assert run("data", "check", path, "--quick", "--sheet", sheet, "--force") == 0
    assert sheet.read_bytes() != b"mine"
    assert run("data", "check", path, "--sheet", tmp_path / "sheet.jpg") == 2


def test_images_lie_where_the_option_says(sets, tmp_path):
    source = Path(sets["coco_instances"]["annotations"])
    moved = tmp_path / "index.json"
    moved.write_bytes(source.read_bytes())
    assert run("data", "check", moved, "--images", source.parent / "images", "--strict") == 0
    assert run("data", "check", moved, "--strict") == 2
    assert run("data", "check", moved, "--option", "max_bytes=10", "--strict") == 2
    assert run("data", "check", moved, "--option", "max_bytes") == 2
