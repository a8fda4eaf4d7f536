"""A thousand commands at once from a plain rclpy node that keeps all that it sends."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.node.wire import Inbox, wait_until
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos

pytestmark = pytest.mark.ros

COUNT = 1000


def test_thousand_commands_of_a_writer_that_keeps_all_give_a_thousand_results(running, client):
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
    from vl2_ros.msg import VisionCommand

    running.start()
    client.activate()
    client.show_image()
    keeps_all = Qos(depth=2 * COUNT, keep_all=True)
    results = Inbox(client.transport, "/vl2/result", RESULT.type_name, keeps_all)
    # The way there and back is open.
    assert client.ask(results, "first").status == Status.OK
    running.perceiver.may_answer.clear()
    profile = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
    commands = client.node.create_publisher(VisionCommand, "/vl2/vision_command", profile)
    wait_until(lambda: commands.get_subscription_count() > 0, "the node subscribes to commands")
    results.clear()
    for index in range(COUNT):
        commands.publish(VisionCommand(id=f"{index}", text="find it"))
    wait_until(lambda: len(results.list()) >= COUNT - 9, "the BUSY results have come")
    running.perceiver.may_answer.set()
    heard = results.wait(COUNT)
    assert Counter(one.command_id for one in heard) == Counter(f"{i}" for i in range(COUNT))
    statuses = Counter(Status(one.status) for one in heard)
    assert statuses[Status.BUSY] >= COUNT - 9 and statuses[Status.OK] >= 8, statuses
    lost = [one.lost_count for one in running.node._server._subscriptions]
    assert lost == [0, 0]
