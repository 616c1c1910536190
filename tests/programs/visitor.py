"""Clients of a program that repeat nothing, and count what the server loses of theirs."""

from __future__ import annotations

import re
import select
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from urllib.parse import urlencode

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from ..integration.waiting import until

DEADLINE = 15.0
BOUNDARY = "a-boundary-that-no-file-contains"
GOING_AWAY = 1001
ENOUGH = 5
"""Failed visits after which a visitor gives up."""


class VisitFailed(Exception):
    """A request got no response, or the wrong one."""


class ServerStopped(Exception):
    """The server refuses a new connection, and the test has stopped it."""


@dataclass
class Tally:
    """What several visitors have seen.

    Attributes:
        requests: requests and WebSocket messages that were sent.
        failures: what was wrong with those that did not get the right response, and connections
            that were refused.
        closed: connections that the server closed without an announcement, which is
            ``Connection: close``, or a Close frame with the status 1001.
        announced: connections that the server closed with one.
    """

    requests: int = 0
    failures: list[str] = field(default_factory=list)
    closed: int = 0
    announced: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, requests: int = 0, closed: int = 0, announced: int = 0) -> None:
        """Count more of these."""
        with self._lock:
            self.requests += requests
            self.closed += closed
            self.announced += announced


@dataclass(frozen=True)
class Reply:
    """A response.

    Attributes:
        status: its status code.
        headers: its header fields.
        body: its body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body, decoded."""
        return self.body.decode()

    def find(self, pattern: str) -> str:
        """The first group of a pattern in the body.

        Raises:
            VisitFailed: it is not there.
        """
        found = re.search(pattern, self.text)
        if found is None:
            raise VisitFailed(f"{pattern!r} is not in {self.text[:200]!r}")
        return found[1]


