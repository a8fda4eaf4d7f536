"""What the processor can do: whether it multiplies bytes faster than floats."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

_CPU_FLAGS = Path("/proc/cpuinfo")
#: Words of Linux for products of bytes that are added up: VNNI and AMX of x86, dot product of ARM.
_BYTE_UNITS = frozenset({"avx512_vnni", "avx_vnni", "amx_int8", "asimddp"})


def multiplies_bytes(flags: Path = _CPU_FLAGS) -> bool:
    """Return whether engines of int8 are faster than those of float32; false where unknown.

    Args:
        flags: what Linux says of the processor.
    """
    if sys.platform == "darwin":
        # Every processor of Apple's own has the dot product.
        return platform.machine() == "arm64"
    try:
        lines = flags.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    # The cores of one machine may differ, and any of them may compute.
    known = [
        frozenset(words.split())
        for name, _, words in (line.partition(":") for line in lines)
        if name.strip() in ("flags", "Features")
    ]
    return bool(known) and all(not _BYTE_UNITS.isdisjoint(one) for one in known)
