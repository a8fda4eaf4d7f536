from __future__ import annotations

import pytest

from tests.node.scripted_perceiver import ScriptedPerceiver
from tests.node.wire import PATIENCE_S, make_image, wait_until
from vl2_ros.clients import client
from vl2_ros.clients.client import PerceptionClient
from vl2_ros.errors import ConfigError, TransportError
from vl2_ros.node.parameters import NodeParameters
from vl2_ros.node.request import Mode, Status
from vl2_ros.node.server import PerceptionServer
from vl2_ros.node.transport import Qos
from vl2_ros.structures import WatchMode
from vl2_ros.transports.memory import MemoryBus, MemoryTransport

IMAGE_TYPE = "sensor_msgs/msg/Image"


class Desk:
    """A node with a scripted perceiver, a camera that shows given images, and a client."""

    def __init__(self, *, node_name: str = "vl2", namespace: str = "") -> None:
        self.bus = bus = MemoryBus()
        self.perceiver = ScriptedPerceiver()
        self.transports = [
            MemoryTransport(bus, node_name, namespace=namespace),
            MemoryTransport(bus, "camera"),
            MemoryTransport(bus, "vl2_send"),
        ]
        node, camera, asking = self.transports
        # An image of any age counts, so that no test depends on how fast it runs.
        parameters = NodeParameters(cameras=("/image",), max_frame_age_s=0.0)
        self.server = PerceptionServer(self.perceiver, node, parameters)
        self.camera = camera.advertise("/image", IMAGE_TYPE, Qos())
        self.client = PerceptionClient(asking, node_name=node_name, namespace=namespace)

    def show(self, stamp_ns: int) -> None:
        self.camera.publish(make_image(self.transports[1].types, stamp_ns))

    def close(self) -> None:
        self.perceiver.may_answer.set()
        self.server.stop()
        for transport in self.transports:
            transport.close()


@pytest.fixture
def desk():
    desk = Desk()
    desk.server.start()
    yield desk
    desk.close()


def test_ask_gives_the_result_of_this_command(desk):
    desk.client.require_node(PATIENCE_S)
    other = desk.client.send("hello", deadline_s=PATIENCE_S)
    mine = desk.client.send("find it", deadline_s=PATIENCE_S)
    assert mine != other
    desk.show(42)
    (received,) = desk.client.follow(mine, PATIENCE_S)
    assert (received.command_id, received.text) == (mine, "find it")
    assert (received.result.stamp_ns, received.status) == (42, Status.OK)


def test_what_is_given_goes_into_the_command(desk):
    desk.show(1)
    sent = desk.client.send(
        "find it", command_id="mine", camera="/image", score_threshold=0.75, deadline_s=PATIENCE_S
    )
    assert sent == "mine"
    (received,) = desk.client.follow(sent, PATIENCE_S)
    ((_, command),) = desk.perceiver.seen
    assert (command.id, command.score_threshold) == ("mine", 0.75)
    assert received.camera == "/image"


def test_watch_continues_until_it_is_stopped(desk):
    sent = desk.client.send("find it", mode=Mode.WATCH)
    stamps, statuses = [], []
    desk.show(1)
    for received in desk.client.follow(sent, PATIENCE_S):
        stamps.append(received.result.stamp_ns)
        statuses.append(received.status)
        if len(stamps) < 3:
            desk.show(1 + len(stamps))
        elif len(stamps) == 3:
            desk.client.stop(sent)
    assert stamps == [1, 2, 3, 0]
    assert statuses == [Status.OK] * 3 + [Status.ENDED]


def test_mode_of_a_watch_arrives_at_the_node(desk):
    desk.client.require_node(PATIENCE_S)
    for mode in (WatchMode.EXACT, None):
        sent = desk.client.send("find it", mode=Mode.WATCH, watch_mode=mode)
        wait_until(lambda: desk.server.node.list_watches(), "the watch is there")
        (state,) = desk.server.node.list_watches()
        assert (state.id, state.watch_mode) == (sent, mode)
        desk.client.stop(sent)
        wait_until(lambda: not desk.server.node.list_watches(), "the watch has ended")


def test_stop_cancels_an_ask_that_runs(desk):
    desk.perceiver.may_answer.clear()
    desk.show(1)
    sent = desk.client.send("find it", deadline_s=PATIENCE_S)
    assert desk.perceiver.is_running.wait(PATIENCE_S)
    desk.client.stop(sent)
    (received,) = desk.client.follow(sent, PATIENCE_S)
    assert received.status is Status.CANCELED


def test_listening_receives_results_of_every_command(desk):
    desk.show(1)
    desk.client.send("find it", command_id="a", deadline_s=PATIENCE_S)
    desk.client.send("hello", command_id="b", deadline_s=PATIENCE_S)
    heard = desk.client.listen()
    assert [next(heard).command_id for _ in range(2)] == ["a", "b"]


