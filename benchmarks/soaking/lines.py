"""JSON lines between a benchmark and its child processes; the child's side."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()


def emit(**fields: Any) -> None:
    """Write one JSON line to standard output; callable from every thread."""
    line = json.dumps(fields)
    with _lock:
        print(line, flush=True)


def read_requests() -> Iterator[dict[str, Any]]:
    """Yield each JSON line of standard input; ends when the parent closes it, however it ended."""
    for line in sys.stdin:
        yield json.loads(line)


def wait_for_end() -> None:
    """Return when standard input ends."""
    for _ in read_requests():
        pass
