"""Where the bodies of requests are kept, and what becomes of them."""

from __future__ import annotations

import errno
import io
import os
import tempfile
import zipfile
from typing import Any
from unittest import SkipTest, mock

from tests.unit.streams import serve
from tests.unit.support import leaves_nothing_open
from tests.unit.web import Echo
from twisted_graceful.testing import MemoryServer
from twisted_graceful.testing.http_messages import format_request

from ..case import SynchronousTestCase

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


def chunked(body: bytes) -> bytes:
    """A request whose length is not announced."""
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


class SpoolTests(SynchronousTestCase):
    """A large body is kept in a file, which is gone with its request."""

    def setUp(self) -> None:
        """Let bodies of more than ten bytes be kept in a file."""
        self.app = Echo(hold=True)
        self.server = MemoryServer(self.app, spool_size=10)

    def test_file(self) -> None:
        """What is over ``spool_size``, be it announced or not, is kept in a file; all is read."""
        for size, in_file in ((10, False), (11, True)):
            for request in (format_request("POST", "/", body=b"x" * size), chunked(b"x" * size)):
                with self.subTest(size=size, in_file=in_file), leaves_nothing_open(self):
                    client = self.server.connect()
                    client.send(request)
                    content = self.app.held[0].content
                    self.assertEqual(getattr(content, "_rolled", False), in_file)
                    self.assertTrue(self.app.seen[-1].endswith(b" " + b"x" * size))
                    self.app.answer()
                    client.responses()
                    client.close()

    def test_no_memory(self) -> None:
        """With a ``spool_size`` of 0 every body is kept in a file."""
        self.server = MemoryServer(self.app, spool_size=0)
        self.server.connect().send(chunked(b"xx"))
        self.assertTrue(self.app.held[0].content._rolled)

    def test_gone_before_its_end(self) -> None:
        """A client that goes, is refused, or is too slow, leaves nothing behind."""
        ends: tuple[Any, ...] = (
            lambda client: client.abort(),
            lambda client: client.close(),
            lambda client: client.send(b"no chunk\r\n"),
            lambda client: self.server.advance(20),
        )
        for end in ends:
            with leaves_nothing_open(self):
                client = self.server.connect()
                client.send(chunked(b"x" * 20)[:-5])
                end(client)
                client.close()
        self.assertEqual((self.app.seen, len(self.server.connections)), ([], 0))


class FullDisk(tempfile.SpooledTemporaryFile):  # type: ignore[type-arg]
    """A temporary file for which there is no room: it is at full(4)."""

    def rollover(self) -> None:
        """It goes to the disk."""
        super().rollover()
        self._file.close()
        self._file = open("/dev/full", "r+b")  # noqa: SIM115 - it is closed with this
        self._file.write(b"x")


class FileTests(SynchronousTestCase):
    """A large body is a file to whatever reads files."""

    def test_as_a_file(self) -> None:
        """`zipfile`, `io.TextIOWrapper` and `io.BufferedReader` read it, in memory or not."""
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as made:
            made.writestr("a", b"line\n" * 9)
        for body, read in (
            (archive.getvalue(), lambda file: zipfile.ZipFile(file).read("a").count(b"\n")),
            (b"line\n" * 9, lambda file: len([*io.TextIOWrapper(file, "ascii")])),
            (b"line\n" * 9, lambda file: len([*io.BufferedReader(file)])),
        ):
            for spool_size in (10, 10_000):
                for request in (format_request("POST", "/", body=body), chunked(body)):
                    with self.subTest(body=body, read=read):
                        app = Echo(hold=True)
                        MemoryServer(app, spool_size=spool_size).connect().send(request)
                        content = app.held[0].content
                        content.seek(0)
                        self.assertIsInstance(content, io.IOBase)
                        self.assertTrue(content.readable() and content.seekable())
                        self.assertEqual(read(content), 9)


class FullDiskTests(SynchronousTestCase):
    """There is no room for a body."""

    def setUp(self) -> None:
        """See whether this system has such a disk."""
        if not os.path.exists("/dev/full"):
            raise SkipTest("there is no /dev/full")

    def test_refused(self) -> None:
        """It is refused with 507, whether it was announced or not, and the log says why."""
        with mock.patch("twisted_graceful.http.request.Spool", FullDisk):
            for request in (format_request("POST", "/a?b", body=b"x" * 20), chunked(b"x" * 20)):
                with self.subTest(request=request):
                    with leaves_nothing_open(self):
                        outcome = serve(request[:-15], request[-15:], spool_size=10)
                    self.assertEqual((outcome.statuses, outcome.ended), ((507,), True))
                    self.assertEqual(outcome.asked, ())

    def test_no_descriptor(self) -> None:
        """So it is when the file cannot even be made."""
        no = OSError(errno.EMFILE, "too many")
        with mock.patch("tempfile.TemporaryFile", side_effect=no):
            self.assertEqual(serve(chunked(b"x" * 20), spool_size=10).statuses, (507,))

    def test_others_live_on(self) -> None:
        """Others, and those who ask again, are answered."""
        server = MemoryServer(Echo(), spool_size=10)
        client = server.connect()
        with mock.patch("twisted_graceful.http.request.Spool", FullDisk):
            self.assertEqual(server.request("POST", "/", body=b"x" * 20).status, 507)
        client.request("GET", "/")
        self.assertEqual([each.status for each in client.responses()], [200])
        self.assertEqual(server.request("POST", "/", body=b"x" * 20).status, 200)
