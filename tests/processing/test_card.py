from __future__ import annotations

import json

import pytest

from vl2_ros.errors import CheckpointError
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import find_weights
from vl2_ros.processing.card import FILE_NAME, find_names, read_card


def test_embedded_model_names_the_things_of_its_training():
    folder = find_weights(LoadOptions())
    names = find_names(folder)
    assert names == tuple(read_card(folder)["knows"]["kinds"])
    assert {"mug", "bowl", "banana"} <= set(names)


def test_checkpoint_without_a_card_names_nothing(tmp_path):
    assert read_card(tmp_path) == {} and find_names(tmp_path) == ()


@pytest.mark.parametrize("card", [{}, {"knows": "much"}, {"knows": {"kinds": 5}}])
def test_card_of_another_form_names_nothing(tmp_path, card):
    (tmp_path / FILE_NAME).write_text(json.dumps(card))
    assert read_card(tmp_path) == card and find_names(tmp_path) == ()


def test_damaged_card_is_an_error_of_the_checkpoint(tmp_path):
    (tmp_path / FILE_NAME).write_text("{")
    with pytest.raises(CheckpointError, match=FILE_NAME):
        find_names(tmp_path)