class Visitor:
    """A client with a keep-alive connection, cookies, and a WebSocket if it asks for one.

    Args:
        port: of 127.0.0.1.
        tally: where it counts.
        stopped: set as soon as the test stops the server.
    """

    def __init__(self, port: int, tally: Tally, stopped: threading.Event) -> None:
        self.tally = tally
        self.stopped = stopped
        self.cookies: dict[str, str] = {}
        self._port = port
        self._http: HTTPConnection | None = None
        self._websockets: dict[str, ClientConnection] = {}
        self._resources = ExitStack()

    def close(self) -> None:
        """Close all connections."""
        self._drop()
        self._resources.close()

    def pause(self, seconds: float) -> None:
        """Do nothing, unless the test stops the server."""
        self.stopped.wait(seconds)

    # HTTP

    def ask(
        self,
        path: str,
        method: str = "GET",
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        status: int = 200,
        text: str = "",
    ) -> Reply:
        """Send a request, and check the response.

        Args:
            path: its target.
            method: its method.
            body: its body.
            headers: its header fields, beside cookies.
            status: the status that the response must have.
            text: what the body of the response must contain.

        Raises:
            ServerStopped: there is no server any more, as the test wants it.
            VisitFailed: no response came, or the wrong one.
        """
        connection = self._connection()
        fields = dict(headers or {})
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        self.tally.add(requests=1)
        try:
            connection.request(method, path, body, fields)
            response = connection.getresponse()
            reply = Reply(response.status, dict(response.getheaders()), response.read())
        except (OSError, HTTPException) as error:
            self._drop()
            raise VisitFailed(f"{method} {path}: {error!r}") from error
        if response.will_close:
            self.tally.add(announced=1)
            self._drop()
        self._keep_cookies(response)
        if reply.status != status or text.encode() not in reply.body:
            raise VisitFailed(f"{method} {path}: {reply.status} {reply.body[:200]!r}")
        return reply

    def form(self, path: str, fields: Mapping[str, str], **expected: object) -> Reply:
        """Send a form, as `ask` does."""
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        return self.ask(path, "POST", body=body, headers=headers, **expected)  # type: ignore[arg-type]

    def upload(
        self,
        path: str,
        fields: Mapping[str, str],
        file: bytes,
        *,
        field: str = "file",
        name: str = "numbers.txt",
        **expected: object,
    ) -> Reply:
        """Send a form with a file in the field ``file``, as `ask` does."""
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            for key, value in fields.items()
        ]
        head = (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        )
        body = "".join((*parts, head)).encode() + file + f"\r\n--{BOUNDARY}--\r\n".encode()
        headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
        return self.ask(path, "POST", body=body, headers=headers, **expected)  # type: ignore[arg-type]

    def _connection(self) -> HTTPConnection:
        if self._http is not None and self._http.sock is not None:
            if not select.select([self._http.sock], [], [], 0)[0]:
                return self._http
            self.tally.add(closed=1)  # nothing but its end can come when no request is open
            self._drop()
        self._http = HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        try:
            self._http.connect()
        except OSError as error:
            self._drop()
            raise self._refused(error) from error
        return self._http

    def _refused(self, error: Exception) -> Exception:
        if self.stopped.is_set():
            return ServerStopped()
        return VisitFailed(f"no connection: {error!r}")

    def _drop(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    def _keep_cookies(self, response: HTTPResponse) -> None:
        for each in response.headers.get_all("Set-Cookie", []):
            name, _, value = each.partition(";")[0].partition("=")
            self.cookies[name] = value

    # WebSockets

    def send(self, path: str, message: str, name: str = "") -> None:
        """Send a message to a WebSocket, which is opened if it is not open.

        Args:
            path: of the WebSocket.
            message: what is sent.
            name: of one of several WebSockets to the same path.

        Raises:
            ConnectionResetError: the server went away, with an announcement.
            ServerStopped: there is no server any more, as the test wants it.
            VisitFailed: the server went away without one.
        """
        key = path + name
        if key not in self._websockets:
            try:
                opened = connect(f"ws://127.0.0.1:{self._port}{path}", open_timeout=DEADLINE)
                self._websockets[key] = self._resources.enter_context(opened)
            except Exception as error:
                raise self._refused(error) from error
        self.tally.add(requests=1)
        try:
            self._websockets[key].send(message)
        except ConnectionClosed as error:
            self._gone(key, error)

    def receive(self, path: str, name: str = "", seconds: float = DEADLINE) -> str:
        """The next message of a WebSocket that is open; raises as `send` does.

        Raises:
            TimeoutError: none came in time.
        """
        key = path + name
        try:
            return str(self._websockets[key].recv(seconds))
        except ConnectionClosed as error:
            self._gone(key, error)

    def hang_up(self, path: str, name: str = "") -> None:
        """Close a WebSocket if it is open."""
        if (socket := self._websockets.pop(path + name, None)) is not None:
            socket.close()

    def _gone(self, key: str, error: ConnectionClosed) -> None:
        del self._websockets[key]
        if error.rcvd is None or error.rcvd.code != GOING_AWAY:
            self.tally.add(closed=1)
            raise VisitFailed(f"WebSocket {key}: {error!r}") from error
        self.tally.add(announced=1)
        raise ConnectionResetError("the server goes away")


Visit = Callable[[Visitor], None]


class Visitors:
    """Several visitors, each in a thread, that pay one visit after the other until it is over.

    Entering starts them. Leaving it waits for their end.

    Args:
        port: of 127.0.0.1.
        visit: what each does again and again.
        count: how many they are.
    """

    def __init__(self, port: int, visit: Visit, count: int = 3) -> None:
        self.tally = Tally()
        self._visit = visit
        self._stopped = threading.Event()
        self._left = threading.Event()
        self._rounds = [0] * count
        self._visitors = [Visitor(port, self.tally, self._stopped) for _ in range(count)]
        self._threads = [
            threading.Thread(target=self._run, args=(number,), daemon=True)
            for number in range(count)
        ]

    def __enter__(self) -> Visitors:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        for thread in self._threads:
            thread.join(2 * DEADLINE)

    def stop(self) -> None:
        """The test stops the server now: that it refuses a connection is right from now on."""
        self._stopped.set()

    def progress(self) -> None:
        """Wait until each has begun and ended a visit.

        Raises:
            AssertionError: a visit failed, or they take too long.
        """
        wanted = [done + 2 for done in self._rounds]

        def enough() -> bool:
            if self.tally.failures:
                raise AssertionError(self.tally)
            return all(done >= least for done, least in zip(self._rounds, wanted, strict=True))

        until(enough, "each visitor ends two visits", 30)

    def _run(self, number: int) -> None:
        visitor = self._visitors[number]
        failed = 0
        try:
            while failed < ENOUGH and not self._left.is_set():
                try:
                    self._visit(visitor)
                except VisitFailed as error:
                    self.tally.failures.append(str(error))
                    failed += 1
                self._rounds[number] += 1
        except ServerStopped:
            pass
        except Exception as error:
            self.tally.failures.append(repr(error))
        finally:
            visitor.close()
