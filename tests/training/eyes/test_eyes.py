"""The vision tower learns labels of its tokens, from the cache and from other scenes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.embedded.runs import make_folder, make_small, open_in, render
from vl2_ros.datasets.reading.tar_shards import write_shards
from vl2_ros.datasets.sources.simulator import encode_scenes
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.training.embedded.objective import open_embedded
from vl2_ros.training.eyes.objective import EyesObjective, open_eyes
from vl2_ros.training.run import train


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


def make_recipe(cache: Path, init: Path | str, **changes):
    document = {"init": str(init), "trained": ["vision_encoder"], **changes}
    return make_small("embedded_eyes", cache, document)


@pytest.fixture
def objective(cache, init, tmp_path) -> EyesObjective:
    return open_eyes(make_recipe(cache, init), open_in(tmp_path))


def test_batch_has_labels_for_every_patch_and_depends_on_its_number(objective):
    batches = objective.open_batches(3)
    batch = batches[0]
    assert batch.vision_pixels.shape == (2, 3, 256, 256)
    assert batch.labels.kinds.shape == batch.labels.centres.shape == (2, 256)
    assert (batch.labels.kinds > 0).any() and batch.labels.centres.any()
    again = objective.open_batches(3)[0]
    assert torch.equal(again.vision_pixels, batch.vision_pixels)
    assert torch.equal(again.labels.kinds, batch.labels.kinds)
    assert not torch.equal(batches[1].vision_pixels, batch.vision_pixels)
    held_out = objective.open_batches(3, held_out=True)[0]
    assert not torch.equal(held_out.vision_pixels, batch.vision_pixels)


def test_few_steps_on_one_batch_teach_its_labels(objective):
    batch = objective.open_batches(0)[0]
    optimizer = torch.optim.AdamW(objective.network.vision_encoder.parameters(), lr=2e-3)
    first = objective(batch)
    for _ in range(25):
        losses = objective(batch)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
    assert losses.total < 0.5 * first.total
    assert losses.parts["color_right"] > first.parts["color_right"]


def test_run_writes_an_enlarged_checkpoint_whose_other_parts_are_the_same(cache, init, tmp_path):
    recipe = make_recipe(cache, init, saved_dtype="float32")
    assert train(recipe, tmp_path, device="cpu").is_complete
    written, before = load_model(tmp_path / "last"), load_model(init)
    assert written.config.vision["image_size"] == 256 and written.config.tokens_per_tile == 64
    assert ProcessingConfig.load(tmp_path / "last").vision_side == 256
    assert torch.equal(written.llm.lm_head.weight, before.llm.lm_head.weight)
    name = "encoder.layers.0.mlp.fc1.weight"
    changed = written.vision_encoder.get_parameter(name)
    assert not torch.equal(changed, before.vision_encoder.get_parameter(name))
    # The next run continues from there.
    further = open_eyes(make_recipe(cache, tmp_path / "last"), open_in(tmp_path / "next"))
    assert torch.equal(further.network.vision_encoder.get_parameter(name), changed)


def test_scenes_of_other_sources_are_drawn_as_often_as_their_weight_says(cache, init, tmp_path):
    write_shards(tmp_path / "shards", encode_scenes(range(900, 902)))
    source = {"kind": "simulator", "path": str(tmp_path / "shards"), "weight": 1e6}
    recipe = make_recipe(cache, init, sources=[source, source | {"held_out": True}])
    objective = open_eyes(recipe, open_in(tmp_path / "run"))
    held_out = objective.open_batches(0, held_out=True)[0]
    other = open_eyes(make_recipe(cache, init), open_in(tmp_path / "other"))
    own = other.open_batches(0, held_out=True)
    assert not any(torch.equal(held_out.vision_pixels, own[i].vision_pixels) for i in range(4))


def test_missing_checkpoint_and_sources_without_scenes_are_refused(cache, init, tmp_path):
    with pytest.raises(ConfigError, match="needs a checkpoint to start from"):
        open_eyes(make_recipe(cache, ""), open_in(tmp_path))
    (tmp_path / "pairs.jsonl").write_text('{"image": "a.png", "caption": "a"}\n')
    (tmp_path / "a.png").write_bytes(b"")
    source = {
        "kind": "image_captions",
        "annotations": str(tmp_path / "pairs.jsonl"),
        "images": str(tmp_path),
    }
    objective = open_eyes(make_recipe(cache, init, sources=[source]), open_in(tmp_path / "run"))
    with pytest.raises(ConfigError, match="scenes with instance maps"):
        objective.open_batches(0)
