"""Run ONNX files with ONNX Runtime; the only file that imports it.

On the CPU inputs are read where they are and outputs are returned where they were written: no
copies. On CUDA inputs are uploaded; outputs come to the host, but for the cache of the language
model and the maps of the decoders' images, which stay there.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as states

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.model.graphs import GRAPHS, GraphSpec, match_layers
from vl2_ros.runtime.engine import Array, EngineInfo, to_numpy
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.graph_inputs import check_graph_inputs, find_canvases

#: Errors of the library, which have no common base.
_FOREIGN_ERRORS = (
    states.EPFail,
    states.EngineError,
    states.Fail,
    states.InvalidArgument,
    states.InvalidGraph,
    states.InvalidProtobuf,
    states.NoModel,
    states.NoSuchFile,
    states.NotImplemented,
    states.RuntimeException,
    RuntimeError,
    ValueError,
)
#: Outputs that only engines read again; they need not come to the host.
_KEPT_OUTPUTS = ("keys.", "values.", "maps.")
#: Outputs beyond the graph table: for an encoder of regions, for guidance.
_OPTIONAL_OUTPUTS = frozenset({"region_maps", "no_words"})
_DTYPES: Mapping[str, np.dtype] = {
    "tensor(float)": np.dtype(np.float32),
    "tensor(float16)": np.dtype(np.float16),
    "tensor(bool)": np.dtype(np.bool_),
    "tensor(int64)": np.dtype(np.int64),
}
_ERRORS_ONLY = 3
#: Fusions whose kernel is slower on the CPU than what it replaces: that of a sum and its layer norm
#: takes five times as long as the two.
_SLOW_FUSIONS = "SkipLayerNormFusion"
#: Smaller weights stay in the graph, where optimisations that a start adds can read them.
_LEAST_BESIDE_BYTES = 1024
#: Weights of this size and more beside a graph are not copied, where that costs no time.
_LEAST_MAPPED_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """Options of sessions.

    Attributes:
        threads: that compute one graph; 0: one for each physical core.
        spinning: threads that have nothing to do keep a core busy for a moment, which is faster
            only where no other process needs it.
        memory_arena: keep freed memory for the next run: faster, and the process stays as large
            as its largest run.
        tensorrt: let the TensorRT execution provider run what it can; builds its own engines
            when a graph first runs, which takes minutes.
    """

    threads: int = 0
    spinning: bool = False
    memory_arena: bool = True
    tensorrt: bool = False

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ConfigError: if there are fewer than 0 threads.
        """
        if self.threads < 0:
            raise ConfigError(f"threads must be 0, for all cores, or more, got {self.threads}")


DEFAULT_OPTIONS = OnnxOptions()


@contextlib.contextmanager
def _mapped_errors(doing: str, advice: str) -> Iterator[None]:
    try:
        yield
    except _FOREIGN_ERRORS as error:
        raise EngineError(f"{doing} failed: {error}; {advice}") from error


def choose_providers(device: str, *, tensorrt: bool = False) -> list[tuple[str, dict[str, str]]]:
    """Return the execution providers for a device, the preferred first.

    Args:
        device: cpu, cuda or cuda:1.
        tensorrt: put TensorRT's before CUDA's.

    Raises:
        EngineError: if the device is unknown, or this build of ONNX Runtime does not know it.
    """
    kind, _, index = device.partition(":")
    if device == "cpu":
        return [("CPUExecutionProvider", {})]
    if kind != "cuda" or (index and not index.isdecimal()):
        raise EngineError(f"unknown device {device!r}; expected cpu, cuda or cuda:0")
    wanted = [*(["TensorrtExecutionProvider"] if tensorrt else []), "CUDAExecutionProvider"]
    there = onnxruntime.get_available_providers()
    missing = [name for name in wanted if name not in there]
    if missing:
        raise EngineError(
            f"{device!r} was requested, but this onnxruntime has no {', '.join(missing)}, only "
            f"{', '.join(there)}; pip install onnxruntime-gpu in place of onnxruntime, or use cpu"
        )
    place = {"device_id": index or "0"}
    # TensorFloat-32 would leave the tolerance of the graph table.
    settings = {"CUDAExecutionProvider": place | {"use_tf32": "0"}}
    return [*((name, settings.get(name, place)) for name in wanted), ("CPUExecutionProvider", {})]


def find_runtime() -> str:
    """Return the library and its version, such as `onnxruntime 1.32.0`."""
    return f"onnxruntime {onnxruntime.__version__}"


def find_device(device: str = "cpu") -> str:
    """Return the target of optimised graphs: the execution provider and the architecture.

    Raises:
        EngineError: if this build of ONNX Runtime does not know the device.
    """
    (provider, _), *_ = choose_providers(device)
    return f"{provider.removesuffix('ExecutionProvider')} {platform.machine()}"


