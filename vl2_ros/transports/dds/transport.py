"""The node's transport without ROS: plain DDS with ROS 2's names, types and bytes.

ROS 2 processes see it as one of theirs. Needs the package cyclonedds when created, not before.
"""

from __future__ import annotations

import atexit
import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from vl2_ros.errors import TransportError
from vl2_ros.node.names import join_node_name, resolve_topic
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import PublisherInfo, Qos, Subscription
from vl2_ros.processing.printable import make_printable
from vl2_ros.transports.dds.security import check_security
from vl2_ros.transports.dds.settings import choose_domain
from vl2_ros.transports.loss_advice import advise_dds, find_largest_buffer
from vl2_ros.transports.message_types import StoreMessageTypes

if TYPE_CHECKING:
    from vl2_ros.transports.dds.endpoints import Endpoints, Writer

#: Characters of an error about a received message that a log line shows.
_ERROR_LENGTH = 500
_log = logging.getLogger(__name__)


class DdsTransport:
    """Carries messages over DDS; close it, or others see the node until the process ends.

    Args:
        node_name: name of the node in ROS 2's graph.
        namespace: of the node; empty is the root.
        domain_id: DDS domain; None takes ROS_DOMAIN_ID, else 0.
        remap: topic to its other name.

    Raises:
        ConfigError: if a name or the domain is wrong.
        TransportError: if cyclonedds is missing, the domain cannot be joined, or the environment
            enforces ROS 2's security, which this transport does not support.
    """

    def __init__(
        self,
        node_name: str = "vl2",
        *,
        namespace: str = "",
        domain_id: int | None = None,
        remap: Mapping[str, str] | None = None,
    ) -> None:
        warning = check_security(os.environ)
        if warning:
            _log.warning("%s", warning)
        self._node_name = node_name
        self._namespace = namespace
        self._remap = dict(remap or {})
        self.domain_id = choose_domain(domain_id, os.environ)
        node_path = join_node_name(node_name, namespace)
        for topic in self._remap:
            self.resolve(topic)
        self.types = StoreMessageTypes()
        self._quiet_log = RepeatedLog(_log)
        self._endpoints = _open_endpoints(self.types, node_path, self.domain_id)
        # Threads are stopped without notice when the interpreter ends; others would wait for
        # their lease of ten seconds.
        atexit.register(self.close)

    @property
    def failure(self) -> str:
        """Return why nothing is read any more; empty while it is and after `close`."""
        return self._endpoints.failure

    @property
    def loss_advice(self) -> str:
        """Return what helps when large messages are lost."""
        return advise_dds(find_largest_buffer())

    def resolve(self, topic: str) -> str:
        """Return the absolute, remapped name of a topic.

        Raises:
            ConfigError: if it is no ROS name.
        """
        return resolve_topic(topic, self._node_name, self._namespace, self._remap)

    def advertise(self, topic: str, type_name: str, qos: Qos) -> DdsPublisher:
        """Open an outgoing topic.

        Raises:
            TransportError: if the type is not known, the topic has another one, or all is closed.
        """
        writer = self._endpoints.add_writer(self.resolve(topic), type_name, qos)
        return DdsPublisher(self.types, type_name, writer)

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        """Call `callback` with each message of a topic, on the one reading thread.

        Raises:
            TransportError: if the type is not known, the topic has another one, or all is closed.
        """
        name = self.resolve(topic)

        def read(cdr: bytes) -> None:
            try:
                message = self.types.deserialize(cdr, type_name)
            except TransportError as error:
                # Repeats are counted: a broken sender continues at the rate of its camera.
                self._quiet_log.log(
                    logging.WARNING,
                    f"unreadable on {name}",
                    "topic %s: skipped a message: %s",
                    name,
                    make_printable(error, most=_ERROR_LENGTH),
                )
            else:
                callback(message)

        return self._endpoints.add_reader(name, type_name, qos, read)

    def count_publishers(self, topic: str) -> int:
        """Return how many publishers of a topic are known now, other types and QoS included."""
        return len(self.find_publishers(topic))

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now, other types and QoS included."""
        return self._endpoints.find_publishers(self.resolve(topic))

    def now_ns(self) -> int:
        """Return the system's time in nanoseconds since the epoch."""
        return time.time_ns()

    def find_simulated_ns(self) -> int | None:
        """Return None: time is real without ROS."""
        return None

    def close(self) -> None:
        """Close every endpoint; no callback runs afterwards, a second call does nothing."""
        atexit.unregister(self.close)
        self._endpoints.close()


class DdsPublisher:
    """One outgoing topic."""

    def __init__(self, types: StoreMessageTypes, type_name: str, writer: Writer) -> None:
        self._types = types
        self._type_name = type_name
        self._writer = writer

    def publish(self, message: Any) -> None:
        """Send a message; never blocks on a slow receiver.

        Raises:
            TransportError: if the message is of another type, a value does not fit its field, or
                the transport is closed.
        """
        if message.__msgtype__ != self._type_name:
            raise TransportError(
                f"topic {self._writer.name} carries {self._type_name}, got {message.__msgtype__}"
            )
        self._writer.write(self._types.serialize(message))

    def count_subscribers(self) -> int:
        """Return how many subscriptions match now."""
        return self._writer.count_readers()


def _open_endpoints(types: StoreMessageTypes, node_path: str, domain_id: int) -> Endpoints:
    try:
        from vl2_ros.transports.dds.endpoints import Endpoints
    except ImportError as error:
        raise TransportError(
            f"DDS needs the package cyclonedds ({error}); install it: pip install 'vl2_ros[dds]'"
        ) from error
    return Endpoints(types, node_path, domain_id, os.environ)
