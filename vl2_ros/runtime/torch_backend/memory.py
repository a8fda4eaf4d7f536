"""Estimate the memory that a checkpoint takes on PyTorch, and refuse before it runs out."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch

from vl2_ros.errors import EngineError
from vl2_ros.model.checkpoint.sizes import StoredSizes
from vl2_ros.model.config import ModelConfig
from vl2_ros.model.parts import PERCEPTION_PARTS
from vl2_ros.runtime.free_memory import FreeMemory, find_free_memory
from vl2_ros.runtime.torch_backend.precision import Precision, computes_in_bfloat16

_FLOAT32_BYTES = 4
#: Values of a perception decoder at its peak, for each pixel and as shares of its width; measured.
_DECODER_VALUES = 1.0
#: What a decoder takes in addition on ONNX Runtime, as a share of that; measured.
_MORE_IN_ENGINES = 0.6
#: Rows of the language model's width, and of its inner width, that are there at once.
_ROWS, _INNER_ROWS = 6, 3
#: Key-value caches of the longest prompt that are there at once: one of the frame before, kept for
#: further commands, that of the answer, and its copy to be kept, or what it was before a call.
_CACHES = 3
_LETTERS = 200
_INT8 = "engines of int8 by `vl2 engines build --profile cpu-int8`"
_HALF = "precision bfloat16"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LargestInput:
    """The largest input that memory is kept for.

    Attributes:
        prompt_tokens: longest prompt with its answer.
        one_tile_tokens: the same where an image is one tile.
        pixels: of the largest image at the perception decoders.
    """

    prompt_tokens: int = 4096
    one_tile_tokens: int = 1088
    pixels: int = 800 * 1333


@dataclass(frozen=True, slots=True)
class Demand:
    """What of a checkpoint is used.

    Attributes:
        model: the network.
        sizes: of the stored weights.
        parts: those of `PARTS` that are loaded, at once or later.
        budget_bytes: most memory of the weights of decoders; None sets no limit.
    """

    model: ModelConfig
    sizes: StoredSizes
    parts: frozenset[str]
    budget_bytes: int | None = None

    @property
    def decoders(self) -> dict[str, int]:
        """Bytes of the weights of each perception decoder that is used."""
        names = [name for name in PERCEPTION_PARTS if name in self.parts]
        return {name: self.sizes.count([name]) * _FLOAT32_BYTES for name in names}


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes that a checkpoint takes.

    Attributes:
        resident: memory of its own: weights that are copied, cache, activations.
        mapped: weights in mapped files, which the system may drop and read again.
    """

    resident: int
    mapped: int = 0

    def fits(self, free: FreeMemory) -> bool:
        """Return whether the limits let it be; mapped files need no free memory."""
        if free.resident is not None and self.resident > free.resident:
            return False
        return free.addresses is None or self.resident + self.mapped <= free.addresses

    def describe(self) -> str:
        """Return the numbers in words."""
        mapped = f" and {_format(self.mapped)} of mapped files" if self.mapped else ""
        return f"{_format(self.resident)}{mapped}"


def estimate_need(demand: Demand, precision: Precision, largest: LargestInput) -> MemoryNeed:
    """Add up weights, key-value caches and activations; image generation is not counted.

    Args:
        demand: what is used.
        precision: how the language side is loaded.
        largest: the input at the peak.
    """
    stored = dict(demand.sizes.language)
    if "region_encoder" in demand.parts:
        for dtype, values in demand.sizes.parts.get("region_encoder", {}).items():
            stored[dtype] = stored.get(dtype, 0) + values
    name, width = str(precision.dtype).removeprefix("torch."), precision.dtype.itemsize
    mapped = stored.pop(name, 0) * width if precision.is_mapped else 0
    decoders = sum(demand.decoders.values())
    if demand.budget_bytes is not None:
        decoders = min(decoders, demand.budget_bytes)
    passing = max(_count_language(demand.model, largest, width), _count_decoder(demand, largest))
    cache = _CACHES * _count_cache(demand.model, largest, width)
    return MemoryNeed(sum(stored.values()) * width + decoders + cache + passing, mapped)


def suggest_options(
    demand: Demand, precision: Precision, largest: LargestInput, device: torch.device
) -> dict[str, MemoryNeed]:
    """Return what takes less memory: options in words -> the need with them.

    Args:
        demand: what is used without them.
        precision: how the language side is loaded without them.
        largest: the input without them.
        device: where it runs.
    """
    options: dict[str, MemoryNeed] = {}
    least, words = precision, ""
    if precision.dtype != torch.bfloat16 and (device.type != "cpu" or computes_in_bfloat16()):
        least, words = (
            replace(precision, dtype=torch.bfloat16, is_mapped=device.type == "cpu"),
            _HALF,
        )
        options[words] = estimate_need(demand, least, largest)
    short = replace(largest, prompt_tokens=largest.one_tile_tokens)
    options["max_tiles 1"] = estimate_need(demand, precision, short)
    sizes = demand.decoders
    if len(sizes) > 1 and demand.budget_bytes is None:
        shared = replace(demand, budget_bytes=max(sizes.values()))
        megabytes = math.ceil(max(sizes.values()) / 1e6)
        options[f"memory_budget_mb {megabytes}"] = estimate_need(shared, precision, largest)
    for name in sizes:
        fewer = replace(demand, parts=demand.parts - {name})
        options[f"without {name}"] = estimate_need(fewer, precision, largest)
    if precision.is_large and device.type == "cpu":
        options[_INT8] = _estimate_int8(demand, largest)
        options[f"{_INT8}, max_tiles 1"] = _estimate_int8(demand, short)
    bare = replace(demand, parts=demand.parts - set(sizes))
    together = [words, "max_tiles 1", f"without {' '.join(sizes)}" if sizes else ""]
    options[", ".join(filter(None, together))] = estimate_need(bare, least, short)
    return options


