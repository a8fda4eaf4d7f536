"""The node of a soak or a fault run, alone in its process: the embedded model on plain DDS.

Takes one JSON line on standard input after the other and replies with one each:

* `{"set": {"score_threshold": 0.5}}` changes parameters while it runs, as ROS parameters do;
* `{"report": true}` returns the node's own report;
* `{"fault": "raise"}` lets the next run raise, `{"fault": "hang", "seconds": 20}` lets it hang.

Its standard input's end stops it.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import time
from collections.abc import Iterator
from typing import Any

from soaking.lines import emit, read_requests
from vl2_ros.console.heap import return_freed_memory
from vl2_ros.errors import VL2Error
from vl2_ros.load_options import LoadOptions
from vl2_ros.loading import load_pipeline
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.perceiver import Perceiver
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.structures import Command, Event, Frame
from vl2_ros.transports.dds.transport import DdsTransport

CAMERAS = ("image", "side")
STRING = "std_msgs/msg/String"
#: A message on this topic makes a callback of the transport raise.
FAULT_TOPIC = "~/raise_in_callback"
#: Stands in every log line that an injected fault leaves.
FAULT_MARK = "injected fault"


class FaultyPerceiver:
    """The pipeline, which raises or hangs once on request.

    Args:
        perceiver: answers otherwise.
    """

    def __init__(self, perceiver: Perceiver) -> None:
        self.info = perceiver.info
        self._perceiver = perceiver
        self._fault = ""
        self._hang_s = 0.0

    def inject(self, fault: str, hang_s: float) -> None:
        """Let the next run `raise` or `hang`."""
        self._fault, self._hang_s = fault, hang_s

    def run(self, frame: Frame, command: Command, memory: object = None) -> Iterator[Event]:
        """Answer, unless a fault waits."""
        fault, self._fault = self._fault, ""
        if fault == "raise":
            raise RuntimeError(f"{FAULT_MARK}: the perceiver raises")
        if fault == "hang":
            time.sleep(self._hang_s)
        yield from self._perceiver.run(frame, command, memory)


def raise_in_callback(message: Any) -> None:
    """Be a callback with a fault of its own."""
    raise RuntimeError(f"{FAULT_MARK}: a callback raises about {message.data!r}")


def describe(server: PerceptionServer) -> dict[str, Any]:
    """Return the node's report as plain values."""
    report = server.node.report()
    return {
        "cameras": {one.name: one.received for one in report.cameras},
        "used": {one.name: one.used for one in report.cameras},
        "answers": {status.name: count for status, count in report.answer_counts.items()},
        "queue_length": report.queue_length,
        "watches": [watch.id for watch in report.watches],
        "is_worker_alive": report.is_worker_alive,
        "last_error": report.last_error,
    }


def reply(server: PerceptionServer, faulty: FaultyPerceiver, request: dict[str, Any]) -> None:
    """Do what one request says and write one line about it."""
    if "fault" in request:
        faulty.inject(request["fault"], float(request.get("seconds", 0.0)))
        emit(injected=request["fault"])
    elif "set" in request:
        try:
            changed = dataclasses.replace(server.node.parameters, **request["set"])
            server.node.change_parameters(changed)
        except VL2Error as error:
            emit(refused=str(error))
        else:
            emit(changed=True)
    else:
        emit(**describe(server))


def main() -> None:
    """Run the node until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--command-deadline", type=float, default=10.0, help="seconds")
    options = parser.parse_args()
    # As `vl2 serve` does.
    return_freed_memory()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    transport = DdsTransport("vl2")
    faulty = FaultyPerceiver(load_pipeline(LoadOptions(device="cpu")))
    parameters = NodeParameters(cameras=CAMERAS, command_deadline_s=options.command_deadline)
    server = PerceptionServer(faulty, transport, parameters)
    server.start()
    faults = transport.resolve(FAULT_TOPIC)
    transport.subscribe(faults, STRING, Qos(), raise_in_callback)
    emit(ready=True)
    for request in read_requests():
        reply(server, faulty, request)
    server.stop()
    transport.close()


if __name__ == "__main__":
    main()
