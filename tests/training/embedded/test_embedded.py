from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.datasets.small_sets import write_household
from tests.training.embedded.runs import make_folder, make_small, open_in, render
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.structures import Command, Frame
from vl2_ros.training.companions import find_init
from vl2_ros.training.embedded.loss import compute_loss
from vl2_ros.training.embedded.objective import EmbeddedObjective, open_embedded
from vl2_ros.training.embedded.packs import IMAGE
from vl2_ros.training.loop.log import read_log
from vl2_ros.training.loop.parameters import group_norms
from vl2_ros.training.recipes.reading import read_recipe
from vl2_ros.training.run import train


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def objective(cache, tmp_path) -> EmbeddedObjective:
    """The embedded model before its first step: the same weights and batches everywhere."""
    torch.manual_seed(0)
    opening = open_in(make_folder(tmp_path))
    return open_embedded(make_small("embedded", cache), opening)


@pytest.mark.slow
def test_run_writes_a_checkpoint_that_answers_and_that_another_run_starts_from(cache, tmp_path):
    first, second = make_folder(tmp_path / "first"), tmp_path / "second"
    end = train(make_small("embedded", cache), first, device="cpu")
    assert end.is_complete and end.best is not None
    result = load_pipeline(LoadOptions(first / "last", "cpu")).answer(
        Frame(np.zeros((480, 640, 3), np.uint8)), Command("find the mug", max_new_tokens=4)
    )
    assert "language" in result.stage_ms
    assert (first / "last" / "model.safetensors").stat().st_size < 32e6
    still = {"init": str(first / "last"), "seed": 1, "rates": {"learning_rate": 1e-12}}
    train(make_small("embedded", cache, still), second, device="cpu")
    before, after = (load_model(one / "last").state_dict() for one in (first, second))
    # Batch statistics move on; what is learned starts where the first run ended.
    names = [name for name in before if "normalization" not in name]
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in names)


@pytest.mark.slow
def test_steps_on_one_batch_lower_every_part_of_the_loss(objective):
    batch, model = objective.open_batches(0)[0], objective.network
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(30):
        torch.manual_seed(0)
        loss, parts = compute_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in parts.items()})
    assert history[-1]["lm"] < 0.8 * history[0]["lm"]
    assert history[-1]["detection"] < 0.9 * history[0]["detection"]


def test_packed_conversations_have_the_losses_that_they_have_alone(objective):
    batch, model = objective.open_batches(0)[0], objective.network.eval()
    blind = batch.blind_packs.packs
    ignored = torch.tensor([-100, *model.super_link.ignored_labels()])
    with torch.no_grad():
        _, parts = compute_loss(model, batch)
        tokens = model.encode_images(batch.vision_pixels).image_tokens
        for name, rows in (("lm", batch.rows), ("lm_short", batch.short_rows)):
            alone = model(
                rows.input_ids, rows.attention_mask, image_tokens=tokens, labels=rows.labels
            )
            torch.testing.assert_close(parts[name], alone.loss, atol=1e-4, rtol=1e-4)
        losses, counts = [], []
        for pack, segments in enumerate(blind.segments):
            for segment in range(1, int(segments.max()) + 1):
                seen = (segments == IMAGE) | (segments == segment)
                ids, labels = blind.input_ids[pack, seen][None], blind.labels[pack, seen][None]
                losses.append(model(ids, labels=labels).loss)
                counts.append((~torch.isin(labels[:, 1:], ignored)).sum())
    assert len(losses) == 3 * len(batch.pixels)
    weights = torch.stack(counts) / sum(counts)
    expected = (torch.stack(losses) * weights).sum()
    torch.testing.assert_close(parts["lm_blind"], expected, atol=1e-4, rtol=1e-4)


def test_step_without_language_trains_the_decoder_alone(objective):
    batch = replace(objective.open_batches(0)[0], short_rows=None, blind_packs=None)
    objective(batch).total.backward()
    parameters = objective.named_parameters()
    trained = {
        name.rsplit(".", name.count(".") - 1)[0] for name, p in parameters if p.grad is not None
    }
    assert trained == {"network.detection_decoder", "labellers.decoder_tokens"}


def test_llm_is_trained_in_every_second_step_of_two_batches(cache, tmp_path):
    recipe = make_small("embedded", cache, language_every=2)
    opening = replace(open_in(make_folder(tmp_path)), batches_per_step=2)
    batches = open_embedded(recipe, opening).open_batches(0)
    assert [batches[number].short_rows is None for number in range(6)] == [
        False,
        False,
        True,
        True,
        False,
        False,
    ]


def test_batch_is_a_function_of_seed_and_number(objective):
    first, again = (objective.open_batches(3)[5] for _ in range(2))
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.rows.input_ids, again.rows.input_ids)
    others = objective.open_batches(3)[6], objective.open_batches(4)[5]
    others += (objective.open_batches(3, held_out=True)[5],)
    assert all(not torch.equal(first.pixels, other.pixels) for other in others)


def test_decoder_and_the_rest_have_limits_of_their_own(objective):
    rates = replace(make_small("embedded", Path()).rates, clip_alone=("detection_decoder",))
    groups = group_norms(objective, rates)
    decoder = dict(objective.network.detection_decoder.named_parameters()).values()
    assert list(map(id, groups["detection_decoder"])) == list(map(id, decoder))
    assert sum(map(len, groups.values())) == len(list(objective.parameters()))


def test_class_names_reach_the_detector_only_through_the_super_link(objective):
    _, parts = compute_loss(objective.network, objective.open_batches(0)[0])
    parts["loss_ce"].backward()
    assert float(objective.network.super_link.det.weight.grad.abs().sum()) > 0
    assert float(objective.network.llm.model.embed_tokens.weight.grad.abs().sum()) > 0


def test_recipe_resumes_with_its_own_precision(cache, tmp_path, monkeypatch):
    monkeypatch.setattr("vl2_ros.training.loop.devices.bfloat16_is_faster", lambda: False)
    folder = make_folder(tmp_path)
    recipe = make_small("embedded", cache, {"precision": "auto", "steps": 1})
    train(recipe, folder, device="cpu")
    state = torch.load(folder / "training_state.pt", weights_only=True)
    assert state["precision"] == "float32" and len(read_log(folder)) == 2
    # A resumed run computes as it began, whatever this machine's clock says now.
    monkeypatch.setattr("vl2_ros.training.loop.devices.bfloat16_is_faster", lambda: True)
    lines: list[str] = []
    train(recipe, folder, device="cpu", show=lines.append)
    assert lines == ["resumed at step 1 of 1"]
    state = torch.load(folder / "training_state.pt", weights_only=True)
    assert state["precision"] == "float32"


def test_households_train_the_decoder_and_nothing_else(cache, tmp_path):
    recipe = read_recipe("embedded_household")
    options = replace(
        recipe.options,
        **{"cache": str(cache), "frames": 4, "held_out_frames": 2},
        household=str(write_household(tmp_path / "scenes", scale=4)),
        household_share=1.0,
    )
    evaluation = replace(recipe.evaluation, batches=1)
    small = replace(recipe, options=options, evaluation=evaluation, steps=2, batch=2, workers=0)
    train(small, tmp_path / "run", device="cpu")
    before = load_model(find_init("embedded")).state_dict()
    after = load_model(tmp_path / "run" / "last").state_dict()
    moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith("detection_decoder") for name in moved)
