"""Export the graphs of a checkpoint into its own folder, and their int8 forms for the CPU.

The decoders' forms are made from exports of their own, in which deformable attention is a matrix of
shares: faster on a CPU, and not for TensorRT, for which the float32 graphs have to serve as well.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from vl2_ros.export.engine_folder import PlainRequest, export_engines
from vl2_ros.export.quantized.int8_forms import add_int8_forms
from vl2_ros.model.checkpoint.config import read_checkpoint_config
from vl2_ros.model.decoders.attention.deformable_sampling import export_for_cpu
from vl2_ros.model.parts import PERCEPTION_GRAPHS
from vl2_ros.runtime.files.answer_gate import Agreement
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files


def export_embedded(folder: Path, progress: Callable[[str], None] = lambda _: None) -> Agreement:
    """Write `engines.json` and the graphs that it names beside a checkpoint.

    Args:
        folder: of the checkpoint.
        progress: called with what is done.

    Returns:
        How far answers in int8 are those of float32.

    Raises:
        CheckpointError: if the checkpoint is not complete.
        ConfigError: if it is not stored as one file, or the simulator is not installed.
        EngineError: if a graph cannot be exported or rounded, or answers differ too much.
    """
    export_engines(folder, folder, progress=progress)
    with tempfile.TemporaryDirectory() as temporary:
        sources = _export_decoders(folder, Path(temporary), progress)
        return add_int8_forms(folder, lambda what, _: progress(what), sources=sources)


def _export_decoders(folder: Path, out: Path, progress: Callable[[str], None]) -> dict[str, Path]:
    """Export the perception decoders of a checkpoint as they are fastest on a CPU."""
    config = read_checkpoint_config(folder).model
    sources = {}
    for name, file in read_engine_files(folder).graphs.items():
        part = PERCEPTION_GRAPHS.get(name)
        if part is None or name == part.backbone:
            continue
        levels = getattr(config, part.config_field).num_feature_levels
        with export_for_cpu(_count_tokens(file, levels)):
            export_engines(folder, out, {name: PlainRequest()}, progress=progress)
        sources[name] = out / f"{name}.onnx"
    return sources


def _count_tokens(file: EngineFile, levels: int) -> int:
    """Return the most tokens of an image that a decoder reads, in so many maps."""

    def most(axis: str) -> int:
        size = file.axes[axis]
        return size if isinstance(size, int) else size[-1]

    return sum(most(f"map_h.{level}") * most(f"map_w.{level}") for level in range(levels))
