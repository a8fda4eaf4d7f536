"""The node in ROS 2's graph: announced to those who read it, in the layout that they read."""

from __future__ import annotations

import logging
from collections.abc import Callable
from uuid import UUID

import pytest

pytest.importorskip("cyclonedds")

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopicDcpsParticipant,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Policy
from cyclonedds.qos import Qos as DdsQos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from tests.node.wire import Inbox, wait_until
from vl2_ros.node.transport import Qos
from vl2_ros.transports.dds.announcement import (
    DISCOVERY_TOPIC,
    DISCOVERY_TYPE,
    GID_BYTES,
    OLD_GID_BYTES,
    make_discovery_info,
)
from vl2_ros.transports.dds.idl_types import IdlTypes
from vl2_ros.transports.dds.transport import DdsTransport

STRING = "std_msgs/msg/String"
#: As the middleware of Iron and later describes its readers; that of Humble says nothing.
TYPE_HASH = Policy.Userdata(b"typehash=RIHS01_91a0;")
PARTICIPANT = UUID(bytes=bytes.fromhex("0110a1b2c3d4e5f60718293a000001c1"))
READER = UUID(bytes=bytes.fromhex("0110a1b2c3d4e5f60718293a00000504"))
WRITERS = [
    UUID(bytes=bytes.fromhex(f"0110a1b2c3d4e5f60718293a0000{end}")) for end in ("0603", "0703")
]
#: Fields between the gids, written by hand: one node, /robot, vl2, one reader | two writers.
NODE = "01000000 07000000 2f726f626f740000 04000000 766c3200 01000000"
ZEROS = "00" * 8


@pytest.fixture
def open_node(dds_domain, monkeypatch):
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    opened: list[DdsTransport] = []

    def open_one(name: str = "vl2", namespace: str = "/robot") -> DdsTransport:
        opened.append(DdsTransport(name, namespace=namespace))
        return opened[-1]

    yield open_one
    for transport in opened:
        transport.close()


class GraphReader:
    """A process that reads the graph, old or new, and keeps what it receives as bytes."""

    def __init__(self, domain_id: int, node: DdsTransport, *, is_old: bool) -> None:
        self.participant = DomainParticipant(domain_id)
        sample_type = IdlTypes(node.types.typestore).sample(DISCOVERY_TYPE)
        latched = [Policy.Reliability.Reliable(0), Policy.Durability.TransientLocal]
        qos = DdsQos(*latched, Policy.History.KeepAll, *([] if is_old else [TYPE_HASH]))
        topic = Topic(self.participant, DISCOVERY_TOPIC, sample_type)
        self._reader = DataReader(self.participant, topic, qos)
        self.received: list[bytes] = []

    def wait(self, is_right: Callable[[bytes], bool] = lambda cdr: True) -> bytes:
        """Wait for an announcement that is right, and return it."""

        def has_come() -> bool:
            self.received += [sample.cdr for sample in self._reader.take(100)]
            return any(map(is_right, self.received))

        wait_until(has_come, "the graph has come")
        return next(cdr for cdr in reversed(self.received) if is_right(cdr))

    def list_endpoints(self, builtin) -> dict[bytes, object]:
        found = BuiltinDataReader(self.participant, builtin).take(100)
        return {one.key.bytes: one for one in found if one.qos}


def find_gids(cdr: bytes, gid_bytes: int) -> list[bytes]:
    """Return the participant, the one reader and the one writer of a node `/robot/vl2`."""
    node = bytes.fromhex(NODE)
    gids = cdr[4 : 4 + gid_bytes], cdr[4 + gid_bytes + len(node) :]
    assert cdr[4 + gid_bytes : 4 + gid_bytes + len(node)] == node
    assert len(gids[1]) == 2 * gid_bytes + 4 and gids[1][gid_bytes:][:4] == b"\1\0\0\0"
    return [gids[0], gids[1][:gid_bytes], gids[1][gid_bytes + 4 :]]


