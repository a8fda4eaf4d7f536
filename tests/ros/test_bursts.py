"""Commands, goals and calls that come at once are all answered, from one node and from many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.node.wire import Inbox, wait_until
from tests.ros.running_node import PATIENCE_S, wait_for
from vl2_ros.node.messages.result_messages import RESULT
from vl2_ros.node.request import Status
from vl2_ros.node.transport import Qos
from vl2_ros.transports.ros.transport import RosTransport, open_ros_transport

pytestmark = pytest.mark.ros

COMMANDS = 1000
#: Goals, and calls of a service.
COUNT = 60
#: Of a client: under Cyclone DDS each one reads the replies to all of them.
CLIENT_DEPTH = 4 * COUNT
#: Goals that the node runs at a time.
RUNNING = 16


def test_thousand_commands_of_a_writer_that_keeps_all_give_a_thousand_results(running, client):
    from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
    from vl2_ros.msg import VisionCommand

    running.start()
    client.activate()
    client.show_image()
    keeps_all = Qos(depth=2 * COMMANDS, keep_all=True)
    results = Inbox(client.transport, "/vl2/result", RESULT.type_name, keeps_all)
    # The way there and back is open.
    assert client.ask(results, "first").status == Status.OK
    running.perceiver.may_answer.clear()
    profile = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
    commands = client.node.create_publisher(VisionCommand, "/vl2/vision_command", profile)
    wait_until(lambda: commands.get_subscription_count() > 0, "the node subscribes to commands")
    results.clear()
    for index in range(COMMANDS):
        commands.publish(VisionCommand(id=f"{index}", text="find it"))
    wait_until(lambda: len(results.list()) >= COMMANDS - 9, "the BUSY results have come")
    running.perceiver.may_answer.set()
    heard = results.wait(COMMANDS)
    assert Counter(one.command_id for one in heard) == Counter(f"{i}" for i in range(COMMANDS))
    statuses = Counter(Status(one.status) for one in heard)
    assert statuses[Status.BUSY] >= COMMANDS - 9 and statuses[Status.OK] >= 8, statuses
    # Of commands, of sentences, and of what was heard.
    lost = [one.lost_count for one in running.node._server._subscriptions]
    assert lost == [0, 0, 0]


@pytest.fixture(params=[1, 6], ids=["one node", "six nodes"])
def nodes(request, dds_domain, running, client) -> Iterator[list[Any]]:
    """The rclpy nodes of clients, each spun on a thread of its own, of an active node."""
    running.start(queue_size=100)
    client.activate()
    client.show_image()
    transports: list[RosTransport] = [
        open_ros_transport(f"client_{index}") for index in range(request.param)
    ]
    yield [transport._node for transport in transports]
    for transport in transports:
        transport.close()


def make_profile() -> Any:
    from rclpy.qos import QoSProfile

    return QoSProfile(depth=CLIENT_DEPTH)


class Goals:
    """Sends goals from several nodes by turns."""

    def __init__(self, nodes: list[Any]) -> None:
        from rclpy.action import ActionClient
        from vl2_ros.action import Perceive

        self._type = Perceive
        self._actions = [
            ActionClient(
                node,
                Perceive,
                "/vl2/perceive",
                goal_service_qos_profile=make_profile(),
                result_service_qos_profile=make_profile(),
                cancel_service_qos_profile=make_profile(),
                feedback_sub_qos_profile=make_profile(),
            )
            for node in nodes
        ]
        for action in self._actions:
            assert action.wait_for_server(PATIENCE_S)

    def send(self, number: int) -> Any:
        from vl2_ros.msg import VisionCommand

        goal = self._type.Goal(command=VisionCommand(id=f"goal {number}", text="find it"))
        return self._actions[number % len(self._actions)].send_goal_async(goal)


def test_goals_at_once_are_all_answered(running, nodes):
    goals = Goals(nodes)
    running.perceiver.may_answer.clear()
    handles = [wait_for(one, "goal") for one in [goals.send(number) for number in range(COUNT)]]
    assert all(handle.accepted for handle in handles)
    results = [handle.get_result_async() for handle in handles]
    # A goal that begins after the first ones have ended finds a place.
    busy = COUNT - RUNNING
    wait_until(lambda: sum(one.done() for one in results) == busy, "the others are BUSY")
    running.perceiver.may_answer.set()
    answers = [wait_for(one, f"goal {index}").result.result for index, one in enumerate(results)]
    assert [one.command_id for one in answers] == [f"goal {number}" for number in range(COUNT)]
    statuses = Counter(Status(one.status) for one in answers)
    assert statuses == {Status.OK: RUNNING, Status.BUSY: COUNT - RUNNING}


def test_goals_that_are_canceled_in_between_are_all_answered(running, nodes):
    goals = Goals(nodes)
    running.perceiver.may_answer.clear()
    cancels: dict[int, Any] = {}

    def cancel(number: int, accepted: Any) -> None:
        cancels[number] = accepted.result().cancel_goal_async()

    sent = [goals.send(number) for number in range(COUNT)]
    for number in range(0, COUNT, 3):
        sent[number].add_done_callback(lambda one, number=number: cancel(number, one))
    handles = [wait_for(one, "goal") for one in sent]
    results = [handle.get_result_async() for handle in handles]
    canceled = {
        number for number, one in cancels.items() if wait_for(one, "cancel").goals_canceling
    }
    running.perceiver.may_answer.set()
    answers = [wait_for(one, f"goal {index}").result.result for index, one in enumerate(results)]
    statuses = [Status(one.status) for one in answers]
    assert set(statuses) <= {Status.OK, Status.BUSY, Status.CANCELED}
    assert {number for number, one in enumerate(statuses) if one is Status.CANCELED} <= canceled
    assert statuses.count(Status.OK) >= 1 and canceled
    # Places are free again.
    assert wait_for(wait_for(goals.send(COUNT), "goal").get_result_async(), "result") is not None


def test_calls_at_once_are_all_answered(nodes):
    from vl2_ros.srv import GetInfo

    clients = [
        node.create_client(GetInfo, "/vl2/get_info", qos_profile=make_profile()) for node in nodes
    ]
    for client in clients:
        assert client.wait_for_service(PATIENCE_S)
    calls = [clients[one % len(clients)].call_async(GetInfo.Request()) for one in range(COUNT)]
    versions = [wait_for(call, f"call {index}").version for index, call in enumerate(calls)]
    assert versions == ["1.2.3"] * COUNT
