"""Derive Cyclone DDS settings from ROS 2's environment variables; nothing is opened here."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import quoteattr

from vl2_ros.errors import ConfigError

#: The highest domain for which the default ports are still valid.
LAST_DOMAIN = 232
#: The port rules of DDS: domain d has 250 ports from 7400 + 250 d, and the process with index i
#: takes two of them, 10 + 2 i and the next.
_FIRST_PORT, _PORTS_OF_DOMAIN, _FIRST_UNICAST_PORT, _LAST_PORT = 7400, 250, 10, 65535

_EVERY_INTERFACE = (
    '<NetworkInterface autodetermine="true"/>'
    '<NetworkInterface address="127.0.0.1" multicast="false"/>'
)
_LOOPBACK = '<NetworkInterface address="127.0.0.1" multicast="false"/>'

# Fragments of nearly 64 kB instead of 1.3 kB: an image of 1920x1080 arrives in 16 instead of
# 285 ms.
_SETTINGS = """<CycloneDDS><Domain Id="any">
<General>
<Interfaces>{interfaces}</Interfaces>
<MaxMessageSize>65500B</MaxMessageSize>
<FragmentSize>60000B</FragmentSize>
</General>
<Discovery>
<ParticipantIndex>auto</ParticipantIndex>
<MaxAutoParticipantIndex>{last_index}</MaxAutoParticipantIndex>
<Peers>{peers}</Peers>
</Discovery>
<Internal><SocketReceiveBufferSize max="4MB"/></Internal>
</Domain></CycloneDDS>"""


def choose_domain(domain_id: int | None, environment: Mapping[str, str]) -> int:
    """Return the given domain, else that of ROS_DOMAIN_ID, else 0.

    Raises:
        ConfigError: if it is no number from 0 to 232.
    """
    text = environment.get("ROS_DOMAIN_ID", "").strip() or "0"
    try:
        domain = int(text) if domain_id is None else domain_id
    except ValueError as error:
        raise ConfigError(f"ROS_DOMAIN_ID must be a number, got {text!r}") from error
    if not 0 <= domain <= LAST_DOMAIN:
        raise ConfigError(f"the DDS domain must be 0 to {LAST_DOMAIN}, got {domain}")
    return domain


def is_loopback_asked(environment: Mapping[str, str]) -> bool:
    """Return whether ROS is restricted to this machine."""
    wanted_range = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").upper()
    return wanted_range in ("LOCALHOST", "OFF") or environment.get("ROS_LOCALHOST_ONLY") == "1"


def find_last_index(domain_id: int) -> int:
    """Return the highest participant index whose ports belong to the domain and to UDP.

    It bounds how many processes of a machine can be in one domain. 119 is the most: the ports of
    120 are those of the next domain. A process looks for others on the ports of all indices, which
    is one small datagram a second more than with 32.
    """
    first = _FIRST_PORT + _PORTS_OF_DOMAIN * domain_id
    last = min(first + _PORTS_OF_DOMAIN - 1, _LAST_PORT)
    return (last - first - _FIRST_UNICAST_PORT - 1) // 2


def make_settings(
    environment: Mapping[str, str], *, loopback_only: bool, domain_id: int = 0
) -> str:
    """Return Cyclone's configuration as XML.

    Without `loopback_only` ROS processes are found whether their discovery range is the subnet
    or this machine. CYCLONEDDS_URI is applied on top.

    Args:
        environment: ROS_STATIC_PEERS (separated by semicolons) and CYCLONEDDS_URI are read.
        loopback_only: use no network but this machine's own.
        domain_id: of the settings.
    """
    static_peers = environment.get("ROS_STATIC_PEERS", "").split(";")
    peers = ["127.0.0.1", *(peer.strip() for peer in static_peers if peer.strip())]
    settings = _SETTINGS.format(
        interfaces=_LOOPBACK if loopback_only else _EVERY_INTERFACE,
        last_index=find_last_index(domain_id),
        peers="".join(f"<Peer Address={quoteattr(peer)}/>" for peer in peers),
    )
    override = environment.get("CYCLONEDDS_URI", "")
    return f"{settings},{override}" if override else settings
