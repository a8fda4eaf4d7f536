"""Every graph is read by NVIDIA's own parser, and the small ones are compiled, without a GPU."""

from __future__ import annotations

import onnx
import pytest
from onnx import helper

from tests.export.rtx.rtx_plans import PRECISIONS, build_small, count_layers
from tests.runtime.onnxruntime_backend.onnx_files import write_mapper
from vl2_ros.errors import EngineError

pytestmark = pytest.mark.tensorrt_rtx

EMBEDDED = ("vision_encoder", "language_model", "detection_backbone", "detection_decoder")
LANGUAGE_SIDE = ("vision_encoder", "region_encoder", "language_model")
DECODERS = ("detection_backbone", "detection_decoder", "pose_backbone", "pose_decoder")


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        *((name, "float32") for name in EMBEDDED),
        *((name, "float16") for name in ("vision_encoder", "language_model")),
        # Its export takes a minute.
        pytest.param("detection_decoder", "float16", marks=pytest.mark.slow),
    ],
)
def test_embedded_graphs_are_parsed(find_embedded, name, precision):
    # A backbone is convolutions alone.
    least = 200 if name == "detection_backbone" else 300
    assert count_layers(find_embedded(name, precision)) > least


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", [*LANGUAGE_SIDE, *DECODERS])
def test_graphs_of_the_released_architecture_are_parsed(export, name, precision):
    """Of the tiny network that the other tests of the exporter read as well."""
    assert count_layers(export(name, precision).path) > 100


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", LANGUAGE_SIDE)
def test_the_language_side_of_the_tiny_release_is_parsed_and_compiled(
    find_release, tmp_path, name, precision
):
    path, stages = find_release(name, precision), set()
    assert count_layers(path) > 100
    file = build_small(
        path, tmp_path / "r.plan", name, progress=lambda one: stages.add((one.stage, one.share))
    )
    assert file.path.read_bytes()[:4] == b"vtrt"
    assert len(stages) > 10 and max(share for _, share in stages) == 1


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", DECODERS)
def test_decoders_of_the_tiny_release_are_parsed_and_compiled(
    find_release, tmp_path, name, precision
):
    path = find_release(name, precision)
    assert count_layers(path) > 1000
    assert build_small(path, tmp_path / "d.plan", name).path.stat().st_size > 1 << 20


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_graphs_are_compiled(find_embedded, tmp_path, name):
    """Their weights lie beside them, in the checkpoint; the plan holds them."""
    file = build_small(find_embedded(name, "float32"), tmp_path / "e.plan", name)
    assert file.path.stat().st_size > 4 << 20


def test_a_named_target_makes_another_plan(tmp_path):
    path = write_mapper(tmp_path / "m.onnx")
    plans = [
        build_small(path, tmp_path / "m.plan", "prompt_mapper", targets)
        for targets in ((), ("8.6", "8.9"), ("7.5",))
    ]
    assert len({one.sha256 for one in plans}) == 3
    assert [one.built_for for one in plans] == [
        "any GPU from 8.0",
        "compute capability 8.6, 8.9",
        "compute capability 7.5",
    ]


def test_a_planted_operator_fails_by_the_name_of_its_node(tmp_path):
    path = write_mapper(tmp_path / "m.onnx")
    model = onnx.load(path)
    nodes = model.graph.node
    last = nodes[-1].output[0]
    nodes[-1].output[0] = "before"
    nodes.append(helper.make_node("Bernoulli", ["before"], [last], name="planted"))
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"cannot read .*node 'planted' \(Bernoulli\)"):
        build_small(path, tmp_path / "m.plan", "prompt_mapper")
    assert not (tmp_path / "m.plan").exists()


def test_a_target_that_the_library_lacks_is_named(tmp_path):
    path = write_mapper(tmp_path / "m.onnx")
    with pytest.raises(EngineError, match=r"capability 7\.5, 8\.0, 8\.6, .*, got 8\.7; .*tensorrt"):
        build_small(path, tmp_path / "m.plan", "prompt_mapper", ("8.7",))
