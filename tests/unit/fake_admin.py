"""A server's admin address, of which a test says what it answers."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

HOLD = object()
"""Among the lines of an answer: wait until the test lets it go on."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FakeAdmin

    def do_GET(self) -> None:
        """Answer as the test wants."""
        length = int(self.headers.get("Content-Length") or 0)
        self.server.asked.append((self.command, self.path, self.rfile.read(length)))
        status, lines = self.server.answers.get((self.command, self.path), (404, ["no page"]))
        self.send_response(status)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if line is HOLD:
                self.server.held.set()
                self.server.go_on.wait(15)
            elif line is None:  # break off
                self.close_connection = True
                return
            else:
                self._chunk((line if isinstance(line, str) else json.dumps(line)) + "\n")
        self._chunk("")
        self.close_connection = True

    do_POST = do_GET

    def _chunk(self, text: str) -> None:
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def address_string(self) -> str:
        """Who asks has no address."""
        return "-"

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class FakeAdmin(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Entering it begins to answer, in threads.

    Args:
        path: of its UNIX socket.

    Attributes:
        asked: method, path and body of each request.
        answers: what to answer to a method and path: a status, and lines.
        held: set when an answer has come to `HOLD`.
        go_on: lets it go on.
    """

    daemon_threads = True

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Handler)
        self.asked: list[tuple[str, str, bytes]] = []
        self.answers: dict[tuple[str, str], tuple[int, Iterable[Any]]] = {}
        self.held = threading.Event()
        self.go_on = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A client that has heard enough is no error."""

    def __enter__(self) -> FakeAdmin:
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on.set()
        self.shutdown()
        self.server_close()
