"""Qualities of service to rclpy's, with overrides by parameter and a warning where none match."""

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

from vl2_ros.node.transport import Qos

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks

_log = logging.getLogger(__name__)


def make_profile(qos: Qos) -> QoSProfile:
    """Return what rclpy calls a quality of service; the history is KEEP_LAST."""
    return QoSProfile(
        depth=qos.depth,
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


def warn_subscription(topic: str) -> SubscriptionEventCallbacks:
    """Warn of publishers whose offer a subscription cannot take."""
    return SubscriptionEventCallbacks(incompatible_qos=_make_warning(topic, "a publisher offers"))


def warn_publisher(topic: str) -> PublisherEventCallbacks:
    """Warn of subscriptions that want more than a publisher offers."""
    return PublisherEventCallbacks(incompatible_qos=_make_warning(topic, "a subscription wants"))


def _make_warning(topic: str, what: str) -> Callable[[Any], None]:
    def warn(event: Any) -> None:
        _log.warning(
            "topic %s: %s another %s than this node, nothing goes between the two; change one of "
            "them, here by the parameter qos_overrides.%s",
            topic,
            what,
            qos_policy_name_from_kind(event.last_policy_kind),
            topic,
        )

    return warn
