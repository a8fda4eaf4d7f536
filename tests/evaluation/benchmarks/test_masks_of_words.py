"""Referring, reasoning, classes of pixels and visual prompts, each scored by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.evaluation.benchmarks.fakes import (
    HEIGHT,
    WIDTH,
    FakePipeline,
    box_row,
    detections,
    outline,
    rectangle,
    write_coco,
    write_image,
    write_json,
)
from vl2_ros.errors import InputError
from vl2_ros.evaluation.benchmarks.run import run_benchmark
from vl2_ros.evaluation.benchmarks.table import BENCHMARKS
from vl2_ros.evaluation.benchmarks.task import BenchmarkData
from vl2_ros.structures import Command, Detections, LabelMap, PromptKind

LEFT, RIGHT = (10, 10, 20, 20), (30, 10, 50, 20)


def test_referring_expressions_by_hand(tmp_path: Path) -> None:
    rows = [
        box_row(1, 1, 5, LEFT, expressions=["The Left-most, one!", "red"]),
        box_row(2, 1, 5, RIGHT, sentences=[{"sent": "right"}]),
        box_row(3, 2, 5, LEFT),
        box_row(4, 1, 5, LEFT, expressions=["?!"]),
    ]
    path = write_coco(tmp_path, rows)
    document = json.loads(path.read_text())
    document["images"][1]["expressions"] = ["of the image"]
    path.write_text(json.dumps(document))
    half = (10, 10, 20, 15)
    found = {
        "the left most one": detections([LEFT], [0.9], [0], masks=[rectangle(*LEFT)]),
        "red": detections([half], [0.9], [0], masks=[rectangle(*half)]),
        "right": detections([LEFT], [0.9], [0], masks=[rectangle(*LEFT)]),
        "of the image": detections([], [], [], masks=[]),
    }
    pipeline = FakePipeline(detect=lambda value, names: found[names[0]])
    outcome = run_benchmark(BENCHMARKS["refcoco"], pipeline, BenchmarkData((path,)))
    # IoU 1, 1/2, 0, 0; overlaps 100, 50, 0, 0 of unions 100, 100, 300, 100.
    assert outcome.scores == pytest.approx({"accuracy": 2 / 4, "giou": 1.5 / 4, "ciou": 150 / 600})
    assert outcome.records == 4
    assert list(outcome.bad) == ["annotation 4"]


def test_reasoning_by_hand(tmp_path: Path) -> None:
    def shape(label: str, corners: tuple[int, int, int, int]) -> dict:
        (flat,) = outline(*corners)
        return {"label": label, "points": np.array(flat).reshape(-1, 2).tolist()}

    # Outlines are part of polygons: this covers the columns 10..20 and the rows 10..19.
    target, ignored = shape("target", (10, 10, 20, 19)), shape("ignore", (16, 10, 20, 19))
    flag = shape("flag", (0, 0, 59, 39))
    for name, shapes in {"a": [ignored, target, flag], "b": [target]}.items():
        write_image(tmp_path / f"{name}.png", ord(name))
        write_json(tmp_path / f"{name}.json", {"text": [f"which {name}?", "no"], "shapes": shapes})
    write_json(tmp_path / "c.json", {"text": ["what?"], "shapes": [target]})
    write_json(tmp_path / "d.json", {"text": [], "shapes": []})

    def find(value: int, question: str) -> Detections:
        assert question == f"which {chr(value)}?"
        corners = (10, 10, 30, 20) if value == ord("a") else (10, 10, 21, 15)
        return detections([corners], [0.9], [0], masks=[rectangle(*corners)])

    outcome = run_benchmark(
        BENCHMARKS["reasonseg"], FakePipeline(ground=find), BenchmarkData((tmp_path,))
    )
    # a: 6 columns count (16..20 do not); found are these and 21..29. b: half of the rows.
    assert outcome.scores == pytest.approx(
        {"giou": (60 / 150 + 0.5) / 2, "ciou": (60 + 55) / (150 + 110)}
    )
    assert set(outcome.bad) == {"c.json", "d.json"}


def write_labels(folder: Path) -> Path:
    labels = folder / "annotations" / "validation"
    labels.mkdir(parents=True)
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[:, :20], values[:, 20:40] = 1, 3
    for name, value in (("a", 1), ("b", 2)):
        Image.fromarray(values).save(labels / f"{name}.png")
        write_image(folder / "images" / "validation" / f"{name}.jpg", value * 100)
    Image.fromarray(values + 1).save(labels / "c.png")
    write_image(folder / "images" / "validation" / "c.jpg", 0)
    (folder / "objectInfo150.txt").write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n"
        "1\t0.1\t1\t1\t1\twall\n2\t0.1\t1\t1\t1\tbuilding, edifice\n3\t0.1\t1\t1\t1\tsky\n"
    )
    return labels


def test_classes_of_pixels_by_hand(tmp_path: Path) -> None:
    labels = write_labels(tmp_path)

    def label(value: int, names: tuple[str, ...]) -> LabelMap:
        assert names == ("wall", "building", "sky")
        ids = np.full((HEIGHT, WIDTH), 0, np.uint16)
        if value > 150:
            ids[:, 30:] = 2
        return LabelMap(ids, 0.0)

    outcome = run_benchmark(
        BENCHMARKS["ade20k"], FakePipeline(detect=label), BenchmarkData((labels,))
    )
    # In columns, of 20 true walls and 20 skies each: a: 40 found as wall; b: 30 wall, 10 sky.
    wall, sky = (20 + 20) / (40 + 30), 10 / 40
    assert outcome.scores == pytest.approx(
        {"miou": (wall + sky) / 2, "pixel_accuracy": (20 + 30) / 80}
    )
    assert list(outcome.bad) == ["c.png"]
    assert "value 4, there are 3 classes" in outcome.bad["c.png"]


def test_labels_without_names_or_images_say_so(tmp_path: Path) -> None:
    labels = write_labels(tmp_path)
    (tmp_path / "objectInfo150.txt").unlink()
    with pytest.raises(InputError, match="classes.txt"):
        run_benchmark(BENCHMARKS["ade20k"], FakePipeline(), BenchmarkData((labels,)))
    (tmp_path / "classes.txt").write_text("wall\n\nsky\n")
    with pytest.raises(InputError, match="without blank lines"):
        run_benchmark(BENCHMARKS["ade20k"], FakePipeline(), BenchmarkData((labels,)))
    (tmp_path / "classes.txt").unlink()
    with pytest.raises(InputError, match="give --images"):
        run_benchmark(BENCHMARKS["ade20k"], FakePipeline(), BenchmarkData((tmp_path,)))


@pytest.mark.parametrize(
    "kind", [PromptKind.POINT, PromptKind.BOX, PromptKind.SCRIBBLE, PromptKind.MASK]
)
def test_interactive_by_hand(tmp_path: Path, kind: PromptKind) -> None:
    # 65 objects, one more than fit in a command, and a group that is not asked for.
    small = [(2 * (n % 25), 2 * (n // 25), 2 * (n % 25) + 2, 2 * (n // 25) + 2) for n in range(65)]
    rows = [box_row(n, 1, 5, corners) for n, corners in enumerate(small)]
    rows += [box_row(99, 1, 5, LEFT, iscrowd=1), box_row(100, 2, 5, LEFT)]

    def find(value: int, command: Command) -> Detections:
        prompts = command.visual_prompts
        assert {one.kind for one in prompts} == {kind}
        assert (command.direct, command.max_instances, command.score_threshold) == (True, 300, 0.0)
        if value == 2:
            # The second is a worse answer to the same prompt.
            masks = [rectangle(10, 10, 20, 15), rectangle(*LEFT)]
            return detections([LEFT, LEFT], [0.9, 0.8], [0, 0], ["region1"], masks)
        if len(prompts) == 1:
            return detections([], [], [], masks=[])
        masks = [rectangle(*corners) for corners in small[:64]]
        ids = list(range(64))
        return detections(small[:64], [0.5] * 64, ids, [f"region{n + 1}" for n in ids], masks)

    name = f"interactive-{kind.name.lower()}"
    path = write_coco(tmp_path, rows)
    outcome = run_benchmark(BENCHMARKS[name], FakePipeline(answer=find), BenchmarkData((path,)))
    assert outcome.scores == pytest.approx(
        {"miou": (64 + 0 + 0.5) / 66, "ciou": (64 * 4 + 50) / (65 * 4 + 100)}
    )
