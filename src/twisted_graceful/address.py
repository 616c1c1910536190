"""Listen addresses: text to value and back. Nothing here touches a socket."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import TypeAlias

from .errors import AddressError

ACCEPTED = (
    "8080, :8080, 127.0.0.1:8080, localhost:3000, [::1]:8080, or port 0 for any free port; "
    "unix:/run/app.sock, or unix:@name for an abstract socket; "
    "with http: or https: before it, to say whether TLS is spoken there"
)

_SCHEMES = ("http", "https")
_UNIX = "unix:"
_ABSTRACT = "@"


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
        return _with_scheme(self)

    @property
    def name(self) -> str:
        """The name of its listener, which is the same whatever is spoken there."""
        return authority(self.host, self.port)

    @property
    def domain(self) -> str:
        """The host, if it is a name that is known beyond this machine; else empty."""
        try:
            ip_address(self.host)
        except ValueError:
            return "" if self.host == "localhost" else self.host
        return ""

    @property
    def is_one_place(self) -> bool:
        """Whether it is always the same place, so that only one can listen there."""
        return self.port != 0

    def within(self, directory: str) -> Address:
        """The same in any directory."""
        return self


@dataclass(frozen=True)
class UnixAddress:
    """Where to listen: a UNIX socket.

    Attributes:
        path: of the socket file; ``@`` and a name for a socket of Linux's abstract namespace,
            which has no file (unix(7)).
        scheme: as of an `Address`.
    """

    path: str
    scheme: str = ""

    def __str__(self) -> str:
        return _with_scheme(self)

    @property
    def name(self) -> str:
        """The name of its listener, which is the same whatever is spoken there."""
        return _UNIX + self.path

    @property
    def is_one_place(self) -> bool:
        """Whether it is always the same place, so that only one can listen there."""
        return True

    @property
    def file(self) -> str:
        """The path of the socket file; empty if there is none."""
        return "" if self.path.startswith(_ABSTRACT) else self.path

    @classmethod
    def of(cls, sockaddr: str | bytes) -> UnixAddress:
        """The address that getsockname(2) returned."""
        if isinstance(sockaddr, bytes):
            return cls(_ABSTRACT + sockaddr[1:].decode(errors="surrogateescape"))
        return cls(sockaddr)

    @property
    def sockaddr(self) -> str | bytes:
        """What bind(2) and connect(2) take."""
        name = self.path.removeprefix(_ABSTRACT)
        return self.file or b"\0" + name.encode(errors="surrogateescape")

    def within(self, directory: str) -> UnixAddress:
        """The address with the absolute path that it means in a directory."""
        if not self.file:
            return self
        return replace(self, path=posixpath.normpath(posixpath.join(directory, self.path)))


ListenAddress: TypeAlias = Address | UnixAddress


def _with_scheme(address: ListenAddress) -> str:
    return f"{address.scheme}:{address.name}" if address.scheme else address.name


def authority(host: str, port: int) -> str:
    """``host:port`` as a URL has it, IPv6 in brackets (RFC 3986 section 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def parse(text: str | int) -> ListenAddress:
    """A listen address, from what a user wrote.

    Args:
        text: a port, ``:port``, ``host:port`` or ``[IPv6 address]:port``; ``unix:path`` or
            ``unix:@name``; with ``http:`` or ``https:`` before it.

    Returns:
        The address; ``str()`` of it is its one canonical text.

    Raises:
        AddressError: the text is none of these.
    """
    scheme, given = _scheme(str(text).strip())
    if given.lower().startswith(_UNIX):
        path = given[len(_UNIX) :]
        if path in ("", _ABSTRACT) or "\0" in path or path.endswith("/"):
            raise _error(text, f"{path!r} is not the path of a socket")
        return UnixAddress(path, scheme)
    if given.startswith(("/", "./", "../")) and not given.startswith("//"):
        raise _error(text, f"a UNIX socket is written {_UNIX}{given}")
    if "/" in given:
        raise _error(text, "it is no URL, only a scheme, a host and a port")
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
