"""Graphs as ONNX files: equal to torch for every size that may come, with nothing else in."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from tests.export.exported_graphs import make_model, open_session
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.export.engine_folder import fixed_axes
from vl2_ros.export.onnx_export import OPSET, export_onnx
from vl2_ros.model.graph_modules import build_graph, spec_of
from vl2_ros.model.graphs import GraphSpec, TensorSpec

PRECISIONS = ("float32", "float16")
ROWS = GraphSpec(
    "rows",
    (TensorSpec("rows", "float32", ("count", 4)),),
    (TensorSpec("result", "float32", ("count", 4)),),
    {"float32": 1e-6},
)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(1, 2, 4))

    def forward(self, rows):
        return (rows * self.weight,)


class Weighted(nn.Module):
    """Has enough weights to be stored at half their size."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 256))

    def forward(self, rows):
        return (rows @ self.weight @ self.weight.T,)


class Mistake(nn.Module):
    """Uses an operator that TensorRT's parser lacks."""

    def forward(self, rows):
        return (torch.linalg.det(torch.einsum("ni,nj->nij", rows, rows))[:, None].expand(-1, 4),)


class Counting(nn.Module):
    """Makes a constant of the number of rows, by a loop over them."""

    def forward(self, rows):
        return (torch.stack([row + index for index, row in enumerate(rows)]),)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("tiles", [1, 4])
def test_vision_encoder_takes_any_number_of_tiles(export, precision, tiles):
    graph = export("vision_encoder", precision)
    graph.check(graph.inputs(tiles=tiles))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    ("rows", "tokens", "past"), [(1, 11, 0), (1, 1, 11), (1, 1, 1), (3, 5, 3), (2, 1, 0)]
)
def test_language_model_reads_prompts_and_steps_with_one_graph(
    export, precision, rows, tokens, past
):
    graph = export("language_model", precision)
    inputs = graph.inputs(rows=rows, tokens=tokens, past=past)
    inputs["token_mask"][-1, 1:2] = inputs["past_mask"][-1, :2] = False
    found = graph.check(inputs)
    for name in ("keys.0", "values.1"):
        assert found[name].dtype == precision and found[name].shape[2] == tokens + past
    assert found["logits"].shape[:2] == (rows, tokens)
    assert found["logits"].dtype == found["hidden"].dtype == np.float32


@pytest.mark.parametrize("precision", PRECISIONS)
def test_region_encoder_takes_any_number_of_regions_on_any_tile(export, precision):
    graph = export("region_encoder", precision)
    inputs = graph.inputs(tiles=2, regions=5)
    inputs["tile_index"] = torch.tensor([0, 1, 1, 0, 1])
    inputs["masks"] = (torch.rand(inputs["masks"].shape) > 0.5).float()
    graph.check(inputs)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("part", ["detection", "pose"])
def test_the_image_branch_of_a_decoder_gives_the_maps_that_it_takes(export, part, precision):
    branch = export(f"{part}_backbone", precision)
    found = branch.check(branch.inputs(rows=3))
    decoder = export(f"{part}_decoder", precision)
    taken = {one.name: one for one in decoder.spec.inputs if one.name.startswith("maps.")}
    wanted = decoder.inputs(rows=3)
    assert {name: one.shape for name, one in found.items()} == {
        name: wanted[name].shape for name in taken
    }
    assert {one.dtype.name for one in found.values()} == {precision}


@pytest.mark.slow
@pytest.mark.parametrize(("rows", "classes"), [(1, 1), (1, 9), (3, 4)])
def test_detection_decoder_takes_any_number_of_classes_and_a_padded_image(export, rows, classes):
    graph = export("detection_decoder")
    inputs = graph.inputs(rows=rows, classes=classes)
    inputs["pixel_mask"][:, 50:] = False
    inputs["pixel_mask"][:, :, 80:] = False
    inputs["class_mask"][-1, max(1, classes - 2) :] = False
    graph.check(inputs)


@pytest.mark.slow
def test_detection_decoder_in_float16_stays_near_on_its_queries(export):
    graph = export("detection_decoder", "float16")
    graph.check(graph.clear_inputs(classes=4))


@pytest.mark.slow
@pytest.mark.parametrize(("height", "width"), [(64, 96), (96, 64), (128, 128), (32, 96)])
def test_a_decoder_on_resnet_takes_images_of_any_size(export, height, width):
    branch = export("detection_backbone", backbone="resnet")
    branch.check(branch.inputs(height=height, width=width))
    graph = export("detection_decoder", backbone="resnet")
    inputs = graph.inputs(height=height, width=width, classes=2)
    inputs["pixel_mask"][:, :, width - 9 :] = False
    graph.check(inputs)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("classes", "keypoints"), [(1, 17), (3, 4)])
def test_pose_decoder_takes_any_number_of_classes_and_keypoints(
    export, precision, classes, keypoints
):
    graph = export("pose_decoder", precision)
    inputs = graph.inputs(classes=classes, keypoints=keypoints)
    inputs["keypoint_mask"][:, keypoints - 1 :] = False
    graph.check(inputs)


