"""What gives a camera's images their place in space: what came last, and its state.

Knows neither threads nor clocks: the caller holds the lock and passes the time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from vl2_ros.node.cameras.arrivals import Arrivals
from vl2_ros.node.cameras.camera_topic import CameraTopic


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """The state of one of the topics that give a camera's images their place in space.

    Attributes:
        name: camera_info or depth.
        topic: that is subscribed, absolute.
        reliable: whether that subscription is.
        received: messages that came.
        rate_hz: messages a second in the last seconds.
        last_age_s: seconds since the last one came; infinite when none ever did.
        publisher_count: publishers of its topics that are known now.
        fault: why it is of no use and what to do; empty while it is, or where it is not expected.
        is_silent: the fault is that nothing comes.
    """

    name: str
    topic: str
    reliable: bool
    received: int
    rate_hz: float
    last_age_s: float
    publisher_count: int
    fault: str = ""
    is_silent: bool = False


@dataclass(slots=True, eq=False)
class Source:
    """Camera_info or depth, which comes on one of its topics.

    Attributes:
        name: camera_info or depth.
        topics: on which it may come.
        arrivals: counts them.
        message: that came last; None before the first one.
    """

    name: str
    topics: Sequence[CameraTopic]
    arrivals: Arrivals = field(default_factory=Arrivals)
    message: Any = None

    @property
    def where(self) -> str:
        """Return the names of its topics."""
        return " or ".join(topic.name for topic in self.topics)

    def count_publishers(self) -> int:
        """Return how many publishers its topics have, those of another type included."""
        return sum(len(topic.list_all_publishers()) for topic in self.topics)

    def take(self, message: Any, now_s: float) -> None:
        """Keep a message that came now, in seconds of the node's clock."""
        self.message = message
        self.arrivals.add(now_s)

    def check(
        self,
        topic: CameraTopic,
        fault: str,
        publisher_count: int,
        now_s: float,
        active_s: float,
        timeout_s: float,
    ) -> SourceHealth:
        """Judge whether it has been silent for too long.

        Args:
            topic: that is subscribed.
            fault: what is wrong with the message that came last; empty when nothing is.
            publisher_count: publishers that are known now.
            now_s: seconds of the node's clock.
            active_s: seconds of that clock since the node began to listen.
            timeout_s: seconds of silence that are too long.
        """
        age_s = self.arrivals.find_age_s(now_s)
        is_silent = min(age_s, active_s) >= timeout_s
        return SourceHealth(
            name=self.name,
            topic=topic.name,
            reliable=topic.reliable,
            received=self.arrivals.count,
            rate_hz=self.arrivals.find_rate_hz(now_s),
            last_age_s=age_s,
            publisher_count=publisher_count,
            fault=self._explain_silence(publisher_count, age_s) if is_silent else fault,
            is_silent=is_silent,
        )

    def _explain_silence(self, publisher_count: int, age_s: float) -> str:
        if math.isinf(age_s):
            came = f"no {self.name} ever came on {self.where}"
        else:
            came = f"no {self.name} came on {self.where} for {age_s:.1f} s"
        if publisher_count == 0:
            return f"{came}: nothing publishes there; start it, or name or remap its topic"
        types = " or ".join(topic.type_name for topic in self.topics)
        return (
            f"{came}, although {publisher_count} publish there; check that it sends and that its "
            f"type is {types}"
        )
