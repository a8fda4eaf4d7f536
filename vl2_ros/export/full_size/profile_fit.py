"""Check before a build that the engines of a profile will accept the prompts of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from vl2_ros.errors import ConfigError
from vl2_ros.export.engine_profile import AxisRange, EngineProfile, GraphProfile, Shapes
from vl2_ros.flow.engine_ranges import Misfit, cut_to_fit, find_misfits
from vl2_ros.loading import load_processing
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.parts import CORE_GRAPHS, PARTS
from vl2_ros.processing.language.prompt_length import measure_prompts, most_image_tiles
from vl2_ros.processing.language.tokenizer import load_tokenizer
from vl2_ros.runtime.engine import Ranges


def check_fit(profile: EngineProfile, weights: Path) -> None:
    """Check the ranges of a profile against the commands that a checkpoint answers.

    Args:
        profile: its `max_tiles` is how far images may be cut.
        weights: the checkpoint folder.

    Raises:
        CheckpointError: if the checkpoint is not complete.
        ConfigError: naming each line of the profile that is too narrow, what it should be, and
            with how many tiles the profile would do as it is.
    """
    own = load_processing(weights)
    tiles = own.max_tiles if profile.max_tiles is None else min(own.max_tiles, profile.max_tiles)
    config = replace(own, max_tiles=tiles)
    tokenizer = load_tokenizer(weights)
    present = {*CORE_GRAPHS, *_list_part_graphs(weights)}
    ranges = {
        name: _list_ranges(profile.backend, graph)
        for name, graph in profile.graphs.items()
        if name in present
    }
    misfits = find_misfits(ranges, tokenizer, config)
    if not misfits:
        return
    needed = measure_prompts(tokenizer, config)
    advice = _correct(profile.graphs, misfits)
    cut = cut_to_fit(ranges, tokenizer, config)
    raise ConfigError(
        f"the profile {profile.name} cannot take the prompts of {weights.name}: an image has up to "
        f"{most_image_tiles(config)} tiles of {config.vision_tokens} tokens, so a prompt has up to "
        f"{needed.longest} and its answer {needed.answer} more. Change {'; '.join(advice)}"
        + ("" if cut is None else f"; or add `max_tiles: {cut.max_tiles}`, with less detail")
    )


def _list_part_graphs(weights: Path) -> list[str]:
    parts = read_checkpoint_config(weights).model.parts
    return [graph for name in parts for graph in PARTS[name].graphs]


def _list_ranges(backend: str, graph: GraphProfile) -> Ranges:
    """Return what an engine will accept: ONNX Runtime bounds no axis that changes."""
    if backend != "onnxruntime":
        return [{axis: (one[0], one[2]) for axis, one in shape.items()} for shape in graph.shapes]
    return [{axis: (one[0], one[2]) for axis, one in graph.axes.items() if one[0] == one[2]}]


def _correct(graphs: Mapping[str, GraphProfile], misfits: Sequence[Misfit]) -> list[str]:
    """Return the lines that are too narrow, and what they should be."""
    wider: dict[tuple[str, int, str], AxisRange] = {}
    for misfit in misfits:
        shapes = graphs[misfit.graph].shapes
        index = _choose_entry(shapes, misfit)
        sizes = {axis: (size, size) for axis, size in misfit.beside.items()}
        for axis, (low, high) in {**sizes, misfit.axis: (misfit.least, misfit.most)}.items():
            place = (misfit.graph, index, axis)
            least, best, most = wider.get(place, shapes[index][axis])
            wider[place] = min(least, low), best, max(most, high)
    return [
        f"`{axis}: {_show(graphs[name].shapes[index][axis])}` of {name} to `{axis}: {_show(wide)}`"
        for (name, index, axis), wide in wider.items()
        if wide != graphs[name].shapes[index][axis]
    ]


def _choose_entry(shapes: Sequence[Shapes], misfit: Misfit) -> int:
    """Return the index of the range that comes nearest to calls that are not accepted."""

    def rank(index: int) -> tuple[bool, int, int]:
        entry = shapes[index]
        least, _, most = entry[misfit.axis]
        overlaps = least <= misfit.most and misfit.least <= most
        fits = sum(entry[axis][0] <= size <= entry[axis][2] for axis, size in misfit.beside.items())
        return overlaps, fits, most

    return max(range(len(shapes)), key=rank)


def _show(sizes: AxisRange) -> str:
    return str(sizes[0]) if sizes[0] == sizes[2] else str(list(sizes))
