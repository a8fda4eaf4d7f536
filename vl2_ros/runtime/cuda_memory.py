"""Device memory and streams for engines that need addresses: torch's CUDA allocator and streams.

The interface below `TensorRTEngine`: tests replace it by host memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from vl2_ros.errors import EngineError
from vl2_ros.runtime.engine import Array


class DeviceMemory(Protocol):
    """Device and stream of an engine's tensors.

    Attributes:
        device: torch's name of it, such as `cuda:0`.
        name: of the device that plans are built for, such as `NVIDIA Orin sm_87`.
        compute_capability: major and minor number.
    """

    device: str
    name: str
    compute_capability: tuple[int, int]

    def on_stream(self) -> contextlib.AbstractContextManager[None]:
        """Make a stream other than the default one current while the body runs."""

    def stream_handle(self) -> int:
        """Return the handle of the current stream."""

    def upload(self, array: Array) -> Tensor:
        """Bring an array to the device on the current stream; a tensor that is there stays."""

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return new memory of the device, contiguous and never at address 0."""


class CudaMemory:
    """Memory of one CUDA device.

    Args:
        device: cuda or cuda:1.
    """

    def __init__(self, device: str = "cuda") -> None:
        """Open the device.

        Raises:
            EngineError: if it is not there.
        """
        try:
            given = torch.device(device)
        except RuntimeError as error:
            raise EngineError(f"unknown device {device!r}; expected cuda or cuda:0") from error
        if given.type != "cuda" or not torch.cuda.is_available():
            raise EngineError(
                f"TensorRT needs a CUDA device that torch sees, got {device!r}; use the backend "
                "onnxruntime or torch for cpu"
            )
        if (given.index or 0) >= torch.cuda.device_count():
            raise EngineError(
                f"{device!r} is not there; torch sees {torch.cuda.device_count()} CUDA devices"
            )
        index = torch.cuda.current_device() if given.index is None else given.index
        self._device = torch.device("cuda", index)
        self.device = str(self._device)
        self.compute_capability = major, minor = torch.cuda.get_device_capability(self._device)
        self.name = f"{torch.cuda.get_device_name(self._device)} sm_{major}{minor}"
        self._side = torch.cuda.Stream(self._device)

    @contextlib.contextmanager
    def on_stream(self) -> Iterator[None]:
        """Use torch's current stream, or one of our own in place of the default stream.

        TensorRT puts synchronisations around work on the default stream, and it cannot be recorded.
        """
        with torch.cuda.device(self._device):
            current = torch.cuda.current_stream()
            if current != torch.cuda.default_stream():
                yield
                return
            self._side.wait_stream(current)
            try:
                with torch.cuda.stream(self._side):
                    yield
            finally:
                current.wait_stream(self._side)

    def stream_handle(self) -> int:
        """Return the handle of torch's current stream."""
        return int(torch.cuda.current_stream(self._device).cuda_stream)

    def upload(self, array: Array) -> Tensor:
        """Copy from pinned memory, so that the copy runs while Python continues."""
        if hasattr(array, "__dlpack__") and not hasattr(array, "__array__"):
            array = torch.from_dlpack(array)
        tensor = torch.as_tensor(array)
        if tensor.device == self._device:
            return tensor
        if tensor.device.type == "cpu" and tensor.numel():
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Allocate from torch's pool; at least one element, so that there is an address."""
        count = max(1, torch.Size(shape).numel())
        flat = torch.empty(count, dtype=dtype, device=self._device)
        return flat[: torch.Size(shape).numel()].view(shape)
