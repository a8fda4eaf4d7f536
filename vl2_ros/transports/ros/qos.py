"""Convert QoS to rclpy's, apply overrides from parameters and warn about mismatches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.node.transport import Qos

try:
    from rclpy.event_handler import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )
except ImportError:  # Humble
    from rclpy.qos_event import (
        PublisherEventCallbacks,
        SubscriptionEventCallbacks,
        UnsupportedEventTypeError,
    )

__all__ = ["UnsupportedEventTypeError"]

#: ROS 2 has one depth for what is under way and for what is kept for late subscribers. This one
#: is enough for a burst, and small enough that generated images fit into memory.
_MOST_LATCHED = 100


def make_profile(qos: Qos, *, is_publisher: bool) -> QoSProfile:
    """Return the rclpy profile of a quality of service.

    The history is KEEP_LAST: ROS 2 gives KEEP_ALL no limit, and a subscription must not take all
    memory. `qos_overrides` can ask for it.
    """
    depth = qos.depth
    if is_publisher and qos.transient_local:
        depth = max(qos.kept_for_late, min(depth, _MOST_LATCHED))
    return QoSProfile(
        depth=depth,
        reliability=(ReliabilityPolicy.RELIABLE if qos.reliable else ReliabilityPolicy.BEST_EFFORT),
        durability=(
            DurabilityPolicy.TRANSIENT_LOCAL if qos.transient_local else DurabilityPolicy.VOLATILE
        ),
    )


def make_overrides() -> QoSOverridingOptions:
    """Let `qos_overrides.<topic>.<publisher|subscription>.<policy>` change an endpoint."""
    return QoSOverridingOptions(
        (
            QoSPolicyKind.HISTORY,
            QoSPolicyKind.DEPTH,
            QoSPolicyKind.RELIABILITY,
            QoSPolicyKind.DURABILITY,
        )
    )


def watch_subscription(
    topic: str, log: RepeatedLog, on_lost: Callable[[int], None] | None
) -> SubscriptionEventCallbacks:
    """Warn about publishers with incompatible QoS, and report lost messages.

    Args:
        topic: absolute.
        log: takes the warnings.
        on_lost: gets how many more were lost; None where ROS 2's middleware does not report it.
    """
    lost = None
    if on_lost is not None:

        def lost(event: Any) -> None:
            on_lost(int(event.total_count_change))

    warning = _make_warning(topic, "a publisher offers", log)
    return SubscriptionEventCallbacks(incompatible_qos=warning, message_lost=lost)


def warn_publisher(topic: str, log: RepeatedLog) -> PublisherEventCallbacks:
    """Warn about subscriptions that request more than a publisher offers."""
    warning = _make_warning(topic, "a subscription wants", log)
    return PublisherEventCallbacks(incompatible_qos=warning)


def _make_warning(topic: str, what: str, log: RepeatedLog) -> Callable[[Any], None]:
    def warn(event: Any) -> None:
        log.log(
            logging.WARNING,
            f"{topic}: {what}",
            "topic %s: %s another %s than this node, nothing goes between the two; change one of "
            "them, here by the parameter qos_overrides.%s",
            topic,
            what,
            qos_policy_name_from_kind(event.last_policy_kind),
            topic,
        )

    return warn
