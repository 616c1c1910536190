"""curl: what its users are answered, and what they are told when something is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import Any

from ..case import SynchronousTestCase
from ..integration.harness import Server, served
from ..integration.programs import QUIET, program, run
from ..integration.programs import curl as transfer

BODY = b"0123456789" * 30_000
DIGEST = hashlib.sha256(BODY).hexdigest()

EXPECT = ("--header", "Expect: 100-continue")
TIMED_OUT = 28
"""curl's exit status when --max-time is over."""


def curl(server: Server, path: str, *options: str, send: bytes = b"") -> dict[str, Any]:
    """One transfer from a server, or to it."""
    return transfer(f"http://127.0.0.1:{server.ports[0]}{path}", *options, send=send)


class CurlTests(SynchronousTestCase):
    """What users of curl are answered."""

    def check(self, found: dict[str, Any], **expected: object) -> None:
        """Compare some of the facts of a transfer."""
        self.assertEqual({name: found[name] for name in expected}, expected)

    def test_one_connection(self) -> None:
        """Answers of known and of unknown length, and faults of the application, keep it open."""
        with served() as server:
            paths = ("/", "/large/100000", "/nowhere", "/stream/open", "/pid")
            urls = [f"http://127.0.0.1:{server.ports[0]}{path}" for path in paths]
            server.open("open")
            counts = ("--write-out", "%{num_connects} %{http_code}\n", "--output", os.devnull)
            done = run("curl", *QUIET, *[word for url in urls for word in (*counts, url)])
            self.assertEqual(
                done.stdout.decode().split("\n"), ["1 200", "0 200", "0 500", "0 200", "0 200", ""]
            )

    def test_upload_that_waits_for_continue(self) -> None:
        """An upload that waits for 100 Continue is let in, and arrives whole."""
        with served() as server:
            found = curl(server, "/upload", *EXPECT, "--upload-file", "-", send=BODY)
            self.check(found, http_code=200, body=DIGEST)

    def test_upload_that_is_too_large(self) -> None:
        """An upload over the limit that waits for 100 Continue gets 413 before it sends a byte."""
        with served("--max-body-size", "200KiB") as server:
            (server.directory / "body").write_bytes(BODY)
            upload = ("--upload-file", str(server.directory / "body"))
            found = curl(server, "/upload", *EXPECT, *upload)
            self.check(found, http_code=413, size_upload=0, exitcode=0)
            self.assertIn("over 204800 bytes", found["body"])

    def test_upload_of_unknown_length(self) -> None:
        """A chunked upload arrives whole; one over the limit gets 413, however much is sent."""
        with served("--max-body-size", "400KiB") as server:
            chunked = ("--upload-file", "-", "--header", "Expect:")
            self.check(curl(server, "/upload", *chunked, send=BODY), http_code=200, body=DIGEST)
            found = curl(server, "/upload", *chunked, send=BODY * 20)
            self.check(found, http_code=413, exitcode=0)
            self.assertIn("over 409600 bytes", found["body"])

    def test_head(self) -> None:
        """HEAD has the fields of GET and no body, and keeps the connection."""
        with served() as server:
            urls = [f"http://127.0.0.1:{server.ports[0]}/"] * 2
            done = run("curl", *QUIET, "--head", "--write-out", "%{num_connects}\n", *urls)
            first, second = done.stdout.decode().split("\r\n\r\n")[:2]
            self.assertIn("Content-Length: 1", first)
            self.assertTrue(second.startswith("1\nHTTP/1.1 200 OK"))
            self.assertTrue(done.stdout.endswith(b"\r\n\r\n0\n"))

    def test_http_1_0(self) -> None:
        """HTTP/1.0 gets its answer, of known or unknown length, and the end of the connection."""
        with served() as server:
            self.check(curl(server, "/", "--http1.0"), http_code=200, body="1")
            self.check(curl(server, "/large/70000", "--http1.0"), body="x" * 70_000, exitcode=0)

    def test_limits_of_the_head(self) -> None:
        """What is too long is named, and the client reads it to its end."""
        with served() as server:
            many = [word for number in range(101) for word in ("--header", f"X-{number}: x")]
            for path, options, status, words in (
                ("/" + "x" * 9000, (), 414, "The request line is over 8192 bytes."),
                ("/", ("--header", "X-Long: " + "x" * 33_000), 431, "is over 32768 bytes."),
                ("/", many, 431, "There are over 100 header fields."),
            ):
                with self.subTest(path=path, options=options):
                    found = curl(server, path, *options)
                    self.check(found, http_code=status, exitcode=0)
                    self.assertIn(words, found["body"])

    def test_slow_upload(self) -> None:
        """A client that stops in its upload is told so, when it looks up again."""
        with served("--read-timeout", "0.5") as server:
            # curl sends 64 KiB at once, and then sleeps until that is within the rate.
            slow = ("--upload-file", "-", "--limit-rate", "40000")
            found = curl(server, "/upload", *slow, send=BODY)
            self.check(found, http_code=408, exitcode=0)
            self.assertIn("did not arrive in time", found["body"])

    def test_client_that_does_not_wait(self) -> None:
        """A client that gives up makes no noise in the log, and holds up no stop."""
        with served() as server:
            for path in ("/gate/never", "/stream/never"):
                with self.subTest(path=path):
                    found = curl(server, path, "--max-time", "0.5")
                    self.check(found, exitcode=TIMED_OUT)
            self.assertEqual(server.stop(), 0)
            self.assertNotIn("Traceback", server.log)

    def test_compressed_answer(self) -> None:
        """What Twisted's GzipEncoderFactory compresses is unpacked to the same."""
        with Server("--app", "app.compressed") as server:
            found = curl(server, "/large/1000000", "--compressed")
            self.check(found, http_code=200, body="x" * 1_000_000)
            self.assertLess(found["size_download"], 10_000)
            self.check(curl(server, "/large/1000"), body="x" * 1000, size_download=1000)

    def test_stream(self) -> None:
        """What is written of a stream arrives before its end."""
        with served() as server:
            url = f"http://127.0.0.1:{server.ports[0]}/stream/rest"
            with subprocess.Popen(
                [program("curl"), *QUIET, "--no-buffer", url], stdout=subprocess.PIPE
            ) as client:
                assert client.stdout is not None
                self.assertEqual(client.stdout.read(6), b"begin ")
                server.open("rest")
                self.assertEqual(client.stdout.read(), b"end")
