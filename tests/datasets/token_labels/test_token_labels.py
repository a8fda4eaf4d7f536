"""Cells of a grid get the words of what they show, and each object one centre."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from vl2_ros.datasets.token_labels.grid import label_grid, measure_shares
from vl2_ros.datasets.token_labels.label_table import (
    COLOR_ROWS,
    COLOR_WORDS,
    KIND_ROWS,
    KIND_WORDS,
    UNKNOWN,
    color_row,
    kind_row,
)
from vl2_ros.sim.colors import COLORS
from vl2_ros.sim.kinds import KINDS

MUG, BALL = SimpleNamespace(kind="mug", color="red"), SimpleNamespace(kind="ball", color="blue")


def test_rows_are_unique_and_begin_with_the_table_top():
    assert len(set(KIND_WORDS)) == len(KIND_WORDS) < KIND_ROWS
    assert len(set(COLOR_WORDS)) == len(COLOR_WORDS) < COLOR_ROWS
    # Trained weights depend on the order.
    assert KIND_WORDS[: len(KINDS)] == KINDS
    assert COLOR_WORDS[: len(COLORS)] == COLORS
    assert (kind_row("person"), kind_row("shoe"), color_row("brown")) == (13, 64, 11)
    assert kind_row("submarine") == color_row("") == UNKNOWN


def test_cells_are_of_an_object_empty_or_mixed():
    # A 4x4 grid of 8 pixels a cell: a mug fills the first two cells of row 1 and half of the third,
    # a sixth of the cell below the first.
    instance_map = np.zeros((32, 32), np.uint8)
    instance_map[8:16, 0:20] = 1
    instance_map[16:18, 0:5] = 1
    labels = label_grid(instance_map, [MUG], 4)
    assert labels.instances.reshape(4, 4).tolist() == [
        [0, 0, 0, 0],
        [1, 1, 1, 0],
        [-1, 0, 0, 0],
        [0, 0, 0, 0],
    ]
    expected = np.array([0, kind_row("mug"), UNKNOWN])[labels.instances]
    assert (labels.kinds == expected).all()
    assert labels.centre_cells.tolist() == [5]
    assert labels.centres.nonzero()[0].tolist() == [5]


def test_shares_of_an_image_that_no_cell_divides():
    instance_map = np.zeros((45, 60), np.uint8)
    instance_map[:, :30] = 1
    shares = measure_shares(instance_map, 1, 4)
    assert shares.reshape(4, 4).tolist() == [[1.0, 1.0, 0.0, 0.0]] * 4


def test_small_object_has_a_centre_that_it_does_not_fill():
    instance_map = np.zeros((32, 32), np.uint8)
    instance_map[9:11, 9:11] = 1
    labels = label_grid(instance_map, [MUG], 4)
    assert labels.instances[5] == 1 and labels.centres[5]
    assert (np.delete(labels.kinds, 5) == 0).all()


def test_objects_with_one_centre_cell_count_once():
    instance_map = np.zeros((32, 32), np.uint8)
    instance_map[9:11, 9:11], instance_map[12:15, 12:15] = 1, 2
    labels = label_grid(instance_map, [MUG, BALL], 4)
    assert labels.centre_cells.tolist() == [-1, 5]
    assert labels.kinds[5] == kind_row("ball") and labels.centres.sum() == 1


def test_hidden_object_and_unknown_words_have_no_label():
    instance_map = np.zeros((32, 32), np.uint8)
    instance_map[8:24, 8:24] = 2
    odd = SimpleNamespace(kind="submarine", color="")
    labels = label_grid(instance_map, [MUG, odd], 4)
    assert labels.centre_cells[0] == -1 and labels.centre_cells[1] >= 0
    assert set(labels.kinds.tolist()) == set(labels.colors.tolist()) == {0, UNKNOWN}


def test_image_without_objects_shows_nothing():
    labels = label_grid(np.zeros((24, 32), np.uint8), [], 4)
    assert not labels.kinds.any() and not labels.centres.any() and not len(labels.centre_cells)
