from __future__ import annotations

import torch

from vl2_ros.model.decoders.attention.deformable_sampling import (
    export_for_cpu,
    exports_for_cpu,
    sample_by_grid,
    sample_by_matrix,
    sample_by_shares,
)

LEVELS = ((5, 7), (3, 4), (1, 2))


def make_inputs(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(seed)
    tokens = sum(height * width for height, width in LEVELS)
    values = torch.randn(6, tokens, 8, generator=source)
    # From far outside to far outside, borders included.
    points = torch.rand(6, 11, len(LEVELS), 4, 2, generator=source) * 3 - 1
    points[0, 0] = 0.0
    points[0, 1] = 1.0
    points[0, 2] = 1e6
    weights = torch.rand(6, 11, len(LEVELS), 4, generator=source)
    return values, points, weights


def read_maps(
    values: torch.Tensor,
    points: torch.Tensor,
    weights: torch.Tensor,
    level_sizes: tuple[tuple[int, int], ...],
) -> torch.Tensor:
    grids = (2 * points - 1).permute(2, 0, 3, 1, 4)
    by_level = weights.permute(2, 0, 3, 1)
    return sample_by_grid(values.transpose(1, 2), grids, by_level, level_sizes).transpose(1, 2)


def test_both_forms_give_the_same_samples_and_gradients() -> None:
    results = []
    for form in (sample_by_matrix, read_maps):
        inputs = [tensor.clone().requires_grad_() for tensor in make_inputs(1)]
        output = form(*inputs, LEVELS)
        (output * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        results.append([output.detach(), *(tensor.grad for tensor in inputs)])
    for matrix, grid in zip(*results, strict=True):
        torch.testing.assert_close(matrix, grid, atol=2e-5, rtol=1e-4)


def test_gradient_agrees_with_finite_differences() -> None:
    values, points, weights = (tensor[:1, :, :].double() for tensor in make_inputs(2))
    points = points.clamp(0.05, 0.95)
    inputs = tuple(t.clone().requires_grad_() for t in (values, points[:, :2], weights[:, :2]))
    assert torch.autograd.gradcheck(lambda *args: sample_by_matrix(*args, LEVELS), inputs)


def test_a_point_on_a_pixel_centre_reads_that_pixel() -> None:
    values = torch.arange(12.0).view(1, 12, 1)
    points = torch.tensor([(2 + 0.5) / 4, (1 + 0.5) / 3]).view(1, 1, 1, 1, 2)
    sampled = sample_by_matrix(values, points, torch.ones(1, 1, 1, 1), ((3, 4),))
    assert sampled.item() == 1 * 4 + 2


def test_shares_for_exported_graphs_give_the_same_samples() -> None:
    values, points, weights = make_inputs(3)
    for levels in (LEVELS, ((5, 7), (1, 12), (2, 1))):
        sizes = torch.tensor([[width, height] for height, width in levels])
        positions = points * sizes[:, None] - 0.5  # (R, Q, L, P, 2)
        tokens = sum(height * width for height, width in levels)
        sampled = sample_by_shares(
            values[:, :tokens].transpose(1, 2),
            positions.permute(0, 2, 3, 4, 1),
            weights.permute(0, 2, 3, 1),
            levels,
        )
        expected = sample_by_matrix(values[:, :tokens], points, weights, levels)
        torch.testing.assert_close(sampled.transpose(1, 2), expected, atol=2e-5, rtol=1e-4)


def test_graphs_of_few_tokens_alone_are_exported_with_shares() -> None:
    assert not exports_for_cpu()
    for tokens, expected in ((320, True), (1 << 20, False)):
        with export_for_cpu(tokens):
            assert exports_for_cpu() is expected
    assert not exports_for_cpu()
