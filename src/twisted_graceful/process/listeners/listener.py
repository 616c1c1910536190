"""A listener: the bound sockets of one configured name, of whatever protocol."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterable

from ...address import UnixAddress, authority
from .unix_files import SocketFile


class Listener:
    """The bound sockets of one configured name; two listeners are equal if they are the same one.

    It may hold sockets of any family and type. One name can stand for several sockets, such as one
    of IPv4 and one of IPv6; they are opened, handed over and closed together.

    Args:
        name: as configured, the same in each generation; it need not be unique.
        sockets: bound, and listening if they are stream sockets. The listener owns them.
        file: the socket file that belongs to it; None if there is none, or if it is not ours.
        is_inherited: whether it comes from the predecessor.
        is_activated: whether a service manager has bound it, for this generation or an earlier one.

    Attributes:
        inodes: of the sockets. They are the same in all processes, so they identify the sockets to
            other processes.
        addresses: where the sockets are bound, as text.
        owns_file: whether this process removes the socket file when it closes the listener. It does
            not while another generation serves there, or would serve there again.
    """

    def __init__(
        self,
        name: str,
        sockets: Iterable[socket.socket],
        *,
        file: SocketFile | None = None,
        is_inherited: bool = False,
        is_activated: bool = False,
    ) -> None:
        self.name = name
        self.sockets = tuple(sockets)
        self.file = file
        self.is_inherited = is_inherited
        self.is_activated = is_activated
        self.inodes = tuple(inode(each.fileno()) for each in self.sockets)
        self.addresses = tuple(map(bound_address, self.sockets))
        self.owns_file = not is_inherited

    def __repr__(self) -> str:
        return f"<Listener {self.name} on {', '.join(self.addresses)}>"

    @property
    def can_be_bound_again(self) -> bool:
        """Whether its address is free, as far as we can know, once we have closed it.

        A service manager keeps its own descriptor open: nobody else can bind the address, and
        closing ours turns no client away.
        """
        return not self.is_activated

    @property
    def is_reachable(self) -> bool:
        """Whether clients that use its address reach it; its socket file may have been replaced."""
        return self.file is None or self.file.is_in_place()

    def remove_file(self) -> None:
        """Remove its socket file, if this process owns that: nobody can connect any more.

        Connections that are already in the backlog stay there.
        """
        if self.file is not None and self.owns_file:
            self.file.remove()

    def close(self) -> None:
        """Close the sockets, and remove the file if this process owns it.

        Other processes that have the sockets go on listening.
        """
        self.remove_file()
        for each in self.sockets:
            each.close()


def inode(descriptor: int) -> int:
    """The number that identifies a socket, and is the same in all processes; see fstat(2)."""
    return os.fstat(descriptor).st_ino


def bound_address(sock: socket.socket) -> str:
    """Where a socket is bound: ``host:port``, or ``unix:path``."""
    where = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress.of(where).name
    return authority(*where[:2])


def has_pending_connection(sock: socket.socket) -> bool:
    """Whether the backlog of a listening socket holds a connection."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
