"""Checkpoint folders into networks and back: the released layout and our own.

A released folder (model_type `visionllmv2`) is read as it was published, safetensors or `.bin`,
whole or in shards. Our own (model_type `vl2_ros`) holds `config.json` and safetensors with our
names. Loading keeps the weights once in memory, plus a small window of the file being read.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint_config import (
    CheckpointConfig,
    read_checkpoint_config,
    write_checkpoint_config,
)
from vl2_ros.model.checkpoint_plan import LoadPlan, Place, find_places, plan_loading
from vl2_ros.model.checkpoint_shards import (
    INDEX_SUFFIX,
    WEIGHT_FILES,
    WeightFiles,
    find_weight_files,
    iterate_tensors,
)
from vl2_ros.model.checkpoint_weights import (
    build_empty_model,
    copy_checked,
    fill_place,
    move_computed_buffers,
)
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.release_keys import check_alias

logger = logging.getLogger(__name__)

#: Files beside the weights that a converted checkpoint keeps.
COMPANION_FILES = (
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "processing.json",
)

#: First name component of decoders to come -> what they are.
LATER_PARTS = {"sd": "image_generation", "ip2p": "image_editing"}

#: Parts of the network that answers can be routed to.
DECODERS = ("detection_decoder", "pose_decoder")

#: Told the bytes of the checkpoint read so far and in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """What a checkpoint folder holds.

    Attributes:
        name: name of the folder.
        layout: `release` or `vl2_ros`.
        file_format: `safetensors` or `bin`.
        dtypes: dtype name -> stored values of that dtype, under every name that they have.
        parts: part of the network -> values in it, shared ones counted once.
        decoders: decoders that can be used.
        later: decoders that are stored but not built here yet -> values, under every name.
    """

    name: str
    layout: str
    file_format: str
    dtypes: dict[str, int]
    parts: dict[str, int]
    decoders: tuple[str, ...]
    later: dict[str, int]


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    strict: bool = True,
    progress: Progress | None = None,
) -> VisionLLM:
    """Load a checkpoint folder, in eval mode.

    Args:
        path: a released VisionLLM v2 folder or one written by `save_model`.
        dtype: of all floating-point weights; what is computed at construction keeps its own.
        device: where the weights go, one tensor at a time.
        strict: False keeps fresh values where weights are missing and leaves out unexpected ones.
        progress: called after every tensor.

    Raises:
        CheckpointError: if the folder, a file, a name, a shape or a value is not as expected.
        ConfigError: if the model is a variant that is not supported.
    """
    opened = _open(Path(path), strict=strict)
    model, places = opened.model, opened.places
    filled: dict[str, Tensor] = {}
    for name, source in _iterate_parts(opened, progress):
        value = copy_checked(name, source, dtype, device)
        if name in filled:
            check_alias(name, filled[name], value)
            continue
        fill_place(model, places[name], value)
        filled.update(dict.fromkeys(places[name].names, value))
    fresh = model.state_dict(keep_vars=True)
    for name in opened.plan.missing:
        fill_place(model, places[name], copy_checked(name, fresh[name].detach(), dtype, device))
    move_computed_buffers(model, device)
    return model.eval()


def save_model(model: VisionLLM, path: str | Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint folder in our own layout, each file whole or not at all.

    Tokenizer and processing settings are the caller's to write beside it.

    Args:
        model: on any device.
        path: made if missing.
        dtype: of all floating-point weights in the file.

    Raises:
        CheckpointError: if a weight is NaN, infinite or too large for `dtype`.
    """
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    state = model.state_dict(keep_vars=True)
    names = sorted({place.names[0] for place in find_places(model).values()})
    tensors = {name: copy_checked(name, state[name].detach(), dtype, "cpu") for name in names}
    _write_safetensors(tensors, folder / WEIGHT_FILES[0])
    write_checkpoint_config(folder, model.config, model.tokens)


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    max_shard_bytes: int = 2**30,
    progress: Progress | None = None,
) -> None:
    """Write a released checkpoint in our own layout: safetensors shards with our names.

    Values keep their dtype. Decoders that are not built here yet are left out; keep the source
    for them. `config.json` is written last, so a folder that has it is complete.

    Args:
        source: a released folder, or one of ours.
        target: made if missing; must be empty.
        max_shard_bytes: size of a shard and of the memory needed; a larger tensor is a shard alone.
        progress: called after every tensor.

    Raises:
        CheckpointError: if the source cannot be loaded strictly, or the target is not empty.
    """
    folder, out = Path(source), Path(target)
    opened = _open(folder)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CheckpointError(f"{out} is not empty; expected a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    writer = _ShardWriter(out, max_shard_bytes)
    for alias, part in _iterate_parts(opened, progress):
        name = opened.places[alias].names[0]
        value = copy_checked(name, part, None, "cpu")
        known = writer.read(name)
        if known is None:
            writer.add(name, value)
        else:
            check_alias(name, known, value)
    writer.finish()
    for name in COMPANION_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, out / name)
    write_checkpoint_config(out, opened.config.model, opened.config.tokens)


