"""The two TensorRT libraries: their differences in one table, and the parts of them that are used.

Both have the same classes. No other file asks which of the two it has before it; what differs is
here and in `runtime_settings.py`. Imports neither of them before `Library.load`.
"""

from __future__ import annotations

import importlib
import re
import types
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from vl2_ros.documents import shorten
from vl2_ros.errors import EngineError

if TYPE_CHECKING:
    import tensorrt as trt

T = TypeVar("T")

#: Of a plan for which no compute capability was named.
_ANY_GPU = "any GPU from 8.0"
_ANY_GPU_FROM = (8, 0)
_NAMED_GPUS = "compute capability "
_COMPUTE_CAPABILITY = re.compile(r"[1-9]\d?\.\d")


class LibraryModule(Protocol):
    """The parts of a TensorRT module that are used."""

    __version__: str
    BuilderFlag: type[trt.BuilderFlag]
    Builder: type[trt.Builder]
    DataType: type[trt.DataType]
    Dims: type[trt.Dims]
    ExecutionContextAllocationStrategy: type[trt.ExecutionContextAllocationStrategy]
    ILogger: type[trt.ILogger]
    IProgressMonitor: type[trt.IProgressMonitor]
    MemoryPoolType: type[trt.MemoryPoolType]
    NetworkDefinitionCreationFlag: type[trt.NetworkDefinitionCreationFlag]
    OnnxParser: type[trt.OnnxParser]
    Runtime: type[trt.Runtime]
    TensorIOMode: type[trt.TensorIOMode]
    TensorLocation: type[trt.TensorLocation]


@dataclass(frozen=True, slots=True)
class Library:
    """What is different between the libraries.

    Attributes:
        backend: name of the inference backend.
        module: Python module.
        title: name for people.
        install: how it comes onto a machine.
        builds_on_gpu: plans are built on the GPU that runs them, and kernels are timed on it.
            False: plans are built for compute capabilities, on any machine.
        spans_versions: plans can be built that later versions load as well.
        has_runtime_settings: kernels are compiled on the GPU that loads a plan, and CUDA graphs are
            recorded, by the library itself, as `RuntimeSettings` says.
    """

    backend: str
    module: str
    title: str
    install: str
    builds_on_gpu: bool
    spans_versions: bool
    has_runtime_settings: bool

    def load(self) -> LibraryModule:
        """Import the library.

        Raises:
            EngineError: if it cannot be loaded, with the next step.
        """
        try:
            return cast(LibraryModule, importlib.import_module(self.module))
        except (ImportError, OSError) as error:
            raise EngineError(
                f"{self.title} cannot be loaded ({error}); {self.install}; or take the backend "
                "onnxruntime or torch"
            ) from error

    def find_runtime(self) -> str:
        """Return the library and its version, such as `tensorrt 10.3.0`.

        Raises:
            EngineError: if it cannot be loaded.
        """
        return f"{self.backend} {self.load().__version__}"


TENSORRT = Library(
    "tensorrt",
    "tensorrt",
    "TensorRT",
    "JetPack brings it as the system package python3-libnvinfer, a PC gets it with "
    "`pip install tensorrt`",
    builds_on_gpu=True,
    spans_versions=True,
    has_runtime_settings=False,
)
TENSORRT_RTX = Library(
    "tensorrt-rtx",
    "tensorrt_rtx",
    "TensorRT for RTX",
    "on Linux x86-64 and Windows: pip install 'vl2_ros[rtx]'",
    builds_on_gpu=False,
    spans_versions=False,
    has_runtime_settings=True,
)
#: Backend -> library.
LIBRARIES = {one.backend: one for one in (TENSORRT, TENSORRT_RTX)}


def describe_target(compute_capabilities: Sequence[str]) -> str:
    """Return which GPUs a plan is for that is built without one; `EngineFile.built_for` has it.

    Args:
        compute_capabilities: such as 8.6; none: those of the library's default.

    Raises:
        EngineError: if one is no number with one decimal.
    """
    if not compute_capabilities:
        return _ANY_GPU
    for one in compute_capabilities:
        if not _COMPUTE_CAPABILITY.fullmatch(one):
            raise EngineError(
                f"expected a compute capability such as 8.6 or 12.0, got {shorten(one)}"
            )
    ordered = sorted(set(compute_capabilities), key=lambda one: tuple(map(int, one.split("."))))
    return _NAMED_GPUS + ", ".join(ordered)


def read_target(built_for: str) -> tuple[str, ...]:
    """Return the compute capabilities that `describe_target` named; none for any other device."""
    named = built_for.removeprefix(_NAMED_GPUS)
    return () if named == built_for else tuple(named.split(", "))


def is_target(built_for: str, compute_capability: tuple[int, int]) -> bool:
    """Return whether a GPU is one of those that `describe_target` names."""
    if built_for == _ANY_GPU:
        return compute_capability >= _ANY_GPU_FROM
    return "{}.{}".format(*compute_capability) in read_target(built_for)


def set_target(
    trt: LibraryModule, config: trt.IBuilderConfig, compute_capabilities: Sequence[str]
) -> None:
    """Name the GPUs that a plan is built for; none is the library's default.

    Raises:
        EngineError: if the library builds for no such GPU.
    """
    # Only TensorRT for RTX has these members.
    module, settings = cast(Any, trt), cast(Any, config)
    if not compute_capabilities:
        return
    known = {
        f"{name[2:-1]}.{name[-1]}": value
        for name, value in module.ComputeCapability.__members__.items()
        if name.startswith("SM")
    }
    unknown = [one for one in compute_capabilities if one not in known]
    if unknown:
        raise EngineError(
            f"TensorRT for RTX {trt.__version__} builds for compute capability "
            f"{', '.join(known)}, got {', '.join(unknown)}; name others, or none for any GPU from "
            "8.0; a Jetson builds its plans with the backend tensorrt"
        )
    settings.num_compute_capabilities = len(compute_capabilities)
    for index, one in enumerate(compute_capabilities):
        settings.set_compute_capability(known[one], index)


def extend(base: type, own: type[T], *arguments: object) -> T:
    """Return an instance of a class of ours that the library takes for one of its interface.

    Args:
        base: interface of the library, such as ILogger.
        own: class with its methods, which calls `super().__init__()`.
        arguments: of `own`.
    """
    return cast(T, types.new_class(own.__name__, (own, base))(*arguments))
