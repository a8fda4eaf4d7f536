"""Decoders whose file fixes the canvas: every image that torch takes, and torch's result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.export.exported_graphs import FIXED_HW, Exported
from tests.runtime.onnxruntime_backend.onnx_files import read_one
from vl2_ros.flow.branches import Condition, decode_branches
from vl2_ros.geometry import CanvasRange, box_iou
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import EMBEDDED_WEIGHTS, load_pipeline
from vl2_ros.processing.config import ProcessingConfig
from vl2_ros.processing.results.detection_branch import InstanceLimits
from vl2_ros.recordings.bag import read_frames
from vl2_ros.runtime.engine import Engine, Engines, PerceptionDecoder
from vl2_ros.runtime.onnxruntime_backend.engine import OnnxEngine
from vl2_ros.runtime.torch_backend.engine import TorchEngine
from vl2_ros.structures import Branch, Frame, Route

HW = (FIXED_HW["height"], FIXED_HW["width"])
CANVAS = CanvasRange(HW, HW)
#: Long and short sides as for the canvas; the rule asks for other canvases with most images.
CONFIG = ProcessingConfig(
    decoder_short=HW[0], decoder_long=HW[1], segment_short=48, segment_long=160
)
#: Landscape, wide, portrait, square, ultra-wide, thin and a single pixel.
SIZES = [(480, 640), (720, 1280), (640, 480), (500, 500), (300, 1280), (900, 8), (1, 1)]
LIMITS = InstanceLimits(score_threshold=0.0, max_instances=20)
KINDS = ("mug", "bowl", "cube", "banana")


class OnCanvases:
    """An engine that takes a few canvases alone."""

    def __init__(self, engine: Engine, canvases: Sequence[CanvasRange]) -> None:
        self.info = replace(engine.info, canvases=tuple(canvases))
        self._engine = engine
        self.seen: list[tuple[int, ...]] = []

    def run(self, inputs, outputs=None):
        self.seen.append(inputs["pixel_mask"].shape[1:])
        return self._engine.run(inputs, outputs)


def as_torch(exported: Exported) -> TorchEngine:
    return TorchEngine(exported.spec, exported.module, torch.device("cpu"))


def put_behind(branch: Exported, backend: str, decoder: Engine) -> Engines:
    """Put a decoder behind its image branch on the same backend."""
    name = branch.spec.name
    torch_branch = as_torch(branch)
    image = OnnxEngine(read_one(branch.path, name)) if backend == "onnxruntime" else torch_branch
    return Engines(None, None, {decoder.info.graph: PerceptionDecoder(image, decoder)})


def draw(hw: tuple[int, int]) -> Frame:
    return Frame(np.random.default_rng(hw[0]).integers(0, 256, (*hw, 3), dtype=np.uint8))


def find(engines: Engines, frame: Frame, routes: Sequence[Route], width: int) -> list[Branch]:
    states = np.random.default_rng(7).normal(size=(len(routes), 4, width)).astype(np.float32)
    conditions = [
        Condition(route, f"thing {place}", one)
        for place, (route, one) in enumerate(zip(routes, states, strict=True))
    ]
    return decode_branches(engines, CONFIG, frame, conditions, LIMITS)


def assert_same(found: Branch, wanted: Branch) -> None:
    found_ones, wanted_ones = found.detections, wanted.detections
    np.testing.assert_allclose(found_ones.scores, wanted_ones.scores, atol=1e-4)
    extent = max(wanted_ones.boxes_xyxy.max(), 1)
    np.testing.assert_allclose(found_ones.boxes_xyxy, wanted_ones.boxes_xyxy, atol=1e-3 * extent)


@pytest.mark.slow
@pytest.mark.parametrize("hw", SIZES)
@pytest.mark.parametrize("route", [Route.DETECT, Route.SEGMENT])
def test_a_decoder_of_one_canvas_takes_every_image_as_torch_does(export, hw, route):
    branch, exported = export("detection_backbone"), export("detection_decoder")
    onnx = OnnxEngine(read_one(exported.path, "detection_decoder"))
    assert onnx.info.canvases == (CANVAS,)
    torch_engine = OnCanvases(as_torch(exported), [CANVAS])
    width = exported.axes["llm_width"]
    found, wanted = (
        find(put_behind(branch, backend, engine), draw(hw), [route] * 3, width)[0]
        for backend, engine in (("onnxruntime", onnx), ("torch", torch_engine))
    )
    assert torch_engine.seen == [HW]
    assert len(wanted.detections.scores) > 0
    assert_same(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("hw", [(480, 640), (640, 480), (300, 1280)])
def test_a_pose_decoder_of_one_canvas_takes_every_image_as_torch_does(export, hw):
    branch, exported = export("pose_backbone"), export("pose_decoder")
    onnx = OnnxEngine(read_one(exported.path, "pose_decoder"))
    torch_engine = OnCanvases(as_torch(exported), [CANVAS])
    routes = [Route.DETECT, Route.POSE, Route.POSE]
    found, wanted = (
        find(put_behind(branch, backend, engine), draw(hw), routes, exported.axes["llm_width"])[0]
        for backend, engine in (("onnxruntime", onnx), ("torch", torch_engine))
    )
    assert torch_engine.seen == [HW]
    assert_same(found, wanted)


def test_padding_moves_what_the_embedded_model_finds_by_less_than_a_tenth():
    """640x480 on a canvas a quarter wider than its own, as it is on 800x1344."""
    pipeline = load_pipeline(LoadOptions(device="cpu", backend="torch"))
    own = pipeline.engines
    parts = own.decoders["detection_decoder"]
    on_wide = OnCanvases(parts.decoder, [CanvasRange((192, 320), (192, 320))])
    wide_parts = PerceptionDecoder(parts.backbone, on_wide)
    for frame in list(read_frames(EMBEDDED_WEIGHTS / "demo" / "tabletop.mcap"))[:3]:
        pipeline.engines = own
        wanted = pipeline.detect(frame, KINDS, score_threshold=0.3).detections
        pipeline.engines = replace(own, decoders={"detection_decoder": wide_parts})
        found = pipeline.detect(frame, KINDS, score_threshold=0.05).detections
        assert len(wanted.scores) >= 4
        same = found.class_ids[:, None] == wanted.class_ids[None]
        overlaps = np.where(same, box_iou(found.boxes_xyxy, wanted.boxes_xyxy), 0)
        assert overlaps.max(axis=0).min() >= 0.9
    assert on_wide.seen == [(192, 320)] * 3
