"""Read the weight files of a checkpoint as a stream of named tensors, a few in memory.

Reads safetensors and PyTorch `.bin` files, whole or in shards. Knows no network and no names.
"""

from __future__ import annotations

import pickle
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from vl2_ros.documents import MAX_LIST_BYTES, is_file, read_json_object, shorten
from vl2_ros.errors import CheckpointError

INDEX_SUFFIX = ".index.json"

#: Single files in the order in which they are looked for; each may be an index of shards instead.
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")

#: Bytes after which a mapped file is opened anew, so that pages already read are given back.
_MIN_WINDOW_BYTES = 16 * 2**20
_WINDOW_SHARE = 50

_ZIP_START = b"PK\x03\x04"
#: Of a library's own words.
_SHOWN_LETTERS = 300
#: Longest name of a file that file systems take.
_MAX_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files of the weights of one checkpoint.

    Attributes:
        paths: shards in the order in which they are read; all of them exist.
        promised: file name -> tensor names that the index promises in it; empty without index.
    """

    paths: tuple[Path, ...]
    promised: dict[str, frozenset[str]]

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(path.stat().st_size for path in self.paths)

    @property
    def file_format(self) -> str:
        """`safetensors` or `bin`."""
        return self.paths[0].suffix.removeprefix(".")


def find_weight_files(folder: Path) -> WeightFiles:
    """Find the weights of a checkpoint folder, safetensors before `.bin`.

    Raises:
        CheckpointError: if there are none, or a shard that the index names is not there.
    """
    for name in WEIGHT_FILES:
        if is_file(folder / name):
            return WeightFiles((folder / name,), {})
        if is_file(folder / (name + INDEX_SUFFIX)):
            return _read_index(folder / (name + INDEX_SUFFIX))
    expected = ", ".join(f"{name} or {name}{INDEX_SUFFIX}" for name in WEIGHT_FILES)
    raise CheckpointError(f"{folder} has no weights; expected {expected}")


def iterate_tensors(
    files: WeightFiles, wanted: Collection[str] | None = None, *, keep: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """Yield every stored tensor, or every requested one, with its name, shard after shard.

    A tensor is a view of a mapped file and costs no memory until it is read. Copy what is to stay
    and drop the view before asking for the next one: then at most a small window is in memory.

    Args:
        files: where the tensors are.
        wanted: their names; None takes all.
        keep: the views stay in use, so that each file is mapped once, without a window.

    Raises:
        CheckpointError: if a shard is damaged, contains something other than tensors, or lacks a
            tensor that the index promises.
    """
    window = max(_MIN_WINDOW_BYTES, files.total_bytes // _WINDOW_SHARE)
    if keep:
        window = files.total_bytes
    for path in files.paths:
        shard = _open_shard(path)
        names = shard.names()
        _check_promise(path, files.promised.get(path.name, frozenset()), names)
        used = 0
        for name in names if wanted is None else filter(wanted.__contains__, names):
            if used > window:
                shard, used = _open_shard(path), 0
            tensor = shard.tensor(name)
            used += tensor.nbytes
            yield name, tensor
            del tensor


class _SafetensorsShard:
    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = safe_open(path, framework="pt")
        # The library does not document what it may raise.
        except Exception as error:
            raise _damaged(path, error) from error

    def names(self) -> list[str]:
        return list(self._file.keys())

    def tensor(self, name: str) -> Tensor:
        try:
            return self._file.get_tensor(name)
        # Such as a dtype that this torch lacks.
        except Exception as error:
            raise _damaged(self._path, error) from error


class _BinShard:
    def __init__(self, path: Path) -> None:
        try:
            # weights_only refuses every pickled object but plain containers and tensors.
            state = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
        # Unpickling raises whatever the damage makes of it.
        except Exception as error:
            raise _damaged(path, error) from error
        if not isinstance(state, dict):
            raise CheckpointError(
                f"{path} contains a {type(state).__name__}; expected a dict of named tensors"
            )
        for name, value in state.items():
            if not isinstance(name, str) or not isinstance(value, Tensor):
                raise CheckpointError(
                    f"{path} contains a {type(value).__name__} under {shorten(name)}; "
                    "expected named tensors only, save the bare state dict"
                )
            if value.layout is not torch.strided or value.is_quantized:
                raise CheckpointError(
                    f"{path} contains {shorten(name)} as {value.layout}, {value.dtype}; expected "
                    "dense numbers, save the tensors dense"
                )
        self._state: dict[str, Tensor] = state

    def names(self) -> list[str]:
        return list(self._state)

    def tensor(self, name: str) -> Tensor:
        return self._state[name].detach()


def _open_shard(path: Path) -> _SafetensorsShard | _BinShard:
    return _SafetensorsShard(path) if path.suffix == ".safetensors" else _BinShard(path)


def _read_index(index: Path) -> WeightFiles:
    document = read_json_object(index, CheckpointError, max_bytes=MAX_LIST_BYTES)
    weight_map = document.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index} has no 'weight_map'; expected tensor name -> file name")
    promised: dict[str, set[str]] = {}
    for name, file_name in weight_map.items():
        if not _is_bare_name(file_name):
            raise CheckpointError(
                f"{index} places {shorten(name)} in {shorten(file_name)}; expected a file beside "
                "the index"
            )
        promised.setdefault(file_name, set()).add(name)
    missing = [name for name in sorted(promised) if not is_file(index.parent / name)]
    if missing:
        raise CheckpointError(
            f"{index.parent} lacks {len(missing)} of the {len(promised)} weight files that "
            f"{index.name} names: {', '.join(missing[:5])}; copy or download them again"
        )
    return WeightFiles(
        tuple(index.parent / name for name in sorted(promised)),
        {file_name: frozenset(names) for file_name, names in promised.items()},
    )


def _is_bare_name(name: object) -> bool:
    """Return whether a value is the name of a file, without folders."""
    return (
        isinstance(name, str)
        and Path(name).name == name
        and len(name.encode()) <= _MAX_NAME_BYTES
        and "\0" not in name
    )


def _check_promise(path: Path, promised: frozenset[str], names: list[str]) -> None:
    absent = sorted(promised - set(names))
    if absent:
        raise CheckpointError(
            f"the index places {len(absent)} tensors in {path.name} that it does not contain:  "
            f"{shorten(absent[:5])}; index and weight files must be of the same checkpoint"
        )


def _damaged(path: Path, error: Exception) -> CheckpointError:
    try:
        with path.open("rb") as file:
            start = file.read(24)
    except OSError as unreadable:
        return CheckpointError(f"cannot read {path}: {unreadable}")
    if isinstance(error, MemoryError) or "allocate memory" in str(error):
        return CheckpointError(
            f"there is no memory to map {path} ({path.stat().st_size} bytes); free some, or raise "
            "the limit of this process"
        )
    if start.startswith(b"version https://git-lfs"):
        return CheckpointError(f"{path} is a git-lfs pointer, not weights; run `git lfs pull`")
    if isinstance(error, pickle.UnpicklingError):
        return CheckpointError(
            f"{path} contains pickled objects other than tensors; it was not loaded, since that "
            "could run code. Expected a state dict of tensors only"
        )
    if path.suffix == ".safetensors":
        reason = f"safetensors: {str(error)[:_SHOWN_LETTERS]}"
    elif start.startswith(_ZIP_START):
        reason = f"PyTorch weights: {str(error).split('.')[0][:_SHOWN_LETTERS]}"
    else:
        reason = "PyTorch weights: expected the zip form that torch.save writes since 1.6"
    return CheckpointError(
        f"{path} ({path.stat().st_size} bytes) cannot be read as {reason}; "
        "copy or download it again"
    )
