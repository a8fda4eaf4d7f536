"""Load networks from checkpoint folders and save them: the released layout and our own.

A released folder (model_type `visionllmv2`) is read as it was published, safetensors or `.bin`,
whole or in shards. Our own (model_type `vl2_ros`) has `config.json` and safetensors with our
names. Loading keeps the weights once in memory, plus a small window of the file being read; parts
of the network that are not wanted are not read.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.config import read_checkpoint_config, write_checkpoint_config
from vl2_ros.model.checkpoint.opening import (
    OpenedCheckpoint,
    Progress,
    iterate_parts,
    open_checkpoint,
    open_part,
)
from vl2_ros.model.checkpoint.plan import find_places
from vl2_ros.model.checkpoint.release_keys import check_alias
from vl2_ros.model.checkpoint.shards import WEIGHT_FILES, iterate_tensors
from vl2_ros.model.checkpoint.weights import (
    copy_checked,
    fill_place,
    keep_checked,
    move_computed_buffers,
)
from vl2_ros.model.checkpoint.writer import ShardWriter, write_safetensors
from vl2_ros.model.diffusion.folder import COMPANIONS, DiffusionFolder
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.parts import IMAGE_PARTS, PARTS

#: Files beside the weights that a converted checkpoint keeps.
COMPANION_FILES = (
    "added_tokens.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "processing.json",
)

#: Parts of the network that answers can be routed to.
DECODERS = tuple(part.name for part in PARTS.values() if part.routes)


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """The contents of a checkpoint folder.

    Attributes:
        name: name of the folder.
        layout: `release` or `vl2_ros`.
        file_format: `safetensors` or `bin`.
        dtypes: dtype name -> stored values of that dtype, under every name that they have.
        parts: part of the network -> values in it, shared ones counted once.
        part_bytes: part of the network -> bytes of these values as they are stored.
        decoders: decoders that can be used.
        unavailable: decoders that the checkpoint has but that cannot be built -> why.
        safety_checkers: decoders of images whose folder carries a safety checker.
    """

    name: str
    layout: str
    file_format: str
    dtypes: dict[str, int]
    parts: dict[str, int]
    part_bytes: dict[str, int]
    decoders: tuple[str, ...]
    unavailable: dict[str, str]
    safety_checkers: tuple[str, ...]


def load_model(
    path: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    strict: bool = True,
    progress: Progress | None = None,
    parts: Collection[str] | None = None,
    mapped: bool = False,
) -> VisionLLM:
    """Load a checkpoint folder, in eval mode.

    Args:
        path: a released VisionLLM v2 folder or one written by `save_model`.
        dtype: of all floating-point weights; what is computed at construction keeps its own.
        device: where the weights go, one tensor at a time.
        strict: False keeps fresh values where weights are missing and skips unexpected ones.
        progress: called after every tensor.
        parts: which of `parts.PARTS` come with the language side, each of which the checkpoint
            must have; others are None in the network and not read. By default all that can be
            built: one whose Stable Diffusion folder is missing is skipped with a warning.
        mapped: on the CPU, weights that are stored in `dtype` stay views of the mapped files, in
            memory of the system's file cache. While the network lives, replace such a file only
            as a whole, by renaming, and never write into it.

    Raises:
        CheckpointError: if the folder, a file, a name, a shape or a value is not as expected, or a
            part in `parts` is not to be had.
        ConfigError: if the model is a variant that is not supported, or `parts` names no part.
    """
    opened = open_checkpoint(Path(path), strict=strict, parts=parts)
    is_mapped = mapped and torch.device(device).type == "cpu"
    _fill(opened, dtype, device, progress, mapped=is_mapped)
    return opened.model.eval()


def load_part(
    path: str | Path,
    part: str,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    progress: Progress | None = None,
) -> nn.Module:
    """Load one part of a checkpoint alone, in eval mode, reading no other tensor.

    Args:
        path: a released VisionLLM v2 folder or one written by `save_model`.
        part: one of `parts.PARTS`.
        dtype: of all floating-point weights.
        device: where the weights go.
        progress: called after every tensor.

    Returns:
        What the attribute `part` of a whole `VisionLLM` would be.

    Raises:
        CheckpointError: if the checkpoint is not as expected, or the part is not to be had.
        ConfigError: if the model is a variant that is not supported, or `part` names no part.
    """
    opened = open_part(Path(path), part)
    _fill(opened, dtype, device, progress)
    return opened.model.get_submodule(part).eval()


def save_model(model: VisionLLM, path: str | Path, *, dtype: torch.dtype = torch.float16) -> None:
    """Write a checkpoint folder in our own layout, each file whole or not at all.

    The language model's tokenizer and the processing settings are the caller's to write beside it;
    files of image generation and editing are copied into `diffusion/`.

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
    write_safetensors(tensors, folder / WEIGHT_FILES[0])
    images = set(IMAGE_PARTS) & set(model.config.parts)
    _copy_companions({name: model.get_submodule(name).folder for name in images}, folder)
    write_checkpoint_config(folder, model.config, model.tokens)


