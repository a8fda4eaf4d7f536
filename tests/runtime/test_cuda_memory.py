"""Device memory and streams; the promises that need a GPU are marked."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from vl2_ros.errors import EngineError
from vl2_ros.runtime.cuda_memory import CudaMemory


@pytest.mark.parametrize("device", ["cpu", "gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_reported(device):
    with pytest.raises(EngineError, match="expected cuda|needs a CUDA device|is not there"):
        CudaMemory(device)


@pytest.mark.gpu
def test_arrays_arrive_whole_and_tensors_that_are_there_stay():
    memory = CudaMemory()
    array = np.random.default_rng(0).normal(size=(64, 1000)).astype(np.float32)
    with memory.on_stream():
        tensor = memory.upload(array)
        assert memory.upload(tensor) is tensor
        assert memory.upload(array[:0]).shape == (0, 1000)
    np.testing.assert_array_equal(tensor.cpu().numpy(), array)


@pytest.mark.gpu
def test_work_is_never_on_the_default_stream_and_is_done_before_what_follows():
    memory = CudaMemory()
    with memory.on_stream():
        assert memory.stream_handle() != torch.cuda.default_stream().cuda_stream
        grown = torch.ones(4096, 4096, device=memory.device)
        for _ in range(20):
            grown = grown @ torch.eye(4096, device=memory.device)
    # On the default stream, which must have waited.
    assert float(grown.sum()) == 4096 * 4096
    own = torch.cuda.Stream()
    with torch.cuda.stream(own), memory.on_stream():
        assert memory.stream_handle() == own.cuda_stream


@pytest.mark.gpu
def test_empty_memory_has_an_address():
    memory = CudaMemory()
    assert memory.empty((0, 3), torch.float16).data_ptr() != 0
    assert memory.empty((2, 3), torch.bool).shape == (2, 3)
