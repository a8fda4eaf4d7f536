"""One topic of a camera: its publishers are watched, and it is subscribed as they offer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from vl2_ros.node.transport import PublisherInfo, Qos, Subscription, Transport

#: Seconds for which the publishers of a topic must call for another subscription until it is
#: opened: discovery shows them one after the other.
SETTLE_S = 1.0

Value = TypeVar("Value")


class SettledChoice(Generic[Value]):
    """A choice that changes after another one has been better for `SETTLE_S`.

    Args:
        value: the first choice.
    """

    def __init__(self, value: Value) -> None:
        self.value = value
        self._wanted, self._since_s = value, 0.0

    def update(self, wanted: Value, now_s: float) -> bool:
        """Note what is best now; returns whether the choice has changed.

        Args:
            wanted: the best choice.
            now_s: monotonic time.
        """
        if wanted != self._wanted:
            self._wanted, self._since_s = wanted, now_s
        if wanted == self.value or now_s - self._since_s < SETTLE_S:
            return False
        self.value = wanted
        return True


class CameraTopic:
    """Subscribes to one topic of a camera, and subscribes again when its publishers change.

    With the reliability `auto` the subscription is reliable where every publisher offers that, so
    that large images are sent again when a part is lost, else best effort, which receives from all
    publishers. While there is none it stays as it is. Not thread-safe.

    Args:
        topic: as a user writes it, or absolute.
        type_name: of the messages; publishers of another type do not count.
        reliability: auto, reliable or best_effort.
        depth: messages kept.
        transport: receives the messages.
        take: called with each message, on the transport's thread.

    Attributes:
        name: of the topic, absolute.
        type_name: of the messages.
    """

    def __init__(
        self,
        topic: str,
        type_name: str,
        reliability: str,
        depth: int,
        transport: Transport,
        take: Callable[[Any], None],
    ) -> None:
        """Resolve the topic; `open` subscribes.

        Raises:
            ConfigError: if it is no topic name.
        """
        self.name = transport.resolve(topic)
        self.type_name = type_name
        self._topic = topic
        self._depth = depth
        self._transport = transport
        self._take = take
        self._is_auto = reliability == "auto"
        self._reliable = SettledChoice(reliability == "reliable")
        self._is_open = False
        self._subscription: Subscription | None = None
        self._lost_before = 0

    @property
    def reliable(self) -> bool:
        """Return whether the subscription is reliable; False while there is none."""
        subscription = self._subscription  # another thread may close it
        return subscription is not None and subscription.reliable

    @property
    def lost_count(self) -> int:
        """Return how many messages were lost, in all subscriptions so far."""
        subscription = self._subscription
        return self._lost_before + (0 if subscription is None else subscription.lost_count)

    def list_all_publishers(self) -> tuple[PublisherInfo, ...]:
        """Return the publishers that are known now, those of another type included."""
        return self._transport.find_publishers(self._topic)

    def list_publishers(self) -> tuple[PublisherInfo, ...]:
        """Return the publishers of this type that are known now."""
        return tuple(one for one in self.list_all_publishers() if one.type_name == self.type_name)

    def open(self) -> None:
        """Subscribe, with the reliability of the publishers that are known now."""
        self._is_open = True
        if self._is_auto:
            self._reliable = SettledChoice(self._find_best())
        self._subscribe()

    def update(self, now_s: float) -> bool:
        """Subscribe again when the publishers have called for another reliability for a while.

        A topic that could not be subscribed is tried again.

        Args:
            now_s: monotonic time.

        Returns:
            Whether there is a new subscription.
        """
        if not self._is_open:
            return False
        if self._subscription is None:
            # Opening it has failed before.
            self.open()
            return True
        if not self._is_auto:
            return False
        if not self._reliable.update(self._find_best(), now_s):
            return False
        self._unsubscribe()
        self._subscribe()
        return True

    def close(self) -> None:
        """End the subscription; a second call does nothing."""
        self._is_open = False
        self._unsubscribe()

    def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            subscription.close()
            self._lost_before += subscription.lost_count

    def _subscribe(self) -> None:
        qos = Qos(reliable=self._reliable.value, depth=self._depth)
        self._subscription = self._transport.subscribe(self._topic, self.type_name, qos, self._take)

    def _find_best(self) -> bool:
        publishers = self.list_publishers()
        return all(one.reliable for one in publishers) if publishers else self._reliable.value
