"""Messages of a TensorRT library, passed to Python's logging."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from vl2_ros.runtime.tensorrt_backend.library import LibraryModule, extend

if TYPE_CHECKING:
    import tensorrt as trt

_log = logging.getLogger(__name__)


class LibraryLog:
    """Passes messages on and remembers the last errors; made by `make_log`."""

    def __init__(self) -> None:
        """Start without errors."""
        super().__init__()
        self.errors: deque[str] = deque(maxlen=3)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Log a message of the library."""
        if severity.name in ("INTERNAL_ERROR", "ERROR"):
            self.errors.append(msg)
        _log.log(logging.WARNING if severity.name == "WARNING" else logging.DEBUG, "%s", msg)

    def last_errors(self) -> str:
        """Return the last errors on one line."""
        return "; ".join(self.errors) or "it gave no reason"


def make_log(library: LibraryModule) -> LibraryLog:
    """Return a log that the library can write to."""
    return extend(library.ILogger, LibraryLog)
