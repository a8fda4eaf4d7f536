"""What TensorRT does with a plan, in small: the parts of its Python module that the package uses.

`fake_tensorrt_rtx.py` adds what TensorRT for RTX has beyond them.

A plan holds the ONNX file and the optimisation profiles; running it reads the input addresses, lets
ONNX Runtime compute and writes to the output addresses, so numbers, shapes, addresses, profiles and
the order of calls are real. What the real library refuses is refused here: shapes outside of the
active profile, address 0, a graph that starts before all is set. Every call is recorded.
"""

from __future__ import annotations

import base64
import ctypes
import enum
import json
import sys
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from vl2_ros.runtime.tensorrt_backend.library import LIBRARIES, TENSORRT_RTX, Library

NUMPY = {"FLOAT": np.float32, "HALF": np.float16, "INT64": np.int64, "BOOL": np.bool_}
_ONNX = {1: "FLOAT", 7: "INT64", 9: "BOOL", 10: "HALF"}
DataType = enum.Enum("DataType", "FLOAT HALF BF16 INT8 UINT8 INT32 INT64 BOOL FP8 INT4")
TensorIOMode = enum.Enum("TensorIOMode", "NONE INPUT OUTPUT")
TensorLocation = enum.Enum("TensorLocation", "DEVICE HOST")
MemoryPoolType = enum.Enum("MemoryPoolType", "WORKSPACE TACTIC_DRAM")


class Dims(list):
    """A shape."""


class ILogger:
    Severity = enum.Enum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE")


class IProgressMonitor:
    pass


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self.engine, self.profile = engine, None
        self.shapes, self.addresses, self.calls = {}, {}, []

    def set_optimization_profile_async(self, profile_index, stream_handle):
        self.calls.append(("profile", profile_index, stream_handle))
        self.profile = profile_index
        return profile_index < self.engine.num_optimization_profiles

    def set_input_shape(self, name, shape):
        self.calls.append(("shape", name, shape))
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        self.shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name, memory):
        self.calls.append(("address", name, memory))
        self.addresses[name] = memory
        return memory != 0

    def get_tensor_shape(self, name):
        if set(self.shapes) != set(self.engine.inputs):
            return Dims([-1])
        zeros = {
            one: np.zeros(shape, self.engine.numpy_dtype(one)) for one, shape in self.shapes.items()
        }
        return Dims(self.engine.session.run([name], zeros)[0].shape)

    def execute_async_v3(self, stream_handle):
        self.calls.append(("execute", stream_handle))
        if set(self.addresses) != {*self.engine.inputs, *self.engine.outputs}:
            return False
        given = {name: self._view(name, self.shapes[name]).copy() for name in self.engine.inputs}
        results = self.engine.session.run(self.engine.outputs, given)
        for name, result in zip(self.engine.outputs, results, strict=True):
            if result.size:
                self._view(name, result.shape)[...] = result
        return True

    def _view(self, name, shape):
        dtype = np.dtype(self.engine.numpy_dtype(name))
        if not prod(shape):
            return np.zeros(shape, dtype)
        raw = (ctypes.c_byte * (prod(shape) * dtype.itemsize)).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)


class ICudaEngine:
    def __init__(self, document: dict) -> None:
        model = base64.b64decode(document["onnx"])
        graph = onnx.load_from_string(model).graph
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._tensors = {one.name: one for one in (*graph.input, *graph.output)}
        self.inputs = [one.name for one in graph.input]
        self.outputs = [one.name for one in graph.output]
        self.profiles = document["profiles"]
        self.contexts: list[IExecutionContext] = []
        self.num_io_tensors = len(self._tensors)
        self.num_optimization_profiles = max(1, len(self.profiles))

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return TensorIOMode.INPUT if name in self.inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        return DataType[_ONNX[self._tensors[name].type.tensor_type.elem_type]]

    def numpy_dtype(self, name):
        return NUMPY[self.get_tensor_dtype(name).name]

    def get_tensor_location(self, name):
        return TensorLocation.DEVICE

    def get_tensor_shape(self, name):
        return read_dims(self._tensors[name])

    def get_tensor_profile_shape(self, name, profile_index):
        if not self.profiles:
            return [self.get_tensor_shape(name)] * 3
        return [Dims(one) for one in self.profiles[profile_index][name]]

    def create_execution_context(self):
        self.contexts.append(IExecutionContext(self))
        return self.contexts[-1]


def read_dims(tensor) -> Dims:
    dims = tensor.type.tensor_type.shape.dim
    return Dims(one.dim_value if one.HasField("dim_value") else -1 for one in dims)


class Runtime:
    engine_class = ICudaEngine
    engines: list[ICudaEngine] = []

    def __init__(self, logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, serialized_engine):
        try:
            engine = self.engine_class(json.loads(serialized_engine))
        except ValueError:
            self.logger.log(ILogger.Severity.ERROR, "Serialization assertion failed")
            return None
        self.engines.append(engine)
        return engine


