"""The listeners that a program has beside its servers: they are inherited, held, and closed."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..case import SynchronousTestCase
from .harness import FOREGROUND, Server
from .upgrade_case import STANDS_BY
from .waiting import until

TAC = """\
import os, sys
sys.path.insert(0, os.getcwd())
from twisted.application.internet import TCPServer, UDPServer
from twisted.application.service import Application
from twisted.application.strports import service as endpoint_service
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol
from twisted_graceful import GracefulService, new
import app


class Echo(Protocol):
    def connectionMade(self):
        self.transport.write(b"%d\\n" % os.getpid())

    def dataReceived(self, data):
        self.transport.write(data)


class EchoDatagrams(DatagramProtocol):
    def datagramReceived(self, data, address):
        self.transport.write(b"%d" % os.getpid(), address)


application = Application("tac")
service = GracefulService(
    new("127.0.0.1:0", app.resource, idle_grace=0.3, drain_timeout=DRAIN),
    signals=True, probation=PROBATION, workers=WORKERS,
)
echo = Factory.forProtocol(Echo)
"""
SERVICES = """\
TCPServer({tcp}, echo, interface="127.0.0.1").setServiceParent(application)
endpoint_service("unix:echo.sock", echo).setServiceParent(application)
UDPServer({udp}, EchoDatagrams(), interface="127.0.0.1").setServiceParent(application)
"""
PROGRAM = """\
from twisted.internet import asyncioreactor
asyncioreactor.install()
import os, sys
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol
from twisted.web.resource import Resource
from twisted_graceful import listen_and_serve_forever


class Pid(Protocol):
    def connectionMade(self):
        self.transport.write(b"%d\\n" % os.getpid())


def make():
    from twisted.internet import reactor
    for text in ("tcp:{tcp}:interface=127.0.0.1", "tcp:0:interface=127.0.0.1"):
        listening = serverFromString(reactor, text).listen(Factory.forProtocol(Pid))
    listening.addCallback(lambda port: print("any port:", port.getHost().port, flush=True))
    return Resource()


listen_and_serve_forever("127.0.0.1:0", make, probation=0, log_to=sys.stdout)
"""
OWN = "service.setServiceParent(application)\n"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A port that nobody has, on the loopback interface."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Program(Server):
    """A ``.tac`` file with a server, and three listeners of other protocols."""

    def __init__(self, probation: float = 0, workers: int = 0, drain: float = 10) -> None:
        super().__init__("-y", "app.tac", command=FOREGROUND)
        self.tcp, self.udp = free_port(), free_port(socket.SOCK_DGRAM)
        self._head = (
            TAC.replace("PROBATION", str(probation))
            .replace("WORKERS", str(workers))
            .replace("DRAIN", str(drain))
        )
        self.program(SERVICES)

    def program(self, services: str, *, first: str = OWN, last: str = "") -> None:
        """Write the ``.tac`` file."""
        services = services.format(tcp=self.tcp, udp=self.udp)
        self.write("app.tac", self._head + first + services + last)

    @property
    def path(self) -> str:
        """The UNIX socket."""
        return str(self.directory / "echo.sock")

    def tcp_client(self) -> socket.socket:
        """A connection to the TCP port."""
        return socket.create_connection(("127.0.0.1", self.tcp), 10)

    def unix_client(self) -> socket.socket:
        """A connection to the UNIX socket."""
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(10)
        client.connect(self.path)
        return client

    def over_tcp(self) -> int:
        """The pid of the process that accepts a TCP connection."""
        return greeted(self.tcp_client())

    def over_unix(self) -> int:
        """The pid of the process that accepts a connection of the UNIX socket."""
        return greeted(self.unix_client())

    def over_udp(self) -> int:
        """The pid of the process that responds to a datagram."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(10)
            client.connect(("127.0.0.1", self.udp))
            client.send(b"?")
            return int(client.recv(100))

    @property
    def asks(self) -> list[Callable[[], int]]:
        """One question for each listener; each answer is a pid."""
        return [self.over_tcp, self.over_unix, self.over_udp]

    @contextmanager
    def under_clients(self) -> Iterator[list[object]]:
        """Ask on each listener all the time; gives what was answered."""
        answers: list[object] = []
        over = threading.Event()

        def ask(question: Callable[[], int]) -> None:
            while not over.is_set():
                try:
                    answers.append(question())
                except Exception as error:
                    answers.append(error)

        threads = [threading.Thread(target=ask, args=(each,)) for each in self.asks]
        for each in threads:
            each.start()
        try:
            yield answers
        finally:
            over.set()
            for each in threads:
                each.join()


def greeted(client: socket.socket) -> int:
    """The pid that the server says on a connection, which is closed."""
    with client, client.makefile("rb") as lines:
        return int(lines.readline())


