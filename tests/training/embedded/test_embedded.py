from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from vl2_ros.training.embedded.embedded import EmbeddedTrainer, train_embedded
from vl2_ros.training.recipe import EmbeddedRecipe, learning_rate_share
from vl2_ros.training.workers import WorkerGroup, run_workers

from vl2_ros.datasets.tabletop import render_cache
from vl2_ros.errors import ConfigError
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.structures import Command, Frame
from vl2_ros.training.embedded.loss import compute_loss
from vl2_ros.training.embedded.tokenizer import train_tokenizer

RECIPE = EmbeddedRecipe(minutes=0.02, batch_size=2, frames=4, warmup_steps=2, save_every_s=1e9)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    render_cache(folder, range(RECIPE.frames), processes=1)
    return folder


def test_learning_rate_warms_up_stays_and_falls_to_its_end():
    recipe = EmbeddedRecipe(warmup_steps=100, flat_share=0.2, final_share=0.05)
    assert learning_rate_share(recipe, 49, 0.0) == 0.5
    assert learning_rate_share(recipe, 1000, 0.2) == 1.0
    assert learning_rate_share(recipe, 1000, 0.6) == pytest.approx(0.525)
    assert learning_rate_share(recipe, 1000, 1.0) == pytest.approx(0.05)


def test_recipe_without_time_raises():
    with pytest.raises(ConfigError, match="minutes must be positive"):
        EmbeddedRecipe(minutes=0)


@pytest.mark.slow
def test_run_writes_a_checkpoint_that_answers_and_resumes(cache, tmp_path, monkeypatch, caplog):
    steps = []
    monkeypatch.setattr("vl2_ros.training.trainer.bfloat16_is_faster", lambda: False)
    train_embedded(
        tmp_path, cache, recipe=RECIPE, workers=1, on_step=lambda *row: steps.append(row)
    )
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["step"] >= 1 and state["autocast"] is False
    result = load_pipeline(LoadOptions(tmp_path, "cpu")).answer(
        Frame(np.zeros((480, 640, 3), np.uint8)), Command("find the mug", max_new_tokens=4)
    )
    assert "language" in result.stage_ms
    # A resumed run computes as it began, whatever this machine's clock says now.
    monkeypatch.setattr("vl2_ros.training.trainer.bfloat16_is_faster", lambda: True)
    caplog.set_level("INFO", "vl2_ros.training.trainer")
    longer = replace(RECIPE, minutes=state["elapsed_s"] / 60 + 0.01)
    train_embedded(tmp_path, cache, recipe=longer, workers=1)
    resumed = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert resumed["step"] > state["step"] and resumed["autocast"] is False
    assert "autocast to bfloat16: False, as in the interrupted run" in caplog.text
    assert (tmp_path / "model.safetensors").stat().st_size < 32e6


@pytest.mark.slow
def test_new_run_starts_from_the_weights_of_another_checkpoint(cache, tmp_path):
    train_embedded(tmp_path / "first", cache, recipe=RECIPE, workers=1)
    first = load_model(tmp_path / "first").state_dict()
    still = replace(RECIPE, learning_rate=1e-12, weight_decay=0.0, seed=1)
    train_embedded(tmp_path / "second", cache, recipe=still, init=tmp_path / "first", workers=1)
    second = load_model(tmp_path / "second").state_dict()
    # Batch statistics move on; what is learned starts where the first run ended.
    names = [name for name in first if "normalization" not in name]
    assert all(torch.allclose(first[name], second[name], atol=1e-3) for name in names)


def make_untrained(folder: Path, cache: Path) -> EmbeddedTrainer:
    """A trainer before its first step: the same weights and batches on every machine."""
    train_tokenizer(folder, vocab_size=512, sentences=2000)
    return EmbeddedTrainer(folder, cache, RECIPE)


@pytest.mark.slow
def test_steps_on_one_batch_lower_every_part_of_the_loss(cache, tmp_path):
    trainer = make_untrained(tmp_path, cache)
    batch = trainer.next_batch()
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-3)
    history = []
    for _ in range(30):
        torch.manual_seed(0)
        loss, parts = compute_loss(trainer.model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), 1.0)
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in parts.items()})
    assert history[-1]["lm"] < 0.8 * history[0]["lm"]
    assert history[-1]["detection"] < 0.9 * history[0]["detection"]


def test_step_without_language_trains_the_decoder_alone(cache, tmp_path):
    trainer = make_untrained(tmp_path, cache)
    batch = replace(trainer.next_batch(), short_rows=None, blind_rows=None)
    loss, _ = compute_loss(trainer.model, batch)
    loss.backward()
    parameters = trainer.model.named_parameters()
    trained = {name.partition(".")[0] for name, p in parameters if p.grad is not None}
    assert trained == {"detection_decoder"}


def test_run_trains_the_llm_in_every_second_step(cache, tmp_path):
    recipe = replace(RECIPE, language_every=2)
    state = {"step": 0, "elapsed_s": 0.0}
    while state["step"] < 2:  # however slow the machine is
        minutes = state["elapsed_s"] / 60 + 0.02
        train_embedded(tmp_path, cache, recipe=replace(recipe, minutes=minutes), workers=1)
        state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    counts = {int(row["step"]) for row in state["optimizer"]["state"].values()}
    # Steps 0, 2, 4 ... train everything; the decoder also learns in the others.
    assert counts == {state["step"], (state["step"] + 1) // 2}


def test_workers_pair_gradients_in_the_order_of_the_model(cache, tmp_path):
    trainer = make_untrained(tmp_path, cache)
    names = {parameter: name for name, parameter in trainer.model.named_parameters()}
    for group in trainer.trained_parameters().values():
        known = [names[parameter] for parameter in group if parameter in names]
        assert known == [name for name in names.values() if name in set(known)]


def test_class_names_reach_the_detector_only_through_the_super_link(cache, tmp_path):
    trainer = make_untrained(tmp_path, cache)
    _, parts = compute_loss(trainer.model, trainer.next_batch())
    parts["loss_ce"].backward()
    assert float(trainer.model.super_link.det.weight.grad.abs().sum()) > 0
    assert float(trainer.model.llm.model.embed_tokens.weight.grad.abs().sum()) > 0


def _average(group: WorkerGroup, folder: Path) -> None:
    tensor = torch.full((3,), float(group.rank))
    scalar = group.average([tensor], 10.0 * group.rank)
    (folder / f"{group.rank}.json").write_text(json.dumps([tensor.tolist(), scalar]))


def test_two_workers_end_up_with_the_mean(tmp_path):
    run_workers(2, _average, tmp_path)
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [[0.5, 0.5, 0.5], 5.0]


def test_one_worker_keeps_its_own_numbers(tmp_path):
    run_workers(1, _average, tmp_path)
    assert json.loads((tmp_path / "0.json").read_text()) == [[0.0, 0.0, 0.0], 0.0]


def test_workers_sample_different_batches(cache, tmp_path):
    train_embedded(tmp_path, cache, recipe=RECIPE, workers=1)
    first = EmbeddedTrainer(tmp_path, cache, RECIPE, WorkerGroup(0, 2))
    second = EmbeddedTrainer(tmp_path, cache, RECIPE, WorkerGroup(1, 2))
    assert not torch.equal(first.next_batch().pixels, second.next_batch().pixels)
