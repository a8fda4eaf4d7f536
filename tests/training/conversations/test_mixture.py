"""A batch is a function of the seed and its number; a step is of one group."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.training.conversations.small_sources import PROCESSING, SmallSource
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import ConfigError
from vl2_ros.training.conversations.augmentation import Augmentation
from vl2_ros.training.conversations.mixture import MixtureBatches, WeightedSource
from vl2_ros.training.conversations.rows import RowEncoder


@pytest.fixture
def make_batches(json_tokenizer):
    def make(*kinds, weights=None, **settings):
        weights = weights or [1.0] * len(kinds)
        sources = [
            WeightedSource.of(SmallSource(kind), weight)
            for kind, weight in zip(kinds, weights, strict=True)
        ]
        encoder = RowEncoder(json_tokenizer, PROCESSING)
        given = {"seed": 3, "batch_size": 2, "augmentation": Augmentation()} | settings
        return MixtureBatches(sources, encoder, **given)

    return make


def tensors_of(batch):
    return {
        item.name: getattr(batch, item.name)
        for item in fields(batch)
        if isinstance(getattr(batch, item.name), torch.Tensor)
    }


def assert_equal(first, second):
    assert first.noise_seed == second.noise_seed
    one, other = tensors_of(first), tensors_of(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_is_repeated_whatever_came_before(make_batches):
    batches = make_batches("detection", "text")
    late = batches[7]
    fresh = pickle.loads(pickle.dumps(make_batches("detection", "text")))
    assert_equal(late, fresh[7])
    assert batches[8].noise_seed != late.noise_seed


def test_all_batches_of_a_step_are_of_its_group(make_batches):
    batches = make_batches("detection", "text", "prompts", "pose", batches_per_step=3)
    groups = [batches[number].group for number in range(30)]
    for step in range(10):
        assert set(groups[3 * step : 3 * step + 3]) == {batches.draw_group(step)}
    assert len(set(groups)) > 1


def test_groups_are_drawn_by_weight(make_batches):
    batches = make_batches("detection", "text", "prompts", weights=[1.0, 2.0, 1.0])
    drawn = Counter(batches.draw_group(step) for step in range(2000))
    assert drawn[Group.TEXT] / 2000 == pytest.approx(0.5, abs=0.04)
    assert drawn[Group.DETECTION] / 2000 == pytest.approx(0.5, abs=0.04)


def test_every_record_comes_once_before_any_comes_again(make_batches):
    batches = make_batches("text", batch_size=4)
    for epoch in range(3):
        numbers = range(2 * epoch, 2 * epoch + 2)
        found = [one for number in numbers for one in batches.find_records(number, 8)]
        assert sorted(found) == list(range(8))
    assert batches.find_records(0, 8) != batches.find_records(2, 8)


def test_held_out_batches_are_in_order_and_unchanged(make_batches):
    batches = make_batches("detection", held_out=True, augmentation=None)
    one = batches[1]
    encoder = batches.encoder
    expected = [
        encoder.encode(SmallSource("detection").sample(index, np.random.default_rng(0)))
        for index in (2, 3)
    ]
    assert all(
        torch.equal(pixels, row.pixels) for pixels, row in zip(one.pixels, expected, strict=True)
    )


def test_an_empty_source_is_refused():
    class Empty(SmallSource):
        def __len__(self):
            return 0

    with pytest.raises(ConfigError, match="small has no usable record"):
        WeightedSource.of(Empty("text"))
