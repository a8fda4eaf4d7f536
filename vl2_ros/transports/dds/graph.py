"""The graph: endpoints that this process announces, and publishers that it discovers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication
from cyclonedds.core import Entity, InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Policy

from vl2_ros.node.guarded import log_failure
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import PublisherInfo
from vl2_ros.processing.printable import make_printable
from vl2_ros.transports.dds.idl_types import ros_type_name
from vl2_ros.transports.message_types import StoreMessageTypes

#: Topic, type and enclave by which ROS 2 maps DDS endpoints to nodes.
DISCOVERY_TOPIC = "ros_discovery_info"
DISCOVERY_TYPE = "rmw_dds_common/msg/ParticipantEntitiesInfo"
ENCLAVE = b"enclave=/;"

_TAKE_AT_ONCE = 1000
#: Characters of a discovered type name that a log line shows.
_NAME_LENGTH = 200


def make_discovery_info(
    types: StoreMessageTypes,
    participant: DomainParticipant,
    node_path: str,
    readers: Sequence[Entity],
    writers: Sequence[Entity],
) -> Any:
    """Make the message that lists a node's endpoints.

    Args:
        types: makes it.
        participant: of the process.
        node_path: absolute name of the node, such as `/robot/vl2`.
        readers: its subscriptions.
        writers: its publishers.
    """
    namespace, _, name = node_path.rpartition("/")
    node = types.make(
        "rmw_dds_common/msg/NodeEntitiesInfo",
        node_namespace=namespace or "/",
        node_name=name,
        reader_gid_seq=[_make_gid(types, reader.guid) for reader in readers],
        writer_gid_seq=[_make_gid(types, writer.guid) for writer in writers],
    )
    return types.make(
        DISCOVERY_TYPE, gid=_make_gid(types, participant.guid), node_entities_info_seq=[node]
    )


def _make_gid(types: StoreMessageTypes, guid: UUID) -> Any:
    return types.make("rmw_dds_common/msg/Gid", data=np.frombuffer(guid.bytes, np.uint8))


@dataclass(frozen=True, slots=True)
class _Known:
    topic: str
    type_name: str
    reliable: bool


class KnownPublishers:
    """Knows the publishers of each topic, of every type and quality of service.

    Topics and types are named as DDS does, `rt/image` and `sensor_msgs::msg::dds_::Image_`.
    """

    def __init__(self, participant: DomainParticipant, log: RepeatedLog) -> None:
        self._log = log
        self._reader = BuiltinDataReader(participant, BuiltinTopicDcpsPublication)
        #: Triggers when a publisher has come or gone.
        self.condition = ReadCondition(
            self._reader, ViewState.Any | SampleState.Any | InstanceState.Any
        )
        self._lock = threading.Lock()
        self._known: dict[UUID, _Known] = {}
        self._expected: dict[str, str] = {}
        #: Nothing is read any more, as the library could not read data of another participant.
        self.is_broken = False

    def expect(self, topic: str, type_name: str) -> None:
        """Warn about publishers of a topic, known and later ones, that send another type."""
        with self._lock:
            self._expected[topic] = type_name
            for known in self._known.values():
                self._check(known.topic, known.type_name, only=topic)

    def update(self) -> None:
        """Read what has changed; data that cannot be read ends the counting and is logged."""
        if self.is_broken:
            return
        try:
            self._take()
        except Exception as error:
            # Discovery data serves diagnostics only; topics are read without it.
            log_failure(self._log, "counting publishers", error)
            self.is_broken = True

    def _take(self) -> None:
        with self._lock:
            for endpoint in self._reader.take(_TAKE_AT_ONCE):
                # One that goes comes without its topic, as a sample without data.
                if endpoint.sample_info.instance_state != InstanceState.Alive:
                    self._known.pop(endpoint.key, None)
                elif endpoint.key not in self._known:
                    self._known[endpoint.key] = _read_endpoint(endpoint)
                    self._check(endpoint.topic_name, endpoint.type_name)

    def find(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now."""
        self.update()
        with self._lock:
            return tuple(
                PublisherInfo(ros_type_name(one.type_name), one.reliable)
                for one in self._known.values()
                if one.topic == topic
            )

    def _check(self, topic: str, type_name: str, only: str | None = None) -> None:
        expected = self._expected.get(topic, type_name)
        if expected != type_name and only in (None, topic):
            self._log.log(
                logging.WARNING,
                f"type of {topic}",
                "topic %s: a publisher sends %s, but %s is expected and nothing of it will be "
                "received; name another topic or remap it",
                topic.removeprefix("rt"),
                make_printable(type_name, most=_NAME_LENGTH),
                expected,
            )


def _read_endpoint(endpoint: Any) -> _Known:
    # What a writer does not say is DDS's default, and that is reliable.
    policies = endpoint.qos
    reliable = (
        Policy.Reliability not in policies
        or policies[Policy.Reliability] != Policy.Reliability.BestEffort
    )
    return _Known(endpoint.topic_name, endpoint.type_name, reliable)
