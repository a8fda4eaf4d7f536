"""Directions of labels, and the loss of tokens against them."""

from __future__ import annotations

import pytest
import torch

from vl2_ros.datasets.token_labels.label_table import KIND_ROWS
from vl2_ros.errors import ConfigError
from vl2_ros.training.eyes.directions import (
    CENTRE_KINDS,
    COUNT,
    KINDS,
    PLACES,
    SCALE,
    CellLabels,
    LabelDirections,
    cell_places,
    label_coefficients,
)
from vl2_ros.training.eyes.loss import compute_token_loss, measure_tokens

WIDTH = 192
#: A mug at its centre, another cell of it, an empty cell, a mixed one.
LABELS = CellLabels(
    torch.tensor([[1, 1, 0, -1]]),
    torch.tensor([[3, 3, 0, -1]]),
    torch.tensor([[True, False, False, False]]),
)


@pytest.fixture(scope="module")
def directions() -> LabelDirections:
    return LabelDirections(WIDTH)


def test_directions_are_orthonormal_and_need_room(directions):
    product = directions.directions @ directions.directions.T
    torch.testing.assert_close(product, torch.eye(COUNT), atol=1e-5, rtol=0.0)
    assert not directions.state_dict()
    with pytest.raises(ConfigError, match=f"more than {COUNT} channels, got {COUNT}"):
        LabelDirections(COUNT)


def test_token_made_of_labels_is_read_as_them(directions):
    coefficients = label_coefficients(LABELS)
    assert coefficients[0, :, : PLACES.start].sum(-1).tolist() == [4.0, 2.0, 2.0, 2.0]
    corners = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]]
    assert coefficients[0, :, PLACES].tolist() == [[*xy, -0.5] for xy in corners]
    assert coefficients[0, 0, CENTRE_KINDS].argmax() == 0
    assert coefficients[0, 1, CENTRE_KINDS].sum() == 0
    read = directions.read(directions.make_tokens(coefficients))
    torch.testing.assert_close(read, SCALE * coefficients, atol=1e-4, rtol=0.0)
    measured = measure_tokens(directions, directions.make_tokens(coefficients), LABELS)
    assert {name: float(value) for name, value in measured.items()} == {
        "kind_right": 1.0,
        "color_right": 1.0,
        "centre_kind_right": 1.0,
        "background_wrong": 0.0,
        "place_error": pytest.approx(0.0, abs=1e-5),
    }


def test_loss_is_small_for_the_labels_token_and_grows_away_from_it(directions):
    right = directions.make_tokens(label_coefficients(LABELS))
    total, parts = compute_token_loss(directions, right, LABELS)
    assert total < 0.1 and parts["distance"] < 1e-6 and parts["rest"] < 1e-5
    swapped = right[:, [2, 1, 0, 3]]
    assert compute_token_loss(directions, swapped, LABELS)[0] > total + 5.0
    # What lies in no direction is energy to no use.
    noisy = right + torch.randn(1, 4, WIDTH, generator=torch.Generator().manual_seed(0))
    assert compute_token_loss(directions, noisy, LABELS)[1]["rest"] > 0.05


def test_mixed_cells_teach_nothing_but_to_be_quiet(directions):
    right = directions.make_tokens(label_coefficients(LABELS))
    changed = right.clone()
    changed[0, 3] = directions.make_tokens(label_coefficients(LABELS))[0, 0]
    before, after = (compute_token_loss(directions, one, LABELS)[1] for one in (right, changed))
    assert all(torch.isclose(before[name], after[name]) for name in ("kind", "color", "distance"))


def test_kind_without_a_word_leaves_its_colour_to_be_learned(directions):
    labels = CellLabels(torch.tensor([[-1]]), torch.tensor([[3]]), torch.tensor([[True]]))
    tokens = directions.make_tokens(label_coefficients(labels)).requires_grad_()
    compute_token_loss(directions, tokens, labels)[0].backward()
    read = directions.read(tokens.grad)
    assert read[..., KINDS].abs().max() < 1e-6
    assert read[..., KIND_ROWS:].abs().max() > 1e-4


def test_gradient_steps_bring_tokens_to_their_labels(directions):
    tokens = torch.zeros(1, 4, WIDTH, requires_grad=True)
    optimizer = torch.optim.Adam([tokens], lr=0.3)
    for _ in range(120):
        loss, _ = compute_token_loss(directions, tokens, LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    measured = measure_tokens(directions, tokens, LABELS)
    assert measured["kind_right"] == measured["centre_kind_right"] == 1.0
    assert loss < 1.0


def test_products_of_places_say_what_is_nearest():
    places = cell_places(6)
    weights = torch.tensor([2.0, 2.0, -1.0])
    # For each cell the product is largest with the cell itself, then with its neighbours.
    near = places[:, :2] @ (weights[:2, None] * places[:, :2].T) + weights[2] * places[:, 2]
    apart = torch.cdist(places[:, :2], places[:, :2])
    assert torch.equal(near.argmax(1), torch.arange(36))
    assert ((near[0].argsort(descending=True)[:3]).sort().values == torch.tensor([0, 1, 6])).all()
    torch.testing.assert_close(near[7] - near[7, 7], -apart[7].square(), atol=1e-5, rtol=0.0)
