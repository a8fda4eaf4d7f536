"""What several tests of the flow share: the embedded model on ONNX Runtime, and its calls."""

from __future__ import annotations

import pytest

from vl2_ros.flow.pipeline import Pipeline
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine


@pytest.fixture
def tokenizer(json_tokenizer):
    return json_tokenizer


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return load_pipeline(LoadOptions(device="cpu", backend="onnxruntime"))


@pytest.fixture
def calls(monkeypatch) -> list[str]:
    """The graphs that were executed, in order."""
    executed: list[str] = []
    run = OnnxEngine.run

    def record(self, *given):
        executed.append(self.info.graph)
        return run(self, *given)

    monkeypatch.setattr(OnnxEngine, "run", record)
    return executed