def _make_setup(device: str) -> Any:
    """Return options of a session that only reports errors."""
    setup = onnxruntime.SessionOptions()
    setup.log_severity_level = _ERRORS_ONLY
    if device == "cpu":
        setup.add_session_config_entry("optimization.disable_specified_optimizers", _SLOW_FUSIONS)
    return setup


def optimise_graph(
    onnx: Path,
    out: Path,
    *,
    weights: Path | None = None,
    device: str = "cpu",
    is_fused: bool = True,
) -> None:
    """Fold constants and fuse operators, and write the graph that is left.

    Layouts of one processor are left to each start, so that the file serves every processor of the
    architecture.

    Args:
        onnx: the file.
        out: the new one.
        weights: new file in the folder of `out` for large weights; None: `out` holds them, up to
            2 GB.
        device: that it will run on.
        is_fused: false: only constants are folded, and what is left are operators of ONNX.

    Raises:
        EngineError: if the file is no ONNX model that can be run, or cannot be written.
    """
    setup = _make_setup(device)
    levels = onnxruntime.GraphOptimizationLevel
    extent = levels.ORT_ENABLE_EXTENDED if is_fused else levels.ORT_ENABLE_BASIC
    setup.graph_optimization_level = extent
    setup.optimized_model_filepath = str(out)
    # Else the session that writes the file would also copy every matrix for its kernels.
    setup.add_session_config_entry("session.disable_prepacking", "1")
    if weights is not None:
        place = "session.optimized_model_external_initializers"
        setup.add_session_config_entry(f"{place}_file_name", weights.name)
        setup.add_session_config_entry(f"{place}_min_size_in_bytes", str(_LEAST_BESIDE_BYTES))
    with _mapped_errors(f"optimising {onnx}", "export the engines again, or check the free space"):
        onnxruntime.InferenceSession(str(onnx), setup, providers=choose_providers(device))


def run_file(
    path: Path, calls: Iterable[Mapping[str, np.ndarray]]
) -> Iterator[dict[str, np.ndarray]]:
    """Run a file of any graph on the CPU, and yield the outputs of each call by name.

    Raises:
        EngineError: if it cannot be loaded, or fails.
    """
    setup = _make_setup("cpu")
    with _mapped_errors(f"running {path}", "export the engines again"):
        session = onnxruntime.InferenceSession(str(path), setup, choose_providers("cpu"))
        names = [one.name for one in session.get_outputs()]
        for call in calls:
            yield dict(zip(names, session.run(names, dict(call)), strict=True))


class OnnxArray:
    """An output that stays on the accelerator, for the next run; `to_numpy` brings it to the host.

    It also lends its memory over DLPack.
    """

    def __init__(self, value: Any) -> None:
        """Store the library's own value."""
        self.value = value
        self.shape = tuple(value.shape())
        self.dtype = _DTYPES[value.data_type()]

    def __dlpack__(self, **options: Any) -> Any:
        """Lend the memory."""
        return self.value.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return where the memory is."""
        kind, index = self.value.__dlpack_device__()
        return kind, index

    def cpu(self) -> OnnxArray:
        """Return what `numpy` may be asked of, as tensors do."""
        return self

    def numpy(self) -> np.ndarray:
        """Copy to the host."""
        return np.asarray(self.value.numpy())


class OnnxEngine:
    """One graph of the table, from an ONNX file.

    Outputs are new memory in every run. Runs of several threads at a time are allowed.
    """

    def __init__(
        self, file: EngineFile, *, device: str = "cpu", options: OnnxOptions = DEFAULT_OPTIONS
    ) -> None:
        """Check and load the file.

        Args:
            file: from `read_engine_files`.
            device: cpu, cuda or cuda:1.
            options: threads and memory.

        Raises:
            EngineError: if the file is missing, damaged or of another graph, or the device is
                not there.
        """
        file.check_built(find_runtime(), find_device(device))
        file.check()
        self._session = _open_session(file, device, options)
        inputs = {one.name: one for one in self._session.get_inputs()}
        names = [one.name for one in self._session.get_outputs()]
        spec = self._spec = match_layers(GRAPHS[file.graph], (*inputs, *names))
        _check_graph(file, spec, inputs, names)
        self._dtypes = {name: _DTYPES[one.type] for name, one in inputs.items()}
        self._sizes = _fixed_sizes(spec, {name: one.shape for name, one in inputs.items()})
        ranges = ({axis: (size, size) for axis, size in self._sizes.items()},)
        extra = [name for name in names if name not in spec.output_names]
        self._place = ("cuda", int(device.partition(":")[2] or 0)) if device != "cpu" else None
        self.info = EngineInfo(
            spec.name,
            "onnxruntime",
            device,
            spec.input_names,
            (*spec.output_names, *extra),
            file.sha256[:16],
            find_canvases(spec, ranges),
            ranges,
        )

    def run(
        self, inputs: Mapping[str, Array], outputs: Collection[str] | None = None
    ) -> dict[str, Array]:
        """Execute the graph once; see `Engine.run`.

        Raises:
            EngineError: if an input is missing, of another dtype or of another shape, or there is
                no such output.
        """
        check_graph_inputs(self._spec, inputs, self._sizes)
        names = self.info.pick_outputs(outputs)
        options = onnxruntime.RunOptions()
        # Without it a run computes every node, whatever is asked for.
        options.only_execute_path_to_fetches = len(names) < len(self.info.outputs)
        feed = {name: self._take(name, inputs[name]) for name in self.info.inputs}
        with _mapped_errors(f"{self.info.graph} on {self.info.device}", "check the shapes given"):
            if self._place is None:
                arrays = self._session.run(list(names), feed, options)
            else:
                arrays = self._run_bound(feed, names, options, self._place)
        return dict(zip(names, arrays, strict=True))

    def _run_bound(
        self,
        feed: Mapping[str, Array],
        names: tuple[str, ...],
        options: Any,
        place: tuple[str, int],
    ) -> list[Array]:
        binding = self._session.io_binding()
        for name, array in feed.items():
            if isinstance(array, OnnxArray):
                binding.bind_ortvalue_input(name, array.value)
            else:
                binding.bind_cpu_input(name, array)
        for name in names:
            binding.bind_output(name, *(place if name.startswith(_KEPT_OUTPUTS) else ("cpu", 0)))
        self._session.run_with_iobinding(binding, options)
        return [
            OnnxArray(value) if name.startswith(_KEPT_OUTPUTS) else value.numpy()
            for name, value in zip(names, binding.get_outputs(), strict=True)
        ]

    def _take(self, name: str, array: Array) -> Array:
        """Convert an input for the session: contiguous and of the file's width of floats."""
        if isinstance(array, OnnxArray) and self._place is not None:
            return array
        return np.ascontiguousarray(to_numpy(array), self._dtypes[name])


