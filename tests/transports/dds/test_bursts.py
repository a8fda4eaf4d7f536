"""A burst of commands over DDS from another process, through sockets and their buffers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.wire import wait_until
from tests.transports.harness import DdsHarness, Rig

pytest.importorskip("cyclonedds")

REPOSITORY = Path(__file__).resolve().parents[3]
COUNT = 1000

#: Sends as fast as bytes can be sent, listens only afterwards, and prints what came.
ASKER = f"""
import json, sys, time
from collections import Counter
from vl2_ros.clients.client import COMMAND_TYPE, PerceptionClient
from vl2_ros.transports.dds.transport import DdsTransport
transport = DdsTransport("asker")
client = PerceptionClient(transport)
client.require_node(30.0)
sent = [str(index) for index in range({COUNT})]
burst = [
    transport.types.serialize(
        transport.types.make(COMMAND_TYPE, id=one, text="find it", deadline_s=60.0)
    )
    for one in sent
]
began = time.monotonic()
for cdr in burst:
    client._commands._writer.write(cdr)
seconds = time.monotonic() - began
heard = Counter()
while len(heard) < {COUNT}:
    received = client.receive(10.0)
    if received is None:
        break
    if received.is_final:
        heard[received.command_id] += 1
print(json.dumps(dict(seconds=seconds, heard=len(heard), once=heard == Counter(sent))))
transport.close()
"""


@pytest.fixture
def rig(dds_domain):
    rig = Rig(DdsHarness())
    yield rig
    rig.close()


def test_a_thousand_commands_of_another_process_get_a_thousand_results(rig):
    rig.start()
    rig.show(rig.open_camera(), 1_000_000)
    with subprocess.Popen(
        [sys.executable, "-c", ASKER], stdout=subprocess.PIPE, text=True, cwd=REPOSITORY
    ) as asker:
        printed = json.loads(asker.communicate(timeout=120)[0])
    assert printed["heard"] == COUNT and printed["once"]
    wait_until(lambda: not rig.server.node.report().running_id, "the node is idle again")
