"""The listeners that a program opens through the reactor, in one generation and the next."""

from __future__ import annotations

import os
import socket
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from twisted_graceful.errors import UpgradeRefused
from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.listeners.listener_registry import ListenerRegistry
from twisted_graceful.process.listeners.reactor_listeners import ReactorListeners

from ..case import SynchronousTestCase
from .support import temporary_directory


class _Process:
    """A process with a reactor of its own, which the test runs.

    Args:
        predecessor: whose listeners it inherits, as copies; None for a first generation.
        is_worker: whether that is its master.
    """

    def __init__(self, predecessor: _Process | None = None, *, is_worker: bool = False) -> None:
        self.reactor: Any = SelectReactor()
        self.made: list[Protocol] = []
        self.factory = Factory()
        self.factory.noisy = False
        self.factory.buildProtocol = self._build  # type: ignore[method-assign]
        inherited = [] if predecessor is None else predecessor.registry.in_use
        self.registry = ListenerRegistry(
            Listener(
                each.name, [sock.dup() for sock in each.sockets], file=each.file, is_inherited=True
            )
            for each in inherited
        )
        self.listeners = ReactorListeners(
            self.reactor,
            self.registry,
            has_predecessor=predecessor is not None,
            is_worker=is_worker,
        )
        self.listeners.take_over()

    def _build(self, address: object) -> Protocol:
        self.made.append(Protocol())
        return self.made[-1]

    @property
    def names(self) -> list[str]:
        """The listeners that a successor would inherit."""
        return [each.name for each in self.registry.in_use]

    def turn(self) -> None:
        """Let the reactor do what is to be done now."""
        for _ in range(5):
            self.reactor.runUntilCurrent()
            self.reactor.doIteration(0)

    def close(self) -> None:
        """End the process, as its reactor does."""
        for each in self.reactor.removeAll():
            each.connectionLost(Failure(CONNECTION_DONE))
        for each in self.registry.in_use:
            each.close()


