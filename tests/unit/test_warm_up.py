"""Warm-up: what an application must answer before it serves."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted
from twisted.internet.task import deferLater
from twisted.logger import LogLevel, capturedLogs, formatEvent
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from twisted_graceful import Server, SettingsError, WarmUpError, new
from twisted_graceful.config.settings import Settings
from twisted_graceful.http import warm_up
from twisted_graceful.process.upgrade.messages import REASON_LIMIT

from ..case import TestCase
from ..certificates import ONE, ONE_KEY
from .secure import certificate_file
from .support import leaves_nothing_open, temporary_directory
from .web import fetch

Page = Callable[[Any], "bytes | int"]


class Pages(Resource):
    """Pages by their path; any other says so.

    Attributes:
        seen: the requests.
    """

    isLeaf = True

    def __init__(self, **pages: Page) -> None:
        super().__init__()
        self.pages = pages
        self.seen: list[Any] = []

    def render(self, request: Any) -> bytes | int:
        """The page."""
        self.seen.append(request)
        page = self.pages.get(request.path.decode().strip("/"))
        return b"a page" if page is None else page(request)


def status(code: int, body: bytes = b"") -> Page:
    """A page with a status."""

    def page(request: Any) -> bytes:
        request.setResponseCode(code)
        return body

    return page


def never(request: Any) -> int:
    """A page that never comes."""
    return NOT_DONE_YET


def chunks(request: Any) -> int:
    """A page in two parts, which takes its time."""
    from twisted.internet import reactor

    request.write(b"one")
    deferLater(reactor, 0.01, request.finish)
    return NOT_DONE_YET


def half(request: Any) -> int:
    """A page of which the rest does not come."""
    request.setHeader(b"Content-Length", b"100")
    request.write(b"half of it")
    request.transport.abortConnection()
    return NOT_DONE_YET


class WarmUpTestCase(TestCase):
    """A server that is loaded, and not bound."""

    timeout = 20

    def server(self, app: Any, *paths: str, **settings: Any) -> Server:
        """A server that warms up; what it has loaded is given up at the end."""
        server = new("127.0.0.1:0", app, warm_up=paths, **settings)
        self.addCleanup(server.stopService)
        return server

    async def fails(self, app: Any, path: str = "/x", **settings: Any) -> str:
        """What is said of a warm-up that fails, and leaves nothing behind."""
        server = self.server(app, path, **settings)
        try:
            await server.load()
        except WarmUpError as error:
            await server.stopService()
            return str(error)
        raise AssertionError("it did not fail")


class AnswerTests(WarmUpTestCase):
    """Which answers are good ones."""

    async def test_one_after_the_other(self) -> None:
        """The requests are made in the order given, each when the one before is answered."""
        pages = Pages(chunks=chunks)
        await self.server(pages, "/b", "/chunks", "/a?x=1").load()
        asked = [each.uri for each in pages.seen]
        self.assertEqual(asked, [b"/b", b"/chunks", b"/a?x=1"])
        self.assertTrue(all(each.finished for each in pages.seen))

    async def test_the_request(self) -> None:
        """The application sees a local client that names itself, and the host that was given."""
        seen: list[tuple[bytes, bool]] = []

        def page(request: Any) -> bytes:
            seen.append((request.prePathURL(), request.isSecure()))
            self.assertEqual((request.method, request.clientproto), (b"GET", b"HTTP/1.1"))
            self.assertEqual(request.getClientAddress().host, "127.0.0.1")
            self.assertEqual(request.getHeader(b"User-Agent"), b"twisted-graceful warm-up")
            return b""

        paths = ("/x", "http://example.com:81/x", "https://example.com/x")
        await self.server(Pages(x=page), *paths).load()
        expected = [
            (b"http://localhost/", False),
            (b"http://example.com:81/", False),
            (b"https://example.com/", True),
        ]
        self.assertEqual(seen, expected)

    async def test_of_a_port_for_tls(self) -> None:
        """An application that is served over TLS only takes its warm-up for that too."""
        seen: list[bytes] = []

        def page(request: Any) -> bytes:
            seen.append(request.prePathURL())
            return b""

        path = certificate_file(self, ONE, ONE_KEY)
        await self.server(Pages(x=page), "/x", tls_cert=path).load()
        self.assertEqual(seen, [b"https://localhost/"])

    async def test_statuses(self) -> None:
        """Whatever is no error of the server's is an answer, and is followed nowhere."""
        for code in (200, 204, 301, 401, 404, 499):
            with self.subTest(code=code):
                pages = Pages(x=status(code))
                await self.server(pages, "/x").load()
                self.assertEqual(len(pages.seen), 1)

    async def test_an_error_of_the_server(self) -> None:
        """A status of 500 and more fails, with the first lines of the body, fit for a terminal."""
        for code in (500, 503, 599):
            with self.subTest(code=code):
                said = await self.fails(
                    Pages(x=status(code, b"the \x1b[1mdatabase\n\nis down\xff"))
                )
                lines = said.split("\n")
                self.assertIn(f"the warm-up request GET /x was answered {code}", lines[0])
                self.assertEqual(
                    lines[1:], ["    the  [1mdatabase", "    is down\N{REPLACEMENT CHARACTER}"]
                )

    async def test_an_exception(self) -> None:
        """An application that raises has answered 500."""

        def broken(request: Any) -> bytes:
            raise ZeroDivisionError

        self.assertIn("was answered 500 Internal", await self.fails(Pages(x=broken)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    async def test_a_large_answer(self) -> None:
        """A large answer is read to its end, and of a large error as little kept as is shown."""
        large = b"x" * (5 << 20)
        await self.server(Pages(x=lambda request: large), "/x").load()
        said = await self.fails(Pages(x=status(500, large)))
        self.assertLess(len(said), REASON_LIMIT)

    async def test_an_endless_error(self) -> None:
        """An error whose body does not end fails as soon as enough is known."""

        def page(request: Any) -> int:
            request.setResponseCode(502)
            request.write(b"line\n" * 1000)
            return NOT_DONE_YET

        self.assertIn("answered 502 Bad Gateway\n    line", await self.fails(Pages(x=page)))

    async def test_half_an_answer(self) -> None:
        """An answer that breaks off is an error, and its begin is shown."""
        said = await self.fails(Pages(x=half))
        self.assertIn("answered 200 OK, but not in whole (Connection", said)
        self.assertIn("half of it", said)

    async def test_no_answer_at_all(self) -> None:
        """A connection that is closed without an answer is an error."""

        def page(request: Any) -> int:
            request.transport.abortConnection()
            return NOT_DONE_YET

        self.assertIn("GET /x was not answered (Connection", await self.fails(Pages(x=page)))

    async def test_no_http(self) -> None:
        """What is no HTTP is an error."""

        def page(request: Any) -> int:
            request.channel.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
            return NOT_DONE_YET

        self.assertIn("GET /x was not answered (", await self.fails(Pages(x=page)))

    async def test_no_answer_in_time(self) -> None:
        """An answer must come, and end, in time; the application hears that nobody waits."""
        gone: list[Any] = []

        def begun(request: Any) -> int:
            request.notifyFinish().addErrback(gone.append)
            request.write(b"begun")
            return NOT_DONE_YET

        said = await self.fails(Pages(x=never), warm_up_timeout=0.05)
        self.assertIn("GET /x was not answered within 0.05 seconds", said)
        said = await self.fails(Pages(x=begun), warm_up_timeout=0.05)
        self.assertIn("answered 200 OK, but not in whole within 0.05 seconds", said)
        self.assertEqual([each.type for each in gone], [ConnectionAborted])

    async def test_handler_timeout(self) -> None:
        """The server's own 503 of an application that is too slow fails too."""
        said = await self.fails(Pages(x=never), handler_timeout=0.05)
        self.assertIn("answered 503 Service Unavailable\n", said)
        self.assertIn("The application did not answer in time", said)

    async def test_event_stream(self) -> None:
        """The head of an event stream is all that is awaited of it."""
        gone: list[Any] = []

        def page(request: Any) -> int:
            request.notifyFinish().addErrback(gone.append)
            request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
            request.write(b"data: 1\n\n")
            return NOT_DONE_YET

        await self.server(Pages(x=page), "/x").load()
        self.assertEqual(len(gone), 1)

    async def test_wsgi(self) -> None:
        """A WSGI application answers in its threads, as it does to clients."""
        asked: list[tuple[str, str]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            asked.append((environ["HTTP_HOST"], environ["REMOTE_ADDR"]))
            start_response("500 No", [])
            return [b"no"]

        self.assertIn("500 No\n    no", await self.fails(app, wsgi=True))
        self.assertEqual(asked, [("localhost", "127.0.0.1")])


class TraceTests(WarmUpTestCase):
    """What a warm-up leaves behind: nothing."""

    async def test_no_client_was_there(self) -> None:
        """It is in no access log, takes no room, is not counted, and leaves no connection."""
        log = Path(temporary_directory(self)) / "access.log"
        pages = Pages()
        server = self.server(pages, "/x", "/y", access_log=str(log))
        free: list[int] = []

        def page(request: Any) -> bytes:
            free.append(server.listening.limit.free)
            return b"y"

        pages.pages["y"] = page
        accepts = server.ready()
        server.startService()
        await accepts
        self.assertEqual(free, [server.listening.limit.free])
        self.assertEqual((server.answered, server.connected), (0, 0))
        await fetch(server.urls[0] + "/z")
        report = await server.stopService()
        self.assertEqual((report.answered, report.cut), (0, ()))
        self.assertEqual(len(log.read_text().splitlines()), 1)
        self.assertIn("/z", log.read_text())

    async def test_nothing_stays_open(self) -> None:
        """Neither a good warm-up nor one that fails leaves a descriptor open."""
        await self.fails(Pages(x=never), warm_up_timeout=0.01)  # what is opened only once
        with leaves_nothing_open(self):
            await self.fails(Pages(x=never), warm_up_timeout=0.01)
            server = self.server(Pages(), "/x", "/y")
            await server.load()
            await server.stopService()

    async def test_stopped_meanwhile(self) -> None:
        """A stop ends it at once, cuts nothing, and is no failure."""
        gone: Deferred[Any] = Deferred()

        def page(request: Any) -> int:
            request.notifyFinish().addErrback(lambda failure: gone.callback(failure.type))
            return NOT_DONE_YET

        pages = Pages(x=page)
        server = self.server(pages, "/x", "/y")
        server.startService()
        while not pages.seen:
            await turn()
        with capturedLogs() as events:
            report = await server.stopService()
        [said] = [each for each in events if each["log_level"] is LogLevel.warn]  # for who waits
        self.assertIn("GET /x has no answer yet", formatEvent(said))
        self.assertEqual((report.answered, report.closed_idle, report.cut), (0, 0, ()))
        self.assertIs(await gone, ConnectionAborted)
        self.assertEqual(len(pages.seen), 1)

    async def test_no_descriptor_left(self) -> None:
        """If there is no descriptor for it, that is the reason."""

        def refuse() -> Any:
            raise OSError(24, "Too many open files")

        self.patch(warm_up.socket, "socketpair", refuse)
        said = await self.fails(Pages())
        self.assertIn("was not answered (OSError: [Errno 24] Too many open files)", said)
        self.assertIs(warm_up.socket, socket)


class SettingTests(TestCase):
    """What can be given as ``warm_up``."""

    def test_one_or_several(self) -> None:
        """One text is one path; a sequence is kept in its order."""
        self.assertEqual(Settings(warm_up="/a").warm_up, ("/a",))  # type: ignore[arg-type]
        self.assertEqual(Settings(warm_up=["/b", "/a"]).warm_up, ("/b", "/a"))  # type: ignore[arg-type]

    def test_what_is_no_path(self) -> None:
        """What could not be sent as it is, or has no path, is refused by its name."""
        wrong: tuple[Any, ...] = ("health", "", "/a b", "/\xe4", "/a#b", "http://host", "ftp://a/")
        for each in (*wrong, "http:///x", 7, b"/x"):
            with self.subTest(each=each):
                error = self.assertRaises(SettingsError, Settings, warm_up=[each])
                self.assertIn(f"not {each!r}", error.accepted)
        self.assertRaises(SettingsError, Settings, warm_up=7)


def turn() -> Deferred[Any]:
    """Let the reactor do what is due."""
    from twisted.internet import reactor

    return deferLater(reactor, 0)
