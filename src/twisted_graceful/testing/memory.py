"""A server in memory: no reactor, no ports, no waiting."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.web.resource import IResource

from ..app.conversion import as_resource
from ..config.settings import Settings
from ..errors import AppError
from ..handover_interface import Departure, HandedConnection
from ..http.handover import HandoverQueue
from ..http.io.transport import GatheringServer
from ..http.log.access_log import AccessLog
from ..http.log.drain_report import DrainReport
from ..http.proxy_header_reader import behind_proxies
from ..http.registry import ConnectionRegistry
from ..http.site import Site
from .http_messages import Response, format_request, take_response
from .memory_transport import MemoryReactor, MemorySocket


class MemoryServer:
    """A site whose connections are byte strings, and whose clock the test advances.

    It behaves like a real server, including drains. What needs a reactor cannot be served: WSGI
    applications, and pull producers such as `twisted.web.static.File`.

    Args:
        app: an `IResource`; a Klein app; a class or function without arguments that
            returns one of these at once.
        clock: the time; None for a clock of its own.
        settings: the fields of `Settings`, by name.

    Attributes:
        access_log: the lines of the access log, if the setting of that name has a value; no
            file is written.
        kernels: the sockets of its connections, by number.
        clock: the time; `advance` moves it as it passes for a real server.
        site: what makes and keeps the connections.

    Raises:
        AppError: this cannot be served in memory.
        SettingsError: a setting is out of range.
    """

    def __init__(self, app: object, clock: Clock | None = None, **settings: Any) -> None:
        resource = as_resource(app, _no_wsgi)
        if isinstance(resource, Deferred):
            raise AppError(f"{app!r} is not ready at once: use `serve`")
        self.clock = Clock() if clock is None else clock
        self.settings = Settings(**settings)
        self.access_log: list[str] = []
        log = None
        if self.settings.access_log:
            log = AccessLog(self.settings.access_log_format, self.clock, self._keep_line)
        self.site = Site(resource, settings=self.settings, reactor=self.clock, access_log=log)
        self.kernels: dict[int, MemorySocket] = {}
        self._successor: MemoryServer | None = None
        self._reactor = MemoryReactor(self.clock)
        self._port = behind_proxies(self.site, self.site, self._reactor.transport)

    def _keep_line(self, line: bytes) -> None:
        self.access_log.append(line.decode("ascii"))

    @property
    def connections(self) -> ConnectionRegistry:
        """The registry of the site; its drain can be resumed and cut there."""
        return self.site.connections

    def connect(self) -> MemoryConnection:
        """A client connects, and sends nothing yet.

        Raises:
            ConnectionRefusedError: the server drains.
        """
        if not self.connections.accepts_clients:
            raise ConnectionRefusedError("the server drains")
        kernel = MemorySocket()
        self.kernels[kernel.number] = kernel
        self._reactor.begin(kernel, *self._port)
        return MemoryConnection(self, kernel)

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Whether a connection of another server can go on here."""
        return self._port[1].can_restore(json.loads(handed.facts))

    def take_up(self, handed: HandedConnection, kernel: MemorySocket) -> None:
        """Go on with a connection of another server."""
        self.kernels[kernel.number] = kernel
        transport = self._port[1]
        facts = json.loads(handed.facts)

        def made(*args: Any) -> GatheringServer:
            begun = transport(*args)
            begun.restore(facts)
            return begun

        self._reactor.begin(kernel, self.site, made).attach(handed)

    def get(self, path: str) -> Response:
        """Ask for a resource, on a connection of its own.

        Raises:
            AssertionError: it was not answered at once.
        """
        return self.request("GET", path)

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """Send a request on a connection of its own, and take the answer.

        Raises:
            AssertionError: it was not answered at once; for an answer that takes its time,
                use `connect`, and move the clock.
        """
        client = self.connect()
        client.request(method, path, headers, body)
        responses = client.responses()
        client.close()
        if not responses:
            raise AssertionError(
                f"{method} {path} was not answered at once: use connect(), and advance() the clock"
            )
        return responses[0]

    def advance(self, seconds: float) -> None:
        """Let time pass: each timer runs at its own time, and what it sends arrives."""
        until = self.clock.seconds() + seconds
        while True:
            self.turn()
            due = min((call.getTime() for call in self.clock.getDelayedCalls()), default=until)
            if due >= until:
                break
            self.clock.advance(due - self.clock.seconds())
        self.clock.advance(until - self.clock.seconds())
        self.turn()

    def announce_stop(self) -> None:
        """Let readiness be false, as it is in the shutdown delay; `drain` ends that."""
        self.site.stopping = True
        self.connections.announce()

    def drain(self) -> Deferred[DrainReport]:
        """Begin to drain.

        Returns:
            A Deferred that fires with the report when the drain is over.
        """
        return self.connections.drain()

    def stop(self) -> DrainReport:
        """Drain, with as much time as that takes.

        Raises:
            AssertionError: the drain had no end.
        """
        reports: list[DrainReport] = []
        self.drain().addCallback(reports.append)
        # At the deadline a last close may begin, and each timer may be late by a rounding.
        self.advance(self.settings.drain_timeout + self.settings.linger_timeout + 0.001)
        if not reports:
            raise AssertionError("the drain did not end with its deadline")
        return reports[0]

    def hand_over(self, successor: MemoryServer) -> Deferred[DrainReport]:
        """Begin to drain, and hand over to another server all connections that can move.

        Their clients are served by it from then on.

        Args:
            successor: a server with the same clock.

        Returns:
            A Deferred that fires with the report when the drain is over.
        """
        self._successor = successor
        return self.connections.drain(HandoverQueue(self.clock, _Link(self, successor)))

    def turn(self) -> None:
        """Read and send all that can be; done before a connection is looked at."""
        self._reactor.run()
        if self._successor is not None:
            self._successor.turn()


