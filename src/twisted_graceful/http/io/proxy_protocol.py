"""The header of the PROXY protocol, versions 1 and 2: from bytes to a value, without I/O.

The sections are those of https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt.

Twisted has parsers of its own, which do not serve here. They are private: the public part of
`twisted.protocols.haproxy` wraps an endpoint, with no deadline and a layer that stays. And
they take what is none: any text for an address, a header of version 1 with more behind it;
they refuse a header of version 2 that comes in pieces, and some bytes make them raise
something else than their own error. `tests/unit/test_proxy_protocol.py` has the list.
"""

from __future__ import annotations

import ipaddress
import re
import struct
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypedDict

from twisted.internet.address import IPv4Address, IPv6Address

from ...networks import unmapped

_IP: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_Transport: TypeAlias = Literal["TCP", "UDP"]

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
"""How version 2 begins (section 2.2)."""

LONGEST_V1 = 107
"""Bytes, with CR LF (section 2.1)."""

LONGEST_V2 = 4096
"""Bytes. The addresses take 232; the rest is for TLVs. As in nginx."""

_BEGIN_V1 = b"PROXY "
_LINE = re.compile(rb"PROXY TCP([46]) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) ([0-9]{1,5}) ([0-9]{1,5})")
_UNKNOWN = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)

_FIXED = struct.Struct("!12sBBH")
_LOCAL, _PROXY = 0x20, 0x21  # version 2 is in the same byte
_UNSPEC = 0  # as a family and as a transport
_INET, _INET6, _UNIX = 1, 2, 3
_ADDRESSES = {
    _INET: struct.Struct("!4s4sHH"),
    _INET6: struct.Struct("!16s16sHH"),
    _UNIX: struct.Struct("!108s108s"),
}
_TRANSPORTS: dict[int, _Transport] = {1: "TCP", 2: "UDP"}

_TLV = struct.Struct("!BH")
_TLV_SSL = 0x20  # PP2_TYPE_SSL
_SSL = struct.Struct("!BI")
_CLIENT_SSL = 0x01  # PP2_CLIENT_SSL


class ProxyProtocolError(ValueError):
    """These bytes are not, and will not become, a PROXY header; the text says why."""


@dataclass(frozen=True, slots=True)
class Proxied:
    """The connection that a proxy has accepted, and forwards on its connection to us.

    Attributes:
        source: the client's address.
        destination: where the client connected to.
        secure: whether the proxy says that the client speaks TLS.
    """

    source: IPv4Address | IPv6Address
    destination: IPv4Address | IPv6Address
    secure: bool = False

    def as_facts(self) -> ProxiedFacts:
        """Convert to values that JSON has."""
        source, destination = self.source, self.destination
        return (source.host, source.port), (destination.host, destination.port), self.secure

    @classmethod
    def of_facts(cls, facts: ProxiedFacts) -> Proxied:
        """Convert the value of `as_facts` back."""
        *ends, secure = facts
        source, destination = (
            (IPv6Address if ":" in host else IPv4Address)("TCP", host, port) for host, port in ends
        )
        return cls(source, destination, secure)


ProxiedFacts: TypeAlias = tuple[tuple[str, int], tuple[str, int], bool]
"""A `Proxied` in values that JSON has, where a tuple is a list: source, destination, secure."""


class ConnectionFacts(TypedDict, total=False):
    """What another process needs to know of a transport to continue with its connection.

    Attributes:
        proxied: what its PROXY header says; missing if it has none.
    """

    proxied: ProxiedFacts | None


@dataclass(frozen=True, slots=True)
class Header:
    """A header.

    Attributes:
        length: in bytes.
        proxied: what it says; None if the addresses of the connection itself count, because
            this is a health check (LOCAL), or the client has no IP address (UNKNOWN, UNSPEC,
            UNIX sockets).
    """

    length: int
    proxied: Proxied | None = None


