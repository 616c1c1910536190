"""A load client that never retries, and counts what becomes of every request."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Iterable
from dataclasses import dataclass
from random import Random

from answer import Answer, read_answer
from exchanges import PIECE, Exchange, Kind, fast
from tally import Failed, Failure, Tally

ANSWER_TIMEOUT = 20.0
"""Seconds after which a request without its whole answer is lost."""

PAUSE_AFTER_FAILURE = 0.05
"""Seconds before the next request after a failed one, so that an outage is no busy loop."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Endpoint:
    """Where clients connect.

    Attributes:
        name: as the report has it.
        address: host and port, or the path of a UNIX socket.
        tls: with what to speak TLS; None for plain HTTP.
    """

    name: str
    address: tuple[str, int] | str
    tls: ssl.SSLContext | None = None

    async def connect(self) -> Streams:
        """A new connection.

        Raises:
            OSError: there is none.
        """
        if isinstance(self.address, str):
            return await asyncio.open_unix_connection(self.address, limit=PIECE)
        name = "localhost" if self.tls else None
        return await asyncio.open_connection(
            *self.address, ssl=self.tls, server_hostname=name, limit=PIECE
        )


@dataclass(frozen=True)
class Group:
    """Clients of one kind, at one endpoint.

    Attributes:
        kind: what they do.
        endpoint: where they connect.
        clients: how many they are.
    """

    kind: Kind
    endpoint: Endpoint
    clients: int

    @property
    def name(self) -> str:
        """As the report has it."""
        return f"{self.kind.name} {self.endpoint.name}"


