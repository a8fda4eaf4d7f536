"""Turn exceptions of the DDS library into a TransportError that says what failed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cyclonedds.core import DDSException

from vl2_ros.errors import TransportError


@contextmanager
def named_errors(what: str) -> Iterator[None]:
    """Raise TransportError, beginning with `what`, in place of DDS's exceptions."""
    try:
        yield
    except DDSException as error:
        raise TransportError(f"{what}: {error}") from error
