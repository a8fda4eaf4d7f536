"""How the C library of this process keeps freed memory."""

from __future__ import annotations

import ctypes

#: Parameter of glibc's mallopt: blocks from this size on are mapped one by one.
_M_MMAP_THRESHOLD = -3
_IMAGE_BYTES = 1 << 20


def return_freed_images() -> bool:
    """Let blocks as large as images go back to the system when they are freed.

    glibc raises its threshold with the first such block that is freed, and later ones lie between
    small ones in the heaps of the threads, where they stay: a node whose cameras change their size
    kept over 100 MB that way. The price is that the pages of each image are mapped anew.

    Returns:
        Whether the C library has such a setting.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _IMAGE_BYTES))