class Client:
    """One client: makes an exchange, checks it, thinks, and so on.

    Args:
        group: it is one of these.
        number: that no other of them has.
        tally: where it counts.
        epoch: when the load began.
    """

    def __init__(self, group: Group, number: int, tally: Tally, epoch: float) -> None:
        self._kind = group.kind
        self._endpoint = group.endpoint
        self._name = f"{group.kind.name}-{group.endpoint.name}-{number}"
        self._group_name = group.name
        self._tally = tally
        self._epoch = epoch
        self._random = Random(self._name)
        self._streams: Streams | None = None
        self._open_answers = 0
        self._began = 0.0
        self._since = 0.0
        self._port = 0
        self._answered_by = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is under way by then is completed.

        A kept connection has a last request then, which tells whose it is.
        """
        number = 0
        try:
            await self._think()  # not all at once
            while not stop.is_set():
                number += 1
                await self._exchange(self._kind.make(self._random, f"{self._name}-{number}"))
                await self._think()
            if not self._kind.one_request:
                self._answered_by = 0
                await self._exchange(fast(self._random, f"{self._name}-last"))
                self._tally.last[self._answered_by] += 1
        finally:
            self._disconnect()

    async def _exchange(self, exchange: Exchange) -> None:
        self._began = time.monotonic()
        self._open_answers = len(exchange.expected)
        self._tally.requests += self._open_answers
        try:
            await asyncio.wait_for(self._carry_out(exchange), ANSWER_TIMEOUT)
        except asyncio.TimeoutError:
            self._fail("lost", f"no whole answer in {ANSWER_TIMEOUT:g} seconds")
        except Failed as failed:
            self._fail(failed.outcome, failed.detail)
        if self._open_answers:
            await asyncio.sleep(PAUSE_AFTER_FAILURE)

    async def _carry_out(self, exchange: Exchange) -> None:
        reused = self._still_open()
        reader, writer = reused or await self._connect()
        # Whether a close that nobody announced may have crossed our request on the way.
        may_race = reused is not None
        try:
            await _send(writer, exchange)
            for expected in exchange.expected:
                answer = await read_answer(reader, exchange.read_pause)
                self._check(answer, exchange, expected)
                may_race = False
                if answer.last or self._kind.one_request:
                    self._disconnect()
                    self._announced()
                    return
        except (EOFError, OSError) as error:
            raise _closed_early(error, may_race, time.monotonic() - self._began) from error

    def _still_open(self) -> Streams | None:
        """The connection, if there is one and its end has not been seen while it was idle.

        asyncio reads ahead, so its end is seen at once; there must be no `await` between
        this question and the sending of the request.
        """
        end = self._end()
        if end:
            self._tally.closes[end] += 1
            self._disconnect()
        return self._streams

    def _end(self) -> str:
        """How the connection has ended: ``rst`` or ``fin``; empty if it has not."""
        if self._streams is None:
            return ""
        reader = self._streams[0]
        if reader.exception() is not None:
            return "rst"
        return "fin" if reader.at_eof() else ""

    async def _connect(self) -> Streams:
        self._tally.connections += 1
        self._since, self._port = time.monotonic(), 0
        try:
            self._streams = await self._endpoint.connect()
        except (ConnectionRefusedError, FileNotFoundError) as error:
            raise Failed("refused", str(error)) from error
        except ConnectionResetError as error:
            raise Failed("reset", f"while connecting: {error}") from error
        except OSError as error:
            raise Failed("lost", f"while connecting: {error}") from error
        # A slow reader is slow for the server only if the kernel does not read ahead.
        connection: socket.socket = self._streams[1].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        if connection.family == socket.AF_INET:
            self._port = connection.getsockname()[1]
        return self._streams

    def _check(self, answer: Answer, exchange: Exchange, expected: bytes) -> None:
        if answer.status != 200 or not exchange.is_right(answer.body, expected):
            raise Failed(
                "wrong",
                f"status {answer.status}, {len(answer.body)} bytes {answer.body[:40]!r}, "
                f"expected {len(expected)} bytes {expected[:40]!r}",
            )
        now = time.monotonic()
        self._open_answers -= 1
        self._tally.answers.append((now - self._epoch, now - self._began))
        if "x-pid" in answer.fields:
            self._answered_by = int(answer.fields["x-pid"])
            self._tally.generations.add(self._answered_by)

    def _announced(self) -> None:
        if self._kind.one_request:
            return  # it was the client who asked for the close
        self._tally.closes["announced"] += 1
        if self._open_answers:
            self._tally.unprocessed += self._open_answers
            raise Failed("lost", "behind an answer that announced the close")

    def _fail(self, outcome: str, detail: str) -> None:
        """Count the request that was waited for, and as lost those behind it."""
        if self._end() and not self._kind.one_request:
            self._tally.closes["broken"] += 1
        self._disconnect()
        self._record(outcome, detail)
        for _ in range(self._open_answers - 1):
            self._record("lost", f"pipelined behind a request that failed: {outcome}")

    def _record(self, outcome: str, detail: str) -> None:
        times = (self._began, time.monotonic(), self._since)
        began, at, since = (round(each - self._epoch, 3) for each in times)
        self._tally.outcomes[outcome] += 1
        self._tally.failures.append(
            Failure(began, at, self._group_name, outcome, detail, since, self._port)
        )

    async def _think(self) -> None:
        await asyncio.sleep(self._random.uniform(*self._kind.think))

    def _disconnect(self) -> None:
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()


def _closed_early(error: Exception, may_race: bool, age: float) -> Failed:
    """What it means that a connection ended before the first byte of an answer."""
    detail = f"{str(error) or 'EOF'} before the answer, {age:.3f} s after the request was begun"
    if may_race:
        return Failed("racing", f"{detail}, on a connection that had been idle")
    return Failed("reset" if isinstance(error, OSError) else "lost", detail)


async def _send(writer: asyncio.StreamWriter, exchange: Exchange) -> None:
    for number, piece in enumerate(exchange.pieces):
        if number and exchange.send_pause:
            await asyncio.sleep(exchange.send_pause)
        writer.write(piece)
        await writer.drain()


class Load:
    """All clients, at work from `start` to `stop`.

    Args:
        groups: of clients.

    Attributes:
        tallies: what became of the requests, by the name of the group; of those with clients.
        epoch: when it was started, in seconds of the monotonic clock.
        lag: the longest time in seconds by which this process itself was late.
    """

    def __init__(self, groups: Iterable[Group]) -> None:
        self._groups = [group for group in groups if group.clients]
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.tallies = {group.name: Tally(group.clients) for group in self._groups}
        self.epoch = 0.0
        self.lag = 0.0

    def start(self) -> None:
        """Let all clients begin."""
        self.epoch = time.monotonic()
        self._tasks = [
            asyncio.ensure_future(
                Client(group, number, self.tallies[group.name], self.epoch).run(self._stop)
            )
            for group in self._groups
            for number in range(group.clients)
        ]
        self._tasks.append(asyncio.ensure_future(self._measure_lag()))

    def stop(self) -> None:
        """Let all clients complete what they do, and begin nothing more."""
        self._stop.set()

    async def stopped(self) -> None:
        """Wait until all clients have."""
        await asyncio.gather(*self._tasks)

    async def _measure_lag(self) -> None:
        interval = 0.01
        while not self._stop.is_set():
            before = time.monotonic()
            await asyncio.sleep(interval)
            self.lag = max(self.lag, time.monotonic() - before - interval)
