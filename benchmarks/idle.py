"""What an idle keep-alive connection costs a server in memory."""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack

from apps.answers import HELLO
from harness import Server, Trouble
from machine import resident

REQUEST = b"GET / HTTP/1.1\r\nHost: benchmark\r\n\r\n"

PORTS = 20_000
"""Connections from one source address; there are some 28,000 ports (ip(7)).

The first is 127.0.0.2, so that none of them takes the port of a server yet to come.
"""

WARM_UP = 100
"""Connections that are made before the first look at the memory, and stay open."""

ANSWER_TIMEOUT = 5.0
"""Seconds that an answer may take."""

IP_BIND_ADDRESS_NO_PORT = 24
"""Let connect(2) choose the port, which then must be free for this destination only (ip(7))."""


async def bytes_per_connection(server: Server, connections: int) -> float:
    """Open idle connections, each after one request, and see by how much the server grows.

    Args:
        server: fresh, so that it has no memory to use again.
        connections: how many, more than `WARM_UP`.

    Raises:
        Trouble: the server does not answer, or does not keep a connection open.
    """
    with ExitStack() as stack:
        opened = [await _open(server, stack, number) for number in range(WARM_UP)]
        before = resident(server.pid)
        opened += [await _open(server, stack, each) for each in range(WARM_UP, connections)]
        after = resident(server.pid)
        closed = sum(map(ended, opened))
        if closed:
            raise Trouble(f"it closed {closed} of {len(opened)} connections")
    return (after - before) / (connections - WARM_UP)


async def _open(server: Server, stack: ExitStack, number: int) -> socket.socket:
    connection = stack.enter_context(await connect(server.address, number))
    await ask(connection, REQUEST, HELLO)
    return connection


async def connect(address: tuple[str, int] | str, number: int) -> socket.socket:
    """A new connection, which is the caller's to close.

    Args:
        address: host and port, or the path of a UNIX socket.
        number: of this connection; there may be more than a single address has ports for.

    Raises:
        Trouble: there is none.
    """
    unix = isinstance(address, str)
    connection = socket.socket(socket.AF_UNIX if unix else socket.AF_INET)
    try:
        connection.setblocking(False)
        if not unix:
            connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
            connection.bind((f"127.0.0.{2 + number // PORTS}", 0))
        await asyncio.get_running_loop().sock_connect(connection, address)
    except OSError as error:
        connection.close()
        raise Trouble(f"cannot make connection {number}: {error!r}") from error
    return connection


async def ask(connection: socket.socket, request: bytes, end: bytes) -> bytes:
    """Send a request, and read its answer up to what it ends with.

    Raises:
        Trouble: there is none in time.
    """
    try:
        return await asyncio.wait_for(_ask(connection, request, end), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError) as error:
        raise Trouble(f"a connection got no answer: {error!r}") from error


async def _ask(connection: socket.socket, request: bytes, end: bytes) -> bytes:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(connection, request)
    answer = b""
    while not answer.endswith(end):
        piece = await loop.sock_recv(connection, 4096)
        if not piece:
            raise ConnectionError("closed")
        answer += piece
    return answer


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed a connection."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
