"""What Twisted's request promises to applications stays true: Twisted itself is the oracle.

Each small application is served twice, by Twisted's own site and by ours. What the client
reads and what the application sees is the same, apart from `DIFFERENCES`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from gzip import decompress
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web import server
from twisted.web.error import UnsupportedMethod
from twisted.web.iweb import IRequest
from twisted.web.pages import notFound
from twisted.web.resource import EncodingResourceWrapper, Resource
from twisted.web.server import NOT_DONE_YET, GzipEncoderFactory
from twisted.web.util import Redirect
from zope.interface.verify import verifyObject

from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request, take_response
from twisted_graceful.testing.memory_transport import CLIENT, SERVER

from ..case import SynchronousTestCase

Seen = list[Any]
Answer = Callable[[Any, Seen], Any]
"""Answers a request, and notes what it has seen."""

EPOCH = 86400 * 365
WHEN = "Fri, 01 Jan 1971 00:00:00 GMT"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}
PARTS = (
    b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
    b'--x\r\nContent-Disposition: form-data; name="f"; filename="n"\r\n\r\nfile\r\n--x--\r\n'
)
GZIP = {"Accept-Encoding": "gzip"}
BASIC = {"Authorization": "Basic dXNlcjpwYXNz"}


class Page(Resource):
    """Answers what is asked for with one method, and has itself for children."""

    isLeaf = True

    def __init__(self, answer: Answer, seen: Seen, method: str = "GET") -> None:
        super().__init__()
        setattr(self, f"render_{method}", lambda request: answer(request, seen))

    def __repr__(self) -> str:
        return "a page"


class OnlyGet(Page):
    """Knows but one method; with Twisted's `Resource`, who knows GET knows HEAD."""

    def render(self, request: Any) -> Any:
        """Answer to GET."""
        if request.method != b"GET":
            raise UnsupportedMethod([b"GET"])
        return self.render_GET(request)  # type: ignore[attr-defined]


class Everything(Resource):
    """Answers whatever is asked for."""

    isLeaf = True

    def __init__(self, answer: Answer, seen: Seen) -> None:
        super().__init__()
        self._answer = answer
        self._seen = seen

    def render(self, request: Any) -> Any:
        """Answer."""
        return self._answer(request, self._seen)

    def __repr__(self) -> str:
        return "any page"


def tree(answer: Answer, seen: Seen) -> Resource:
    """A page that is no leaf, two segments down."""
    root, middle = Resource(), Resource()
    root.putChild(b"a", middle)
    middle.putChild(b"b c", Everything(answer, seen))
    return root


def zipped(answer: Answer, seen: Seen) -> Resource:
    """A page that is encoded for who takes that."""
    return EncodingResourceWrapper(Page(answer, seen), [GzipEncoderFactory()])


def zipped_any(answer: Answer, seen: Seen) -> Resource:
    """The same, for all methods."""
    return EncodingResourceWrapper(Everything(answer, seen), [GzipEncoderFactory()])


@dataclass(frozen=True)
class Case:
    """An application, and what it is asked.

    Args:
        answer: the application.
        make: of it, a resource.
        request: the arguments of `format_request`.
        old: whether the client speaks HTTP/1.0.
        lost: whether the client is gone before the rest.
    """

    answer: Answer
    make: Callable[[Answer, Seen], Any] = Everything
    request: tuple[Any, ...] = ("GET", "/")
    old: bool = False
    lost: bool = False


@dataclass
class Result:
    """What came of it."""

    status: str = ""
    fields: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    ended: bool = False
    rest: bytes = b""
    seen: Seen = field(default_factory=list)


def attributes(*names: str) -> Answer:
    """Note these attributes of the request; those that can be called are."""

    def answer(request: Any, seen: Seen) -> bytes:
        for name in names:
            value = getattr(request, name)
            seen.append((name, repr(value() if callable(value) else value)))
        return b"seen"

    return answer


def does(*steps: Callable[[Any], Any], body: Any = b"body", code: int | None = None) -> Answer:
    """Do something with the request, note what that gave, and answer."""

    def answer(request: Any, seen: Seen) -> Any:
        if code is not None:
            request.setResponseCode(code)
        for step in steps:
            seen.append(tried(partial(step, request)))
        return body

    return answer


