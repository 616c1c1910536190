"""Sockets that a service manager has bound and passed to this process (sd_listen_fds(3)).

Twisted's ``ListenFDs`` discards all of them if they have no names, as with systemd-socket-activate.
It also removes the variables when `twisted.internet.endpoints` is imported, so we may have to look
at the environment that the process was started with."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ActivationError
from .listener import Listener

COUNT, NAMES, PID = "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"

FIRST = 3
"""The descriptor of the first one."""

_UNNAMED = "unknown"  # as libsystemd says


@dataclass(frozen=True)
class Activation:
    """Descriptors that were passed.

    Attributes:
        names: of each, in order; that of its unit, or its ``FileDescriptorName``.
    """

    names: tuple[str, ...] = ()

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int) -> Activation:
        """Read what was passed to a process, and remove every trace of it.

        The variables are taken out of ``environ``, and the descriptors get FD_CLOEXEC, so that
        no process the application starts inherits either.

        Raises:
            ActivationError: the variables make no sense.
        """
        if environ.get(PID) != str(pid):
            return cls()
        text, names = environ.pop(COUNT, ""), environ.pop(NAMES, "")
        del environ[PID]
        if not text.isascii() or not text.isdigit():
            raise ActivationError(f"{COUNT} is {text!r}, and should be a number of descriptors")
        count = int(text)
        named = tuple(names.split(":"))
        taken = cls(named if len(named) == count else (_UNNAMED,) * count)
        try:
            for descriptor in taken.descriptors():
                os.set_inheritable(descriptor, False)
        except OSError as error:
            raise ActivationError(
                f"{COUNT} is {count}, but descriptor {descriptor} is not open: {error.strerror}"
            ) from error
        return taken

    def descriptors(self) -> range:
        """Every descriptor that was passed."""
        return range(FIRST, FIRST + len(self.names))

    def listeners(self) -> list[Listener]:
        """The sockets, each as a listener of the service manager's name, which owns it.

        Raises:
            ActivationError: one is no socket that accepts connections.
        """
        return [
            Listener(name, [_listening(name, descriptor)], is_activated=True)
            for name, descriptor in zip(self.names, self.descriptors(), strict=True)
        ]


def _listening(name: str, descriptor: int) -> socket.socket:
    passed = f"the service manager passed {name} (descriptor {descriptor})"
    try:
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ActivationError(f"{passed}, which is no socket: {error.strerror}") from error
    if listener.type != socket.SOCK_STREAM:
        raise ActivationError(f"{passed}, which is no stream socket: its unit needs ListenStream=")
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise ActivationError(
            f"{passed}, which does not listen: its unit needs Accept=no, which is the default"
        )
    listener.setblocking(False)
    return listener


def first_environment(environ: MutableMapping[str, str]) -> MutableMapping[str, str]:
    """The environment in which the variables are, or were when the process was started.

    Args:
        environ: of this process, where Twisted takes them away when `twisted.internet.endpoints` is
            imported, as some plugins and applications do.

    Returns:
        ``environ``, or a copy of what the process was started with; empty without /proc.
    """
    if COUNT in environ or "twisted.internet.endpoints" not in sys.modules:
        return environ
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    texts = (os.fsdecode(entry).partition("=") for entry in entries)
    return {name: value for name, _, value in texts}
