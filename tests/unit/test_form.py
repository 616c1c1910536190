"""Forms: read when the application asks for them, in parts or not, with a limit, or rejected."""

from __future__ import annotations

import ast
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.server import Request

from twisted_graceful.errors import FormError
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import Response, format_request

from ..case import SynchronousTestCase
from .support import examples
from .web import Echo, Fields, Held

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=x"

TYPES = [
    URLENCODED,
    MULTIPART,
    "multipart/form-data",
    "multipart/form-data; boundary*=utf-8''x",
    "multipart/form-data; charset=none; boundary=\xe9",
    ";*=\xff",
]
BODIES = [
    b"a=b&c=%ff",
    b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name*=utf-9''%ff\r\n\r\n1\r\n--x--\r\n",
    b"--x\r\nContent-Disposition: form-data; name*\r\n\r\n1\r\n--x--\r\n",
    b"--x\r\nContent-Transfer-Encoding: base64\r\n\r\n!\r\n--x--\r\n",
]


def part(parameters: bytes, value: bytes = b"1", more: bytes = b"") -> bytes:
    """A part of a form."""
    return b"--x\r\nContent-Disposition: form-data%b\r\n%b\r\n%b\r\n" % (parameters, more, value)


def post(
    body: bytes, kind: str = MULTIPART, app: Any = None, path: str = "/", **settings: Any
) -> Response:
    """Send a form."""
    server = MemoryServer(app or Fields(), **settings)
    return server.request("POST", path, {"Content-Type": kind}, body)


