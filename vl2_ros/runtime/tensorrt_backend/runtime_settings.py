"""How TensorRT for RTX runs a plan: kernels compiled on the GPU and kept, CUDA graphs recorded.

Compiled kernels are code, so they are kept in the user's own cache and not beside the engines,
which may come from elsewhere.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vl2_ros.runtime.cuda_memory import DeviceMemory
from vl2_ros.runtime.files.engine_files import EngineFile
from vl2_ros.runtime.files.engine_folders import cache_root
from vl2_ros.runtime.tensorrt_backend.dims import Shape

#: Least, best and greatest shape of each input in one optimisation profile.
Ranges = Mapping[str, tuple[Shape, Shape, Shape]]

#: In the user's cache.
_FOLDER = "kernels"
#: An input whose last axis grows: a kernel for one size would never be used again.
_GROWING = "past_mask"
_log = logging.getLogger(__name__)


def find_kernel_file(file: EngineFile, memory: DeviceMemory) -> Path:
    """Return where the compiled kernels of a plan are kept for a GPU."""
    major, minor = memory.compute_capability
    return cache_root() / _FOLDER / f"{file.graph}.{file.sha256[:16]}.sm_{major}{minor}"


class RuntimeSettings:
    """The settings of a plan's execution contexts, and the file of its compiled kernels."""

    def __init__(self, library: Any, engine: Any, kernels: Path) -> None:
        """Store where compiled kernels are kept.

        Args:
            library: the module of TensorRT for RTX.
            engine: its ICudaEngine.
            kernels: file of compiled kernels; need not be there.
        """
        self._library, self._engine, self._kernels = library, engine, kernels
        self._cache: Any = None
        self._is_saved = True

    def create_context(self, ranges: Ranges, *, record: bool) -> Any:
        """Create an execution context for one optimisation profile; None where memory is short.

        Args:
            ranges: shapes of the profile.
            record: record a CUDA graph of it.
        """
        trt, config = self._library, self._engine.create_runtime_config()
        # A context stays with its profile, so that it needs no memory for the others.
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        )
        kinds = trt.DynamicShapesKernelSpecializationStrategy
        least, _, most = ranges.get(_GROWING, ((), (), ()))
        config.dynamic_shapes_kernel_specialization_strategy = (
            kinds.LAZY if least[-1:] == most[-1:] else kinds.NONE
        )
        strategies = trt.CudaGraphStrategy
        config.cuda_graph_strategy = (
            strategies.WHOLE_GRAPH_CAPTURE if record else strategies.DISABLED
        )
        if self._cache is None:
            self._cache = self._read_kernels(config)
        config.set_runtime_cache(self._cache)
        self._is_saved = False
        return self._engine.create_execution_context(runtime_config=config)

    def save_new_kernels(self) -> None:
        """Write the compiled kernels, once after each new context."""
        if not self._is_saved:
            self.save_kernels()
            self._is_saved = True

    def save_kernels(self) -> None:
        """Write the compiled kernels; where that fails, the next start compiles them again."""
        content = None if self._cache is None else self._cache.serialize()
        if content is None:
            return
        # Other processes may write theirs at the same time.
        part = self._kernels.with_name(f"{self._kernels.name}.{os.getpid()}.part")
        try:
            self._kernels.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(content)
            part.replace(self._kernels)
        except OSError as error:
            _log.warning("compiled kernels are not kept: %s", error)

    def _read_kernels(self, config: Any) -> Any:
        cache = config.create_runtime_cache()
        if self._kernels.is_file() and not cache.deserialize(self._kernels.read_bytes()):
            _log.info("kernels in %s are of another driver or version: compiling", self._kernels)
        return cache
