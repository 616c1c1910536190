"""What the access log costs, in microseconds of processor time for each request.

    python benchmarks/access_log.py

Whole requests are answered in memory, in turn by servers with a log and by one without, and
the difference is printed: alone in a loop, a line looks half as expensive as it is.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.web.resource import Resource

from twisted_graceful.http.log.access_log import BUFFER, FORMATS, AccessLog
from twisted_graceful.process.host.log_file import LogFile
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request

CONNECTIONS = 64
ROUNDS = 400
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CLIENTS = {
    "wrk": {},
    "browser": {"User-Agent": AGENT, "Referer": "http://localhost/index.html"},
    "forger": {"User-Agent": f'{AGENT}" 200 0 "', "Referer": "\\"},
}


class Hello(Resource):
    """A plain text."""

    isLeaf = True

    def render_GET(self, request: Any) -> bytes:
        """Say hello."""
        return b"Hello, world!\n"


class RealTime(Clock):
    """The time of day; nothing is called later, so that only full buffers are written."""

    def seconds(self) -> float:
        """Seconds since the epoch."""
        return time.time()


class Server:
    """A server with open connections.

    Args:
        format: of its access log; None for none.
        request: what each client sends.
        directory: where the log is.
        resources: closes it.
    """

    def __init__(
        self, format: str | None, request: bytes, directory: Path, resources: ExitStack
    ) -> None:
        clock = RealTime()
        self._server = MemoryServer(Hello(), clock)
        if format is not None:
            file = LogFile(str(directory / format), clock)
            resources.callback(file.close)
            self._server.site.access_log = AccessLog(format, clock, file.write, buffer=BUFFER)
        self._clients = [self._server.connect() for _ in range(CONNECTIONS)]
        self._connections = list(self._server.connections)
        self._request = request
        self.costs: list[float] = []

    def answer(self) -> None:
        """Answer a request on each connection, and note what one cost."""
        before = time.thread_time_ns()
        for connection in self._connections:
            connection.dataReceived(self._request)
        self.costs.append((time.thread_time_ns() - before) / 1000 / CONNECTIONS)
        for client in self._clients:
            client.take()


def measure(headers: dict[str, str], directory: Path) -> dict[str | None, float]:
    """Microseconds for one request, by the format of the log."""
    request = format_request("GET", "/hello?name=world", headers)
    with ExitStack() as resources:
        servers = {
            format: Server(format, request, directory, resources) for format in (None, *FORMATS)
        }
        for _ in range(ROUNDS):
            for server in servers.values():
                server.answer()
    return {format: statistics.median(server.costs) for format, server in servers.items()}


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as directory:
        for client, headers in CLIENTS.items():
            costs = measure(headers, Path(directory))
            for format in FORMATS:
                print(f"{client:10} {format:10} {costs[format] - costs[None]:6.2f} us")


if __name__ == "__main__":
    main()
