"""Load a checkpoint folder as engines of eager torch: at once, at first use, or not at all."""

from __future__ import annotations

import ctypes
import gc
import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.model.checkpoint.config import CheckpointConfig, read_checkpoint_config
from vl2_ros.model.checkpoint.folder import describe_checkpoint, load_model, load_part
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.graphs import GRAPHS
from vl2_ros.model.parts import IMAGE_PARTS, PERCEPTION_PARTS, check_part_names
from vl2_ros.runtime.engine import (
    Engine,
    EngineInfo,
    Engines,
    ImageGenerator,
    explain_switched_off,
)
from vl2_ros.runtime.lazy import LazyEngine, LazyImageGenerator, LazyPart, PartMemory
from vl2_ros.runtime.torch_backend.engine import TorchLanguageModel, make_engine
from vl2_ros.structures import Route

#: Bytes of a value of image generation and editing, on CUDA: bfloat16, but for a few.
_IMAGE_BYTES_ON_CUDA = 2.25
_MB = 1e6


@dataclass(frozen=True, slots=True)
class _Choice:
    """When the parts of a checkpoint are loaded."""

    now: frozenset[str]
    later: frozenset[str]
    absent: Mapping[str, str] = field(default_factory=dict)


def load_torch_engines(
    weights: Path,
    *,
    device: str = "cpu",
    without: Collection[str] = (),
    memory_budget_mb: float | None = None,
    cuda_graphs: bool = False,
) -> Engines:
    """Load a checkpoint folder and wrap its parts as engines.

    Image generation and editing are loaded at first use. With a budget the perception decoders
    are as well, so that all decoders share it. The region encoder is small, and the vision
    encoder works for it, so it is always loaded.

    Args:
        weights: a released VisionLLM v2 folder or one saved by vl2_ros.
        device: a torch device; on `cpu` weights are widened to float32, on `cuda` the language
            side and denoisers run in bfloat16 and all else in float32.
        without: those of `model.parts.PARTS` that are skipped.
        memory_budget_mb: most memory of all loaded decoders, in millions of bytes;
            it counts their weights, not their activations.
        cuda_graphs: on `cuda`, replay vision encoder, perception decoders and denoising steps for
            repeated shapes; the recordings keep memory.

    Raises:
        CheckpointError: if the folder is not a complete checkpoint.
        ConfigError: if `without` names no part, or the budget is not positive.
        EngineError: if the device is not there.
    """
    target = _find_device(device)
    if memory_budget_mb is not None and not 0 < memory_budget_mb < math.inf:
        raise ConfigError(
            f"memory_budget_mb must be above 0, got {memory_budget_mb}; omit it for no limit"
        )
    config = read_checkpoint_config(weights)
    choice = _choose_parts(config, without, is_tight=memory_budget_mb is not None)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    model = load_model(weights, dtype=dtype, device=str(target), parts=choice.now)
    budget_bytes = None if memory_budget_mb is None else int(memory_budget_mb * _MB)
    memory = PartMemory(budget_bytes, release_memory)
    parts = _LaterParts(weights, target, dtype, memory, cuda_graphs)
    if budget_bytes is not None:
        parts.expect(choice.later, config.folders)
    decoders: dict[str, Engine] = {}
    for name in PERCEPTION_PARTS:
        if name in choice.later:
            decoders[name] = parts.make_engine(name)
        elif name in choice.now:
            model.get_submodule(name).float()
            decoders[name] = make_engine(model, name, target, cuda_graphs=cuda_graphs)
    regions = "region_encoder" in choice.now
    return Engines(
        vision_encoder=make_engine(model, "vision_encoder", target, cuda_graphs=cuda_graphs),
        language_model=TorchLanguageModel(model, target),
        decoders=decoders,
        # It picks points by the values of the masks: nothing to record.
        region_encoder=make_engine(model, "region_encoder", target) if regions else None,
        image_generators=parts.make_generators(choice.later),
        absent=choice.absent,
    )


def add_torch_generators(
    engines: Engines, weights: Path, *, device: str = "cpu", without: Collection[str] = ()
) -> Engines:
    """Add image generation and editing on PyTorch to engines of another backend.

    Args:
        engines: of the same checkpoint; routes that they serve stay theirs.
        weights: its folder.
        device: a torch device.
        without: see `load_torch_engines`.

    Raises:
        as `load_torch_engines` does.
    """
    target = _find_device(device)
    choice = _choose_parts(read_checkpoint_config(weights), without, is_tight=False)
    dtype = torch.bfloat16 if target.type == "cuda" else torch.float32
    parts = _LaterParts(weights, target, dtype, PartMemory(None, release_memory), False)
    return replace(
        engines,
        image_generators={**parts.make_generators(choice.later), **engines.image_generators},
        absent={**engines.absent, **choice.absent},
    )


