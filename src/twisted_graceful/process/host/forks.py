"""Takes our sockets and signal handlers away from child processes that the application forks.

A child that `os.fork` or multiprocessing makes has a copy of everything. With the listeners the
port would stay open when the server has ended; with a connection its client would never see the
close; with the control channel the other generation would never see the end; and with the handlers
SIGTERM would do nothing, since no reactor runs there.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
import threading
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

_guards: weakref.WeakSet[ForkGuard] = weakref.WeakSet()
_channels: weakref.WeakSet[Any] = weakref.WeakSet()
_numbers: set[int] = set()
_inherited: set[int] = set()
_keeps_all_descriptors = False
_masks: dict[int, set[int]] = {}  # of signals, for each thread that is about to fork


class ForkGuard:
    """Cleans up in forked children, from `begin` to `end`.

    Args:
        listeners: the listening sockets there are.
        handled: the signals whose handlers the child does not keep.
    """

    def __init__(
        self, listeners: Callable[[], Iterable[socket.socket]], handled: Callable[[], Iterable[int]]
    ) -> None:
        self._listeners = listeners
        self.handled = handled

    def begin(self) -> None:
        """From now on. (Not before a daemon has forked, which goes on with all of it.)"""
        _guards.add(self)

    def end(self) -> None:
        """No longer."""
        _guards.discard(self)

    def in_child(self) -> None:
        """This process was forked."""
        for number in self.handled():
            default: signal.Handlers = signal.SIG_DFL
            signal.signal(
                number, signal.default_int_handler if number == signal.SIGINT else default
            )
        with suppress(ValueError):
            signal.set_wakeup_fd(-1)  # it wakes the parent's reactor
        places = set()
        for each in self._listeners():
            with suppress(OSError):
                places.add(_place(each))
        blank(sockets_at(places))


def keep_from_children(channel: Any) -> None:
    """Close a socket in forked children.

    Args:
        channel: has a ``fileno``; negative if it is closed.
    """
    _channels.add(channel)


def keep_number_from_children(descriptor: int) -> None:
    """The same for a descriptor that stays open until this process ends."""
    _numbers.add(descriptor)


def keep_inheritance_from_children(descriptors: Iterable[int]) -> None:
    """The same for inherited descriptors that have no owner yet; none once they have.

    The application may fork while it is imported.
    """
    _inherited.clear()
    _inherited.update(descriptors)


@contextmanager
def keeping_all_descriptors() -> Iterator[None]:
    """A child that is forked in here keeps everything: what it inherits is chosen for it."""
    global _keeps_all_descriptors
    _keeps_all_descriptors = True
    try:
        yield
    finally:
        _keeps_all_descriptors = False


def _place(sock: socket.socket) -> tuple[int, object]:
    """Where a socket is bound: port or path."""
    name = sock.getsockname()
    return sock.family, name[1] if isinstance(name, tuple) else name


def sockets_at(places: Collection[tuple[int, object]]) -> list[int]:
    """The descriptors of listeners at these places, and of the connections that they accepted.

    The kernel is asked, so that none is forgotten that is paused, in a handshake or half closed.
    """
    found = []
    for descriptor in _open_descriptors() if places else ():
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            sock = socket.socket(fileno=descriptor)
            try:
                if _place(sock) in places:
                    found.append(descriptor)
            finally:
                sock.detach()
    return found


def _open_descriptors() -> list[int]:
    for directory in ("/proc/self/fd", "/dev/fd"):
        with suppress(OSError):
            return [int(each) for each in os.listdir(directory)]
    return []


def blank(descriptors: Iterable[int]) -> None:
    """Close files, but keep their numbers in use, so that a later close hits no other file."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for each in descriptors:
        if each >= 0:
            with suppress(OSError):
                os.dup2(nothing, each, inheritable=False)
    os.close(nothing)


def _before() -> None:
    # A signal that reaches the child before it has reset its handlers would be lost: in a child
    # Python forgets signals that have arrived but were not handled.
    if _guards:
        signals = {each for guard in list(_guards) for each in guard.handled()}
        _masks[threading.get_ident()] = signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def _after() -> None:
    mask = _masks.pop(threading.get_ident(), None)
    if mask is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _in_child() -> None:
    try:
        _clean_up()
    finally:
        _after()


def _clean_up() -> None:
    if _keeps_all_descriptors or not (_guards or _inherited):
        return
    descriptors = _numbers | _inherited
    for channel in list(_channels):
        with suppress(Exception):
            descriptors.add(channel.fileno())
    blank(descriptors)
    for guard in list(_guards):
        guard.in_child()


os.register_at_fork(before=_before, after_in_parent=_after, after_in_child=_in_child)