def _open_session(file: EngineFile, device: str, options: OnnxOptions) -> Any:
    providers = choose_providers(device, tensorrt=options.tensorrt)
    path, setup = file.path, _make_setup(device)
    setup.intra_op_num_threads = options.threads
    setup.inter_op_num_threads = 1
    setup.enable_cpu_mem_arena = options.memory_arena
    setup.enable_mem_pattern = options.memory_arena
    # Memory that is planned to serve value after value makes runs on a CPU 4 to 8 % slower (1.32),
    # and saves none: what is read no more is freed either way.
    setup.enable_mem_reuse = device != "cpu"
    setup.add_session_config_entry(
        "session.intra_op.allow_spinning", "1" if options.spinning else "0"
    )
    if _stays_mapped(file):
        setup.add_session_config_entry("session.disable_prepacking", "1")
    with _mapped_errors(
        f"loading {path}", "expected a complete ONNX file, export the engines again"
    ):
        session = onnxruntime.InferenceSession(str(path), setup, providers=providers)
    # A provider whose libraries are missing is skipped with a warning only.
    lost = [name for name, _ in providers if name not in session.get_providers()]
    if lost:
        raise EngineError(
            f"onnxruntime could not start {', '.join(lost)}; check that its CUDA, cuDNN and "
            "TensorRT libraries are installed and a device is there, or use cpu"
        )
    return session


def _stays_mapped(file: EngineFile) -> bool:
    """Return whether weights are computed with where they lie, without a copy for the kernels.

    For products with hundreds of positions the copy is worth nothing; the language model has calls
    of one, for which it is worth a factor of nine at int8.
    """
    if file.weights is None or file.graph == "language_model":
        return False
    return file.weights[0].stat().st_size >= _LEAST_MAPPED_BYTES


def _check_graph(
    file: EngineFile, spec: GraphSpec, inputs: Mapping[str, Any], outputs: list[str]
) -> None:
    """Check that a file contains the graph that it is named for, in dtypes that numpy knows."""
    spare = set(outputs) - set(spec.output_names) - _OPTIONAL_OUTPUTS
    lacking = set(spec.output_names) - set(outputs)
    shapes = {name: len(one.shape) for name, one in inputs.items() if one.type in _DTYPES}
    if shapes != {one.name: len(one.axes) for one in spec.inputs} or spare or lacking:
        raise EngineError(
            f"{file.path} is not the graph {spec.name}: expected {', '.join(spec.input_names)} -> "
            f"{', '.join(spec.output_names)}, got {', '.join(inputs)} -> {', '.join(outputs)}; "
            "export the engines again"
        )


def _fixed_sizes(spec: GraphSpec, shapes: Mapping[str, list[int | str]]) -> dict[str, int]:
    """Return the sizes that the file has fixed: name of an axis -> size."""
    return {
        axis: size
        for tensor in spec.inputs
        for axis, size in zip(tensor.axes, shapes[tensor.name], strict=True)
        if isinstance(axis, str) and isinstance(size, int)
    }
