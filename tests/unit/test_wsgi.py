"""WSGI applications: their environ, their responses, and how they end."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.web.resource import Resource

from twisted_graceful.app.wsgi.call import LIMIT, Call
from twisted_graceful.app.wsgi.environ import EnvironFactory
from twisted_graceful.app.wsgi.resource import WSGIResource
from twisted_graceful.app.wsgi.response_head import response_head
from twisted_graceful.app.wsgi.threads import Threads
from twisted_graceful.testing import MemoryConnection, MemoryServer, Response
from twisted_graceful.testing.http_messages import format_request

from ..case import SynchronousTestCase
from .http2_client import Http2Client, fields, http2_server
from .web import timers_left

TEXT = ("Content-Type", "text/plain")
OVER = 20
"""Seconds that a thread may take on a busy machine."""


def environs(**options: Any) -> EnvironFactory:
    """Makes environs, with nothing of its own in them."""
    chosen = {"extra": {}, "multithread": True, "multiprocess": lambda: False, **options}
    return EnvironFactory(chosen.pop("extra"), **chosen)


def responding(*parts: Any, status: Any = "200 OK", headers: Any = None) -> Any:
    """An application that responds with these parts."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
        start_response(status, [TEXT] if headers is None else headers)
        return list(parts)

    return app


def generating(*parts: Any, headers: Any = (TEXT,), error: bool = False) -> Any:
    """An application that yields these parts one by one, and may fail after them."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterator[Any]:
        start_response("200 OK", [*headers])
        yield from parts
        if error:
            raise RuntimeError("in the middle")

    return app


class Closing:
    """A body that counts how often it is closed."""

    def __init__(self, parts: Iterable[Any] = (b"abc", b"def"), error: bool = False) -> None:
        self.parts = parts
        self.error = error
        self.closed = 0

    def __iter__(self) -> Iterator[Any]:
        return iter(self.parts)

    def close(self) -> None:
        """Count, and maybe fail."""
        self.closed += 1
        if self.error:
            raise ValueError("in close")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[Any]:
        """Be the application, too."""
        start_response("200 OK", [TEXT])
        return self


class WSGITestCase(SynchronousTestCase):
    """A server in memory whose application is called by the test's own thread."""

    def serve(self, app: Any, make: Any = MemoryServer, **settings: Any) -> MemoryServer:
        """Serve an application; the calls that have been made wait in `calls` if `held`."""
        self.held = False
        self.calls: list[Call] = []
        clock = Clock()

        def run(call: Call) -> None:
            self.calls.append(call)
            if not self.held:
                call.run()

        resource = WSGIResource(app, environs(), run, lambda call: clock.callLater(0, call))
        self.server: MemoryServer = make(resource, clock=clock, **settings)
        return self.server

    def ask(
        self,
        app: Any,
        method: str = "GET",
        path: str = "/",
        headers: dict[str, str] | None = None,
        body: bytes = b"",
    ) -> Response:
        """The response of an application to a request."""
        return self.serve(app).request(method, path, headers, body)

    def environ(self, raw: bytes = b"", **options: Any) -> dict[str, Any]:
        """The environ of a request."""
        seen: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            seen.append({**environ, "body": environ["wsgi.input"].read()})
            start_response("204 No Content", [])
            return []

        server = self.serve(app)
        if raw:
            server.connect().send(raw)
        else:
            server.request(options.pop("method", "GET"), options.pop("path", "/"), **options)
        [environ] = seen
        return environ

    def failed(self, error: type[BaseException], text: str = "") -> None:
        """Make sure that exactly one failure was logged, of this kind."""
        logged = self.flushLoggedErrors()
        self.assertEqual([each.type for each in logged], [error])
        self.assertIn(text, str(logged[0].value))


