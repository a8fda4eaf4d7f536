"""Count the values that each part of a checkpoint stores, by the headers of its files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vl2_ros.model.checkpoint.config import CheckpointConfig
from vl2_ros.model.checkpoint.release_keys import KeyTarget, rename_key
from vl2_ros.model.checkpoint.shards import find_weight_files, iterate_tensors
from vl2_ros.model.parts import PARTS


@dataclass(frozen=True, slots=True)
class StoredSizes:
    """How many values are stored.

    Attributes:
        language: dtype name -> values of what every network has: vision encoder, projector,
            language model and super link.
        parts: those of `PARTS` -> the same of that part.
    """

    language: Mapping[str, int]
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def count(self, parts: Collection[str]) -> int:
        """Return the values of some parts."""
        return sum(sum(self.parts.get(name, {}).values()) for name in parts)


def count_stored(folder: Path, config: CheckpointConfig) -> StoredSizes:
    """Count the values of a checkpoint, those that several names share once.

    Args:
        folder: of the checkpoint.
        config: its configuration.

    Raises:
        CheckpointError: if there are no weights, or a file is damaged.
    """
    language: Counter[str] = Counter()
    parts: dict[str, Counter[str]] = {}
    seen: set[str] = set()
    for name, tensor in iterate_tensors(find_weight_files(folder)):
        found = rename_key(name) if config.is_release else [KeyTarget(name)]
        if not found or found[0].name in seen:
            continue
        seen.add(found[0].name)
        part = found[0].part
        counted = parts.setdefault(part, Counter()) if part in PARTS else language
        counted[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    return StoredSizes(language, parts)
