"""Live connections that move to the successor, and what befalls the two processes meanwhile."""

from __future__ import annotations

import signal
import socket
from collections import Counter

import pytest

from ..case import SynchronousTestCase
from .client import Client, request
from .harness import SERVED, Server, served
from .waiting import until

pytestmark = pytest.mark.timeout(90)

MANY = 200
"""Connections: several batches, and more than are on their way at a time."""

PATIENT = ("--idle-grace", "10")
"""Of a drain that a test wants to see closing nothing but what is told."""

SABOTAGE = """

from twisted_graceful.process.upgrade import generation
from twisted_graceful.process.upgrade import handover_protocol as handover


def befalls(cls, name, what, after=False):
    original = getattr(cls, name)

    def sabotaged(*args, **kwargs):
        if after:
            result = original(*args, **kwargs)
        what(*args)
        return result if after else original(*args, **kwargs)

    setattr(cls, name, sabotaged)


def once(what, done=[]):
    return lambda *args: done or done.append(what(*args))


def send(number):
    return lambda *_: os.kill(os.getpid(), number)

"""


def deploy(server: Server, version: str, sabotage: str) -> None:
    """Put a version in place to which something happens."""
    text = SERVED.read_text().replace('VERSION = "1"', f'VERSION = "{version}"')
    server.write("app.py", f"{text}{SABOTAGE}{sabotage}\n")


class HandoverTestCase(SynchronousTestCase):
    """What the tests of this module share."""

    def clients(self, server: Server, count: int = MANY) -> list[Client]:
        """Connections that are idle, each after an answer."""
        clients = [server.connect() for _ in range(count)]
        for client in clients:
            self.assertFalse(client.ask("/").last)
        return clients

    def answers(self, clients: list[Client]) -> Counter[str]:
        """What the next request of each brings: who answers it, and whether for the last time; or
        that the connection has ended."""
        found: Counter[str] = Counter()
        for client in clients:
            try:
                answer = client.ask("/")
                found[f"{answer.body}, last" if answer.last else answer.body] += 1
            except (ConnectionError, IndexError):
                found["ended"] += 1
        return found


class HandoverTests(HandoverTestCase):
    """Clients that keep their connection through an upgrade."""

    def test_again_and_again(self) -> None:
        """Every connection is served by the newest code after each upgrade, and never ends."""
        with served() as server:
            clients = self.clients(server)
            for version in ("2", "3", "4"):
                server.deploy(version)
                server.upgrade()
                self.assertEqual(self.answers(clients), {version: MANY})

    def test_nothing_is_left_in_the_successor(self) -> None:
        """A connection that was handed over and has ended leaves no descriptor behind."""
        with served() as server:
            server.upgrade()
            before = server.idle_descriptors()
            clients = self.clients(server)
            server.upgrade()
            for client in clients:
                client.close()
            self.assertEqual(server.idle_descriptors(), before)

    def test_split_and_pipelined(self) -> None:
        """Half a head, and requests that wait behind a slow one, are answered in order."""
        with served() as server:
            split, pipelined = server.connect(), server.hold()
            text = request("/")
            split.send(text[:7])
            pipelined.send(request("/pid") + request("/"))
            old = server.pid
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            split.send(text[7:])
            self.assertEqual(split.answer().body, "2")
            server.open("held")
            bodies = [pipelined.answer().body for _ in range(3)]
            self.assertEqual(bodies, ["1", str(new), "2"])
            self.assertEqual(server.ended(old), 0)

    def test_many_servers(self) -> None:
        """A connection goes to the server that has its port, and no server waits for another."""
        with Server(
            *("--app", "app.resource", "--port", "127.0.0.1:0", "--app", "app.Other"), *PATIENT
        ) as server:
            ones, others = ([server.connect(port) for _ in range(MANY)] for port in server.ports)
            self.assertEqual(self.answers(ones + others), {"1": MANY, "other": MANY})
            server.deploy("2")
            server.upgrade()
            self.assertEqual(self.answers(ones + others), {"2": MANY, "other": MANY})

    def test_behind_haproxy_headers(self) -> None:
        """A client that a PROXY header names keeps its name."""
        with served("--proxy-protocol") as server:
            client = server.connect()
            client.send("PROXY TCP4 192.0.2.7 192.0.2.1 4711 80\r\n")
            self.assertIn("192.0.2.7", client.ask("/client").body)
            server.upgrade()
            self.assertIn("192.0.2.7", client.ask("/client").body)