class EnvironTests(WSGITestCase):
    """The environ."""

    def test_valid(self) -> None:
        """Applications under `wsgiref.validate` find nothing to complain of."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            body = environ["wsgi.input"].read(-1)
            status = "204 No Content" if environ["PATH_INFO"] == "/204" else "200 OK"
            write = start_response(status, [] if status[0:3] == "204" else [TEXT])
            if environ["PATH_INFO"] == "/write":
                write(b"written ")
            return iter([b"", body, b"!"]) if body else []

        requests = [
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET /a%2Fb%ff//c?x=%20 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"OPTIONS http://[::1]:81/write HTTP/1.1\r\nHost: a\r\n\r\n",
            format_request("POST", "/", {"Content-Type": "a/b", "Expect": "100-continue"}, b"x"),
            format_request("POST", "/write", {"Transfer-Encoding": "chunked"})
            + b"1\r\nx\r\n0\r\n\r\n",
            format_request("HEAD", "/"),
            format_request("GET", "/204"),
        ]
        for raw in requests:
            with self.subTest(raw=raw), warnings.catch_warnings():
                warnings.simplefilter("error")
                client = self.serve(validator(app)).connect()
                client.send(raw)
                status = int(client.received.rpartition(b"HTTP/1.")[2].split()[1])
                self.assertEqual(
                    (status, self.flushLoggedErrors()), (204 if b"204" in raw else 200, [])
                )

    def test_fields(self) -> None:
        """Fields are CGI variables, and no field can pose as another one."""
        environ = self.environ(
            b"POST /a%2Fb%C3%A9?q=%20 HTTP/1.1\r\nHost: example.com:81\r\nX-User: a\r\n"
            b"X_User: root\r\nX_Alone: root\r\nContent_Length: 9\r\nX-User: b\r\n"
            b"Cookie: a=1; b=2\r\nCookie: c=3\r\nContent-Type: text/plain\r\n"
            b"Content-Length: 2\r\n\r\nxy"
        )
        expected = {
            "REQUEST_METHOD": "POST",
            "SCRIPT_NAME": "",
            "PATH_INFO": "/a/b\xc3\xa9",
            "QUERY_STRING": "q=%20",
            "REQUEST_URI": "/a%2Fb%C3%A9?q=%20",
            "SERVER_NAME": "example.com",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_PORT": "54321",
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": "2",
            "wsgi.url_scheme": "http",
            "wsgi.input_terminated": True,
            "body": b"xy",
        }
        self.assertEqual({name: environ[name] for name in expected}, expected)
        given = {name: value for name, value in environ.items() if name.startswith("HTTP_")}
        cookies = "a=1; b=2; c=3"
        self.assertEqual(
            given, {"HTTP_HOST": "example.com:81", "HTTP_X_USER": "a,b", "HTTP_COOKIE": cookies}
        )

    def test_fields_of_http2(self) -> None:
        """The same is so with HTTP/2, where a body needs no length."""
        seen: list[dict[str, Any]] = []

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            seen.append({**environ, "body": environ["wsgi.input"].read()})
            start_response("200 OK", [TEXT, ("Connection", "close")])
            return [b"done"]

        client = Http2Client(self.serve(app, http2_server))
        asked = [*fields("POST"), ("x_user", "root"), ("cookie", "a=1"), ("cookie", "b=2")]
        number = client.request(*asked, body=b"abc")
        client.exchange()
        self.assertEqual(client.answers[number].body, b"done")
        names = ("SERVER_PROTOCOL", "CONTENT_LENGTH", "HTTP_COOKIE", "body")
        self.assertEqual([seen[0][name] for name in names], ["HTTP/2", "3", "a=1; b=2", b"abc"])
        self.assertNotIn("HTTP_X_USER", seen[0])

    def test_no_body(self) -> None:
        """Variables for missing parts of a request are not set."""
        environ = self.environ()
        self.assertNotIn("CONTENT_LENGTH", environ)
        self.assertNotIn("CONTENT_TYPE", environ)
        self.assertEqual(self.environ(headers={"Content-Length": "0"})["CONTENT_LENGTH"], "0")

    def test_chunked(self) -> None:
        """A chunked body has a CONTENT_LENGTH, and its transfer coding is hidden."""
        fields = {"Transfer-Encoding": "chunked"}
        environ = self.environ(
            format_request("POST", "/", fields) + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
        )
        self.assertEqual((environ["CONTENT_LENGTH"], environ["body"]), ("11", b"hello world"))
        self.assertNotIn("HTTP_TRANSFER_ENCODING", environ)

    def test_below_a_path(self) -> None:
        """Below other resources the path is divided between SCRIPT_NAME and PATH_INFO."""

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [TEXT])
            return [f"{environ['SCRIPT_NAME']}|{environ['PATH_INFO']}".encode("latin-1")]

        leaf = self.serve(app).site.resource
        root = Resource()
        root.putChild(b"a b", leaf)
        self.server.site.resource = root
        for path, told in (("/a%20b", "/a b|"), ("/a%20b/", "/a b|/"), ("/a%20b/c", "/a b|/c")):
            with self.subTest(path=path, told=told):
                self.assertEqual(self.server.get(path).body.decode(), told)

    def test_processes_and_threads(self) -> None:
        """Applications know whether others of their kind run at the same time."""
        processes = [1]
        made = [
            EnvironFactory({}, multithread=threads > 1, multiprocess=lambda: processes[0] > 1)
            for threads in (1, 2)
        ]
        told = []

        class Keep(Resource):
            isLeaf = True

            def render(self, request: Any) -> bytes:
                for each in made:
                    environ = each.make(request, request.content)
                    told.append((environ["wsgi.multithread"], environ["wsgi.multiprocess"]))
                return b""

        server = MemoryServer(Keep())
        server.get("/")
        processes[0] = 2
        server.get("/")
        self.assertEqual(told, [(False, False), (True, False), (False, True), (True, True)])

    def test_errors(self) -> None:
        """Lines that are written to wsgi.errors are logged, what is in braces as it stands."""
        lines: list[str] = []

        def observe(event: Any) -> None:
            if event["log_namespace"] == "wsgi":
                lines.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

        def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            print("one {x}", 2, file=environ["wsgi.errors"])
            environ["wsgi.errors"].writelines(["a\nb", "c"])
            start_response("200 OK", [TEXT])
            return []

        self.ask(app)
        self.assertEqual(lines, ["one {x} 2", "a", "bc"])


class ResponseTests(WSGITestCase):
    """What becomes of responses that can be sent."""

    def test_bodies(self) -> None:
        """Bodies arrive as they were given: at once, in parts, late or not at all."""

        def writes(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            write = start_response("200 OK", [TEXT])
            write(b"a")
            write(b"")
            return [b"b"]

        def file(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [TEXT])
            wrap: Iterable[bytes] = environ["wsgi.file_wrapper"](environ["wsgi.input"], 4)
            return wrap

        for name, app, body, length in (
            ("list", responding(b"a", b"", b"bc"), b"abc", "3"),
            ("empty list", responding(), b"", "0"),
            ("generator", generating(b"", b"a", b"b"), b"ab", None),
            ("generator of nothing", generating(b"", b""), b"", "0"),
            ("length said", generating(b"a", b"b", headers=[("content-LENGTH", "2")]), b"ab", "2"),
            ("write", writes, b"ab", None),
            ("file", file, b"x" * 10_000, None),
        ):
            with self.subTest(name):
                response = self.ask(app, "POST", body=b"x" * 10_000)
                self.assertEqual((response.status, response.body), (200, body))
                self.assertEqual(response.headers["Content-Length"], length)
                self.assertEqual(timers_left(self.server), [])

    def test_no_body(self) -> None:
        """A response without a body ends with its head, however long the application goes on."""

        def endless(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response(environ["PATH_INFO"][1:] + " OK", [])
            while True:
                yield b"x"

        for method, path in (("HEAD", "/200"), ("GET", "/204"), ("GET", "/304")):
            with self.subTest(method=method, path=path):
                response = self.ask(endless, method, path)
                self.assertEqual((str(response.status), response.body), (path[1:], b""))
        self.assertEqual(self.ask(responding(b"abc"), "HEAD").headers["Content-Length"], "3")
        self.assertIsNone(self.ask(responding(), "HEAD").headers["Content-Length"])

    def test_fields(self) -> None:
        """Fields are sent as they are; what concerns the connection is the server's."""
        headers = [
            *(("Set-Cookie", "a=1"), ("set-cookie", "b=2"), ("X-Name", "caf\xe9")),
            *(("Server", "mine"), ("Transfer-Encoding", "chunked"), ("Connection", "keep-alive")),
            *(("Location", ""), ("Keep-Alive", "9")),
        ]
        response = self.ask(responding(b"a", status="302 Weit\xe4r", headers=headers))
        found = response.headers
        self.assertEqual(found.get_all("Set-Cookie"), ["a=1", "b=2"])
        self.assertEqual((found["X-Name"], found.get_all("Server")), ("caf\xe9", ["mine"]))
        self.assertEqual((found["Location"], found["Content-Length"]), ("", "1"))
        for name in ("Transfer-Encoding", "Connection", "Keep-Alive", "Content-Type"):
            with self.subTest(name=name):
                self.assertIsNone(found[name])
        asked = responding(headers=[("Connection", "Close")])
        self.assertEqual(self.ask(asked).headers["Connection"], "close")

    def test_changed_its_mind(self) -> None:
        """Before its first byte an application can replace its response by that of an error."""

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [TEXT, ("X-Old", "1")])
            try:
                raise RuntimeError
            except RuntimeError:
                start_response("503 Later", [TEXT], sys.exc_info())
            return [b"later"]

        response = self.ask(app)
        self.assertEqual((response.status, response.body), (503, b"later"))
        self.assertIsNone(response.headers["X-Old"])


