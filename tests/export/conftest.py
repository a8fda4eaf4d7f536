from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from tests.export.exported_graphs import FIXED_HW, OPEN, Exported, make_model
from vl2_ros.export.engine_folder import fixed_axes
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.model.graph_modules import build_graph, spec_of


@pytest.fixture(scope="session")
def export(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """Export a graph of the tiny network; the same one only once."""

    @cache
    def make(name: str, precision: str = "float32", backbone: str = "swin") -> Exported:
        model = make_model(backbone)
        spec = spec_of(model, name)
        image = {"height": (32, 160, 192), "width": (32, 192, 192)}
        axes = fixed_axes(model) | OPEN | (image if backbone == "resnet" else FIXED_HW)
        path = tmp_path_factory.mktemp(f"{name}_{precision}_{backbone}") / f"{name}.onnx"
        # The float16 form narrows its module, so that the reference needs another one.
        export_onnx(build_graph(make_model(backbone), name), spec, axes, path, precision=precision)
        return Exported(spec, build_graph(model, name), path, axes, precision)

    return make
