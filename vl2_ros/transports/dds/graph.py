"""The graph: publishers, and readers of ROS 2's own graph topic, that this process discovers."""

from __future__ import annotations

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cyclonedds.builtin import (
    BuiltinDataReader,
    BuiltinTopic,
    BuiltinTopicDcpsPublication,
    BuiltinTopicDcpsSubscription,
)
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.domain import DomainParticipant
from cyclonedds.qos import Policy

from vl2_ros.node.guarded import log_failure
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import PublisherInfo
from vl2_ros.processing.printable import make_printable
from vl2_ros.transports.dds.announcement import DISCOVERY_TOPIC, GID_BYTES, OLD_GID_BYTES
from vl2_ros.transports.dds.idl_types import ros_type_name

_TAKE_AT_ONCE = 1000
#: Characters of a discovered type name that a log line shows.
_NAME_LENGTH = 200
#: In the user data of every endpoint from Iron on.
_TYPE_HASH = b"typehash="
_OLD_DISTROS = frozenset(("dashing", "eloquent", "foxy", "galactic", "humble"))

#: Held while discovery data is converted, by every reader of the process; see findings/.
_CONVERSION = threading.Lock()


class _Discovery(ABC):
    """Reads endpoints of one kind, from all participants of the domain."""

    #: What fails when their data cannot be read, for the log.
    purpose = ""

    def __init__(
        self, participant: DomainParticipant, kind: BuiltinTopic, log: RepeatedLog
    ) -> None:
        self._log = log
        self._reader = BuiltinDataReader(participant, kind)
        #: Triggers when an endpoint has come or gone.
        self.condition = ReadCondition(
            self._reader, ViewState.Any | SampleState.Any | InstanceState.Any
        )
        self._lock = threading.Lock()
        #: Nothing is read any more, as the library could not read data of another participant.
        self.is_broken = False

    def update(self) -> None:
        """Read what has changed; data that cannot be read ends the reading and is logged."""
        if self.is_broken:
            return
        try:
            self._take()
        except Exception as error:
            # Discovery data serves diagnostics and graphs only; topics are read without it.
            log_failure(self._log, self.purpose, error)
            self.is_broken = True

    def _take(self) -> None:
        with self._lock:
            # The library converts the QoS of endpoints through fields that all threads share.
            with _CONVERSION:
                endpoints = self._reader.take(_TAKE_AT_ONCE)
            for endpoint in endpoints:
                # One that goes comes without its topic, as a sample without data.
                if endpoint.sample_info.instance_state != InstanceState.Alive:
                    self._remove(endpoint.key)
                else:
                    self._add(endpoint)

    @abstractmethod
    def _add(self, endpoint: Any) -> None:
        """Note an endpoint, which may be known already."""

    @abstractmethod
    def _remove(self, key: UUID) -> None:
        """Forget an endpoint, which may never have been known."""


@dataclass(frozen=True, slots=True)
class _Known:
    topic: str
    type_name: str
    reliable: bool


class KnownPublishers(_Discovery):
    """Knows the publishers of each topic, of every type and quality of service.

    Topics and types are named as DDS does, `rt/image` and `sensor_msgs::msg::dds_::Image_`.
    """

    purpose = "counting publishers"

    def __init__(self, participant: DomainParticipant, log: RepeatedLog) -> None:
        super().__init__(participant, BuiltinTopicDcpsPublication, log)
        self._known: dict[UUID, _Known] = {}
        self._expected: dict[str, str] = {}

    def expect(self, topic: str, type_name: str) -> None:
        """Warn about publishers of a topic, known and later ones, that send another type."""
        with self._lock:
            self._expected[topic] = type_name
            for known in self._known.values():
                self._check(known.topic, known.type_name, only=topic)

    def find(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now."""
        self.update()
        with self._lock:
            return tuple(
                PublisherInfo(ros_type_name(one.type_name), one.reliable)
                for one in self._known.values()
                if one.topic == topic
            )

    def _add(self, endpoint: Any) -> None:
        if endpoint.key not in self._known:
            self._known[endpoint.key] = _read_endpoint(endpoint)
            self._check(endpoint.topic_name, endpoint.type_name)

    def _remove(self, key: UUID) -> None:
        self._known.pop(key, None)

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


class GraphReaders(_Discovery):
    """Knows the layout in which ROS 2 processes of the domain read its graph topic.

    Args:
        participant: of the process.
        log: takes the warnings.
        environment: ROS_DISTRO decides the layout where it is set, such as for a bridge, whose
            readers do not show theirs.
    """

    purpose = "recognizing ROS 2 processes, to which this node is not announced,"

    def __init__(
        self, participant: DomainParticipant, log: RepeatedLog, environment: Mapping[str, str]
    ) -> None:
        super().__init__(participant, BuiltinTopicDcpsSubscription, log)
        self._distro = environment.get("ROS_DISTRO", "")
        #: Readers, and whether they are of Iron or later.
        self._known: dict[UUID, bool] = {}

    @property
    def gid_bytes(self) -> int:
        """Return how long a global id is for these readers; 0 when there is none of them.

        When there are old and new ones, the length of the old: to new ones the node has no name
        then, while the other length may end the processes of old ones.
        """
        with self._lock:
            if not self._known:
                return 0
            if self._distro:
                return OLD_GID_BYTES if self._distro in _OLD_DISTROS else GID_BYTES
            return GID_BYTES if all(self._known.values()) else OLD_GID_BYTES

    def _add(self, endpoint: Any) -> None:
        if endpoint.topic_name == DISCOVERY_TOPIC:
            data = endpoint.qos[Policy.Userdata].data if Policy.Userdata in endpoint.qos else b""
            self._known[endpoint.key] = _TYPE_HASH in data
            if len(set(self._known.values())) > 1 and not self._distro:
                self._warn_mixed()

    def _remove(self, key: UUID) -> None:
        self._known.pop(key, None)

    def _warn_mixed(self) -> None:
        self._log.log(
            logging.WARNING,
            "old and new graph",
            "this domain has processes of ROS 2 Humble or older and of Iron or newer, whose "
            "graphs do not fit together; only the older ones see the name of this node. Give "
            "each a domain of its own, or set ROS_DISTRO to the one that is to see it",
        )


def _read_endpoint(endpoint: Any) -> _Known:
    # What a writer does not say is DDS's default, and that is reliable.
    policies = endpoint.qos
    reliable = (
        Policy.Reliability not in policies
        or policies[Policy.Reliability] != Policy.Reliability.BestEffort
    )
    return _Known(endpoint.topic_name, endpoint.type_name, reliable)
