"""The bond of a managed node on ROS 2: heartbeats on the topic `bond` while the node is active."""

from __future__ import annotations

import logging
import time
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile

from vl2_ros.errors import TransportError
from vl2_ros.node.guarded import guarded
from vl2_ros.node.quiet_log import RepeatedLog
from vl2_ros.ros_node.bond_protocol import (
    HEARTBEAT_TIMEOUT_S,
    BondProtocol,
    Change,
)
from vl2_ros.transports.ros.message_types import find_class

#: In the node's namespace, as Nav2 has it.
BOND_TOPIC, BOND_TYPE = "bond", "bond/msg/Status"

#: Every managed node of a namespace is on the one topic.
_RECEIVE_DEPTH, _SEND_DEPTH = 100, 5

_log = logging.getLogger(__name__)


class Bond:
    """Signals to a lifecycle manager, such as Nav2's, that the node is alive.

    Heartbeats come from the executor that answers everything else, so that a manager sees when
    that is stuck. The endpoints stay until the rclpy node is destroyed, so that the last status is
    sent.

    Args:
        node: the rclpy node; the bond has its name.
        log: takes lines that may repeat.

    Raises:
        TransportError: if ROS 2's package bond is not there.
    """

    def __init__(self, node: Node, log: RepeatedLog) -> None:
        self._status = find_class(BOND_TYPE)
        self._node, self._quiet_log = node, log
        self._protocol = BondProtocol(node.get_name())
        self._period_s = 0.0
        # A status that cannot be sent must not keep the node from shutting down the rest.
        self._send = guarded(self._publish, "sending the state of the bond", log)
        group = MutuallyExclusiveCallbackGroup()
        self._publisher = node.create_publisher(
            self._status, BOND_TOPIC, QoSProfile(depth=_SEND_DEPTH), callback_group=group
        )
        self._subscription = node.create_subscription(
            self._status,
            BOND_TOPIC,
            guarded(self._receive, "the callback of the bond", log),
            QoSProfile(depth=_RECEIVE_DEPTH),
            callback_group=group,
        )
        # Simulated time may stand still, the manager's patience does not.
        self._timer = node.create_timer(
            1.0,
            guarded(self._beat, "the heartbeat of the bond", log),
            callback_group=group,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._timer.cancel()

    def begin(self, period_s: float) -> None:
        """Send heartbeats from now on, one a period."""
        self._period_s = period_s
        self._protocol.begin(time.monotonic())
        self._timer.timer_period_ns = max(1, round(period_s * 1e9))
        self._timer.reset()
        self._send(True)

    def end(self) -> None:
        """Notify a manager that the node is no longer active; harmless when it was not."""
        self._timer.cancel()
        if self._protocol.end(time.monotonic()):
            self._send(False)

    def _beat(self) -> None:
        if self._protocol.is_beating(time.monotonic()):
            self._send(True)

    def _receive(self, status: Any) -> None:
        change, reply = self._protocol.receive(
            status.id,
            status.instance_id,
            status.active,
            status.heartbeat_timeout,
            time.monotonic(),
        )
        if reply is not None:
            self._send(reply)
        if change is Change.FORMED:
            _log.info("a lifecycle manager has formed a bond with this node")
        elif change is Change.BROKEN:
            _log.info("the lifecycle manager has ended its bond with this node, which runs on")
        elif change is Change.CROWDED:
            self._quiet_log.log(
                logging.WARNING,
                "two managers",
                "a second lifecycle manager requests a bond with %s while the first one is alive; "
                "name a node in one manager only",
                self._protocol.bond_id,
            )

    def _publish(self, is_active: bool) -> None:
        status = self._status(
            id=self._protocol.bond_id,
            instance_id=self._protocol.instance_id,
            active=is_active,
            heartbeat_timeout=HEARTBEAT_TIMEOUT_S,
            heartbeat_period=self._period_s,
        )
        status.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(status)


def open_bond(node: Node, log: RepeatedLog) -> Bond | None:
    """Make the bond of a node; None, and a log line, where ROS 2's package bond is missing."""
    try:
        return Bond(node, log)
    except TransportError:
        _log.info(
            "ROS 2's package bond is missing, so a lifecycle manager cannot watch this node; "
            "set bond_timeout: 0.0 for the manager, or install ros-<distro>-bond"
        )
        return None
