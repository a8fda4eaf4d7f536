"""Build a TensorRT plan from an ONNX file.

Written for TensorRT 10.3 (JetPack 6) to 11.4 and TensorRT for RTX 1.7. Networks are strongly typed:
the ONNX file defines at which precision each operator runs, as version 11 has no other way.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from vl2_ros.errors import EngineError
from vl2_ros.model.graphs import GRAPHS, GraphSpec, TensorSpec, match_layers
from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress, PhaseTree
from vl2_ros.runtime.tensorrt_backend.dims import Shape, read_sizes
from vl2_ros.runtime.tensorrt_backend.library import (
    TENSORRT_RTX,
    Library,
    LibraryModule,
    extend,
    set_target,
)
from vl2_ros.runtime.tensorrt_backend.library_log import LibraryLog, open_log

if TYPE_CHECKING:
    import tensorrt as trt

_log = logging.getLogger(__name__)


class _Monitor:
    """An IProgressMonitor that reports the phases of a build.

    An exception of the listener cancels the build.
    """

    def __init__(self, listener: Callable[[BuildProgress], None]) -> None:
        super().__init__()
        self._phases, self._listener = PhaseTree(), listener
        self.raised: BaseException | None = None

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: Any) -> None:
        self._report(self._phases.start(phase_name, parent_phase, int(num_steps)))

    def step_complete(self, phase_name: str, step: Any) -> bool:
        self._report(self._phases.step(phase_name, int(step)))
        return self.raised is None

    def phase_finish(self, phase_name: str) -> None:
        self._report(self._phases.finish(phase_name))

    def _report(self, progress: BuildProgress) -> None:
        if self.raised is not None:
            return
        try:
            self._listener(progress)
        # Nothing may be raised through the library's own code; `build_plan` raises it again.
        except BaseException as error:
            self.raised = error


@dataclass(frozen=True, slots=True)
class PlanOrder:
    """The settings of a plan.

    Attributes:
        graph: name in the graph table.
        shapes: for each optimisation profile the sizes of every changing axis.
        workspace_bytes: scratch memory that a layer may use.
        optimization_level: 0 (fast build) to 5 (fast engine).
        version_compatible: also runs with later versions of the same major.
        compute_capabilities: GPUs that a plan of TensorRT for RTX is for, such as 8.6; none: any
            from 8.0.
    """

    graph: str
    shapes: Sequence[Mapping[str, tuple[int, int, int]]]
    workspace_bytes: int
    optimization_level: int = 3
    version_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()


def build_plan(
    onnx: Path,
    out: Path,
    order: PlanOrder,
    library: Library,
    *,
    timing_cache: Path | None = None,
    progress: Callable[[BuildProgress], None] = lambda _: None,
) -> None:
    """Build a plan; takes minutes.

    Args:
        onnx: file of the graph; weights in a file beside it are found.
        out: file to write.
        order: shapes and limits.
        library: that builds and loads the plan.
        timing_cache: measured times of kernels; read where it is there, and written after. Only a
            library that builds on the GPU has any.
        progress: called at every phase; an exception of it ends the build.

    Raises:
        EngineError: if the library is not there or cannot build what is ordered, if the file
            cannot be parsed, naming its nodes, or if the build failed.
    """
    trt = library.load()
    logger = open_log(trt)
    logger.forget_errors()
    builder = trt.Builder(cast(Any, logger))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(onnx, network, library, logger)
    config = _configure(builder, network, order, library)
    cache_file = timing_cache if library.builds_on_gpu else None
    cache = None if cache_file is None else _read_timing_cache(config, cache_file)
    monitor = extend(trt.IProgressMonitor, _Monitor, progress)
    config.progress_monitor = cast(Any, monitor)
    plan = builder.build_serialized_network(network, config)
    if monitor.raised is not None:
        raise monitor.raised
    if plan is None:
        raise EngineError(
            f"{library.title} could not build {order.graph} from {onnx}: {logger.last_errors()}; "
            "if memory was short, lower workspace_mb or the greatest shapes of the profile"
        )
    # The stubs do not declare it as a buffer.
    out.write_bytes(cast(Any, plan))
    if cache is not None and cache_file is not None:
        _write_timing_cache(cache, cache_file)


def _configure(
    builder: trt.Builder, network: trt.INetworkDefinition, order: PlanOrder, library: Library
) -> trt.IBuilderConfig:
    """Return the settings of a build."""
    if order.version_compatible and not library.spans_versions:
        raise EngineError(
            f"{library.title} builds plans for its own version only; remove version_compatible "
            "from the profile"
        )
    if order.compute_capabilities and library.builds_on_gpu:
        raise EngineError(
            f"{library.title} builds for the GPU of this machine, got the compute capabilities "
            f"{', '.join(order.compute_capabilities)}; remove them, or take {TENSORRT_RTX.backend}"
        )
    trt = library.load()
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, order.workspace_bytes)
    config.builder_optimization_level = order.optimization_level
    # Float32 shall be float32: TF32 has ten bits.
    config.clear_flag(trt.BuilderFlag.TF32)
    if order.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    set_target(trt, config, order.compute_capabilities)
    for shapes in order.shapes if _has_changing_axes(network) else ():
        profile = builder.create_optimization_profile()
        _fill_profile(profile, network, GRAPHS[order.graph], shapes, trt)
        config.add_optimization_profile(profile)
    return config


def _parse(
    onnx: Path, network: trt.INetworkDefinition, library: Library, logger: LibraryLog
) -> None:
    trt = library.load()
    parser = trt.OnnxParser(network, cast(Any, logger))
    if parser.parse_from_file(str(onnx)):
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    causes = [f"node {one.node_name()!r} ({one.node_operator()}): {one.desc()}" for one in errors]
    raise EngineError(
        f"{library.title} {trt.__version__} cannot read {onnx}: "
        f"{'; '.join(causes) or logger.last_errors()}; "
        "export the engines again, or remove the graph from the profile"
    )


def _network_inputs(network: trt.INetworkDefinition) -> dict[str, Shape]:
    inputs = (network.get_input(index) for index in range(network.num_inputs))
    return {one.name: read_sizes(one.shape) for one in inputs}


def _has_changing_axes(network: trt.INetworkDefinition) -> bool:
    return any(size < 0 for shape in _network_inputs(network).values() for size in shape)


def _fill_profile(
    profile: trt.IOptimizationProfile,
    network: trt.INetworkDefinition,
    spec: GraphSpec,
    shapes: Mapping[str, tuple[int, int, int]],
    trt: LibraryModule,
) -> None:
    inputs = _network_inputs(network)
    spec = match_layers(spec, inputs)
    if {name: len(shape) for name, shape in inputs.items()} != {
        one.name: len(one.axes) for one in spec.inputs
    }:
        raise EngineError(
            f"the ONNX file is not the graph {spec.name}: expected the inputs "
            f"{', '.join(spec.input_names)}, got {inputs}; export the engines again"
        )
    for tensor in spec.inputs:
        least, best, most = (
            _resolve(tensor, inputs[tensor.name], shapes, index) for index in range(3)
        )
        profile.set_shape(tensor.name, trt.Dims(least), trt.Dims(best), trt.Dims(most))


def _resolve(
    tensor: TensorSpec, shape: Shape, shapes: Mapping[str, tuple[int, int, int]], index: int
) -> list[int]:
    """Return the least (0), best (1) or greatest (2) shape of an input."""
    sizes = []
    for axis, size in zip(tensor.axes, shape, strict=True):
        if size < 0 and (not isinstance(axis, str) or axis not in shapes):
            raise EngineError(
                f"the ONNX file leaves the axis {axis!r} of {tensor.name} open, and the profile "
                f"gives sizes of {', '.join(shapes) or 'none'}; export the engines again"
            )
        sizes.append(size if size >= 0 else shapes[str(axis)][index])
    return sizes


def _read_timing_cache(config: trt.IBuilderConfig, path: Path) -> trt.ITimingCache:
    """Give the builder the times measured before; those of another GPU or version do not count."""
    stored = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(stored)
    if cache is None or not config.set_timing_cache(cache, False):
        _log.warning("the timing cache %s is of another GPU or TensorRT; starting a new one", path)
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _write_timing_cache(cache: trt.ITimingCache, path: Path) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(bytes(cast(Any, cache.serialize())))
    part.replace(path)
