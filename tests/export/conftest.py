from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import make_once
from tests.export.exported_graphs import FIXED_HW, OPEN, Exported, make_model
from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.model.graph_modules import build_graph, spec_of


@pytest.fixture(scope="session")
def export(run_dir: Path) -> Callable[..., Exported]:
    """Export a graph of the tiny network; the same one only once in a run."""

    def export(name: str, precision: str = "float32", backbone: str = "swin") -> Exported:
        return find(name, precision, backbone)

    # Arguments in one form, so that a default does not make another entry.
    @cache
    def find(name: str, precision: str, backbone: str) -> Exported:
        model = make_model(backbone)
        spec = spec_of(model, name)
        image = {"height": (32, 160, 192), "width": (32, 192, 192)}
        axes = fixed_axes(model) | OPEN | (image if backbone == "resnet" else FIXED_HW)
        axes |= size_maps(model, name, axes)

        def write(folder: Path) -> None:
            # The float16 form narrows its module, so that the reference needs another one.
            module = build_graph(make_model(backbone), name)
            export_onnx(module, spec, axes, folder / f"{name}.onnx", precision=precision)

        folder = make_once(run_dir / "exports" / f"{name}_{precision}_{backbone}", write)
        path = folder / f"{name}.onnx"
        return Exported(spec, build_graph(model, name), path, axes, precision)

    return export
