"""Check the security that ROS 2's environment requests, which plain DDS does not offer."""

from __future__ import annotations

from collections.abc import Mapping

from vl2_ros.errors import TransportError

_WAY_OUT = (
    "use --transport ros, where ROS 2 signs and encrypts by its keystore, or unset "
    "ROS_SECURITY_ENABLE for what stays on this machine "
    "(ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST)"
)


def check_security(environment: Mapping[str, str]) -> str:
    """Return a warning for a transport that can neither sign nor encrypt; empty if not requested.

    More spellings count as a request for security than in ROS 2, which knows exactly `true` and
    `Enforce`: a user who writes `True` does not want to send in the clear.

    Args:
        environment: ROS_SECURITY_ENABLE and ROS_SECURITY_STRATEGY are read.

    Raises:
        TransportError: if the environment enforces security.
    """
    if environment.get("ROS_SECURITY_ENABLE", "").strip().lower() not in ("true", "1", "yes", "on"):
        return ""
    if environment.get("ROS_SECURITY_STRATEGY", "").strip().lower() == "enforce":
        raise TransportError(
            "ROS_SECURITY_STRATEGY is Enforce, but the transport dds can neither sign nor encrypt; "
            + _WAY_OUT
        )
    return (
        "ROS_SECURITY_ENABLE is set, but the transport dds sends and receives in the clear, from "
        "and to any process in reach; " + _WAY_OUT
    )
