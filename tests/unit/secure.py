"""A server and clients that speak TLS, in memory."""

from __future__ import annotations

import os
import ssl
from contextlib import suppress
from typing import Any

from tests.certificates import ONE, ONE_KEY
from tests.unit.support import temporary_directory
from twisted_graceful.http.io import certificates
from twisted_graceful.http.proxy_header_reader import behind_proxies
from twisted_graceful.http.tls_handshake import over_tls
from twisted_graceful.testing import MemoryConnection, MemoryServer, Response
from twisted_graceful.testing.http_messages import take_response

from ..case import SynchronousTestCase


def certificate_file(test: SynchronousTestCase, *parts: str) -> str:
    """The path of a PEM file that holds these, until the test is over."""
    path = os.path.join(temporary_directory(test), "file.pem")
    with open(path, "w") as file:
        file.write("".join(parts))
    return path


class SecureServer(MemoryServer):
    """A `MemoryServer` whose clients speak TLS.

    Args:
        test: the test that it serves.
        app: as for a `MemoryServer`.
        settings: likewise.
    """

    def __init__(self, test: SynchronousTestCase, app: Any, **settings: Any) -> None:
        super().__init__(app, **settings)
        path = certificate_file(test, ONE, ONE_KEY)
        self._context = certificates.load(path)

    def connect(self) -> MemoryConnection:
        """A client connects, and sends nothing yet."""
        secure = over_tls(self.site, self._reactor.transport, self._context)
        self._port = behind_proxies(self.site, *secure)
        return super().connect()

    def client(self, **options: Any) -> SecureClient:
        """A client that has completed its handshake."""
        client = SecureClient(self.connect(), **options)
        client.shake_hands()
        return client


def client_context() -> ssl.SSLContext:
    """What a client needs that trusts our certificate, and nothing else."""
    return ssl.create_default_context(cadata=ONE)


class SecureClient:
    """A client that speaks TLS.

    Args:
        wire: its connection.
        alpn: what it offers to speak.
        version: the version of TLS.

    Attributes:
        wire: its connection, encrypted.
        received: what it has decrypted.
        ended: whether the server's closing alert has come.
    """

    def __init__(
        self,
        wire: MemoryConnection,
        *,
        alpn: list[str] | None = None,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        context = client_context()
        context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        self.wire = wire
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self.ended = False
        self._received = bytearray()

    def handshake_step(self) -> bytes:
        """What the client sends next in its handshake, which is complete if that is nothing."""
        self._in.write(self.wire.take())
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._out.read()

    def shake_hands(self) -> None:
        """Complete the handshake."""
        while data := self.handshake_step():
            self.wire.send(data)

    def encrypted(self, data: bytes) -> bytes:
        """Bytes as they go over the wire."""
        self.tls.write(data)
        return self._out.read()

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.wire.send(self.encrypted(data))

    def closing_alert(self) -> bytes:
        """The client's closing alert, as it goes over the wire."""
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self._out.read()

    def _read(self) -> None:
        self._in.write(self.wire.take())
        try:
            while data := self.tls.read(65536):
                self._received += data
            self.ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True

    @property
    def received(self) -> bytes:
        """What was received, decrypted."""
        self._read()
        return bytes(self._received)

    def responses(self) -> list[Response]:
        """Take the answers that are complete."""
        self._read()
        responses = []
        while self._received:
            response = take_response(self._received, "GET", ended=self.ended)
            if response is None:
                break
            responses.append(response)
        return responses
