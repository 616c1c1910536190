"""Clients that ask again and again: wrk with as much load as a server takes, and one alone."""

from __future__ import annotations

import re
import signal
import subprocess
from dataclasses import dataclass

from .client import Answer, Client
from .harness import Server
from .programs import program

_AT_MOST = "100"  # seconds, if a test never ends it


@dataclass(frozen=True)
class Summary:
    """What a load has seen.

    Attributes:
        requests: that were answered, whatever the answer.
        errors: what went wrong, in wrk's words; nothing when all was well.
    """

    requests: int
    errors: tuple[str, ...]


class Load:
    """Requests on several keep-alive connections, none of which is ever repeated.

    Entering it starts wrk, leaving it ends wrk.

    Args:
        url: what is asked for.
        connections: how many.
        headers: further header fields of the requests.

    Attributes:
        summary: what was seen, once it has ended.

    Raises:
        SkipTest: wrk is not installed.
    """

    def __init__(self, url: str, *headers: str, connections: int = 16) -> None:
        fields = [word for header in headers for word in ("--header", header)]
        size = ("--threads", "1", "--connections", str(connections), "--duration", _AT_MOST)
        # Without a timeout of the server's kind, what hangs for two seconds would count.
        self._command = [program("wrk"), *size, "--timeout", "30s", *fields, url]

    def __enter__(self) -> Load:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        said, _ = self._process.communicate(timeout=30)
        requests = re.search(r"(\d+) requests in", said)
        assert requests is not None, said
        errors = re.findall(r"Socket errors: .*|Non-2xx .*", said)
        self.summary = Summary(int(requests[1]), tuple(errors))


def wrong(answer: Answer) -> str:
    """What is wrong with an answer, if anything."""
    return "" if answer.status == 200 and answer.body in ("1", "2", "3") else repr(answer)


class KeepAlive:
    """A client that makes a new connection only when the server has announced the close."""

    def __init__(self, server: Server) -> None:
        self.last_seen = ""
        self._server = server
        self._client: Client | None = None

    def __call__(self) -> str:
        """Make one request; what is wrong with its answer."""
        self._client = self._client or self._server.connect()
        answer = self._client.ask("/")
        self.last_seen = answer.body
        if answer.last:
            self._client.close()
            self._client = None
        return wrong(answer)
