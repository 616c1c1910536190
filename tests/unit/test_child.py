"""A child: its listeners, and one that the system has no room for."""

from __future__ import annotations

import errno
import json
import os
import socket
from collections.abc import Callable
from typing import Any, NoReturn

from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.python.failure import Failure

from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.upgrade import output
from twisted_graceful.process.upgrade.child import Child
from twisted_graceful.process.upgrade.inheritance import VARIABLE
from twisted_graceful.process.upgrade.launch import Launch

from ..case import SynchronousTestCase
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


class Spawned:
    """What `spawnProcess` returns, of a process that is never there."""

    pid = 4711

    def signalProcess(self, number: int) -> None:
        """There is nobody."""
        raise ProcessExitedAlready


class Witness:
    """Notes that the child is ready."""

    is_ready = False
    reason = ""

    def child_ready(self) -> None:
        """It is."""
        self.is_ready = True

    def child_ended(self, reason: str, output: str) -> None:
        """It has ended."""
        self.reason = reason


class ListenersTests(SynchronousTestCase):
    """What a child does with the listeners that it inherits."""

    def setUp(self) -> None:
        """Start one that inherits three listeners, of which a service manager has bound one."""
        self.listeners = [
            Listener(name, [socket.create_server(("127.0.0.1", 0))], is_activated=name == ":81")
            for name in (":80", ":80", ":81")
        ]
        for each in self.listeners:
            self.addCleanup(each.close)
        reactor = Reactor()
        self.witness = Witness()
        self.child = Child(reactor, self.witness, 60, {})  # type: ignore[arg-type]

        def spawn(*_: Any, env: dict[str, str], childFDs: dict[int, int], **__: Any) -> None:
            self.inheritance = json.loads(env[VARIABLE])
            self.descriptors = childFDs
            self.child.transport = Spawned()  # type: ignore[assignment]

        reactor.spawnProcess = spawn
        self.child.start(Launch("python", (), "/", {}), 1, self.listeners)
        self.addCleanup(reactor.real.iterate, 0)
        self.addCleanup(self.end)

    def end(self) -> None:
        """The process ends."""
        if not self.witness.reason:
            self.child.processEnded(Failure(ProcessDone(0)))

    def test_some_are_removed(self) -> None:
        """Those that it does not name are removed, whatever else it names."""
        first, second, third = self.listeners
        with socket.create_server(("127.0.0.1", 0)) as new:
            self.child._on_ready([*second.inodes, *Listener("new", [new]).inodes])
        self.assertEqual(self.child.removed_listeners, [first, third])
        self.assertTrue(self.witness.is_ready)

    def test_that_names_none(self) -> None:
        """One of an older version, which does not say, serves all."""
        self.child._on_ready(None)
        self.assertEqual(self.child.removed_listeners, [])

    def test_none(self) -> None:
        """One that serves none of them says so."""
        self.child._on_ready([])
        self.assertEqual(self.child.removed_listeners, self.listeners)

    def test_that_have_been_closed(self) -> None:
        """One that we have closed meanwhile is no fault."""
        served = [number for each in self.listeners[1:] for number in each.inodes]
        self.listeners[0].close()
        self.child._on_ready(served)
        self.assertEqual(self.child.removed_listeners, self.listeners[:1])

    def test_of_a_service_manager(self) -> None:
        """It is told which are bound by a service manager."""
        (number,) = self.inheritance["activated"]
        self.assertEqual(self.descriptors[number], self.listeners[2].sockets[0].fileno())

    def test_a_failure_without_a_reason(self) -> None:
        """One of an older version may not say why it will never be ready."""
        self.child._on_failed(None)
        self.end()
        self.assertEqual(self.witness.reason, "it does not say why")


class NoRoomTests(SynchronousTestCase):
    """Each call that needs a descriptor, when there is none."""

    def fails(self, spawn: Callable[..., object] = full, expected: int = errno.ENFILE) -> None:
        """The start fails for that reason, and leaves nothing behind."""
        reactor = Reactor()
        reactor.spawnProcess = spawn
        before = reactor.real.getDelayedCalls()
        with leaves_nothing_open(self):
            child = Child(reactor, None, 60, {})  # type: ignore[arg-type]
            with self.assertRaises(OSError) as caught:
                child.start(Launch("python", (), "/", {}), 1, [])
            self.assertEqual(caught.exception.errno, expected)
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
        child = Child(Reactor(), None, 60, {})  # type: ignore[arg-type]
        self.assertRaises(OSError, child.start, Launch("python", (), "/", {}), 1, [])
        self.assertRaises(OSError, os.fstat, one)

    def test_no_socket_pair(self) -> None:
        """None for the control channel."""
        self.patch(socket, "socketpair", full)
        self.fails()

    def test_no_process(self) -> None:
        """None for what `spawnProcess` opens itself."""
        self.fails()

    def test_no_number(self) -> None:
        """posix_spawn(3) calls a copy beyond RLIMIT_NOFILE a bad descriptor; we call it by name."""

        def spawn(*_: Any, **__: Any) -> NoReturn:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

        self.fails(spawn, errno.EMFILE)