class ITensor:
    def __init__(self, tensor) -> None:
        self.name, self.shape = tensor.name, read_dims(tensor)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self.flags, self.model = flags, None

    @property
    def num_inputs(self):
        return len(self.model.graph.input)

    def get_input(self, index):
        return ITensor(self.model.graph.input[index])


class ParserError:
    def node_name(self):
        return "node_7"

    def node_operator(self):
        return "Oven"

    def desc(self):
        return "no importer registered for op: Oven"


class OnnxParser:
    def __init__(self, network, logger) -> None:
        self.network, self.num_errors = network, 0

    def parse_from_file(self, model):
        self.network.model = onnx.load(model)
        nodes = self.network.model.graph.node
        self.num_errors = sum(node.op_type == "Oven" for node in nodes)
        return self.num_errors == 0

    def get_error(self, index):
        return ParserError()


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes = {}

    def set_shape(self, input, min, opt, max):
        assert all(isinstance(one, Dims) for one in (min, opt, max))
        self.shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self):
        return self.content + b"timed;"


class IBuilderConfig:
    def __init__(self) -> None:
        self.flags, self.limits, self.profiles = {"TF32"}, {}, []

    def set_memory_pool_limit(self, pool, pool_size):
        self.limits[pool.name] = pool_size

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache):
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timing = cache
        return not cache.content.startswith(b"foreign")


class Builder:
    built: list[tuple[INetworkDefinition, IBuilderConfig]] = []
    fails = False

    def __init__(self, logger) -> None:
        self.logger = logger

    def create_network(self, flags=0):
        return INetworkDefinition(flags)

    def create_builder_config(self):
        return IBuilderConfig()

    def create_optimization_profile(self):
        return IOptimizationProfile()

    def build_serialized_network(self, network, config):
        self.built.append((network, config))
        monitor = config.progress_monitor
        monitor.phase_start("Building Engine", None, 2)
        for step in range(2):
            if not monitor.step_complete("Building Engine", step):
                return None
        monitor.phase_finish("Building Engine")
        if self.fails:
            self.logger.log(ILogger.Severity.ERROR, "out of memory")
            return None
        content = base64.b64encode(network.model.SerializeToString()).decode()
        return json.dumps({"onnx": content, "profiles": config.profiles}).encode()


#: Members that all versions have.
KINDS = (
    DataType,
    Dims,
    IBuilderConfig,
    ICudaEngine,
    IExecutionContext,
    ILogger,
    INetworkDefinition,
    IOptimizationProfile,
    IProgressMonitor,
    ITensor,
    ITimingCache,
    MemoryPoolType,
    OnnxParser,
    ParserError,
    TensorIOMode,
    TensorLocation,
    Builder,
    Runtime,
)
#: Members that differ between the versions.
_FLAGS = {
    "tensorrt 10.3.0": ("EXPLICIT_BATCH STRONGLY_TYPED", "FP16 INT8 BF16 TF32 VERSION_COMPATIBLE"),
    "tensorrt 11.4.0": (
        "PREFER_AOT_PYTHON_PLUGINS STRONGLY_TYPED",
        "TF32 VERSION_COMPATIBLE STRICT_NANS",
    ),
    "tensorrt-rtx 1.7.1.116": ("STRONGLY_TYPED", "TF32 VERSION_COMPATIBLE STRICT_NANS"),
}


def make_module(name: str) -> ModuleType:
    """Make the module as one version has it."""
    backend, version = name.split()
    network_flags, builder_flags = _FLAGS[name]
    module = ModuleType(LIBRARIES[backend].module)
    kinds = {kind.__name__: kind for kind in KINDS}
    if backend == TENSORRT_RTX.backend:
        from tests.runtime.tensorrt_backend import fake_tensorrt_rtx

        kinds |= {name: one for name, one in vars(fake_tensorrt_rtx).items() if name[0].isupper()}
    vars(module).update(
        kinds,
        __version__=version,
        NetworkDefinitionCreationFlag=enum.IntEnum(
            "NetworkDefinitionCreationFlag", network_flags, start=0
        ),
        BuilderFlag=enum.Enum("BuilderFlag", builder_flags),
        # Each module counts for itself.
        Runtime=type("Runtime", (kinds["Runtime"],), {"engines": []}),
        Builder=type("Builder", (kinds["Builder"],), {"built": []}),
    )
    return module


#: What the stand-in can be.
VERSIONS = tuple(_FLAGS)
TENSORRT_VERSIONS = tuple(name for name in VERSIONS if name.startswith("tensorrt "))


@dataclass(frozen=True)
class Installed:
    """A stand-in in the place of a library.

    Attributes:
        library: row of the table.
        module: its Python module.
    """

    library: Library
    module: Any


def install(monkeypatch: pytest.MonkeyPatch, name: str) -> Installed:
    """Put the stand-in where the library would be."""
    library, module = LIBRARIES[name.split()[0]], make_module(name)
    monkeypatch.setitem(sys.modules, library.module, module)
    return Installed(library, module)
