"""Draw batches by their number from sources with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.samples import Group, SampleSource
from vl2_ros.errors import ConfigError
from vl2_ros.training.conversations.augmentation import Augmentation, augment
from vl2_ros.training.conversations.batch import ConversationBatch, collate
from vl2_ros.training.conversations.rows import RowEncoder

#: Streams of chance that one seed gives.
_TRAINING, _HELD_OUT, _STEP, _ORDER = range(4)


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSource:
    """A source of a mixture.

    Attributes:
        source: where samples come from; all of one group.
        weight: how often it is drawn, relative to the others.
        group: what its samples train.
    """

    source: SampleSource
    weight: float
    group: Group

    @classmethod
    def of(cls, source: SampleSource, weight: float = 1.0) -> WeightedSource:
        """Look at a sample of a source to learn its group.

        Raises:
            ConfigError: if the source is empty or the weight is not positive.
        """
        if not len(source):
            raise ConfigError(f"{source.name} has no usable record; check it with `vl2 data check`")
        if not weight > 0:
            raise ConfigError(f"the weight of {source.name} must be positive, got {weight}")
        return cls(source, weight, source.sample(0, np.random.default_rng(0)).group)


@dataclass(frozen=True, slots=True, eq=False)
class MixtureBatches:
    """The batches of a mixture, each of one source, by number.

    Attributes:
        sources: at least one.
        encoder: of the network in training.
        seed: of the run.
        batch_size: samples per batch.
        batches_per_step: consecutive batches that are of one group, because they are one
            optimisation step: processes times accumulation.
        augmentation: of training images; None leaves them as they are.
        held_out: batches for measuring, in the order of the sources' records.
    """

    sources: Sequence[WeightedSource]
    encoder: RowEncoder
    seed: int
    batch_size: int
    batches_per_step: int = 1
    augmentation: Augmentation | None = None
    held_out: bool = False

    def __getitem__(self, number: int) -> ConversationBatch:
        """Return the batch of a number; the same for the same number, whatever came before."""
        stream = _HELD_OUT if self.held_out else _TRAINING
        rng = np.random.default_rng((self.seed, stream, number))
        chosen = self._choose_source(number, rng)
        samples = []
        for record in self.find_records(number, len(chosen.source)):
            sample = chosen.source.sample(record, rng)
            scale = 1.0
            if self.augmentation is not None:
                sample = augment(sample, self.augmentation, rng)
                scale = self.augmentation.draw_scale(sample, rng)
            samples.append(self.encoder.encode(sample, scale))
        return collate(
            samples,
            pad_id=self.encoder.tokenizer.tokens.pad,
            noise_seed=int(rng.integers(1 << 31)),
        )

    def draw_group(self, step: int) -> Group:
        """Draw what a step trains; it depends on the seed and the step alone."""
        rng = np.random.default_rng((self.seed, _STEP, int(self.held_out), step))
        return _draw(self.sources, rng).group

    def _choose_source(self, number: int, rng: np.random.Generator) -> WeightedSource:
        group = self.draw_group(number // self.batches_per_step)
        return _draw([one for one in self.sources if one.group is group], rng)

    def find_records(self, number: int, count: int) -> list[int]:
        """Return the records of a batch; each comes once before any comes again."""
        first = number * self.batch_size
        places = [divmod(first + index, count) for index in range(self.batch_size)]
        if self.held_out:
            return [index for _, index in places]
        orders = {
            epoch: np.random.default_rng((self.seed, _ORDER, epoch)).permutation(count)
            for epoch in {epoch for epoch, _ in places}
        }
        return [int(orders[epoch][index]) for epoch, index in places]


def _draw(sources: Sequence[WeightedSource], rng: np.random.Generator) -> WeightedSource:
    weights = np.array([one.weight for one in sources])
    return sources[int(rng.choice(len(sources), p=weights / weights.sum()))]
