"""Several topics with one content, such as raw and compressed images: one of them is subscribed."""

from __future__ import annotations

from collections.abc import Sequence

from vl2_ros.node.cameras.camera_topic import CameraTopic, SettledChoice


class TopicChoice:
    """Subscribes to the first topic that has publishers, and to one at a time.

    Drivers compress for subscribers only, so that what is not read costs nothing. While no topic
    has publishers the last one stays. Not thread-safe.

    Args:
        topics: the best one first; at least one.

    Attributes:
        topics: as given.
    """

    def __init__(self, topics: Sequence[CameraTopic]) -> None:
        self.topics = tuple(topics)
        self._chosen = SettledChoice(self.topics[0])

    @property
    def topic(self) -> CameraTopic:
        """Return the topic that is subscribed, or was the last."""
        return self._chosen.value

    @property
    def reliable(self) -> bool:
        """Return whether the subscription is reliable; False while there is none."""
        return self.topic.reliable

    @property
    def lost_count(self) -> int:
        """Return how many messages the transport knows to have lost."""
        return sum(topic.lost_count for topic in self.topics)

    def open(self) -> None:
        """Subscribe."""
        self.topic.open()

    def update(self, now_s: float) -> bool:
        """Subscribe again when publishers have called for it for a while.

        Args:
            now_s: monotonic time.

        Returns:
            Whether there is a new subscription.
        """
        before = self.topic
        best = next((one for one in self.topics if one.list_publishers()), before)
        if not self._chosen.update(best, now_s):
            return before.update(now_s)
        before.close()
        self.topic.open()
        return True

    def close(self) -> None:
        """End the subscription; a second call does nothing."""
        self.topic.close()
