"""The node's transport on ROS 2: an rclpy node's publishers and subscriptions.

Needs rclpy when it is created, not before. The owner of the rclpy node spins it.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from vl2_ros.errors import TransportError
from vl2_ros.node.guarded import guarded
from vl2_ros.node.names import join_node_name, resolve_topic
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import MessageTypes, Publisher, PublisherInfo, Qos, Subscription
from vl2_ros.transports.loss_advice import advise_rmw, find_largest_buffer

if TYPE_CHECKING:
    from rclpy.node import Node

#: Why nothing is read after other code has shut down ROS 2 in this process.
CONTEXT_GONE = "the ROS 2 context was shut down, no messages are received any more"

_log = logging.getLogger(__name__)


def import_with_rclpy(name: str) -> Any:
    """Import a module that needs rclpy, named in full.

    Raises:
        TransportError: if rclpy is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise TransportError(
            f"ROS 2's Python is missing ({error}); source its setup file, such as "
            "/opt/ros/jazzy/setup.bash, or use the transport dds, which needs no ROS"
        ) from error


class RosTransport:
    """Carries messages through an rclpy node; callbacks run one at a time while it is spun.

    Args:
        node: created and spun by the caller; publishers of a lifecycle node are lifecycle
            publishers, which send while it is active.
        on_close: called when the transport was closed.
        find_failure: returns why the node is no longer spun; empty while it is.

    Raises:
        TransportError: if rclpy is missing.
    """

    def __init__(
        self,
        node: Node,
        on_close: Callable[[], None] | None = None,
        find_failure: Callable[[], str] | None = None,
    ) -> None:
        from rclpy.callback_groups import MutuallyExclusiveCallbackGroup

        self._qos = import_with_rclpy("vl2_ros.transports.ros.qos")
        self._messages = import_with_rclpy("vl2_ros.transports.ros.message_types")
        self.types: MessageTypes = self._messages.RosMessageTypes()
        self.domain_id = int(node.context.get_domain_id())
        self._node = node
        self._on_close = on_close
        self._find_failure = find_failure
        self._quiet_log = RepeatedLog(_log)
        self._group = MutuallyExclusiveCallbackGroup()
        self._publishers: list[_RosPublisher] = []
        self._lock = threading.Lock()
        self._subscriptions: list[_RosSubscription] = []
        self._is_closed = False

    @property
    def failure(self) -> str:
        """Return why nothing is read any more; empty while it is and after `close`."""
        if self._is_closed:
            return ""
        if not self._node.context.ok():
            return CONTEXT_GONE
        return "" if self._find_failure is None else self._find_failure()

    @property
    def loss_advice(self) -> str:
        """Return what helps when large messages are lost, by the middleware in use."""
        middleware = import_with_rclpy("rclpy.utilities").get_rmw_implementation_identifier()
        return advise_rmw(middleware, os.environ, find_largest_buffer())

    def resolve(self, topic: str) -> str:
        """Return the absolute, remapped name of a topic.

        Raises:
            ConfigError: if it is no ROS name.
        """
        if topic == "~":
            return str(self._node.get_fully_qualified_name())
        # By our rules first, whose errors say what is wrong; rclpy knows the remappings.
        resolve_topic(topic, self._node.get_name(), self._node.get_namespace())
        return str(self._node.resolve_topic_name(topic))

    def advertise(self, topic: str, type_name: str, qos: Qos) -> Publisher:
        """Open an outgoing topic.

        Raises:
            TransportError: if the type is not there, or all is closed.
        """
        self._check_open(topic)
        message_class = self._messages.find_class(type_name)
        name = self.resolve(topic)
        create = getattr(self._node, "create_lifecycle_publisher", self._node.create_publisher)
        endpoint = create(
            message_class,
            topic,
            self._qos.make_profile(qos, is_publisher=True),
            callback_group=self._group,
            event_callbacks=self._qos.warn_publisher(name, self._quiet_log),
            qos_overriding_options=self._qos.make_overrides(is_publisher=True),
        )
        publisher = _RosPublisher(self._node, name, type_name, message_class, endpoint)
        self._publishers.append(publisher)
        return publisher

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        """Call `callback` with each message of a topic, on a thread of the executor.

        Raises:
            TransportError: if the type is not there, or all is closed.
        """
        self._check_open(topic)
        name = self.resolve(topic)
        qos = replace(qos, reliable=self._qos.declare_reliability(self._node, name, qos))
        guard = guarded(callback, f"the callback of {name}", self._quiet_log)
        subscription = _RosSubscription(self._node, name, qos, guard, self._quiet_log, self._forget)
        try:
            self._create(subscription, topic, type_name, subscription.count_lost)
        except self._qos.UnsupportedEventTypeError:
            # Not every middleware reports lost messages.
            self._create(subscription, topic, type_name, None)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def _forget(self, subscription: _RosSubscription) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._subscriptions.remove(subscription)

    def _create(
        self,
        subscription: _RosSubscription,
        topic: str,
        type_name: str,
        on_lost: Callable[[int], None] | None,
    ) -> None:
        subscription.endpoint = self._node.create_subscription(
            self._messages.find_class(type_name),
            topic,
            subscription.take,
            self._qos.make_profile(subscription.qos, is_publisher=False),
            callback_group=self._group,
            event_callbacks=self._qos.watch_subscription(
                subscription.name, self._quiet_log, on_lost
            ),
            # Reliability is taken into account already, as it may change.
            qos_overriding_options=self._qos.make_overrides(is_publisher=False),
        )

    def count_publishers(self, topic: str) -> int:
        """Return how many publishers of a topic are known now, other types and QoS included."""
        return int(self._node.count_publishers(self.resolve(topic)))

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now, other types and QoS included."""
        # Remapped by rclpy, and only once.
        return tuple(
            PublisherInfo(one.topic_type, self._qos.is_reliable(one.qos_profile))
            for one in self._node.get_publishers_info_by_topic(topic)
        )

    def now_ns(self) -> int:
        """Return the node's time in nanoseconds since the epoch, simulated where it is."""
        return int(self._node.get_clock().now().nanoseconds)

    def find_simulated_ns(self) -> int | None:
        """Return the node's simulated time, 0 before it begins; None: time is real."""
        clock = self._node.get_clock()
        # In this order: use_sim_time may change in between, and real time is none of simulation.
        now_ns = int(clock.now().nanoseconds)
        return now_ns if clock.ros_time_is_active else None

    def close(self) -> None:
        """Close every endpoint; no callback begins afterwards, a second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        with self._lock:
            subscriptions = tuple(self._subscriptions)
        for subscription in subscriptions:
            subscription.close()
        for publisher in self._publishers:
            publisher.close()
        if self._on_close is not None:
            self._on_close()

    def _check_open(self, topic: str) -> None:
        if self._is_closed:
            raise TransportError(f"topic {topic} cannot be opened, the transport is closed")


class _RosPublisher:
    def __init__(
        self, node: Node, name: str, type_name: str, message_class: Any, endpoint: Any
    ) -> None:
        self._node = node
        self._name, self._type_name, self._class = name, type_name, message_class
        self._endpoint = endpoint

    def publish(self, message: Any) -> None:
        endpoint = self._endpoint
        if endpoint is None:
            raise TransportError(f"topic {self._name}: nothing can be sent, it is closed")
        if not isinstance(message, self._class):
            raise TransportError(
                f"topic {self._name} carries {self._type_name}, got {type(message).__name__}"
            )
        endpoint.publish(message)

    def count_subscribers(self) -> int:
        endpoint = self._endpoint
        return 0 if endpoint is None else int(endpoint.get_subscription_count())

    def close(self) -> None:
        endpoint, self._endpoint = self._endpoint, None
        destroy = getattr(self._node, "destroy_lifecycle_publisher", self._node.destroy_publisher)
        if endpoint is not None:
            destroy(endpoint)


class _RosSubscription:
    def __init__(
        self,
        node: Node,
        name: str,
        qos: Qos,
        callback: Callable[[Any], None],
        log: RepeatedLog,
        on_close: Callable[[_RosSubscription], None],
    ) -> None:
        self._node = node
        self._on_close = on_close
        self._callback = callback
        self._log = log
        self._is_closed = False
        self.name, self.qos = name, qos
        self.lost_count = 0
        self.endpoint: Any = None

    @property
    def reliable(self) -> bool:
        return self.qos.reliable

    def take(self, message: Any) -> None:
        if not self._is_closed:
            self._callback(message)

    def count_lost(self, count: int) -> None:
        self.lost_count += count
        if self.qos.keep_all:
            self._log.log(
                logging.WARNING,
                f"{self.name} lost",
                "topic %s: %d messages were lost on their way; let the sender be reliable and "
                "keep enough of them",
                self.name,
                count,
            )

    def close(self) -> None:
        self._is_closed = True
        endpoint, self.endpoint = self.endpoint, None
        if endpoint is not None:
            self._node.destroy_subscription(endpoint)
            self._on_close(self)


def open_ros_transport(
    node_name: str = "vl2", *, namespace: str = "", remap: Mapping[str, str] | None = None
) -> RosTransport:
    """Open a transport on a plain rclpy node of its own, spun on a thread of its own.

    Args:
        node_name: name of the node.
        namespace: of the node; empty is the root.
        remap: topic to its other name.

    Raises:
        ConfigError: if a name is wrong.
        TransportError: if rclpy is missing.
    """
    join_node_name(node_name, namespace)
    for topics in (remap or {}).items():
        for topic in topics:
            resolve_topic(topic, node_name, namespace)
    transport: RosTransport = import_with_rclpy("vl2_ros.transports.ros.spinning").open_transport(
        node_name, namespace, dict(remap or {})
    )
    return transport
