"""Poses and regions added to a finished model: what is made, what is trained, what is held."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.training.embedded.runs import make_folder, make_small, open_in, render
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import ConfigError
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.pose.decoder import PoseDecoder
from vl2_ros.training.embedded.objective import open_embedded
from vl2_ros.training.embedded.part_sizes import add_parts, embedded_pose_config
from vl2_ros.training.embedded.parts import PartsObjective, open_parts
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.run import prepare_training, train


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def init(cache, tmp_path_factory) -> Path:
    """A small checkpoint with fresh weights."""
    folder = make_folder(tmp_path_factory.mktemp("init"))
    network = open_embedded(make_small("embedded", cache), open_in(folder)).network
    save_model(network, folder, dtype=torch.float32)
    return folder


def open_small(cache: Path, init: Path, folder: Path, trained=("*",), **options) -> PartsObjective:
    changes = {"init": str(init), "trained": list(trained)}
    recipe = make_small("embedded_parts", cache, changes, **options)
    objective = open_parts(recipe, open_in(folder))
    prepare_training(objective, recipe)
    return objective.train()


def test_the_pose_decoder_is_small_and_begins_with_the_backbone_of_detection():
    network = load_model(EMBEDDED_WEIGHTS).float()
    extended = add_parts(network, poses=True, regions=True)
    decoder = extended.pose_decoder
    assert sum(one.numel() for one in decoder.parameters()) < 1.6e6
    assert sum(one.numel() for one in extended.region_encoder.parameters()) < 0.2e6
    known = network.state_dict()
    for name, value in decoder.backbone.state_dict().items():
        assert torch.equal(value, known[f"detection_decoder.backbone.{name}"])
    assert torch.equal(extended.super_link.pose.weight, known["super_link.det.weight"])
    for name, value in extended.state_dict().items():
        if name in known and name != "super_link.pose.weight":
            assert torch.equal(value, known[name])
    assert add_parts(extended, poses=True, regions=True) is extended


def test_weights_and_engines_with_both_parts_would_stay_within_40_megabytes():
    document = json.loads((EMBEDDED_WEIGHTS / "config.json").read_text())
    detection = ModelConfig.from_dict(document["model"]).detection
    decoder = PoseDecoder(embedded_pose_config(detection))
    # Two bytes of a weight, one of an engine's, and graphs of the size of those of detection.
    graphs = sum(
        (EMBEDDED_WEIGHTS / f"detection_{one}.onnx").stat().st_size
        for one in ("backbone", "decoder")
    )
    pose = 3 * sum(one.numel() for one in decoder.parameters()) + graphs
    now = sum(path.stat().st_size for path in EMBEDDED_WEIGHTS.iterdir() if path.is_file())
    assert now + pose + 3 * 0.2e6 <= 40e6


def test_poses_train_their_decoder_and_its_table_alone(cache, init, tmp_path):
    packaged = read_recipe("embedded_poses")
    objective = open_small(cache, init, tmp_path, packaged.trained, poses=1, language_weight=0)
    batch = objective.open_batches(0)[0]
    assert batch.group is Group.POSE
    losses = objective(batch)
    losses.total.backward()
    assert {"pose", "loss_keypoints", "loss_oks"} <= set(losses.parts)
    assert "language" not in losses.parts
    moved = {
        name.removeprefix("network.").partition(".")[0]
        for name, one in objective.named_parameters()
        if one.grad is not None and one.grad.abs().sum() > 0
    }
    assert moved == {"pose_decoder", "super_link"}
    assert objective.network.super_link.det.weight.grad is None


def test_poses_of_one_batch_are_learned(cache, init, tmp_path):
    objective = open_small(
        cache, init, tmp_path, ("pose_decoder", "super_link.pose"), poses=1, language_weight=0
    )
    batch = objective.open_batches(0)[0]
    trained = [one for one in objective.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-3)
    history = []
    for _ in range(12):
        # The same noise each time.
        torch.manual_seed(0)
        losses = objective(batch)
        optimizer.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        history.append(float(losses.parts["pose"].detach()))
    assert min(history[-3:]) < 0.8 * history[0]


def test_regions_train_the_llm_while_what_was_known_is_held(cache, init, tmp_path):
    objective = open_small(
        cache,
        init,
        tmp_path,
        ("region_encoder", "llm"),
        **{"region_names": 1, "interactive": 1, "perception": 2, "pose_commands": 1, "hold": 4.0},
    )
    batches = objective.open_batches(0)
    groups, moved = set(), {}
    for number in range(12):
        batch = batches[number]
        losses = objective(batch)
        has_regions = bool(len(batch.region_masks))
        groups.add((batch.group, has_regions))
        moved.setdefault((batch.group, has_regions), float(losses.parts["moved"].detach()))
    assert {group for group, _ in groups} >= {Group.TEXT, Group.DETECTION}
    # A fresh copy is where its teacher is.
    assert max(moved.values()) < 1e-6
    with torch.no_grad():
        objective.network.llm.model.layers[0].mlp.down_proj.weight.mul_(3.0)
    found = {}
    for number in range(12):
        batch = batches[number]
        parts = objective(batch).parts
        found.setdefault(batch.group, []).append(float(parts["moved"].detach()))
        if batch.group is Group.POSE:
            # The teacher has no pose decoder, so that nothing reads its states yet.
            assert parts["moved"] == 0.0
    assert max(found[Group.DETECTION]) > 1e-4


def test_the_marked_region_changes_what_is_said(cache, init, tmp_path):
    objective = open_small(cache, init, tmp_path, region_names=1).eval()
    batch = objective.open_batches(0)[0]
    with torch.no_grad():
        torch.nn.init.normal_(objective.network.region_encoder.up_dim.weight)
        first = float(objective(batch).parts["language"])
        other = replace(batch, region_masks=batch.region_masks.flip(-1))
        assert float(objective(other).parts["language"]) != pytest.approx(first, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "options", "expected"),
    [
        ({}, {"poses": 1}, "finished model"),
        ({"init": "embedded"}, {}, "no task has a share"),
    ],
)
def test_recipes_without_a_model_or_a_task_are_refused(cache, tmp_path, changes, options, expected):
    recipe = make_small("embedded_parts", cache, changes, **options)
    with pytest.raises(ConfigError, match=expected):
        open_parts(recipe, open_in(tmp_path))


def test_packaged_recipes_open_on_their_parts(cache, init, tmp_path):
    for name, parts in (
        ("embedded_poses", {"pose_decoder"}),
        ("embedded_regions", {"region_encoder"}),
    ):
        recipe = read_recipe(name)
        options = replace(recipe.options, cache=str(cache), frames=4, held_out_frames=2)
        recipe = replace(recipe, init=str(init), options=options, batch=2)
        folder = tmp_path / name
        folder.mkdir()
        objective = open_parts(recipe, open_in(folder))
        prepare_training(objective, recipe)
        assert parts <= set(objective.network.config.parts)


@pytest.mark.slow
def test_a_run_writes_a_checkpoint_with_a_pose_decoder(cache, init, tmp_path):
    recipe = make_small(
        "embedded_parts",
        cache,
        {"init": str(init), "trained": ["pose_decoder", "super_link.pose"]},
        poses=1,
        language_weight=0,
    )
    train(recipe, tmp_path, device="cpu")
    saved = load_model(tmp_path / "last")
    assert "pose_decoder" in saved.config.parts
    before = load_model(init).state_dict()
    after = saved.state_dict()
    for name in ("llm.lm_head.weight", "detection_decoder.levels.level_embed"):
        assert torch.equal(after[name].half(), before[name].half())