def convert_checkpoint(
    source: str | Path,
    target: str | Path,
    *,
    max_shard_bytes: int = 2**30,
    progress: Progress | None = None,
) -> None:
    """Write a released checkpoint in our own layout: safetensors shards with our names.

    Values keep their dtype. The new folder needs no Stable Diffusion folder: what serving needs
    from them is copied. A part that cannot be built is skipped with a warning; keep the source for
    it. `config.json` is written last, so a folder that has it is complete.

    Args:
        source: a released folder, or one of ours.
        target: made if missing; must be empty.
        max_shard_bytes: size of a shard and of the memory needed; a larger tensor is a shard alone.
        progress: called after every tensor.

    Raises:
        CheckpointError: if the source cannot be loaded strictly, or the target is not empty.
    """
    folder, out = Path(source), Path(target)
    opened = open_checkpoint(folder)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise CheckpointError(f"{out} is not empty; expected a new or empty folder")
    out.mkdir(parents=True, exist_ok=True)
    writer = ShardWriter(out, max_shard_bytes)
    for alias, part in iterate_parts(opened, progress):
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
    _copy_companions(opened.config.folders, out)
    write_checkpoint_config(out, opened.config.model, opened.config.tokens)


def describe_checkpoint(path: str | Path) -> CheckpointInfo:
    """Describe the contents of a checkpoint folder, without reading a weight.

    Whether the tensors of image generation and editing fit is checked when they are loaded.

    Raises:
        CheckpointError: if it is no checkpoint, or one that does not fit its configuration.
        ConfigError: if the model is a variant that is not supported.
    """
    folder = Path(path)
    config = read_checkpoint_config(folder)
    # Image generation and editing are counted as stored: to build them takes seconds.
    opened = open_checkpoint(folder, parts=set(config.model.parts) - set(IMAGE_PARTS))
    known = opened.plan.targets | {
        name: found
        for name, found in opened.plan.skipped.items()
        if found[0].part in config.model.parts
    }
    dtypes: Counter[str] = Counter()
    sizes: dict[str, tuple[int, int]] = {}
    for name, tensor in iterate_tensors(opened.files, known.keys()):
        dtypes[str(tensor.dtype).removeprefix("torch.")] += tensor.numel()
        for target in known[name]:
            values = tensor.numel() // target.blocks
            shared = opened.places[target.name].names if target.name in opened.places else ()
            sizes[next(iter(shared), target.name)] = (values, values * tensor.itemsize)
    parts: Counter[str] = Counter()
    part_bytes: Counter[str] = Counter()
    for name, (values, stored_bytes) in sizes.items():
        parts[name.split(".", 1)[0]] += values
        part_bytes[name.split(".", 1)[0]] += stored_bytes
    return CheckpointInfo(
        name=folder.resolve().name,
        layout="release" if config.is_release else "vl2_ros",
        file_format=opened.files.file_format,
        dtypes=dict(dtypes),
        parts=dict(parts),
        part_bytes=dict(part_bytes),
        decoders=tuple(name for name in DECODERS if name in parts),
        unavailable=dict(config.unavailable),
        safety_checkers=tuple(
            name for name, files in config.folders.items() if files.safety_checker is not None
        ),
    )


def _fill(
    opened: OpenedCheckpoint,
    dtype: torch.dtype,
    device: str | torch.device,
    progress: Progress | None,
    *,
    mapped: bool = False,
) -> None:
    model, places = opened.model, opened.places
    filled: dict[str, Tensor] = {}
    for name, source in iterate_parts(opened, progress, keep=mapped):
        if mapped:
            value = keep_checked(name, source, dtype)
        else:
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


def _copy_companions(folders: Mapping[str, DiffusionFolder | None], out: Path) -> None:
    for name, folder in folders.items():
        target = out / COMPANIONS / name
        if folder is not None and folder.path.resolve() != target.resolve():
            folder.copy_companions(target)
