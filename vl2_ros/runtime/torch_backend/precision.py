"""Choose the precision in which PyTorch computes the language side of a checkpoint."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from vl2_ros.model.checkpoint.sizes import StoredSizes

#: Bytes in float32 up to which the language side is computed in it, exactly, on any CPU.
EXACT_BYTES = 4 * 10**9
_FLOAT32_BYTES = 4

#: Names of `torch.cpu.get_capabilities` for arithmetic in bfloat16.
_BFLOAT16_UNITS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Precision:
    """How the weights of one checkpoint are loaded.

    Attributes:
        dtype: of the language side; perception decoders have float32.
        is_mapped: weights that are stored in `dtype` stay in the mapped files.
        is_large: decoders wait for their first use.
    """

    dtype: torch.dtype
    is_mapped: bool
    is_large: bool


def choose_precision(sizes: StoredSizes, device: torch.device, wanted: str = "auto") -> Precision:
    """Choose by what is stored, what it takes and what the device computes in.

    `auto` is bfloat16 on a GPU. On a CPU it is float32, but for a checkpoint whose language side
    is stored in bfloat16 and takes more than 4 GB in float32, where the CPU computes in bfloat16.

    Args:
        sizes: of the checkpoint.
        device: where it runs.
        wanted: auto, float32 or bfloat16.
    """
    if device.type != "cpu":
        dtype = torch.float32 if wanted == "float32" else torch.bfloat16
        return Precision(dtype, is_mapped=False, is_large=False)
    is_large = sum(sizes.language.values()) * _FLOAT32_BYTES > EXACT_BYTES
    is_half = wanted == "bfloat16"
    if wanted == "auto" and is_large and is_mostly_bfloat16(sizes.language):
        is_half = computes_in_bfloat16()
    if not is_half:
        return Precision(torch.float32, is_mapped=False, is_large=is_large)
    if wanted == "auto":
        _log.warning(
            "the language model computes in bfloat16, as it is stored, and its weights stay in "
            "the mapped files; precision float32 is exact and takes %.1f GB",
            sum(sizes.language.values()) * _FLOAT32_BYTES / 1e9,
        )
    elif not computes_in_bfloat16():
        _log.warning("this CPU emulates bfloat16, which takes far longer than float32")
    return Precision(torch.bfloat16, is_mapped=True, is_large=True)


def is_mostly_bfloat16(stored: Mapping[str, int]) -> bool:
    """Return whether more than half of some values are stored in bfloat16."""
    return 2 * stored.get("bfloat16", 0) > sum(stored.values())


def computes_in_bfloat16() -> bool:
    """Return whether this CPU has units for bfloat16."""
    find = getattr(torch.cpu, "get_capabilities", None)
    if find is None:  # before torch 2.10
        return bool(torch.cpu._is_avx512_bf16_supported())
    units = find()
    return any(units.get(name, False) for name in _BFLOAT16_UNITS)
