"""The shipped weights: what they weigh, that they route, find and say "name something"."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2_ros.cli import main
from vl2_ros.evaluation.coco import CocoScorer
from vl2_ros.evaluation.embedded import make_truth
from vl2_ros.evaluation.orbits import OrbitScores, render_orbit
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.sim.kinds import KINDS
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Command, Frame, Route

HELD_OUT_SEED = 1_000_000


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(LoadOptions(device="cpu"))


@pytest.fixture(scope="module")
def views() -> list[TabletopFrame]:
    with TabletopSimulator(width=640, height=480) as simulator:
        return [simulator.render(HELD_OUT_SEED + index) for index in range(16)]


def test_weights_stay_within_32_megabytes():
    files = [path for path in EMBEDDED_WEIGHTS.iterdir() if path.is_file()]
    assert {"config.json", "model.safetensors", "processing.json", "tokenizer.json"} <= {
        path.name for path in files
    }
    assert sum(path.stat().st_size for path in files) <= 32e6


@pytest.mark.parametrize(
    ("sentence", "route", "phrases"),
    [
        ("find the red mug and the bowl", Route.DETECT, ("red mug", "bowl")),
        ("segment every cube", Route.SEGMENT, ("cube",)),
        ("where is the yellow banana?", Route.GROUND, ("yellow banana",)),
        ("what is on the table?", Route.ANSWER, ()),
    ],
)
def test_sentence_opens_its_route_with_its_phrases(pipeline, views, sentence, route, phrases):
    result = pipeline.answer(Frame(views[0].rgb), Command(sentence))
    assert result.routes == (route,)
    assert tuple(phrase for branch in result.branches for phrase in branch.phrases) == phrases


def test_sentence_without_a_class_says_what_to_name(pipeline, views):
    result = pipeline.answer(Frame(views[0].rgb), Command("find"))
    assert result.routes == (Route.ANSWER,)
    assert "name what I should look for" in result.text


def test_most_objects_of_unseen_scenes_are_found_and_named(pipeline, views):
    scorer = CocoScorer(KINDS)
    for view in views:
        found = pipeline.detect(Frame(view.rgb), KINDS).detections
        scorer.add(make_truth(view, KINDS, with_masks=True), found)
    # A guard against shipping broken weights; the numbers come from `vl2 eval embedded`.
    assert scorer.boxes().ap50 > 0.5
    assert scorer.masks().ap50 > 0.5


def test_objects_of_a_watch_keep_their_ids_while_they_cross_and_are_covered(pipeline):
    with TabletopSimulator(width=640, height=480) as simulator:
        orbit = list(islice(render_orbit(simulator, HELD_OUT_SEED + 1, 120), 36))
    phrases = sorted({label for one in orbit for label in one.truth.labels})
    scores = OrbitScores()
    scores.add_model(pipeline, orbit, phrases)
    # As above: the numbers come from `vl2 eval tracks`.
    assert scores.model.idf1 >= 0.8


def test_odd_image_sizes_give_boxes_and_masks_of_that_size(pipeline, views):
    rgb = np.ascontiguousarray(views[1].rgb[:333, :501])
    result = pipeline.answer(Frame(rgb), Command("segment the mug", score_threshold=0.0))
    (branch,) = result.branches
    assert branch.detections.masks.shape[1:] == (333, 501)
    assert (branch.detections.boxes_xyxy <= (501, 333, 501, 333)).all()


def test_ask_writes_json_and_an_overlay_of_the_image(views, tmp_path: Path, capsys):
    image, overlay = tmp_path / "table.png", tmp_path / "overlay.png"
    Image.fromarray(views[0].rgb).save(image)
    with pytest.raises(SystemExit) as end:
        main(["ask", str(image), "find the mug", "--json", "--save", str(overlay)])
    assert end.value.code in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert document["routes"] == ["[DET]"]
    assert Image.open(overlay).width >= 640
