"""The limit: Twisted's reactor, and constant answers without a parser.

The arguments are a description for `twisted.internet.endpoints.serverFromString`, and how to
answer: ``write`` to the transport, or ``send`` on the socket.
"""

import sys

from answers import HELLO, LARGE
from twisted.internet import reactor
from twisted.internet.endpoints import serverFromString
from twisted.internet.protocol import Factory, Protocol

HEAD = (
    b"HTTP/1.1 200 OK\r\n"
    b"Server: bare\r\n"
    b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    b"Content-Type: text/plain\r\n"
    b"Content-Length: %d\r\n"
)
CLOSE = b"Connection: close\r\n"
END = b"\r\n"
ANSWERS = {
    b"GET / ": HEAD % len(HELLO) + END + HELLO,
    b"GET /l": HEAD % len(LARGE) + END + LARGE,
    b"POST /": HEAD % 4 + END + b"1024",
}
LAST = HEAD % len(HELLO) + CLOSE + END + HELLO


class Writes(Protocol):
    """Takes whatever arrives together for one request."""

    def dataReceived(self, data: bytes) -> None:
        """The answer."""
        if CLOSE in data:
            self.answer(LAST)
            self.transport.loseConnection()
        else:
            self.answer(ANSWERS[data[:6]])

    def answer(self, answer: bytes) -> None:
        """Twisted sends it when the reactor has next seen that the socket takes it."""
        self.transport.write(answer)


class Sends(Writes):
    """Does not wait for that."""

    def answer(self, answer: bytes) -> None:
        """All that the socket takes is sent at once."""
        try:
            sent = self.transport.socket.send(answer)
        except BlockingIOError:
            sent = 0
        if sent < len(answer):
            self.transport.write(answer[sent:])


endpoint, how = sys.argv[1:]
protocol = {"write": Writes, "send": Sends}[how]
serverFromString(reactor, endpoint).listen(Factory.forProtocol(protocol))
reactor.run()
