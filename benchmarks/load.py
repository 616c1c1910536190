"""A load client that never retries, and counts what becomes of every request."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random

FAILURES = ("refused", "reset", "lost", "truncated", "wrong", "racing")
"""What can become of a request that is not answered as it must be."""

ANSWER_TIMEOUT = 20.0
"""Seconds after which a request without its whole answer is lost."""

PAUSE_AFTER_FAILURE = 0.05
"""Seconds before the next request after a failed one, so that an outage is no busy loop."""

PIECE = 64 * 1024
"""Bytes that a slow reader takes at a time; also the most that it has the kernel buffer."""

DOWNLOAD = b"".join(b"%01023d\n" % line for line in range(16 * 1024))
"""The large answer, 16 MiB of numbered lines, so that a missing or repeated part is seen.

Several times what the kernel buffers for a sender (4 MiB, tcp_wmem in tcp(7)): most of the
time the server itself must be there.
"""


# What is sent, and what must come back


@dataclass(frozen=True)
class Exchange:
    """One request, or a pipelined batch of them.

    Attributes:
        pieces: the bytes to send; there is a pause after each but the last.
        expected: the content of each answer, in order.
        send_pause: seconds between pieces.
        read_pause: seconds that the client rests after every `PIECE` of an answer.
    """

    pieces: Sequence[bytes]
    expected: Sequence[bytes]
    send_pause: float = 0.0
    read_pause: float = 0.0


Make = Callable[[Random, str], Exchange]
"""Makes an exchange from a source of chance and a name that no other exchange has."""


@dataclass(frozen=True)
class Kind:
    """A kind of client.

    Attributes:
        name: as the report has it.
        clients: how many there are by default.
        make: makes its exchanges.
        think: seconds between two exchanges, at least and at most.
        one_request: whether each request gets a connection of its own.
    """

    name: str
    clients: int
    make: Make
    think: tuple[float, float]
    one_request: bool = False


def _get(path: str, *fields: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: benchmark", *fields, "", ""]).encode()


def _fast(random: Random, name: str) -> Exchange:
    return Exchange([_get(f"/fast/{name}")], [name.encode()])


def _one_request(random: Random, name: str) -> Exchange:
    return Exchange([_get(f"/fast/{name}", "Connection: close")], [name.encode()])


def _slow(random: Random, name: str) -> Exchange:
    return Exchange([_get(f"/slow/{random.uniform(0.3, 1.0):.3f}/{name}")], [name.encode()])


def _upload(random: Random, name: str) -> Exchange:
    """About one second of upload, in ten pieces."""
    parts = [random.randbytes(6000) for _ in range(10)]
    body = b"".join(parts)
    head = f"POST /upload HTTP/1.1\r\nHost: benchmark\r\nContent-Length: {len(body)}\r\n\r\n"
    return Exchange(
        [head.encode(), *parts],
        [hashlib.sha256(body).hexdigest().encode()],
        send_pause=0.1,
    )


def _download(random: Random, name: str) -> Exchange:
    """About two seconds of download."""
    return Exchange([_get("/download")], [DOWNLOAD], read_pause=2.0 * PIECE / len(DOWNLOAD))


def _pipelined(random: Random, name: str) -> Exchange:
    """Five requests in one send; two answers take a moment, so that a drain begins amid them."""
    names = [f"{name}.{number}" for number in range(5)]
    paths = [
        f"/slow/0.030/{each}" if number % 2 else f"/fast/{each}"
        for number, each in enumerate(names)
    ]
    return Exchange([b"".join(map(_get, paths))], [each.encode() for each in names])


KINDS = (
    Kind("keep-alive", 16, _fast, think=(0.005, 0.055)),
    Kind("one-request", 8, _one_request, think=(0.005, 0.095), one_request=True),
    Kind("slow-answer", 4, _slow, think=(0.0, 0.1)),
    Kind("upload", 4, _upload, think=(0.0, 0.1)),
    Kind("download", 2, _download, think=(0.0, 0.1)),
    Kind("pipelined", 4, _pipelined, think=(0.0, 0.05)),
    # Idle for longer than a drain keeps an idle connection: such a connection is closed
    # without an announcement, and that can race the next request. None by default.
    Kind("resting", 0, _fast, think=(1.0, 6.0)),
)


# What became of it


class Failed(Exception):
    """A request did not get the answer that it must get.

    Args:
        outcome: one of `FAILURES`.
        detail: what was seen, in words.
    """

    def __init__(self, outcome: str, detail: str) -> None:
        super().__init__(outcome, detail)
        self.outcome = outcome
        self.detail = detail


@dataclass(frozen=True)
class Failure:
    """A failed request, for the report.

    Attributes:
        at: seconds since the load began.
        kind: of its client.
        outcome: one of `FAILURES`.
        detail: what was seen, in words.
    """

    at: float
    kind: str
    outcome: str
    detail: str


@dataclass
class Tally:
    """What became of the requests of one kind of client, or of all.

    Attributes:
        clients: how many made them.
        requests: sent, or tried to send.
        outcomes: how many of them failed, by outcome.
        unprocessed: pipelined requests behind an answer that announced a close; they
            are lost too.
        announced: keep-alive connections whose close was announced by an answer.
        idle: keep-alive connections closed while no request was under way.
        answers: when each right answer was complete, and after how long, in seconds.
        generations: the pids that the answers named.
        failures: one entry for each failed request.
    """

    clients: int = 0
    requests: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    unprocessed: int = 0
    announced: int = 0
    idle: int = 0
    answers: list[tuple[float, float]] = field(default_factory=list)
    generations: set[int] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """All tallies together."""
        total = cls()
        for each in tallies:
            total.clients += each.clients
            total.requests += each.requests
            total.outcomes += each.outcomes
            total.unprocessed += each.unprocessed
            total.announced += each.announced
            total.idle += each.idle
            total.answers += each.answers
            total.generations |= each.generations
            total.failures += each.failures
        total.answers.sort()
        total.failures.sort(key=lambda failure: failure.at)
        return total

    def summary(self) -> dict[str, float]:
        """The numbers of the report; times in milliseconds."""
        latencies = sorted(latency for _, latency in self.answers)
        return {
            "clients": self.clients,
            "requests": self.requests,
            "answered": len(self.answers),
            **{outcome: self.outcomes[outcome] for outcome in FAILURES},
            "unprocessed": self.unprocessed,
            "announced": self.announced,
            "idle": self.idle,
            "p50": _milliseconds(_percentile(latencies, 0.5)),
            "p99": _milliseconds(_percentile(latencies, 0.99)),
            "p99.9": _milliseconds(_percentile(latencies, 0.999)),
            "max": _milliseconds(_percentile(latencies, 1.0)),
            "gap": _milliseconds(self._longest_gap()),
        }

    def _longest_gap(self) -> float:
        times = (at for at, _ in self.answers)
        return max((after - before for before, after in pairwise(times)), default=0.0)


def _percentile(ascending: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    if not ascending:
        return 0.0
    rank = -int(-share * len(ascending) // 1)  # rounded up
    return ascending[max(rank, 1) - 1]


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)


# The answer


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, complete.

    Attributes:
        status: of its status line.
        fields: its header fields, names in lower case.
        body: its content.
    """

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def last(self) -> bool:
        """Whether the server announces that it closes the connection after this answer."""
        return "close" in self.fields.get("connection", "").lower().split(", ")


