"""The interface of transports: topics, message classes, qualities of service; no meaning.

Message types are named as in ROS 2 (`std_msgs/msg/String`), topics relative, private or absolute
(`image`, `~/command`, `/camera/image_raw`), so that each transport can remap them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Qos:
    """Quality of service of one endpoint.

    Attributes:
        reliable: False is best effort; a best-effort subscription receives from both kinds of
            publishers, a reliable one from reliable publishers only.
        transient_local: a late subscriber still gets the last messages.
        depth: messages kept; older ones are dropped.
        latched: of a transient-local publisher, messages kept for late subscribers; None: `depth`.
        keep_all: of a reliable subscription, up to `depth` messages wait and none gives way to a
            newer one: what comes to a full queue is sent again, where the transport can, or is
            lost and counted. A publisher always drops its oldest, so that it never waits.
    """

    reliable: bool = True
    transient_local: bool = False
    depth: int = 10
    latched: int | None = None
    keep_all: bool = False

    @property
    def kept_for_late(self) -> int:
        """Return how many messages late subscribers may get."""
        if not self.transient_local:
            return 0
        return self.depth if self.latched is None else self.latched


#: QoS of an image subscription that matches every publisher, where only the newest counts.
NEWEST_FROM_ANY = Qos(reliable=False, depth=1)
#: Results: a subscriber that comes late sees the last one.
LATCHED = Qos(transient_local=True, depth=1)


@dataclass(frozen=True, slots=True)
class PublisherInfo:
    """What is known of one publisher of a topic, whichever node it belongs to.

    Attributes:
        type_name: of its messages, such as `sensor_msgs/msg/Image`; as it came where it is no
            type of ROS 2.
        reliable: a reliable subscription receives from it.
    """

    type_name: str
    reliable: bool


class MessageTypes(Protocol):
    """Makes messages of the transport's own classes."""

    def make(self, type_name: str, **fields: Any) -> Any:
        """Make a message; fields that are not given are zero, empty or False.

        Args:
            type_name: such as `sensor_msgs/msg/Image`.
            fields: numbers, strings, messages, lists of strings or messages; sequences of numbers
                are 1-D numpy arrays of the field's dtype.
        """

    def has(self, type_name: str) -> bool:
        """Return whether messages of a type can be made here."""


class Publisher(Protocol):
    """One outgoing topic."""

    def publish(self, message: Any) -> None:
        """Send a message; never blocks on a slow receiver."""

    def count_subscribers(self) -> int:
        """Return how many subscriptions match now."""


class Subscription(Protocol):
    """One incoming topic."""

    @property
    def lost_count(self) -> int:
        """Return how many messages the transport knows to have lost, best effort's included."""

    @property
    def reliable(self) -> bool:
        """Return whether it is reliable, overrides of the transport included."""

    def close(self) -> None:
        """End the subscription; a running callback may still finish, a second call does nothing."""


class Transport(Protocol):
    """Carries messages; knows topics, not their meaning.

    Callbacks run one at a time on a thread of the transport and must only store. What one raises
    is logged and counted, and the next message is read. A sequence of numbers in a received
    message can be read by `numpy.asarray` without a copy; bytes of a string that are not UTF-8
    arrive as U+FFFD.
    """

    @property
    def types(self) -> MessageTypes:
        """Return the factory of this transport's messages."""

    @property
    def failure(self) -> str:
        """Return why nothing is read any more; empty while it works and after `close`.

        The owner of the transport checks this regularly and ends the process: without its thread
        a node receives nothing, and nothing else would notice.
        """

    @property
    def loss_advice(self) -> str:
        """Return what helps when large messages are lost; empty where none is on its way."""

    def resolve(self, topic: str) -> str:
        """Return the absolute, remapped name of a topic."""

    def advertise(self, topic: str, type_name: str, qos: Qos) -> Publisher:
        """Open an outgoing topic."""

    def subscribe(
        self, topic: str, type_name: str, qos: Qos, callback: Callable[[Any], None]
    ) -> Subscription:
        """Call `callback` with each message of a topic, until the subscription is closed."""

    def count_publishers(self, topic: str) -> int:
        """Return how many publishers of a topic are known now, other types and QoS included."""

    def find_publishers(self, topic: str) -> tuple[PublisherInfo, ...]:
        """Return the publishers of a topic that are known now, other types and QoS included."""

    def now_ns(self) -> int:
        """Return the time of the transport's clock in nanoseconds since the epoch."""

    def find_simulated_ns(self) -> int | None:
        """Return the simulated time in nanoseconds, 0 before it begins; None: time is real."""

    def close(self) -> None:
        """Close every endpoint; no callback runs afterwards."""
