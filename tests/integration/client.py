"""An HTTP/1.1 client that hides nothing: no retry, no reconnect, no guess."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass

DEADLINE = 15.0


@dataclass(frozen=True)
class Answer:
    """One whole answer.

    Attributes:
        status: its status code.
        headers: by lower-case name.
        body: with any chunking removed.
    """

    status: int
    headers: dict[str, str]
    body: str

    @property
    def last(self) -> bool:
        """Whether the server announced that it closes the connection."""
        return self.headers.get("connection", "").lower() == "close"


def trusting(*certificates: str) -> ssl.SSLContext:
    """What a client of TLS needs that trusts these certificates, and no others."""
    return ssl.create_default_context(cadata="".join(certificates))


class Client:
    """One connection.

    Args:
        port: of 127.0.0.1; or the path of a UNIX socket.
        tls: what it needs to speak TLS; None for none. An end of the connection without a
            closing alert is then an error.
        source: the address that we have; any of 127.0.0.0/8.
    """

    def __init__(
        self, port: int | str, tls: ssl.SSLContext | None = None, source: str = "127.0.0.1"
    ) -> None:
        if isinstance(port, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(DEADLINE)
            self.socket.connect(port)
        else:
            self.socket = socket.create_connection(
                ("127.0.0.1", port), timeout=DEADLINE, source_address=(source, 0)
            )
        if tls is not None:
            self.socket = tls.wrap_socket(
                self.socket, server_hostname="localhost", suppress_ragged_eofs=False
            )
        self._received = self.socket.makefile("rb")

    def close(self) -> None:
        """Close the connection."""
        self._received.close()
        self.socket.close()

    def send(self, text: str) -> None:
        """Send bytes as they are."""
        self.socket.sendall(text.encode())

    def get(self, path: str) -> None:
        """Send a GET request."""
        self.send(request(path))

    def ask(self, path: str) -> Answer:
        """Send a GET request, and read its answer."""
        self.get(path)
        return self.answer()

    def answer(self) -> Answer:
        """Read one whole answer.

        Raises:
            ConnectionError: the connection was reset, or ended before the answer did.
        """
        status = int(self._line().split()[1])
        headers = {}
        while line := self._line():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("transfer-encoding") == "chunked":
            body = "".join(iter(self.chunk, ""))
        else:
            body = self._read(int(headers["content-length"]))
        return Answer(status, headers, body)

    def chunk(self) -> str:
        """Read one chunk of a body; the last one is empty."""
        chunk = self._read(int(self._line(), 16))
        if self._line():
            raise ConnectionError(f"chunk {chunk!r} does not end where it says")
        return chunk

    def closed(self) -> bool:
        """Wait until the server closes, then do so too, as clients do.

        Returns:
            Whether nothing more came before.

        Raises:
            ConnectionError: the connection was reset.
        """
        rest = self._received.read()
        self.close()
        return not rest

    def _line(self) -> str:
        line = self._received.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError(f"the connection ended after {line!r}")
        return line[:-2].decode()

    def _read(self, size: int) -> str:
        body = self._received.read(size)
        if len(body) < size:
            raise ConnectionError(f"the connection ended after {len(body)} of {size} bytes")
        return body.decode()


def request(path: str, method: str = "GET", headers: str = "") -> str:
    """The text of a request without a body."""
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"