class SignalTests(SynchronousTestCase):
    """Signals in the first moments."""

    def test_usr2_before_the_start(self) -> None:
        """An upgrade that is asked for as soon as the port is bound is done after the start."""
        server = served()
        early = f"lambda *_: say('sent') or os.kill(os.getpid(), {int(signal.SIGUSR2)})"
        what = f"befalls(service.GracefulService, 'privilegedStartService', {early})"
        deploy(server, "1", f"from twisted_graceful.services import service\n{what}")
        with server:
            server.wait_for("sent")
            server.deploy("2")
            server.hand_over()
            self.assertEqual(server.get().body, "2")


class FaultTests(HandoverTestCase):
    """What befalls one of the two while connections move.

    A connection is then served by one of them, or it has ended; it never hangs, and nothing
    of it is left.
    """

    def served_or_ended(
        self, server: Server, clients: list[Client], expected: set[str]
    ) -> Counter[str]:
        """Each is answered once, by one of those expected; by the predecessor without notice only
        if it asked before anything was offered."""
        found = self.answers(clients)
        self.assertEqual(set(found) - expected, set(), found)
        self.assertEqual(found.total(), MANY)
        for client in clients:
            client.close()
        return found

    def test_receiver_killed(self) -> None:
        """The successor dies at any step: the predecessor serves what it has not let go."""
        for step, after in (("_offered", False), ("_offered", True), ("_granted", True)):
            with self.subTest(step=step, after=after), served() as server:
                before = server.idle_descriptors()
                clients = self.clients(server)
                what = f"befalls(handover.ConnectionReceiver, {step!r}, send(9), after={after})"
                deploy(server, "2", what)
                server.kill(signal.SIGUSR2)
                server.said("Upgrade failed: generation 1: it was killed by SIGKILL")
                found = self.served_or_ended(server, clients, {"1", "ended"})
                # What the successor had in its hands when it died, and no more.
                most = 0 if step == "_offered" else MANY - 1
                self.assertLessEqual(found["ended"], most)
                self.assertEqual(server.get().body, "1")
                self.assertEqual(server.idle_descriptors(), before)
                server.deploy("3")
                server.upgrade()
                self.assertEqual(server.get().body, "3")

    def test_sender_killed(self) -> None:
        """The predecessor dies at any step: the successor serves what it was granted."""
        for step, after in (("_offer", False), ("_offer", True), ("_answered", False)):
            with self.subTest(step=step, after=after):
                server = served()
                deploy(
                    server,
                    "1",
                    f"befalls(handover.ConnectionSender, {step!r}, send(9), after={after})",
                )
                with server:
                    old, clients = server.pid, self.clients(server)
                    server.deploy("2")
                    server.kill(signal.SIGUSR2)
                    server.hand_over()
                    self.assertEqual(server.ended(old), -signal.SIGKILL)
                    self.served_or_ended(server, clients, {"2", "ended"})
                    self.assertEqual(server.get().body, "2")
                    before = server.idle_descriptors()
                    server.upgrade()
                    self.assertEqual(server.idle_descriptors(), before)

    def test_receiver_stopped(self) -> None:
        """A stop that comes while connections are on their way closes none without notice."""
        for after in (False, True):
            with self.subTest(after=after):
                server = served(*PATIENT)
                with server:
                    clients = self.clients(server)
                    sabotaged = "handover.ConnectionReceiver, '_offered', once(send(15))"
                    deploy(server, "2", f"befalls({sabotaged}, after={after})")
                    server.kill(signal.SIGUSR2)
                    server.said("Stopping: in order")
                    until(server.refuses, "both have begun to stop")
                    self.served_or_ended(server, clients, {"1, last", "2, last"})

    def test_receiver_stands_still(self) -> None:
        """A successor that stops in the middle holds nobody: what is not its own is taken back."""
        server = served(*PATIENT)
        deploy(server, "1", "handover.TIMEOUT = 0.5")
        with server:
            clients = self.clients(server)
            stop = f"once(send({int(signal.SIGSTOP)}))"
            deploy(server, "2", f"befalls(handover.ConnectionReceiver, '_offered', {stop})")
            server.kill(signal.SIGUSR2)
            successor = server.starting(1)
            server.said("Connections cannot be handed over any more")
            self.served_or_ended(server, clients, {"1", "1, last"})
            server.kill(signal.SIGCONT, successor)
            server.hand_over()
            self.assertEqual(server.get().body, "2")

    def test_channel_never_read(self) -> None:
        """A successor that is ready and reads nothing more is told nothing more, and serves."""
        server = served(*PATIENT)
        deploy(server, "1", "handover.TIMEOUT = 0.5")
        deaf = "lambda self: self._predecessor._channel.transport.pauseProducing()"
        with server:
            clients = self.clients(server)
            deploy(server, "2", f"befalls(generation.Generation, '_serve', {deaf})")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.said("Connections cannot be handed over any more")
            self.served_or_ended(server, clients, {"1", "1, last"})
            self.assertEqual(server.get().body, "2")

    def test_channel_full(self) -> None:
        """A channel that is full holds nobody: what is still in its queue is taken back."""
        server = served(*PATIENT)
        full = "lambda self, *_: self._channel.transport.dataBuffer and say('full')"
        narrow = "lambda self, *_: self._control.setsockopt(1, 7, 1)"  # SO_SNDBUF, at its least
        deploy(
            server,
            "1",
            "from twisted_graceful.process.upgrade import child\nhandover.TIMEOUT = 0.5\n"
            f"befalls(child.Child, 'start', {narrow}, after=True)\n"
            f"befalls(handover.ConnectionSender, '_late', {full})",
        )
        with server:
            clients = self.clients(server)
            deaf = "lambda self: self._predecessor._channel.transport.pauseProducing()"
            deploy(server, "2", f"befalls(generation.Generation, '_serve', {deaf})")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.wait_for("full")
            self.served_or_ended(server, clients, {"1", "1, last"})
            self.assertEqual(server.get().body, "2")

    def test_no_descriptors_in_the_successor(self) -> None:
        """What the successor has no descriptors for is closed with notice; the rest moves."""
        few = "__import__('resource').setrlimit(7, (60, 4096))"
        with served(*PATIENT) as server:
            clients = self.clients(server)
            deploy(server, "2", f"befalls(generation.Generation, '_serve', lambda *_: {few})")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            found = self.served_or_ended(server, clients, {"1", "1, last", "2"})
            self.assertGreater(found["2"], 10)
            self.assertGreater(found["1, last"], 100)
            self.assertEqual(server.get().body, "2")

    def test_another_version(self) -> None:
        """A successor with other messages takes nothing, and everybody is told to come again."""
        with served(*PATIENT) as server:
            clients = self.clients(server)
            deploy(server, "2", "handover.VERSION += 1")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.served_or_ended(server, clients, {"1", "1, last"})
            self.assertEqual(server.get().body, "2")

    def test_clients_that_leave(self) -> None:
        """Clients that reset their connection on its way leave nothing behind."""
        with served() as server:
            old, clients = server.pid, self.clients(server)
            server.kill(signal.SIGUSR2)
            for client in clients:
                linger = b"\1\0\0\0\0\0\0\0"
                client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                client.close()
            server.hand_over()
            server.ended(old)
            before = server.idle_descriptors()
            server.upgrade()
            self.assertEqual(server.idle_descriptors(), before)
