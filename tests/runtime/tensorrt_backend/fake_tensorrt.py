"""What TensorRT does with a plan, in small: the parts of its Python module that the package uses.

A plan holds the ONNX file and the optimisation profiles; running it reads the input addresses, lets
ONNX Runtime compute and writes to the output addresses, so numbers, shapes, addresses, profiles and
the order of calls are real. What the real library refuses is refused here: shapes outside of the
active profile, address 0, a graph that starts before all is set. Every call is recorded.
"""

from __future__ import annotations

import base64
import ctypes
import enum
import importlib
import json
import sys
from math import prod
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

import vl2_ros.runtime.tensorrt_backend

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


class Context:
    def __init__(self, engine: Engine) -> None:
        self.engine, self.profile = engine, None
        self.shapes, self.addresses, self.calls = {}, {}, []

    def set_optimization_profile_async(self, profile, stream):
        self.calls.append(("profile", profile, stream))
        self.profile = profile
        return profile < self.engine.num_optimization_profiles

    def set_input_shape(self, name, shape):
        self.calls.append(("shape", name, shape))
        least, _, most = self.engine.get_tensor_profile_shape(name, self.profile)
        self.shapes[name] = shape
        return all(a <= b <= c for a, b, c in zip(least, shape, most, strict=True))

    def set_tensor_address(self, name, address):
        self.calls.append(("address", name, address))
        self.addresses[name] = address
        return address != 0

    def get_tensor_shape(self, name):
        if set(self.shapes) != set(self.engine.inputs):
            return Dims([-1])
        zeros = {
            one: np.zeros(shape, self.engine.numpy_dtype(one)) for one, shape in self.shapes.items()
        }
        return Dims(self.engine.session.run([name], zeros)[0].shape)

    def execute_async_v3(self, stream):
        self.calls.append(("execute", stream))
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


class Engine:
    def __init__(self, document: dict) -> None:
        model = base64.b64decode(document["onnx"])
        graph = onnx.load_from_string(model).graph
        self.session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._tensors = {one.name: one for one in (*graph.input, *graph.output)}
        self.inputs = [one.name for one in graph.input]
        self.outputs = [one.name for one in graph.output]
        self.profiles = document["profiles"]
        self.contexts: list[Context] = []
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

    def get_tensor_profile_shape(self, name, index):
        if not self.profiles:
            return [self.get_tensor_shape(name)] * 3
        return [Dims(one) for one in self.profiles[index][name]]

    def create_execution_context(self):
        self.contexts.append(Context(self))
        return self.contexts[-1]


def read_dims(tensor) -> Dims:
    dims = tensor.type.tensor_type.shape.dim
    return Dims(one.dim_value if one.HasField("dim_value") else -1 for one in dims)


class Runtime:
    engines: list[Engine] = []

    def __init__(self, logger) -> None:
        self.logger = logger

    def deserialize_cuda_engine(self, plan):
        try:
            engine = Engine(json.loads(plan))
        except ValueError:
            self.logger.log(ILogger.Severity.ERROR, "Serialization assertion failed")
            return None
        self.engines.append(engine)
        return engine


class Tensor:
    def __init__(self, tensor) -> None:
        self.name, self.shape = tensor.name, read_dims(tensor)


class Network:
    def __init__(self, flags: int) -> None:
        self.flags, self.model = flags, None

    @property
    def num_inputs(self):
        return len(self.model.graph.input)

    def get_input(self, index):
        return Tensor(self.model.graph.input[index])


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

    def parse_from_file(self, path):
        model = onnx.load(path)
        self.num_errors = sum(node.op_type == "Oven" for node in model.graph.node)
        self.network.model = model
        return self.num_errors == 0

    def get_error(self, index):
        return ParserError()


class Profile:
    def __init__(self) -> None:
        self.shapes = {}

    def set_shape(self, name, least, best, most):
        assert all(isinstance(one, Dims) for one in (least, best, most))
        self.shapes[name] = [list(least), list(best), list(most)]


class TimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self):
        return self.content + b"timed;"


class Config:
    def __init__(self) -> None:
        self.flags, self.limits, self.profiles = {"TF32"}, {}, []

    def set_memory_pool_limit(self, pool, size):
        self.limits[pool.name] = size

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.shapes)
        return len(self.profiles) - 1

    def create_timing_cache(self, content):
        return TimingCache(bytes(content))

    def set_timing_cache(self, cache, ignore_mismatch):
        self.timing = cache
        return not cache.content.startswith(b"foreign")


class Builder:
    built: list[tuple[Network, Config]] = []
    fails = False

    def __init__(self, logger) -> None:
        self.logger = logger

    def create_network(self, flags=0):
        return Network(flags)

    def create_builder_config(self):
        return Config()

    def create_optimization_profile(self):
        return Profile()

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


#: Members that differ between the versions.
_FLAGS = {
    "10.3.0": ("EXPLICIT_BATCH STRONGLY_TYPED", "FP16 INT8 BF16 TF32 VERSION_COMPATIBLE"),
    "11.4.0": ("PREFER_AOT_PYTHON_PLUGINS STRONGLY_TYPED", "TF32 VERSION_COMPATIBLE STRICT_NANS"),
}


def make_module(version: str) -> ModuleType:
    """Make the module as one version has it."""
    network_flags, builder_flags = _FLAGS[version]
    module = ModuleType("tensorrt")
    members = {
        "__version__": version,
        "NetworkDefinitionCreationFlag": enum.IntEnum(
            "NetworkDefinitionCreationFlag", network_flags, start=0
        ),
        "BuilderFlag": enum.Enum("BuilderFlag", builder_flags),
        "Runtime": type("Runtime", (Runtime,), {"engines": []}),
        "Builder": type("Builder", (Builder,), {"built": []}),
    }
    for kind in (DataType, TensorIOMode, TensorLocation, MemoryPoolType, Dims, ILogger):
        members[kind.__name__] = kind
    for kind in (IProgressMonitor, OnnxParser):
        members[kind.__name__] = kind
    vars(module).update(members)
    return module


#: What the stand-in can be.
VERSIONS = tuple(_FLAGS)


def install(monkeypatch: pytest.MonkeyPatch, version: str) -> ModuleType:
    """Put the stand-in where the library would be.

    Returns:
        The module; `engine` and `build` are the package's own modules, imported anew over it.
    """
    module = make_module(version)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    for name in ("engine", "build"):
        path = f"vl2_ros.runtime.tensorrt_backend.{name}"
        # Set first, so that what was there comes back after the test.
        monkeypatch.setitem(sys.modules, path, None)
        monkeypatch.setattr(vl2_ros.runtime.tensorrt_backend, name, None, raising=False)
        del sys.modules[path]
        setattr(module, name, importlib.import_module(path))
    return module
