"""Choose the classes that a question names; see docs/spec/core.md, section 7.5."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """How classes are drawn.

    Attributes:
        most: classes of a question.
        all_share: of the questions that name all classes, where these are not more than `most`.
        most_absent: classes without an object beside those with one; None: up to `most`.
    """

    most: int
    all_share: float = 0.5
    most_absent: int | None = None

    def draw(
        self, present: Sequence[int], count: int, rng: np.random.Generator, *, evaluation: bool
    ) -> list[int]:
        """Return the classes of a question in its order; at least one.

        Args:
            present: classes of which the image has an object, each once.
            count: of all classes.
            rng: source of chance.
            evaluation: take all in their order, as many as fit.
        """
        if evaluation:
            return list(range(min(count, self.most)))
        if count <= self.most and rng.random() < self.all_share:
            return rng.permutation(count).tolist()
        kept = rng.permutation(np.asarray(present, np.int64))[: self.most]
        absent = np.setdiff1d(np.arange(count), present)
        room = min(len(absent), self.most - len(kept))
        if count > self.most and self.most_absent is None:
            # Of a large vocabulary, the question is filled up.
            extra = room
        else:
            limit = room if self.most_absent is None else min(room, self.most_absent)
            extra = int(rng.integers(limit + 1))
        if not len(kept):
            extra = max(1, extra)
        chosen = np.concatenate([kept, rng.permutation(absent)[:extra]]).astype(np.int64)
        return rng.permutation(chosen).tolist()
