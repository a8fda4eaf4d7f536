"""How the interpreter serves threads and collects garbage while a node answers."""

from __future__ import annotations

import gc
import sys
import threading

#: Most seconds that a thread waits for one that computes in Python; by default 5 ms, which are lost
#: at each of several places between an image and its result.
_SWITCH_S = 0.0005

_lock = threading.Lock()
_nodes = 0
_former_switch_s = 0.0


def enter_service() -> None:
    """Let threads take turns soon, and look for garbage only among what is made from now on.

    Else a collection visits all objects of the loaded model, which takes some 50 ms. Holds for the
    whole process, until as many calls of `leave_service`.
    """
    global _nodes, _former_switch_s
    with _lock:
        if not _nodes:
            _former_switch_s = sys.getswitchinterval()
            sys.setswitchinterval(min(_former_switch_s, _SWITCH_S))
            gc.freeze()
        _nodes += 1


def leave_service() -> None:
    """Restore both when the last node has stopped."""
    global _nodes
    with _lock:
        _nodes -= 1
        if not _nodes:
            sys.setswitchinterval(_former_switch_s)
            gc.unfreeze()
