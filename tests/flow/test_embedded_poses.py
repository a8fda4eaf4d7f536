"""Skeletons of the embedded model: a pose decoder with fresh weights beside the shipped ones."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.node.messages.test_result_messages import make_answer, make_messages
from vl2_ros.cli import main
from vl2_ros.evaluation.embedded import list_part_scores
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.processing.language.keypoint_names import PERSON
from vl2_ros.sim.tabletop import TabletopFrame, TabletopSimulator
from vl2_ros.structures import Command, Frame, PromptKind, Route, VisualPrompt
from vl2_ros.training.embedded.part_sizes import add_parts
from vl2_ros.views.overlay import draw_overlay

SENTENCE = "find the pose of the figure"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("posed")
    torch.manual_seed(0)
    network = add_parts(load_model(EMBEDDED_WEIGHTS).float(), poses=True, regions=True)
    save_model(network, folder)
    for name in ("tokenizer.json", "processing.json"):
        shutil.copy(EMBEDDED_WEIGHTS / name, folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(weights):
    return load_pipeline(LoadOptions(weights=str(weights), device="cpu", backend="torch"))


@pytest.fixture(scope="module")
def view() -> TabletopFrame:
    with TabletopSimulator(width=320, height=240) as simulator:
        seeds = range(1_000_000, 1_000_050)
        views = (simulator.render(seed) for seed in seeds)
        return next(one for one in views if any(o.kind == "figure" for o in one.objects))


@pytest.fixture(scope="module")
def result(pipeline, view):
    command = Command(SENTENCE, direct=True, score_threshold=0.0, max_instances=3)
    return pipeline.answer(Frame(view.rgb), command)


def test_a_sentence_gives_skeletons_with_the_names_of_people(result):
    (branch,) = result.branches
    assert branch.route is Route.POSE and branch.phrases == ("figure",)
    keypoints = branch.detections.keypoints
    assert keypoints.names == PERSON
    assert keypoints.points_xy.shape == (len(branch.detections), 17, 2)
    assert len(branch.detections) and len(keypoints.edges) > 15


def test_messages_have_the_skeletons(result, view):
    found = result.branches[0].detections
    messages = make_messages(make_answer(Route.POSE, found=found, frame=Frame(view.rgb)))
    (instances,) = (group[0].instances for name, group in messages.items() if "pose" in name)
    assert [point.name for point in instances[0].keypoints] == list(PERSON)
    assert len(instances[0].skeleton_edges) == 2 * len(found.keypoints.edges)
    np.testing.assert_allclose(
        [(point.x, point.y) for point in instances[0].keypoints], found.keypoints.points_xy[0]
    )


def test_overlay_draws_the_skeletons(result, view):
    frame = Frame(view.rgb)
    (branch,) = result.branches
    bare = replace(branch, detections=replace(branch.detections, keypoints=None))
    drawn = draw_overlay(frame, result, question=SENTENCE)
    without = draw_overlay(frame, replace(result, branches=(bare,)), question=SENTENCE)
    assert drawn.shape == without.shape and (drawn != without).any()


def test_ask_saves_an_overlay_with_skeletons(weights, view, tmp_path, capsys):
    image, overlay = tmp_path / "table.png", tmp_path / "overlay.png"
    Image.fromarray(view.rgb).save(image)
    command = ["ask", str(image), SENTENCE, "--weights", str(weights), "--direct", "--json"]
    with pytest.raises(SystemExit) as end:
        main([*command, "--threshold", "0", "--save", str(overlay)])
    assert end.value.code in (0, None)
    document = json.loads(capsys.readouterr().out)
    assert document["routes"] == ["[POSE]"]
    assert Image.open(overlay).width >= 320


def test_free_names_of_parts_are_found_on_things(pipeline, view):
    branch = pipeline.pose(Frame(view.rgb), ["mug", "bowl"], ["left rim", "grip of it"])
    assert branch.detections.keypoints.names == ("left rim", "grip of it")


def test_the_model_is_asked_about_what_is_pointed_at(pipeline, view):
    point = VisualPrompt(PromptKind.POINT, np.array([[160.0, 120.0]]))
    said = pipeline.answer(Frame(view.rgb), Command("what is this?", visual_prompts=(point,)))
    assert said.raw_text
    cut = pipeline.answer(
        Frame(view.rgb),
        Command("segment this", direct=True, score_threshold=0.0, visual_prompts=(point,)),
    )
    (branch,) = cut.branches
    assert branch.phrases == ("region1",) and len(branch.detections.masks) == 1


def test_evaluation_has_keys_for_the_parts_that_there_are(pipeline, view):
    keys = set()
    for scores in list_part_scores(pipeline):
        scores.add(pipeline, Frame(view.rgb), view)
        keys |= set(scores.to_dict())
    assert {"pck_figure", "pck_objects", "region_accuracy", "interactive_miou"} <= keys
    assert not list_part_scores(load_pipeline(LoadOptions(device="cpu")))
