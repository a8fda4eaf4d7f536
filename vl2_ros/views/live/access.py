"""Decide who may open the page and its stream: by host, origin and token.

A page of another origin can make a browser connect to this machine. Its `Origin` header gives it
away; where a name of its own resolves to this machine (DNS rebinding), the `Host` header does.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

#: Of a token, which the URL contains.
_TOKEN_BYTES = 18


@dataclass(frozen=True, slots=True)
class Access:
    """The rules of one server.

    Attributes:
        host: the name or address that it is bound to.
        token: what a stream must name; empty: nothing, for this machine alone.
        names: that it has, in lower case.
    """

    host: str
    token: str
    names: frozenset[str]

    def refuse_host(self, header: str) -> str:
        """Return why a `Host` header is refused; empty when it names this server.

        An address cannot be rebound, so any address is one of this server where it is bound to
        more than loopback.
        """
        name = _read_name(header)
        address = _read_address(name)
        if name in self.names or (address and (address.is_loopback or not is_loopback(self.host))):
            return ""
        return f"the host {header[:100]!r} is not this server; open the URL that vl2 printed"

    def refuse_origin(self, origin: str, host: str) -> str:
        """Return why an `Origin` header is refused; empty when it is the page of this server."""
        if origin.lower() in (f"http://{host}".lower(), f"https://{host}".lower()):
            return ""
        return f"the origin {origin[:100]!r} is another one; only this server's page may connect"

    def refuse_token(self, token: str) -> str:
        """Return why a token is refused; empty when it is the right one, or none is needed."""
        # Compared in constant time, so that its letters cannot be found one by one.
        if not self.token or hmac.compare_digest(token.encode(), self.token.encode()):
            return ""
        return "the token is missing or wrong; open the URL that vl2 printed, up to its end"


def make_access(host: str) -> Access:
    """Make the rules for a host: beyond loopback with a new token.

    The names of this machine are found here, once, as a name server may take seconds to answer.
    """
    names = {"localhost", host.lower()}
    if is_loopback(host):
        return Access(host, "", frozenset(names))
    names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return Access(host, secrets.token_urlsafe(_TOKEN_BYTES), frozenset(names))


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine alone."""
    address = _read_address(host)
    return host.lower() == "localhost" or (address is not None and address.is_loopback)


def _read_name(header: str) -> str:
    """Return the host of a `Host` header without its port; empty when it cannot be read."""
    try:
        return (urlsplit(f"//{header}").hostname or "").lower()
    except ValueError:
        return ""


def _read_address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
