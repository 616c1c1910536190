"""Reads what trusted proxies say about their clients in the fields of a request.

``X-Forwarded-For`` and ``X-Forwarded-Proto`` are understood, as by uvicorn, gunicorn and nginx.
``Forwarded`` (RFC 7239), ``X-Forwarded-Host`` and ``X-Real-IP`` are not: a proxy overwrites or
appends to the fields that it knows and passes on the others, so each further one that is
believed is one that clients can forge. The host is in ``Host``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from ..networks import Networks, address
from .head import MAX_PORT

_ENTRY = re.compile(
    rb"""
    (?P<quote>"?)                            # as in `Forwarded`; some write the same here
    (?: (?:\[(?P<v6>[0-9A-Fa-f:.]+)\] | (?P<v4>[0-9.]+)) (?: : (?P<port>[0-9]{1,5}))?
      | (?P<bare>[0-9A-Fa-f:.]+) )           # IPv6 without brackets keeps its last colon
    (?P=quote)
    """,
    re.VERBOSE,
)

UNKNOWN = IPv4Address("TCP", "unknown", 0)
"""A client of unknown address; the name is that of RFC 7239 section 6.2.

It is not an IP address, so no list of addresses contains it.
"""

_IS_SECURE = {b"http": False, b"https": True, b"ws": False, b"wss": True}
"""Schemes; Traefik says ``wss`` of a WebSocket."""

_REMEMBERED = 4096
_REMEMBERED_LENGTH = 256
"""How much is remembered of what was said: clients send many requests. Some 3 MiB at most."""


class Proxies:
    """The proxies whose word counts.

    Args:
        networks: where they are. ``*`` is any peer; it says nothing of who else may be in
            ``X-Forwarded-For``.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._remembered = lru_cache(_REMEMBERED)(self._read)

    def trusts(self, peer: IAddress) -> bool:
        """Whether a peer is one of them; whoever can open our UNIX socket is."""
        if not isinstance(peer, (IPv4Address, IPv6Address)):
            return True
        return address(peer.host) in self._networks

    def client_and_scheme(
        self, addresses: Sequence[bytes], schemes: Sequence[bytes]
    ) -> tuple[IAddress | None, bool | None]:
        """What was said of a request.

        Args:
            addresses: all values of ``X-Forwarded-For``.
            schemes: all values of ``X-Forwarded-Proto``.

        Returns:
            The client's address, with port 0 if none is given: `UNKNOWN` if the entry that counts
            is malformed or missing, None without a field. And whether the client speaks TLS; None
            if that is not given, or its entry is malformed.
        """
        # The values of several lines are one list (RFC 9110 section 5.3).
        both = b",".join(addresses), b",".join(schemes)
        few = len(both[0]) + len(both[1]) <= _REMEMBERED_LENGTH
        client, is_secure = self._remembered(*both) if few else self._read(*both)
        return client if addresses else None, is_secure

    def _read(self, addresses: bytes, schemes: bytes) -> tuple[IAddress, bool | None]:
        client, passed = self._client(addresses)
        return client, _is_secure(schemes, passed)

    def _client(self, addresses: bytes) -> tuple[IAddress, int]:
        """The client, and how many proxies are right of it.

        Each proxy appends whom it saw. So entries are believed from the right, as far as
        they are proxies of ours; the first that is not is the client, and what stands left
        of it is only its own word. If all are, the leftmost one is the client.
        """
        found = None
        passed = -1
        end = len(addresses)
        while end >= 0:
            begin = addresses.rfind(b",", 0, end) + 1
            entry = addresses[begin:end].strip(b" \t")
            end = begin - 1
            if not entry:
                continue  # an empty element of a list is none (RFC 9110 section 5.6.1)
            found = _read_entry(entry)
            if found is None:
                return UNKNOWN, 0
            passed += 1
            if not self._networks.names(found[0]):
                break
        if found is None:
            return UNKNOWN, 0
        host, port = found
        return (IPv4Address if host.version == 4 else IPv6Address)("TCP", str(host), port), passed


def _read_entry(entry: bytes) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    """Address and port of an entry; None if it is malformed."""
    match = _ENTRY.fullmatch(entry)
    if match is None:
        return None
    host = match["v4"] or match["v6"] or match["bare"]
    port = int(match["port"] or 0)
    try:
        return (address(host.decode()), port) if port <= MAX_PORT else None
    except ValueError:
        return None


def _is_secure(schemes: bytes, passed: int) -> bool | None:
    """Whether the client speaks TLS; None if the entry that counts is not a scheme.

    Most proxies write one scheme over what was there. Some append theirs; then it stands in
    the place that their entry has in ``X-Forwarded-For``.
    """
    each = schemes.split(b",")
    scheme = each[-1 - min(passed, len(each) - 1)]
    return _IS_SECURE.get(scheme.strip(b" \t").lower())
