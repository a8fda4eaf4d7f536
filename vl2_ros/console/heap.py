"""How the C library of this process keeps freed memory."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

#: Parameter of glibc's mallopt: blocks from this size on are mapped one by one.
_M_MMAP_THRESHOLD = -3
_IMAGE_BYTES = 1 << 20
#: Between two looks for pages that are free; one look takes a few milliseconds.
_TRIM_PERIOD_S = 10.0
_THREAD = "trim"


def return_freed_memory() -> bool:
    """Let freed memory go back to the system as long as this process lives.

    glibc raises the size from which blocks are mapped one by one with the first such block that is
    freed; later images lie between small blocks in the heaps of the threads, where they stay: a
    node whose cameras change their size kept over 100 MB that way. So the size is fixed, at the
    price that the pages of each image are mapped anew. What small blocks leave free within those
    heaps after a burst of commands is given back every 10 s by a thread.

    Returns:
        Whether the C library has such settings.
    """
    try:
        library = ctypes.CDLL(None)
        mallopt, trim = library.mallopt, library.malloc_trim
    except (AttributeError, OSError, TypeError):
        return False
    if not any(thread.name == _THREAD for thread in threading.enumerate()):
        threading.Thread(target=_trim_often, args=(trim,), name=_THREAD, daemon=True).start()
    return bool(mallopt(_M_MMAP_THRESHOLD, _IMAGE_BYTES))


def _trim_often(trim: Callable[[int], int]) -> None:
    pause = threading.Event()
    while not pause.wait(_TRIM_PERIOD_S):
        trim(0)
