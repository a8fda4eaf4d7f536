from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from vl2_ros.training.embedded.embedded import EmbeddedTrainer
from vl2_ros.training.recipe import EmbeddedRecipe

from vl2_ros.datasets.tabletop import render_cache
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.training.embedded.language import (
    LanguageTrainer,
    compute_language_loss,
    train_language,
)
from vl2_ros.training.embedded.language_batches import IMAGE, LanguageBatch
from vl2_ros.training.embedded.tokenizer import train_tokenizer

RECIPE = EmbeddedRecipe(
    minutes=0.02,
    images=2,
    conversations=3,
    blind_packs=2,
    frames=4,
    warmup_steps=2,
    save_every_s=1e9,
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    render_cache(folder, range(RECIPE.frames), processes=1)
    return folder


@pytest.fixture(scope="module")
def init(cache, tmp_path_factory) -> Path:
    """A small checkpoint with fresh weights."""
    folder = tmp_path_factory.mktemp("init")
    train_tokenizer(folder, vocab_size=512, sentences=2000)
    EmbeddedTrainer(folder, cache, RECIPE).save()
    return folder


@pytest.fixture
def trainer(cache, init) -> LanguageTrainer:
    return LanguageTrainer(init, cache, init, RECIPE)


def test_packed_conversation_gets_the_states_that_it_gets_alone(trainer):
    batch: LanguageBatch = trainer.next_batch()
    packs, model = batch.packs, trainer.model.eval()
    with torch.no_grad():
        tokens = model.encode_images(batch.vision_pixels).image_tokens
        packed = model.llm.model(
            inputs_embeds=model.embed(packs.input_ids, tokens),
            attention_mask=packs.visibility(),
            position_ids=packs.position_ids,
        ).last_hidden_state
        for index, segment in ((0, 1), (0, 3), (1, 2)):
            seen = (packs.segments[index] == IMAGE) | (packs.segments[index] == segment)
            alone = model(packs.input_ids[index, seen][None], image_tokens=tokens[index])
            torch.testing.assert_close(packed[index, seen], alone.hidden[0], atol=1e-4, rtol=1e-4)


def distance_after(trainer: LanguageTrainer, teacher, *, hold: float) -> float:
    """Train a few steps on one batch; return how far the slot states moved."""
    batch = trainer.next_batch()
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-3)
    for _ in range(12):
        loss, parts = compute_language_loss(
            trainer.model, teacher, batch, trainer._labellers, hold=hold
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return float(parts["moved"].detach())


@pytest.mark.slow
def test_frozen_copy_holds_the_slot_states(cache, init):
    teacher = load_model(init).requires_grad_(False)
    held, free = (
        distance_after(LanguageTrainer(init, cache, init, RECIPE), teacher, hold=hold)
        for hold in (50.0, 0.0)
    )
    assert held < 0.5 * free


@pytest.mark.slow
def test_steps_on_one_batch_teach_the_answers(trainer, init):
    teacher = load_model(init).requires_grad_(False)
    batch = trainer.next_batch()
    optimizer = torch.optim.AdamW(trainer.model.parameters(), lr=1e-3)
    losses = []
    for _ in range(30):
        loss, parts = compute_language_loss(
            trainer.model, teacher, batch, trainer._labellers, hold=1.0
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append([float(parts[name].detach()) for name in ("lm", "lm_blind")])
    assert losses[-1][0] < 0.7 * losses[0][0]
    assert losses[-1][1] < 0.7 * losses[0][1]


def test_run_changes_the_llm_leaves_the_decoder_and_resumes(cache, init, tmp_path):
    train_language(tmp_path, cache, recipe=RECIPE, init=init, workers=1)
    state = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert state["step"] >= 1
    before, after = load_model(init).state_dict(), load_model(tmp_path).state_dict()
    for name, value in before.items():
        if name.startswith("detection_decoder"):
            assert torch.equal(value, after[name]), name
    assert not torch.equal(before["llm.lm_head.weight"], after["llm.lm_head.weight"])
    longer = replace(RECIPE, minutes=state["elapsed_s"] / 60 + 0.01)
    train_language(tmp_path, cache, recipe=longer, init=init, workers=1)
    resumed = torch.load(tmp_path / "training_state.pt", weights_only=True)
    assert resumed["step"] > state["step"]


@pytest.mark.slow
def test_batches_sampled_in_processes_differ_and_are_reproducible(cache, init):
    def first_ids(drawers: int) -> list[list[int]]:
        trainer = LanguageTrainer(init, cache, init, RECIPE, drawers=drawers)
        return [trainer.next_batch().packs.input_ids.flatten().tolist() for _ in range(2)]

    sampled = first_ids(2)
    assert sampled[0] != sampled[1]  # one of each process
    assert sampled[0] == first_ids(0)[0]


@pytest.mark.gpu
def test_language_trains_on_cuda_with_batches_from_processes(cache, init, tmp_path):
    recipe = replace(RECIPE, minutes=0.1)
    train_language(tmp_path, cache, recipe=recipe, init=init, workers=2, device="cuda")
    before, after = load_model(init).state_dict(), load_model(tmp_path).state_dict()
    assert not torch.equal(before["llm.lm_head.weight"], after["llm.lm_head.weight"])


def test_language_alone_needs_a_finished_checkpoint(cache, tmp_path):
    with pytest.raises(ConfigError, match="--init"):
        train_language(tmp_path, cache, recipe=RECIPE, init=None)
