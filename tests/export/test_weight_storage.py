"""Weights of a graph as references to a checkpoint's file: the same values, held once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.export.exported_graphs import open_session
from vl2_ros.export.onnx_export import export_onnx
from vl2_ros.export.weight_storage import StoredWeights, spread_batch_norms
from vl2_ros.model.graphs import GraphSpec, TensorSpec

MAPS = GraphSpec(
    "maps",
    (TensorSpec("maps", "float32", ("rows", 16, 8, 8)),),
    (TensorSpec("result", "float32", ("rows", 10)),),
    {"float32": 1e-5},
)


class Small(nn.Module):
    """A convolution with a batch norm, a product with a turned matrix, and a table of neither."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.product = nn.Linear(32, 30, bias=False)
        self.result = nn.Linear(30, 10)

    def forward(self, maps):
        pooled = self.norm(self.convolution(maps)).relu().mean((2, 3))
        return (self.result(self.product(pooled)),)


@pytest.fixture
def network() -> Small:
    torch.manual_seed(0)
    network = Small().eval()
    for tensor in (network.norm.running_mean, network.norm.running_var, network.norm.weight):
        tensor.data.uniform_(0.5, 1.5)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(tensor.half())
    return network


def save(network: nn.Module, folder: Path, dtype: torch.dtype) -> StoredWeights:
    tensors = {
        name: one.to(dtype) if one.is_floating_point() else one
        for name, one in network.state_dict().items()
    }
    save_file(tensors, folder / "model.safetensors")
    return StoredWeights(folder / "model.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_a_graph_refers_to_weights_and_computes_the_same(network, tmp_path, dtype):
    maps = torch.randn(3, 16, 8, 8)
    wanted = network(maps)[0].detach().numpy()
    weights = save(network, tmp_path, dtype)
    path = tmp_path / "maps.onnx"
    export_onnx(network, MAPS, {"rows": (1, 2, 4)}, path, weights=weights)
    got = open_session(path).run(None, {"maps": maps.numpy()})[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
    model = onnx.load(path, load_external_data=False)
    outside = [one for one in model.graph.initializer if one.external_data]
    references = [{entry.key: entry.value for entry in one.external_data} for one in outside]
    assert {one["location"] for one in references} == {"model.safetensors"}
    size = dtype.itemsize
    shapes = {(32, 16, 3, 3), (30, 32), (10, 30)}
    assert {tuple(one.dims) for one in outside} <= shapes | {one[::-1] for one in shapes}
    assert sorted(int(one["length"]) for one in references) == [300 * size, 960 * size, 4608 * size]
    # Nothing that is worth a node is left inside.
    inside = [one for one in model.graph.initializer if not one.external_data]
    assert all(np.prod(one.dims) < 256 for one in inside)


def test_values_that_the_file_lacks_stay_in_the_graph(network, tmp_path):
    weights = save(network, tmp_path, torch.float16)
    with torch.no_grad():
        network.product.weight[0, 0] += 1
    path = tmp_path / "maps.onnx"
    export_onnx(network, MAPS, {"rows": (1, 2, 4)}, path, weights=weights)
    maps = torch.randn(1, 16, 8, 8)
    got = open_session(path).run(None, {"maps": maps.numpy()})[0]
    np.testing.assert_allclose(got, network(maps)[0].detach().numpy(), rtol=1e-5, atol=1e-6)
    model = onnx.load(path, load_external_data=False)
    large = [one for one in model.graph.initializer if np.prod(one.dims) >= 256]
    assert sorted(bool(one.external_data) for one in large) == [False, True, True]


def test_a_scale_and_a_shift_do_what_a_batch_norm_does(network):
    maps = torch.randn(2, 16, 8, 8)
    wanted = network(maps)[0]
    spread_batch_norms(network)
    assert not any(isinstance(one, nn.BatchNorm2d) for one in network.modules())
    torch.testing.assert_close(network(maps)[0], wanted, rtol=0, atol=1e-6)