def test_files_name_open_axes_as_the_table_does_and_fix_all_others(export):
    graph = export("language_model")
    shapes = {one.name: one.shape for one in open_session(graph.path).get_inputs()}
    assert shapes["input_embeds"] == ["rows", "tokens", 64]
    assert shapes["token_mask"] == ["rows", "tokens"]
    assert shapes["past_keys.0"] == shapes["past_values.1"] == ["rows", 2, "past", 16]
    session = open_session(export("vision_encoder").path)
    assert [one.shape for one in session.get_inputs()] == [["tiles", 3, 56, 56]]


def test_files_say_nothing_of_the_machine_and_the_code_that_made_them(export):
    path = export("vision_encoder").path
    model = onnx.load(path)
    assert [one.version for one in model.opset_import if not one.domain] == [OPSET]
    assert not model.metadata_props and not model.doc_string and not model.graph.doc_string
    for one in (*model.graph.node, *model.graph.value_info, *model.graph.input):
        assert not one.doc_string and not one.metadata_props
    content = path.read_bytes()
    for word in (b"/work", b"/home", b"/tmp", b"site-packages", b".py", b"Traceback"):
        assert word not in content


def test_the_same_graph_gives_the_same_bytes(export, tmp_path):
    first = export("region_encoder")
    model = make_model()
    again = tmp_path / "again.onnx"
    export_onnx(build_graph(model, "region_encoder"), first.spec, first.axes, again)
    assert again.read_bytes() == first.path.read_bytes()


def test_large_weights_go_into_a_file_beside_the_graph(export, tmp_path):
    inside = export("vision_encoder")
    model = make_model()
    path = tmp_path / "vision_encoder.onnx"
    module = build_graph(model, "vision_encoder")
    export_onnx(module, inside.spec, inside.axes, path, most_inline_bytes=10_000)
    beside = tmp_path / "vision_encoder.onnx.data"
    assert path.stat().st_size < inside.path.stat().st_size / 2 < beside.stat().st_size
    inputs = {name: one.numpy() for name, one in inside.inputs(tiles=2).items()}
    for one, other in zip(
        open_session(path).run(None, inputs),
        open_session(inside.path).run(None, inputs),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)


def test_compact_files_are_smaller_and_give_the_same_numbers(export, tmp_path):
    model = make_model()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half())
    spec = spec_of(model, "vision_encoder")
    axes = fixed_axes(model) | {"tiles": (1, 3, 8)}
    module = build_graph(model, "vision_encoder")
    outputs, sizes = [], []
    for is_compact in (False, True):
        path = tmp_path / f"{is_compact}.onnx"
        export_onnx(module, spec, axes, path, is_compact=is_compact)
        inputs = {name: one.numpy() for name, one in export(spec.name).inputs(tiles=2).items()}
        outputs.append(open_session(path).run(None, inputs))
        sizes.append(path.stat().st_size)
    assert sizes[1] < 0.75 * sizes[0]
    for plain, compact in zip(*outputs, strict=True):
        np.testing.assert_array_equal(plain, compact)


def test_weights_that_float16_cannot_hold_stay_as_they_are(tmp_path):
    torch.manual_seed(0)
    module = Weighted()
    axes = {"count": (1, 3, 8)}
    export_onnx(module, ROWS, axes, tmp_path / "plain.onnx")
    export_onnx(module, ROWS, axes, tmp_path / "compact.onnx", is_compact=True)
    assert (tmp_path / "plain.onnx").read_bytes() == (tmp_path / "compact.onnx").read_bytes()
    with torch.no_grad():
        module.weight.copy_(module.weight.half())
    export_onnx(module, ROWS, axes, tmp_path / "halves.onnx", is_compact=True)
    assert (tmp_path / "halves.onnx").read_bytes() != (tmp_path / "plain.onnx").read_bytes()


def test_an_operator_outside_of_the_table_fails_the_export_by_name(tmp_path):
    path = tmp_path / "rows.onnx"
    with pytest.raises(EngineError, match=r"rows\.onnx .*Det 'n.*not supported"):
        export_onnx(Mistake(), ROWS, {"count": (1, 3, 8)}, path)
    assert not list(tmp_path.iterdir())
    export_onnx(Mistake(), ROWS, {"count": (1, 3, 8)}, path, is_checked=False)
    assert path.is_file()


def test_a_module_that_closes_an_open_axis_is_refused(tmp_path):
    with pytest.raises(EngineError, match="(?s)graph rows cannot be exported.*static shape of 3"):
        export_onnx(Counting(), ROWS, {"count": (1, 3, 8)}, tmp_path / "rows.onnx")


def test_a_range_of_one_size_fixes_the_axis(tmp_path):
    export_onnx(Scale(), ROWS, {"count": (1, 1, 1)}, tmp_path / "rows.onnx")
    (one,) = open_session(tmp_path / "rows.onnx").get_inputs()
    assert one.shape == [1, 4]


def test_the_size_of_every_axis_is_asked_for(tmp_path):
    with pytest.raises(ConfigError, match="rows needs the size of the axis 'count'"):
        export_onnx(Scale(), ROWS, {"other": 3}, tmp_path / "rows.onnx")


def test_an_unknown_precision_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="float32 or float16, got 'int8'"):
        export_onnx(Scale(), ROWS, {"count": 3}, tmp_path / "rows.onnx", precision="int8")
