"""Count the engine calls of an answer, their arithmetic and the weights that they read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.model.checkpoint.folder import describe_checkpoint, load_model
from vl2_ros.model.graph_modules import build_graph
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.engine import (
    Array,
    Engine,
    LanguageModel,
    LanguageSession,
    LanguageStep,
    PerceptionDecoder,
)
from vl2_ros.runtime.torch_backend.loading import count_bytes


class _FlopMode(TorchDispatchMode):
    """Adds up what operators multiply; torch's own counter cannot enter inference mode."""

    def __init__(self) -> None:
        super().__init__()
        self.flop = 0

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        count = flop_registry.get(operator._overloadpacket)
        if count is None:
            with self:
                parts = operator.decompose(*args, **kwargs)
            return operator(*args, **kwargs) if parts is NotImplemented else parts
        result = operator(*args, **kwargs)
        self.flop += count(*args, **kwargs, out_val=result)
        return result


@dataclass(slots=True)
class Counts:
    """What was called since the last reset.

    Attributes:
        calls: graph -> calls.
        flop: graph -> multiplications and additions.
    """

    calls: Counter[str] = field(default_factory=Counter)
    flop: Counter[str] = field(default_factory=Counter)

    def run(self, graph: str, call: Any) -> Any:
        """Run a call and count it."""
        with _FlopMode() as mode:
            result = call()
        self.calls[graph] += 1
        self.flop[graph] += mode.flop
        return result


class _CountedEngine:
    def __init__(self, engine: Engine, counts: Counts) -> None:
        self._engine, self._counts = engine, counts
        self.info = engine.info

    def run(self, inputs: Mapping[str, Array], *args: Any, **named: Any) -> dict[str, Array]:
        return self._counts.run(self.info.graph, lambda: self._engine.run(inputs, *args, **named))


class _CountedSession:
    def __init__(self, session: LanguageSession, counts: Counts) -> None:
        self._session, self._counts = session, counts

    def feed(self, input_ids: np.ndarray, *args: Any, **named: Any) -> LanguageStep:
        return self._counts.run(
            "language_model", lambda: self._session.feed(input_ids, *args, **named)
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class _CountedLanguageModel:
    def __init__(self, model: LanguageModel, counts: Counts) -> None:
        self._model, self._counts = model, counts
        self.info = model.info

    def open_session(self, *args: Any, **named: Any) -> _CountedSession:
        return _CountedSession(self._model.open_session(*args, **named), self._counts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class CountedModel:
    """A checkpoint on PyTorch, which can say what each call multiplies.

    Args:
        weights: checkpoint folder; empty: the embedded model.
    """

    def __init__(self, weights: str = "") -> None:
        """Load it and wrap its engines."""
        pipeline = load_pipeline(LoadOptions(weights, "cpu", "torch"))
        engines = pipeline.engines
        self.counts = Counts()
        self._pipeline = Pipeline(
            replace(
                engines,
                vision_encoder=_CountedEngine(engines.vision_encoder, self.counts),
                language_model=_CountedLanguageModel(engines.language_model, self.counts),
                decoders={
                    name: PerceptionDecoder(
                        _CountedEngine(one.backbone, self.counts),
                        _CountedEngine(one.decoder, self.counts),
                    )
                    for name, one in engines.decoders.items()
                },
            ),
            pipeline.tokenizer,
            pipeline.processing,
        )

    @property
    def pipeline(self) -> Pipeline:
        """Return the pipeline whose calls are counted."""
        return self._pipeline

    def reset(self) -> None:
        """Begin to count anew."""
        self.counts.calls.clear()
        self.counts.flop.clear()

    def report(self, weights_mb: Mapping[str, float]) -> dict[str, dict[str, float]]:
        """Return calls, GFLOP and MB of weights read, of each graph."""
        return {
            graph: {
                "calls": calls,
                "gflop": round(self.counts.flop[graph] / 1e9, 3),
                "weights_mb": round(calls * weights_mb.get(graph, 0.0), 1),
            }
            for graph, calls in self.counts.calls.items()
        }


def find_weights_mb(folder: Path) -> dict[str, float]:
    """Return the MB of float32 weights that one call of a graph reads."""
    values = Counter(describe_checkpoint(folder).parts)
    graphs = {"vision_encoder": ("vision_encoder", "projector"), "language_model": ("llm",)}
    found = {name: sum(values[part] for part in parts) for name, parts in graphs.items()}
    for name, part in PERCEPTION_PARTS.items():
        if name in values:
            images = count_bytes(build_graph(load_model(folder, parts=[name]), part.backbone)) // 4
            found |= {part.backbone: images, name: values[name] - images}
    return {name: count * 4 / 1e6 for name, count in found.items()}
