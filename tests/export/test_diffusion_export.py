"""Graphs of image generation and editing as ONNX files: equal to torch, fit for TensorRT."""

from __future__ import annotations

import pytest
import torch

from tests.export.exported_graphs import Exported
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.graphs import build_diffusion_graph, size_diffusion_axes
from vl2_ros.model.graphs import GRAPHS, with_no_words
from vl2_ros.model.parts import IMAGE_PARTS


def make_network() -> ImageGeneratorNetwork:
    torch.manual_seed(0)
    return ImageGeneratorNetwork(DiffusionConfig.tiny("editing")).eval()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
@pytest.mark.parametrize("name", IMAGE_PARTS["image_editing"].graphs)
def test_graph_computes_what_torch_does(name, precision, tmp_path):
    # What draws differs in the channels of its first layer only.
    network = make_network()
    spec = with_no_words(GRAPHS[name]) if name == "prompt_mapper" else GRAPHS[name]
    axes = {**size_diffusion_axes(network, (64, 128)), "images": (1, 2, 3)}
    path = tmp_path / f"{name}.onnx"
    narrowed = build_diffusion_graph(name, make_network())
    export_onnx(narrowed, spec, axes, path, precision=precision)
    graph = Exported(spec, build_diffusion_graph(name, network), path, axes, precision)
    for images in (1, 2, 3) if name == "denoiser" else (1,):
        graph.check(graph.inputs(images=images))