def _estimate_int8(demand: Demand, largest: LargestInput) -> MemoryNeed:
    """Return what engines on ONNX Runtime take.

    A value of the language model is a byte in the layout of the kernels, one of its head four.
    Embeddings and the vision encoder are mapped; the latter is counted as if it were of int8, for
    what the library keeps for itself. The memory of the language model's activations is kept while
    a decoder runs.
    """
    exact = Precision(torch.float32, is_mapped=False, is_large=True)
    table = demand.model.llm["vocab_size"] * demand.model.llm["hidden_size"]
    values = sum(demand.sizes.language.values()) - 2 * table
    nothing = replace(demand, sizes=replace(demand.sizes, language={}))
    rest = estimate_need(nothing, exact, largest).resident
    kept = _count_language(demand.model, largest, _FLOAT32_BYTES)
    more = int(_count_decoder(demand, largest) * _MORE_IN_ENGINES)
    return MemoryNeed(values + _FLOAT32_BYTES * table + kept + more + rest)


def _count_cache(model: ModelConfig, largest: LargestInput, width: int) -> int:
    """Return the bytes of keys and values of the longest prompt."""
    llm = model.llm
    heads = llm.get("num_key_value_heads") or llm["num_attention_heads"]
    head_width = llm.get("head_dim") or llm["hidden_size"] // llm["num_attention_heads"]
    row = 2 * llm["num_hidden_layers"] * heads * head_width
    return int(row * largest.prompt_tokens * width)


def _count_language(model: ModelConfig, largest: LargestInput, width: int) -> int:
    rows = _ROWS * model.llm["hidden_size"] + _INNER_ROWS * model.llm["intermediate_size"]
    return int(rows * largest.prompt_tokens * width)


def _count_decoder(demand: Demand, largest: LargestInput) -> int:
    fields = [PERCEPTION_PARTS[name].config_field for name in demand.decoders]
    widths = [getattr(demand.model, field).d_model for field in fields]
    return int(max(widths, default=0) * largest.pixels * _DECODER_VALUES * _FLOAT32_BYTES)


def _describe_free(free: FreeMemory) -> str:
    if free.addresses is None or (free.resident is not None and free.resident < free.addresses):
        return _format(free.resident or 0)
    return f"{_format(free.addresses)} of the limit of this process (ulimit -v)"


def _format(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def find_free(device: torch.device) -> FreeMemory:
    """Return what a device has left."""
    if device.type != "cuda":
        return find_free_memory()
    free, _ = torch.cuda.mem_get_info(device)
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return FreeMemory(free + unused, None)


def check_need(
    what: str,
    need: MemoryNeed,
    device: torch.device,
    others: Mapping[str, MemoryNeed] | None = None,
) -> None:
    """Refuse what does not fit, before it is loaded.

    Args:
        what: for the message.
        need: its bytes.
        device: where it goes.
        others: option in words -> the need with it, those to suggest where they fit.

    Raises:
        EngineError: with the memory needed, the memory free, and the options that fit.
    """
    free = find_free(device)
    if need.fits(free):
        if free.resident is not None and need.resident + need.mapped > free.resident:
            _log.warning(
                "%s needs %s, and %s are free: weights are read from the disk again and again",
                *(what, need.describe(), _format(free.resident)),
            )
        return
    fitting = [
        f"{option} ({other.describe()})"
        for option, other in (others or {}).items()
        if other.fits(free)
    ]
    advice = f"what fits: {'; '.join(fitting)}" if fitting else "free some, or take another device"
    raise EngineError(
        f"{what} needs {need.describe()}, and {_describe_free(free)} are free on {device}; {advice}"
    )


@contextmanager
def explain_shortage(what: str, device: torch.device) -> Iterator[None]:
    """Raise EngineError in place of whatever an allocation that failed raises."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        is_shortage = isinstance(error, MemoryError | torch.OutOfMemoryError)
        if not is_shortage and "allocate memory" not in str(error):
            raise
        reason = (str(error).splitlines() or [""])[0][:_LETTERS]
        raise EngineError(
            f"{what} ran out of memory on {device}{reason and ': ' + reason}; skip parts by "
            "`without`, choose a smaller precision, or free memory"
        ) from error
