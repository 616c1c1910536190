"""What proxies say of the clients behind them, in the fields of a request; and whom to believe.

``X-Forwarded-For`` and ``X-Forwarded-Proto`` are understood, as by uvicorn, gunicorn and nginx.
``Forwarded`` (RFC 7239), ``X-Forwarded-Host`` and ``X-Real-IP`` are not: a proxy overwrites or
appends to the fields that it knows and passes on the others, so each further one that is
believed is one that clients can forge. The host is in ``Host``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from ..networks import Networks, address
from .head import Head
from .request import Request

if TYPE_CHECKING:
    from .channel import Channel

_ENTRY = re.compile(
    rb"""
    (?P<quote>"?)                            # as in `Forwarded`; some write the same here
    (?: (?:\[(?P<v6>[0-9A-Fa-f:.]+)\] | (?P<v4>[0-9.]+)) (?: : (?P<port>[0-9]{1,5}))?
      | (?P<bare>[0-9A-Fa-f:.]+) )           # IPv6 without brackets keeps its last colon
    (?P=quote)
    """,
    re.VERBOSE,
)

_IS_SECURE = {b"http": False, b"https": True, b"ws": False, b"wss": True}
"""Schemes; Traefik says ``wss`` of a WebSocket."""

_MAX_PORT = 65535

_CACHED = 4096
"""Entries that are remembered; a client sends many requests. About 1 MiB."""

_LONGEST = 64
"""More than any entry has."""


class Proxies:
    """The proxies whose word counts.

    Args:
        networks: where they are. ``*`` is any peer; it says nothing of who else may be in
            ``X-Forwarded-For``.
    """

    def __init__(self, networks: Networks) -> None:
        self._networks = networks
        self._read = lru_cache(_CACHED)(self._read_entry)

    def trusts(self, peer: IAddress) -> bool:
        """Whether a peer is one of them; whoever can open our UNIX socket is."""
        if not isinstance(peer, (IPv4Address, IPv6Address)):
            return True
        return address(peer.host) in self._networks

    def client(self, values: Sequence[bytes]) -> tuple[IAddress | None, int]:
        """The client, from all values of ``X-Forwarded-For``.

        Each proxy appends whom it saw. So entries are believed from the right, as far as
        they are proxies of ours; the first that is not is the client, and what stands left
        of it is only its own word. If all are, the leftmost one is the client.

        Returns:
            The client, with port 0 if there is none; None if an entry that counts is no
            address. And how many entries are right of it.
        """
        text = values[0] if len(values) == 1 else b",".join(values)
        found: IAddress | None = None
        passed = -1
        end = len(text)
        while end >= 0:
            begin = text.rfind(b",", 0, end) + 1
            entry = text[begin:end].strip(b" \t")
            end = begin - 1
            if not entry:
                continue  # an empty element of a list is none (RFC 9110 section 5.6.1)
            known = self._read(entry) if len(entry) <= _LONGEST else None
            if known is None:
                return None, 0
            found, is_proxy = known
            passed += 1
            if not is_proxy:
                break
        return found, max(passed, 0)

    def _read_entry(self, entry: bytes) -> tuple[IAddress, bool] | None:
        """An address, and whether it is that of one of them."""
        match = _ENTRY.fullmatch(entry)
        if match is None:
            return None
        host = match["v4"] or match["v6"] or match["bare"]
        port = int(match["port"] or 0)
        try:
            found = address(host.decode())
        except ValueError:
            return None
        if port > _MAX_PORT:
            return None
        kind = IPv4Address if found.version == 4 else IPv6Address
        return kind("TCP", str(found), port), self._networks.names(found)


def is_secure(values: Sequence[bytes], passed: int) -> bool | None:
    """Whether the client speaks TLS, from all values of ``X-Forwarded-Proto``.

    Args:
        values: most proxies write one scheme over what was there; some append theirs, and
            then it stands in the place that their entry has in ``X-Forwarded-For``.
        passed: how many entries of that are right of the client's.

    Returns:
        None if the entry that counts is no scheme of HTTP.
    """
    schemes = b",".join(values).split(b",")
    scheme = schemes[-1 - min(passed, len(schemes) - 1)]
    return _IS_SECURE.get(scheme.strip(b" \t").lower())


class ForwardedRequest(Request):
    """A request that a trusted proxy has passed on.

    What its fields say of the client stands in place of what we know of the connection:
    in the client's address; in `isSecure`, so in URLs and sessions too; and in the port of
    `getHost`, which is that of the ``Host`` field. A malformed field says nothing.
    """

    from_trusted_proxy = True
    _secure: bool | None = None

    def __init__(self, channel: Channel, head: Head) -> None:
        super().__init__(channel, head)
        fields = head.headers
        passed = 0
        addresses = fields.get(b"X-Forwarded-For")
        if addresses is not None:
            proxies = channel.site.proxies
            assert proxies is not None  # or this class would not have been chosen
            client, passed = proxies.client(addresses)
            if client is not None:
                self.client = client
        schemes = fields.get(b"X-Forwarded-Proto")
        if schemes is not None:
            self._secure = secure = is_secure(schemes, passed)
            if secure is not None:
                self.host = _with_port(self.host, fields.get(b"Host", [b""])[0], secure)

    def isSecure(self) -> bool:
        """Whether the client speaks TLS."""
        if self._secure is None or self._forceSSL:
            secure: bool = super().isSecure()
            return secure
        return self._secure


def _with_port(host: IAddress, asked: bytes, secure: bool) -> IAddress:
    """Our address with the port that the client asked, by the value of its ``Host`` field."""
    if not isinstance(host, (IPv4Address, IPv6Address)):
        return host
    port = asked.rpartition(b":")[2]
    number = int(port) if port.isdigit() and len(port) <= len(str(_MAX_PORT)) else 0
    if not 0 < number <= _MAX_PORT:
        number = 443 if secure else 80
    return type(host)("TCP", host.host, number)
