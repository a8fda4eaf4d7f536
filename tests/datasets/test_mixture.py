from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.datasets.small_sets import write_sets
from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.samples import Group, TrainingSample
from vl2_ros.datasets.sources.source_table import open_source
from vl2_ros.errors import ConfigError


@dataclass
class Counted:
    """A source whose samples name their record."""

    name: str
    count: int
    group: Group = Group.TEXT

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, rng: np.random.Generator) -> TrainingSample:
        assert 0 <= index < self.count
        return TrainingSample(self.group, (("?", "."),), key=f"{self.name}{index}")


def draw(mixture: Mixture, numbers, group: Group | None = None) -> list[str]:
    return [
        mixture.sample(number, np.random.default_rng(number), group=group).key for number in numbers
    ]


def test_sources_are_drawn_by_weight():
    parts = [
        MixturePart(Counted("a", 5), Group.TEXT, 3.0),
        MixturePart(Counted("b", 500), Group.POSE, 1.0),
    ]
    mixture = Mixture(parts)
    counts = Counter(key[0] for key in draw(mixture, range(2000)))
    assert 0.71 < counts["a"] / 2000 < 0.79
    assert mixture.groups == {Group.TEXT: 0.75, Group.POSE: 0.25}
    assert set(draw(mixture, range(9), Group.POSE)) <= {f"b{one}" for one in range(500)}
    with pytest.raises(ConfigError, match="no source of the mixture is of the group"):
        draw(mixture, [0], Group.EDITING)


def test_an_epoch_of_one_source_has_every_record_once():
    mixture = Mixture([MixturePart(Counted("a", 7), Group.TEXT)], seed=3)
    first, second = draw(mixture, range(7)), draw(mixture, range(7, 14))
    assert sorted(first) == sorted(second) == [f"a{one}" for one in range(7)]
    assert first != second
    # Any number at any time, as when a run is resumed.
    other = Mixture([MixturePart(Counted("a", 7), Group.TEXT)], seed=3)
    assert draw(other, reversed(range(14))) == [*reversed(second), *reversed(first)]
    assert draw(Mixture(mixture.parts, seed=4), range(7)) != first


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [MixturePart(Counted("a", 0), Group.TEXT)],
        [MixturePart(Counted("a", 1), Group.TEXT, 0.0)],
        [MixturePart(Counted("a", 1), Group.TEXT, float("nan"))],
    ],
)
def test_nothing_to_draw_is_an_error(parts):
    with pytest.raises(ConfigError, match="expected a weight above 0|needs one source"):
        Mixture(parts)


def test_every_kind_mixes(tmp_path):
    sources = [
        open_source({"kind": kind} | one, Path()) for kind, one in write_sets(tmp_path).items()
    ]
    mixture = Mixture([MixturePart(one, one.group) for one in sources])
    assert set(mixture.groups) == set(Group)
    for group in Group:
        for number in range(6):
            sample = mixture.sample(number, np.random.default_rng(number), group=group)
            assert sample.group is group
