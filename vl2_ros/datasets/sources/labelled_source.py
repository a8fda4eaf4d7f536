"""What all sources share: options, a report, and what happens when a record turns out bad."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vl2_ros.datasets.reading.data_report import BadRecordError, DataReport
from vl2_ros.datasets.reading.json_records import MAX_INDEX_BYTES
from vl2_ros.datasets.samples import Group, SampleSource, TrainingSample
from vl2_ros.errors import InputError

logger = logging.getLogger(__name__)

#: Records that are tried in a row before a set is given up.
MOST_TRIES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """Options of every kind of source.

    Attributes:
        name: in reports and logs; "" takes that of the file or folder.
        evaluation: ask as evaluation does: the first wording, all classes in their order.
        strict: raise at the first bad record instead of skipping it.
        max_bytes: a larger index file is refused.
    """

    name: str = ""
    evaluation: bool = False
    strict: bool = False
    max_bytes: int = MAX_INDEX_BYTES


class LabelledSource(ABC):
    """A `SampleSource` that counts what is bad, and replaces images that cannot be read.

    Args:
        options: of the source.
        path: file or folder that names it.
    """

    group: ClassVar[Group]

    def __init__(self, options: SourceOptions, path: Path) -> None:
        """Begin an empty report."""
        self._name = options.name or path.name
        self.report = DataReport(self._name, options.strict)
        self._evaluation = options.evaluation
        self._broken: dict[int, str] = {}

    @property
    def name(self) -> str:
        """Return the name in reports and logs."""
        return self._name

    @property
    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes; () of a source without classes."""
        return ()

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return all names that the `names` of samples are of."""
        return ()

    def count_classes(self) -> dict[str, int]:
        """Return how many objects there are of each class."""
        return {}

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of usable records."""

    @abstractmethod
    def key(self, index: int) -> str:
        """Return the name of a record in reports."""

    def image_keys(self, index: int) -> tuple[str, ...]:
        """Return the names of the images of a record; its own where it has none."""
        return (self.key(index),)

    def select(self, records: np.ndarray, *, shows_others: bool = False) -> SampleSource:
        """Return a source of some records alone."""
        return SourcePart(self, records)

    @abstractmethod
    def _make(self, index: int, rng: np.random.Generator) -> TrainingSample:
        """Make a sample; raise BadRecordError where the record cannot be used."""

    def try_record(self, index: int, rng: np.random.Generator) -> TrainingSample | None:
        """Make the sample of a record; None, and the record counted once, where it is bad.

        Raises:
            InputError: if the source is strict and the record bad.
        """
        # A record that was bad is tried again: it may be bad with some draws alone, and a sample
        # must not depend on what was drawn before.
        try:
            return self._make(index, rng)
        except BadRecordError as bad:
            if index not in self._broken:
                self._broken[index] = str(bad)
                self.report.skip(bad, self.key(index))
            return None

    def sample(self, index: int, rng: np.random.Generator) -> TrainingSample:
        """Make the sample of a record, or of the next one that can be read.

        Raises:
            InputError: if the index is out of range, the source is strict and the record bad, or
                too many records in a row are bad.
        """
        return self.sample_first(index, range(len(self)), rng)

    def sample_first(
        self, index: int, records: Sequence[int] | np.ndarray, rng: np.random.Generator
    ) -> TrainingSample:
        """Make the sample of the first of some records that can be read.

        Args:
            index: of the first in `records`; after the last comes the first again.
            records: numbers of records.
            rng: the only source of chance.

        Raises:
            InputError: as `sample` does.
        """
        if not 0 <= index < len(records):
            raise InputError(f"{self._name} has {len(records)} usable records, got number {index}")
        tries = min(MOST_TRIES, len(records))
        # Of each try its own: what a try draws before it fails is no matter for the next.
        seed = int(rng.integers(1 << 62))
        for step in range(index, index + tries):
            number = int(records[step % len(records)])
            known = number in self._broken
            sample = self.try_record(number, np.random.default_rng((seed, number)))
            if sample is not None:
                return sample
            if not known:
                logger.warning(
                    "%s: %s is replaced by the next record: %s",
                    *(self._name, self.key(number), self._broken[number]),
                )
        raise InputError(
            f"{self._name}: {tries} records from number {index} on are all bad; run vl2 data check"
        )

    def _wording(self, rng: np.random.Generator) -> np.random.Generator | None:
        """Return what wordings are drawn with; None takes the first."""
        return None if self._evaluation else rng


class SourcePart:
    """Some records of a source, as a source.

    Args:
        source: the whole.
        records: (N,) their numbers.
    """

    def __init__(self, source: LabelledSource, records: np.ndarray) -> None:
        """Keep the numbers."""
        self._source, self._records = source, records

    @property
    def name(self) -> str:
        """Return the name of the whole source."""
        return self._source.name

    @property
    def label_names(self) -> tuple[str, ...]:
        """Return all names that the `names` of samples are of."""
        return self._source.label_names

    def __len__(self) -> int:
        """Return the number of records."""
        return len(self._records)

    def sample(self, index: int, rng: np.random.Generator) -> TrainingSample:
        """Make the sample of a record, or of the next one of the part that can be read."""
        return self._source.sample_first(index, self._records, rng)

    def image_keys(self, index: int) -> tuple[str, ...]:
        """Return the names of the images of a record."""
        return self._source.image_keys(int(self._records[index]))

    def select(self, records: np.ndarray, *, shows_others: bool = False) -> SampleSource:
        """Return a source of some records alone."""
        return self._source.select(self._records[records], shows_others=shows_others)


@dataclass(frozen=True, slots=True)
class ClassChoice:
    """How the classes that a question names are drawn; see docs/spec/core.md, section 7.5.

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