class ReactorListenersTests(SynchronousTestCase):
    """`ReactorListeners`."""

    def process(self, predecessor: _Process | None = None, *, is_worker: bool = False) -> _Process:
        """A process that ends with the test."""
        made = _Process(predecessor, is_worker=is_worker)
        self.addCleanup(made.close)
        return made

    def upgraded(self, first: _Process, name: str) -> tuple[Any, Any, _Process]:
        """A listener, that of the successor, and the successor."""
        path = f"{temporary_directory(self)}/app.sock"
        calls: dict[str, Any] = {
            "tcp": lambda each: each.reactor.listenTCP(0, each.factory, interface="127.0.0.1"),
            "unix": lambda each: each.reactor.listenUNIX(path, each.factory, mode=0o600),
        }
        port = calls[name](first)
        second = self.process(first)
        return port, calls[name](second), second

    def connect(self, port: Any) -> socket.socket:
        """A client that the kernel has queued."""
        client = socket.socket(port.socket.family)
        self.addCleanup(client.close)
        client.connect(port.socket.getsockname())
        return client

    def accepted(self, *processes: _Process) -> list[int]:
        """How many connections each process accepts now."""
        before = [len(each.made) for each in processes]
        for each in processes:
            each.turn()
        return [len(each.made) - count for each, count in zip(processes, before, strict=True)]

    def test_one_generation_accepts(self) -> None:
        """The predecessor accepts until the handover, then the successor, until it dies."""
        for name in ("tcp", "unix"):
            with self.subTest(name=name):
                first = self.process()
                port, inherited, second = self.upgraded(first, name)
                self.assertEqual(inherited.socket.getsockname(), port.socket.getsockname())
                self.connect(port)
                self.assertEqual(self.accepted(second, first), [0, 1])
                drained = first.listeners.hand_over((), 10)
                second.listeners.accept()
                self.connect(port)
                self.assertEqual(self.accepted(first, second), [0, 1])
                self.assertNoResult(drained)
                second.close()
                self.connect(port)
                first.listeners.accept()
                self.assertEqual(self.accepted(first), [1])

    def test_datagrams(self) -> None:
        """Datagrams are received by one generation at a time."""
        received: list[tuple[str, bytes]] = []

        class Receiver(DatagramProtocol):
            noisy = False

            def __init__(self, name: str) -> None:
                self.name = name

            def datagramReceived(self, datagram: bytes, addr: object) -> None:
                received.append((self.name, datagram))

        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            free = sock.getsockname()[1]
        first = self.process()
        port = first.reactor.listenUDP(free, Receiver("first"), "127.0.0.1")
        second = self.process(first)
        second.reactor.listenUDP(free, Receiver("second"), "127.0.0.1")
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(client.close)
        client.sendto(b"1", port.socket.getsockname())
        second.turn()
        first.turn()
        first.listeners.hand_over((), 10)
        second.listeners.accept()
        client.sendto(b"2", port.socket.getsockname())
        first.turn()
        second.turn()
        self.assertEqual(received, [("first", b"1"), ("second", b"2")])

    def test_a_closed_port_is_open_elsewhere(self) -> None:
        """A port that the program closes stays open in the other generation, with its file."""
        for name in ("tcp", "unix"):
            with self.subTest(name=name):
                first = self.process()
                port, inherited, second = self.upgraded(first, name)
                address = port.socket.getsockname()
                first.listeners.hand_over((), 10)
                first.registry.hand_over(())
                second.listeners.accept()
                second.registry.take_over()
                port.stopListening()
                first.turn()
                self.assertEqual(first.names, [])
                self.connect(inherited)
                self.assertEqual(self.accepted(second), [1])
                inherited.stopListening()
                second.turn()
                if name == "unix":
                    self.assertFalse(os.path.exists(address))
                with socket.socket(inherited.addressFamily) as client:
                    self.assertRaises(OSError, client.connect, address)

    def test_the_drain(self) -> None:
        """A drain is over when the last connection has ended, or at its deadline."""
        first = self.process()
        port = first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        self.successResultOf(first.listeners.hand_over((), 10))
        first.listeners.accept()
        client = self.connect(port)
        self.assertEqual(self.accepted(first), [1])
        drained = first.listeners.hand_over((), 10)
        self.assertNoResult(drained)
        client.close()
        first.turn()
        self.successResultOf(drained)
        first.listeners.accept()
        self.connect(port)
        self.assertEqual(self.accepted(first), [1])
        drained = first.listeners.hand_over((), 0)
        first.turn()
        self.successResultOf(drained)

    def test_removed(self) -> None:
        """A listener that the successor does not have is served to the end."""
        first = self.process()
        port = first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        first.listeners.hand_over(first.registry.in_use, 10)
        self.connect(port)
        self.assertEqual(self.accepted(first), [1])

    def test_temporary(self) -> None:
        """Any free port is inherited if it was opened while the application was loaded."""
        first = self.process()
        first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        first.listeners.accept()
        first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        self.assertEqual(first.names, ["tcp:127.0.0.1:0"])
        first.listeners.require_inheritable()

    def test_paused_by_the_program(self) -> None:
        """A port that the program has paused is not resumed with the others."""
        first = self.process()
        port = first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        port.stopReading()
        first.listeners.hand_over((), 10)
        first.listeners.accept()
        self.connect(port)
        self.assertEqual(self.accepted(first), [0])
        port.startReading()
        self.assertEqual(self.accepted(first), [1])

    def test_worker(self) -> None:
        """A worker leaves the listeners of its master to that, and keeps those of its own."""
        master = self.process()
        port = master.reactor.listenTCP(0, master.factory, interface="127.0.0.1")
        worker = self.process(master, is_worker=True)
        copy = worker.reactor.listenTCP(0, worker.factory, interface="127.0.0.1")
        self.assertEqual(copy.getHost(), port.getHost())
        own = worker.reactor.listenTCP(0, worker.factory, interface="127.0.0.1")
        worker.listeners.accept()
        self.connect(port)
        self.connect(own)
        self.assertEqual(self.accepted(worker, master), [1, 1])
        self.assertEqual(worker.names, [])

    def test_worker_leaves_files(self) -> None:
        """A worker never removes the socket file of a listener that its master serves."""
        path = f"{temporary_directory(self)}/app.sock"
        master = self.process()
        master.reactor.listenUNIX(path, master.factory)
        for opens in (True, False):
            with self.subTest(opens=opens):
                worker = self.process(master, is_worker=True)
                worker.registry.take_over()
                worker.listeners.accept()
                if opens:
                    worker.reactor.listenUNIX(path, worker.factory).stopListening()
                    worker.turn()
                worker.registry.close_unused()
                self.assertTrue(os.path.exists(path))

    def test_cannot_listen(self) -> None:
        """An address that is in use is Twisted's error, and nothing is left."""
        path = f"{temporary_directory(self)}/app.sock"
        first, second = self.process(), self.process()
        taken = first.reactor.listenTCP(0, first.factory, interface="127.0.0.1").getHost().port
        first.reactor.listenUNIX(path, first.factory)
        with self.assertRaises(CannotListenError):
            second.reactor.listenTCP(taken, second.factory, interface="127.0.0.1")
        with self.assertRaises(CannotListenError):
            second.reactor.listenUNIX(path, second.factory)
        self.assertEqual((second.names, second.reactor.removeAll()), ([], []))

    def test_not_inheritable(self) -> None:
        """A listener that was opened by other methods is named, with what to do."""
        first = self.process()
        first.reactor.listenTCP(0, first.factory, interface="127.0.0.1")
        first.reactor.listenUDP(0, DatagramProtocol(), "127.0.0.1")
        first.listeners.require_inheritable()
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            free = sock.getsockname()[1]
        SelectReactor.listenTCP(first.reactor, free, first.factory, interface="127.0.0.1")
        error = self.assertRaises(UpgradeRefused, first.listeners.require_inheritable)
        self.assertIn(f"listens on 127.0.0.1:{free}, which a successor cannot inherit", str(error))
