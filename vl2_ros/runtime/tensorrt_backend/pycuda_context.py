"""Use PyCUDA in the CUDA context of torch and TensorRT; needed only for PyCUDA arrays.

Engines accept PyCUDA's arrays as they accept torch's, without a copy, if both are of one context.
`pycuda.autoinit` would make a context of its own, in which torch's memory cannot be reached.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from vl2_ros.errors import EngineError


@contextlib.contextmanager
def primary_context(index: int = 0) -> Iterator[Any]:
    """Make a device's primary context PyCUDA's current one while the body runs.

    Args:
        index: of the device.

    Yields:
        PyCUDA's context.

    Raises:
        EngineError: if PyCUDA is not installed, or there is no such device.
    """
    try:
        import pycuda.driver as driver
    except ImportError as error:
        raise EngineError(
            f"PyCUDA cannot be loaded ({error}); pip install pycuda, or pass torch tensors, "
            "which need nothing more"
        ) from error
    try:
        driver.init()
        context = driver.Device(index).retain_primary_context()
    except driver.Error as error:
        raise EngineError(f"PyCUDA cannot open CUDA device {index}: {error}") from error
    context.push()
    try:
        yield context
    finally:
        context.pop()
