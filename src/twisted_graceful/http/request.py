"""A request as applications know it: Twisted's, made from a head that is already read.

What it promises is Twisted's (``twisted.web.iweb.IRequest``, and what `twisted.web.server.Request`
adds). What differs is when things are done: nothing is parsed twice, what few applications ask for
is made when they do, and the head of a response is made in one pass.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import IO, Any

from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.python.failure import Failure
from twisted.python.reflect import qual
from twisted.spread.pb import ViewPoint
from twisted.web.error import UnsupportedMethod
from twisted.web.http import (
    INTERNAL_SERVER_ERROR,
    NO_BODY_CODES,
    NO_CONTENT,
    NOT_MODIFIED,
    OK,
    RESPONSES,
    SWITCHING,
    datetimeToString,
)
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, getChildForRequest
from twisted.web.server import NOT_DONE_YET
from twisted.web.server import Request as TwistedRequest
from twisted.web.static import File

from .. import twisted_internals
from ..errors import FormError
from . import error_response
from .form import parse_form, parse_query, unquote
from .head import MAX_PORT, Head, MalformedHead, RequestRejected, known_name
from .interfaces import RequestChannel
from .io.unix_port import LocalAddress
from .log.drain_report import printable
from .log.request_id import accepted as accepted_id
from .log.request_id import new_request_id
from .log.request_logger import RequestLogger
from .ranges import coalesced, fit_to_file
from .spool import Spool

_ON_ONE_LINE = bytes(each if each == 0x09 or 0x20 <= each != 0x7F else 0x20 for each in range(256))
"""Bytes as they may be in a reason phrase (RFC 9112 section 4): control characters are spaces."""

_LENGTH = re.compile(rb"[0-9]{1,18}")
"""What can be a Content-Length; a larger number is beyond `int`, or any body."""


class _LazyAttribute:
    """An attribute that is made when it is first asked for."""

    def __init__(self, make: Callable[[Request], object]) -> None:
        self._make = make

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, request: Request | None, owner: type) -> Any:
        if request is None:
            return self
        value = self._make(request)
        setattr(request, self._name, value)
        return value


def _request_headers(request: Request) -> Headers:
    headers = {name: [*values] for name, values in request.head.headers.items()}
    if b"Range" in headers:
        request._limit_ranges(headers)
    return twisted_internals.headers(headers)


def _received_cookies(request: Request) -> dict[bytes, bytes]:
    cookies: dict[bytes, bytes] = {}
    request.received_cookies = cookies
    request.parseCookies()
    return cookies


def _args(request: Request) -> dict[bytes, list[bytes]]:
    _, question, query = request.uri.partition(b"?")
    args = parse_query(query) if question else {}
    if request.method == b"POST":
        args.update(request._read_form())
    return args


_NOT_COPIED = {"_content", "_encoder", "head", "notifications", "producer"}
"""What means nothing in another process."""


_SPELLED: dict[bytes | str, bytes] = {}
"""Names of fields that applications have set, in Twisted's spelling."""

_SPELLED_LIMIT = 1000


def _learn_spelling(name: bytes | str) -> None:
    try:
        known = known_name(name if isinstance(name, bytes) else name.encode("latin-1"))
    except (RequestRejected, UnicodeEncodeError):
        raise ValueError(f"{name!r} is not the name of a header field") from None
    if len(_SPELLED) < _SPELLED_LIMIT:
        _SPELLED[name] = known