class OtherListenerTests(SynchronousTestCase):
    """Listeners of a TCP, a UNIX and a UDP service beside a server."""

    def served_by(self, server: Program, pid: int) -> None:
        """Every listener is served by one process."""
        self.assertEqual([ask() for ask in server.asks], [pid] * 3)

    def test_upgrades_and_stop(self) -> None:
        """Two upgrades under clients of each lose nothing, and a stop closes all."""
        with Program() as server:
            first = server.serving(0)
            self.served_by(server, first)
            with server.under_clients() as answers:
                until(lambda: len(answers) > 100, "clients are served")
                pids = {first, server.upgrade(), server.upgrade()}
                before = len(answers)
                until(lambda: len(answers) > before + 100, "clients are served")
            self.assertEqual({*answers}, pids)
            self.assertEqual(server.stop(), 0)
            for client in (server.tcp_client, server.unix_client):
                self.assertRaises((ConnectionRefusedError, FileNotFoundError), client)
            self.assertFalse(os.path.exists(server.path))

    def test_the_successor_dies(self) -> None:
        """The predecessor serves them again when the successor dies in its probation."""
        with Program(probation=60) as server:
            old = server.serving(0)
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            server.said(STANDS_BY)
            self.served_by(server, new)
            with server.tcp_client() as waiting:  # accepted by the one or the other
                server.kill(signal.SIGKILL, new)
                server.said("accepts again, with the code from before the upgrade")
                self.served_by(server, old)
                waiting.close()
            server.kill(signal.SIGTERM, old)
            server.ended(old)
            self.assertFalse(os.path.exists(server.path))

    def test_the_successor_is_broken(self) -> None:
        """They stay with the predecessor when the successor does not load."""
        with Program() as server:
            old = server.serving(0)
            server.program(SERVICES, last="raise RuntimeError('broken')\n")
            with server.under_clients() as answers:
                server.kill(signal.SIGUSR2)
                server.said("Upgrade failed")
            self.assertEqual({*answers}, {old})
            self.served_by(server, old)

    def test_new_code_without_them(self) -> None:
        """What the new code does not have is served until the old process ends, then closed."""
        with Program(probation=60) as server:
            old = server.serving(0)
            server.program("")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.said(STANDS_BY)
            self.served_by(server, old)
            server.kill(signal.SIGUSR2)  # which ends the probation
            server.ended(old)
            self.assertRaises(ConnectionRefusedError, server.tcp_client)
            self.assertFalse(os.path.exists(server.path))

    def test_connections_stay(self) -> None:
        """A connection stays in the old process, which ends when it has ended."""
        with Program() as server:
            old = server.serving(0)
            with server.tcp_client() as client, client.makefile("rb") as lines:
                self.assertEqual(int(lines.readline()), old)
                server.kill(signal.SIGUSR2)
                new = server.hand_over()
                self.served_by(server, new)
                client.send(b"still here\n")
                self.assertEqual(lines.readline(), b"still here\n")
            server.ended(old)

    def test_a_connection_does_not_hold_the_old_process(self) -> None:
        """A connection that stays open is closed at the drain deadline."""
        with Program(drain=0.5) as server:
            server.serving(0)
            with server.tcp_client() as client:
                client.recv(1)  # it is accepted
                server.upgrade()
                server.said("1 connections of listeners beside the servers did not end")

    def test_children_of_the_service(self) -> None:
        """Services that were added to the GracefulService are served and inherited, too."""
        server = Program()
        server.program(SERVICES.replace("(application)", "(service)"))
        with server:
            self.served_by(server, server.serving(0))
            self.served_by(server, server.upgrade())
            self.assertEqual(server.stop(), 0)
            self.assertFalse(os.path.exists(server.path))

    def test_workers(self) -> None:
        """With workers the master serves them, before and after new workers and an upgrade."""
        with Program(workers=2) as server:
            master = server.serving(0)
            for _ in range(5):
                self.served_by(server, master)
            server.kill(signal.SIGHUP, master)
            server.said("All workers have been replaced")
            for _ in range(5):
                self.served_by(server, master)
            self.served_by(server, server.upgrade())
            self.assertEqual(server.stop(), 0)
            self.assertFalse(os.path.exists(server.path))

    def test_opened_too_early(self) -> None:
        """An upgrade is refused, with the address, if a listener was opened before the service."""
        server = Program()
        early = "from twisted.internet import reactor\n"
        early += "reactor.listenTCP({tcp}, echo, interface='127.0.0.1')\n"
        server.program(early, first="", last=OWN)
        with server:
            old = server.serving(0)
            server.kill(signal.SIGUSR2)
            server.said(
                rf"Upgrade failed: .* this program listens on 127\.0\.0\.1:{server.tcp}, which a "
                "successor cannot inherit"
            )
            self.assertEqual(server.over_tcp(), old)

    def test_endpoints_of_a_program(self) -> None:
        """Endpoints that the application's function opens, on the asyncio reactor as well."""
        tcp = free_port()
        server = Server(command=(sys.executable, "-u", "program.py"))
        server.write("program.py", PROGRAM.format(tcp=tcp))
        with server:
            first = server.serving(0)
            other = int(server.said(r"any port: (\d+)")[1])
            clients = [
                partial(socket.create_connection, ("127.0.0.1", each)) for each in (tcp, other)
            ]
            self.assertEqual([greeted(each()) for each in clients], [first] * 2)
            second = server.upgrade()
            self.assertEqual([greeted(each()) for each in clients], [second] * 2)
