"""TLS below a connection: a socket that encrypts, and its transport.

Twisted's own TLS stands between transport and protocol. It has no half-close, waits without end
for the peer's closing alert, and reaches OpenSSL through pyOpenSSL, which takes five times as long
for a request as `ssl` of the standard library. Ours is below the transport, for which `TLSSocket`
is just a socket: buffers, producers, half-closes and aborts are those of plain connections. Bytes
are counted encrypted, as the kernel counts what the client has acknowledged.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Protocol, cast

from twisted.internet.interfaces import INegotiated, ISSLTransport
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from zope.interface import implementer

from .proxy_header import ProxyHeaderServer
from .transport import GatheringServer
from .unix_port import UnixServer

_CHUNK = 64 * 1024
"""Bytes that are encrypted at once: what a client that does not read can make us hold twice."""

_RECORD = 16 * 1024
"""Bytes in the largest record (RFC 8446 section 5.1): a read of as many takes it whole."""


class TLSSocket:
    """A non-blocking socket whose bytes are encrypted on their way.

    ``recv``, ``send`` and ``shutdown`` behave as those of a non-blocking plain socket. All else is
    the plain socket's own.

    Args:
        raw: the plain socket.
        context: certificate and key.

    Attributes:
        raw: the plain socket.
        tls: what the standard library knows of the connection.
        sent: bytes that the kernel has taken, encrypted.
        received: bytes that were read, encrypted.
        pending: what was encrypted, and the kernel has not taken.
        partial: whether a part of a record was read, and not the rest.
        ended: whether the peer's closing alert was read.
        failure: why nothing more can be read.
    """

    def __init__(self, raw: socket.socket, context: ssl.SSLContext) -> None:
        self.raw = raw
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)
        self.sent = 0
        self.received = 0
        self.pending = b""
        self.partial = False
        self.ended = False
        self.failure: ssl.SSLError | None = None
        self._pending_plain = 0
        self._may_notify = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)

    def do_handshake(self) -> bool:
        """Go on with the handshake.

        Returns:
            Whether it is complete.

        Raises:
            BlockingIOError: nothing has come.
            OSError: it has failed, as the peer is told, or the peer is gone.
        """
        data = self.raw.recv(_CHUNK)
        self.received += len(data)
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._take()
            with suppress(BlockingIOError):
                self.flush()
        self._may_notify = True
        return True

    def recv(self, size: int) -> bytes:
        """What has come; nothing at the end.

        Raises:
            BlockingIOError: no complete record has arrived.
            OSError: the connection is lost, or what has arrived is not TLS.
        """
        incoming = self._in
        if not incoming.pending:
            data = self.raw.recv(size)
            self.partial = False
            if not data:
                return data
            self.received += len(data)
            incoming.write(data)
        records = []
        try:
            while record := self.tls.read(_RECORD):
                records.append(record)
                if not incoming.pending:
                    break
            else:
                self.ended = True
        except ssl.SSLWantReadError:
            self.partial = True
        except ssl.SSLZeroReturnError:
            self.ended = True
        except ssl.SSLError as error:
            self._fail(error)
        if records:
            return b"".join(records) if len(records) > 1 else records[0]
        if self.failure is not None:
            raise self.failure
        if self.ended:
            return b""
        raise BlockingIOError(errno.EWOULDBLOCK, "a part of a record")

    @property
    def unread(self) -> int:
        """Bytes that were read from the plain socket, and that TLS has not looked at."""
        return self._in.pending

    def _fail(self, error: ssl.SSLError) -> None:
        self.failure = error
        self._take()
        with suppress(OSError):
            self.flush()

    def send(self, data: bytes | memoryview) -> int:
        """Send bytes, the first of which are those that were not taken the last time.

        Returns:
            How many the kernel has taken, encrypted; 0 if that is less than a chunk.

        Raises:
            BlockingIOError: it still does not take the rest of a chunk.
            OSError: the connection is lost.
        """
        if self.pending:
            self.flush()
        taken, self._pending_plain = self._pending_plain, 0
        length = len(data)
        while taken < length:
            some = taken or length > _CHUNK
            chunk = memoryview(data)[taken : taken + _CHUNK] if some else data
            self._pending_plain = self.tls.write(chunk)
            self.pending = self._out.read()
            try:
                self.flush()
            except BlockingIOError:
                break
            taken += self._pending_plain
            self._pending_plain = 0
        return taken

    def _take(self) -> None:
        self.pending += self._out.read()

    def flush(self) -> None:
        """Send what was encrypted.

        Raises:
            BlockingIOError: the kernel has not taken all of it.
            OSError: the connection is lost.
        """
        if self.pending:
            sent = self.raw.send(self.pending)
            self.sent += sent
            self.pending = self.pending[sent:]
            if self.pending:
                raise BlockingIOError(errno.EWOULDBLOCK, "the send buffer is full")

    def close_notify(self) -> None:
        """Tell the peer that nothing more will come (RFC 8446 section 6.1).

        Raises:
            BlockingIOError: the kernel has not taken that.
            OSError: the connection is lost.
        """
        if self._may_notify:
            self._may_notify = False
            with suppress(ssl.SSLError):  # that the peer's own alert has not come yet
                self.tls.unwrap()
            self._take()
        self.flush()

    def shutdown(self, how: int) -> None:
        """Close one side or both, with a closing alert before our FIN."""
        if how != socket.SHUT_RD:
            with suppress(OSError):
                self.close_notify()
        self.raw.shutdown(how)


class HandshakeProtocol(Protocol):
    """What a TLS transport asks of its first protocol."""

    def begun(self) -> None:
        """Bytes have arrived."""

    def completed(self) -> None:
        """The handshake is complete: replace yourself with a connection."""

    def failed(self, reason: object) -> None:
        """The handshake cannot be completed; the connection is about to be closed."""


@implementer(ISSLTransport, INegotiated)
class TLSServer(GatheringServer):
    """A transport that speaks TLS.

    Its protocol is first a `HandshakeProtocol`, and then what that has put in its place.

    Args:
        sock: the plain socket.
        args: those of a `GatheringServer`.
        context: certificate and key.
    """

    movable = False  # its keys are in OpenSSL, which does not give them away
    protocol: Any

    def __init__(self, sock: socket.socket, *args: Any, context: ssl.SSLContext) -> None:
        self._tls = TLSSocket(sock, context)
        self._established = False
        super().__init__(cast(socket.socket, self._tls), *args)

    def getHandle(self) -> socket.socket:
        """The plain socket."""
        return self._tls.raw

    def getPeerCertificate(self) -> None:
        """None: clients are not asked for a certificate."""

    @property
    def negotiatedProtocol(self) -> bytes | None:
        """What is spoken, by its name of ALPN; None if nothing was negotiated."""
        name = self._tls.tls.selected_alpn_protocol()
        return None if name is None else name.encode()

    @property
    def is_secure(self) -> bool:
        """Whether the client's connection is encrypted."""
        return True

    @property
    def partial(self) -> bool:
        """Whether a part of a record has come, and not the rest."""
        return self._tls.partial

    @property
    def unsent(self) -> int:
        """Bytes that were written, and that the kernel has not taken."""
        return super().unsent + len(self._tls.pending)

    @property
    def delivered(self) -> int:
        """Bytes that the client has acknowledged, encrypted."""
        return self._tls.sent - self.unacknowledged

    @property
    def received(self) -> int:
        """Bytes that were read, encrypted."""
        return self._tls.received

    def doRead(self) -> Any:
        """Read once; called by the reactor."""
        if not self._established:
            return self._shake_hands()
        tls = self._tls
        end = super().doRead()
        if end is not None:
            return end
        if tls.partial:
            self.protocol.tls_record_begun()
        elif tls.ended:
            return CONNECTION_DONE  # the FIN behind it may never come
        elif tls.failure is not None:
            return CONNECTION_LOST
        return None

    def _shake_hands(self) -> Any:
        handshake: HandshakeProtocol = self.protocol
        try:
            self._established = self._tls.do_handshake()
        except BlockingIOError:
            return None
        except OSError as error:
            handshake.failed(error)
            return CONNECTION_LOST
        handshake.begun()
        if self._tls.pending:
            self.startWriting()
        if self._established:
            handshake.completed()
            if self._tls.unread:
                return self.doRead()
        return None

    def doWrite(self) -> Any:
        """Send what is left, and then more; called by the reactor."""
        try:
            self._tls.flush()
        except BlockingIOError:
            return None
        except OSError:
            return CONNECTION_LOST
        return super().doWrite()

    def _closeWriteConnection(self) -> Any:
        try:
            self._tls.close_notify()
        except BlockingIOError:
            self.startWriting()  # `doWrite` comes back here
            return None
        except OSError:
            return CONNECTION_LOST
        return super()._closeWriteConnection()


class UnixTLSServer(TLSServer, UnixServer):
    """TLS on a UNIX socket."""


class ProxyHeaderTLSServer(ProxyHeaderServer, TLSServer):
    """TLS after a PROXY header."""


class UnixProxyHeaderTLSServer(ProxyHeaderServer, TLSServer, UnixServer):
    """TLS after a PROXY header, on a UNIX socket."""


TLS_CLASSES: Mapping[tuple[bool, bool], type[TLSServer]] = {
    # UNIX, PROXY header
    (False, False): TLSServer,
    (False, True): ProxyHeaderTLSServer,
    (True, False): UnixTLSServer,
    (True, True): UnixProxyHeaderTLSServer,
}
"""The transports over TLS."""
