"""HTTP/2 between real processes: clients, drains and upgrades."""

from __future__ import annotations

import contextlib
import hashlib
import re
import signal
import subprocess
from typing import Any

from h2.errors import ErrorCodes

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from ..http2 import fields
from . import proc
from .client import Client, trusting
from .harness import Server, served
from .http2_client import Http2Client, Persistent
from .load import Load
from .peers import free_port, haproxy
from .programs import QUIET, program, run
from .programs import curl as transfer
from .waiting import Watch, until

BODY = b"0123456789" * 90_000
DIGEST = hashlib.sha256(BODY).hexdigest()
CERTIFICATE = ONE + ONE_KEY
LAST_OF_ALL = 2**31 - 1

HAPROXY = """\
listen web
    bind 127.0.0.1:{port}
    retries 0
    http-reuse always
    server app 127.0.0.1:{server} ssl verify none alpn h2
"""


def secure(*options: str) -> Server:
    """A server that speaks TLS."""
    return served(*options, certificate=CERTIFICATE)


def curl(server: Server, path: str, *options: str, send: bytes = b"") -> dict[str, Any]:
    """One transfer from a server, or to it."""
    server.write("ca.pem", ONE)
    trusted = ("--http2", "--cacert", str(server.directory / "ca.pem"))
    url = f"https://localhost:{server.ports[0]}{path}"
    return transfer(url, *trusted, *options, send=send)


def requests(said: str) -> dict[str, int]:
    """How many requests h2load says that it has begun, and what became of them."""
    (line,) = re.findall(r"^requests: .*", said, re.MULTILINE)
    return {name: int(count) for count, name in re.findall(r"(\d+) (\w+)", line)}


class ClientTests(SynchronousTestCase):
    """What clients of all kinds see."""

    def check(self, found: dict[str, Any], **expected: object) -> None:
        """Compare some of the facts of a transfer over HTTP/2."""
        expected = {"http_version": "2", "exitcode": 0, **expected}
        self.assertEqual({name: found[name] for name in expected}, expected)

    def test_curl(self) -> None:
        """curl gets answers of every kind, and sends bodies of every kind."""
        with secure() as server:
            server.open("open")
            upload = ("--upload-file", "-")
            self.check(curl(server, "/"), http_code=200, body="1")
            self.check(curl(server, "/stream/open"), http_code=200, body="begin end")
            self.check(curl(server, "/large/3000000"), size_download=3_000_000)
            self.check(curl(server, "/upload", *upload, send=BODY), http_code=200, body=DIGEST)
            expect = ("--header", "Expect: 100-continue")
            found = curl(server, "/upload", *upload, *expect, send=BODY)
            self.check(found, http_code=200, body=DIGEST)
            self.check(curl(server, "/nowhere"), http_code=500)
            head = curl(server, "/", "--head")
            self.check(head, http_code=200)
            self.assertIn("content-length: 1", head["body"])
            self.check(curl(server, "/", "--http1.1"), http_version="1.1", body="1")

    def test_refusals(self) -> None:
        """curl reads what is wrong with its request, however much of it is still to come."""
        with secure("--max-body-size", "200KiB", "--linger-timeout", "5") as server:
            (server.directory / "body").write_bytes(BODY * 5)
            upload = ("--upload-file", str(server.directory / "body"))
            for options in (upload, (*upload, "--header", "Expect: 100-continue")):
                with self.subTest(options=options):
                    found = curl(server, "/upload", *options)
                    self.check(found, http_code=413)
                    self.assertIn("over 204800 bytes", found["body"])
            self.check(curl(server, "/" + "x" * 9000), http_code=414)
            self.check(curl(server, "/", "--header", "X-Long: " + "x" * 33_000), http_code=431)

    def test_compressed(self) -> None:
        """What Twisted's GzipEncoderFactory compresses is unpacked to the same."""
        with Server("--app", "app.compressed", certificate=CERTIFICATE) as server:
            found = curl(server, "/large/1000000", "--compressed")
            self.check(found, http_code=200, body="x" * 1_000_000)
            self.assertLess(found["size_download"], 10_000)

    def test_wsgi(self) -> None:
        """A WSGI application answers over HTTP/2."""
        with Server("--app", "app.wsgi", certificate=CERTIFICATE) as server:
            self.check(curl(server, "/"), http_code=200, body="1")
            server.open("held")
            self.check(curl(server, "/held"), http_code=200, body="1")

    def test_nghttp(self) -> None:
        """nghttp gets many things at a time on one connection."""
        with secure() as server:
            urls = [f"https://localhost:{server.ports[0]}/large/{100_000 + n}" for n in range(20)]
            done = run("nghttp", "--null-out", "--stat", *urls)
            self.assertEqual(len(re.findall(rb" 200 +97K /large/", done.stdout)), 20)

    def test_h2load(self) -> None:
        """h2load has all of its requests answered."""
        with secure() as server:
            url = f"https://localhost:{server.ports[0]}/"
            done = run("h2load", "-n", "2000", "-c", "10", "-m", "10", url)
            found = requests(done.stdout.decode())
            self.assertEqual((found["succeeded"], found["failed"]), (2000, 0))

    def test_more_than_may_be(self) -> None:
        """Requests that are sent before the limit is known, and over it, are refused alone."""
        with secure("--max-concurrent-streams", "3") as server:
            client = Http2Client(server)
            answers = [client.begin("/gate/held") for _ in range(5)]
            client.finish(*answers[3:])
            self.assertEqual({each.reset for each in answers[3:]}, {ErrorCodes.REFUSED_STREAM})
            server.open("held")
            client.finish(*answers[:3])
            self.assertEqual([each.body for each in answers[:3]], [b"1"] * 3)
            client.close()

    def test_off(self) -> None:
        """HTTP/2 can be turned off, and is not offered without TLS."""
        with secure("--max-concurrent-streams", "0") as server:
            self.check(curl(server, "/"), http_version="1.1", body="1")
        with served() as server:
            url = f"http://127.0.0.1:{server.ports[0]}/"
            done = run("curl", *QUIET, "--http2", "--write-out", " %{http_version}", url)
            self.assertEqual(done.stdout, b"1 1.1")

    def test_clients_that_flood(self) -> None:
        """A flood of pings is ended, with the reason in the log, and others are served on."""
        with secure() as server:
            client = Http2Client(server)
            client.follows = False
            client.flush()
            ping = b"\0\0\x08\6\0\0\0\0\0whatever" * 500
            with contextlib.suppress(OSError):
                for _ in range(100):
                    client.socket.sendall(ping)
            server.said("too many frames that say nothing")
            client.close()
            self.assertEqual(curl(server, "/")["body"], "1")


