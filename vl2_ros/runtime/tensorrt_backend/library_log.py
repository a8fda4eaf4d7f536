"""Messages of a TensorRT library, passed to Python's logging."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING

from vl2_ros.runtime.tensorrt_backend.library import LibraryModule, extend

if TYPE_CHECKING:
    import tensorrt as trt

#: Interface of a library -> its log.
_logs: dict[type, LibraryLog] = {}
_log = logging.getLogger(__name__)


class LibraryLog:
    """Passes messages on and remembers the last errors; from `open_log`."""

    def __init__(self) -> None:
        """Start without errors."""
        super().__init__()
        self._errors: deque[str] = deque(maxlen=3)

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Log a message of the library."""
        if severity.name in ("INTERNAL_ERROR", "ERROR"):
            self._errors.append(msg)
        _log.log(logging.WARNING if severity.name == "WARNING" else logging.DEBUG, "%s", msg)

    def forget_errors(self) -> None:
        """Forget the errors of an earlier call."""
        self._errors.clear()

    def last_errors(self) -> str:
        """Return the last errors on one line."""
        return "; ".join(self._errors) or "it gave no reason"


def open_log(library: LibraryModule) -> LibraryLog:
    """Return the one log of a library, which keeps the first that it gets and ignores others."""
    log = _logs.get(library.ILogger)
    if log is None:
        log = _logs[library.ILogger] = extend(library.ILogger, LibraryLog)
    return log