def parse(data: bytes) -> Header | None:
    """Read a header.

    Args:
        data: all that has arrived of a connection.

    Returns:
        The header; None if it has not arrived in whole.

    Raises:
        ProxyProtocolError: this is not a header.
    """
    if data.startswith(_BEGIN_V1):
        return _parse_v1(data)
    if data.startswith(SIGNATURE):
        return _parse_v2(data) if len(data) >= _FIXED.size else None
    if _BEGIN_V1.startswith(data) or SIGNATURE.startswith(data):
        return None
    raise ProxyProtocolError(f"it begins with {data[:16]!r}")


def _parse_v1(data: bytes) -> Header | None:
    """Section 2.1."""
    end = data.find(b"\r\n", 0, LONGEST_V1)
    if end < 0:
        if len(data) >= LONGEST_V1:
            raise ProxyProtocolError(f"its line has no end within {LONGEST_V1} bytes")
        return None
    line = data[:end]
    if _UNKNOWN.fullmatch(line) is not None:
        return Header(end + 2)
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProxyProtocolError(f"its line is malformed: {line!r}")
    version, source, destination, source_port, destination_port = (
        each.decode() for each in match.groups()
    )
    kind = ipaddress.IPv4Address if version == "4" else ipaddress.IPv6Address
    try:
        proxied = Proxied(
            _address("TCP", kind(source), _port(source_port)),
            _address("TCP", kind(destination), _port(destination_port)),
        )
    except ValueError as error:
        raise ProxyProtocolError(str(error)) from None
    return Header(end + 2, proxied)


def _port(text: str) -> int:
    """A port, without leading zeros."""
    if text != str(int(text)) or int(text) > 65535:
        raise ValueError(f"{text} is no port")
    return int(text)


def _parse_v2(data: bytes) -> Header | None:
    """Section 2.2."""
    _, command, kind, length = _FIXED.unpack_from(data)
    if command not in (_LOCAL, _PROXY):
        raise ProxyProtocolError(f"its version and command are {command:#04x}")
    end = _FIXED.size + length
    if end > LONGEST_V2:
        raise ProxyProtocolError(f"it has {end} bytes, over {LONGEST_V2}")
    if len(data) < end:
        return None
    if command == _LOCAL:
        return Header(end)
    family, transport = divmod(kind, 16)
    if family not in (_UNSPEC, *_ADDRESSES) or transport not in (_UNSPEC, *_TRANSPORTS):
        raise ProxyProtocolError(f"its family and transport are {kind:#04x}")
    if family == _UNSPEC or transport == _UNSPEC:
        return Header(end)
    block = data[_FIXED.size : end]
    layout = _ADDRESSES[family]
    if len(block) < layout.size:
        raise ProxyProtocolError(f"its {length} bytes do not hold the addresses")
    secure = _is_secure(memoryview(block)[layout.size :])
    if family == _UNIX:
        return Header(end)
    *hosts, source_port, destination_port = layout.unpack_from(block)
    source, destination = map(ipaddress.ip_address, hosts)
    spoken = _TRANSPORTS[transport]
    return Header(
        end,
        Proxied(
            _address(spoken, source, source_port),
            _address(spoken, destination, destination_port),
            secure,
        ),
    )


def _is_secure(rest: memoryview) -> bool:
    """Whether one of the TLVs says that the client speaks TLS (section 2.2.6).

    Args:
        rest: the TLVs; a view, so that each step copies nothing of those that follow.
    """
    secure = False
    while rest:
        kind, value, rest = _take_tlv(rest)
        if kind == _TLV_SSL:
            if len(value) < _SSL.size:
                raise ProxyProtocolError("its TLV about TLS is too short")
            secure = bool(_SSL.unpack_from(value)[0] & _CLIENT_SSL)
    return secure


def _take_tlv(rest: memoryview) -> tuple[int, memoryview, memoryview]:
    if len(rest) >= _TLV.size:
        kind, length = _TLV.unpack_from(rest)
        end = _TLV.size + length
        if len(rest) >= end:
            return kind, rest[_TLV.size : end], rest[end:]
    raise ProxyProtocolError("its last TLV is cut off")


def _address(transport: _Transport, found: _IP, port: int) -> IPv4Address | IPv6Address:
    found = unmapped(found)
    return (IPv4Address if found.version == 4 else IPv6Address)(transport, str(found), port)
