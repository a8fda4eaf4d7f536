"""Load a checkpoint folder as engines of eager torch: at once, at first use, or not at all."""

from __future__ import annotations

import ctypes
import gc
import logging
import math
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from vl2_ros.errors import ConfigError, EngineError
from vl2_ros.model.checkpoint.config import CheckpointConfig, read_checkpoint_config
from vl2_ros.model.checkpoint.folder import load_model, load_part
from vl2_ros.model.checkpoint.opening import Progress
from vl2_ros.model.checkpoint.sizes import StoredSizes, count_stored
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.diffusion.folder import DiffusionFolder
from vl2_ros.model.graphs import GRAPHS, with_layers
from vl2_ros.model.parts import IMAGE_PARTS, PERCEPTION_PARTS, check_part_names
from vl2_ros.runtime.engine import (
    EngineInfo,
    Engines,
    ImageGenerator,
    PerceptionDecoder,
    explain_switched_off,
)
from vl2_ros.runtime.lazy import LazyEngine, LazyImageGenerator, LazyPart, PartMemory
from vl2_ros.runtime.torch_backend.engine import (
    TorchLanguageModel,
    make_decoder,
    make_engine,
)
from vl2_ros.runtime.torch_backend.memory import (
    Demand,
    LargestInput,
    MemoryNeed,
    check_need,
    estimate_need,
    explain_shortage,
    suggest_options,
)
from vl2_ros.runtime.torch_backend.one_row import speed_up_single_rows
from vl2_ros.runtime.torch_backend.precision import choose_precision
from vl2_ros.structures import Route

#: Bytes of a value of image generation and editing, on CUDA: bfloat16, but for a few.
_IMAGE_BYTES_ON_CUDA = 2.25
_MB = 1e6

_log = logging.getLogger(__name__)


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
    precision: str = "auto",
    largest: LargestInput | None = None,
    progress: Progress | None = None,
) -> Engines:
    """Load a checkpoint folder and wrap its parts as engines.

    Image generation and editing are loaded at first use. With a budget, and where a large
    checkpoint runs on a CPU, the perception decoders are as well. The region encoder is small, and
    the vision encoder works for it, so it is always loaded. The memory that all but images take is
    compared with what is free before a weight is read.

    Args:
        weights: a released VisionLLM v2 folder or one saved by vl2_ros.
        device: a torch device; perception decoders run in float32, denoisers in float32 on `cpu`
            and in bfloat16 on `cuda`.
        without: those of `model.parts.PARTS` that are skipped.
        memory_budget_mb: most memory of all loaded decoders, in millions of bytes;
            it counts their weights, not their activations.
        cuda_graphs: on `cuda`, replay vision encoder, perception decoders and denoising steps for
            repeated shapes; the recordings keep memory.
        precision: of the language side: auto, float32 or bfloat16; see `choose_precision`.
        largest: the input that memory is kept for.
        progress: called with the bytes of the checkpoint that are read, and all to be read.

    Raises:
        CheckpointError: if the folder is not a complete checkpoint.
        ConfigError: if `without` names no part, or the budget is not positive.
        EngineError: if the device is not there, or the memory is too small.
    """
    target = _find_device(device)
    if memory_budget_mb is not None and not 0 < memory_budget_mb < math.inf:
        raise ConfigError(
            f"memory_budget_mb must be above 0, got {memory_budget_mb}; omit it for no limit"
        )
    config = read_checkpoint_config(weights)
    sizes = count_stored(weights, config)
    chosen = choose_precision(sizes, target, precision)
    is_tight = memory_budget_mb is not None or (chosen.is_large and target.type == "cpu")
    choice = _choose_parts(config, without, is_tight=is_tight)
    budget_bytes = None if memory_budget_mb is None else int(memory_budget_mb * _MB)
    demand = Demand(config.model, sizes, frozenset(choice.now | choice.later), budget_bytes)
    largest = largest or LargestInput()
    check_need(
        str(weights),
        estimate_need(demand, chosen, largest),
        target,
        suggest_options(demand, chosen, largest, target),
    )
    with explain_shortage(str(weights), target):
        model = load_model(
            weights,
            dtype=chosen.dtype,
            device=str(target),
            parts=choice.now,
            progress=progress,
            mapped=chosen.is_mapped,
        )
    if target.type == "cpu" and chosen.dtype == torch.bfloat16:
        speed_up_single_rows(model.llm)
    memory = PartMemory(budget_bytes, release_memory)
    parts = _LaterParts(weights, target, memory, cuda_graphs)
    parts.expect(choice.later, config.folders, sizes)
    decoders: dict[str, PerceptionDecoder] = {}
    for name in PERCEPTION_PARTS:
        if name in choice.later:
            decoders[name] = parts.make_decoder(name, config.model)
        elif name in choice.now:
            model.get_submodule(name).float()
            decoders[name] = make_decoder(model, name, target, cuda_graphs=cuda_graphs)
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
    config = read_checkpoint_config(weights)
    choice = _choose_parts(config, without, is_tight=False)
    parts = _LaterParts(weights, target, PartMemory(None, release_memory), False)
    parts.expect(choice.later, config.folders, count_stored(weights, config))
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
        memory: PartMemory,
        cuda_graphs: bool,
    ) -> None:
        self._weights = weights
        self._device = device
        self._dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self._memory = memory
        self._cuda_graphs = cuda_graphs
        self._expected: dict[str, int] = {}

    def expect(
        self,
        names: Collection[str],
        folders: Mapping[str, DiffusionFolder],
        sizes: StoredSizes,
    ) -> None:
        """Note the sizes of parts before they are loaded."""
        for name in names:
            is_half = self._device.type == "cuda" and name in IMAGE_PARTS
            size = sizes.count([name]) * (_IMAGE_BYTES_ON_CUDA if is_half else 4)
            if name in folders:
                size += _checker_bytes(folders[name]) / (2 if is_half else 1)
            self._expected[name] = int(size)

    def make_decoder(self, name: str, config: ModelConfig) -> PerceptionDecoder:
        def load() -> tuple[PerceptionDecoder, int]:
            decoder = self._load_part(name, torch.float32)
            # The graphs look at this attribute of a whole network only.
            holder: Any = SimpleNamespace(**{name: decoder})
            made = make_decoder(holder, name, self._device, cuda_graphs=self._cuda_graphs)
            return made, count_bytes(decoder)

        row, part = PERCEPTION_PARTS[name], self._part(name, load)
        maps = getattr(config, row.config_field).map_count
        return PerceptionDecoder(
            LazyEngine(self._describe(row.backbone, maps), part, attrgetter("backbone")),
            LazyEngine(self._describe(name, maps), part, attrgetter("decoder")),
        )

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

            network: Any = self._load_part(name, self._dtype)
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

    def _load_part(self, name: str, dtype: torch.dtype) -> nn.Module:
        needed = self._expected[name]
        check_need(name, MemoryNeed(needed), self._device)
        _log.info("loading %s, %.1f MB", name, needed / _MB)
        with explain_shortage(name, self._device):
            return load_part(self._weights, name, dtype=dtype, device=self._device)

    def _part(self, name: str, load: Any) -> LazyPart[Any]:
        return LazyPart(name, load, self._memory, self._expected[name])

    def _describe(self, graph: str, layers: int = 0) -> EngineInfo:
        spec = with_layers(GRAPHS[graph], layers)
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
