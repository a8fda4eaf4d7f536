"""Open the objective `conversations` of a recipe: checkpoint, sources, what is held out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from vl2_ros.datasets.mixture import Mixture, MixturePart
from vl2_ros.datasets.samples import Group
from vl2_ros.datasets.sources.source_table import open_source
from vl2_ros.datasets.splitting import split_sources
from vl2_ros.documents import shorten
from vl2_ros.errors import ConfigError
from vl2_ros.model.checkpoint.folder import load_model
from vl2_ros.model.network import VisionLLM
from vl2_ros.model.pose.extension import extend_with_poses
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.training.companions import copy_companions, find_init
from vl2_ros.training.conversations.objective import ConversationObjective
from vl2_ros.training.objectives import Opening
from vl2_ros.training.recipes.recipe import Recipe

#: Keys of a source that are not its own.
_WEIGHT, _HELD_OUT = "weight", "held_out"


def open_conversations(recipe: Recipe, opening: Opening) -> ConversationObjective:
    """Load the network, open the sources, and hold some of them out.

    A network without a pose decoder gets a small fresh one where a source has poses.

    Args:
        recipe: with `ConversationSettings`.
        opening: folder and sizes of the run.

    Raises:
        ConfigError: if the recipe names no checkpoint, or a source cannot be opened or does not fit
            the network.
        CheckpointError: if the weights cannot be loaded.
    """
    if not recipe.init:
        raise ConfigError(
            "conversations continue the training of a checkpoint; name one with init=FOLDER, or "
            "init=embedded for that of the package"
        )
    init = find_init(recipe.init)
    opening.report("reading the data", 0.0)
    mixture, held_out = open_mixtures(recipe)
    opening.report("loading the weights", 0.0)
    copy_companions(init, opening.folder)
    network = load_network(init, mixture)
    processing = ProcessingConfig.load(opening.folder)
    if recipe.max_length:
        processing = replace(processing, max_length=recipe.max_length)
    return ConversationObjective(
        network,
        load_tokenizer(opening.folder),
        processing,
        mixture,
        held_out,
        recipe.options,
        batch_size=recipe.batch,
        batches_per_step=opening.batches_per_step,
    )


def load_network(init: Path, mixture: Mixture) -> VisionLLM:
    """Load a checkpoint in float32, with a fresh pose decoder where it lacks one that is needed."""
    network = load_model(init).float()
    if Group.POSE in mixture.groups and network.config.pose is None:
        network = extend_with_poses(network)
    return network


def open_mixtures(recipe: Recipe) -> tuple[Mixture, Mixture | None]:
    """Open the sources of a recipe; paths are relative to the working directory.

    Returns:
        What is trained on, and what is held out: the sources marked so, else a share of each, of
        other images.

    Raises:
        ConfigError: if a source cannot be opened, or none is to be trained on.
    """
    trained: list[MixturePart] = []
    held_out: list[MixturePart] = []
    for entry in recipe.sources:
        part, is_held_out = _open_part(entry)
        (held_out if is_held_out else trained).append(part)
    share = recipe.options.held_out
    if share and not held_out:
        split = split_sources([one.source for one in trained], share, seed=recipe.seed)
        pairs = list(zip(trained, split, strict=True))
        held_out = [replace(one, source=away) for one, (_, away) in pairs]
        trained = [replace(one, source=kept) for one, (kept, _) in pairs]
    return (
        Mixture(trained, seed=recipe.seed),
        Mixture(held_out, seed=recipe.seed) if held_out else None,
    )


def _open_part(entry: Mapping[str, Any]) -> tuple[MixturePart, bool]:
    values = dict(entry)
    weight = float(values.pop(_WEIGHT, 1.0))
    is_held_out = values.pop(_HELD_OUT, False)
    if not isinstance(is_held_out, bool):
        raise ConfigError(f"held_out of a source must be true or false, got {shorten(is_held_out)}")
    source = open_source(values, Path())
    return MixturePart(source, source.group, weight), is_held_out
