"""Receive every result and diagnostics message of the node; send no commands.

Prints a line for each with the monotonic time at which it came, so that the accounting depends
neither on the clients nor on the node's own report.
"""

from __future__ import annotations

import time
from typing import Any

from soaking.lines import emit, wait_for_end
from vl2_ros.node.messages.diagnostic_messages import Level
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.server import DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE
from vl2_ros.node.transport import Qos
from vl2_ros.transports.dds.transport import DdsTransport

#: Characters of a sentence by which an anonymous command is known again.
TEXT_CHARACTERS = 60


def write_result(message: Any) -> None:
    """Write one line about a VisionResult."""
    emit(
        id=message.command_id,
        text=message.command_text[:TEXT_CHARACTERS],
        status=int(message.status),
        message=message.message[:200],
        is_final=bool(message.is_final),
        time_s=time.monotonic(),
    )


def write_diagnostics(message: Any) -> None:
    """Write one line about the statuses of a DiagnosticArray that are errors."""
    errors = [one.message for one in message.status if int(one.level) == Level.ERROR]
    emit(errors=errors, time_s=time.monotonic())


def main() -> None:
    """Listen until standard input ends."""
    transport = DdsTransport("soak_listener")
    # Deep, so that this side loses nothing.
    deep = Qos(transient_local=True, depth=1000)
    transport.subscribe("/vl2/result", RESULT.type_name, deep, write_result)
    transport.subscribe(DIAGNOSTICS_TOPIC, DIAGNOSTICS_TYPE, Qos(), write_diagnostics)
    wait_for_end()
    transport.close()


if __name__ == "__main__":
    main()
