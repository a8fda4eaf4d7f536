"""A client that asks several times and then only waits, so that it can be killed meanwhile.

Prints `{"sent": [ids]}` when its commands are with DDS.
"""

from __future__ import annotations

import argparse

from soaking.lines import emit, wait_for_end
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.errors import TransportError
from vl2_ros.node.scheduling.schedule import refuse_id
from vl2_ros.transports.dds.transport import DdsTransport


def main() -> None:
    """Ask, then wait until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("ids", nargs="+", help="of the commands")
    options = parser.parse_args()
    transport = DdsTransport("vanishing")
    client = PerceptionClient(transport)
    client.require_node(20.0)
    _greet(client, f"hello-{options.ids[0]}")
    for command_id in options.ids:
        client.send("find every mug and every bowl", command_id=command_id)
    emit(sent=options.ids)
    wait_for_end()
    transport.close()


def _greet(client: PerceptionClient, greeting: str) -> None:
    """Wait until the node has answered this client.

    Two ends find each other one after the other: what is sent before the node knows the sender is
    sent again later, by a sender that still lives.
    """
    client.stop(greeting)
    while (received := client.receive(20.0)) is not None:
        if received.command_id == refuse_id(greeting):
            return
    raise TransportError("the node does not answer a STOP of an unknown id")


if __name__ == "__main__":
    main()
