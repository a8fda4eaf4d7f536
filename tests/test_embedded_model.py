"""The shipped weights: what they weigh, that they route, find and say "name something"."""

from __future__ import annotations

import json
import re
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vl2_ros.cli import main
from vl2_ros.evaluation.coco.scorer import CocoScorer
from vl2_ros.evaluation.embedded import make_truth
from vl2_ros.evaluation.orbits import OrbitScores, render_orbit
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.processing.images.image_file import read_image
from vl2_ros.processing.language.words import plural, with_article
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


#: Photos that a checkout may lie beside; they may not be published.
PHOTOS = sorted((Path(__file__).resolve().parents[2] / "shared/data/photos").glob("*.jpg"))
#: A photo that may.
CAT = Path(__file__).parent / "data/photos/sk_chelsea.jpg"
REQUESTS = (
    "find the cat and the mug",
    "segment every person",
    "where is the red ball?",
    "find all the bottles, the box and the yellow banana",
    "how many dogs are there?",
)


def test_simulated_frames_are_known_and_photos_are_not(pipeline, views):
    known = [pipeline.answer(Frame(view.rgb), Command("hello")).in_domain for view in views]
    assert known.count(True) >= len(views) - 1
    assert pipeline.answer(read_image(CAT), Command("hello")).in_domain is False
    flagged = [pipeline.answer(read_image(path), Command("hello")) for path in PHOTOS]
    outside = [result.in_domain is False for result in flagged]
    assert sum(outside) >= len(PHOTOS) * 30 / 32
    assert all(result.message for result in flagged if result.in_domain is False)


def test_backends_know_and_doubt_the_same(views):
    pipelines = [
        load_pipeline(LoadOptions(device="cpu", precision="float32", backend=backend))
        for backend in ("onnxruntime", "torch")
    ]
    assert [one.info.backend for one in pipelines] == ["onnxruntime", "torch"]
    for frame in (Frame(views[0].rgb), read_image(CAT)):
        one, two = (each.answer(frame, Command("is there a red mug?")) for each in pipelines)
        assert one.in_domain == two.in_domain and one.text == two.text
        assert one.answer_score == pytest.approx(two.answer_score, abs=1e-3)


def test_yes_and_no_are_not_said_where_they_would_be_guesses(pipeline, views):
    result = pipeline.answer(Frame(views[0].rgb), Command("is there a red mug?"))
    assert result.raw_text.strip().lower().startswith(("yes", "no")) and 0 < result.answer_score < 1
    is_sure = result.answer_score >= pipeline.calibration.least_answer_score
    assert is_sure or result.text == "I am not sure."


def list_claims(text: str) -> list[str]:
    """Return the names that a sentence says are there."""
    claimed = text.removeprefix("I found ").partition(". I looked for")[0].rstrip(".")
    names = re.split(r", | and ", claimed)
    return [name for name in names if not name.startswith(("no ", "nothing "))]


@pytest.mark.slow
def test_no_routed_answer_claims_what_has_no_instance(pipeline):
    with TabletopSimulator(width=320, height=240) as simulator:
        seeds = range(9_500_000, 9_500_100 - len(PHOTOS))
        frames = [Frame(simulator.render(seed).rgb) for seed in seeds]
    frames += [read_image(path) for path in PHOTOS]
    checked, missed = 0, 0
    for index, frame in enumerate(frames):
        result = pipeline.answer(frame, Command(REQUESTS[index % len(REQUESTS)]))
        if not result.branches:
            continue
        counts = {
            phrase: count
            for branch in result.branches
            for phrase, count in zip(branch.phrases, branch.counts, strict=True)
        }
        there = {phrase: count for phrase, count in counts.items() if count}
        if result.text.startswith("It is here"):
            assert len(there) == len(counts), result.text
            continue
        claims = list_claims(result.text)
        said = {
            (with_article(phrase) if count == 1 else f"{count} {plural(phrase)}")
            for phrase, count in there.items()
        }
        assert set(claims) == said, (result.text, counts)
        checked += 1
        missed += len(counts) - len(there)
    assert checked > 50 and missed > 20
