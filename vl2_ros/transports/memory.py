"""Messages within one process, for tests, notebooks and tools: no network, no bytes, no copy.

Keeps the rules of ROS 2: matching by name, type and quality of service, bounded queues that drop
the oldest, the last messages for late subscribers, one callback at a time per node.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vl2_ros.errors import TransportError
from vl2_ros.node.guarded import guarded
from vl2_ros.node.names import resolve_topic
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import Publisher, PublisherInfo, Qos, Subscription
from vl2_ros.transports.message_types import StoreMessageTypes

_LOG = logging.getLogger(__name__)


class MemoryBus:
    """Shared by several `MemoryTransport`s instead of a network."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._publishers: list[_MemoryPublisher] = []
        self._subscriptions: list[_Subscription] = []

    def add_publisher(self, publisher: _MemoryPublisher) -> None:
        """Let a publisher be matched."""
        with self._lock:
            self._publishers.append(publisher)
            others = [one for one in self._subscriptions if one.topic == publisher.topic]
        for subscription in others:
            _warn_of_mismatch(publisher, subscription)

    def add_subscription(self, subscription: _Subscription) -> None:
        """Let a subscription be matched; it gets what publishers keep for late ones."""
        with self._lock:
            self._subscriptions.append(subscription)
            others = [one for one in self._publishers if one.topic == subscription.topic]
            for publisher in others:
                if subscription.qos.transient_local and not _find_mismatch(publisher, subscription):
                    wanted = min(subscription.qos.depth, publisher.qos.kept_for_late)
                    for message in list(publisher.kept)[-wanted:]:
                        subscription.deliver(message)
        for publisher in others:
            _warn_of_mismatch(publisher, subscription)

    def publish(self, publisher: _MemoryPublisher, message: Any) -> None:
        """Pass a message to every subscription that matches."""
        # Under the lock, so that a late subscriber gets each message once, in order.
        with self._lock:
            publisher.kept.append(message)
            for subscription in self._matches(publisher):
                subscription.deliver(message)

    def count_subscribers(self, publisher: _MemoryPublisher) -> int:
        """Return how many subscriptions match a publisher."""
        with self._lock:
            return len(self._matches(publisher))

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic, of any type and quality of service."""
        with self._lock:
            return tuple(
                PublisherInfo(one.type_name, one.qos.reliable)
                for one in self._publishers
                if one.topic == topic
            )

    def remove_subscription(self, subscription: _Subscription) -> None:
        """Forget one subscription."""
        with self._lock:
            self._subscriptions = [one for one in self._subscriptions if one is not subscription]

    def remove(self, owner: MemoryTransport) -> None:
        """Forget the endpoints of a transport."""
        with self._lock:
            self._publishers = [one for one in self._publishers if one.owner is not owner]
            self._subscriptions = [one for one in self._subscriptions if one.owner is not owner]

    def _matches(self, publisher: _MemoryPublisher) -> list[_Subscription]:
        return [
            one
            for one in self._subscriptions
            if one.topic == publisher.topic and not _find_mismatch(publisher, one)
        ]


class MemoryTransport:
    """One node on a `MemoryBus`; a `Transport`.

    Messages are passed without a copy: neither side may change one that was published.

    Args:
        bus: shared by the nodes that see each other.
        node_name: of this node.
        namespace: of this node.
        remap: topics to their other names.
        find_simulated_ns: returns the simulated time in nanoseconds, 0 before it begins; None:
            time is real.
    """

    def __init__(
        self,
        bus: MemoryBus,
        node_name: str = "vl2",
        *,
        namespace: str = "",
        remap: Mapping[str, str] | None = None,
        find_simulated_ns: Callable[[], int | None] | None = None,
    ) -> None:
        self.types = StoreMessageTypes()
        #: Nothing is on its way within a process.
        self.loss_advice = ""
        self._bus = bus
        self._find_simulated_ns = find_simulated_ns
        self._node_name, self._namespace, self._remap = node_name, namespace, dict(remap or {})
        self._waiting: deque[_Subscription] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._failure = ""
        self._quiet_log = RepeatedLog(_LOG)
        self._thread = threading.Thread(
            target=self._run_callbacks, name=f"memory {node_name}", daemon=True
        )
        self._thread.start()

    @property
    def failure(self) -> str:
        """Return why no callback runs any more; empty while they do and after `close`."""
        return self._failure

    def resolve(self, topic: str) -> str:
        """Return the absolute, remapped name of a topic.

        Raises:
            ConfigError: if it is no ROS name.
        """
        return resolve_topic(topic, self._node_name, self._namespace, self._remap)

    def advertise(self, topic: str, type_name: str, qos: Qos) -> Publisher:
        """Open an outgoing topic.

        Raises:
            TransportError: if the transport is closed.
        """
        self._check_open()
        publisher = _MemoryPublisher(self, self._bus, self.resolve(topic), type_name, qos)
        self._bus.add_publisher(publisher)
        return publisher

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        """Call `callback` with each message of a topic, on this transport's thread.

        Raises:
            TransportError: if the transport is closed.
        """
        self._check_open()
        name = self.resolve(topic)
        guard = guarded(callback, f"the callback of {name}", self._quiet_log)
        subscription = _Subscription(self, self._bus, name, type_name, qos, guard)
        self._bus.add_subscription(subscription)
        return subscription

    def count_publishers(self, topic: str) -> int:
        """Return how many publishers of a topic there are, other types and QoS included."""
        return len(self.find_publishers(topic))

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic, other types and QoS included."""
        return self._bus.find_publishers(self.resolve(topic))

    def now_ns(self) -> int:
        """Return the time of day in nanoseconds since the epoch, or the simulated time."""
        simulated_ns = self.find_simulated_ns()
        return time.time_ns() if simulated_ns is None else simulated_ns

    def find_simulated_ns(self) -> int | None:
        """Return the simulated time in nanoseconds; None where time is real."""
        return None if self._find_simulated_ns is None else self._find_simulated_ns()

    def close(self) -> None:
        """Close every endpoint; no callback runs afterwards. Twice is harmless."""
        self._bus.remove(self)
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def is_closed(self) -> bool:
        """Return whether `close` was called."""
        return self._closed

    def store(self, subscription: _Subscription, message: Any) -> None:
        """Queue a message for the callback thread; in a full queue one is lost and counted."""
        with self._changed:
            is_full = len(subscription.queue) >= subscription.qos.depth
            subscription.lost_count += is_full
            is_kept = not (is_full and subscription.qos.keep_all)
            # One mark per message that is kept; the new one takes over the mark of the dropped.
            if not is_full:
                self._waiting.append(subscription)
            if is_kept:
                subscription.queue.append(message)
            self._changed.notify_all()
        if not is_kept:
            self._quiet_log.log(
                logging.WARNING,
                f"{subscription.topic} is full",
                "%s: a message is lost, %d of them wait to be read",
                subscription.topic,
                subscription.qos.depth,
            )

    def _run_callbacks(self) -> None:
        try:
            while self._run_callback():
                pass
        except BaseException as error:
            self._failure = f"the thread of node {self._node_name} has ended: {error!r}"
            _LOG.critical("%s", self._failure, exc_info=True)

    def _run_callback(self) -> bool:
        """Wait for a message and deliver it; False when the transport is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if self._closed:
                return False
            subscription = self._waiting.popleft()
            message = subscription.queue.popleft()
        if not subscription.is_closed:
            subscription.callback(message)
        return True

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError(f"node {self._node_name} is closed; open another transport")


class _MemoryPublisher:
    def __init__(
        self, owner: MemoryTransport, bus: MemoryBus, topic: str, type_name: str, qos: Qos
    ) -> None:
        self.owner, self.topic, self.type_name, self.qos = owner, topic, type_name, qos
        self.kept: deque[Any] = deque(maxlen=qos.kept_for_late)
        self._bus = bus

    def publish(self, message: Any) -> None:
        if self.owner.is_closed():
            raise TransportError(f"the publisher of {self.topic} is closed")
        if message.__msgtype__ != self.type_name:
            raise TransportError(
                f"topic {self.topic} carries {self.type_name}, got {message.__msgtype__}"
            )
        self._bus.publish(self, message)

    def count_subscribers(self) -> int:
        return self._bus.count_subscribers(self)


@dataclass(slots=True, eq=False)
class _Subscription:
    owner: MemoryTransport
    bus: MemoryBus
    topic: str
    type_name: str
    qos: Qos
    callback: Callable[[Any], None]
    queue: deque[Any] = field(init=False)
    is_closed: bool = False
    lost_count: int = 0

    def __post_init__(self) -> None:
        self.queue = deque(maxlen=self.qos.depth)

    @property
    def reliable(self) -> bool:
        return self.qos.reliable

    def deliver(self, message: Any) -> None:
        self.owner.store(self, message)

    def close(self) -> None:
        self.is_closed = True
        self.bus.remove_subscription(self)


def _find_mismatch(publisher: _MemoryPublisher, subscription: _Subscription) -> str:
    """Return why two endpoints of one topic do not match; empty when they do."""
    if publisher.type_name != subscription.type_name:
        return f"types {publisher.type_name} and {subscription.type_name}"
    if subscription.qos.reliable and not publisher.qos.reliable:
        return "reliability: the publisher is best effort, the subscription wants reliable"
    if subscription.qos.transient_local and not publisher.qos.transient_local:
        return "durability: the publisher is volatile, the subscription wants transient local"
    return ""


def _warn_of_mismatch(publisher: _MemoryPublisher, subscription: _Subscription) -> None:
    mismatch = _find_mismatch(publisher, subscription)
    if mismatch:
        _LOG.warning("%s carries nothing between two nodes: %s", publisher.topic, mismatch)
