"""Record what goes through the graphs of a model in use, and measure how activations lie.

Frames are simulated and commands are those of training, with the answers that the model gives.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx_ir

from vl2_ros.datasets.commands import sample_class_list, sample_perception, sample_text
from vl2_ros.errors import ConfigError
from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.runtime.engine import Array, Engine, EngineInfo, to_numpy
from vl2_ros.structures import Command, Frame

#: Frames whose calls are recorded, and the first of their scenes; training does not use them.
_FRAMES, _FIRST_SEED = 48, 900_000
_FRAME_WIDTH, _FRAME_HEIGHT = 640, 480
#: Of each are drawn so many in turn.
_SAMPLERS = (sample_perception, sample_class_list, sample_perception, sample_text)


@dataclass(slots=True)
class Spread:
    """How the values of an activation lie.

    Attributes:
        low: least of them and 0.
        high: most of them and 0.
        squares: their sum of squares.
        count: how many there are.
    """

    low: float = 0.0
    high: float = 0.0
    squares: float = 0.0
    count: int = 0

    def add(self, values: np.ndarray) -> None:
        """Take more values into account."""
        self.low = min(self.low, float(values.min(initial=0.0)))
        self.high = max(self.high, float(values.max(initial=0.0)))
        self.squares += float(np.square(values, dtype=np.float64).sum())
        self.count += values.size

    @property
    def rms(self) -> float:
        """Return the root of the mean square."""
        return math.sqrt(self.squares / max(1, self.count))


@dataclass(slots=True, eq=False)
class RecordingEngine:
    """An engine that keeps the inputs of its calls.

    Attributes:
        engine: runs the graph.
        calls: inputs by name, of every call so far.
    """

    engine: Engine
    calls: list[dict[str, np.ndarray]] = field(default_factory=list)

    @property
    def info(self) -> EngineInfo:
        """Return the info of the engine."""
        return self.engine.info

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`."""
        self.calls.append({name: np.array(to_numpy(one)) for name, one in inputs.items()})
        return self.engine.run(inputs, outputs)


def draw_commands(
    first_seed: int, frames: int, each: int = 1, **options: float
) -> Iterator[tuple[Frame, Command]]:
    """Yield simulated frames with commands about them.

    Args:
        first_seed: of the scenes.
        frames: how many.
        each: commands about a frame.
        **options: of the commands, by name.

    Raises:
        ConfigError: if the simulator is not installed.
    """
    try:
        from vl2_ros.sim.tabletop import TabletopSimulator
    except ImportError as error:
        raise ConfigError(
            f"int8 engines are measured on simulated frames, and {error.name} is missing; "
            "pip install 'vl2_ros[sim]'"
        ) from error
    rng = np.random.default_rng(first_seed)
    with TabletopSimulator(width=_FRAME_WIDTH, height=_FRAME_HEIGHT) as simulator:
        for index in range(frames * each):
            if index % each == 0:
                view = simulator.render(first_seed + index // each)
                frame = Frame(view.rgb)
            sample = _SAMPLERS[index % len(_SAMPLERS)]
            yield frame, Command(sample(rng, view.objects).question, **options)  # type: ignore[arg-type]


def record_calls(
    pipeline: Pipeline, progress: Callable[[int, int], None] = lambda _done, _total: None
) -> None:
    """Let a pipeline answer commands, so that its `RecordingEngine` engines see what is usual.

    Args:
        pipeline: of float32 engines.
        progress: called with the number of commands that are answered, and of all.
    """
    for index, (frame, command) in enumerate(draw_commands(_FIRST_SEED, _FRAMES)):
        pipeline.answer(frame, command)
        progress(index + 1, _FRAMES)


def measure_spreads(
    source: Path, names: Collection[str], calls: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, Spread]:
    """Run a graph on calls, and return how the values of activations lie.

    Args:
        source: ONNX file.
        names: of its inputs, and of what its nodes make.
        calls: inputs by name.

    Raises:
        EngineError: if it cannot be run.
    """
    # The library is an extra of the package, and its import takes a while.
    from vl2_ros.runtime.onnxruntime_backend.engine import run_file

    model = onnx_ir.load(source)
    made = {one.name: one for node in model.graph for one in node.outputs}
    model.graph.outputs[:] = [made[name] for name in sorted(names) if name in made]
    spreads = {name: Spread() for name in names}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / source.name
        onnx_ir.save(model, path)
        for call, outputs in zip(calls, run_file(path, calls), strict=True):
            for name, spread in spreads.items():
                spread.add(outputs[name] if name in outputs else call[name])
    return spreads
