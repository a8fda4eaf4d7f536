"""Split sources into what is trained on and what is held out, so that no image is on both sides."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vl2_ros.datasets.samples import SampleSource
from vl2_ros.errors import ConfigError

logger = logging.getLogger(__name__)


def split_sources(
    sources: Sequence[SampleSource], share: float, *, seed: int = 0
) -> list[tuple[SampleSource, SampleSource]]:
    """Split sources by the names of their images.

    Which images are held out depends on a hash of their names, so that an image that several
    records or sources have is on one side. A record with images of both sides is on none.

    Args:
        sources: that are trained on together.
        share: of the records of each that are held out, about; above 0 and below 1.
        seed: of the split.

    Returns:
        Of each source the records to train on, and those that are held out.

    Raises:
        ConfigError: if one of the two would be empty.
    """
    images = [[source.image_keys(index) for index in range(len(source))] for source in sources]
    held_out: set[str] = set()
    for records in images:
        _hold_out(records, share, seed, held_out)
    parts = []
    for source, records in zip(sources, images, strict=True):
        shares = np.array([np.mean([one in held_out for one in keys]) for keys in records])
        split = (
            source.select(np.flatnonzero(shares == 0)),
            source.select(np.flatnonzero(shares == 1), shows_others=True),
        )
        if not 0.0 < share < 1.0 or not all(map(len, split)):
            raise ConfigError(
                f"{source.name}: expected a share above 0 and below 1 that leaves images to train "
                f"on and images to hold out, got {share:g} of {len(source)} records of "
                f"{len(set().union(*records))} images; give more images, or mark a source with "
                "held_out: true"
            )
        unused = len(source) - sum(map(len, split))
        if unused:
            logger.warning(
                "%s: %d of %d records are not used: they have images of both sides of the split",
                *(source.name, unused, len(source)),
            )
        parts.append(split)
    return parts


def _hold_out(
    records: Sequence[tuple[str, ...]], share: float, seed: int, held_out: set[str]
) -> None:
    """Add images of a source until its share of records is held out, in the order of hashes."""
    of_image: dict[str, list[int]] = defaultdict(list)
    for number, keys in enumerate(records):
        of_image[keys[0]].append(number)
    missing = max(1, round(share * len(records)))
    missing -= sum(held_out.issuperset(keys) for keys in records)
    for image in sorted(of_image, key=lambda one: _hash(one, seed)):
        if missing <= 0:
            return
        new = [number for number in of_image[image] if not held_out.issuperset(records[number])]
        held_out.update(*(records[number] for number in new))
        missing -= len(new)


def _hash(name: str, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed} {name}".encode("utf-8", "replace"), digest_size=8).digest()
