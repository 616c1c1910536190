"""Binding the address of a server.

The reactor shuts down the sockets that it has bound itself (``listenTCP``) when it stops listening,
in every process that shares them. It does not do so with sockets that it adopts. So we bind them,
in the first generation too.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Sequence
from dataclasses import replace

from ...address import Address, ListenAddress, UnixAddress
from ...errors import BindError
from . import unix_files
from .listener import Listener, bound_address

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What `bind` and `socket` say where there is no IPv6, or no such address of a name."""

_FREE_PORT_TRIES = 20


def bind(address: ListenAddress, backlog: int, mode: int, port: int = 0) -> Listener:
    """Bind an address, and listen.

    Args:
        address: an empty host stands for all interfaces, of IPv4 and, where the system has it,
            IPv6. With port 0 all sockets get the same free port. The path of a UNIX socket is
            absolute.
        backlog: how many connections the kernel queues, 1 or more.
        mode: permissions of the file of a UNIX socket.
        port: the one to bind if the address leaves that to the system; 0 for any free one.

    Returns:
        A listener whose sockets do not block; the caller has to close it.

    Raises:
        BindError: the system refused; nothing is left open.
    """
    if isinstance(address, UnixAddress):
        sock, file = unix_files.bind(address, backlog, mode)
        return Listener(address.name, [sock], file=file)
    return Listener(address.name, _bind_tcp(replace(address, port=address.port or port), backlog))


def is_bound_to(sock: socket.socket, address: ListenAddress) -> bool:
    """Whether a socket, which somebody else has bound, is bound to an address."""
    if sock.family == socket.AF_UNIX or isinstance(address, UnixAddress):
        return bound_address(sock) == address.name
    host, port = sock.getsockname()[:2]
    try:
        places = {(family, host, address.port) for family, host, _ in _resolve(address)}
    except (OSError, UnicodeError):
        return False  # binding it will say why
    return (sock.family, host, port) in places


def _bind_tcp(address: Address, backlog: int) -> list[socket.socket]:
    """One socket for each address that the host stands for."""
    tries = _FREE_PORT_TRIES if address.port == 0 else 1
    while True:
        tries -= 1
        try:
            return _bind_all(address, backlog)
        except (OSError, UnicodeError) as error:
            # A port that is free for IPv4 may be taken for IPv6: another one may be free for both.
            if getattr(error, "errno", None) != errno.EADDRINUSE or not tries:
                reason = _explain(error, address)
                raise BindError(f"cannot listen on {address}: {reason}") from error


def _bind_all(address: Address, backlog: int) -> list[socket.socket]:
    bound: list[socket.socket] = []
    absent: OSError | None = None
    port = address.port
    try:
        for family, host, scope in _resolve(address):
            try:
                bound.append(_listen(family, (host, port, *scope), backlog))
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
                continue
            port = bound[-1].getsockname()[1]
        if not bound and absent is not None:
            raise absent
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def _resolve(address: Address) -> Sequence[tuple[int, str, tuple[int, ...]]]:
    """Family, host and, for IPv6, flow information and scope."""
    if not address.host:
        return [(socket.AF_INET, "0.0.0.0", ()), (socket.AF_INET6, "::", ())][: 1 + socket.has_ipv6]
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    # In the resolver's order, each once.
    each = ((family, str(where[0]), tuple(map(int, where[2:]))) for family, _, _, _, where in found)
    return list(dict.fromkeys(each))


def _listen(family: int, where: tuple[object, ...], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # IPv4 has a socket of its own, so that clients do not show as ::ffff:192.0.2.1.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
        listener.listen(backlog)
    except BaseException:
        listener.close()
        raise
    return listener


def _explain(error: OSError | UnicodeError, address: Address) -> str:
    if isinstance(error, UnicodeError):
        return f"the host {address.host!r} is no name"
    if isinstance(error, socket.gaierror):
        return f"the host {address.host!r} is unknown ({error.strerror})"
    reason = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE:
        return f"{reason}; another process listens there (`ss -ltnp` shows which)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{reason}; no interface of this machine has it"
    if error.errno == errno.EACCES:
        return f"{reason}; ports below 1024 need root or CAP_NET_BIND_SERVICE"
    return reason
