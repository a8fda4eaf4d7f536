"""Wait until the commands that a transport has already are read, before it is closed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

#: Seconds without a command after which a burst of commands is over.
_QUIET_S = 0.05
#: Most seconds to wait for the end of a burst: a full queue of commands is read in it.
_DRAIN_S = 4.0


class CommandDrain:
    """Counts commands that come by topic, one at a time on the transport's thread."""

    def __init__(self) -> None:
        self._count = 0
        self._is_taking = False

    def take(self, take: Callable[[Any], None], message: Any) -> None:
        """Count a command while it is taken."""
        self._count += 1
        self._is_taking = True
        try:
            take(message)
        finally:
            self._is_taking = False

    def wait(self) -> None:
        """Wait for the end of a burst."""
        end_s = time.monotonic() + _DRAIN_S
        count = -1
        # More commands may follow the one that is being read now.
        while (self._is_taking or count != self._count) and time.monotonic() < end_s:
            count = self._count
            time.sleep(_QUIET_S)