def publish_result(desk, command_id: str, **fields) -> None:
    """Send a result that is not the node's own, as one of another version might."""
    node = desk.transports[0]
    publisher = node.advertise("~/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True))
    publisher.publish(
        node.types.make("vl2_ros/msg/VisionResult", command_id=command_id, is_final=True, **fields)
    )


def test_result_that_cannot_be_read_does_not_end_listening(desk, caplog):
    for _ in range(3):
        publish_result(desk, "strange\x1b[2J", status=200)
    publish_result(desk, "good")
    assert next(desk.client.listen()).command_id == "good"
    (record,) = caplog.records
    assert "skipped a result" in record.getMessage()
    assert r"strange\x1b[2J" in record.getMessage()


def test_unreadable_result_of_another_command_is_ignored(desk):
    publish_result(desk, "theirs", status=200)
    publish_result(desk, "mine")
    (received,) = desk.client.follow("mine", PATIENCE_S)
    assert received.command_id == "mine"
    publish_result(desk, "mine", status=200)
    with pytest.raises(TransportError, match="same version"):
        list(desk.client.follow("mine", PATIENCE_S))


def test_results_that_are_not_received_are_bounded_and_logged(desk, monkeypatch, caplog):
    monkeypatch.setattr(client, "MOST_WAITING", 5)
    transport = MemoryTransport(desk.bus, "slow")
    desk.transports.append(transport)
    slow = PerceptionClient(transport)
    node = desk.transports[0]
    publisher = node.advertise("~/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True))
    for number in range(12):
        publisher.publish(node.types.make("vl2_ros/msg/VisionResult", command_id=str(number)))
    wait_until(lambda: slow.dropped_count == 7, "the oldest are dropped")
    heard = slow.listen()
    assert [next(heard).command_id for _ in range(5)] == ["7", "8", "9", "10", "11"]
    assert slow.receive(0.0) is None
    (record,) = caplog.records
    assert "/vl2/result" in record.getMessage() and "the oldest is dropped" in record.getMessage()


def test_client_whose_transport_has_failed_does_not_listen_for_ever(desk, monkeypatch):
    transport = desk.transports[2]

    def fail() -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(transport, "_run_callback", fail)
    publish_result(desk, "wake up")
    wait_until(lambda: transport.failure != "", "its thread has ended")
    heard = desk.client.listen()
    with pytest.raises(TransportError, match="no room"):
        for _ in range(2):
            next(heard)
    with pytest.raises(TransportError, match="no room"):
        list(desk.client.follow("mine", 0.0))


def test_late_listener_receives_the_last_results(desk):
    desk.show(1)
    for received in desk.client.follow(desk.client.send("find it"), PATIENCE_S):
        late = MemoryTransport(desk.bus, "late")
        desk.transports.append(late)
        heard = PerceptionClient(late).receive(PATIENCE_S)
        assert heard is not None and heard.command_id == received.command_id


def test_node_that_is_not_there_is_named_with_what_to_do():
    transport = MemoryTransport(MemoryBus(), "vl2_send")
    client = PerceptionClient(transport, node_name="arm", namespace="robot")
    assert not client.has_node() and not client.wait_for_node(0.0)
    with pytest.raises(TransportError, match=r"no node /robot/arm came .*`vl2 serve`.*--domain"):
        client.require_node(0.05)
    transport.close()


def test_node_counts_only_when_it_also_answers():
    bus = MemoryBus()
    node, asking = MemoryTransport(bus, "vl2"), MemoryTransport(bus, "vl2_send")
    client = PerceptionClient(asking)
    node.subscribe("~/vision_command", "vl2_ros/msg/VisionCommand", Qos(), lambda message: None)
    assert not client.has_node()
    node.advertise("~/result", "vl2_ros/msg/VisionResult", Qos(transient_local=True))
    wait_until(client.has_node, "the node is found")
    for transport in (node, asking):
        transport.close()


def test_silence_is_an_error_that_names_the_command(desk):
    with pytest.raises(TransportError, match=r"/vl2 sent no result for command 'unknown' within"):
        list(desk.client.follow("unknown", 0.05))


def test_node_in_a_namespace_is_asked_there():
    desk = Desk(node_name="eyes", namespace="/robot")
    desk.server.start()
    assert desk.client.node == "/robot/eyes"
    assert desk.client.result_topic == "/robot/eyes/result"
    desk.client.require_node(PATIENCE_S)
    desk.show(5)
    (received,) = desk.client.follow(desk.client.send("hello"), PATIENCE_S)
    assert received.result.stamp_ns == 5
    desk.close()


def test_names_that_are_none_are_refused():
    transport = MemoryTransport(MemoryBus(), "vl2_send")
    with pytest.raises(ConfigError, match="node name"):
        PerceptionClient(transport, node_name="no name")
    transport.close()
