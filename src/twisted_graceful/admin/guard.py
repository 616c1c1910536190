"""Decides which requests to the admin endpoints are allowed, and which of them may act.

Any page that a browser on this machine shows can make the browser send requests here. Three fields
give such a request away: ``Host``, which is the attacker's own name if that was rebound to our
address (DNS rebinding; an IP address cannot be rebound), ``Origin`` (RFC 6454) and
``Sec-Fetch-Site`` (Fetch Metadata).
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address

from twisted.internet.address import UNIXAddress
from twisted.web.server import Request

from ..networks import Networks, address

LOCALHOST = "localhost"


@dataclass(frozen=True)
class RequestSource:
    """Where a request says that it comes from.

    Attributes:
        client: its address; None on a UNIX socket.
        host: the ``Host`` field.
        origin: the ``Origin`` field; empty if there is none.
        fetch_site: the ``Sec-Fetch-Site`` field; empty if there is none.
    """

    client: str | None
    host: str
    origin: str = ""
    fetch_site: str = ""

    @classmethod
    def of(cls, request: Request) -> RequestSource:
        """Of a request."""

        def field(name: str) -> str:
            return str(request.getHeader(name) or "")

        local = isinstance(request.host, UNIXAddress)
        return cls(
            None if local else str(request.client.host),
            field("host"),
            field("origin"),
            field("sec-fetch-site"),
        )


def why_refused(source: RequestSource, allowed: Networks, names: Collection[str]) -> str:
    """Why a request is refused; empty if it is not.

    Args:
        source: where it comes from.
        allowed: whose clients may ask, beside those of this machine.
        names: hosts that we go by, beside addresses and ``localhost``; ``.example.com`` is that
            domain and all below it.
    """
    if source.client is not None:
        client = address(source.client)
        if not client.is_loopback and client not in allowed:
            return f"{client} is not among those who may ask (--admin-allow)"
    host = _hostname(source.host)
    if not (_is_address(host) or any(_covers(each.lower(), host) for each in (LOCALHOST, *names))):
        return (
            f"the Host field must be {LOCALHOST}, an address, or a name of --admin-host, so that "
            "no name that somebody else controls leads here"
        )
    if source.origin and source.origin.lower() != f"http://{source.host.lower()}":
        return "it comes from a page of another origin"
    if source.fetch_site not in ("", "same-origin", "none"):
        return "it comes from a page of another site"
    return ""


def why_action_refused(request: Request) -> str:
    """Why a request may not change anything; empty if it may."""
    if not isinstance(request.host, UNIXAddress):
        return "actions are taken on the UNIX socket only (--admin unix:/run/admin.sock)"
    uid = _peer_uid(request)
    if uid is not None and uid not in (0, os.geteuid()):
        return f"actions are for root and the user of this process, not for user {uid}"
    return ""


def _hostname(host: str) -> str:
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _covers(name: str, host: str) -> bool:
    return host == name or (name.startswith(".") and f".{host}".endswith(name))


def _peer_uid(request: Request) -> int | None:
    """Whose process is at the other end (SO_PEERCRED, unix(7)); None where no system tells.

    The mode of the socket's file says the same, but a service manager may have bound it, and an
    abstract socket has no file.
    """
    option = getattr(socket, "SO_PEERCRED", None)
    get_handle = getattr(request.channel.transport, "getHandle", None)
    if option is None or get_handle is None:
        return None
    try:
        credentials = get_handle().getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i"))
    except AttributeError:  # in memory
        return None
    uid: int = struct.unpack("3i", credentials)[1]
    return uid
