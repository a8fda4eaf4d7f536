"""What a position reads has the same bits whatever shares its call and the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir
import pytest
import torch
from torch import Tensor, nn

from vl2_ros.export.quantized.cpu_operators import rewrite_file
from vl2_ros.runtime.onnxruntime_backend.engine import optimise_graph, run_file

WIDTH = 64
LOWEST = torch.finfo(torch.float32).min


class Attention(nn.Module):
    """Queries (B, H, S, D) of which each reads the positions that it sees (B, S, T)."""

    def __init__(self, *, is_masked: bool = True) -> None:
        super().__init__()
        self.is_masked = is_masked

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
        scores = queries @ keys.transpose(2, 3) * WIDTH**-0.5
        hidden = torch.zeros_like(seen, dtype=scores.dtype).masked_fill(~seen, LOWEST)
        if not self.is_masked:
            hidden = hidden[:, :1]
        return (scores + hidden.unsqueeze(1)).softmax(-1) @ values


def export(folder: Path, module: nn.Module) -> tuple[Path, Path]:
    """Return the file of an attention with its constants folded, and the one that is rewritten."""
    raw, before, after = (folder / f"{name}.onnx" for name in ("raw", "before", "after"))
    rows, queries, positions = (torch.export.Dim(name, min=1, max=512) for name in "rqp")
    torch.onnx.export(
        module.eval(),
        (*(torch.zeros(2, 4, size, WIDTH) for size in (3, 9, 9)), torch.ones(2, 3, 9).bool()),
        raw,
        dynamo=True,
        opset_version=18,
        input_names=["queries", "keys", "values", "seen"],
        output_names=["y"],
        dynamic_shapes=(
            {0: rows, 2: queries},
            {0: rows, 2: positions},
            {0: rows, 2: positions},
            {0: rows, 1: queries, 2: positions},
        ),
        verbose=False,
    )
    optimise_graph(raw, before, is_fused=False)
    after.write_bytes(before.read_bytes())
    rewrite_file(after)
    return before, after


class Inputs:
    """Drawn inputs of an attention over a number of positions, each seeing those before it."""

    def __init__(self, positions: int, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        shape = (1, 4, positions, WIDTH)
        self.queries, self.keys, self.values = rng.standard_normal((3, *shape), dtype=np.float32)
        # Of different sizes, as those of a trained network are.
        self.queries *= np.float32(4)
        self.seen = np.tri(positions, dtype=np.bool_)[None]

    def pick(self, begin: int, end: int) -> dict[str, np.ndarray]:
        """Return the call of queries from begin to end, with the positions up to there."""
        return {
            "queries": self.queries[:, :, begin:end],
            "keys": self.keys[:, :, :end],
            "values": self.values[:, :, :end],
            "seen": self.seen[:, begin:end, :end],
        }


def run(path: Path, *calls: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [outputs["y"] for outputs in run_file(path, calls)]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return export(tmp_path_factory.mktemp("attention"), Attention())


def test_an_attention_gives_the_same_numbers(graphs: tuple[Path, Path]):
    inputs = Inputs(40)
    call = inputs.pick(0, 40)
    # A query that sees nothing reads all alike, as it did.
    call["seen"] = call["seen"].copy()
    call["seen"][:, 7] = False
    (expected,), (given,) = (run(path, call) for path in graphs)
    np.testing.assert_allclose(given, expected, atol=2e-6)


@pytest.mark.parametrize("positions", [9, 70, 111, 300])
def test_single_queries_read_the_same_bits_as_many(graphs: tuple[Path, Path], positions: int):
    inputs = Inputs(positions)
    begin = positions // 2
    single = [inputs.pick(index, index + 1) for index in range(begin, positions)]
    whole, rest, *each = run(
        graphs[1], inputs.pick(0, positions), inputs.pick(begin, positions), *single
    )
    assert np.array_equal(rest, whole[:, :, begin:])
    assert np.array_equal(np.concatenate(each, axis=2), whole[:, :, begin:])


@pytest.mark.parametrize("dropped", [1, 7, 23])
def test_positions_that_nothing_sees_change_no_bit(graphs: tuple[Path, Path], dropped: int):
    inputs, other = Inputs(90), Inputs(dropped, seed=4)
    call = inputs.pick(60, 90)
    wider = {"queries": call["queries"]}
    for name, axis in (("keys", 2), ("values", 2)):
        before, behind = np.split(call[name], [50], axis=axis)
        wider[name] = np.concatenate([before, getattr(other, name), behind], axis=axis)
    before, behind = np.split(call["seen"], [50], axis=2)
    unseen = np.zeros((1, 30, dropped), np.bool_)
    wider["seen"] = np.concatenate([before, unseen, behind], axis=2)
    expected, given = run(graphs[1], call, wider)
    assert np.array_equal(given, expected)


def test_rows_beside_it_change_no_bit(graphs: tuple[Path, Path]):
    inputs, other = Inputs(50), Inputs(50, seed=4)
    call, beside = inputs.pick(49, 50), other.pick(49, 50)
    both = {name: np.concatenate([call[name], beside[name]]) for name in call}
    alone, together = run(graphs[1], call, both)
    assert np.array_equal(together[:1], alone)


def test_an_attention_that_is_masked_by_position_alone_stays(tmp_path: Path):
    before, after = export(tmp_path, Attention(is_masked=False))
    operators = [[node.op_type for node in onnx_ir.load(path).graph] for path in (before, after)]
    assert "Softmax" in operators[1] and "FusedMatMul" not in operators[1]
    assert operators[0] == operators[1]
