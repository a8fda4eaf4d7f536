"""The float16 form of a module: narrow where it may be, float32 where boxes depend on it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.export.exported_graphs import FIXED_HW, OPEN, make_model
from vl2_ros.export.engine_folder import fixed_axes, size_maps
from vl2_ros.export.onnx_export import make_example
from vl2_ros.export.precision import GraphForm
from vl2_ros.model.decoders.prediction_heads import FloatMLP
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import GraphSpec, TensorSpec

HALVES = GraphSpec(
    "halves",
    (TensorSpec("rows", "float32", (2, 4)),),
    (TensorSpec("wide", "float32", (2, 4)), TensorSpec("kept", "float32", (2, 4), narrows=True)),
    {},
)


class Watched(nn.Module):
    """Records the dtypes that its functions work in."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)
        self.norm = nn.LayerNorm(4)

    def forward(self, rows):
        states = self.inner(rows.half())
        # Larger than the largest float16 when squared, as the norm does.
        large = self.norm(states * 0 + torch.tensor([300.0, -300.0, 200.0, 0.0]).half())
        assert states.dtype == large.dtype == torch.float16
        return large.softmax(-1), states


def test_normalisation_and_softmax_do_not_overflow():
    form = GraphForm(Watched(), HALVES, "float16")
    wide, kept = form(torch.randn(2, 4))
    assert (wide.dtype, kept.dtype) == (torch.float32, torch.float16)
    assert form.module.norm.weight.dtype == torch.float32
    assert form.module.inner.weight.dtype == torch.float16
    row = torch.tensor([300.0, -300.0, 200.0, 0.0])
    expected = torch.nn.functional.layer_norm(row, (4,)).softmax(-1)
    torch.testing.assert_close(wide, expected.expand(2, -1), rtol=0, atol=1e-3)


def test_box_heads_keep_their_weights_wide():
    model = make_model()
    GraphForm(build_graph(model, "detection_decoder"), HALVES, "float16")
    heads = [part for part in model.detection_decoder.modules() if isinstance(part, FloatMLP)]
    assert len(heads) >= 3
    assert all(weight.dtype == torch.float32 for one in heads for weight in one.parameters())
    assert model.detection_decoder.levels.level_embed.dtype == torch.float16
    # What is not part of the graph stays as it is.
    assert model.llm.lm_head.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["vision_encoder", "language_model", "pose_decoder"])
@torch.inference_mode()
def test_the_narrow_form_stays_near_in_eager_torch(name):
    model, reference = make_model(), make_model()
    spec = spec_of(model, name)
    axes = fixed_axes(model) | OPEN | FIXED_HW
    axes |= size_maps(model, name, axes)
    form = GraphForm(build_graph(model, name), spec, "float16")
    outputs = form(*make_example(spec, axes, "float16"))
    expected = build_graph(reference, name)(*make_example(spec, axes))
    for tensor, output, wanted in zip(spec.outputs, outputs, expected, strict=True):
        assert str(output.dtype) == f"torch.{tensor.dtype_at('float16')}"
        difference = (output.float() - wanted).abs().max() / wanted.abs().max()
        assert 0 < difference <= spec.tolerance["float16"], tensor.name
