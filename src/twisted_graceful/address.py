"""Listen addresses: text to value and back. Nothing here touches a socket."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address

from .errors import AddressError

ACCEPTED = (
    "8080, :8080, 127.0.0.1:8080, localhost:3000, [::1]:8080, or port 0 for any free port; "
    "with http: or https: before it, to say whether TLS is spoken there"
)

_SCHEMES = ("http", "https")


@dataclass(frozen=True)
class Address:
    """Where to listen.

    Attributes:
        host: an address or a name; empty means all interfaces, of IPv4 and of IPv6.
        port: 0 to 65535; 0 lets the system choose.
        scheme: ``http``, ``https``, or empty: then it is whichever a certificate makes it.
    """

    host: str
    port: int
    scheme: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}" if self.scheme else self.name

    @property
    def name(self) -> str:
        """The name of its listener, which is the same whatever is spoken there."""
        return authority(self.host, self.port)


def authority(host: str, port: int) -> str:
    """``host:port`` as a URL has it, IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(text: str | int) -> Address:
    """A listen address, from what a user wrote.

    Args:
        text: a port, ``:port``, ``host:port`` or ``[IPv6 address]:port``; with ``http:`` or
            ``https:`` before it.

    Returns:
        The address; ``str()`` of it is its one canonical text.

    Raises:
        AddressError: the text is none of these.
    """
    given = str(text).strip()
    if "/" in given:
        raise _error(text, "it is no URL and no path, only a scheme, a host and a port")
    scheme, given = _scheme(given)
    if given.endswith("]"):
        raise _error(text, "the port is missing")
    host, _, port = given.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        if not _is_ipv6(host):
            raise _error(text, f"{host!r} in brackets is not an IPv6 address")
    elif ":" in host:
        raise _error(text, "an IPv6 address goes in brackets")
    elif host == "*":
        host = ""
    if any(character in host for character in " []@\0"):
        raise _error(text, f"{host!r} is not a host")
    digits = port.isascii() and port.isdigit() and len(port) <= len("65535")
    if not digits or int(port) > 65535:
        raise _error(text, f"{port!r} is not a port, a whole number from 0 to 65535")
    return Address(host, int(port), scheme)


def _scheme(given: str) -> tuple[str, str]:
    scheme, colon, rest = given.partition(":")
    return (scheme.lower(), rest) if colon and scheme.lower() in _SCHEMES else ("", given)


def _is_ipv6(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return ":" in host


def _error(text: str | int, reason: str) -> AddressError:
    return AddressError(f"{text!r} is not a listen address: {reason}; accepted are {ACCEPTED}")
