"""A thousand commands at once: each has a result, which its client receives."""

from __future__ import annotations

from collections import Counter

from tests.node.wire import PATIENCE_S, Inbox, wait_until
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

COUNT = 1000
KEEPS_ALL = Qos(transient_local=True, depth=2 * COUNT, keep_all=True)
MS = 1_000_000


def test_every_command_of_a_burst_gets_one_result(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    # Nothing is answered but by BUSY while the burst comes.
    rig.perceiver.may_answer.clear()
    results = Inbox(rig.open("asking"), rig.name_of(RESULT.name), RESULT.type_name, KEEPS_ALL)
    commands = rig.client.advertise(
        rig.name_of("~/vision_command"), "vl2_ros/msg/VisionCommand", Qos(depth=COUNT)
    )
    wait_until(lambda: commands.count_subscribers() > 0, "the server subscribes to commands")
    # Until the way back is open, a result would come as one of the last ten that are kept.
    rig.command("first")
    assert rig.perceiver.is_running.wait(PATIENCE_S)
    rig.stop_command("first")
    results.wait_for("first")
    results.clear()
    make = rig.client.types.make
    burst = [
        make("vl2_ros/msg/VisionCommand", id=f"{index}", text="find it") for index in range(COUNT)
    ]
    for message in burst:
        commands.publish(message)
    wait_until(lambda: len(results.list()) >= COUNT - 9, "the BUSY results have come")
    rig.perceiver.may_answer.set()
    heard = results.wait(COUNT)
    assert Counter(one.command_id for one in heard) == Counter(f"{i}" for i in range(COUNT))
    assert all(one.is_final for one in heard)
    statuses = Counter(Status(one.status) for one in heard)
    assert statuses[Status.BUSY] >= COUNT - 9 and statuses[Status.OK] >= 8


def test_client_that_asks_a_thousand_times_receives_a_thousand_results(rig):
    rig.start()
    rig.show(rig.open_camera(), 1 * MS)
    client = PerceptionClient(rig.open("asking"))
    client.require_node(PATIENCE_S)
    sent = [client.send("find it", deadline_s=60.0) for _ in range(COUNT)]
    heard: Counter[str] = Counter()
    while len(heard) < COUNT:
        received = client.receive(PATIENCE_S)
        assert received is not None, f"{len(heard)} of {COUNT} results came"
        if received.is_final:
            heard[received.command_id] += 1
    assert heard == Counter(sent)
    assert client.dropped_count == 0
