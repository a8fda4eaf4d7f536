"""Graphs rewritten for the CPU give the same numbers with other nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from torch import Tensor, nn

from vl2_ros.export.quantized.cpu_operators import rewrite_file
from vl2_ros.runtime.onnxruntime_backend.engine import optimise_graph, run_file

RNG = np.random.default_rng(5)


class Norm(nn.Module):
    """Divides by the root of the mean square, as the norms of language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2.0, 24))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


class Rotation(nn.Module):
    """Turns the heads of x by their angles, before or after heads become an axis in front."""

    def __init__(self, *, is_by_head: bool) -> None:
        super().__init__()
        self.is_by_head = is_by_head

    def forward(self, x: Tensor, angles: Tensor) -> Tensor:
        heads = x.view(*x.shape[:2], 3, 8)
        axis = 2
        if self.is_by_head:
            heads, axis = heads.transpose(1, 2), 1
        both = torch.cat([angles, angles], dim=-1)
        first, second = heads[..., :4], heads[..., 4:]
        turned = torch.cat([-second, first], dim=-1)
        return heads * both.cos().unsqueeze(axis) + turned * both.sin().unsqueeze(axis)


def export(
    folder: Path, module: nn.Module, inputs: Sequence[Tensor], open_axes: Sequence[dict]
) -> tuple[Path, Path]:
    """Return the file of a module with its constants folded, and the one that is rewritten."""
    raw, before, after = (folder / f"{name}.onnx" for name in ("raw", "before", "after"))
    torch.onnx.export(
        module.eval(),
        tuple(inputs),
        raw,
        dynamo=True,
        opset_version=18,
        input_names=[f"x{index}" for index in range(len(inputs))],
        output_names=["y"],
        dynamic_shapes=tuple(open_axes),
        verbose=False,
    )
    optimise_graph(raw, before, is_fused=False)
    after.write_bytes(before.read_bytes())
    rewrite_file(after)
    return before, after


def count_operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx_ir.load(path).graph)


def run(path: Path, *arrays: np.ndarray) -> np.ndarray:
    (outputs,) = run_file(path, [{f"x{index}": one for index, one in enumerate(arrays)}])
    return outputs["y"]


def draw(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


OPEN = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}


def test_a_norm_is_one_node(tmp_path: Path):
    before, after = export(tmp_path, Norm(), [torch.randn(2, 5, 24)], [OPEN])
    assert count_operators(after) == {"SimplifiedLayerNormalization": 1}
    x = draw(3, 7, 24) * 4
    np.testing.assert_allclose(run(after, x), run(before, x), rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("is_by_head", [False, True])
def test_a_rotation_is_one_node_for_every_row_and_position(tmp_path: Path, is_by_head: bool):
    inputs = [torch.randn(2, 5, 24), torch.randn(2, 5, 4)]
    before, after = export(tmp_path, Rotation(is_by_head=is_by_head), inputs, [OPEN, OPEN])
    operators = count_operators(after)
    assert operators["RotaryEmbedding"] == 1 and not operators["Neg"] and not operators["Concat"]
    for rows, positions in ((1, 1), (3, 7)):
        x, angles = draw(rows, positions, 24), draw(rows, positions, 4) * 5
        np.testing.assert_allclose(run(after, x, angles), run(before, x, angles), atol=2e-6)


@pytest.mark.parametrize(
    ("size", "padding"), [((7, 7), (3, 3)), ((3, 3), (1, 1)), ((4, 2), (1, 0)), ((1, 1), (0, 0))]
)
def test_a_stride_over_pixels_is_folded(tmp_path: Path, size, padding):
    module = nn.Conv2d(3, 8, size, stride=2, padding=padding)
    before, after = export(tmp_path, module, [torch.randn(2, 3, 32, 32)], [{}])
    operators = count_operators(after)
    assert operators["SpaceToDepth"] == 1
    (convolution,) = (one for one in onnx.load(after).graph.node if one.op_type == "Conv")
    strides = next(one.ints for one in convolution.attribute if one.name == "strides")
    assert list(strides) == [1, 1]
    x = draw(2, 3, 32, 32)
    np.testing.assert_allclose(run(after, x), run(before, x), atol=2e-6)


def test_convolutions_of_maps_and_of_other_strides_stay(tmp_path: Path):
    for name, module in (
        ("maps", nn.Conv2d(8, 8, 3, stride=2, padding=1)),
        ("patches", nn.Conv2d(3, 8, 4, stride=4)),
    ):
        (tmp_path / name).mkdir()
        sides = (2, module.in_channels, 16, 16)
        before, after = export(tmp_path / name, module, [torch.randn(sides)], [{}])
        assert count_operators(after) == count_operators(before)


class Heads(nn.Module):
    """Cuts channels into heads, with sizes that stay open."""

    def forward(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], 3, 8).relu().flatten(2)


def test_shapes_of_open_sizes_are_constants(tmp_path: Path):
    before, after = export(tmp_path, Heads(), [torch.randn(2, 5, 24)], [OPEN])
    assert count_operators(before)["Concat"] and not count_operators(after)["Concat"]
    x = draw(3, 7, 24)
    assert np.array_equal(run(after, x), run(before, x))
