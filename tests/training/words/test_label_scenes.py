"""Scenes of labels: turned, drawn anew, and where their objects are among merged tokens."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vl2_ros.datasets.token_labels.grid import label_grid
from vl2_ros.datasets.token_labels.label_table import color_row, kind_row
from vl2_ros.datasets.wording import Thing
from vl2_ros.training.eyes.directions import LabelDirections, label_coefficients
from vl2_ros.training.words.attention import find_tokens, make_targets
from vl2_ros.training.words.label_scenes import (
    LabelScene,
    make_label_tokens,
    make_scene,
    redraw_objects,
    stack_scenes,
    turn_scene,
)

MUG, BALL = SimpleNamespace(kind="mug", color="red"), SimpleNamespace(kind="ball", color="blue")


def make() -> LabelScene:
    """A mug at the upper left and a ball at the lower right of 4x4 cells."""
    instance_map = np.zeros((32, 32), np.uint8)
    instance_map[0:16, 0:8] = 1
    instance_map[24:32, 24:32] = 2
    objects = [MUG, BALL]
    return make_scene(label_grid(instance_map, objects, 4), objects)


def test_objects_are_placed_at_their_centres():
    scene = make()
    assert [(item.kind, item.x, item.y) for item in scene.objects] == [
        ("mug", 0.125, 0.125),
        ("ball", 0.875, 0.875),
    ]
    assert scene.centre_cells.tolist() == [0, 15]


@pytest.mark.parametrize("flip_x", [False, True])
@pytest.mark.parametrize("flip_y", [False, True])
@pytest.mark.parametrize("transpose", [False, True])
def test_turned_scene_is_the_scene_of_the_turned_cells(flip_x, flip_y, transpose):
    scene = turn_scene(make(), flip_x=flip_x, flip_y=flip_y, transpose=transpose)
    for number, (item, cell) in enumerate(zip(scene.objects, scene.centre_cells, strict=True), 1):
        row, column = divmod(int(cell), 4)
        assert (item.x, item.y) == ((column + 0.5) / 4, (row + 0.5) / 4)
        assert scene.instances[row, column] == number
        assert scene.kinds[row, column] == kind_row(item.kind)
    assert (scene.instances == 1).sum() == (make().instances == 1).sum()


def test_redrawn_objects_and_cells_agree():
    scene = make()
    seen = set()
    for seed in range(20):
        drawn = redraw_objects(scene, np.random.default_rng(seed))
        for number, item in enumerate(drawn.objects, 1):
            where = drawn.instances == number
            assert (drawn.kinds[where] == kind_row(item.kind)).all()
            assert (drawn.colors[where] == color_row(item.color)).all()
            seen.add(item.kind)
        assert (drawn.kinds[drawn.instances == 0] == 0).all()
        assert (drawn.instances == scene.instances).all()
    assert len(seen) > 6


def test_merged_tokens_of_objects():
    shown, centres = find_tokens(make())
    assert shown.tolist() == [[True, False, False, False], [False, False, False, True]]
    assert centres.tolist() == [0, 3]


def test_attention_targets_find_and_count():
    scene = make()
    matching, counted = make_targets(scene, Thing(None, "mug"))
    assert matching.tolist() == [0, 1, 0, 0, 0] and counted.tolist() == [0.5, 0.5, 0, 0, 0]
    matching, counted = make_targets(scene, Thing("blue", "mug"))
    assert matching.tolist() == counted.tolist() == [1, 0, 0, 0, 0]
    matching, counted = make_targets(scene, Thing(None, "object"))
    assert matching.tolist() == [0, 1, 0, 0, 1]
    np.testing.assert_allclose(counted, [1 / 3, 1 / 3, 0, 0, 1 / 3], rtol=1e-6)


def test_label_tokens_are_read_as_their_labels_with_noise_too():
    directions, labels = LabelDirections(192), stack_scenes([make(), make()])
    assert labels.centres.sum(1).tolist() == [2, 2]
    exact = make_label_tokens(directions, labels, noisy=False)
    torch.testing.assert_close(
        directions.read(exact), 4.0 * label_coefficients(labels), atol=1e-4, rtol=0.0
    )
    torch.manual_seed(0)
    noisy = make_label_tokens(directions, labels, noisy=True)
    assert 0.05 < (noisy - exact).square().mean().sqrt() < 1.0
    assert not torch.equal(noisy[0], noisy[1])
