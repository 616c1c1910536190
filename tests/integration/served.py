"""The application that the tests serve; each test has a copy of it, ``app.py``, of its own.

A gate is a path that is answered when the test creates a file. So a test says itself how
long a request takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory

from twisted_graceful import draining, is_ready

VERSION = "1"
HERE = Path(__file__).parent
kept: list[bytes] = []

LIST_INHERITED = """\
import os
print("descriptors", sorted(int(fd) for fd in os.listdir("/proc/self/fd"))[:-1])
print("variables", sorted(name for name in os.environ if "GRACEFUL_INH" in name))
"""


def say(word: str) -> None:
    """Tell the test something: create an empty file."""
    (HERE / word).touch()


async def gate(name: str) -> None:
    """Wait until the test opens a gate."""
    from twisted.internet import reactor

    say(f"{name}.begun")
    while not (HERE / f"{name}.open").exists():
        await deferLater(reactor, 0.02)


class Root(Resource):
    """Everything that the tests ask for."""

    isLeaf = True

    def render(self, request: Any) -> Any:
        """Answer by the first segment of the path."""
        segments = [each.decode() for each in request.postpath if each]
        if not segments:
            return VERSION.encode()
        if segments[0] == "socket":
            from twisted.web.websocket import WebSocketResource  # which older Twisteds lack

            return WebSocketResource(Socket()).render(request)
        answer = Deferred.fromCoroutine(getattr(self, f"do_{segments[0]}")(request, *segments[1:]))
        answer.addCallback(self._finish, request)
        answer.addErrback(lambda failure: None)  # the client has gone, as some tests want
        return NOT_DONE_YET

    def _finish(self, body: str, request: Any) -> None:
        request.write(body.encode())
        request.finish()

    async def do_pid(self, request: Any) -> str:
        """Which process answers."""
        return str(os.getpid())

    async def do_client(self, request: Any) -> str:
        """Who asks, and at which URL."""
        return f"{request.getClientAddress().host} {request.prePathURL().decode()}"

    async def do_gate(self, request: Any, name: str) -> str:
        """A slow answer."""
        draining(request).addCallback(lambda _: say(f"{name}.draining"))
        await gate(name)
        return VERSION

    async def do_stream(self, request: Any, name: str) -> str:
        """A chunked answer of which one half comes at once."""
        request.write(b"begin ")
        await gate(name)
        return "end"

    async def do_watched(self, request: Any, name: str) -> str:
        """An answer that the test never lets out, and that tells when nobody waits for it."""
        request.notifyFinish().addErrback(lambda failure: say(f"{name}.{failure.type.__name__}"))
        await gate(name)
        return "never"

    async def do_events(self, request: Any) -> str:
        """An event stream that ends in its own words."""
        request.setHeader(b"Content-Type", b"text/event-stream")
        request.write(b"data: hello\n\n")
        await draining(request)
        return "data: bye\n\n"

    async def do_ready(self, request: Any) -> str:
        """Whether this service wants more, in the way of Kubernetes."""
        ready = is_ready(request)
        request.setResponseCode(200 if ready else 503)
        return str(ready)

    async def do_upload(self, request: Any) -> str:
        """What arrived of an upload."""
        return hashlib.sha256(request.content.read()).hexdigest()

    async def do_large(self, request: Any, size: str) -> str:
        """An answer of this many bytes."""
        return "x" * int(size)

    async def do_block(self, request: Any) -> str:
        """A call that does not return, and lets the reactor do nothing else."""
        say("blocked")
        time.sleep(600)
        return "never"

    async def do_fault(self, request: Any) -> str:
        """The fault of a library that is not written in Python."""
        ctypes.string_at(0)
        return "never"

    async def do_garbage(self, request: Any) -> str:
        """What no process should do: write to a descriptor that is not its own."""
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as found:
                if found.family == socket.AF_UNIX:  # the control channel
                    found.send(b"\xff" * 4)
        return str(os.getpid())

    async def do_grow(self, request: Any, mebibytes: str) -> str:
        """Keep so much more memory."""
        kept.append(b"x" * (int(mebibytes) << 20))
        return str(os.getpid())

    async def do_inherited(self, request: Any) -> str:
        """What a process that the application starts inherits."""
        return subprocess.run(
            [sys.executable, "-c", LIST_INHERITED],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            close_fds=False,
        ).stdout

    async def do_orphan(self, request: Any) -> str:
        """A process whose parent ends before it."""
        file = HERE / "orphan.ended"
        subprocess.run(["sh", "-c", f"(sleep 0.1; : > {file}) > /dev/null 2>&1 &"], check=True)
        return "left alone"

    async def do_descriptors(self, request: Any, limit: str) -> str:
        """Set how many descriptors this process may have."""
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (int(limit), hard))
        return limit


class Socket:
    """A WebSocket that sends back what it gets, and takes its leave if it is asked to."""

    def __init__(self, request: Any = None) -> None:
        self.request = request

    def buildProtocol(self, request: Any) -> Any:
        """Each connection has one of its own."""
        return Socket(request)

    def negotiationStarted(self, transport: Any) -> None:
        """The transport is there."""
        self.transport = transport

    def negotiationFinished(self) -> None:
        """The WebSocket is open."""

    def textMessageReceived(self, message: str) -> None:
        """A message arrived."""
        if message == "take your leave":
            draining(self.request).addCallback(self._goodbye)
        self.transport.sendTextMessage(message)

    def bytesMessageReceived(self, data: bytes) -> None:
        """A message arrived."""
        self.transport.sendBytesMessage(bytes(data))

    def _goodbye(self, _: object) -> None:
        self.transport.sendTextMessage("goodbye")
        self.transport.loseConnection()

    def pongReceived(self, payload: bytes) -> None:
        """A pong arrived."""

    def connectionLost(self, reason: Any) -> None:
        """The connection is gone."""


resource = Root()
compressed = EncodingResourceWrapper(Root(), [GzipEncoderFactory()])


class Other(Resource):
    """Another application."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        """Say which one this is."""
        return b"other"


async def slow_factory() -> Resource:
    """An application that takes its time until it is ready."""
    await gate("factory")
    return Root()


async def failing_factory() -> Resource:
    """An application that will never be ready."""
    raise RuntimeError("the factory is closed")


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application with gates; nobody opens the one of a request that hangs."""
    name = environ["PATH_INFO"].rpartition("/")[2]
    if name:
        say(f"{name}.begun")
        while not (HERE / f"{name}.open").exists():
            time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [VERSION.encode()]


def wsgi_client(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI application that says who asks, and at which scheme and port."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("REMOTE_ADDR", "wsgi.url_scheme", "SERVER_PORT")
    return [" ".join(environ[name] for name in names).encode()]
