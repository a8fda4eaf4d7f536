"""Batches of conversations by number: each of one group, drawn from a mixture of sources."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from vl2_ros.datasets.mixture import Mixture
from vl2_ros.datasets.samples import Group
from vl2_ros.errors import InputError
from vl2_ros.training.conversations.augmentation import Augmentation, augment
from vl2_ros.training.conversations.batch import (
    ConversationBatch,
    EncodedSample,
    LabelledImages,
    collate,
    collate_labelled,
)
from vl2_ros.training.conversations.rows import RowEncoder

logger = logging.getLogger(__name__)

#: Samples that are tried for a place in a batch.
MOST_TRIES = 100
#: Streams of chance that one seed gives.
_TRAINING, _HELD_OUT, _STEP = range(3)
#: Number of the first sample of which tokens alone are labelled.
_LABELLED = 1 << 40


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
        label_images: further images of each batch of a perception decoder for labels on tokens.
        skipped: samples that this process could not encode -> how often they came.
    """

    mixture: Mixture
    encoder: RowEncoder
    seed: int
    batch_size: int
    batches_per_step: int = 1
    augmentation: Augmentation | None = None
    label_images: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        """Return the number of batches in one round through the data."""
        return -(-len(self.mixture) // self.batch_size)

    def __getitem__(self, number: int) -> ConversationBatch:
        """Return the batch of a number; the same for the same number, whatever came before.

        A sample that cannot be encoded, such as one that is too long, is replaced by the next one.

        Raises:
            InputError: if many samples in a row cannot be encoded.
        """
        stream = _HELD_OUT if self.augmentation is None else _TRAINING
        rng = np.random.default_rng((self.seed, stream, number))
        group = self.draw_group(number // self.batches_per_step)
        first = number * self.batch_size
        samples = [self._draw(first + index, group, rng) for index in range(self.batch_size)]
        labelled = None
        if self.label_images and group in (Group.DETECTION, Group.POSE):
            labelled = self._draw_labelled(number, group, rng)
        return collate(samples, pad_id=self.encoder.tokenizer.tokens.pad, labelled=labelled)

    def _draw_labelled(
        self, number: int, group: Group, rng: np.random.Generator
    ) -> LabelledImages | None:
        """Draw the images of a batch that have no conversation, in an order of their own."""
        found = []
        for index in range(number * self.label_images, (number + 1) * self.label_images):
            sample = self.mixture.sample(_LABELLED + index, rng, group=group)
            scale = 1.0
            if self.augmentation is not None:
                sample = augment(sample, self.augmentation, rng)
                scale = self.augmentation.draw_scale(sample, rng)
            found.append(self.encoder.encode_labelled(sample, scale))
        return collate_labelled([one for one in found if one is not None])

    def _draw(self, number: int, group: Group, rng: np.random.Generator) -> EncodedSample:
        """Encode the sample of a number, or the next one that can be."""
        for step in range(MOST_TRIES):
            sample = self.mixture.sample(number + step, rng, group=group)
            scale = 1.0
            if self.augmentation is not None:
                sample = augment(sample, self.augmentation, rng)
                scale = self.augmentation.draw_scale(sample, rng)
            try:
                return self.encoder.encode(sample, scale)
            except InputError as error:
                self.skipped[sample.key] += 1
                last = error
                if self.skipped[sample.key] == 1:
                    logger.warning(
                        "%s; the next sample takes its place, as for %d others so far",
                        *(error, len(self.skipped) - 1),
                    )
        raise InputError(
            f"{MOST_TRIES} samples in a row cannot be encoded; check max_length and the sources; "
            f"the last one: {last}"
        ) from last

    def draw_group(self, step: int) -> Group:
        """Draw what a step trains; it depends on the seed and the step alone."""
        shares = self.mixture.groups
        rng = np.random.default_rng((self.seed, _STEP, step))
        return list(shares)[int(rng.choice(len(shares), p=list(shares.values())))]