class DrainTests(SynchronousTestCase):
    """A drain, as a client of HTTP/2 sees it."""

    def test_nothing_is_lost(self) -> None:
        """What was begun is answered, what is on its way too, and then the connection ends."""
        with secure("--idle-grace", "10") as server:
            client = Http2Client(server)
            held = client.begin("/gate/held")
            large = client.begin("/large/3000000")
            server.wait_for("held.begun")
            server.kill(signal.SIGTERM)
            server.wait_for("held.draining")
            crossing = client.begin("/")
            client.finish(crossing, large)
            self.assertEqual((crossing.body, len(large.body)), (b"1", 3_000_000))
            while not client.goaways:
                client.step()
            client.flush()  # the confirmation
            late = client.begin("/")
            client.finish(late)
            self.assertEqual(late.reset, ErrorCodes.REFUSED_STREAM)
            self.assertEqual([last for last, _ in client.goaways], [LAST_OF_ALL])
            server.open("held")
            client.finish(held)
            self.assertEqual(held.body, b"1")
            self.assertTrue(client.closed())
            self.assertEqual([last for last, _ in client.goaways], [LAST_OF_ALL, 7])
            self.assertEqual(server.exit_status(), 0)

    def test_h2_library(self) -> None:
        """A client of the h2 library, which takes a GOAWAY for the end, has all responses."""
        with secure() as server:
            client = Http2Client(server, strict=True)
            held = client.begin("/gate/held")
            large = client.begin("/large/3000000")
            server.wait_for("held.begun")
            server.kill(signal.SIGTERM)
            server.wait_for("held.draining")
            client.finish(client.begin("/"), large)
            server.open("held")
            client.finish(held)
            self.assertEqual((held.body, len(large.body)), (b"1", 3_000_000))
            self.assertTrue(client.closed())
            self.assertEqual([last for last, _ in client.goaways], [5])
            self.assertEqual(server.exit_status(), 0)

    def test_idle(self) -> None:
        """An idle connection is sent away at once, whatever the grace."""
        with secure("--idle-grace", "60", "--drain-timeout", "60") as server:
            client = Http2Client(server)
            client.ask("/")
            server.kill(signal.SIGTERM)
            self.assertTrue(client.closed())
            self.assertEqual([last for last, _ in client.goaways], [LAST_OF_ALL, 1])
            self.assertEqual(server.exit_status(), 0)
            self.assertRegex(server.log, r"1 idle closed, 0 cut, in [0-3]\.")

    def test_cut(self) -> None:
        """Each request that the deadline cuts is named."""
        with secure("--drain-timeout", "0.5") as server:
            client = Http2Client(server)
            client.begin("/gate/one")
            client.begin("/stream/two")
            client.request(*fields("POST", "/upload"), body=b"half", end=False)
            client.flush()
            server.wait_for("one.begun")
            server.wait_for("two.begun")
            self.assertEqual(server.stop(), 1)
            client.close()
            self.assertIn("3 cut", server.log)
            for name in ("GET /gate/one", "GET /stream/two", "POST /upload"):
                with self.subTest(name=name):
                    self.assertRegex(server.log, rf"cut: .*{name} \(")

    def test_under_load(self) -> None:
        """What h2load has sent when the server stops is answered, all of it.

        (It counts as begun what it had queued and did not send when the GOAWAY came.)
        """
        with secure("--access-log", "requests") as server:
            url = f"https://localhost:{server.ports[0]}/"
            command = [program("h2load"), "-n", "1000000", "-c", "10", "-m", "10", url]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
                try:
                    until(lambda: proc.connections(server.ports[0]) >= 10, "there is load")
                    self.assertEqual(server.stop(), 0)
                    found = requests(load.communicate(timeout=30)[0])
                finally:
                    load.kill()
            log = (server.directory / "requests").read_text()
            self.assertGreater(found["succeeded"], 0)
            self.assertEqual(found["succeeded"], log.count('HTTP/2" 200 '))
            self.assertEqual(found["succeeded"], len(log.splitlines()))
            self.assertIn(" 0 cut", server.log)


