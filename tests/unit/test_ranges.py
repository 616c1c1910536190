"""Ranges: what an application sees of those that a client asks for."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.web.resource import Resource
from twisted.web.server import Request
from twisted.web.static import File

from twisted_graceful.http.ranges import coalesced, resolved
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .http2_client import Http2Client, http2_server
from .support import examples, temporary_directory

LENGTH = 40


class Asked(Resource):
    """Answers with the ``Range`` field."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        return repr(request.requestHeaders.getRawHeaders(b"Range")).encode()


class AskedFile(File):
    """Answers with the ``Range`` field that a file would see."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Answer."""
        return repr(request.requestHeaders.getRawHeaders(b"Range")).encode()


def served(ranges: str) -> list[int]:
    """The bytes of a file of `LENGTH`, by their number, that a field asks for."""
    found: list[int] = []
    for each in ranges.partition("=")[2].split(","):
        first, _, last = each.partition("-")
        if not first:
            found += range(max(0, LENGTH - int(last)), LENGTH)
        else:
            found += range(int(first), min(LENGTH, int(last) + 1) if last else LENGTH)
    return found


class RangeTests(SynchronousTestCase):
    """The field, and what is left of it."""

    def test_coalesced(self) -> None:
        """Ranges that overlap or adjoin are one, in the place of the first; the others stay."""
        for value, expected in (
            ("bytes=0-", "0-"),
            ("bytes=0-,0-", "0-"),
            ("BYTES = 0-1 ,\t5-6, ,", "0-1,5-6"),
            ("bytes=5-6,0-1", "5-6,0-1"),
            ("bytes=5-6,0-1,2-4", "0-6"),
            ("bytes=8-9,0-1,1-5,7-7", "7-9,0-5"),
            ("bytes=-5,-500,0-0", "-500,0-0"),
            ("bytes=10-,3-4,20-30", "10-,3-4"),
            ("bytes=0-999999999999999999", "0-999999999999999999"),
        ):
            with self.subTest(value=value, expected=expected):
                self.assertEqual(coalesced(value.encode()), expected.encode().split(b","))

    def test_malformed(self) -> None:
        """What is malformed is ignored; another unit is the application's affair."""
        for value in (
            "bytes",
            "bytes=",
            "bytes=,",
            "bytes=-",
            "bytes=5-4",
            "bytes=0-1;2-3",
            "bytes=0-1,a",
            "bytes=+1-2",
            "bytes=1_0-20",
            "bytes=--1",
            "bytes=0-" + "9" * 19,
            "=0-1",
            "\xff=0-1",
        ):
            with self.subTest(value=value):
                self.assertEqual(coalesced(value.encode("latin-1")), [])
        self.assertIsNone(coalesced(b"items=0-1"))

    @examples
    @given(
        st.lists(
            st.one_of(
                st.tuples(st.integers(0, 50), st.integers(0, 9)).map(lambda t: f"{t[0]}-{sum(t)}"),
                st.integers(0, 50).map("{}-".format),
                st.integers(1, 50).map("-{}".format),
            ),
            min_size=1,
        )
    )
    def test_same_bytes(self, ranges: list[str]) -> None:
        """The same bytes are served as without us, each of them twice at most."""
        asked = served("bytes=" + ",".join(ranges))
        left = coalesced(b"bytes=" + ",".join(ranges).encode())
        assert left
        got = served("bytes=" + b",".join(left).decode())
        self.assertEqual(set(got), set(asked))
        self.assertLessEqual(max(map(got.count, got), default=0), 2)

    def test_what_the_application_sees(self) -> None:
        """The coalesced ranges; nothing if they are malformed, too many, or asked for twice."""
        for settings, value, expected in (
            ({}, "bytes=0-5,3-9", [b"bytes=0-9"]),
            ({}, "bytes=0-1", [b"bytes=0-1"]),
            ({}, "items=5", [b"items=5"]),
            ({}, "bytes=x", None),
            ({}, "bytes=0-1\r\nRange: bytes=0-1", None),
            ({"max_ranges": 0}, "bytes=0-1", None),
            ({"max_ranges": 1}, "bytes=0-1", [b"bytes=0-1"]),
            ({"max_ranges": 1}, "bytes=0-1,5-6", None),
        ):
            with self.subTest(settings=settings, value=value):
                response = MemoryServer(Asked(), **settings).request("GET", "/", {"Range": value})
                self.assertEqual(response.body, repr(expected).encode())

    @examples
    @given(st.lists(st.integers(0, 50).map("-{}".format), min_size=1), st.integers(1, 50))
    def test_resolved(self, ranges: list[str], first: int) -> None:
        """Ranges that count from the end are the same bytes of a file whose size is known."""
        field = f"bytes={first}-{first + 3}," + ",".join(ranges)
        left = resolved(field.encode(), LENGTH).decode()
        self.assertNotIn("=-", left)
        self.assertNotIn(",-", left)
        self.assertEqual(sorted(served(left)), sorted(set(served(field))))

    def test_file(self) -> None:
        """A file sees no range that is longer than itself, and none of another version."""
        path = os.path.join(temporary_directory(self), "file")
        with open(path, "wb") as file:
            file.write(bytes(LENGTH))
        os.utime(path, (1_000_000_000, 999_999_999.5))
        date = "Sun, 09 Sep 2001 01:46:40 GMT"
        for value, condition, expected in (
            ("bytes=-500", "", [b"bytes=0-"]),
            ("bytes=-5,30-37", "", [b"bytes=30-"]),
            ("bytes=-0", "", [b"bytes=40-"]),
            ("bytes=50-60,-0,70-80", "", [b"bytes=40-"]),
            ("bytes=50-60,0-1", "", [b"bytes=0-1"]),
            ("bytes=0-4", date, [b"bytes=0-4"]),
            ("bytes=0-4", "Sun, 09 Sep 2001 01:46:39 GMT", None),
            ("bytes=0-4", '"a"', None),
            ("items=-5", "", [b"items=-5"]),
        ):
            with self.subTest(value=value, condition=condition):
                headers = {"Range": value} | ({"If-Range": condition} if condition else {})
                response = MemoryServer(AskedFile(path)).request("GET", "/", headers)
                self.assertEqual(response.body, repr(expected).encode())

    def test_too_many(self) -> None:
        """Whoever asks for too many gets the whole file, and the connection is closed."""
        ranges = {"Range": "bytes=" + ",".join(["0-"] * 101)}
        response = MemoryServer(Asked()).request("GET", "/", ranges)
        self.assertEqual((response.body, response.headers["Connection"]), (b"None", "close"))
        client = Http2Client(http2_server(Asked()))
        number = client.request(
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "a"),
            (":path", "/"),
            ("range", ranges["Range"]),
        )
        client.exchange()
        self.assertEqual(client.answers[number].body, b"None")
