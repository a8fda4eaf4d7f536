"""Labels on slots and image tokens: what they say and train, and that they are thrown away."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.training.conversations.small_sources import (
    COLOURS,
    POINTS,
    PROCESSING,
    make_mixture,
    make_network,
)
from vl2_ros.model.decoders.attention.feature_levels import ImageTokens
from vl2_ros.model.decoders.targets import ObjectTargets
from vl2_ros.model.language.slots import SlotGroup
from vl2_ros.model.pose.targets import PoseTargets
from vl2_ros.training.conversations.name_labels import NameLabels, SeenImages
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.conversations.settings import ConversationSettings
from vl2_ros.training.loop.loop import LAST_FOLDER
from vl2_ros.training.recipes.recipe import Evaluation, Recipe
from vl2_ros.training.run import train

NAMES = (*(f"{colour} square" for colour in COLOURS), *POINTS)
#: Numbers of a batch of two names among five, and of the background.
ASKED, BACKGROUND = torch.tensor([3, 1]), 5


@pytest.fixture
def make_objective(json_tokenizer):
    def make(*kinds, **settings):
        mixture = make_mixture(*kinds)
        torch.manual_seed(0)
        return ConversationObjective(
            *(make_network(json_tokenizer), json_tokenizer, PROCESSING, mixture, mixture),
            ConversationSettings(**settings),
            batch_size=2,
        )

    return make


def make_tokens(padded=()):
    """Two levels of 4 x 4 and 2 x 2 tokens with two channels, and some of them padding."""
    centres = torch.cat(
        [
            torch.stack(
                torch.meshgrid(*[(torch.arange(side) + 0.5) / side] * 2, indexing="xy"), -1
            ).flatten(0, 1)
            for side in (4, 2)
        ]
    )[None]
    is_padding = torch.zeros(1, 20, dtype=torch.bool)
    is_padding[0, list(padded)] = True
    blank = torch.zeros(1, 20, 2)
    return ImageTokens(
        blank, blank, is_padding, centres, torch.ones(1, 2, 2), level_sizes=((4, 4), (2, 2))
    )


def read_labels(tokens, targets, names=ASKED):
    """Return what each token is labelled as: the class for which a sure logit costs nothing."""
    labels = NameLabels(BACKGROUND, 2, {"detection_decoder": 2})
    layer = labels.tokens["detection_decoder"]
    torch.nn.init.zeros_(layer.weight)
    found = []
    for token in range(20):
        alone = ImageTokens(
            *(tokens.tokens, tokens.positions, torch.ones_like(tokens.is_padding)),
            *(tokens.centres, tokens.valid_ratios, tokens.level_sizes),
        )
        alone.is_padding[0, token] = tokens.is_padding[0, token]
        costs = []
        for wanted in range(BACKGROUND + 1):
            torch.nn.init.constant_(layer.bias, 0.0)
            with torch.no_grad():
                layer.bias[wanted] = 50.0
            costs.append(
                labels.label_tokens("detection_decoder", [SeenImages(alone, [targets], [names])])
            )
        cheap = [wanted for wanted, cost in enumerate(costs) if cost < 1e-3]
        found.append(cheap[0] if cheap else None)
    return found


def test_a_token_shows_the_smallest_box_around_its_centre():
    boxes = torch.tensor([[0.5, 0.5, 1.0, 0.5], [0.25, 0.5, 0.5, 0.5]])
    targets = ObjectTargets(boxes, torch.tensor([0, 1]))
    found = read_labels(make_tokens(padded=(4,)), targets)
    other = BACKGROUND
    assert found[:4] == found[12:16] == [other] * 4
    # Token 4 is padding, which has no label.
    assert found[4:8] == [None, 1, 3, 3] and found[8:12] == [1, 1, 3, 3]
    assert found[16:] == [1, 3, 1, 3]


def test_an_image_without_objects_is_background():
    nothing = ObjectTargets(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    assert read_labels(make_tokens(), nothing) == [BACKGROUND] * 20


def test_the_finest_tokens_of_a_pose_show_its_visible_keypoints():
    objects = ObjectTargets(torch.tensor([[0.5, 0.5, 1.0, 0.5]]), torch.tensor([0]))
    points = torch.tensor([[[0.1, 0.1], [0.9, 0.4], [0.6, 0.6]]])
    seen = torch.tensor([[True, False, True]])
    poses = PoseTargets(objects, points, seen, torch.tensor([0.5]))
    found = read_labels(make_tokens(), poses, torch.tensor([0, 2, 3, 4]))
    assert found[0] == 2 and found[10] == 4
    # What else lies in the box is not known: the other keypoints may not have been asked for.
    assert [found[one] for one in (4, 5, 6, 7, 8, 9, 11)] == [None] * 7
    assert found[1:4] == [BACKGROUND] * 3 and found[16:] == [0] * 4


def test_slots_are_labelled_by_the_names_of_their_row():
    labels = NameLabels(BACKGROUND, 2, {})
    torch.nn.init.zeros_(labels.slots.bias)
    with torch.no_grad():
        labels.slots.weight.copy_(torch.tensor([[0, 0], [0, 9], [0, 0], [9, 0], [0, 0]]))
    rows = [
        [SlotGroup("[DET]", 0, 5 * torch.eye(2)[one].expand(4, 2)) for one in order]
        for order in ((0, 1), (1, 0))
    ]
    assert labels.label_slots(rows[:1], [ASKED]) < 1e-3
    assert labels.label_slots(rows[1:], [ASKED]) > 10
    # A row whose names are of no list has none.
    assert labels.label_slots(rows, [ASKED, ASKED[:0]]) < 1e-3
    assert labels.label_slots(rows[:1], [ASKED[:0]]) is None


@pytest.mark.parametrize("kind", ["detection", "pose"])
def test_labels_are_in_the_total_by_their_weight(make_objective, kind):
    objective = make_objective(kind, name_weight=3.0, language_weight=0.5)
    batch = objective.open_batches(0)[0]
    assert [len(one) for one in batch.names] == [len(objective.name_labels.slots.bias)] * 2
    losses = objective(batch)
    names = losses.parts["slot_names"] + losses.parts["token_names"]
    expected = 0.5 * losses.parts["language"] + losses.parts[kind] + 3.0 * names
    torch.testing.assert_close(losses.total, expected)


def test_without_a_weight_or_without_names_there_are_no_labels(make_objective):
    for objective in (
        make_objective("detection", label_images=3),
        make_objective("prompts", name_weight=1.0, label_images=3),
    ):
        batch = objective.open_batches(0)[0]
        assert objective.name_labels is None and batch.labelled is None
        assert not {"slot_names", "token_names"} & set(objective(batch).parts)


def test_rows_without_names_are_trained_beside_named_ones(make_objective):
    objective = make_objective("detection", "prompts", name_weight=1.0)
    batches = objective.open_batches(0)
    counts = {len(one) for number in range(4) for one in batches[number].names}
    assert counts == {0, 2}
    assert all(torch.isfinite(objective(batches[number]).total) for number in range(4))


@pytest.mark.parametrize("kind", ["detection", "pose"])
def test_further_images_train_the_backbone_alone(make_objective, kind):
    objective = make_objective(kind, name_weight=1.0, label_images=5)
    batches = objective.open_batches(0)
    batch = batches[4]
    images = batch.labelled
    assert len(images.pixels) == len(images.targets) == len(images.names) == 5
    assert torch.equal(images.pixels, batches[4].labelled.pixels)
    assert not torch.equal(images.pixels, batches[5].labelled.pixels)
    assert objective.open_batches(0, held_out=True)[0].labelled is None

    objective(batch).parts["token_names"].backward()
    trained = {
        ".".join(name.split(".")[:2])
        for name, one in objective.network.named_parameters()
        if one.grad is not None and one.grad.any()
    }
    assert trained == {f"{kind}_decoder.backbone", f"{kind}_decoder.levels"}


def test_layers_for_labels_resume_and_are_not_saved(make_objective, tmp_path: Path):
    def open_objective(recipe, opening):
        return make_objective("detection", name_weight=1.0, label_images=2)

    recipe = Recipe(
        objective="conversations",
        steps=2,
        batch=2,
        workers=0,
        evaluation=Evaluation(batches=1),
    )
    end = train(recipe, tmp_path, device="cpu", open_objective=open_objective)
    assert end.is_complete
    state = torch.load(tmp_path / "training_state.pt", weights_only=False)
    assert any("name_labels" in str(key) for key in _keys(state))
    (saved,) = (tmp_path / LAST_FOLDER).glob("*.safetensors")
    assert not [name for name in load_file(saved) if "name_labels" in name]


def _keys(tree):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key
            yield from _keys(value)