def describe_checkpoint(path: str | Path) -> CheckpointInfo:
    """Say what a checkpoint folder holds, without reading a weight.

    Raises:
        CheckpointError: if it is no checkpoint, or one that does not fit its configuration.
        ConfigError: if the model is a variant that is not supported.
    """
    folder = Path(path)
    opened = _open(folder)
    later_names = set(opened.plan.later)
    dtypes: Counter[str] = Counter()
    later: Counter[str] = Counter()
    for name, tensor in iterate_tensors(opened.files):
        if name in later_names:
            later[_name_later_part(name)] += tensor.numel()
        if name in later_names or name in opened.plan.targets:
            dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
    parts: Counter[str] = Counter()
    for name, place in opened.places.items():
        if name == place.names[0]:
            parts[name.split(".", 1)[0]] += place.shape.numel()
    return CheckpointInfo(
        name=folder.resolve().name,
        layout="release" if opened.config.is_release else "vl2_ros",
        file_format=opened.files.file_format,
        dtypes=dict(dtypes),
        parts=dict(parts),
        decoders=tuple(name for name in DECODERS if name in parts),
        later=dict(later),
    )


@dataclass(frozen=True, slots=True)
class _Opened:
    """A checkpoint whose names and shapes are known to fit a network, not yet read."""

    config: CheckpointConfig
    files: WeightFiles
    model: VisionLLM
    places: dict[str, Place]
    plan: LoadPlan


def _open(folder: Path, *, strict: bool = True) -> _Opened:
    """Find the files and a place for every tensor; the network is empty when strict, else fresh."""
    config = read_checkpoint_config(folder)
    files = find_weight_files(folder)
    build = build_empty_model if strict else VisionLLM
    model = build(config.model, config.tokens)
    places = find_places(model)
    plan = plan_loading(iterate_tensors(files), places, is_release=config.is_release)
    problems = plan.describe_problems(strict=strict)
    if problems:
        raise CheckpointError(
            f"{folder} does not fit the network that its config.json describes:\n{problems}"
        )
    if plan.missing or plan.unexpected:
        logger.warning(
            "%s: %d tensors keep fresh values: %s; %d are left out: %s",
            *(folder, len(plan.missing), plan.missing, len(plan.unexpected), plan.unexpected),
        )
    if plan.later:
        counts = Counter(_name_later_part(name) for name in plan.later)
        logger.info("%s: left out tensors of decoders to come: %s", folder, dict(counts))
    return _Opened(config, files, model, places, plan)


def _name_later_part(name: str) -> str:
    top = name.split(".", 1)[0]
    return LATER_PARTS.get(top, top)


def _iterate_parts(opened: _Opened, progress: Progress | None) -> Iterator[tuple[str, Tensor]]:
    """Yield (our name, view of the stored rows) for everything that has a place."""
    used_bytes, total_bytes = 0, opened.files.total_bytes
    for name, stored in iterate_tensors(opened.files):
        used_bytes += stored.nbytes
        for target in opened.plan.targets.get(name, ()):
            yield target.name, target.take(stored)
        del stored
        if progress is not None:
            progress(min(used_bytes, total_bytes), total_bytes)


class _ShardWriter:
    """Collects tensors into safetensors shards of a bounded size, then writes their index."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._pending: dict[str, Tensor] = {}
        self._weight_map: dict[str, str] = {}
        self._total_bytes = 0

    def add(self, name: str, tensor: Tensor) -> None:
        pending_bytes = sum(value.nbytes for value in self._pending.values())
        if self._pending and pending_bytes + tensor.nbytes > self._max_bytes:
            self._flush()
        self._pending[name] = tensor
        self._total_bytes += tensor.nbytes

    def read(self, name: str) -> Tensor | None:
        if name in self._weight_map:
            with safe_open(self._folder / self._weight_map[name], framework="pt") as file:
                return file.get_tensor(name)
        return self._pending.get(name)

    def finish(self) -> None:
        self._flush()
        index = {
            "metadata": {"total_size": self._total_bytes},
            "weight_map": dict(sorted(self._weight_map.items())),
        }
        path = self._folder / (WEIGHT_FILES[0] + INDEX_SUFFIX)
        path.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")

    def _flush(self) -> None:
        name = f"model-{len(set(self._weight_map.values())) + 1:05d}.safetensors"
        _write_safetensors(self._pending, self._folder / name)
        self._weight_map.update(dict.fromkeys(self._pending, name))
        self._pending = {}


def _write_safetensors(tensors: dict[str, Tensor], path: Path) -> None:
    part = path.with_name(path.name + ".part")
    save_file(tensors, part, metadata={"format": "pt"})
    part.replace(path)