def tried(step: Callable[[], Any]) -> Any:
    """What a step gave, or how it failed."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            value = step()
    except Exception as error:
        return type(error).__name__
    return [each.category.__name__ for each in caught] or (
        value if isinstance(value, bytes | str | int | list | dict | None) else type(value).__name__
    )


def writes(*parts: Any, finish: bool = True, **headers: str) -> Answer:
    """Write these parts, one by one."""

    def answer(request: Any, seen: Seen) -> Any:
        for name, value in headers.items():
            request.setHeader(name.replace("_", "-"), value)
        for part in parts:
            seen.append(tried(lambda part=part: request.write(part)))  # type: ignore[misc]
        if finish:
            seen.append(tried(request.finish))
        return NOT_DONE_YET

    return answer


LATER: list[Callable[[], None]] = []
"""What is to be done when the request has been read."""


def later(*steps: Callable[[Any], Any]) -> Answer:
    """Answer when the method that was asked has returned."""

    def run(request: Any, seen: Seen) -> None:
        for step in steps:
            seen.append(tried(partial(step, request)))

    def answer(request: Any, seen: Seen) -> Any:
        request.notifyFinish().addBoth(lambda result: seen.append(("over", type(result).__name__)))
        LATER.append(lambda: run(request, seen))
        return NOT_DONE_YET

    return answer


class Producer:
    """Produces three parts when it is asked to."""

    def __init__(self, request: Any, seen: Seen) -> None:
        self._request = request
        self._seen = seen
        self._left = [b"one", b"two", b"three"]

    def resumeProducing(self) -> None:
        """Produce one."""
        self._request.write(self._left.pop(0))
        if not self._left:
            self._request.unregisterProducer()
            self._request.finish()

    def pauseProducing(self) -> None:
        """Produce no more."""
        self._seen.append("paused")

    def stopProducing(self) -> None:
        """Produce never more."""
        self._seen.append("stopped")


def pushes(request: Any, seen: Seen) -> Any:
    """Produce without being asked."""
    producer = Producer(request, seen)
    request.registerProducer(producer, True)
    seen.append(tried(lambda: request.registerProducer(producer, True)))
    LATER.extend([lambda: seen.append(tried(producer.resumeProducing))] * 3)
    return NOT_DONE_YET


def leaves_a_producer(request: Any, seen: Seen) -> Any:
    """Finish with a producer that is still registered."""
    request.registerProducer(Producer(request, seen), True)
    request.write(b"x")
    request.finish()
    return NOT_DONE_YET


def wraps(name: str) -> Answer:
    """Put something in the place of a method, on the instance, as some middleware does."""

    def answer(request: Any, seen: Seen) -> Any:
        original = getattr(request, name)

        def wrapper(*arguments: Any) -> Any:
            seen.append((name, arguments))
            return original(*arguments)

        setattr(request, name, wrapper)
        return b"wrapped"

    return answer


def writes_through_what_it_kept(request: Any, seen: Seen) -> Any:
    """Call a method that was taken from the request before its first use."""
    write = request.write
    write(b"one")
    write(b"two")
    request.finish()
    return NOT_DONE_YET


def notifies(request: Any, seen: Seen) -> Any:
    """Note the end of the request, twice."""
    for _ in range(2):
        request.notifyFinish().addBoth(seen.append)
    return b"x"


def has_a_session(request: Any, seen: Seen) -> Any:
    """Use a session."""
    session = request.getSession()
    seen.append((session is request.getSession(), session is request.session))
    seen.append(session.uid in request.site.sessions)
    seen.append([each.replace(session.uid, b"uid") for each in request.cookies])
    request.cookies.clear()
    session.expire()
    return b"x"


def fails(request: Any, seen: Seen) -> Any:
    """Do so."""
    raise ValueError("broken")


def begins_and_fails(request: Any, seen: Seen) -> Any:
    """Do so when the answer has begun."""
    request.write(b"begun")
    raise ValueError("broken")


def writes_and_returns(request: Any, seen: Seen) -> Any:
    """Do both."""
    request.write(b"written, ")
    return b"returned"


def set_default_type(request: Any) -> None:
    """Have no default."""
    request.defaultContentType = None


def cookie(**attributes: Any) -> Callable[[Any], None]:
    """Set a cookie."""
    return lambda request: request.addCookie(b"k", "v;\r\n", **attributes)


OK = does()
CASES: dict[str, Case] = {
    "GET": Case(OK),
    "empty body": Case(does(body=b"")),
    "bytes of a kind of their own": Case(does(body=type("B", (bytes,), {})(b"abc"))),
    "HEAD by Twisted": Case(OK, Page, ("HEAD", "/")),
    "HEAD by Twisted, not done": Case(writes(b"never"), Page, ("HEAD", "/")),
    "HEAD by GET": Case(OK, OnlyGet, ("HEAD", "/")),
    "HEAD by GET, empty": Case(does(body=b""), OnlyGet, ("HEAD", "/")),
    "HEAD by GET, no bytes": Case(does(body=None), OnlyGet, ("HEAD", "/")),
    "HEAD by GET, attributes": Case(attributes("method"), OnlyGet, ("HEAD", "/")),
    "HEAD by GET, written": Case(writes(b"a"), OnlyGet, ("HEAD", "/")),
    "HEAD by GET, later": Case(
        later(lambda r: r.method, lambda r: r.write(b"a"), lambda r: r.finish()),
        OnlyGet,
        ("HEAD", "/"),
    ),
    "HEAD by GET, fails": Case(fails, OnlyGet, ("HEAD", "/")),
    "HEAD, empty": Case(does(body=b""), request=("HEAD", "/")),
    "HEAD, with a body": Case(OK, request=("HEAD", "/")),
    "HEAD, written": Case(writes(b"a", b"b"), request=("HEAD", "/")),
    "HEAD, of a length": Case(writes(b"ab", Content_Length="2"), request=("HEAD", "/")),
    "written": Case(writes(b"a", b"", b"b")),
    "written, of a length": Case(writes(b"a", b"b", Content_Length="2")),
    "written, of length 0": Case(writes(Content_Length="0")),
    "nothing written": Case(writes()),
    "finished later": Case(later(lambda r: r.write(b"a"), lambda r: r.finish())),
    "finished twice": Case(later(lambda r: r.finish(), lambda r: r.finish())),
    "written after the end": Case(later(lambda r: r.finish(), lambda r: r.write(b"x"))),
    "written after the client": Case(later(lambda r: r.write(b"x")), lost=True),
    "finished after the client": Case(later(lambda r: r.finish()), lost=True),
    "attributes after the client": Case(
        later(lambda r: repr(r.channel), lambda r: r.isSecure(), lambda r: r.loseConnection()),
        lost=True,
    ),
    "attributes after the end": Case(
        later(
            lambda r: r.finish(),
            lambda r: r.channel,
            lambda r: r.isSecure(),
            lambda r: r.getHost().port,
            lambda r: r.sentLength,
            lambda r: (r.finished, r.startedWriting) == (1, 1),
        )
    ),
    "producer after the client": Case(
        later(lambda r: r.registerProducer(Producer(r, []), True)), lost=True
    ),
    "text": Case(does(body="text")),
    "None": Case(does(body=None)),
    "text, for HEAD": Case(does(body="text"), request=("HEAD", "/")),
    "text, written": Case(writes("text")),
    "a bytearray, written": Case(writes(bytearray(b"abc"))),
    "a bytearray, of a length": Case(writes(bytearray(b"abc"), Content_Length="3")),
    "a memoryview, of a length": Case(writes(memoryview(b"abc"), Content_Length="3")),
    "written and returned": Case(writes_and_returns),
    "fails": Case(fails),
    "fails for HEAD": Case(fails, request=("HEAD", "/")),
    "fails for a faked HEAD": Case(fails, Page, ("HEAD", "/")),
    "fails when it has begun": Case(begins_and_fails),
    "method not allowed": Case(OK, Page, ("POST", "/<a>")),
    "method not known": Case(OK, Page, ("BREW", "/")),
    "HEAD not allowed": Case(OK, partial(Page, method="POST"), ("HEAD", "/")),
    "not found": Case(OK, lambda answer, seen: notFound()),
    "no child": Case(OK, tree, ("GET", "/a/x")),
    "redirect": Case(does(lambda r: r.redirect(b"/there"))),
    "redirect, text": Case(does(lambda r: r.redirect("/there"))),
    "a resource that redirects": Case(OK, lambda answer, seen: Redirect(b"/there")),
    "304 and a body": Case(does(code=304)),
    "204 and a body": Case(does(code=204)),
    "304, written": Case(does(lambda r: r.write(b"a"), lambda r: r.finish(), body=1, code=304)),
    "status and reason": Case(does(lambda r: r.setResponseCode(299, b"Odd"))),
    "status without reason": Case(does(code=599)),
    "last modified": Case(does(lambda r: r.setLastModified(EPOCH))),
    "last modified, later": Case(
        does(lambda r: r.setLastModified(EPOCH + 0.5), lambda r: r.setLastModified(1))
    ),
    "last modified, twice told": Case(
        does(lambda r: r.setLastModified(EPOCH), lambda r: r.setHeader("last-modified", WHEN))
    ),
    "not modified": Case(
        does(lambda r: r.setLastModified(EPOCH), body=b""),
        request=("GET", "/", {"If-Modified-Since": WHEN}),
    ),
    "modified": Case(
        does(lambda r: r.setLastModified(EPOCH + 1)),
        request=("GET", "/", {"If-Modified-Since": WHEN}),
    ),
    "modified since nonsense": Case(
        does(lambda r: r.setLastModified(EPOCH)),
        request=("GET", "/", {"If-Modified-Since": "once"}),
    ),
    "entity tag": Case(does(lambda r: r.setETag(b'"a"'))),
    "entity tag, known": Case(
        does(lambda r: r.setETag(b'"a"'), body=b""),
        request=("GET", "/", {"If-None-Match": '"b" "a"'}),
    ),
    "entity tag, not known": Case(
        does(lambda r: r.setETag(b'"a"')), request=("GET", "/", {"If-None-Match": '"b"'})
    ),
    "entity tag, precondition": Case(
        does(lambda r: r.setETag(b'"a"')), request=("PUT", "/", {"If-None-Match": "*"})
    ),
    "cookies": Case(
        does(
            cookie(),
            cookie(expires=b"never", domain="d", path="/", max_age="1", comment=b"c"),
            cookie(secure=True, httpOnly=True, sameSite="None"),
            cookie(sameSite="none"),
            cookie(sameSite="odd"),
        )
    ),
    "cookies received": Case(
        does(
            lambda r: r.received_cookies,
            lambda r: r.getCookie(b"a"),
            lambda r: r.getCookie(b"none"),
            lambda r: r.getHeader("cookie"),
        ),
        request=("GET", "/", {"Cookie": "a=1; b=2;c; d=e=f;a=3"}),
    ),
    "session": Case(has_a_session),
    "session below": Case(has_a_session, tree, ("GET", "/a/b%20c")),
    "arguments": Case(attributes("args"), request=("GET", "/?a=1&a=2&b=%20&c=&d")),
    "no arguments": Case(attributes("args", "uri", "path"), request=("GET", "/?")),
    "arguments of a POST": Case(
        attributes("args", "getAllHeaders"), request=("POST", "/?a=0&b=1", FORM, b"a=1&c=2")
    ),
    "arguments of an empty POST": Case(attributes("args"), request=("POST", "/?a=0", FORM)),
    "arguments of a PUT": Case(attributes("args"), request=("PUT", "/?a=0", FORM, b"a=1")),
    "arguments of parts": Case(attributes("args"), request=("POST", "/", MULTIPART, PARTS)),
    "arguments of parts, a name outside of ASCII": Case(
        attributes("args"), request=("POST", "/", MULTIPART, PARTS.replace(b'"a"', b'"\xc3\xa4"'))
    ),
    "arguments of parts, an escaped quote": Case(
        attributes("args"), request=("POST", "/", MULTIPART, PARTS.replace(b'"a"', b'"a%22"'))
    ),
    "arguments of parts, encoded": Case(
        attributes("args"),
        request=(
            "POST",
            "/",
            MULTIPART,
            PARTS.replace(b"\r\n\r\n1", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD"),
        ),
    ),
    "arguments of parts in a part": Case(
        attributes("args"),
        request=(
            "POST",
            "/",
            MULTIPART,
            PARTS.replace(b"\r\n\r\n1", b"\r\nContent-Type: multipart/mixed; boundary=y\r\n\r\n1"),
        ),
    ),
    "arguments of parts, the last boundary missing": Case(
        attributes("args"), request=("POST", "/", MULTIPART, PARTS[:-7])
    ),
    "arguments of no parts": Case(
        attributes("args"), request=("POST", "/", MULTIPART, b"nonsense")
    ),
    "a malformed form that nobody asks for": Case(
        OK, request=("POST", "/", MULTIPART, b"nonsense")
    ),
    "content": Case(
        does(lambda r: r.content.read(), lambda r: r.content.seek(1), lambda r: r.content.read()),
        request=("POST", "/", {}, b"abc"),
    ),
    "content of a form": Case(
        does(lambda r: r.content.read()), request=("POST", "/", FORM, b"a=1&c=2")
    ),
    "no content": Case(does(lambda r: r.content.read())),
    "fields of our own": Case(
        does(
            lambda r: r.setHeader("server", "x"),
            lambda r: r.setHeader(b"content-type", b"text/plain"),
            lambda r: r.setHeader("x-a", "1"),
            lambda r: r.responseHeaders.addRawHeader(b"X-A", b"2"),
        )
    ),
    "fields removed": Case(
        does(
            lambda r: r.responseHeaders.removeHeader(b"Server"),
            lambda r: r.responseHeaders.removeHeader("date"),
            lambda r: sorted(name for name, _ in r.responseHeaders.getAllRawHeaders()),
        )
    ),
    "fields replaced": Case(
        does(lambda r: setattr(r, "responseHeaders", type(r.responseHeaders)()))
    ),
    "no default type": Case(does(set_default_type)),
    "gzip": Case(OK, zipped, ("GET", "/", GZIP)),
    "gzip, not asked for": Case(OK, zipped),
    "gzip, nothing": Case(does(body=b""), zipped, ("GET", "/", GZIP)),
    "gzip, written": Case(writes(b"a" * 9, b"b" * 9), zipped, ("GET", "/", GZIP)),
    "gzip, later": Case(
        later(lambda r: r.write(b"a"), lambda r: r.finish()), zipped, ("GET", "/", GZIP)
    ),
    "gzip, of a length": Case(writes(b"ab", Content_Length="2"), zipped, ("GET", "/", GZIP)),
    "gzip, nothing written": Case(writes(), zipped, ("GET", "/", GZIP)),
    "gzip, HEAD": Case(OK, zipped_any, ("HEAD", "/", GZIP)),
    "gzip, HEAD by Twisted": Case(OK, zipped, ("HEAD", "/", GZIP)),
    "gzip, 304": Case(does(code=304, body=b""), zipped, ("GET", "/", GZIP)),
    "gzip, old": Case(OK, zipped, ("GET", "/", GZIP), old=True),
    "producer": Case(pushes),
    "producer, client gone": Case(pushes, lost=True),
    "producer left": Case(leaves_a_producer),
    "write, wrapped": Case(wraps("write")),
    "write, wrapped, HEAD": Case(wraps("write"), request=("HEAD", "/")),
    "finish, wrapped": Case(wraps("finish")),
    "setHeader, wrapped": Case(wraps("setHeader")),
    "write, kept": Case(writes_through_what_it_kept),
    "write, kept, HEAD": Case(writes_through_what_it_kept, request=("HEAD", "/")),
    "notified": Case(notifies),
    "client gone": Case(later(), lost=True),
    "paths": Case(
        attributes(
            "prepath",
            "postpath",
            "sitepath",
            "URLPath",
            "prePathURL",
            "path",
            "uri",
            "method",
            "clientproto",
            "rememberRootURL",
            "getRootURL",
            "getRequestHostname",
        ),
        tree,
        ("GET", "/a/b%20c/d%2Fe//f?x"),
    ),
    "links": Case(
        does(lambda r: r.childLink(b"x"), lambda r: r.sibLink(b"x")), tree, ("GET", "/a/b%20c/d/e")
    ),
    "links without rest": Case(
        does(lambda r: r.childLink(b"x"), lambda r: r.sibLink(b"x")), tree, ("GET", "/a/b%20c")
    ),
    "addresses": Case(attributes("getClientAddress", "getHost", "isSecure", "client", "host")),
    "host set": Case(
        does(
            lambda r: r.setHost(b"example.com", 443, 1),
            lambda r: r.isSecure(),
            lambda r: r.prePathURL(),
            lambda r: r.getHeader(b"host"),
            lambda r: str(r.getHost()),
        )
    ),
    "who": Case(attributes("getUser", "getPassword"), request=("GET", "/", BASIC)),
    "nobody": Case(attributes("getUser", "getPassword")),
    "defaults": Case(
        attributes(
            "code",
            "code_message",
            "cookies",
            "startedWriting",
            "finished",
            "chunked",
            "sentLength",
            "etag",
            "lastModified",
            "producer",
            "appRootURL",
            "defaultContentType",
            "received_cookies",
            "session",
        )
    ),
    "headers": Case(
        does(
            lambda r: r.getHeader("x-a"),
            lambda r: r.getHeader(b"X-A"),
            lambda r: r.getAllHeaders(),
            lambda r: sorted(r.requestHeaders.getAllRawHeaders()),
            lambda r: r.requestHeaders.hasHeader("none"),
        ),
        request=("GET", "/", {"x-a": " 1 ", "X-Long-name": "2"}),
    ),
    "attributes of its own": Case(
        does(lambda r: setattr(r, "user", b"u"), lambda r: r.getUser(), lambda r: r == r)
    ),
    "components": Case(does(lambda r: r.setComponent(dict, {}), lambda r: r.getComponent(dict))),
    "interface": Case(does(lambda r: verifyObject(IRequest, r))),
    "OPTIONS *": Case(OK, request=("OPTIONS", "*")),
    "old client": Case(OK, old=True),
    "old client, written": Case(writes(b"a", b"b"), old=True),
    "old client, kept": Case(OK, request=("GET", "/", {"Connection": "keep-alive"}), old=True),
    "close asked for": Case(OK, request=("GET", "/", {"Connection": "close"})),
    "close told": Case(does(lambda r: r.setHeader("connection", "close"))),
    "connection ended": Case(later(lambda r: r.write(b"a"), lambda r: r.loseConnection())),
}


DIFFERENCES: dict[str, tuple[str, ...]] = {
    "the names of a form are the bytes that were sent, or what a browser has escaped": (
        "arguments of parts, a name outside of ASCII",
        "arguments of parts, an escaped quote",
    ),
    "a part that is in parts itself has a value, and not None": ("arguments of parts in a part",),
    "a form that was cut is malformed": ("arguments of parts, the last boundary missing",),
    "Twisted rejects a form before the application asks, without a word": (
        "arguments of no parts",
        "a malformed form that nobody asks for",
    ),
    "Twisted sends bytes that the client takes for its next answer": (
        "gzip, HEAD",
        "gzip, HEAD by Twisted",
        "gzip, 304",
        "write, kept, HEAD",
    ),
    "Twisted does not answer a HEAD that fails, or finishes, when it is asked as a GET": (
        "HEAD by GET, no bytes",
        "HEAD by GET, written",
        "HEAD by GET, fails",
    ),
    "Twisted answers before the application has, and complains when that does": (
        "HEAD by GET, later",
    ),
    "204 must not have a Content-Length, and 304 not that of another body (RFC 9110 section 8.6)": (
        "304 and a body",
        "204 and a body",
        "not modified",
        "entity tag, known",
    ),
    "an encoded body has a type, be it the encoding of nothing": (
        "gzip, nothing",
        "gzip, nothing written",
    ),
    "what is given as the length of a whole answer is not set by a method": ("setHeader, wrapped",),
    "the last answer says so, also to HTTP/1.0 (RFC 9112 section 9.6)": (
        "gzip, old",
        "old client",
        "old client, written",
    ),
    "a client of HTTP/1.0 may keep its connection (RFC 9112 section 9.3)": ("old client, kept",),
    "an application that says close is taken at its word": ("close told",),
    "what is like bytes is sent, as by a real transport of Twisted": (
        "a bytearray, of a length",
        "a memoryview, of a length",
    ),
}
"""Cases in which we differ, by the reason."""


def asked(case: Case) -> bytes:
    """The request of a case."""
    request = format_request(*case.request)
    return request.replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n") if case.old else request


def understood(result: Result, case: Case, received: bytes, ended: bool) -> Result:
    """Take the answer out of what the client has received."""
    rest = bytearray(received)
    line = received.partition(b"\r\n")[0].decode()
    response = take_response(rest, case.request[0], ended=ended)
    if response is not None:
        result.status = line
        result.fields = sorted((n.lower(), v) for n, v in response.headers.items() if n != "Date")
        result.body = re.sub(rb"at 0x[0-9a-f]+", b"", response.body)
        if response.headers["Content-Encoding"] == "gzip" and response.body:
            result.body = decompress(response.body)
    result.rest = re.sub(rb"Date: [^\r]*\r\n", b"", rest)
    result.ended = ended or case.lost
    return result


def by_twisted(case: Case) -> Result:
    """Let Twisted serve it."""
    result = Result()
    site = server.Site(case.make(case.answer, result.seen), reactor=Clock())
    channel: Any = site.buildProtocol(IPv4Address("TCP", *CLIENT))
    transport = StringTransport(IPv4Address("TCP", *SERVER), IPv4Address("TCP", *CLIENT))
    channel.makeConnection(transport)
    try:
        channel.dataReceived(asked(case))
    except RuntimeError as error:
        result.seen.append(type(error).__name__)
    if case.lost:
        if transport.producer is not None:  # as a real transport does
            transport.producer.stopProducing()
        channel.connectionLost(Failure(ConnectionDone()))
    run_later(result.seen)
    return understood(result, case, transport.value(), transport.disconnecting)


def by_us(case: Case) -> Result:
    """Serve it."""
    result = Result()
    client = MemoryServer(case.make(case.answer, result.seen)).connect()
    client.send(asked(case))
    if case.lost:
        client.abort()
    run_later(result.seen)
    return understood(result, case, client.received, client.ended)


def run_later(seen: Seen) -> None:
    """Do what is left to do."""
    steps = LATER[:]
    LATER.clear()
    for step in steps:
        step()


class OracleTests(SynchronousTestCase):
    """All cases."""

    def results(self, serve: Callable[[Case], Result]) -> dict[str, Result]:
        """What comes of each."""
        results = {name: serve(case) for name, case in CASES.items()}
        self.flushLoggedErrors()
        return results

    def test_as_by_twisted(self) -> None:
        """What the client reads and the application sees is as with Twisted, or is listed."""
        theirs, ours = self.results(by_twisted), self.results(by_us)
        listed = {name for names in DIFFERENCES.values() for name in names}
        differing = {name for name in CASES if theirs[name] != ours[name]}
        for name in sorted(differing - listed):
            with self.subTest(name=name):
                self.assertEqual(theirs[name], ours[name])
        self.assertEqual(listed - differing, set(), "no longer different")

    def test_nothing_follows_an_answer(self) -> None:
        """Whatever the application does, what the client reads is one answer, or less."""
        rests = {name: result.rest for name, result in self.results(by_us).items() if result.rest}
        self.assertEqual(rests.pop("connection ended")[:15], b"HTTP/1.1 200 OK")  # begun
        self.assertEqual(rests, {})
