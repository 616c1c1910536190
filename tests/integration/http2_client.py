"""An HTTP/2 client that hides nothing: no retry, no reconnect, no guess."""

from __future__ import annotations

import socket
import ssl

from ..certificates import ONE
from ..http2 import Answer, Peer, fields
from .client import DEADLINE, trusting
from .harness import Server


class Http2Client(Peer):
    """One connection, over TLS.

    Args:
        server: to whom.
        strict: as for `Peer`.
    """

    def __init__(self, server: Server, *, strict: bool = False) -> None:
        super().__init__(strict=strict)
        context = trusting(ONE)
        context.set_alpn_protocols(["h2", "http/1.1"])
        plain = socket.create_connection(("127.0.0.1", server.ports[0]), timeout=DEADLINE)
        self.socket: ssl.SSLSocket = context.wrap_socket(plain, server_hostname="localhost")
        assert self.socket.selected_alpn_protocol() == "h2"

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def flush(self) -> None:
        """Send what is to be sent."""
        self.socket.sendall(self.machine.data_to_send())

    def step(self) -> bool:
        """Send what is to be sent, and read what comes next; whether anything came."""
        self.flush()
        came = self.socket.recv(65536)
        self.read(came)
        return bool(came)

    def begin(self, path: str) -> Answer:
        """Send a GET request; what will be its answer."""
        number = self.request(*fields(path=path))
        self.flush()
        return self.answers[number]

    def finish(self, *answers: Answer) -> None:
        """Read until these answers are complete, or reset.

        Raises:
            ConnectionError: the connection ended before.
        """
        while not all(each.ended or each.reset is not None for each in answers):
            if not self.step():
                raise ConnectionError(f"the connection ended before {answers}")

    def ask(self, path: str) -> Answer:
        """Send a GET request, and read its answer."""
        answer = self.begin(path)
        self.finish(answer)
        return answer

    def closed(self) -> bool:
        """Read until the server closes, and close; whether it has announced that."""
        while self.step():
            pass
        self.close()
        return bool(self.goaways)


class Persistent:
    """A client that keeps its connection, and asks for several things at a time.

    It makes a new connection only when the server has announced the end of the old one, and
    never asks twice.

    Args:
        server: whom.
        size: how many requests at a time.

    Attributes:
        last_seen: the body of the last answer.
        answered: how many answers it got.
    """

    def __init__(self, server: Server, size: int = 5) -> None:
        self.last_seen = ""
        self.answered = 0
        self._server = server
        self._size = size
        self._client: Http2Client | None = None

    def __call__(self) -> str:
        """Make some requests; what is wrong with their answers."""
        self._client = client = self._client or Http2Client(self._server)
        answers = [client.begin("/") for _ in range(self._size)]
        client.finish(*answers)
        wrong = [each for each in answers if each.status != 200 or not each.ended]
        self.answered += len(answers)
        self.last_seen = answers[-1].body.decode()
        if client.goaways:
            client.close()
            self._client = None
        return repr(wrong) if wrong else ""