class FormTests(SynchronousTestCase):
    """A form, as the application sees it."""

    def fields(self, body: bytes, kind: str = MULTIPART, **options: Any) -> Any:
        """The fields of a form."""
        response = post(body, kind, **options)
        self.assertEqual(response.status, 200, response.body)
        return ast.literal_eval(response.body.decode())

    def test_values(self) -> None:
        """Each part is the bytes that were sent for it, under the bytes of its name."""
        for parameters, name in (
            (b'; name="a"', b"a"),
            (b"; name=a", b"a"),
            (b'; NAME="a"; filename="n;.txt"', b"a"),
            (b'; filename="; name=b"; name="a"', b"a"),
            (b'; name="a; b"', b"a; b"),
            (b'; name="a\\"b"', b'a"b'),
            (b'; name="a%22b"', b'a"b'),
            (b'; name="\xc3\xbc"', b"\xc3\xbc"),
            (b'; name="\xfc"', b"\xfc"),
        ):
            for value in (b"", b"1", b"\r\n", b"\xff\0", b"\r\n--", b"--x", b"l\nm\r"):
                with self.subTest(parameters=parameters, name=name):
                    self.assertEqual(
                        self.fields(part(parameters, value) + b"--x--\r\n"),
                        {name: [value]},
                    )

    def test_several_parts(self) -> None:
        """Values of one name are in their order, and parts without a name are dropped."""
        parts = part(b"; name=a"), part(b""), part(b'; name=""'), part(b"; name=a", b"2")
        self.assertEqual(self.fields(b"".join(parts) + b"--x--\r\n"), {b"a": [b"1", b"2"]})
        self.assertEqual(self.fields(b"--x--\r\n"), {})

    def test_transfer_encodings(self) -> None:
        """A part that is encoded for mail is decoded, as by Twisted; what cannot be is left."""
        for encoding, value, expected in (
            (b"base64", b"QUJD\r\n", b"ABC"),
            (b"BASE64", b"QUJ", b"AB"),
            (b"base64", b"Q", b"Q"),
            (b"quoted-printable", b"a=41=\r\nb", b"aAb"),
            (b"8bit", b"=41", b"=41"),
        ):
            with self.subTest(encoding=encoding, value=value):
                more = b"Content-Transfer-Encoding: %b\r\n" % encoding
                self.assertEqual(
                    self.fields(part(b"; name=a", value, more) + b"--x--\r\n"), {b"a": [expected]}
                )

    def test_query(self) -> None:
        """The fields of a form replace those of the same name in the query."""
        got = self.fields(b"a=1&a=2&b&c=&d=%41+%4", URLENCODED, path="/?a=0&q=;r=1")
        self.assertEqual(
            got, {b"a": [b"1", b"2"], b"q": [b""], b"r": [b"1"], b"c": [b""], b"d": [b"A %4"]}
        )

    def test_malformed(self) -> None:
        """A malformed form is answered with 400, on a connection that goes on, and not logged."""
        whole = part(b"; name=a")
        for body in (
            b"a",
            b"\r\n",
            b"--y--\r\n",
            whole,
            whole + b"--x-",
            whole.replace(b"\r\n", b"\n") + b"--x--\r\n",
            b"--x\r\nX: y\r\n\r\n1\r\n--x--\r\n",
            b"--x\r\nno colon\r\n\r\n1\r\n--x--\r\n",
        ):
            with self.subTest(body=body):
                client = MemoryServer(Fields()).connect()
                client.request("POST", "/", {"Content-Type": MULTIPART}, body)
                client.request("GET", "/")
                first, second = client.responses()
                self.assertEqual((first.status, second.status), (400, 200))
                self.assertIn(b"The form is malformed: ", first.body)
        self.assertEqual(post(b"--\r\n", "multipart/form-data").status, 400)

    def test_too_many(self) -> None:
        """A form with too many fields gets a 413, multipart or not."""
        for body, kind in (
            (b"a=1&a=2&a=3", URLENCODED),
            (part(b"; name=a") * 3 + b"--x--\r\n", MULTIPART),
        ):
            with self.subTest(body=body, kind=kind):
                self.assertEqual(post(body, kind, max_form_fields=3).status, 200)
                self.assertEqual(post(body, kind, max_form_fields=0).status, 200)
                response = post(body, kind, max_form_fields=2)
                self.assertEqual(response.status, 413)
                self.assertEqual(
                    response.body, b"413 Request Entity Too Large\nThe form has over 2 fields.\n"
                )
        fields = b"a: b\r\n" * 10
        self.assertEqual(post(part(b"; name=a", more=fields) + b"--x--\r\n").status, 413)

    def test_not_asked_for(self) -> None:
        """A form that the application does not ask for is not parsed."""
        self.assertEqual(post(b"nonsense", app=Echo()).body, b"POST / nonsense")
        self.assertEqual(post(b"a=1&" * 5000, URLENCODED, app=Echo()).status, 200)

    def test_the_body_stays(self) -> None:
        """The application reads the body before and after it asks for the form."""
        for size in (0, 100_000):
            with self.subTest(size=size):
                app = Held()
                body = b"a=1&b=" + b"x" * size
                server = MemoryServer(app)
                server.connect().send(
                    format_request("POST", "/", {"Content-Type": URLENCODED}, body)
                )
                (request,) = app.requests
                self.assertEqual(request.content.read(4), b"a=1&")
                self.assertEqual(request.args[b"a"], [b"1"])
                self.assertIs(request.args, request.args)
                self.assertEqual(request.content.read(), body[4:])

    def test_afterwards(self) -> None:
        """A form in memory can be asked for when the request is over, in whatever way."""
        for is_lost in (False, True):
            with self.subTest(is_lost=is_lost):
                app = Held()
                client = MemoryServer(app).connect()
                client.send(format_request("POST", "/", {"Content-Type": URLENCODED}, b"a=1"))
                (request,) = app.requests
                request.notifyFinish().addErrback(lambda _: None)
                client.abort() if is_lost else request.finish()
                self.assertEqual(request.args, {b"a": [b"1"]})

    def test_afterwards_in_a_file(self) -> None:
        """One that was in a file cannot, and the error says what to do."""
        app = Held()
        server = MemoryServer(app, spool_size=10)
        server.connect().send(format_request("POST", "/", {"Content-Type": URLENCODED}, b"a=1" * 9))
        (request,) = app.requests
        request.finish()
        self.assertIn("before", str(self.assertRaises(RuntimeError, lambda: request.args)))

    def test_other_methods(self) -> None:
        """Only POST has forms, as with Twisted."""
        response = MemoryServer(Fields()).request("PUT", "/", {"Content-Type": URLENCODED}, b"a=1")
        self.assertEqual(response.body, b"{}")

    @examples
    @given(
        st.sampled_from(TYPES),
        st.sampled_from(BODIES),
        st.lists(
            st.tuples(st.integers(0, 80), st.sampled_from(list(b"=;*'\"\r\n -x\xff"))), max_size=4
        ),
    )
    def test_anything(self, kind: str, form: bytes, noise: list[tuple[int, int]]) -> None:
        """Whatever is sent is accepted or rejected: nothing fails."""
        changed = bytearray(form)
        for at, byte in noise:
            changed[at % len(changed)] = byte
        self.assertIn(post(bytes(changed), kind).status, (200, 400))


class AsyncTests(SynchronousTestCase):
    """Applications that ask later, or in their own way."""

    def test_klein(self) -> None:
        """A route of Klein that asks for a malformed form is answered with 400 too."""
        app = Klein()

        @app.route("/", methods=["POST"])
        def route(request: Request) -> bytes:
            return repr(request.args).encode()

        self.assertEqual(post(b"nonsense", app=app).status, 400)
        self.assertEqual(post(b"a=1", URLENCODED, app=app).body, b"{b'a': [b'1']}")

    def test_later(self) -> None:
        """Asynchronous code passes the error on like any other."""
        app = Held()
        client = MemoryServer(app).connect()
        client.request("POST", "/", {"Content-Type": MULTIPART}, b"nonsense")
        (request,) = app.requests
        asked: Deferred[None] = Deferred()
        asked.addCallback(lambda _: request.args).addErrback(request.processingFailed)
        asked.callback(None)
        self.failureResultOf(asked, FormError)
        self.assertEqual([each.status for each in client.responses()], [400])

    def test_begun(self) -> None:
        """When the response has begun the error is as any other, and logged."""
        app = Held()
        MemoryServer(app).connect().send(
            format_request("POST", "/", {"Content-Type": MULTIPART}, b"nonsense")
        )
        (request,) = app.requests
        request.write(b"begun")
        try:
            request.args  # noqa: B018
        except FormError:
            request.processingFailed(Failure())
        self.assertEqual(len(self.flushLoggedErrors(FormError)), 1)