class UpgradeTests(SynchronousTestCase):
    """Upgrades, as clients see them that keep their connections."""

    def test_nothing_is_lost(self) -> None:
        """Through several upgrades every request is answered, and every close is announced."""
        with secure() as server:
            client = Persistent(server)
            with Watch(client) as watch:
                for version in "234":
                    until(lambda: client.answered > 20, "the client is at work")
                    client.answered = 0
                    server.deploy(version)
                    server.upgrade()
                    until(lambda v=version: client.last_seen == v, "the new code answers")
            self.assertEqual(watch.wrong, [])
            self.assertEqual(server.stop(), 0)
            self.assertNotIn("Traceback", server.log)

    def test_long_answer(self) -> None:
        """An answer that is under way in an upgrade is finished by who has begun it."""
        with secure() as server:
            client = Http2Client(server)
            held = client.begin("/gate/held")
            server.wait_for("held.begun")
            predecessor = server.pid
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            after = Http2Client(server)
            self.assertEqual(after.ask("/").body, b"2")
            after.close()
            server.open("held")
            client.finish(held)
            self.assertEqual(held.body, b"1")
            self.assertTrue(client.closed())
            server.ended(predecessor)


class ProxyTests(SynchronousTestCase):
    """A reverse proxy that speaks HTTP/2 to us, with many clients' requests on each connection."""

    def test_upgrades_and_stop(self) -> None:
        """HAProxy, which repeats nothing, has every request answered through upgrades."""
        with secure("--access-log", "requests") as server, free_port() as port:
            config = HAPROXY.format(port=port, server=server.ports[0])
            with haproxy(port, config=config):
                with Load(f"http://127.0.0.1:{port}/") as load:
                    for _ in range(3):
                        server.upgrade()
                self.assertEqual(load.summary.errors, ())
                self.assertGreater(load.summary.requests, 100)
                self.assertEqual(server.stop(), 0)
            spoken = re.findall(r'HTTP/[^ "]*', (server.directory / "requests").read_text())
            self.assertEqual(set(spoken), {"HTTP/2"})


class NegotiationTests(SynchronousTestCase):
    """What is spoken where both sides have a choice."""

    def test_client_without_alpn(self) -> None:
        """A client that asks for nothing is spoken HTTP/1.1 to."""
        with secure() as server:
            client = server.connect()
            self.assertEqual(client.ask("/").body, "1")

    def test_unknown_protocol(self) -> None:
        """A client that asks for something else only is not answered in what it does not speak."""
        with secure() as server:
            context = trusting(ONE)
            context.set_alpn_protocols(["spdy/3"])
            client = Client(server.ports[0], context)
            self.assertEqual(client.ask("/").body, "1")
            client.close()
