"""A request as applications know it: Twisted's, made from a head that is already read."""

from __future__ import annotations

from contextlib import suppress
from io import BytesIO
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from twisted.logger import Logger, LogLevel
from twisted.python.components import Componentized
from twisted.python.failure import Failure
from twisted.web.http import parse_qs
from twisted.web.server import Request as TwistedRequest

from .. import private
from .head import Head, Refused
from .report import printable
from .request_id import accepted as accepted_id
from .request_id import new_request_id

if TYPE_CHECKING:
    from .channel import Channel
    from .http2.stream import Stream


class _RequestLogger(Logger):
    """What Twisted's `Request` says of itself, and of which request that is."""

    def failure(
        self,
        format: str,
        failure: Failure | None = None,
        level: Any = LogLevel.critical,
        **values: Any,
    ) -> None:
        """The application failed; Twisted has no word for it."""
        request: Any = self.source
        super().failure(
            format or "{method} {path} failed",
            failure,
            level,
            method=printable(request.method),
            path=printable(request.uri.partition(b"?")[0]),
            **values,
        )

    def info(self, format: str | None = None, **values: Any) -> None:
        """Nothing: Twisted would tell of each HEAD that its answer has no body."""


class Request(TwistedRequest):
    """A request, from its head to its answer.

    What applications use of `twisted.web.server.Request` is as it is there. The way to
    `process` is shorter: nothing is parsed twice, and the header fields that every
    answer has are not set one by one.

    Args:
        channel: the connection, or what is the connection to this request.
        head: what was asked for.
    """

    from_trusted_proxy = False
    """Whether the request came through a proxy that we trust."""

    _log = _RequestLogger()
    _parsePOSTFormSubmission = True  # newer Twisteds ask; in older ones forms are always read
    _request_id = ""

    def __init__(self, channel: Channel | Stream, head: Head) -> None:
        Componentized.__init__(self)
        site = channel.site
        self.channel: Any = channel
        self.site = site
        self.transport = channel.transport
        self.client = channel.client
        self.host = channel.host
        self.queued = False
        self.notifications = []
        self.requestHeaders = private.headers(head.headers)
        self.responseHeaders = private.headers(
            {b"Server": [site.server_name], b"Date": [site.date()]}
        )
        self.received_cookies = {}
        self.cookies = []
        self.method = head.method
        self.uri = head.target
        self.clientproto = head.version
        if b"Cookie" in head.headers:
            self.parseCookies()

    @property
    def request_id(self) -> str:
        """What names this request in logs: ``X-Request-ID`` of a trusted proxy, or our own."""
        if not self._request_id:
            given = self.getHeader(b"X-Request-ID") if self.from_trusted_proxy else None
            self._request_id = (given and accepted_id(given)) or new_request_id()
        return self._request_id

    def gotLength(self, length: int | None) -> None:
        """A body will come: prepare what it is kept in.

        Args:
            length: in bytes; None if it is not announced.
        """
        spool = self.channel.factory.connections.settings.spool_size
        if length is not None and length <= spool:
            self.content = BytesIO()
        else:
            # 0 would be taken for no limit.
            self.content = SpooledTemporaryFile(max_size=max(1, spool))  # noqa: SIM115 - we close it

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body has come.

        Raises:
            Refused: it cannot be kept, as on a full disk.
        """
        content = self.content
        assert content is not None
        try:
            content.write(data)
            content.flush()  # what cannot be written is to be known now
        except OSError as error:
            self._log.error(
                "The body of {method} {path} cannot be kept in a temporary file: {error}",
                method=printable(self.method),
                path=printable(self.uri.partition(b"?")[0]),
                error=error,
            )
            with suppress(OSError):  # it tries to write once more
                content.close()
            raise Refused(507, "The body could not be kept.") from None

    def received(self) -> None:
        """The body is complete: answer."""
        if self.content is None:
            self.content = BytesIO()
        path, question, query = self.uri.partition(b"?")
        if self.method == b"POST" and self.requestHeaders.hasHeader(b"Content-Type"):
            self._read_form()
            return
        self.path = path
        self.args = parse_qs(query, 1) if question else {}
        self.content.seek(0)
        self.process()

    def _read_form(self) -> None:
        """Twisted's own way, which reads forms, and goes on to `process`."""
        self.prepath = None
        try:
            self.requestReceived(self.method, self.uri, self.clientproto)
        except Exception:
            if self.prepath is not None:
                raise
            # Of what it cannot read it notices some; on the rest it stumbles.
            self.channel._respondToBadRequestAndDisconnect()

    def process(self) -> None:
        """Find the resource, and let it answer."""
        self.prepath = []
        self.postpath = [unquote_to_bytes(part) for part in self.path[1:].split(b"/")]
        if self.path == b"*":
            self._handleStar()
            return
        try:
            resource: Any = self.channel.site.getResourceFor(self)
            # As EncodingResourceWrapper, which is public, is found by Twisted's own Request.
            if private.IEncodingResource.providedBy(resource):
                encoder = resource.getEncoder(self)
                if encoder is not None:
                    self._encoder = encoder
            self.render(resource)
        except BaseException:
            self.processingFailed(Failure())
