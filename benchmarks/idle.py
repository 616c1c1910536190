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
        closed = sum(map(_ended, opened))
        if closed:
            raise Trouble(f"it closed {closed} of {len(opened)} connections")
    return (after - before) / (connections - WARM_UP)


async def _open(server: Server, stack: ExitStack, number: int) -> socket.socket:
    """A connection on which one request was answered."""
    connection = stack.enter_context(socket.socket())
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    connection.bind((f"127.0.0.{2 + number // PORTS}", 0))
    try:
        await asyncio.wait_for(_ask(connection, server.address), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError) as error:
        raise Trouble(f"connection {number} got no answer: {error!r}") from error
    return connection


async def _ask(connection: socket.socket, address: tuple[str, int]) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, address)
    await loop.sock_sendall(connection, REQUEST)
    answer = b""
    while not answer.endswith(HELLO):
        piece = await loop.sock_recv(connection, 4096)
        if not piece:
            raise ConnectionError("closed")
        answer += piece


def _ended(connection: socket.socket) -> bool:
    """Whether the server has closed a connection."""
    try:
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
