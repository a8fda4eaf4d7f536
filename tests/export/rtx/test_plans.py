"""Plans of the real library up to the point that needs a GPU, each refusal with the next step."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.export.rtx.rtx_plans import build_small
from tests.runtime.host_memory import HostMemory
from tests.runtime.onnxruntime_backend.onnx_files import write_mapper
from vl2_ros.errors import EngineError
from vl2_ros.runtime.files.engine_files import EngineFile, EngineFiles
from vl2_ros.runtime.tensorrt_backend.engine import TensorRTEngine
from vl2_ros.runtime.tensorrt_backend.library import TENSORRT_RTX
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

pytestmark = pytest.mark.tensorrt_rtx


without_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")


@pytest.fixture(scope="module")
def plan(tmp_path_factory) -> EngineFile:
    folder = tmp_path_factory.mktemp("plan")
    return build_small(write_mapper(folder / "m.onnx"), folder / "m.plan", "prompt_mapper")


def load(file: EngineFile, memory: HostMemory | None = None) -> TensorRTEngine:
    trusted = TrustedPlans(file.path.parent / "trusted", [file.sha256])
    return TensorRTEngine(file, TENSORRT_RTX, trusted=trusted, memory=memory)


def rewrite(plan: EngineFile, folder: Path, content: bytes) -> EngineFile:
    """Store other bytes as a plan with a hash that fits."""
    path = folder / "other.plan"
    path.write_bytes(content)
    return replace(plan, path=path, sha256=hashlib.sha256(content).hexdigest())


@without_gpu
def test_without_a_gpu_one_line_says_what_is_missing(plan):
    with pytest.raises(EngineError, match="needs a CUDA device that torch sees") as caught:
        load(plan)
    assert "\n" not in str(caught.value)


@without_gpu
def test_what_the_library_says_of_a_whole_plan_without_a_driver_is_passed_on(plan):
    with pytest.raises(EngineError, match=r"cannot load .*CUDA driver version.*build it again"):
        load(plan, HostMemory())


def test_a_plan_that_was_cut_short_is_refused(plan, tmp_path):
    content = plan.path.read_bytes()
    cut = rewrite(plan, tmp_path, content[: len(content) // 2])
    with pytest.raises(
        EngineError, match=r"cannot load .*header\.size == blobSize.*build it again"
    ):
        load(cut, HostMemory())
    with pytest.raises(EngineError, match=r"damaged or was replaced.*export the engines again"):
        load(replace(cut, sha256=plan.sha256), HostMemory())


def test_a_file_that_is_no_plan_is_refused(plan, tmp_path):
    other = rewrite(plan, tmp_path, b"\0" * len(plan.path.read_bytes()))
    with pytest.raises(EngineError, match=r"cannot load .*magicTag.*build it again"):
        load(other, HostMemory())


@pytest.mark.parametrize("runtime", ["tensorrt-rtx 1.6.0.1", "tensorrt 11.4.0"])
def test_a_plan_of_another_version_or_library_is_refused(plan, runtime):
    expected = f"built with {runtime} .*here is tensorrt-rtx 1.*vl2 engines build"
    with pytest.raises(EngineError, match=expected):
        load(replace(plan, built_with=runtime), HostMemory())


def test_a_plan_for_other_gpus_is_refused(plan):
    other = replace(plan, built_for="compute capability 8.6, 8.9")
    with pytest.raises(EngineError, match=r"for compute capability 8\.6, 8\.9, here is .* sm_87"):
        load(other, HostMemory())


def test_a_plan_of_another_checkpoint_is_refused(plan):
    files = EngineFiles(plan.path.parent, "checkpoint-a", {"prompt_mapper": plan})
    with pytest.raises(EngineError, match=r"made from checkpoint checkpoint-a, .*export"):
        files.check_checkpoint("checkpoint-b")


def test_errors_are_those_of_the_last_call(plan, tmp_path):
    """The library keeps the first logger that it gets."""
    for content, own, other in (
        (b"\0" * 4096, "magicTag", "blobSize"),
        (plan.path.read_bytes()[:4096], "blobSize", "magicTag"),
    ):
        with pytest.raises(EngineError) as caught:
            load(rewrite(plan, tmp_path, content), HostMemory())
        assert own in str(caught.value) and other not in str(caught.value)
