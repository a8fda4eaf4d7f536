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
from vl2_ros.training.words.attention import find_tokens, make_target
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


def test_targets_find_count_and_place():
    scene = make()
    mug = make_target(scene, Thing(None, "mug"))
    assert mug.matching.tolist() == [0, 1, 0, 0, 0] and mug.counted.tolist() == [0.5, 0.5, 0, 0, 0]
    assert mug.place.tolist() == [-0.75, -0.75]
    # Of two things each is nearest to the other, which is nothing to ask for.
    assert not mug.near.any()
    absent = make_target(scene, Thing("blue", "mug"))
    assert absent.matching.tolist() == absent.counted.tolist() == [1, 0, 0, 0, 0]
    both = make_target(scene, Thing(None, "object"))
    assert both.matching.tolist() == [0, 1, 0, 0, 1]
    np.testing.assert_allclose(both.counted, [1 / 3, 1 / 3, 0, 0, 1 / 3], rtol=1e-6)
    assert np.isnan(absent.place).all() and np.isnan(both.place).all()


def test_target_of_one_thing_has_what_is_nearest_to_it():
    instance_map = np.zeros((64, 64), np.uint8)
    instance_map[0:8, 0:8], instance_map[0:8, 16:24], instance_map[56:64, 56:64] = 1, 2, 3
    can = SimpleNamespace(kind="can", color="green")
    scene = make_scene(label_grid(instance_map, [MUG, BALL, can], 8), [MUG, BALL, can])
    near = make_target(scene, Thing("red", "mug")).near
    assert np.flatnonzero(near).tolist() == [2]
    assert np.flatnonzero(make_target(scene, Thing(None, "ball")).near).tolist() == [1]


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
