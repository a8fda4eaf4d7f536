"""`vl2 serve` as a process of its own with a perceiver that hangs on request."""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Iterator

from tests.node.scripted_perceiver import ScriptedPerceiver
from vl2_ros.cli import main
from vl2_ros.isolation import opening
from vl2_ros.node.perception import PerceptionNode
from vl2_ros.structures import Command, Event, Frame, StageEvent

#: Printed when the interpreter destroys its objects at its end, which takes seconds with PyTorch.
TORN_DOWN = "the interpreter was torn down"


class HangingPerceiver(ScriptedPerceiver):
    """Sleeps for ever in a stage when the command says "hang"; answers all others."""

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        if "hang" in command.text:
            yield StageEvent("detection")
            time.sleep(3600.0)
        yield from super().run(frame, command, memory)


if __name__ == "__main__":
    atexit.register(print, TORN_DOWN, file=sys.stderr)
    opening.open_perceiver = lambda process, progress=None: HangingPerceiver()
    if sys.argv[1] == "dead-worker":
        PerceptionNode._work = lambda self: None
    main(["serve", *sys.argv[2:]])
