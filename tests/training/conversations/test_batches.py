"""A batch is a function of the seed and its number; a step is of one group."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from tests.training.conversations.small_sources import PROCESSING, SmallSource, make_mixture
from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import InputError
from vl2_ros.training.conversations.augmentation import Augmentation
from vl2_ros.training.conversations.batches import ConversationBatches
from vl2_ros.training.conversations.rows import RowEncoder


@pytest.fixture
def make_batches(json_tokenizer):
    def make(*kinds, weights=None, **settings):
        mixture = make_mixture(*kinds, weights=weights)
        encoder = RowEncoder(json_tokenizer, PROCESSING)
        given = {"seed": 3, "batch_size": 2, "augmentation": Augmentation()} | settings
        return ConversationBatches(mixture, encoder, **given)

    return make


def tensors_of(batch):
    return {
        item.name: getattr(batch, item.name)
        for item in fields(batch)
        if isinstance(getattr(batch, item.name), torch.Tensor)
    }


def assert_equal(first, second):
    one, other = tensors_of(first), tensors_of(second)
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_batch_is_repeated_whatever_came_before(make_batches):
    batches = make_batches("detection", "text")
    late = batches[7]
    fresh = pickle.loads(pickle.dumps(make_batches("detection", "text")))
    assert_equal(late, fresh[7])
    assert not torch.equal(batches[8].tiles, late.tiles)


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


def test_a_round_has_every_record_once(make_batches):
    batches = make_batches("text", batch_size=4, augmentation=None)
    assert len(batches) == 2
    rounds = [torch.cat([batches[number].tiles for number in pair]) for pair in ((0, 1), (2, 3))]
    sums = [sorted(one.sum((1, 2, 3)).tolist()) for one in rounds]
    assert sums[0] == sums[1]
    assert len(set(sums[0])) == 8 * 3


def test_without_augmentation_images_are_those_of_the_source(make_batches):
    batches = make_batches("detection", augmentation=None)
    whole = [
        batches.encoder.encode(SmallSource("detection").sample(index, np.random.default_rng(0)))
        for index in range(8)
    ]
    for pixels in batches[1].pixels:
        assert any(torch.equal(pixels, one.pixels) for one in whole)
    changed = make_batches("detection")[1]
    assert not any(torch.equal(changed.pixels[0], one.pixels) for one in whole)


class LongSource(SmallSource):
    """Text, some records of which are longer than a row may be."""

    long = (3,)

    def sample(self, index, rng):
        sample = super().sample(index, rng)
        if index not in self.long:
            return sample
        return replace(sample, rounds=(("word " * 3000, "No."),))


def test_a_sample_that_cannot_be_encoded_is_replaced_and_named_once(make_batches, caplog):
    mixture = Mixture([MixturePart(LongSource("text"), Group.TEXT)])
    batches = replace(make_batches("text"), mixture=mixture)
    whole = [batches[number] for number in range(8)]
    assert all(len(one.input_ids) == 2 for one in whole)
    assert batches.skipped == {"text/3": 2}
    (line,) = caplog.messages
    assert line.startswith("sample text/3: ") and "the next sample takes its place" in line
    again = replace(make_batches("text"), mixture=mixture)
    for number in reversed(range(8)):
        assert_equal(again[number], whole[number])


def test_only_samples_that_cannot_be_encoded_are_an_error(make_batches, monkeypatch):
    monkeypatch.setattr(LongSource, "long", range(8))
    mixture = Mixture([MixturePart(LongSource("text"), Group.TEXT)])
    with pytest.raises(InputError, match="100 samples in a row.*max_length.*sample text/"):
        replace(make_batches("text"), mixture=mixture)[0]
