"""What a line of the access log costs, in microseconds: from `Site.log` to the file.

python benchmarks/access_log.py
"""

from __future__ import annotations

import tempfile
import time
import timeit
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful.http.access_log import FORMATS, AccessLog
from twisted_graceful.process.log_file import LogFile
from twisted_graceful.testing import MemoryServer

LINES = 2000
REPEAT = 200
AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"
CLIENTS = {
    "wrk": {},
    "browser": {"User-Agent": AGENT, "Referer": "http://localhost/index.html"},
    "forger": {"User-Agent": f'{AGENT}" 200 0 "', "Referer": "\\"},
}


class Held(Resource):
    """Keeps the request."""

    isLeaf = True

    def render_GET(self, request: Any) -> int:
        """Keep it."""
        self.request = request
        return NOT_DONE_YET


class RealTime(Clock):
    """The time of day; nothing is called later, so that only full buffers are written."""

    def seconds(self) -> float:
        """Seconds since the epoch."""
        return time.time()


def measure(format: str, headers: dict[str, str], path: Path) -> float:
    """Microseconds for one line, the best of several rounds."""
    app, clock = Held(), RealTime()
    server = MemoryServer(app)
    server.connect().request("GET", "/hello?name=world", headers)
    file = LogFile(str(path), clock)
    server.site.access_log = AccessLog(format, clock, file.write)
    rounds = timeit.repeat(lambda: server.site.log(app.request), number=LINES, repeat=REPEAT)
    file.close()
    return min(rounds) / LINES * 1e6


def main() -> None:
    """Print a table."""
    with tempfile.TemporaryDirectory() as directory:
        for format in FORMATS:
            for client, headers in CLIENTS.items():
                cost = measure(format, headers, Path(directory) / "access.log")
                print(f"{format:10} {client:10} {cost:6.2f} us")


if __name__ == "__main__":
    main()
