"""TensorRT for RTX compiles quantised language models with both of their ranges, without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import make_once
from vl2_ros.export.engine_folder import PlainRequest, export_engines
from vl2_ros.export.quantized.graph import quantise_graph
from vl2_ros.loading import EMBEDDED_WEIGHTS
from vl2_ros.model.graphs import QUANTISED
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX

pytestmark = pytest.mark.tensorrt_rtx

SHAPES = (
    {"rows": (1, 1, 1), "tokens": (1, 32, 64), "past": (0, 0, 0)},
    {"rows": (1, 1, 1), "tokens": (1, 1, 4), "past": (1, 32, 64)},
)


def compile_plan(onnx: Path, out: Path) -> int:
    """Build a plan and return its size in bytes; a node that is refused fails by name."""
    order = PlanOrder("language_model", SHAPES, 1 << 28, 0)
    build_plan(onnx, out, order, TENSORRT_RTX)
    return out.stat().st_size


@pytest.fixture(scope="module")
def plain_size(tmp_path_factory) -> int:
    folder = tmp_path_factory.mktemp("plain")
    return compile_plan(EMBEDDED_WEIGHTS / "language_model.onnx", folder / "language_model.plan")


@pytest.mark.parametrize("precision", QUANTISED)
def test_the_embedded_language_model_is_compiled_and_smaller(plain_size, tmp_path, precision):
    onnx = tmp_path / "language_model.onnx"
    source = EMBEDDED_WEIGHTS / "language_model.onnx"
    quantise_graph(source, onnx, precision, form="widened", most_inline_bytes=1 << 30)
    values = 4 * 256 * (4 * 256 + 3 * 640)
    saved = {"int8": 3, "int4": 3.4}[precision] * values
    assert compile_plan(onnx, tmp_path / "language_model.plan") < plain_size - 0.9 * saved


@pytest.mark.golden
@pytest.mark.parametrize("precision", QUANTISED)
def test_the_tiny_release_is_compiled_as_it_is_exported(run_dir, golden_dir, tmp_path, precision):
    """By way of the export for TensorRT: float16 around whole-number weights."""
    weights = golden_dir / "release_tiny" / "safetensors"
    requests = {"language_model": PlainRequest(precision)}
    folder = make_once(
        run_dir / "exports" / f"release_language_{precision}",
        lambda folder: export_engines(weights, folder, requests, is_compact=False),
    )
    assert compile_plan(folder / "language_model.onnx", tmp_path / "r.plan") > 1 << 16
