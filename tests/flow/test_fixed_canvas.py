"""Decoders that take a few canvases only get every image on one of them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.flow.see_through import put_behind_image
from tests.runtime.onnxruntime_backend.onnx_files import read_one, write_decoder
from tests.runtime.tensorrt_backend.fake_tensorrt import VERSIONS, install
from tests.runtime.tensorrt_backend.test_tensorrt_engine import build, load
from vl2_ros.flow.branches import Condition, decode_branches
from vl2_ros.geometry import CanvasRange
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.results.detection_branch import InstanceLimits
from vl2_ros.runtime.engine import Engines
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.structures import Frame, Route

#: As the released network: its Swin fixes 800x1344, here at a tenth.
CONFIG = ProcessingConfig(
    decoder_short=80, decoder_long=133, decoder_multiple=32, segment_short=51, segment_long=204
)
CANVAS = (80, 134)
SIDES = ("height", "width", "map_h.0", "map_w.0")
SIZES = [
    *((480, 640), (720, 1280), (1080, 1920), (1200, 1600), (640, 480), (1280, 720)),
    *((500, 500), (376, 1241), (64, 2000), (2000, 64), (1, 1), (1, 300)),
]
LIMITS = InstanceLimits(score_threshold=0.0, max_instances=5)
CONDITIONS = [
    Condition(route, "mug", np.ones((4, 8), np.float32)) for route in (Route.DETECT, Route.SEGMENT)
]


def assert_whole_frame_is_found(engine, hw: tuple[int, int]) -> None:
    """One box and one mask, both of the whole frame in camera pixels."""
    frame = Frame(np.full((*hw, 3), 90, np.uint8))
    engines = Engines(None, None, put_behind_image(engine))
    for branch in decode_branches(engines, CONFIG, frame, CONDITIONS, LIMITS):
        (box,), (mask,) = branch.detections.boxes_xyxy, branch.detections.masks
        np.testing.assert_allclose(box, [0, 0, hw[1], hw[0]], atol=1e-3)
        assert mask.shape == hw
        # At the far corner the padding of both sides is interpolated.
        assert mask[0].all() and mask[:, 0].all() and mask.mean() > 0.99


@pytest.mark.parametrize("hw", SIZES)
def test_a_file_of_one_canvas_takes_every_image(tmp_path, hw):
    engine = OnnxEngine(
        read_one(write_decoder(tmp_path / "d.onnx", hw=CANVAS), "detection_decoder")
    )
    assert engine.info.canvases == (CanvasRange(CANVAS, CANVAS),)
    assert_whole_frame_is_found(engine, hw)


@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("sides", [(80, "width"), ("height", 134)])
def test_a_file_that_fixes_one_side_takes_every_image(tmp_path, hw, sides):
    path = write_decoder(tmp_path / "d.onnx", hw=sides)
    engine = OnnxEngine(read_one(path, "detection_decoder"))
    (canvas,) = engine.info.canvases
    fixed = [least == most for least, most in zip(canvas.least_hw, canvas.most_hw, strict=True)]
    assert fixed == [isinstance(side, int) for side in sides]
    assert_whole_frame_is_found(engine, hw)


def test_a_file_of_open_sides_and_a_graph_without_padding_name_no_canvas(tmp_path):
    path = write_decoder(tmp_path / "d.onnx")
    engine = OnnxEngine(read_one(path, "detection_decoder"))
    assert engine.info.canvases == ()
    assert_whole_frame_is_found(engine, (48, 64))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_plan_may_have_a_range_for_each_aspect(tmp_path, monkeypatch, version):
    trt = install(monkeypatch, version)
    short, long = (64, 64, 96), (96, 128, 160)
    shapes = [
        {"classes": (1, 1, 4), **dict(zip(SIDES, sides, strict=True))}
        for sides in ((short, long) * 2, (long, short) * 2)
    ]
    path = write_decoder(tmp_path / "d.onnx")
    engine = load(trt, build(trt, path, "detection_decoder", shapes))
    assert engine.info.canvases == (
        CanvasRange((64, 96), (96, 160)),
        CanvasRange((96, 64), (160, 96)),
    )
    for hw in SIZES:
        assert_whole_frame_is_found(engine, hw)