def _find_device(device: str) -> torch.device:
    try:
        target = torch.device(device)
    except RuntimeError as error:
        raise EngineError(f"unknown device {device!r}; expected cpu, cuda or cuda:0") from error
    if target.type == "cuda" and not torch.cuda.is_available():
        raise EngineError(f"{device!r} was requested, but torch sees no CUDA device; use cpu")
    return target


def _choose_parts(config: CheckpointConfig, without: Collection[str], *, is_tight: bool) -> _Choice:
    check_part_names(without, "`without`")
    switched_off = {
        name: explain_switched_off(name) for name in config.model.parts if name in without
    }
    absent = {**config.unavailable, **switched_off}
    present = set(config.model.parts) - set(absent)
    later = present & {*IMAGE_PARTS, *(PERCEPTION_PARTS if is_tight else ())}
    return _Choice(frozenset(present - later), frozenset(later), absent)


class _LaterParts:
    """Parts of one checkpoint that are loaded at first use."""

    def __init__(
        self,
        weights: Path,
        device: torch.device,
        dtype: torch.dtype,
        memory: PartMemory,
        cuda_graphs: bool,
    ) -> None:
        self._weights = weights
        self._device = device
        self._dtype = dtype
        self._memory = memory
        self._cuda_graphs = cuda_graphs
        self._expected: dict[str, int] = {}

    def expect(self, names: Collection[str], folders: Mapping[str, DiffusionFolder]) -> None:
        """Return the sizes of parts before they are loaded, for the budget."""
        values = describe_checkpoint(self._weights).parts
        for name in names:
            is_half = self._device.type == "cuda" and name in IMAGE_PARTS
            size = values[name] * (_IMAGE_BYTES_ON_CUDA if is_half else 4)
            if name in folders:
                size += _checker_bytes(folders[name]) / (2 if is_half else 1)
            self._expected[name] = int(size)

    def make_engine(self, name: str) -> LazyEngine:
        def load() -> tuple[Engine, int]:
            decoder = load_part(self._weights, name, device=self._device)
            # The graph looks at this attribute of a whole network only.
            holder: Any = SimpleNamespace(**{name: decoder})
            engine = make_engine(holder, name, self._device, cuda_graphs=self._cuda_graphs)
            return engine, count_bytes(decoder)

        return LazyEngine(self._describe(name), self._part(name, load))

    def make_generators(self, names: Collection[str]) -> dict[Route, ImageGenerator]:
        return {
            route: self._make_generator(name, route)
            for name, part in IMAGE_PARTS.items()
            if name in names
            for route in part.routes
        }

    def _make_generator(self, name: str, route: Route) -> LazyImageGenerator:
        def load() -> tuple[ImageGenerator, int]:
            from vl2_ros.model.diffusion.safety_checker import load_safety_checker
            from vl2_ros.runtime.torch_backend.diffusion import (
                make_torch_check,
                make_torch_generator,
            )

            network: Any = load_part(self._weights, name, dtype=self._dtype, device=self._device)
            checker, check, folder = None, None, network.folder
            if folder is not None:
                checker = load_safety_checker(folder, dtype=self._dtype, device=self._device)
            if checker is not None:
                check = make_torch_check(checker, folder, self._device)
            generator = make_torch_generator(
                network, route, self._device, cuda_graphs=self._cuda_graphs, is_unsafe=check
            )
            release_memory()  # of the text encoder
            return generator, count_bytes(network) + (count_bytes(checker) if checker else 0)

        return LazyImageGenerator(self._describe("denoiser"), self._part(name, load))

    def _part(self, name: str, load: Any) -> LazyPart[Any]:
        return LazyPart(name, load, self._memory, self._expected.get(name, 0))

    def _describe(self, graph: str) -> EngineInfo:
        spec = GRAPHS[graph]
        return EngineInfo(graph, "torch", str(self._device), spec.input_names, spec.output_names)


def _checker_bytes(folder: DiffusionFolder) -> int:
    """Return the bytes of a safety checker in float32; each of its files has all of it, or half."""
    if folder.safety_checker is None:
        return 0
    files = (path for path in folder.safety_checker.glob("*") if path.suffix != ".json")
    return max((path.stat().st_size for path in files), default=0)


def count_bytes(module: nn.Module) -> int:
    """Return the bytes of the weights of a module; shared ones count once."""
    return sum(one.nbytes for one in (*module.parameters(), *module.buffers()))


def release_memory() -> None:
    """Give freed memory back to the system, as far as the libraries below keep it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        # glibc keeps freed blocks for later use; other C libraries have no such call.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
