"""Compare an engine with torch, on inputs that were stored with torch's outputs.

A quantised language model also answers commands that were stored with float32's answers: routing
tokens and boxes shall be the same, whatever its numbers are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS, match_layers
from vl2_ros.runtime.engine import Engine, PerceptionDecoder, to_numpy
from vl2_ros.runtime.files.answer_gate import (
    MOST_LOST,
    MOST_MOVED,
    MOST_OTHER_ROUTES,
    Agreement,
    compare_answers,
)
from vl2_ros.runtime.files.engine_files import EngineFile, read_engine_files

_SAMPLE = "{stem}.sample{index}.npz"
_INPUT, _OUTPUT = "input.", "output."


@dataclass(frozen=True, slots=True)
class OutputMiss:
    """How far one output is from torch's.

    Attributes:
        output: its name, or what of the answers was compared.
        difference: the largest one, as a share of the unit; infinite for another shape or for
            values that are not numbers.
        allowed: what the graph table allows at the engine's precision, or the answers' gate.
        unit: what the difference is a share of.
    """

    output: str
    difference: float
    allowed: float
    unit: str = "its largest value"

    @property
    def is_over(self) -> bool:
        """Return whether it is more than allowed."""
        return not self.difference <= self.allowed

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """One call of a graph: inputs, and the outputs of float32 torch on the CPU."""

    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]


def sample_path(onnx: Path, index: int = 0) -> Path:
    """Return where a stored call is: beside the exported ONNX file."""
    return onnx.with_name(_SAMPLE.format(stem=onnx.stem, index=index))


def find_samples(onnx: Path) -> list[Path]:
    """Return the files of the stored calls of an exported ONNX file.

    Raises:
        EngineError: if there are none.
    """
    found = sorted(onnx.parent.glob(_SAMPLE.format(stem=onnx.stem, index="*")))
    if not found:
        raise EngineError(
            f"no stored inputs beside {onnx}, so no engine of it can be compared with torch; "
            "export it with `vl2 engines build`"
        )
    return found


def write_sample(path: Path, sample: Sample) -> None:
    """Store a call."""
    arrays = {_INPUT + name: array for name, array in sample.inputs.items()}
    arrays |= {_OUTPUT + name: array for name, array in sample.outputs.items()}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def read_sample(path: Path, graph: str) -> Sample:
    """Read a stored call of a graph.

    Raises:
        EngineError: if it is missing, damaged or of another graph.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    # zipfile and numpy raise of their own for damaged archives.
    except Exception as error:
        raise EngineError(
            f"cannot read the stored inputs {path}: {error}; export the engines again"
        ) from error
    inputs = {n.removeprefix(_INPUT): a for n, a in arrays.items() if n.startswith(_INPUT)}
    outputs = {n.removeprefix(_OUTPUT): a for n, a in arrays.items() if n.startswith(_OUTPUT)}
    spec = match_layers(GRAPHS[graph], (*inputs, *outputs))
    if set(inputs) != set(spec.input_names) or set(spec.output_names) - set(outputs):
        raise EngineError(
            f"{path} is no call of {graph}: expected {', '.join(spec.input_names)} and "
            f"{', '.join(spec.output_names)}, got {', '.join(inputs)} and {', '.join(outputs)}; "
            "export the engines again"
        )
    return Sample(inputs, outputs)


def measure_misses(engine: Engine, sample: Sample, precision: str) -> list[OutputMiss]:
    """Run an engine on stored inputs and compare every output that was stored."""
    allowed = GRAPHS[engine.info.graph].tolerance[precision]
    outputs = engine.run(sample.inputs)
    return [
        OutputMiss(name, _difference(to_numpy(outputs[name]), expected), allowed)
        for name, expected in sample.outputs.items()
        if name in outputs
    ]


def measure_answers(
    engine: Engine,
    source: EngineFile,
    decoder: PerceptionDecoder | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[OutputMiss]:
    """Let a quantised language model answer the commands that are stored beside its exported file.

    Args:
        engine: the language model.
        source: the exported file that it was built from.
        decoder: detection decoder that finds boxes from its states; None compares no boxes.
        progress: called with the number of commands that are answered, and of all.

    Raises:
        EngineError: if there are none, or the engine fails.
    """
    files = read_engine_files(source.path.parent)
    return judge_agreement(compare_answers(engine, source, files, decoder, progress))


def judge_agreement(found: Agreement) -> list[OutputMiss]:
    """Return by how much answers differ, and what is allowed."""
    others = found.commands - found.same_routes
    misses = [
        OutputMiss(
            f"routing tokens of {found.commands} commands",
            others / found.commands,
            MOST_OTHER_ROUTES,
            "the commands",
        )
    ]
    if found.instances:
        lost = found.lost / found.instances
        misses += [
            OutputMiss(f"{found.instances} instances", lost, MOST_LOST, "the instances"),
            OutputMiss("boxes", 1 - found.iou, MOST_MOVED, "their overlap"),
        ]
    return misses


def compare_calls(
    engine: Engine,
    paths: Sequence[Path],
    precision: str,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[OutputMiss]:
    """Run an engine on stored calls of its graph.

    Args:
        engine: loaded.
        paths: files of the calls.
        precision: of the engine, which says what is allowed.
        progress: called with the number of calls done, and of all.

    Returns:
        The largest miss of each output.

    Raises:
        EngineError: if a call cannot be read, or the engine fails.
    """
    worst: dict[str, OutputMiss] = {}
    for index, path in enumerate(paths):
        progress(index, len(paths))
        for miss in measure_misses(engine, read_sample(path, engine.info.graph), precision):
            known = worst.get(miss.output)
            if known is None or known.difference < miss.difference:
                worst[miss.output] = miss
    progress(len(paths), len(paths))
    return list(worst.values())


def _difference(got: np.ndarray, expected: np.ndarray) -> float:
    if got.shape != expected.shape or not np.isfinite(got).all():
        return math.inf
    if not expected.size:
        return 0.0
    scale = float(np.abs(expected).max()) or 1.0
    return float(np.abs(got.astype(np.float64) - expected).max()) / scale


def describe_misses(misses: Sequence[OutputMiss]) -> str:
    """Return by how much each output misses, those over the limit first."""
    ordered = sorted(misses, key=lambda one: (not one.is_over, one.output))
    return ", ".join(
        f"{one.output} by {one.difference:.2g} of {one.unit}, allowed {one.allowed:.2g}"
        for one in ordered
    )