class Request(TwistedRequest):
    """A request, from its head to its response.

    Args:
        channel: the connection, or what is the connection to this request.
        head: what was asked for.

    Attributes:
        head: that.
    """

    # What every request reads and writes stands in slots: with Twisted's way, a default in a
    # class and a value in a dictionary, a tenth of the time of a small request is spent there.
    __slots__ = (
        "_content",
        "_disconnected",
        "_encoder",
        "_inFakeHead",
        "_is_bodiless",
        "_length",
        "channel",
        "chunked",
        "client",
        "clientproto",
        "code",
        "code_message",
        "cookies",
        "etag",
        "finished",
        "head",
        "host",
        "lastModified",
        "method",
        "notifications",
        "path",
        "postpath",
        "prepath",
        "producer",
        "responseHeaders",
        "sentLength",
        "site",
        "sitepath",
        "startedWriting",
        "transport",
        "uri",
    )

    from_trusted_proxy = False
    """Whether the request came through a proxy that we trust."""

    _log = RequestLogger()
    queued = False
    _excess = 0
    _content: IO[bytes] | None
    notifications: Any
    site: Any
    _request_id = ""

    # Made when they are asked for:
    requestHeaders: Any = _LazyAttribute(_request_headers)
    received_cookies: Any = _LazyAttribute(_received_cookies)
    args: Any = _LazyAttribute(_args)
    _adapterCache = _LazyAttribute(lambda request: {})

    def __init__(self, channel: RequestChannel, head: Head) -> None:
        site = channel.site
        self.channel: Any = channel
        self.site = site
        self.transport = channel.transport
        self.client = channel.client
        self.host = channel.host
        self.head = head
        self.method = head.method
        self.uri = head.target
        self.clientproto = head.version
        self.responseHeaders = twisted_internals.headers(
            {b"Server": [site.server_name], b"Date": [site.date()]}
        )
        self.code = OK
        self.code_message = RESPONSES[OK]
        self.cookies = []
        self.notifications = ()
        self.startedWriting = self.finished = self.chunked = self.sentLength = 0
        self.producer = self.lastModified = self.etag = self._encoder = self._content = None
        self._length: int | None = None
        self._disconnected = self._inFakeHead = self._is_bodiless = False

    def notifyFinish(self) -> Deferred[None]:
        """A Deferred that fires when the request is over, or fails when the client has gone."""
        if not self.notifications:
            self.notifications = []
        return super().notifyFinish()

    def getHost(self) -> IAddress:
        """Our address. That of a UNIX socket has the port that the client, or its proxy, asked."""
        host: IAddress = self.host
        if isinstance(host, UNIXAddress):
            return LocalAddress(host.name, "localhost", self.port_asked())
        return host

    def port_asked(self) -> int:
        """The port that is in the ``Host`` field, or goes without saying."""
        port = (self.getHeader(b"Host") or b"").rpartition(b":")[2]
        number = int(port) if port.isdigit() and len(port) <= len(str(MAX_PORT)) else 0
        return number if 0 < number <= MAX_PORT else 443 if self.isSecure() else 80

    def getStateToCopyFor(self, issuer: object) -> dict[str, object]:
        """What ``twisted.web.distrib`` sends to another process: Twisted's, which is in a dict."""
        plain = TwistedRequest.__new__(TwistedRequest)
        names = {
            *Request.__slots__,
            "_adapterCache",
            "args",
            "content",
            "received_cookies",
            "requestHeaders",
        }
        state = {name: getattr(self, name) for name in names if name not in _NOT_COPIED}
        plain.__dict__.update(self.__dict__, **state)
        return {**plain.getStateToCopyFor(issuer), "remote": ViewPoint(issuer, self)}

    def getTypeToCopy(self) -> bytes:
        """What the other process knows."""
        return qual(TwistedRequest).encode()

    @property
    def content(self) -> IO[bytes]:
        """The body of the request, as a file."""
        if self._content is None:
            self._content = BytesIO()
        return self._content

    @content.setter
    def content(self, file: IO[bytes]) -> None:
        self._content = file

    @property
    def request_id(self) -> str:
        """What names this request in logs: ``X-Request-ID`` of a trusted proxy, or our own."""
        if not self._request_id:
            given = self.getHeader(b"X-Request-ID") if self.from_trusted_proxy else None
            self._request_id = (given and accepted_id(given)) or new_request_id()
        return self._request_id

    # What the connection calls

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
            self.content = Spool(max_size=max(1, spool))

    def handleContentChunk(self, data: bytes) -> None:
        """A part of the body has come.

        Raises:
            RequestRejected: it cannot be kept, as on a full disk.
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
            raise RequestRejected(507, "The body could not be kept.") from None

    def dispatch(self) -> None:
        """The body is complete: respond."""
        if self.head.length != 0:
            self.content.seek(0)
        self.path = self.uri.partition(b"?")[0]
        self.process()

    def _read_form(self) -> dict[bytes, list[bytes]]:
        """The fields of a form.

        Raises:
            FormError: it is malformed, or has too many fields.
        """
        content = self._content
        types = self.head.headers.get(b"Content-Type")
        if types is None or content is None or self.head.length == 0:
            return {}
        if content.closed:
            raise RuntimeError(
                "the form was not read before its request was finished, and is too large to keep: "
                "use request.args earlier"
            )
        return parse_form(content, types[0], self.site.connections.settings.max_form_fields)

    def _release_content(self) -> None:
        """Close the body, unless it is in memory and may be a form that is used later."""
        content = self._content
        is_kept = type(content) is BytesIO and self.method == b"POST" and "args" not in vars(self)
        if content is not None and not is_kept:
            content.close()

    def _limit_ranges(self, headers: dict[bytes, list[bytes]]) -> None:
        """Show the application only ranges that it may serve."""
        connections = self.site.connections
        limit = connections.settings.max_ranges
        values = headers.pop(b"Range")
        if len(values) > 1:
            return  # no rule says which one counts
        if values[0].count(b",") >= limit:
            if limit:
                connections.count_limit("max_ranges")
                self.setHeader(b"Connection", b"close")  # this client is broken, or an attacker
            return
        ranges = coalesced(values[0])
        if ranges is None:
            headers[b"Range"] = values
        elif ranges:
            headers[b"Range"] = [b"bytes=" + b",".join(ranges)]

    def parseCookies(self) -> None:
        """Read the cookies; Twisted's way takes much longer for malformed ones."""
        for value in self.requestHeaders.getRawHeaders(b"Cookie", ()):
            for each in value.split(b";"):
                name, equals, content = each.lstrip().partition(b"=")
                if equals:
                    self.received_cookies[name] = content

    def connectionLost(self, reason: Failure) -> None:
        """The client is gone."""
        self._disconnected = True
        self.channel = None
        self._release_content()
        notifications, self.notifications = self.notifications, ()
        for each in notifications:
            each.errback(reason)

    def process(self) -> None:
        """Find the resource, and let it respond."""
        self.prepath = []
        path = self.path
        segments = path[1:].split(b"/")
        self.postpath = [*map(unquote, segments)] if b"%" in path else segments
        if path == b"*":
            self._handleStar()
            return
        try:
            resource: Any = self.site.resource
            self.sitepath: list[bytes] = []
            if not resource.isLeaf:
                resource = getChildForRequest(resource, self)
            # As EncodingResourceWrapper, which is public, is found by Twisted's own Request.
            if twisted_internals.IEncodingResource.providedBy(resource):
                encoder = resource.getEncoder(self)
                if encoder is not None:
                    self._encoder = encoder
            self.render(resource)
        except BaseException:
            self.processingFailed(Failure())

    # Responding

    def processingFailed(self, reason: Failure) -> Failure:
        """The application has failed, or what the client sent is not a form."""
        error = reason.check(FormError) and reason.value
        if not isinstance(error, FormError) or self.startedWriting or self._disconnected:
            failed: Failure = super().processingFailed(reason)
            return failed
        connections = self.site.connections
        if error.limit:
            connections.count_limit(error.limit)
        body = error_response.text(RequestRejected(error.status, str(error)))
        self.setResponseCode(error.status)
        self.setHeader(b"Content-Type", error_response.CONTENT_TYPE)
        self.setHeader(b"Content-Length", b"%d" % len(body))
        self.write(body)
        self.finish()
        return reason

    def producer_failed(self, failure: Failure) -> bool:
        """The producer of the response has raised an exception, and is not registered any more.

        Returns:
            Whether the response has begun, so that it can only be cut; otherwise a 500 was sent.
        """
        self.producer = None
        if not self.startedWriting:
            self.processingFailed(failure)
            return False
        self._log.failure("The producer of {method} {path} failed: its response is cut", failure)
        return True

    def render(self, resource: IResource) -> None:
        """Let a resource respond.

        Args:
            resource: an `IResource`.
        """
        if b"Range" in self.head.headers and isinstance(resource, File):
            fit_to_file(self.requestHeaders, resource)
        try:
            body = resource.render(self)
        except UnsupportedMethod as error:
            if self.method != b"HEAD" or b"GET" not in error.allowedMethods:
                super().render(_AlreadyRendered(resource, error=error))
                return
            body = self._render_as_get(resource)
        if body is NOT_DONE_YET:
            return
        if type(body) is not bytes:
            super().render(_AlreadyRendered(resource, body=body))
            return
        is_head = self.method == b"HEAD"
        if body or not is_head or self._inFakeHead:
            twisted_internals.raw_headers(self.responseHeaders)[b"Content-Length"] = [
                b"%d" % len(body)
            ]
        self.write(b"" if is_head else body)
        self.finish()

    def _render_as_get(self, resource: IResource) -> object:
        """Let a resource without HEAD respond as to GET; only the head is sent.

        Twisted's own finishes for the resource, whether it is done or not.
        """
        self._inFakeHead = True
        self.method = b"GET"
        try:
            return resource.render(self)
        finally:
            self.method = b"HEAD"

    def write(self, data: bytes) -> None:
        """Send a part of the response, and before the first one its head.

        Raises:
            RuntimeError: the response is finished.
            TypeError: the data is not bytes; nothing is sent.
        """
        if self.finished:
            raise RuntimeError("Request.write was called after Request.finish")
        if self._disconnected:
            return  # `finish` will tell
        if type(data) is not bytes:
            data = bytes(memoryview(data))
        if self._encoder is not None:
            data = self._encoder.encode(data)  # which may change the head
        begins = not self.startedWriting
        if begins:
            self._prepare()
        if self._is_bodiless:
            # Checked here because applications keep or wrap this method: what is sent now would
            # be taken for the beginning of the next response.
            data = b""
        elif data:
            sent = self.sentLength + len(data)
            if self._length is not None and sent > self._length:
                data = self._within_length(data)
                sent = self._length
            self.sentLength = sent
            if self.chunked:
                data = b"%x\r\n%b\r\n" % (len(data), data)
        if begins:
            try:
                if not 200 <= self.code <= 599:
                    self._check_code()
                code = b"%d" % self.code
                self.channel.writeHeaders(
                    self.clientproto, code, self.code_message, self.responseHeaders, data
                )
            except (MalformedHead, TypeError) as error:
                self._replace(error)
        elif data:
            self.channel.write(data)

    def _check_code(self) -> None:
        """An application may set the attribute, too, which nothing else checks."""
        if self.code != SWITCHING or b"Upgrade" not in self.head.headers:
            raise MalformedHead(f"{self.code} is not a status of a final response to this request")

    def _replace(self, error: Exception) -> None:
        """Send a 500 for a response that cannot be sent; drop what the application adds."""
        self._log.error(
            "Cannot send the response to {method} {path}, a 500 is sent instead: {error}",
            method=printable(self.method),
            path=printable(self.uri.partition(b"?")[0]),
            error=error,
        )
        is_head = self.method == b"HEAD" or self._inFakeHead
        body = error_response.text(
            RequestRejected(INTERNAL_SERVER_ERROR, "The response cannot be sent.")
        )
        self.code, self.code_message = INTERNAL_SERVER_ERROR, RESPONSES[INTERNAL_SERVER_ERROR]
        self.responseHeaders = twisted_internals.headers(
            {
                b"Server": [self.site.server_name],
                b"Date": [self.site.date()],
                b"Content-Type": [error_response.CONTENT_TYPE],
                b"Content-Length": [b"%d" % len(body)],
            }
        )
        self.chunked = self._excess = 0
        self._length = self._encoder = None
        self._is_bodiless = True
        self.sentLength = 0 if is_head else len(body)
        self.channel.writeHeaders(
            self.clientproto,
            b"%d" % self.code,
            self.code_message,
            self.responseHeaders,
            b"" if is_head else body,
        )

    def _prepare(self) -> None:
        """Complete the head of the response."""
        self.startedWriting = 1
        code = self.code
        headers = self.responseHeaders
        raw = twisted_internals.raw_headers(headers)
        length = raw.get(b"Content-Length")
        # What applications say of the length must not make a response that can be read in two
        # ways (RFC 9112 section 6).
        if length and (len(length) > 1 or not _LENGTH.fullmatch(length[0])):
            del raw[b"Content-Length"]
            length = None
        if code in NO_BODY_CODES:
            self._is_bodiless = True
            raw.pop(b"Content-Length", None)
        elif self.method == b"HEAD" or self._inFakeHead:
            self._is_bodiless = True
        elif length:
            self._length = int(length[0])
        if b"Transfer-Encoding" in raw:
            del raw[b"Transfer-Encoding"]  # which is ours to choose
        if (
            b"Content-Type" not in raw
            and self.defaultContentType is not None
            and code not in (NOT_MODIFIED, NO_CONTENT)
            and not (length and length[0] == b"0")
        ):
            raw[b"Content-Type"] = [self.defaultContentType]
        if not length and self.clientproto == b"HTTP/1.1" and not self._is_bodiless:
            raw[b"Transfer-Encoding"] = [b"chunked"]
            self.chunked = 1
        if self.lastModified is not None and b"Last-Modified" not in raw:
            raw[b"Last-Modified"] = [datetimeToString(self.lastModified)]
        if self.etag is not None:
            headers.setRawHeaders(b"ETag", [self.etag])
        if self.cookies:
            headers.setRawHeaders(b"Set-Cookie", self.cookies)

    def finish(self) -> None:
        """Complete the response.

        Raises:
            RuntimeError: the connection is gone, as ``notifyFinish`` tells.
        """
        if self._disconnected:
            raise RuntimeError(
                "Request.finish was called after its connection was lost; "
                "Request.notifyFinish tells when that happens"
            )
        if self.finished:
            warnings.warn("Request.finish was called twice", stacklevel=2)
            return
        if not self.startedWriting:
            self.write(b"")
        if self._encoder is not None:
            encoder, self._encoder = self._encoder, None
            Request.write(self, encoder.finish())
        if self._length is not None and (self._excess or self.sentLength < self._length):
            self._say_wrong_length()
        channel = self.channel
        if self.chunked:
            channel.write(b"0\r\n\r\n")
        if self.site.access_log is not None:
            self.site.log(self)
        self.finished = 1
        if self.producer is not None:
            self._log.error("A producer was not unregistered for {request}", request=self)
            self.unregisterProducer()
        channel.requestDone(self)
        del self.channel
        if self._content is not None:
            self._release_content()
        if self.notifications:
            notifications, self.notifications = self.notifications, ()
            for each in notifications:
                each.callback(None)

    def setHeader(self, name: bytes | str, value: bytes | str) -> None:
        """Set a header field of the response, instead of all of this name."""
        # What needs no conversion goes in without the four calls of Twisted's way.
        spelled = _SPELLED.get(name)
        if spelled and type(value) is bytes and b"\n" not in value and b"\r" not in value:
            twisted_internals.raw_headers(self.responseHeaders)[spelled] = [value]
            return
        if spelled is None:
            _learn_spelling(name)  # before it is set: older Twisteds take any name
        self.responseHeaders.setRawHeaders(name, [value])

    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        """Set the status of the response.

        Args:
            code: of a final response, from 200 to 599, or 101; any other becomes 500.
            message: the reason phrase; None for the usual one.
        """
        if not isinstance(code, int) or not (200 <= code <= 599 or code == SWITCHING):
            self._log.error("{code} is not a status of a final response: 500 is sent", code=code)
            code, message = INTERNAL_SERVER_ERROR, None
        super().setResponseCode(code, message and message.translate(_ON_ONE_LINE))

    def _within_length(self, data: bytes) -> bytes:
        """As much of it as Content-Length allows: the rest would begin the next response."""
        assert self._length is not None
        room = self._length - self.sentLength
        self._excess += max(0, len(data) - room)
        return data[:room]

    def _say_wrong_length(self) -> None:
        self._log.error(
            "The answer to {method} {path} has {count} bytes and not {length}, as it says",
            method=printable(self.method),
            path=printable(self.uri.partition(b"?")[0]),
            count=self.sentLength + self._excess,
            length=self._length,
        )
        if not self._excess:
            self.channel.loseConnection()  # what is missing does not come


class _AlreadyRendered:
    """A resource that has already rendered: what came of it, once; then the resource again."""

    def __init__(
        self, resource: IResource, body: object = None, error: Exception | None = None
    ) -> None:
        self._resource = resource
        self._body = body
        self._error = error
        self.render = self._render_first

    def _render_first(self, request: Request) -> object:
        self.render = self._resource.render
        if self._error is not None:
            raise self._error
        return self._body

    def __repr__(self) -> str:
        return repr(self._resource)