async def read_answer(reader: asyncio.StreamReader, pause: float) -> Answer:
    """Read one answer, whose length must be given by Content-Length.

    Args:
        reader: where it comes from.
        pause: seconds to rest after every `PIECE` of the body.

    Raises:
        EOFError, ConnectionError: the connection ended before the first byte.
        Failed: the answer is incomplete, or is none.
    """
    first = await reader.read(1)
    if not first:
        raise EOFError
    try:
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status_line, *lines = head[:-4].split("\r\n")
        fields = dict(map(_field, lines))
        version, status = status_line.split(" ")[:2]
        if version != "HTTP/1.1":
            raise ValueError(status_line)
        body = await _read_body(reader, int(fields["content-length"]), pause)
        return Answer(int(status), fields, body)
    except asyncio.IncompleteReadError as error:
        raise Failed("truncated", f"EOF after {len(error.partial)} bytes of a part") from error
    except ConnectionError as error:
        raise Failed("reset", f"in the middle of an answer: {error}") from error
    except (ValueError, KeyError, asyncio.LimitOverrunError) as error:
        raise Failed("wrong", f"no HTTP answer: {error!r}") from error


def _field(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.lower(), value.strip()


async def _read_body(reader: asyncio.StreamReader, length: int, pause: float) -> bytes:
    if not pause:
        return await reader.readexactly(length)
    body = bytearray()
    while len(body) < length:
        body += await reader.readexactly(min(PIECE, length - len(body)))
        await asyncio.sleep(pause)
    return bytes(body)


# The client


class Client:
    """One client: makes an exchange, checks it, thinks, and so on.

    Args:
        kind: what it does.
        name: that no other client has.
        address: host and port of the server.
        tally: where it counts.
        epoch: when the load began.
    """

    def __init__(
        self, kind: Kind, name: str, address: tuple[str, int], tally: Tally, epoch: float
    ) -> None:
        self._kind = kind
        self._name = name
        self._address = address
        self._tally = tally
        self._epoch = epoch
        self._random = Random(name)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._open_answers = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Work until told to stop; what is under way by then is completed."""
        number = 0
        try:
            await self._think()  # not all at once
            while not stop.is_set():
                number += 1
                await self._exchange(self._kind.make(self._random, f"{self._name}-{number}"))
                await self._think()
        finally:
            self._disconnect()

    async def _exchange(self, exchange: Exchange) -> None:
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
        began = time.monotonic()
        reused = self._still_open()
        reader, writer = reused or await self._connect()
        # Whether a close that nobody announced may have crossed our request on the way.
        may_race = reused is not None
        try:
            await _send(writer, exchange)
            for expected in exchange.expected:
                answer = await read_answer(reader, exchange.read_pause)
                self._check(answer, expected, began)
                may_race = False
                if answer.last or self._kind.one_request:
                    self._disconnect()
                    self._announced()
                    return
        except (EOFError, ConnectionError) as error:
            raise _closed_early(error, may_race, time.monotonic() - began) from error

    def _still_open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """The connection, if there is one and its end has not been seen while it was idle.

        asyncio reads ahead, so its end is seen at once; there must be no `await` between
        this question and the sending of the request.
        """
        if self._streams is not None:
            reader = self._streams[0]
            if reader.at_eof() or reader.exception() is not None:
                self._tally.idle += 1
                self._disconnect()
        return self._streams

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            self._streams = await asyncio.open_connection(*self._address, limit=PIECE)
        except ConnectionRefusedError as error:
            raise Failed("refused", str(error)) from error
        except ConnectionResetError as error:
            raise Failed("reset", f"while connecting: {error}") from error
        except OSError as error:
            raise Failed("lost", f"while connecting: {error}") from error
        # A slow reader is slow for the server only if the kernel does not read ahead.
        connection: socket.socket = self._streams[1].get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)
        return self._streams

    def _check(self, answer: Answer, expected: bytes, began: float) -> None:
        if answer.status != 200 or answer.body != expected:
            raise Failed(
                "wrong",
                f"status {answer.status}, {len(answer.body)} bytes {answer.body[:40]!r}, "
                f"expected {len(expected)} bytes {expected[:40]!r}",
            )
        now = time.monotonic()
        self._open_answers -= 1
        self._tally.answers.append((now, now - began))
        if "x-pid" in answer.fields:
            self._tally.generations.add(int(answer.fields["x-pid"]))

    def _announced(self) -> None:
        if self._kind.one_request:
            return  # it was the client who asked for the close
        self._tally.announced += 1
        if self._open_answers:
            self._tally.unprocessed += self._open_answers
            raise Failed("lost", "behind an answer that announced the close")

    def _fail(self, outcome: str, detail: str) -> None:
        """Count the request that was waited for, and as lost those behind it."""
        self._disconnect()
        self._record(outcome, detail)
        for _ in range(self._open_answers - 1):
            self._record("lost", f"pipelined behind a request that failed: {outcome}")

    def _record(self, outcome: str, detail: str) -> None:
        at = round(time.monotonic() - self._epoch, 3)
        self._tally.outcomes[outcome] += 1
        self._tally.failures.append(Failure(at, self._kind.name, outcome, detail))

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
    return Failed("reset" if isinstance(error, ConnectionError) else "lost", detail)


async def _send(writer: asyncio.StreamWriter, exchange: Exchange) -> None:
    for number, piece in enumerate(exchange.pieces):
        if number and exchange.send_pause:
            await asyncio.sleep(exchange.send_pause)
        writer.write(piece)
        await writer.drain()


class Load:
    """All clients, at work from `start` to `stop`.

    Args:
        address: host and port of the server.
        clients: how many of each kind, by its name.

    Attributes:
        tallies: what became of the requests, by kind; of kinds that have clients.
        epoch: when it was started, in seconds of the monotonic clock.
        lag: the longest time in seconds by which this process itself was late.
    """

    def __init__(self, address: tuple[str, int], clients: dict[str, int]) -> None:
        self._address = address
        self._kinds = [kind for kind in KINDS if clients[kind.name]]
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.tallies = {kind.name: Tally(clients[kind.name]) for kind in self._kinds}
        self.epoch = 0.0
        self.lag = 0.0

    def start(self) -> None:
        """Let all clients begin."""
        self.epoch = time.monotonic()
        self._tasks = [
            asyncio.ensure_future(
                Client(kind, f"{kind.name}-{number}", self._address, tally, self.epoch).run(
                    self._stop
                )
            )
            for kind in self._kinds
            for tally in [self.tallies[kind.name]]
            for number in range(tally.clients)
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
