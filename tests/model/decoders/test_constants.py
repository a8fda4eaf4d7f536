from __future__ import annotations

import torch

from vl2_ros.model.decoders.attention.constants import make_constant

CPU = torch.device("cpu")
SIZES = ((16, 24), (8, 12))


def test_the_same_values_are_the_same_tensor():
    first = make_constant(SIZES, device=CPU, dtype=torch.float32)
    assert first.tolist() == [[16.0, 24.0], [8.0, 12.0]]
    assert make_constant(SIZES, device=CPU, dtype=torch.float32) is first
    assert make_constant(SIZES, device=CPU, dtype=torch.int64).dtype == torch.int64


def test_one_made_in_inference_mode_serves_training_later():
    with torch.inference_mode():
        make_constant((3, 5), device=CPU, dtype=torch.float32)
    weights = torch.ones(2, requires_grad=True)
    (weights * make_constant((3, 5), device=CPU, dtype=torch.float32)).sum().backward()
    assert weights.grad.tolist() == [3.0, 5.0]


def test_export_keeps_nothing_of_its_own_in_the_store():
    class Scaled(torch.nn.Module):
        def forward(self, x):
            return x * make_constant((7, 9), device=x.device, dtype=x.dtype)

    program = torch.export.export(Scaled(), (torch.ones(2),)).module()
    assert program(torch.ones(2)).tolist() == [7.0, 9.0]
    kept = make_constant((7, 9), device=CPU, dtype=torch.float32)
    assert type(kept) is torch.Tensor and kept.tolist() == [7.0, 9.0]
