"""What TensorRT for RTX has beyond TensorRT, in small, by the rules that its docstrings give.

Kernels are words here, one for each context that is created: a cache that has the word spares the
GPU a compilation. `tests/runtime/tensorrt_backend/test_fake_tensorrt.py` holds names and arguments
to those of the real module.
"""

from __future__ import annotations

import enum

from tests.runtime.tensorrt_backend import fake_tensorrt as trt

ComputeCapability = enum.Enum(
    "ComputeCapability", "NONE CURRENT SM75 SM80 SM86 SM89 SM120 SM121", start=0
)
CudaGraphStrategy = enum.Enum("CudaGraphStrategy", "DISABLED WHOLE_GRAPH_CAPTURE")
DynamicShapesKernelSpecializationStrategy = enum.Enum(
    "DynamicShapesKernelSpecializationStrategy", "LAZY EAGER NONE"
)
ExecutionContextAllocationStrategy = enum.Enum(
    "ExecutionContextAllocationStrategy", "STATIC ON_PROFILE_CHANGE USER_MANAGED"
)
#: A cache of another driver, GPU or version begins otherwise.
_HEADER = b"kernels of 1.7.1.116;"


class IBuilderConfig(trt.IBuilderConfig):
    """Has targets; measured times do nothing, are deprecated and not to be used."""

    def __init__(self) -> None:
        super().__init__()
        self.compute_capabilities: list[ComputeCapability] = []

    @property
    def num_compute_capabilities(self):
        return len(self.compute_capabilities)

    @num_compute_capabilities.setter
    def num_compute_capabilities(self, count):
        self.compute_capabilities = [ComputeCapability.NONE] * count

    def set_compute_capability(self, compute_capability, index):
        self.compute_capabilities[index] = compute_capability
        return compute_capability is not ComputeCapability.NONE

    def create_timing_cache(self, serialized_timing_cache):
        raise DeprecationWarning("timing cache operations are no-ops in TensorRT-RTX")


class Builder(trt.Builder):
    def create_builder_config(self):
        return IBuilderConfig()


class IRuntimeCache:
    def __init__(self) -> None:
        self.kernels = b""

    def serialize(self):
        return _HEADER + self.kernels

    def deserialize(self, blob):
        if not blob.startswith(_HEADER):
            return False
        self.kernels = blob.removeprefix(_HEADER)
        return True


class IRuntimeConfig:
    """What it starts with is what the library documents as its defaults."""

    cuda_graph_strategy = CudaGraphStrategy.DISABLED
    dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY

    def __init__(self) -> None:
        self._strategy = ExecutionContextAllocationStrategy.STATIC
        self._cache = None

    def create_runtime_cache(self):
        return IRuntimeCache()

    def set_runtime_cache(self, cache=None):
        self._cache = cache
        return True

    def get_runtime_cache(self):
        return self._cache

    def set_execution_context_allocation_strategy(
        self, strategy=ExecutionContextAllocationStrategy.STATIC
    ):
        self._strategy = strategy

    def get_execution_context_allocation_strategy(self):
        return self._strategy


class ICudaEngine(trt.ICudaEngine):
    """Counts what it compiles when a context is created."""

    def __init__(self, document: dict) -> None:
        super().__init__(document)
        self.compiled = 0

    def create_runtime_config(self):
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config=None):
        context = super().create_execution_context()
        context.config = runtime_config
        cache = runtime_config.get_runtime_cache()
        kernel = f"kernel {len(self.contexts)};".encode()
        if kernel not in cache.kernels:
            self.compiled += 1
            cache.kernels += kernel
        return context


class Runtime(trt.Runtime):
    engine_class = ICudaEngine
