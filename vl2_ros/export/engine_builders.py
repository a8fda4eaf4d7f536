"""The interface between the store and the libraries that build engines: a class per backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from vl2_ros.documents import is_file
from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.export.engine_profile import EngineProfile, GraphProfile
from vl2_ros.runtime.engine import Engine
from vl2_ros.runtime.files.engine_files import WEIGHTS_SUFFIX, EngineFile
from vl2_ros.runtime.tensorrt_backend.build_progress import BuildProgress
from vl2_ros.runtime.tensorrt_backend.library import LIBRARIES, describe_target, is_target
from vl2_ros.runtime.tensorrt_backend.trusted_plans import TrustedPlans

if TYPE_CHECKING:
    from vl2_ros.runtime.cuda_memory import DeviceMemory

Listener = Callable[[BuildProgress], None]


@dataclass(frozen=True, slots=True)
class EnginePaths:
    """Where a build writes.

    Attributes:
        engine: the file; it gets its final name when it is whole.
        weights: for weights beside it, under the final name, as the engine contains that.
        timing_cache: kernel times measured so far, of all builds in the folder.
    """

    engine: Path
    weights: Path
    timing_cache: Path


class Builder(Protocol):
    """Makes engines out of ONNX files, and loads them.

    Attributes:
        suffix: of the engines' files.
        runtime: library and version, such as `tensorrt 10.3.0`.
        device_name: what engines are built for, such as `NVIDIA Orin sm_87`.
        options: what else the engines depend on.
        is_portable: later versions of the same major may also load the engines.
        machine: library and device on which engines run now; empty: they cannot run here, so that
            new ones are stored unverified.
        is_for_others: engines run on machines other than this one, and keep stored calls with which
            they are verified there.
    """

    suffix: str
    runtime: str
    device_name: str
    options: Mapping[str, int | bool | str]
    is_portable: bool
    machine: str
    is_for_others: bool

    def build(
        self, onnx: Path, profile: GraphProfile, out: EnginePaths, progress: Listener
    ) -> None:
        """Write the engine of one graph, and its weights beside it where it does not hold them.

        Raises:
            EngineError: if the file cannot be read or built.
        """

    def load(self, file: EngineFile, *, just_built: bool = False) -> Engine:
        """Load an engine that this builder wrote.

        Args:
            file: the engine.
            just_built: it was, by this process.

        Raises:
            EngineError: if it does not work here.
        """

    def check_built(self, file: EngineFile) -> None:
        """Check that an engine may be loaded here, without reading it.

        Raises:
            EngineError: if it was built with another library or for another device.
        """

    def accept(self, file: EngineFile) -> None:
        """Remember that an engine was built here."""


class OnnxRuntimeBuilder:
    """ONNX files whose constants are folded and whose operators are fused once, not at each start.

    Args:
        device: cpu, cuda or cuda:1.
    """

    suffix = ".onnx"
    is_portable = True
    is_for_others = False

    def __init__(self, device: str = "cpu") -> None:
        """Find the library.

        Raises:
            EngineError: if it is not installed, or has no such device.
        """
        try:
            from vl2_ros.runtime.onnxruntime_backend import engine as onnx_engine
        except ImportError as error:
            raise EngineError(
                f"ONNX Runtime cannot be loaded ({error}); pip install onnxruntime"
            ) from error
        self._library = onnx_engine
        self._device = device
        self.runtime = onnx_engine.find_runtime()
        self.device_name = onnx_engine.find_device(device)
        self.machine = f"{self.runtime} on {self.device_name}"
        self.options: Mapping[str, int | bool | str] = {}

    def build(
        self, onnx: Path, profile: GraphProfile, out: EnginePaths, progress: Listener
    ) -> None:
        """Write the optimised graph; shapes need not be known."""
        has_own = is_file(onnx.with_name(onnx.name + WEIGHTS_SUFFIX))
        progress(BuildProgress("optimising the graph", 0.0, None))
        self._library.optimise_graph(
            onnx, out.engine, weights=out.weights if has_own else None, device=self._device
        )
        progress(BuildProgress("optimised", 1.0, 0.0))

    def load(self, file: EngineFile, *, just_built: bool = False) -> Engine:
        """Load with ONNX Runtime."""
        return self._library.OnnxEngine(file, device=self._device)

    def check_built(self, file: EngineFile) -> None:
        """Compare library and device."""
        file.check_built(self.runtime, self.device_name)

    def accept(self, file: EngineFile) -> None:
        """Nothing: an ONNX file is data."""


class TensorRTBuilder:
    """Plans of either TensorRT: for the GPU of this machine, or for those that a profile names.

    Args:
        profile: of the machine.
        trusted: list that accepted plans are added to; None: the user's.
    """

    suffix = ".plan"

    def __init__(self, profile: EngineProfile, trusted: TrustedPlans | None = None) -> None:
        """Find the library, and the GPU where plans are built on it.

        Raises:
            EngineError: if one is not there.
        """
        try:
            from vl2_ros.runtime.tensorrt_backend import build as tensorrt_build
            from vl2_ros.runtime.tensorrt_backend import engine as tensorrt_engine
        except ImportError as error:
            raise EngineError(
                f"the profile {profile.name} needs torch, which cannot be loaded ({error}); "
                "pip install 'vl2_ros[torch]'"
            ) from error
        self._build, self._engine = tensorrt_build, tensorrt_engine
        self._library = LIBRARIES[profile.backend]
        self._profile = profile
        self._trusted = TrustedPlans() if trusted is None else trusted
        self.runtime = self._library.find_runtime()
        self._memory = self._open_device()
        self.device_name = self._find_target()
        self.machine = self._find_machine()
        self.is_for_others = not self._library.builds_on_gpu
        self.is_portable = profile.version_compatible
        self.options: Mapping[str, int | bool | str] = {
            "workspace_bytes": profile.workspace_bytes,
            "optimization_level": profile.optimization_level,
            "version_compatible": profile.version_compatible,
        }

    def _open_device(self) -> DeviceMemory | None:
        """Return the memory of the GPU; None without one, where plans are built all the same."""
        try:
            return self._engine.open_device(self._profile.device)
        except EngineError:
            if self._library.builds_on_gpu:
                raise
            return None

    def _find_target(self) -> str:
        """Return what plans are built for."""
        if self._memory is not None and self._library.builds_on_gpu:
            return self._memory.name
        return describe_target(self._profile.compute_capabilities)

    def _find_machine(self) -> str:
        memory = self._memory
        if memory is None or not (
            self._library.builds_on_gpu or is_target(self.device_name, memory.compute_capability)
        ):
            return ""
        return f"{self.runtime} on {memory.name}"

    def build(
        self, onnx: Path, profile: GraphProfile, out: EnginePaths, progress: Listener
    ) -> None:
        """Build a plan, which holds its weights; takes minutes."""
        order = self._build.PlanOrder(
            profile.graph,
            profile.shapes,
            self._profile.workspace_bytes,
            self._profile.optimization_level,
            self._profile.version_compatible,
            self._profile.compute_capabilities,
        )
        self._build.build_plan(
            onnx,
            out.engine,
            order,
            self._library,
            timing_cache=out.timing_cache,
            progress=progress,
        )

    def load(self, file: EngineFile, *, just_built: bool = False) -> Engine:
        """Load a plan that was just built, or that is trusted."""
        trusted = TrustedPlans(self._trusted.path, [file.sha256]) if just_built else self._trusted
        return self._engine.TensorRTEngine(
            file, self._library, device=self._profile.device, trusted=trusted
        )

    def check_built(self, file: EngineFile) -> None:
        """Compare library and GPU, and look for the plan on the list of those that are trusted."""
        memory = self._memory
        here = file.built_for
        if memory is not None:
            here = self._engine.find_target(file, self._library, memory)
        file.check_built(self.runtime, here)
        self._trusted.require(file.sha256, file.path)

    def accept(self, file: EngineFile) -> None:
        """Put a plan that was built here on the list of plans that may be loaded."""
        self._trusted.add(file.sha256, f"{file.name}, built with {file.built_with}")


def make_builder(profile: EngineProfile, trusted: TrustedPlans | None = None) -> Builder:
    """Return the builder of a profile's backend.

    Raises:
        ConfigError: if there is none.
        EngineError: if its library or its device is missing.
    """
    if profile.backend == "onnxruntime":
        return OnnxRuntimeBuilder(profile.device)
    if profile.backend in LIBRARIES:
        return TensorRTBuilder(profile, trusted)
    raise ConfigError(f"no builder for the backend {profile.backend!r}")
