"""Graphs of images by NVIDIA's own parser and builder, which need no GPU."""

from __future__ import annotations

import pytest
import torch

from tests.export.rtx.rtx_plans import PRECISIONS, count_layers
from tests.model.diffusion.safety_folders import SIDE, write_safety_checker
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.model.diffusion.config import DiffusionConfig
from vl2_ros.model.diffusion.generator import ImageGeneratorNetwork
from vl2_ros.model.diffusion.graphs import build_diffusion_graph, size_diffusion_axes
from vl2_ros.model.graphs import GRAPHS, with_no_words
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX

pytestmark = pytest.mark.tensorrt_rtx

IMAGES = (1, 2, 3)
SLOW = ("denoiser", "vae_encoder", "vae_decoder")
LAYERS = {
    **{"prompt_mapper": 200, "denoiser": 3000, "vae_encoder": 200, "vae_decoder": 300},
    "safety_checker": 100,
}


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", [pytest.param(one, marks=pytest.mark.slow) if one in SLOW else one for one in LAYERS]
)
def test_graphs_of_images_are_parsed_and_compiled(name, precision, tmp_path):
    torch.manual_seed(0)
    # What draws differs in the channels of its first layer only.
    network = ImageGeneratorNetwork(DiffusionConfig.tiny("editing")).eval()
    network.folder = write_safety_checker(tmp_path)
    spec = with_no_words(GRAPHS[name]) if name == "prompt_mapper" else GRAPHS[name]
    axes = {**size_diffusion_axes(network), "images": IMAGES, "checker_side": SIDE}
    path = tmp_path / f"{name}.onnx"
    export_onnx(build_diffusion_graph(name, network), spec, axes, path, precision=precision)
    assert count_layers(path) > LAYERS[name]
    shapes = {"images": IMAGES} if name == "denoiser" else {}
    build_plan(path, tmp_path / "plan", PlanOrder(name, [shapes], 1 << 28, 0), TENSORRT_RTX)
    assert (tmp_path / "plan").stat().st_size > 100_000