class MemoryConnection:
    """A connection to a `MemoryServer`, as its client sees it."""

    def __init__(self, server: MemoryServer, kernel: MemorySocket) -> None:
        self._server = server
        self._kernel = kernel
        self._methods: list[str] = []

    # What the client does

    def send(self, data: bytes) -> None:
        """Send bytes, which the server reads."""
        self.arrive(data)
        self._server.turn()

    def arrive(self, data: bytes) -> None:
        """Send bytes, which the server has not read yet: they wait in its kernel."""
        self._kernel.inbox += data

    def request(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
    ) -> None:
        """Send a request; `responses` has the answer when it is complete."""
        self._methods.append(method)
        self.send(format_request(method, path, headers, body))

    def finish(self) -> None:
        """Send nothing more, and go on to read: a half-close."""
        self._kernel.client_finished = True
        self._server.turn()

    def close(self) -> None:
        """Close; what the server sends from now on is answered by a reset."""
        self._kernel.client_gone = True
        self.finish()

    def abort(self) -> None:
        """Reset the connection."""
        self._kernel.client_reset = True
        self.close()

    @property
    def reading(self) -> bool:
        """Whether the client reads.

        Set it to False, and the server can send as much as the kernel takes, and then
        has to wait.
        """
        return self._kernel.client_reads

    @reading.setter
    def reading(self, reads: bool) -> None:
        self._kernel.let_client_read(reads)

    def take_some(self, size: int) -> bytes:
        """Read this many bytes of what is there; for a client that does not read on its own."""
        taken = bytes(self._kernel.outbox[:size])
        del self._kernel.outbox[:size]
        self._server.turn()
        return taken

    # What the client sees

    @property
    def received(self) -> bytes:
        """What has been read, and not taken."""
        self._server.turn()
        return bytes(self._kernel.received)

    def take(self) -> bytes:
        """What has been read; the next look begins after it."""
        received = self.received
        self._kernel.received.clear()
        return received

    def responses(self) -> list[Response]:
        """Take the answers that are complete; what follows them stays in `received`."""
        responses = []
        ended = self.ended
        while self._kernel.received:
            method = self._methods[0] if self._methods else "GET"
            response = take_response(self._kernel.received, method, ended=ended)
            if response is None:
                break
            del self._methods[:1]
            responses.append(response)
        return responses

    @property
    def ended(self) -> bool:
        """Whether the server's FIN has been read."""
        self._server.turn()
        return self._kernel.server_finished and not self._kernel.outbox and not self.reset

    @property
    def closed(self) -> bool:
        """Whether the server has closed the connection, in whatever way."""
        self._server.turn()
        return self._kernel.closed

    @property
    def reset(self) -> bool:
        """Whether the server has reset the connection, so that answers may be lost."""
        self._server.turn()
        return self._kernel.reset


class _Link:
    """Carries connections from one server in memory to another."""

    is_open = True
    room = sys.maxsize

    def __init__(self, sender: MemoryServer, receiver: MemoryServer) -> None:
        self._sender = sender
        self._receiver = receiver

    def call_when_room(self, call: Callable[[], None]) -> None:
        """There always is."""

    def send(self, departures: list[Departure]) -> None:
        for each in departures:
            kernel = self._sender.kernels.pop(each.handed.descriptor)
            if self._receiver.can_take_up(each.handed):
                kernel.owners += 1  # a duplicate of the descriptor
                each.release()
                self._receiver.take_up(each.handed, kernel)
            else:
                self._sender.kernels[kernel.number] = kernel
                each.take_back()


def _no_wsgi(app: object) -> IResource:
    raise AppError(f"{app!r} is a WSGI application, which needs threads: use `serve`")
