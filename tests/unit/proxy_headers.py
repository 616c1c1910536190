"""Headers of the PROXY protocol."""

from __future__ import annotations

import struct

from twisted.internet.address import IPv4Address, IPv6Address

from twisted_graceful.http.io.proxy_protocol import (
    SIGNATURE,
    Proxied,
)

TCP4 = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
TCP6 = b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"
BLOCK4 = bytes([192, 0, 2, 1, 198, 51, 100, 1]) + struct.pack("!HH", 56324, 443)
LOCAL, PROXY = 0x20, 0x21
SAID4 = Proxied(IPv4Address("TCP", "192.0.2.1", 56324), IPv4Address("TCP", "198.51.100.1", 443))
SAID6 = Proxied(IPv6Address("TCP", "2001:db8::1", 56324), IPv6Address("TCP", "2001:db8::2", 443))


def v2(command: int, kind: int, block: bytes = b"", length: int | None = None) -> bytes:
    """A header of version 2."""
    length = len(block) if length is None else length
    return SIGNATURE + struct.pack("!BBH", command, kind, length) + block


def tlv(kind: int, value: bytes = b"") -> bytes:
    """A TLV of version 2."""
    return struct.pack("!BH", kind, len(value)) + value


def tls(client: int) -> bytes:
    """The TLV about TLS, as HAProxy sends it: flags, a result, and TLVs in the TLV."""
    return tlv(0x20, struct.pack("!BI", client, 0) + tlv(0x21, b"TLSv1.3"))
