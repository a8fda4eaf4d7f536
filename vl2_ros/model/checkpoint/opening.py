"""Open a checkpoint as an empty network, or one part of it, with a place for every tensor.

Nothing is read but names and shapes; a checkpoint that does not fit is refused here.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from vl2_ros.errors import CheckpointError
from vl2_ros.model.checkpoint.config import CheckpointConfig, read_checkpoint_config
from vl2_ros.model.checkpoint.plan import LoadPlan, Place, find_places, plan_loading
from vl2_ros.model.checkpoint.shards import WeightFiles, find_weight_files, iterate_tensors
from vl2_ros.model.checkpoint.weights import (
    build_empty_model,
    build_empty_part,
    build_fresh_model,
)
from vl2_ros.model.parts import IMAGE_PARTS, check_part_names

logger = logging.getLogger(__name__)

#: Called with the bytes of the checkpoint read so far and in all.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class OpenedCheckpoint:
    """A checkpoint whose names and shapes are known to fit a network, not yet read.

    Attributes:
        config: of the folder; `config.model` has the parts that are opened.
        files: where the tensors are.
        model: a `VisionLLM`, or a bare module with one part in it.
        places: name of a tensor in `model` -> its place.
        plan: stored name -> place.
    """

    config: CheckpointConfig
    files: WeightFiles
    model: nn.Module
    places: dict[str, Place]
    plan: LoadPlan


def open_checkpoint(
    folder: Path, *, strict: bool = True, parts: Collection[str] | None = None
) -> OpenedCheckpoint:
    """Find a place for every tensor of a network; it is empty when strict, else fresh.

    Args:
        folder: of the checkpoint.
        strict: whether every tensor must have its place, and every place its tensor.
        parts: those of `parts.PARTS` to open; None opens all that are available.

    Raises:
        CheckpointError: if something does not fit, or a wanted part is not to be had.
        ConfigError: if the model is a variant that is not supported, or a name is no part.
    """
    config = read_checkpoint_config(folder)
    known = {*config.model.parts, *config.unavailable}
    if parts is None:
        for name, reason in config.unavailable.items():
            logger.warning("%s: skipped %s: %s", folder, name, reason)
    else:
        _check_parts(config, parts, folder)
    model_config = config.model if parts is None else config.model.keep_parts(parts)
    build = build_empty_model if strict else build_fresh_model
    model = build(model_config, config.tokens)
    for name in set(IMAGE_PARTS) & set(model_config.parts):
        model.get_submodule(name).folder = config.folders[name]
    skipped = known - set(model_config.parts)
    return _fit(folder, config, model, skipped.__contains__, strict=strict)


def open_part(folder: Path, part: str) -> OpenedCheckpoint:
    """Find a place for every tensor of one part; all others are skipped.

    Raises:
        CheckpointError: if something does not fit, or the part is not to be had.
        ConfigError: if the model is a variant that is not supported, or the name is no part.
    """
    config = read_checkpoint_config(folder)
    _check_parts(config, (part,), folder)
    model = nn.Module()
    model.add_module(part, build_empty_part(config.model, part))
    if part in IMAGE_PARTS:
        model.get_submodule(part).folder = config.folders[part]
    return _fit(folder, config, model, lambda name: name != part, strict=True)


def iterate_parts(
    opened: OpenedCheckpoint, progress: Progress | None, *, keep: bool = False
) -> Iterator[tuple[str, Tensor]]:
    """Yield (our name, view of the stored rows) for everything that has a place.

    Args:
        opened: the checkpoint.
        progress: called after every stored tensor.
        keep: see `iterate_tensors`.
    """
    used_bytes, total_bytes = 0, opened.plan.total_bytes
    for name, stored in iterate_tensors(opened.files, opened.plan.targets.keys(), keep=keep):
        used_bytes += stored.nbytes
        for target in opened.plan.targets[name]:
            yield target.name, target.take(stored)
        del stored
        if progress is not None:
            progress(used_bytes, total_bytes)


def _check_parts(config: CheckpointConfig, parts: Collection[str], folder: Path) -> None:
    check_part_names(parts)
    for name in parts:
        if name in config.unavailable:
            raise CheckpointError(f"{name} cannot be loaded: {config.unavailable[name]}")
        if name not in config.model.parts:
            raise CheckpointError(
                f"{folder} has no {name}; it has {', '.join(config.model.parts) or 'no parts'}"
            )


def _fit(
    folder: Path,
    config: CheckpointConfig,
    model: nn.Module,
    is_skipped: Callable[[str], bool],
    *,
    strict: bool,
) -> OpenedCheckpoint:
    files = find_weight_files(folder)
    places = find_places(model)
    plan = plan_loading(
        iterate_tensors(files), places, is_release=config.is_release, is_skipped=is_skipped
    )
    problems = plan.describe_problems(strict=strict)
    if problems:
        raise CheckpointError(
            f"{folder} does not fit the network that its config.json describes:\n{problems}"
        )
    if plan.missing or plan.unexpected:
        logger.warning(
            "%s: %d tensors keep fresh values: %s; %d are skipped: %s",
            *(folder, len(plan.missing), plan.missing, len(plan.unexpected), plan.unexpected),
        )
    if plan.skipped:
        counts = Counter(found[0].part for found in plan.skipped.values())
        logger.info("%s: tensors of parts that are not loaded: %s", folder, dict(counts))
    return OpenedCheckpoint(config, files, model, places, plan)
