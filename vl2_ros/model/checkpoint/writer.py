"""Write named tensors into safetensors files, each file whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vl2_ros.documents import write_whole
from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.shards import INDEX_SUFFIX, WEIGHT_FILES


class ShardWriter:
    """Collects tensors into safetensors shards of a bounded size, then writes their index."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Write into an existing folder; a tensor larger than `max_bytes` is a shard alone."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._pending: dict[str, Tensor] = {}
        self._weight_map: dict[str, str] = {}
        self._total_bytes = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Keep a tensor for the shard at hand, or start the next one with it."""
        pending_bytes = sum(value.nbytes for value in self._pending.values())
        if self._pending and pending_bytes + tensor.nbytes > self._max_bytes:
            self._flush()
        self._pending[name] = tensor
        self._total_bytes += tensor.nbytes

    def read(self, name: str) -> Tensor | None:
        """Return a tensor that was added, or None."""
        if name in self._weight_map:
            with safe_open(self._folder / self._weight_map[name], framework="pt") as file:
                return file.get_tensor(name)
        return self._pending.get(name)

    def finish(self) -> None:
        """Write the last shard and the index."""
        self._flush()
        index = {
            "metadata": {"total_size": self._total_bytes},
            "weight_map": dict(sorted(self._weight_map.items())),
        }
        path = self._folder / (WEIGHT_FILES[0] + INDEX_SUFFIX)
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _flush(self) -> None:
        name = f"model-{len(set(self._weight_map.values())) + 1:05d}.safetensors"
        write_safetensors(self._pending, self._folder / name)
        self._weight_map.update(dict.fromkeys(self._pending, name))
        self._pending = {}


def write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write one file, whole or not at all, with the mode that the umask gives.

    Raises:
        CheckpointError: if it cannot be written.
    """

    def write(part: Path) -> None:
        save_file(tensors, part, metadata={"format": "pt"})

    try:
        write_whole(path, write)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot write {path}: {error}; free space or make the folder writable"
        ) from error
