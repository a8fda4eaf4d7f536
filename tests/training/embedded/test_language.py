from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.embedded.runs import make_folder, make_small, open_in, render
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.processing.language.prompt import IGNORED_LABEL
from vl2_ros.training.embedded.language import (
    LanguageObjective,
    compute_language_loss,
    open_language,
)
from vl2_ros.training.embedded.language_batches import LanguageBatch
from vl2_ros.training.embedded.objective import open_embedded
from vl2_ros.training.embedded.packs import IMAGE, PADDING
from vl2_ros.training.embedded.reading import read_packs
from vl2_ros.training.run import train

OPTIONS = {"conversations": 3, "blind_packs": 2}


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


@pytest.fixture
def objective(cache, init, tmp_path) -> LanguageObjective:
    recipe = make_small("embedded_language", cache, {"init": str(init)}, **OPTIONS)
    return open_language(recipe, open_in(tmp_path))


def test_packed_conversation_gets_the_states_that_it_gets_alone(objective):
    batch: LanguageBatch = objective.open_batches(0)[0]
    packs, blind, model = batch.packs, batch.blind_packs, objective.network.eval()
    assert bool((packs.segments == PADDING).any())
    with torch.no_grad():
        tokens = model.encode_images(batch.vision_pixels).image_tokens
        read = read_packs(model, [(packs, tokens), (blind, None)])
        for one, states, images in ((packs, read[0], tokens), (blind, read[1], None)):
            assert not states[one.segments == PADDING].any()
            for index, segment in ((0, 1), (0, 3), (1, 2)):
                seen = (one.segments[index] == IMAGE) | (one.segments[index] == segment)
                image = None if images is None else images[index]
                alone = model(one.input_ids[index, seen][None], image_tokens=image).hidden[0]
                torch.testing.assert_close(states[index, seen], alone, atol=1e-4, rtol=1e-4)


def test_gradients_of_packs_are_those_of_padded_rows(objective):
    batch: LanguageBatch = objective.open_batches(0)[0]
    model, packs = objective.network.eval(), batch.packs
    supervised = packs.labels != IGNORED_LABEL
    gradients = []
    for by_rows in (True, False):
        model.zero_grad()
        tokens = model.encode_images(batch.vision_pixels).image_tokens
        if by_rows:
            states = read_packs(model, [(packs, tokens), (batch.blind_packs, None)])[0]
        else:
            states = model.llm.model(
                inputs_embeds=model.embed(packs.input_ids, tokens),
                attention_mask=packs.visibility(),
                position_ids=packs.position_ids,
            ).last_hidden_state
        states[supervised].square().mean().backward()
        gradients.append(
            {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys()
    assert "vision_encoder.embeddings.patch_embedding.weight" in gradients[0]
    for name, value in gradients[0].items():
        torch.testing.assert_close(value, gradients[1][name], atol=1e-5, rtol=1e-3, msg=name)


def train_on_one_batch(
    objective: LanguageObjective, teacher, *, hold: float, steps: int
) -> list[dict[str, float]]:
    """Train a few steps on one batch; return the parts of the loss in each."""
    batch, model = objective.open_batches(0)[0], objective.network
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    history = []
    for _ in range(steps):
        loss, parts = compute_language_loss(model, teacher, batch, objective.labeller, hold=hold)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append({name: float(value.detach()) for name, value in parts.items()})
    return history


@pytest.mark.slow
def test_frozen_copy_holds_the_slot_states(cache, init, tmp_path):
    teacher = load_model(init).requires_grad_(False)
    recipe = make_small("embedded_language", cache, {"init": str(init)}, **OPTIONS)
    held, free = (
        train_on_one_batch(open_language(recipe, open_in(tmp_path)), teacher, hold=hold, steps=12)[
            -1
        ]["moved"]
        for hold in (50.0, 0.0)
    )
    assert held < 0.5 * free


@pytest.mark.slow
def test_steps_on_one_batch_teach_the_answers(objective, init):
    teacher = load_model(init).requires_grad_(False)
    history = train_on_one_batch(objective, teacher, hold=1.0, steps=30)
    for name in ("lm", "lm_blind"):
        assert history[-1][name] < 0.7 * history[0][name]


def check_run(cache: Path, init: Path, folder: Path, device: str, workers: int) -> None:
    changes = {"init": str(init), "frozen": ["detection_decoder"], "workers": workers}
    recipe = make_small("embedded_language", cache, changes, **OPTIONS)
    assert train(recipe, folder, device=device).is_complete
    before, after = load_model(init).state_dict(), load_model(folder / "last").state_dict()
    for name, value in before.items():
        if name.startswith("detection_decoder"):
            assert torch.equal(value.half(), after[name].half()), name
    assert not torch.equal(before["llm.lm_head.weight"], after["llm.lm_head.weight"])


def test_run_changes_the_llm_and_leaves_the_decoder(cache, init, tmp_path):
    check_run(cache, init, tmp_path, "cpu", 0)


@pytest.mark.gpu
def test_language_trains_on_cuda_with_batches_from_processes(cache, init, tmp_path):
    check_run(cache, init, tmp_path, "cuda", 2)


def test_language_alone_needs_a_finished_checkpoint(cache, tmp_path):
    with pytest.raises(ConfigError, match="--set init=embedded"):
        open_language(make_small("embedded_language", cache), open_in(tmp_path))
