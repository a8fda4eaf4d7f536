"""Batches of conversations by number: each of one group, drawn from a mixture of sources."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vl2_ros.datasets.mixture import Mixture
from vl2_ros.datasets.samples import Group
from vl2_ros.training.conversations.augmentation import Augmentation, augment
from vl2_ros.training.conversations.batch import ConversationBatch, collate
from vl2_ros.training.conversations.rows import RowEncoder

#: Streams of chance that one seed gives.
_TRAINING, _HELD_OUT, _STEP = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class ConversationBatches:
    """The batches of a run.

    Attributes:
        mixture: the sources.
        encoder: of the network in training.
        seed: of the run.
        batch_size: samples per batch.
        batches_per_step: of all processes together; they are of one group.
        augmentation: of training images; None leaves them as they are, as for measuring.
    """

    mixture: Mixture
    encoder: RowEncoder
    seed: int
    batch_size: int
    batches_per_step: int = 1
    augmentation: Augmentation | None = None

    def __len__(self) -> int:
        """Return the number of batches in one round through the data."""
        return -(-len(self.mixture) // self.batch_size)

    def __getitem__(self, number: int) -> ConversationBatch:
        """Return the batch of a number; the same for the same number, whatever came before."""
        stream = _HELD_OUT if self.augmentation is None else _TRAINING
        rng = np.random.default_rng((self.seed, stream, number))
        group = self.draw_group(number // self.batches_per_step)
        samples = []
        for index in range(self.batch_size):
            sample = self.mixture.sample(number * self.batch_size + index, rng, group=group)
            scale = 1.0
            if self.augmentation is not None:
                sample = augment(sample, self.augmentation, rng)
                scale = self.augmentation.draw_scale(sample, rng)
            samples.append(self.encoder.encode(sample, scale))
        return collate(samples, pad_id=self.encoder.tokenizer.tokens.pad)

    def draw_group(self, step: int) -> Group:
        """Draw what a step trains; it depends on the seed and the step alone."""
        shares = self.mixture.groups
        rng = np.random.default_rng((self.seed, _STEP, step))
        return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
