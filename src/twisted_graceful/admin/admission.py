"""Which clients may connect to the admin endpoints, and how many connections each may have.

This is decided when a connection is accepted, before a byte is read from it, so that no client from
outside can use up the connections that a probe needs. Some are reserved for each kind of client:
this machine, the UNIX sockets, and all others together, of which one address gets only a part.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.interfaces import IAddress

from ..http.interfaces import HttpConnection
from ..http.phases import WAITING, ConnectionPhase
from ..http.registry import ConnectionRegistry
from ..networks import Networks, address

PER_ADDRESS = 16
"""Connections of one address; all loopback addresses count as one."""

UNIX = 32
"""Connections of all UNIX sockets; each command that waits for an upgrade has one."""

ELSEWHERE = 48
"""Connections of all other machines together."""

TOTAL = PER_ADDRESS + UNIX + ELSEWHERE

_THIS_MACHINE = "this machine"
_UNIX = "UNIX sockets"


class Admission:
    """Decides whether a client may connect.

    If all connections of its kind are in use, a client replaces the oldest one that has sent no
    complete request: a probe sends its request at once.

    Args:
        allowed: networks whose clients may connect, beside this machine.
    """

    def __init__(self, allowed: Networks) -> None:
        self._allowed = allowed

    def __call__(self, client: IAddress, connections: ConnectionRegistry) -> str:
        """Why a client is refused; empty if it may connect.

        Args:
            client: its address.
            connections: those that are open.
        """
        kind = _kind(client)
        if not (isinstance(kind, str) or kind in self._allowed):
            return "it is not in --admin-allow"
        kinds = {each: _kind(each.client) for each in connections}
        same = [each for each, other in kinds.items() if other == kind]
        if isinstance(kind, str):
            return _room_for(same, UNIX if kind == _UNIX else PER_ADDRESS)
        elsewhere = [each for each, other in kinds.items() if not isinstance(other, str)]
        return _room_for(same, PER_ADDRESS) or _room_for(elsewhere, ELSEWHERE)


def _room_for(connections: list[HttpConnection], limit: int) -> str:
    """Make room for one more connection; the reason if there is none, else empty."""
    if len(connections) < limit:
        return ""
    closable = [each for each in connections if _is_closable(each)]
    if not closable:
        return f"all {limit} connections for clients of its kind are in use"
    # One that is closing may still be sending a response.
    min(closable, key=lambda each: (each.phase is ConnectionPhase.CLOSING, each.since)).end()
    return ""


def _is_closable(connection: HttpConnection) -> bool:
    """Whether no complete request is known to have arrived since the last response."""
    if connection.phase in WAITING:
        return not connection.has_unread()
    return connection.phase in (ConnectionPhase.READING, ConnectionPhase.CLOSING)


def _kind(client: Any) -> str | IPv4Address | IPv6Address:
    """What connections are counted by: an IP address, this machine, or the UNIX sockets."""
    if not client.host:
        return _UNIX
    found = address(client.host)
    return _THIS_MACHINE if found.is_loopback else found
