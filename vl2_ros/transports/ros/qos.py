"""Convert QoS to rclpy's, for topics and services, apply overrides and warn about mismatches."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
    qos_policy_name_from_kind,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from vl2_ros.documents import shorten
from vl2_ros.errors import TransportError
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
#: Values of the parameter that overrides a subscription's reliability; None: as the node has it.
_RELIABLE = {"system_default": None, "reliable": True, "best_effort": False}

#: Requests that may wait at a service or an action until the executor takes them, and replies and
#: feedback until they are sent. ROS 2 keeps 10 and drops older ones without a word to either side,
#: so that of 24 goals at once half are never heard of. Requests that wait are as large as commands,
#: so this is no more than bursts need: every goal beyond the first few is answered BUSY at once.
SERVER_DEPTH = 256


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


def make_server_profile() -> QoSProfile:
    """Return the profile of a service, and of the services and the feedback of an action."""
    return QoSProfile(depth=SERVER_DEPTH, reliability=ReliabilityPolicy.RELIABLE)


def make_overrides(*, is_publisher: bool) -> QoSOverridingOptions:
    """Let `qos_overrides.<topic>.<publisher|subscription>.<policy>` change an endpoint.

    The reliability of a subscription is none of them: see `declare_reliability`.
    """
    kinds = (QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH, QoSPolicyKind.DURABILITY)
    return QoSOverridingOptions((*kinds, QoSPolicyKind.RELIABILITY) if is_publisher else kinds)


def declare_reliability(node: Node, topic: str, qos: Qos) -> bool:
    """Declare the parameter that overrides the reliability of a topic's subscription.

    rclpy's own would keep what the first subscription had when it is opened again with another
    one. The default of this one is `system_default`: as the node has it.

    Args:
        node: of the subscription.
        topic: absolute.
        qos: as the node has it.

    Returns:
        Whether the subscription is to be reliable.

    Raises:
        TransportError: if the parameter names no reliability.
    """
    name = f"qos_overrides.{topic}.subscription.reliability"
    if not node.has_parameter(name):
        text = "Reliability of the subscription; system_default: as the node chooses"
        descriptor = ParameterDescriptor(
            description=text,
            additional_constraints=f"one of {', '.join(_RELIABLE)}",
            read_only=True,
        )
        node.declare_parameter(name, "system_default", descriptor)
    value = node.get_parameter(name).value
    if value not in _RELIABLE:
        raise TransportError(f"{name} must be one of {', '.join(_RELIABLE)}, got {shorten(value)}")
    reliable = _RELIABLE[value]
    return qos.reliable if reliable is None else reliable


def is_reliable(profile: QoSProfile) -> bool:
    """Return whether an endpoint is known to be reliable."""
    return bool(profile.reliability == ReliabilityPolicy.RELIABLE)


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
