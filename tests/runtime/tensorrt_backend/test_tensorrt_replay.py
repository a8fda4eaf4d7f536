"""Optimisation profiles of fixed shapes become CUDA graphs; the stand-in computes on the device."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from tests.runtime.host_memory import HostMemory
from tests.runtime.onnxruntime_backend.onnx_files import write_mapper
from tests.runtime.tensorrt_backend import fake_tensorrt
from tests.runtime.tensorrt_backend.fake_tensorrt import IExecutionContext, install
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.tensorrt_backend.build import PlanOrder, build_plan
from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

FIXED, OPEN = {"image_slots": (4, 4, 4)}, {"image_slots": (5, 6, 8)}


class OnDevice:
    """Device memory at an address, for torch to read and write without a copy."""

    def __init__(self, address: int, shape: tuple[int, ...]) -> None:
        self.__cuda_array_interface__ = {
            "data": (address, False),
            "shape": shape,
            "strides": None,
            "typestr": "<f4",
            "version": 3,
        }


class DeviceContext(IExecutionContext):
    """Computes `prompt_mapper` with kernels on the stream that it is given."""

    def execute_async_v3(self, stream_handle):
        self.calls.append(("execute", stream_handle))
        shapes = {"super_link": self.shapes["super_link"], "prompt_embeds": (1, 77, 8)}
        states, embeds = (
            torch.as_tensor(OnDevice(self.addresses[name], shape), device="cuda")
            for name, shape in shapes.items()
        )
        with torch.cuda.stream(torch.cuda.ExternalStream(stream_handle)):
            embeds.copy_(states.sum(1, keepdim=True).expand(1, 77, 8))
        return True


@pytest.fixture
def trt(monkeypatch):
    return install(monkeypatch, "tensorrt 10.3.0")


def build(trt, folder: Path) -> EngineFile:
    onnx, plan = write_mapper(folder / "m.onnx"), folder / "m.plan"
    order = PlanOrder("prompt_mapper", [FIXED, OPEN], workspace_bytes=1 << 20)
    build_plan(onnx, plan, order, trt.library)
    sha256 = hashlib.sha256(plan.read_bytes()).hexdigest()
    return EngineFile("prompt_mapper", plan, sha256, "float32", {})


def load(trt, folder: Path, **options):
    file = build(trt, folder)
    trusted = TrustedPlans(folder / "trusted", [file.sha256])
    return TensorRTEngine(file, trt.library, trusted=trusted, **options)


@pytest.mark.parametrize(("replay", "recorded"), [(True, [0]), (False, [])])
def test_only_profiles_of_fixed_shapes_are_recorded(trt, tmp_path, monkeypatch, replay, recorded):
    made, called = [], []

    def record(call, *, most_shapes):
        made.append((call.args[0], most_shapes))
        return lambda *tensors: called.append(call.args[0]) or call(*tensors)

    monkeypatch.setattr("vl2_ros.runtime.tensorrt_backend.engine.GraphReplay", record)
    engine = load(trt, tmp_path, memory=HostMemory(), replay=replay)
    for slots in (4, 6, 8):
        output = engine.run({"super_link": torch.ones(1, slots, 8)})["prompt_embeds"]
        assert (output == slots).all()
    assert made == [(index, 1) for index in recorded] and called == recorded


@pytest.mark.gpu
def test_fixed_shapes_are_replayed_and_right(trt, tmp_path, monkeypatch):
    monkeypatch.setattr(fake_tensorrt, "IExecutionContext", DeviceContext)
    engine = load(trt, tmp_path)
    fixed, outputs, executions = [], [], []
    for index in range(6):
        fixed.append(torch.randn(1, 4, 8, device="cuda"))
        outputs.append(engine.run({"super_link": fixed[-1]})["prompt_embeds"])
        # Another profile in between must not disturb the recording.
        six = engine.run({"super_link": torch.full((1, 6, 8), float(index))})["prompt_embeds"]
        assert bool((six == 6 * index).all())
        calls = trt.module.Runtime.engines[-1].contexts[0].calls
        executions.append(sum(call[0] == "execute" for call in calls))
    # Once as it is, then recorded with its warm-ups, from then on Python rests.
    assert executions[0] == 1 and executions[1] > 1 and set(executions[2:]) == {executions[1]}
    for given, output in zip(fixed, outputs, strict=True):
        expected = given.sum(1, keepdim=True).expand(1, 77, 8)
        torch.testing.assert_close(output, expected)
