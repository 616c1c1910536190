"""Listening sockets: bound by hand, adopted by the reactor, kept across generations.

Sockets that the reactor binds itself (``listenTCP``) are shut down when it stops to
listen, in every process that shares them; adopted ones are not. So we bind by hand
and adopt, in the first generation too.
"""

from __future__ import annotations

import errno
import select
import socket
from collections.abc import Iterable, Sequence
from dataclasses import replace

from twisted.logger import Logger

from ...address import Address, ListenAddress, UnixAddress, authority
from ...errors import BindError
from . import unix_files
from .activation import ActivatedListener

_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What `bind` and `socket` say where there is no IPv6, or no such address of a name."""

_FREE_PORT_TRIES = 20


def bind(address: Address, backlog: int) -> list[socket.socket]:
    """Bind and listen: one socket for each address that the host stands for.

    Args:
        address: an empty host stands for all interfaces, of IPv4 and, where the system
            has it, IPv6. With port 0 all sockets get the same free port.
        backlog: how many connections the kernel queues, 1 or more.

    Returns:
        Listening, non-blocking sockets. They are the caller's to close.

    Raises:
        BindError: the system refused; nothing is left open.
    """
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
        close(bound)
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


def _serves(listener: socket.socket, address: ListenAddress) -> bool:
    """Whether a socket is bound to an address."""
    if listener.family == socket.AF_UNIX or isinstance(address, UnixAddress):
        return text(listener) == address.name
    host, port = listener.getsockname()[:2]
    try:
        places = {(family, host, address.port) for family, host, _ in _resolve(address)}
    except (OSError, UnicodeError):
        return False  # to bind it will say why
    return (listener.family, host, port) in places


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


def close(listeners: Iterable[socket.socket]) -> None:
    """Close sockets. Other processes that share them go on listening."""
    for listener in listeners:
        listener.close()


def can_be_bound_anew(listener: socket.socket) -> bool:
    """Whether its address is free, as far as we can know, when we have closed a listener."""
    return not isinstance(listener, ActivatedListener)


def pending(listener: socket.socket) -> bool:
    """Whether the kernel holds a connection that nobody has accepted yet."""
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    return bool(poll.poll(0))


def text(listener: socket.socket) -> str:
    """Where a socket listens, ``host:port`` or ``unix:path``."""
    where = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return UnixAddress.of(where).name
    return authority(*where[:2])


class Listeners:
    """The listening sockets of a process, by the name of the address they serve.

    The file of a UNIX socket is removed with it, but not while it is entrusted: while another
    generation serves on it, or would again should this process end.

    Args:
        inherited: sockets from a predecessor, with their names, in its order. They are
            entrusted to it until `own` is called.
        activated: sockets from a service manager, with the names that it has for them. They
            serve the addresses that they are bound to.
    """

    _log = Logger()

    def __init__(
        self,
        inherited: Iterable[tuple[str, Sequence[socket.socket]]] = (),
        activated: Iterable[tuple[str, socket.socket]] = (),
    ) -> None:
        self._activated = list(activated)
        self._inherited = [(name, list(sockets)) for name, sockets in inherited]
        self._used: list[tuple[str, list[socket.socket]]] = []
        self._came = {each for _, sockets in self._inherited for each in sockets}
        self._entrusted = set(self._came)

    def open(
        self, address: ListenAddress, backlog: int, mode: int, port: int = 0
    ) -> list[socket.socket]:
        """The sockets of an address: inherited where there are any, else bound now.

        Two servers may have the same address if its port is 0; each gets its own
        sockets, in the same order in every generation.

        Args:
            address: an absolute path, if it is one.
            backlog: how many connections the kernel queues, 1 or more.
            mode: permissions of the file of a UNIX socket.
            port: that which is bound where the address says any; 0 for any.

        Raises:
            BindError: the system refused the address.
        """
        name = address.name
        inherited = next((entry for entry in self._inherited if entry[0] == name), None)
        if inherited is None:
            if port and isinstance(address, Address):
                address = replace(address, port=port)
            sockets = self._activated_for(address) or self._bind(address, backlog, mode)
        else:
            sockets = self._reachable(inherited[1], address, backlog, mode)
        if inherited is not None and sockets is inherited[1]:
            self._inherited.remove(inherited)
        self._used.append((name, sockets))
        return sockets

    def _activated_for(self, address: ListenAddress) -> list[socket.socket]:
        taken = [entry for entry in self._activated if _serves(entry[1], address)]
        self._activated = [entry for entry in self._activated if entry not in taken]
        return [listener for _, listener in taken]

    def _bind(self, address: ListenAddress, backlog: int, mode: int) -> list[socket.socket]:
        try:
            if isinstance(address, UnixAddress):
                return [unix_files.bind(address, backlog, mode)]
            return bind(address, backlog)
        except BindError as error:
            passed = ", ".join(f"{where} ({name})" for name, where in self.not_served())
            if not passed:
                raise
            raise BindError(f"{error}. The service manager passed {passed}") from error

    def not_served(self) -> list[tuple[str, str]]:
        """The name and the address of each socket from a service manager that nobody opened."""
        return [(name, text(listener)) for name, listener in self._activated]

    def _reachable(
        self, inherited: list[socket.socket], address: ListenAddress, backlog: int, mode: int
    ) -> list[socket.socket]:
        if all(unix_files.is_reachable(each) for each in inherited):
            return inherited
        # Somebody has removed the file, or the directory is another one, behind a symlink.
        try:
            return self._bind(address, backlog, mode)
        except BindError as error:
            self._log.warn(
                "{address} does not lead to the inherited socket any more, and {error}. The "
                "inherited one is served on",
                address=address,
                error=error,
            )
            return inherited

    def entrust(self, gone: Iterable[socket.socket] = ()) -> None:
        """Another process serves on all of them but those that are gone: their files stay."""
        self._entrusted = {each for _, sockets in self._used for each in sockets} - set(gone)

    def give_back(self) -> None:
        """The predecessor will serve again on what was inherited: those files stay."""
        self._entrusted = set(self._came)

    def own(self) -> None:
        """Nobody else would serve on any of them when this process ends."""
        self._entrusted = set()

    def remove_files(self, sockets: Iterable[socket.socket]) -> None:
        """Remove the files of sockets, unless they are entrusted, so that nobody connects anew."""
        for each in sockets:
            if isinstance(each, unix_files.UnixListener) and each not in self._entrusted:
                each.remove_file()

    def close(self, sockets: Sequence[socket.socket]) -> None:
        """Close sockets that `open` returned."""
        self._used = [entry for entry in self._used if not set(entry[1]) & set(sockets)]
        self.remove_files(sockets)
        close(sockets)

    def close_unused(self) -> None:
        """Close what was inherited and is not served any more."""
        for _, sockets in self._inherited:
            self.remove_files(sockets)
            close(sockets)
        self._inherited = []

    def in_use(self) -> list[tuple[str, list[socket.socket]]]:
        """What a successor inherits, with names."""
        return list(self._used)
