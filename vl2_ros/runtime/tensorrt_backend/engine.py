"""Run TensorRT plans, with either of the two libraries.

Written for TensorRT 10.3 (JetPack 6) to 11.4 and TensorRT for RTX 1.7. Arrays are torch tensors on
the device; numpy arrays are uploaded from pinned memory.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS, match_layers
from vl2_ros.runtime.cuda_graphs import GraphReplay
from vl2_ros.runtime.cuda_memory import CudaMemory, DeviceMemory
from vl2_ros.runtime.engine import Array, EngineInfo
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.graph_inputs import check_graph_inputs, find_canvases
from vl2_ros.runtime.tensorrt_backend.dims import Shape, read_sizes
from vl2_ros.runtime.tensorrt_backend.library import Library, is_target
from vl2_ros.runtime.tensorrt_backend.library_log import open_log
from vl2_ros.runtime.tensorrt_backend.runtime_settings import RuntimeSettings, find_kernel_file
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

if TYPE_CHECKING:
    import tensorrt as trt

#: By the name of the library's data type.
_DTYPES = {
    "FLOAT": torch.float32,
    "HALF": torch.float16,
    "BF16": torch.bfloat16,
    "INT8": torch.int8,
    "UINT8": torch.uint8,
    "INT32": torch.int32,
    "INT64": torch.int64,
    "BOOL": torch.bool,
}
#: Outputs beyond the graph table: for an encoder of regions, for guidance.
_OPTIONAL_OUTPUTS = frozenset({"region_maps", "no_words"})
_BUILD_AGAIN = "build it again with `vl2 engines build`"


def open_device(device: str = "cuda") -> DeviceMemory:
    """Return the memory of a GPU, which knows its name and its compute capability.

    Raises:
        EngineError: if it is not there.
    """
    return CudaMemory(device)


def find_target(file: EngineFile, library: Library, memory: DeviceMemory) -> str:
    """Return the device as `built_for` of a plan names it, if the plan is for it."""
    if library.builds_on_gpu or not is_target(file.built_for, memory.compute_capability):
        return memory.name
    return file.built_for


class TensorRTEngine:
    """One graph of the table, from a plan.

    Outputs are new memory in every run. Runs of several threads take turns. An optimisation profile
    of fixed shapes is replayed as a CUDA graph.
    """

    def __init__(
        self,
        file: EngineFile,
        library: Library,
        *,
        device: str = "cuda",
        trusted: TrustedPlans | None = None,
        memory: DeviceMemory | None = None,
        replay: bool = True,
    ) -> None:
        """Check and load a plan.

        Args:
            file: from `read_engine_files`.
            library: that built the plan.
            device: cuda or cuda:1.
            trusted: plans that may be loaded; None: the user's list.
            memory: where tensors live; None: the device's.
            replay: record fixed shapes as CUDA graphs.

        Raises:
            EngineError: if the device is not there, or the plan is missing, changed, not trusted,
                of another GPU or version, or is another graph.
        """
        self._library, self._memory = library, CudaMemory(device) if memory is None else memory
        file.check_built(library.find_runtime(), find_target(file, library, self._memory))
        plan = file.read()
        (TrustedPlans() if trusted is None else trusted).require(file.sha256, file.path)
        self._load(plan, file)
        names = self._list_tensors()
        self._spec = match_layers(GRAPHS[file.graph], (*names[0], *names[1]))
        self._check_graph(file, *names)
        self._dtypes = {name: self._find_dtype(name) for name in (*names[0], *names[1])}
        self._ranges = self._read_ranges()
        self._contexts: dict[int, trt.IExecutionContext] = {}
        self._lock = threading.Lock()
        ranges = tuple(map(self._name_axes, self._ranges))
        extra = tuple(name for name in names[1] if name not in self._spec.output_names)
        self.info = EngineInfo(
            self._spec.name,
            library.backend,
            self._memory.device,
            self._spec.input_names,
            (*self._spec.output_names, *extra),
            file.sha256[:16],
            find_canvases(self._spec, ranges),
            ranges,
        )
        self._recorded = self._find_fixed_profiles() if replay else frozenset()
        self._settings = self._make_settings(file) if library.has_runtime_settings else None
        # A library with settings records CUDA graphs itself.
        self._replays = self._prepare_replays() if self._settings is None else {}

    def _load(self, plan: bytes, file: EngineFile) -> None:
        """Let the library read the plan."""
        trt = self._library.load()
        self._log = open_log(trt)
        self._log.forget_errors()
        self._runtime = trt.Runtime(cast(Any, self._log))
        # Plans for several versions bring code of their own along; this one is trusted.
        self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(
                f"{self._library.title} {trt.__version__} cannot load {file.path}: "
                f"{self._log.last_errors()}; {_BUILD_AGAIN}"
            )

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`.

        Raises:
            EngineError: if an input is missing, of another dtype or outside of every profile.
        """
        check_graph_inputs(self._spec, inputs, self._fixed_sizes())
        names = self.info.pick_outputs(outputs)
        profile = self._choose_profile({n: tuple(inputs[n].shape) for n in self.info.inputs})
        with self._lock, self._memory.on_stream():
            tensors = [self._take(name, inputs[name]) for name in self.info.inputs]
            call = self._replays.get(profile)
            made = self._execute(profile, *tensors) if call is None else call(*tensors)
            if self._settings is not None:
                self._settings.save_new_kernels()
        # A plan computes all of its outputs.
        named = zip(self.info.outputs, made, strict=True)
        return {name: tensor for name, tensor in named if name in names}

    def _execute(self, profile: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Enqueue the graph on the current stream; nothing waits for it."""
        context = self._open_context(profile)
        for name, tensor in zip(self.info.inputs, tensors, strict=True):
            self._require(context.set_input_shape(name, tuple(tensor.shape)), f"shape of {name}")
            # An empty tensor has no address, and the library does not accept 0.
            place = tensor if tensor.numel() else self._memory.empty((1,), tensor.dtype)
            self._require(context.set_tensor_address(name, place.data_ptr()), f"address of {name}")
        outputs = []
        for name in self.info.outputs:
            shape = read_sizes(context.get_tensor_shape(name))
            self._require(min(shape, default=0) >= 0, f"shape {shape} of {name}")
            output = self._memory.empty(shape, self._dtypes[name])
            self._require(context.set_tensor_address(name, output.data_ptr()), f"address of {name}")
            outputs.append(output)
        handle = self._memory.stream_handle()
        self._require(context.execute_async_v3(handle), "start of the graph")
        return tuple(outputs)

    def _open_context(self, profile: int) -> trt.IExecutionContext:
        """Return the context of a profile; a recorded CUDA graph bears no change of its profile."""
        if profile not in self._contexts:
            context = self._create_context(profile)
            if context is None:
                raise EngineError(
                    f"no memory for running {self._spec.name}: {self._log.last_errors()}; free "
                    "some, or build with smaller shapes"
                )
            handle = self._memory.stream_handle()
            chosen = context.set_optimization_profile_async(profile, handle)
            self._require(chosen, f"optimisation profile {profile}")
            self._contexts[profile] = context
        return self._contexts[profile]

    def _create_context(self, profile: int) -> trt.IExecutionContext | None:
        if self._settings is None:
            return self._engine.create_execution_context()
        context: trt.IExecutionContext | None = self._settings.create_context(
            self._ranges[profile], record=profile in self._recorded
        )
        return context

    def _make_settings(self, file: EngineFile) -> RuntimeSettings:
        kernels = find_kernel_file(file, self._memory)
        settings = RuntimeSettings(self._library.load(), self._engine, kernels)
        # Kernels for shapes that come often are compiled while it runs.
        weakref.finalize(self, settings.save_kernels)
        return settings

    def _take(self, name: str, array: Array) -> Tensor:
        """Bring an input to the device, at the plan's width of floats."""
        return self._memory.upload(array).to(self._dtypes[name]).contiguous()

    def _choose_profile(self, shapes: Mapping[str, Shape]) -> int:
        for index, ranges in enumerate(self._ranges):
            if all(_fits(shapes[name], *ranges[name]) for name in shapes):
                return index
        built = [{name: (r[0], r[2]) for name, r in ranges.items()} for ranges in self._ranges]
        raise EngineError(
            f"{self.info.graph} got the shapes {dict(shapes)}, which lie in no range that it was "
            f"built for: {built}; widen the profile and {_BUILD_AGAIN}"
        )

    def _require(self, worked: bool, what: str) -> None:
        if not worked:
            raise EngineError(
                f"{self._library.title} refused the {what} in {self._spec.name}: "
                f"{self._log.last_errors()}"
            )

    def _list_tensors(self) -> tuple[list[str], list[str]]:
        engine, trt = self._engine, self._library.load()
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        modes = {name: engine.get_tensor_mode(name) for name in names}
        return (
            [name for name in names if modes[name] == trt.TensorIOMode.INPUT],
            [name for name in names if modes[name] == trt.TensorIOMode.OUTPUT],
        )

    def _check_graph(self, file: EngineFile, inputs: list[str], outputs: list[str]) -> None:
        spec = self._spec
        spare = set(outputs) - set(spec.output_names) - _OPTIONAL_OUTPUTS
        if set(inputs) != set(spec.input_names) or set(spec.output_names) - set(outputs) or spare:
            raise EngineError(
                f"{file.path} is not the graph {spec.name}: expected "
                f"{', '.join(spec.input_names)} -> {', '.join(spec.output_names)}, got "
                f"{', '.join(inputs)} -> {', '.join(outputs)}; {_BUILD_AGAIN}"
            )

    def _find_dtype(self, name: str) -> torch.dtype:
        kind = self._engine.get_tensor_dtype(name)
        if (
            kind.name not in _DTYPES
            or self._engine.get_tensor_location(name) != self._library.load().TensorLocation.DEVICE
        ):
            raise EngineError(
                f"{self._spec.name} has {name} as {kind} at a location that cannot be used; "
                f"{_BUILD_AGAIN}"
            )
        return _DTYPES[kind.name]

    def _read_ranges(self) -> list[dict[str, tuple[Shape, Shape, Shape]]]:
        ranges = []
        for index in range(self._engine.num_optimization_profiles):
            shapes = {}
            for name in self._spec.input_names:
                least, best, most = self._engine.get_tensor_profile_shape(name, index)
                shapes[name] = (read_sizes(least), read_sizes(best), read_sizes(most))
            ranges.append(shapes)
        return ranges

    def _name_axes(
        self, ranges: Mapping[str, tuple[Shape, Shape, Shape]]
    ) -> dict[str, tuple[int, int]]:
        """Return the least and the most of each named axis in one profile."""
        return {
            axis: (least, most)
            for tensor in self._spec.inputs
            for axis, least, most in zip(
                tensor.axes, ranges[tensor.name][0], ranges[tensor.name][2], strict=True
            )
            if isinstance(axis, str)
        }

    def _fixed_sizes(self) -> dict[str, int]:
        shapes = {
            name: read_sizes(self._engine.get_tensor_shape(name)) for name in self.info.inputs
        }
        return {
            axis: size
            for tensor in self._spec.inputs
            for axis, size in zip(tensor.axes, shapes[tensor.name], strict=True)
            if isinstance(axis, str) and size >= 0
        }

    def _find_fixed_profiles(self) -> frozenset[int]:
        return frozenset(
            index
            for index, ranges in enumerate(self._ranges)
            if all(least == most for least, _, most in ranges.values())
        )

    def _prepare_replays(self) -> dict[int, GraphReplay]:
        return {
            index: GraphReplay(functools.partial(self._execute, index), most_shapes=1)
            for index in self._recorded
        }


def _fits(shape: Shape, least: Shape, _: Shape, most: Shape) -> bool:
    return len(shape) == len(least) and all(
        low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
    )