class BrokenTests(WSGITestCase):
    """Applications that violate PEP 3333, or fail."""

    def test_not_begun(self) -> None:
        """If nothing was sent, the client gets a 500, and the log the reason."""

        def silent(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return []

        def early(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            return [b"a"]

        def twice(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])
            start_response("200 OK", [])
            return []

        def nothing(environ: dict[str, Any], start_response: Any) -> None:
            start_response("200 OK", [])

        def exits(environ: dict[str, Any], start_response: Any) -> None:
            raise SystemExit(3)

        def text(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [])("text")
            return []

        rows: list[tuple[Any, type[BaseException], str]] = [
            (silent, AssertionError, "start_response"),
            (early, AssertionError, "start_response"),
            (twice, AssertionError, "twice"),
            (nothing, TypeError, "NoneType"),
            (exits, SystemExit, "3"),
            (text, TypeError, "not str"),
            (generating(error=True), RuntimeError, "in the middle"),
            (generating(b"", error=True), RuntimeError, "in the middle"),
            (generating("text"), TypeError, "not str"),
            (responding(b"a", "text"), TypeError, "not str"),
            (responding(bytearray(b"a")), TypeError, "not bytearray"),
        ]
        for status in ("200", "OK", "", "2000 OK", "20x OK", "100 Continue", "101 Go", "600 No"):
            rows.append((responding(status=status), ValueError, f"not {status!r}"))
        rows += [
            (responding(status=200), TypeError, "not 200"),
            (responding(status=b"200 OK"), TypeError, "status"),
            (responding(status="200 \u0142"), ValueError, "Latin-1"),
            (responding(status="200 OK\r\nX: y"), ValueError, "control character"),
        ]
        for headers, error, told in (
            ({"A": "b"}, TypeError, "list"),
            ((("A", "b"),), TypeError, "list"),
            (5, TypeError, "list"),
            ([["A", "b"]], TypeError, "tuple"),
            ([("A",)], TypeError, "tuple"),
            (["AB"], TypeError, "tuple"),
            ([("A", 5)], TypeError, "str"),
            ([(b"A", "b")], TypeError, "str"),
            ([("", "b")], ValueError, "malformed"),
            ([("A b", "b")], ValueError, "malformed"),
            ([("A:", "b")], ValueError, "malformed"),
            ([("\u0142", "b")], ValueError, "malformed"),
            ([("A", "\u0142")], ValueError, "Latin-1"),
            ([("A", "\udcff")], ValueError, "Latin-1"),
            ([("Location", "/\r\nX: y")], ValueError, "control character"),
            ([("A", "b\0")], ValueError, "control character"),
            ([("Content-Length", "x")], ValueError, "number"),
            ([("Content-Length", "-1")], ValueError, "number"),
            ([("Content-Length", "1"), ("content-length", "1")], ValueError, "one"),
        ):
            rows.append((responding(b"a", headers=headers), error, told))
        for app, error, told in rows:
            with self.subTest(told=told):
                client = self.serve(app).connect()
                client.request("GET", "/")
                client.request("GET", "/")
                self.assertEqual([each.status for each in client.responses()], [500, 500])
                logged = self.flushLoggedErrors(error)
                self.assertEqual(len(logged), 2)
                self.assertIn(told, str(logged[0].value))

    def test_cut_off(self) -> None:
        """A response that fails after its first byte is cut off, so that every client notices."""
        headers = [("Content-Length", "9")]
        for name, app, version, reset in (
            ("chunked", generating(b"abc", error=True), "1.1", False),
            ("text", generating(b"abc", "text"), "1.1", False),
            ("length", generating(b"abc", headers=headers, error=True), "1.1", False),
            ("length, 1.0", generating(b"abc", headers=headers, error=True), "1.0", False),
            ("too short", generating(b"abc", headers=headers), "1.1", False),
            ("until close", generating(b"abc", error=True), "1.0", True),
        ):
            with self.subTest(name):
                client = self.serve(app).connect()
                client.send(format_request("GET", "/").replace(b"1.1", version.encode()))
                self.assertTrue(client.ended or client.reset)
                self.assertEqual(client.reset, reset)
                if not reset:
                    self.assertIn(b"abc", client.received)
                    self.assertNotIn(b"\r\n0\r\n", client.received)
                self.flushLoggedErrors()
                self.assertEqual(len(timers_left(self.server)), 0 if reset else 1)

    def test_cut_off_in_http2(self) -> None:
        """In HTTP/2 the stream is reset, and the connection lives."""
        client = Http2Client(self.serve(generating(b"abc", error=True), http2_server))
        for _ in range(2):
            answer = client.get()
            self.assertEqual((answer.body, answer.ended), (b"abc", False))
            self.assertIsNotNone(answer.reset)
        self.flushLoggedErrors(RuntimeError)

    def test_re_raised(self) -> None:
        """After the first byte `start_response` raises the application's own error."""
        seen = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
            start_response("200 OK", [TEXT])
            yield b"abc"
            try:
                raise KeyError("mine")
            except KeyError:
                try:
                    start_response("500 No", [], sys.exc_info())
                except BaseException as error:
                    seen.append(type(error))
                    raise

        client = self.serve(app).connect()
        client.request("GET", "/")
        self.assertTrue(client.ended)
        self.assertEqual(seen, [KeyError])
        self.failed(KeyError)

    def test_complete_all_the_same(self) -> None:
        """An error that comes after the whole response does it no harm, and is logged."""

        def too_much(environ: dict[str, Any], start_response: Any) -> list[bytes]:
            start_response("200 OK", [("Content-Length", "3")])(b"abcdef")
            return []

        two = [("Content-Length", "6")]
        for app, body, error in (
            (Closing(error=True), b"abcdef", ValueError),
            (Closing({b"abc": 0, b"def": 0}.keys(), error=True), b"abcdef", ValueError),
            (generating(b"abc", b"def", headers=two, error=True), b"abcdef", RuntimeError),
            (generating(b"abcdef", b"more", headers=two), b"abcdef", ValueError),
            (responding(b"abcdef", b"more", headers=two), b"abcdef", ValueError),
            (too_much, b"abc", ValueError),
        ):
            client = self.serve(app).connect()
            for _ in range(2):
                client.request("GET", "/")
                [response] = client.responses()
                self.assertEqual((response.status, response.body), (200, body))
                self.failed(error)


class CloseTests(WSGITestCase):
    """A body's `close` is called once, however its request ends."""

    def test_always(self) -> None:
        """With a whole response, with one that is an error, and with one without a body."""
        for parts, method in (([b"a"], "GET"), (["text"], "GET"), (5, "GET"), ([b"a"], "HEAD")):
            with self.subTest(parts=parts, method=method):
                body = Closing(parts)  # type: ignore[arg-type]
                self.ask(body, method)
                self.assertEqual(body.closed, 1)
                self.flushLoggedErrors(TypeError)

    def test_client_gone_before(self) -> None:
        """If the client leaves before there is a thread, the application is not called."""
        body = Closing()
        client = self.serve(body).connect()
        self.held = True
        client.request("GET", "/")
        client.abort()
        self.assertEqual(timers_left(self.server), [])
        over: list[Call] = []
        [call] = self.calls
        call.when_over(over.append)
        call.run()
        self.server.turn()
        self.assertEqual((body.closed, over), (0, [call]))

    def test_client_gone_between(self) -> None:
        """A body is asked for nothing more when its client has left, and can read its input."""
        client: MemoryConnection
        asked: list[bytes] = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            start_response("200 OK", [TEXT])
            yield b"abc"
            client.abort()
            self.server.turn()
            asked.append(environ["wsgi.input"].read())
            try:
                yield b"def"
            finally:
                asked.append(b"closed")
            asked.append(b"more")

        client = self.serve(app).connect()
        self.held = True
        client.request("POST", "/", {}, b"body")
        [call] = self.calls
        call.run()
        self.assertEqual(asked, [b"body", b"closed"])
        self.assertEqual(timers_left(self.server), [])

    def test_write_to_client_gone(self) -> None:
        """`write` raises an exception when the client has left, and nothing is logged."""
        client: MemoryConnection
        told: list[OSError] = []

        def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
            write = start_response("200 OK", [TEXT])
            client.abort()
            self.server.turn()
            try:
                write(b"abc")
            except OSError as error:
                told.append(error)
                raise
            return []

        client = self.serve(app).connect()
        self.held = True
        client.request("GET", "/")
        self.calls[0].run()
        self.server.turn()
        self.assertEqual([type(each).__mro__[1] for each in told], [BrokenPipeError])

    def test_handler_timeout(self) -> None:
        """An application that is too slow has its client answered in its place, and may end."""
        body = Closing()
        client = self.serve(body, handler_timeout=1).connect()
        self.held = True
        client.request("GET", "/")
        self.server.advance(2)
        self.assertEqual([each.status for each in client.responses()], [503])
        self.calls[0].run()
        self.server.turn()


class Endless:
    """An application whose body has no end; it counts the bytes."""

    def __init__(self) -> None:
        self.produced = 0
        self.ended = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        """Respond."""
        start_response("200 OK", [TEXT])
        try:
            while True:
                self.produced += 1000
                yield b"x" * 1000
        finally:
            self.ended.set()


class Waiting:
    """An application that responds when it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = threading.Event(), threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> list[bytes]:
        """Respond."""
        self.begun.set()
        self.may_end.wait(OVER)
        start_response("200 OK", [TEXT])
        return []


class ThreadTests(SynchronousTestCase):
    """Calls in threads of their own, with this one as the reactor."""

    def setUp(self) -> None:
        """Make the reactor."""
        self.clock = Clock()
        self.due: queue.Queue[Callable[[], None]] = queue.Queue()
        self.threads: list[threading.Thread] = []

    def serve(self, app: Any, make: Any = MemoryServer, **settings: Any) -> MemoryServer:
        """Serve an application in a thread."""

        def run(call: Call) -> None:
            thread = threading.Thread(target=call.run, daemon=True)
            self.threads.append(thread)
            thread.start()

        resource = WSGIResource(app, environs(), run, self.due.put)
        server: MemoryServer = make(resource, clock=self.clock, **settings)
        return server

    def pump(self, server: MemoryServer, until: Callable[[], object]) -> None:
        """Be the reactor, at least once, until something holds."""
        deadline = time.monotonic() + OVER
        while True:
            with contextlib.suppress(queue.Empty):
                self.due.get(timeout=0.02)()
            server.turn()
            if until():
                return
            self.assertLess(time.monotonic(), deadline)

    def test_slow_client(self) -> None:
        """An endless body waits for its client, in bounded memory, and ends when that leaves."""
        for make in (MemoryServer, http2_server):
            with self.subTest(make=make):
                endless = Endless()
                server = self.serve(endless, make)
                if make is http2_server:
                    peer = Http2Client(server)
                    peer.acknowledges = False
                    peer.request(*fields())
                    peer.exchange()
                    client = peer.wire
                else:
                    client = server.connect()
                    client.reading = False
                    client.request("GET", "/")
                [call] = [self.threads.pop()]
                self.pump(server, lambda endless=endless: endless.produced > LIMIT)
                self.assertFalse(endless.ended.is_set())
                client.abort()
                server.turn()
                self.assertTrue(endless.ended.wait(OVER))
                call.join(OVER)
                self.assertFalse(call.is_alive())
                self.assertLess(endless.produced, 3 * LIMIT)

    def test_client_that_reads_later(self) -> None:
        """A usual body takes its thread no longer than the application; a larger one waits."""
        for size in (LIMIT - 1, 4 * LIMIT):
            with self.subTest(size=size):
                body = b"%09d\n" * (size // 10) % (*range(size // 10),)
                server = self.serve(generating(*body.splitlines(keepends=True)))
                client = server.connect()
                client.reading = False
                client.request("GET", "/")
                thread = self.threads.pop()
                if size < LIMIT:
                    thread.join(OVER)
                    self.assertFalse(thread.is_alive())
                self.pump(server, lambda client=client: client._kernel.outbox)
                client.reading = True
                responses: list[Response] = []
                while not responses:
                    self.pump(server, lambda: True)
                    responses = client.responses()
                thread.join(OVER)
                self.assertFalse(thread.is_alive())

    def test_client_that_reads(self) -> None:
        """A large body of many parts arrives in whole and in order."""
        parts = [b"%d," % number * 5 for number in range(50_000)]
        server = self.serve(generating(*parts))
        client = server.connect()
        client.request("GET", "/")
        responses: list[Response] = []
        while not responses:
            self.pump(server, lambda: True)
            responses = client.responses()
        self.assertEqual(responses[0].body, b"".join(parts))


class Pool:
    """The part of a reactor that `Threads` asks for."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.callLater = self.clock.callLater
        self.due: queue.Queue[Callable[[], None]] = queue.Queue()
        self.callFromThread = self.due.put


class DrainTests(SynchronousTestCase):
    """`Threads.finished`."""

    def test_client_gone(self) -> None:
        """Work whose client has left is waited for: to its end, to the deadline, or not at all."""
        for ends in ("itself", "deadline", "abandon"):
            with self.subTest(ends):
                reactor = Pool()
                app = Waiting()
                self.addCleanup(app.may_end.set)
                threads = Threads(reactor, 1, {})
                self.addCleanup(threads.stop)
                server = MemoryServer(threads.resource(app), clock=reactor.clock)
                client = server.connect()
                client.request("GET", "/")
                self.assertTrue(app.begun.wait(OVER))
                client.abort()
                self.successResultOf(server.drain())
                finished = threads.finished(5)
                self.assertNoResult(finished)
                if ends == "itself":
                    app.may_end.set()
                    reactor.due.get(timeout=OVER)()
                elif ends == "deadline":
                    reactor.clock.advance(5)
                else:
                    threads.abandon()
                self.successResultOf(finished)
                self.assertEqual(threads.busy, 0 if ends == "itself" else 1)
                self.assertEqual(reactor.clock.getDelayedCalls(), [])
                if ends != "deadline":
                    self.successResultOf(threads.finished(5))


class HeadTests(SynchronousTestCase):
    """`response_head`."""

    def test_names_are_bounded(self) -> None:
        """The cache of header names is bounded."""
        from twisted_graceful.app.wsgi import response_head as module

        for number in range(module._NAMES_LIMIT + 10):
            response_head("200 OK", [(f"X-{number}", "")])
        self.assertLessEqual(len(module._NAMES), module._NAMES_LIMIT)
