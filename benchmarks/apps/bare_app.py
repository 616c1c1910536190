"""The limit: Twisted's reactor, and constant answers without a parser.

The argument is a description for `twisted.internet.endpoints.serverFromString`.
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


class Bare(Protocol):
    """Takes whatever arrives together for one request."""

    def dataReceived(self, data: bytes) -> None:
        """The answer."""
        if CLOSE in data:
            self.transport.write(LAST)
            self.transport.loseConnection()
        else:
            self.transport.write(ANSWERS[data[:6]])


serverFromString(reactor, sys.argv[1]).listen(Factory.forProtocol(Bare))
reactor.run()
