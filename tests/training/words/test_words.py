"""The LLM learns to look up what a question names, and slot states stay."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.training.embedded.runs import make_folder, make_small, open_in, render
from vl2_ros.datasets.scene_questions.balanced import QUESTIONS, AskedQuestion
from vl2_ros.datasets.scene_text import existence_answer, listing_answer
from vl2_ros.datasets.token_labels.grid import label_grid
from vl2_ros.datasets.wording import Thing
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model, save_model
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.prompt import IGNORED_LABEL, encode_conversation
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.training.embedded.objective import open_embedded
from vl2_ros.training.eyes.directions import CENTRE_COLORS, CENTRE_KINDS
from vl2_ros.training.eyes.tower import enlarge_processing, enlarge_vision
from vl2_ros.training.run import train
from vl2_ros.training.words.answer_weights import weigh_answer
from vl2_ros.training.words.attention import (
    LookupTargets,
    PlaceReaders,
    compute_attention_loss,
    read_attended,
)
from vl2_ros.training.words.batches import question_shares
from vl2_ros.training.words.conversations import find_nouns, pack_questions
from vl2_ros.training.words.label_scenes import make_scene
from vl2_ros.training.words.objective import (
    WordsObjective,
    check_pair,
    open_words,
    take_language,
    weighted_language_loss,
)
from vl2_ros.training.words.projector_fit import fit_projector, word_table
from vl2_ros.training.words.settings import WordsSettings

OPTIONS = {"questions": 4, "fit_steps": 0, "held_scenes": 1, "commands": 1}


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return render(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def teacher(cache, tmp_path_factory) -> Path:
    """A small checkpoint with fresh weights."""
    folder = make_folder(tmp_path_factory.mktemp("teacher"))
    network = open_embedded(make_small("embedded", cache), open_in(folder)).network
    save_model(network, folder, dtype=torch.float32)
    return folder


@pytest.fixture(scope="module")
def init(teacher, tmp_path_factory) -> Path:
    """The same with an enlarged tower."""
    folder = make_folder(tmp_path_factory.mktemp("init"))
    network = enlarge_vision(load_model(teacher), 256)
    save_model(network, folder, dtype=torch.float32)
    enlarge_processing(ProcessingConfig.load(teacher), network).save(folder)
    return folder


def make_recipe(cache: Path, init: Path | str, teacher: Path, changes=None, **options):
    document = {"init": str(init), "trained": ["projector", "llm"], **(changes or {})}
    options = OPTIONS | {"teacher": str(teacher)} | options
    return make_small("embedded_words", cache, document, **options)


@pytest.fixture
def objective(cache, init, teacher, tmp_path) -> WordsObjective:
    return open_words(make_recipe(cache, init, teacher), open_in(tmp_path))


def encode(asked: AskedQuestion, folder: Path):
    tokenizer, config = load_tokenizer(folder), ProcessingConfig.load(folder)
    ids, labels = encode_conversation([(asked.question, asked.answer)], tokenizer, config)
    return tokenizer, config, ids, labels


ANSWER = (" No,", " there", " is", " no", " red", " mug.", "</s>")


def ask_mug(objects=()) -> AskedQuestion:
    thing = Thing("red", "mug")
    answer = existence_answer(thing, objects)
    return AskedQuestion("existence", "Is there a red mug?", answer, (thing,), ("mug",))


def test_words_that_carry_the_answer_outweigh_the_others(init):
    tokenizer, _, _, labels = encode(ask_mug(), init)
    weighed = weigh_answer(ask_mug(), labels, tokenizer, 3.0)
    weights = weighed.weights
    assert weights.sum() == pytest.approx(1.0)
    assert (weights[labels == IGNORED_LABEL] == 0).all()
    counts = [len(piece) for piece in tokenizer.encode_parts(ANSWER)]
    # Yes or no decides.
    first = int((labels != IGNORED_LABEL).argmax())
    assert np.flatnonzero(weighed.keys).tolist() == list(range(first, first + counts[0]))
    assert sum(counts) == (labels != IGNORED_LABEL).sum()
    ends = np.cumsum([0, *counts])
    own = weights[labels != IGNORED_LABEL]
    by_word = [own[first:last] for first, last in itertools.pairwise(ends)]
    most = own.max()
    expected = [most, 0.1 * most, most, most, most, 0.1 * most, 0.1 * most]
    for found, value in zip(by_word, expected, strict=True):
        assert found == pytest.approx(value)


def test_listing_weighs_all_its_words_alike(init):
    asked = AskedQuestion("listing", "What do you see?", listing_answer([]))
    tokenizer, _, _, labels = encode(asked, init)
    weighed = weigh_answer(asked, labels, tokenizer, 3.0)
    weights = weighed.weights
    assert weights.sum() == pytest.approx(3.0) and not weighed.keys.any()
    assert len(set(weights[labels != IGNORED_LABEL].tolist())) == 1


@pytest.mark.parametrize(
    ("question", "nouns"),
    [
        ("Is there a red mug?", ["mug"]),
        ("How many cylinders are there?", ["cylinders"]),
        ("Is the red mug left of the red can?", ["red mug", "red can"]),
        ("What do you see?", []),
    ],
)
def test_positions_of_the_nouns(init, question, nouns):
    things = tuple(Thing(None, noun) for noun in nouns)
    asked = AskedQuestion("count", question, "There are no mugs.", things, tuple(nouns))
    tokenizer, config, ids, _ = encode(asked, init)
    found = find_nouns(asked, ids, tokenizer, config)
    assert [thing.noun for thing, _ in found] == nouns
    for thing, place in found:
        assert tokenizer.decode(ids[place - 6 : place + 1].tolist()).endswith(thing.noun)


def test_batches_begin_with_labels_and_go_on_with_images(cache, init, teacher, tmp_path):
    recipe = make_recipe(
        cache, init, teacher, {"steps": 10}, images_from=0.5, label_share=0.0, listings_from=0.5
    )
    batches = open_words(recipe, open_in(tmp_path)).open_batches(0)
    early, late = batches[0], batches[7]
    assert early.pixels is None and late.pixels.shape == (2, 3, 256, 256)
    assert early.labels.kinds.shape == (2, 256)
    # What is held is seen by both towers.
    assert early.held.pixels.shape[-1] == 256 and early.held.teacher_pixels.shape[-1] == 128
    for batch in (early, late):
        asked = batch.asked
        segments, weights = asked.packs.segments, asked.weights
        for row in range(2):
            for segment in range(1, 5):
                total = float(weights[row][segments[row] == segment].sum())
                assert total == pytest.approx(1.0) or total == pytest.approx(3.0)
        assert (weights[asked.packs.labels == IGNORED_LABEL] == 0).all()
        assert asked.lookups.matching.shape[1] == 65
        sums = asked.lookups.counted.sum(1)
        torch.testing.assert_close(sums, torch.ones_like(sums))
    again = open_words(recipe, open_in(tmp_path)).open_batches(0)[0]
    assert torch.equal(again.asked.packs.input_ids, early.asked.packs.input_ids)


def test_questions_come_one_after_another():
    settings = WordsSettings(relations_from=0.2, listings_from=0.6)
    assert set(question_shares(settings, 0.0)) == {"existence", "color", "count"}
    assert set(question_shares(settings, 0.3)) == {"existence", "color", "count", "relation"}
    assert "listing" in question_shares(settings, 0.6)


def test_attention_loss_is_of_the_position_that_is_named(objective):
    batch = objective.open_batches(0)[0]
    targets = batch.asked.lookups
    count, length = batch.asked.packs.input_ids.shape
    image_patch = objective.network.tokens.image_patch
    seen = batch.asked.packs.input_ids[:, targets.image_start - 1 : targets.image_start + 64]
    assert (seen[:, 0] != image_patch).all() and (seen[:, 1:] == image_patch).all()
    even = torch.full((count, 4, length, length), 1e-6)
    right = even.clone()
    columns = torch.cat([torch.tensor([0]), targets.image_start + torch.arange(64)])
    rows = (targets.rows, targets.positions, targets.matching, targets.counted, targets.near)
    for row, place, matching, counted, near in zip(*rows, strict=True):
        right[row, 0, place, columns] = matching / matching.sum()
        right[row, 1, place, columns] = counted
        right[row, 2, place, columns] = near / near.sum().clamp(min=1.0)
    loss, masses = compute_attention_loss([right, right], targets)
    assert loss < 1e-2 and masses["found"] > 0.99
    assert compute_attention_loss([even, right], targets)[0] > 3.0


def test_supervised_heads_learn_to_look(objective):
    batch, network = objective.open_batches(0)[0], objective.network
    optimizer = torch.optim.AdamW(objective.network.llm.parameters(), lr=2e-3)
    history = []
    for _ in range(8):
        torch.manual_seed(0)
        losses = objective(batch)
        optimizer.zero_grad()
        losses.parts["attention"].backward()
        optimizer.step()
        history.append(float(losses.parts["found"]))
    assert history[-1] > 2 * history[0]
    # No hook is left behind.
    assert not any(layer.self_attn._forward_hooks for layer in network.llm.model.layers)


def test_places_are_read_where_they_are_known():
    nan = float("nan")
    targets = LookupTargets(
        torch.tensor([0, 1, 1]),
        torch.tensor([2, 0, 3]),
        5,
        *(torch.zeros(3, 5) for _ in range(3)),
        places=torch.tensor([[0.5, -0.5], [nan, nan], [0.25, 1.0]]),
        apart=torch.tensor([[nan, nan], [nan, nan], [0.5, 0.0]]),
    )
    readers = PlaceReaders(2)
    with torch.no_grad():
        for layer in (*readers.places, readers.apart):
            layer.weight.copy_(torch.eye(2))
            layer.bias.zero_()
    states = torch.zeros(2, 4, 2)
    states[0, 2], states[1, 3] = torch.tensor([0.5, -0.5]), torch.tensor([0.25, 1.0])
    found = readers.compute_loss([states, states + 1.0], targets)
    # The first layer reads every place, the second one misses each by one.
    assert float(found["place"]) == pytest.approx(0.5)
    assert float(found["apart"]) == pytest.approx((0.75**2 + 2.0**2) / 2)
    nothing = replace(targets, places=targets.places * nan, apart=targets.apart * nan)
    assert readers.compute_loss([states, states], nothing) == {}


def test_second_noun_of_a_relation_is_so_far_from_the_first(init):
    things = (Thing("red", "mug"), Thing("blue", "ball"))
    question = "Is the red mug left of the blue ball?"
    asked = AskedQuestion("relation", question, "Yes.", things, ("red mug", "blue ball"))
    instance_map = np.zeros((64, 64), np.uint8)
    instance_map[0:8, 0:8], instance_map[56:64, 24:32] = 1, 2
    objects = [SimpleNamespace(kind="mug", color="red"), SimpleNamespace(kind="ball", color="blue")]
    scene = make_scene(label_grid(instance_map, objects, 16), objects)
    tokenizer, config = load_tokenizer(init), ProcessingConfig.load(init)
    lookups = pack_questions([scene], [[asked]], tokenizer, config, listing_weight=1.0).lookups
    first, second = lookups.places.tolist()
    assert lookups.apart[0].isnan().all()
    assert lookups.apart[1].tolist() == [second[0] - first[0], second[1] - first[1]]
    assert second[0] > first[0] and second[1] > first[1]


def test_attention_without_weights_is_refused(objective):
    network = objective.network
    network.config = replace(network.config, attention="sdpa")
    with pytest.raises(ConfigError, match="where it is 'eager', got 'sdpa'"):
        read_attended(network, None, None)


def test_projector_is_fitted_to_the_words_of_the_llm(objective, init):
    network, tokenizer = objective.network, load_tokenizer(init)
    words = network.llm.model.embed_tokens.weight
    table = word_table(network, tokenizer)
    assert torch.allclose(table[CENTRE_COLORS.start], words[tokenizer.encode("x red")[1:]].mean(0))
    # All centres share what marks them.
    marks = table[CENTRE_KINDS][:2] - torch.stack(
        [words[tokenizer.encode(f"x {kind}")[1:]].mean(0) for kind in ("mug", "bowl")]
    )
    torch.testing.assert_close(marks[0], marks[1], atol=1e-6, rtol=1e-4)
    before = network.llm.model.embed_tokens.weight.clone()
    draw = objective.open_batches(0).draw_labels
    first = fit_projector(network, objective.directions, tokenizer, draw, 1)
    last = fit_projector(network, objective.directions, tokenizer, draw, 40)
    assert last < 0.7 * first
    assert torch.equal(before, network.llm.model.embed_tokens.weight)


def test_slot_states_are_held_to_those_of_the_teacher(objective):
    """The enlarged network starts near its teacher; a changed LLM is far from it."""
    batch = objective.open_batches(0, held_out=True)[0]
    objective.eval()
    with torch.no_grad():
        near = objective(batch).parts["moved"]
        for layer in objective.network.llm.model.layers:
            layer.mlp.down_proj.weight.mul_(4.0)
        far = objective(batch).parts["moved"]
    assert near < 0.5 * far


def test_run_changes_projector_and_llm_alone(cache, init, teacher, tmp_path):
    recipe = make_recipe(
        cache, init, teacher, {"saved_dtype": "float32"}, images_from=0.5, fit_steps=2
    )
    assert train(recipe, tmp_path, device="cpu").is_complete
    written, before = load_model(tmp_path / "last"), load_model(init)
    old, new = before.state_dict(), written.state_dict()
    changed = {name.split(".")[0] for name in old if not torch.equal(old[name], new[name])}
    assert changed == {"projector", "llm"}


def test_tower_is_held_to_its_labels_where_it_is_trained(cache, init, teacher, tmp_path):
    recipe = make_recipe(cache, init, teacher, images_from=0.0, label_share=0.0)
    objective = open_words(recipe, open_in(tmp_path))
    batch = objective.open_batches(0)[0]
    objective.network.vision_encoder.requires_grad_(False)
    assert "token_labels" not in objective(batch).parts
    objective.network.vision_encoder.requires_grad_(True)
    losses = objective(batch)
    losses.total.backward()
    assert losses.parts["token_labels"] > 0
    assert objective.network.vision_encoder.encoder.layers[0].mlp.fc1.weight.grad.abs().sum() > 0


def test_shares_of_right_answers_are_those_of_deciding_words(objective):
    batch = objective.open_batches(0)[1]
    network, asked = objective.network, batch.asked
    head = network.llm.lm_head
    # States that the head turns into the next label, but for the first deciding word of all.
    states = torch.zeros(*asked.packs.labels.shape, head.in_features)
    head.weight.data = torch.randn(head.out_features, head.in_features)
    states[:, :-1] = head.weight[asked.packs.labels[:, 1:].clamp(min=0)]
    _, right = weighted_language_loss(network, states, asked)
    assert set(right) == {f"{tuple(QUESTIONS)[one]}_right" for one in set(asked.names.tolist())} - {
        "listing_right"
    }
    assert all(share == 1.0 for share in right.values())
    row, place = (asked.keys == 0).nonzero()[0].tolist()
    states[row, place - 1] = -states[row, place - 1]
    _, wrong = weighted_language_loss(network, states, asked)
    name = f"{tuple(QUESTIONS)[int(asked.names[0])]}_right"
    count = int((asked.names == asked.names[0]).sum())
    assert wrong[name] == pytest.approx(1.0 - 1.0 / count)


def test_projector_and_llm_of_a_run_of_labels_are_taken(cache, init, teacher, tmp_path):
    other = load_model(init)
    with torch.no_grad():
        other.llm.lm_head.weight.add_(1.0)
        other.vision_encoder.embeddings.class_embedding.add_(1.0)
    folder = make_folder(tmp_path / "other")
    save_model(other, folder, dtype=torch.float32)
    recipe = make_recipe(cache, init, teacher, language=str(folder))
    network = open_words(recipe, open_in(tmp_path / "run")).network
    assert torch.equal(network.llm.lm_head.weight, other.llm.lm_head.weight)
    own = network.vision_encoder.embeddings.class_embedding
    assert torch.equal(own, load_model(init).vision_encoder.embeddings.class_embedding)
    with pytest.raises(ConfigError, match="projector of other sizes"):
        take_language(network, load_model(teacher))


def test_runs_that_cannot_work_are_refused(cache, init, teacher, tmp_path):
    with pytest.raises(ConfigError, match="vision tokens are merged"):
        check_pair(load_model(teacher), load_model(teacher))
    with pytest.raises(ConfigError, match="a checkpoint of embedded_eyes"):
        open_words(make_recipe(cache, "", teacher), open_in(tmp_path))
    other = enlarge_vision(load_model(teacher), 192)
    with pytest.raises(ConfigError, match="different image tokens: 36 and 64"):
        check_pair(other, load_model(teacher))
