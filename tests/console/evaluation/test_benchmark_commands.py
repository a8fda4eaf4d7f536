"""The commands of the table of evaluations, with a pipeline that knows the answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.evaluation.benchmarks.fakes import FakePipeline, box_row, detections, write_coco
from vl2_ros.cli import main
from vl2_ros.evaluation.benchmarks.processes import Processes
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.load_options import LoadOptions

BOX = (5, 5, 25, 25)


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> FakePipeline:
    fake = FakePipeline(
        detect=lambda value, names: detections([BOX], [0.9], [0], ("mug", "bowl")),
        talk=lambda value, command: "A",
    )
    monkeypatch.setattr("vl2_ros.loading.load_pipeline", lambda options, progress=None: fake)
    return fake


def run(*arguments: object) -> int:
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_numbers_stand_beside_the_published_ones(
    pipeline: FakePipeline, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [box_row(1, 1, 5, BOX), box_row(2, 2, 5, BOX), box_row(3, 2, 77, BOX)]
    path = write_coco(tmp_path, rows, 3)
    (tmp_path / "images" / "3.png").unlink()
    assert run("eval", "coco-bbox", "--data", path, "--out", tmp_path / "out.jsonl") == 0
    streams = capsys.readouterr()
    lines = [line.split() for line in streams.out.splitlines()]
    assert ["coco-bbox", "box_ap", "100.0", "56.7"] in lines
    assert ["coco-bbox", "box_ap50", "100.0", "not", "published"] in lines
    assert "2 bad records" in streams.err and "image 3 3.png: cannot read" in streams.err
    assert run("eval", "coco-bbox", "--data", path, "--out", tmp_path / "out.jsonl", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["scores"] == {"box_ap": 100.0, "box_ap50": 100.0, "box_ap75": 100.0}
    assert document["published"] == {"box_ap": 56.7, "box_ap50": None, "box_ap75": None}
    assert (document["records"], document["resumed"], document["bad_count"]) == (2, 2, 2)
    assert set(document["bad"]) == {"annotation 3", "image 3 3.png"}
    assert run("eval", "coco-bbox", "--data", path, "--limit", 1, "--json") == 0
    assert json.loads(capsys.readouterr().out)["records"] == 1


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_evaluation_says_what_is_wrong_with_its_data(
    pipeline: FakePipeline, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.json"
    wrong.write_text('["no annotations"]')
    assert run("eval", name) == 2
    assert "no data is given" in capsys.readouterr().err
    assert run("eval", name, "--data", tmp_path / "none.json") == 2
    assert "there is no data" in capsys.readouterr().err
    for data in (wrong, tmp_path):
        assert run("eval", name, "--data", data, "--scorer", tmp_path) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_processes_of_a_machine_have_a_gpu_each() -> None:
    third = Processes(index=6, count=8, local_index=2)
    assert third.place(LoadOptions(device="cuda")).device == "cuda:2"
    assert third.place(LoadOptions(device="cpu")).device == "cpu"
    assert Processes().place(LoadOptions(device="cuda")).device == "cuda"
