"""A child that the system has no room for."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful.process import output
from twisted_graceful.process.child import Child
from twisted_graceful.process.launch import Launch

from .support import leaves_nothing_open


def full(*_: Any, **__: Any) -> NoReturn:
    """What the system says when all of its descriptors are in use (ENFILE)."""
    raise OSError(errno.ENFILE, "Too many open files in system")


class Reactor:
    """The reactor, which starts no process."""

    def __init__(self) -> None:
        from twisted.internet import reactor

        self.spawnProcess: Callable[..., object] = full
        self.real: Any = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self.real, name)


class NoRoomTests(SynchronousTestCase):
    """Each call that needs a descriptor, when there is none."""

    def fails(self) -> None:
        """The start fails for that reason, and leaves nothing behind."""
        reactor = Reactor()
        before = reactor.real.getDelayedCalls()
        with leaves_nothing_open(self):
            child = Child(reactor, None, 60)  # type: ignore[arg-type]
            with self.assertRaises(OSError) as caught:
                child.start(Launch("python", (), "/", {}), 1, [])
            self.assertEqual(caught.exception.errno, errno.ENFILE)
            reactor.real.iterate(0)  # in which the channel is closed
        self.assertEqual(reactor.real.getDelayedCalls(), before)

    def test_no_file_in_memory(self) -> None:
        """None for the output of the child."""
        self.patch(output, "_memory_file", full)
        self.fails()

    def test_one_file_in_memory(self) -> None:
        """One, where two are needed."""
        one = os.open(os.devnull, os.O_RDONLY)
        files = iter((one,))
        self.patch(output, "_memory_file", lambda: next(files, None) or full())
        child = Child(Reactor(), None, 60)  # type: ignore[arg-type]
        self.assertRaises(OSError, child.start, Launch("python", (), "/", {}), 1, [])
        self.assertRaises(OSError, os.fstat, one)

    def test_no_socket_pair(self) -> None:
        """None for the control channel."""
        self.patch(socket, "socketpair", full)
        self.fails()

    def test_no_process(self) -> None:
        """None for what `spawnProcess` opens itself."""
        self.fails()
