"""Ask the driver whether the CUDA context of this process still works."""

from __future__ import annotations

import ctypes
from typing import Any

#: The driver's own word for "no CUDA in this process": not initialised, or ended.
_UNUSED = (3, 4)


def is_cuda_lost(driver: Any = None) -> bool:
    """Return whether the calling thread's CUDA context fails every call from now on.

    After an illegal access or a failed assertion on the device, no call works until the process
    ends, whatever library makes it. Running out of memory is no such error.

    Args:
        driver: the functions of libcuda; None loads it.

    Returns:
        False also where CUDA is not used.
    """
    if driver is None:
        try:
            driver = ctypes.CDLL("libcuda.so.1")
        except OSError:
            return False
    context = ctypes.c_void_p()
    code = driver.cuCtxGetCurrent(ctypes.byref(context))
    if code in _UNUSED or (code == 0 and not context.value):
        return False
    return bool(code != 0 or driver.cuCtxSynchronize() != 0)
