"""Mix sources by weight: the sample of a number, of all sources or of those of one group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.samples import Group, SampleSource, TrainingSample
from vl2_ros.errors import ConfigError


@dataclass(frozen=True, slots=True, eq=False)
class MixturePart:
    """A source in a mixture.

    Attributes:
        source: what samples are drawn from.
        group: of all of its samples.
        weight: how often it is drawn, relative to the others.
    """

    source: SampleSource
    group: Group
    weight: float = 1.0


class Mixture:
    """Draws samples of several sources.

    A sample depends on the seed of the mixture, its number and the generator alone. Numbers in a
    row go through the records of a source in a shuffled order: with one source, each epoch has
    every record once.

    Args:
        parts: the sources.
        seed: of the order of records.

    Raises:
        ConfigError: if there is no part, a weight is not above 0, or a source is empty.
    """

    def __init__(self, parts: Sequence[MixturePart], *, seed: int = 0) -> None:
        """Check the parts."""
        if not parts:
            raise ConfigError("a mixture needs one source at least, got none")
        for part in parts:
            if not part.weight > 0 or not len(part.source):
                raise ConfigError(
                    f"{part.source.name}: expected a weight above 0 and some records, got "
                    f"{part.weight:g} and {len(part.source)}"
                )
        self.parts = tuple(parts)
        self._seed = seed
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    @property
    def groups(self) -> dict[Group, float]:
        """Return the share of each group in the mixture; all shares together are 1."""
        total = sum(part.weight for part in self.parts)
        shares: dict[Group, float] = {}
        for part in self.parts:
            shares[part.group] = shares.get(part.group, 0.0) + part.weight / total
        return shares

    def __len__(self) -> int:
        """Return the number of records of all sources."""
        return sum(len(part.source) for part in self.parts)

    def sample(
        self, number: int, rng: np.random.Generator, *, group: Group | None = None
    ) -> TrainingSample:
        """Return the sample of a number.

        Args:
            number: 0 or more.
            rng: source of chance: of the source, and of the sample.
            group: draw from sources of this group; None draws from all.

        Raises:
            ConfigError: if no source is of the group.
        """
        indices = [
            part_index for part_index, part in enumerate(self.parts) if group in (None, part.group)
        ]
        if not indices:
            raise ConfigError(
                f"no source of the mixture is of the group {group}; it has "
                f"{', '.join(one.name for one in self.groups)}"
            )
        weights = np.array([self.parts[part_index].weight for part_index in indices])
        part_index = indices[int(rng.choice(len(indices), p=weights / weights.sum()))]
        source = self.parts[part_index].source
        epoch, position = divmod(number, len(source))
        return source.sample(int(self._order(part_index, epoch)[position]), rng)

    def _order(self, part_index: int, epoch: int) -> np.ndarray:
        """Return the order of the records of a source in an epoch; the last one is kept."""
        kept = self._orders.get(part_index)
        if kept is None or kept[0] != epoch:
            count = len(self.parts[part_index].source)
            order = np.random.default_rng((self._seed, part_index, epoch)).permutation(count)
            kept = self._orders[part_index] = (epoch, order)
        return kept[1]