@pytest.mark.parametrize(("gid_bytes", "tail"), [(OLD_GID_BYTES, ZEROS), (GID_BYTES, "")])
def test_the_bytes_of_either_layout_are_those_written_by_hand(gid_bytes, tail):
    cdr = make_discovery_info(gid_bytes, PARTICIPANT, "/robot/vl2", [READER], WRITERS)
    gids = [guid.hex + tail for guid in (PARTICIPANT, READER, *WRITERS)]
    expected = f"00010000 {gids[0]} {NODE} {gids[1]} 02000000 {gids[2]} {gids[3]}"
    assert bytes(cdr) == bytes.fromhex(expected)


@pytest.mark.parametrize("is_old", [True, False])
@pytest.mark.parametrize("is_node_first", [True, False])
def test_the_node_and_its_endpoints_are_in_a_graph_of_its_age(
    dds_domain, open_node, is_old, is_node_first
):
    node = open_node()
    if is_node_first:
        Inbox(node, "~/command", STRING, Qos())
        node.advertise("~/answer", STRING, Qos())
    graph = GraphReader(dds_domain, node, is_old=is_old)
    if not is_node_first:
        graph.wait()
        node.advertise("~/answer", STRING, Qos())
        Inbox(node, "~/command", STRING, Qos())
    gid_bytes = OLD_GID_BYTES if is_old else GID_BYTES
    whole = 4 + 3 * gid_bytes + 4 + len(bytes.fromhex(NODE))
    cdr = graph.wait(lambda cdr: len(cdr) == whole)
    participant, reader, writer = find_gids(cdr, gid_bytes)
    assert {one[16:] for one in (participant, reader, writer)} == {bytes(gid_bytes - 16)}
    readers = graph.list_endpoints(BuiltinTopicDcpsSubscription)
    writers = graph.list_endpoints(BuiltinTopicDcpsPublication)
    assert readers[reader[:16]].topic_name == "rt/robot/vl2/command"
    assert writers[writer[:16]].topic_name == "rt/robot/vl2/answer"
    participants = graph.list_endpoints(BuiltinTopicDcpsParticipant)
    assert Policy.Userdata(b"enclave=/;") in participants[participant[:16]].qos
    # Not one in the other layout, which could end a process of Humble.
    empty = 4 + gid_bytes + len(bytes.fromhex(NODE)) + 4
    steps = {empty, empty + gid_bytes, whole}
    assert {len(cdr) for cdr in graph.received} <= steps


def test_nothing_is_announced_before_somebody_reads_it(dds_domain, open_node):
    node, other = open_node(), open_node("other")
    inbox = Inbox(node, "x", STRING, Qos())
    publisher = other.advertise("x", STRING, Qos())
    wait_until(lambda: publisher.count_subscribers() > 0, "the two have found each other")
    publisher.publish(node.types.make(STRING, data="hello"))
    inbox.wait()
    for one in (node, other):
        assert one._endpoints._gid_bytes == 0
    graph = GraphReader(dds_domain, node, is_old=True)
    graph.wait()
    assert all(cdr[4 + 16 :][:8] == bytes(8) for cdr in graph.received)


def test_old_and_new_graphs_in_one_domain_are_reported(dds_domain, open_node, caplog):
    node = open_node()
    new = GraphReader(dds_domain, node, is_old=False)
    new.wait(lambda cdr: cdr[4 + GID_BYTES :][:4] == b"\1\0\0\0")
    with caplog.at_level(logging.WARNING):
        old = GraphReader(dds_domain, node, is_old=True)
        old.wait(lambda cdr: cdr[4 + OLD_GID_BYTES :][:4] == b"\1\0\0\0")
    (warning,) = [one.getMessage() for one in caplog.records]
    assert "ROS 2 Humble or older and of Iron or newer" in warning and "ROS_DISTRO" in warning


@pytest.mark.parametrize(("distro", "gid_bytes"), [("humble", OLD_GID_BYTES), ("jazzy", GID_BYTES)])
def test_the_distribution_of_the_environment_decides(
    dds_domain, open_node, monkeypatch, distro, gid_bytes
):
    monkeypatch.setenv("ROS_DISTRO", distro)
    opened = DdsTransport("vl2", namespace="/robot")
    readers = [GraphReader(dds_domain, opened, is_old=is_old) for is_old in (True, False)]
    for graph in readers:
        cdr = graph.wait()
        assert cdr[4 + gid_bytes :][:8] == bytes.fromhex(NODE)[:8]
    opened.close()
