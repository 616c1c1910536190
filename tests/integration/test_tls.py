"""TLS between real processes: what clients see, drains, upgrades, and other certificates."""

from __future__ import annotations

import contextlib
import hashlib
import signal
import socket
import ssl

from ..case import SynchronousTestCase
from ..certificates import EXPIRED, ONE, ONE_KEY, TWO, TWO_KEY
from . import proc
from .admin import ADMIN, Admin
from .client import DEADLINE, Client, request, trusting
from .harness import CERTIFICATE, Server, served
from .load import KeepAlive, wrong
from .programs import run
from .waiting import Watch, until

FIRST = ONE + ONE_KEY
SECOND = TWO + TWO_KEY
BODY = b"0123456789" * 30_000


def plain(server: Server) -> Client:
    """A connection whose client has not begun to speak TLS."""
    return Client(server.ports[0])


def end_of(connection: socket.socket) -> bytes:
    """All that comes until the server closes; a reset is a close, too."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := connection.recv(65536):
            received += data
    return received


def certificate_of(server: Server) -> bytes:
    """The certificate that is served, in DER."""
    client = server.connect()
    assert isinstance(client.socket, ssl.SSLSocket)
    der = client.socket.getpeercert(binary_form=True)
    client.close()
    assert der is not None
    return der


def old_client(version: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that speaks one version, with whatever ciphers OpenSSL has for it."""
    context = trusting(ONE)
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = version
    return context


class Unfinished:
    """A client in the middle of its handshake.

    Args:
        server: whom it speaks to.
    """

    def __init__(self, server: Server) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._tls = trusting(ONE).wrap_bio(self._in, self._out, server_hostname="localhost")
        self.client = plain(server)
        self.step()

    def step(self) -> bool:
        """Send what is next; whether that is all of it."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self.client.socket.sendall(self._out.read())
        return True

    def complete(self) -> None:
        """Complete the handshake."""
        while not self.step():
            self._in.write(self.client.socket.recv(65536))

    def ask(self, path: str) -> bytes:
        """Send a request; all that comes until the server's closing alert."""
        self._tls.write(request(path).encode())
        self.client.socket.sendall(self._out.read())
        received = b""
        while True:
            try:
                while data := self._tls.read(65536):
                    received += data
                return received
            except ssl.SSLWantReadError:
                self._in.write(self.client.socket.recv(65536))


class ClientTests(SynchronousTestCase):
    """What clients of all kinds see."""

    def test_versions(self) -> None:
        """TLS 1.2 and 1.3 are spoken, 1.1 is refused with an alert that says why."""
        with served(certificate=FIRST) as server:
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(version=version):
                    client = Client(server.ports[0], old_client(version))
                    self.assertEqual(client.ask("/").body, "1")
                    client.close()
            done = run(
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.ports[0]}"),
                *("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
            )
            self.assertIn(b"alert protocol version", done.stderr)
            self.assertNotEqual(done.returncode, 0)

    def test_scheme(self) -> None:
        """The port's scheme decides what is spoken on it, and the log says which."""
        ports = ("--port", "http:127.0.0.1:0", "--port", "https:127.0.0.1:0")
        with served(*ports, certificate=FIRST) as server:
            either, http, https = server.ports
            for port in (either, https):
                with self.subTest(port=port):
                    self.assertIn(f"Listening on https://127.0.0.1:{port}", server.log)
                    self.assertEqual(server.get(port=port).body, "1")
            self.assertIn(f"Listening on http://127.0.0.1:{http}", server.log)
            client = Client(http)
            self.assertEqual(client.ask("/").body, "1")
            client.close()

    def test_curl(self) -> None:
        """curl trusts the certificate, keeps its connection, uploads and downloads."""
        with served(certificate=FIRST) as server:
            server.write("ca.pem", ONE)
            url = f"https://localhost:{server.ports[0]}"
            trusted = ("--silent", "--max-time", "30", "--cacert", str(server.directory / "ca.pem"))
            counts = ("--write-out", "%{num_connects}\n")
            done = run("curl", *trusted, *counts, f"{url}/", f"{url}/")
            self.assertEqual(done.stdout.split(), [b"11", b"10"])
            upload = ("--upload-file", "-", f"{url}/upload")
            done = run("curl", *trusted, *upload, send=BODY)
            self.assertEqual(done.stdout.decode(), hashlib.sha256(BODY).hexdigest())
            done = run("curl", *trusted, f"{url}/large/30000000")
            self.assertEqual((len(done.stdout), done.returncode), (30_000_000, 0))

    def test_s_client(self) -> None:
        """OpenSSL's own client is answered, and sees a clean end."""
        with served(certificate=FIRST) as server:
            done = run(
                *("openssl", "s_client", "-connect", f"127.0.0.1:{server.ports[0]}", "-quiet"),
                send=request("/", headers="Connection: close\r\n").encode(),
            )
            self.assertTrue(done.stdout.endswith(b"\r\n\r\n1"), done.stdout)
            self.assertEqual(done.returncode, 0)

    def test_half_close(self) -> None:
        """A client that sends its closing alert, or its FIN, waits for its answer in peace."""
        with served(certificate=FIRST) as server:
            for gate, end in (("fin", socket.socket.shutdown), ("alert", None)):
                with self.subTest(gate=gate, end=end):
                    client = server.hold(gate)
                    assert isinstance(client.socket, ssl.SSLSocket)
                    if end is not None:
                        end(client.socket, socket.SHUT_WR)
                    else:
                        # The alert is sent at once; then it waits for the server's.
                        client.socket.settimeout(0.1)
                        self.assertRaises(TimeoutError, client.socket.unwrap)
                        client.socket.settimeout(DEADLINE)
                    server.open(gate)
                    self.assertEqual(client.answer().body, "1")
                    client.close()

    def test_pipelined(self) -> None:
        """Requests that come in one piece are answered in their order."""
        with served(certificate=FIRST) as server:
            client = server.connect()
            client.send(request("/large/100000") + request("/") + request("/large/3"))
            self.assertEqual([len(client.answer().body) for _ in range(3)], [100_000, 1, 3])

    def test_no_handshake(self) -> None:
        """Silence, dripping, garbage and plain HTTP are closed, and leave nothing open."""
        with served("--tls-handshake-timeout", "1", certificate=FIRST) as server:
            before = server.idle_descriptors()
            silent, dripping = plain(server), plain(server)
            with contextlib.suppress(ConnectionError):
                for byte in b"\x16\x03\x01\x02\x00" * 200:
                    dripping.socket.sendall(bytes([byte]))
                    dripping.socket.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        if not dripping.socket.recv(1):
                            break
                else:
                    self.fail("a dripping client is not closed")
            self.assertEqual(end_of(silent.socket), b"")
            garbage, http = plain(server), plain(server)
            garbage.socket.sendall(b"\0" * 100)
            self.assertEqual(end_of(garbage.socket), b"")
            http.get("/")
            self.assertEqual(http.answer().status, 400)
            for client in (silent, garbage, http, dripping):
                client.close()
            until(lambda: proc.descriptors(server.pid) == before, "nothing is left open")

    def test_closing_alert_that_is_never_answered(self) -> None:
        """A client that neither answers our alert nor closes is dropped in time."""
        with served("--linger-timeout", "1", certificate=FIRST) as server:
            before = server.idle_descriptors()
            client = server.connect()
            client.send(request("/", headers="Connection: close\r\n"))
            self.assertEqual(client.answer().body, "1")
            until(lambda: proc.descriptors(server.pid) == before, "the descriptor is closed")
            client.close()


class DrainTests(SynchronousTestCase):
    """A drain under TLS."""

    def test_nothing_is_lost(self) -> None:
        """What was begun is answered whole, announced, and ends with a closing alert."""
        text = request("/")
        with served("--idle-grace", "10", certificate=FIRST) as server:
            half, idle, large, handshake = (
                server.connect(),
                server.connect(),
                server.connect(),
                Unfinished(server),
            )
            half.send(text[:20])
            idle.ask("/")
            large.get("/large/30000000")
            holder = server.begin_drain()
            half.send(text[20:])
            handshake.complete()
            self.assertTrue(handshake.ask("/").endswith(b"\r\n\r\n1"))
            for client in (half, idle):
                with self.subTest(client=client):
                    if client is idle:
                        client.get("/")
                    answer = client.answer()
                    self.assertEqual((answer.body, answer.last), ("1", True))
                    self.assertTrue(client.closed())
            self.assertEqual(len(large.answer().body), 30_000_000)
            large.close()
            handshake.client.close()
            self.assertEqual(server.finish_drain(holder), 0)

    def test_cut(self) -> None:
        """What the deadline cuts ends in a reset, so that nobody takes a half for a whole."""
        with served("--drain-timeout", "0.5", certificate=FIRST) as server:
            client = server.connect()
            client.get("/stream/never")
            server.wait_for("never.begun")
            until(lambda: client.socket.recv(1000), "half an answer comes")
            server.kill(signal.SIGTERM)
            self.assertRaises(OSError, client.closed)  # OpenSSL has one error for all such ends
            self.assertEqual(server.exit_status(), 1)
            self.assertRegex(server.log, r"1 cut, .*; cut: GET /stream/never \(")


class UpgradeTests(SynchronousTestCase):
    """An upgrade under TLS."""

    def test_nothing_is_lost(self) -> None:
        """Clients that make connections, keep them, or wait for an answer lose nothing."""
        with served("--idle-grace", "10", certificate=FIRST) as server:
            server.get()
            keep_alive = KeepAlive(server)
            with Watch(keep_alive) as keeping, Watch(lambda: wrong(server.get())) as connecting:
                slow = server.hold()
                server.deploy("2")
                server.kill(signal.SIGUSR2)
                server.hand_over()
                server.open("held")
                answer = slow.answer()
                self.assertEqual((answer.body, answer.last), ("1", True))
                self.assertTrue(slow.closed())
                until(lambda: len(server.family()) == 1, "the predecessor ends")
                until(lambda: keep_alive.last_seen == "2", "the new code answers")
            self.assertEqual(keeping.wrong + connecting.wrong, [])

    def test_new_certificate(self) -> None:
        """The certificate that is on disk is served after an upgrade, and not before."""
        with served(certificate=FIRST) as server:
            server.serving(0)
            server.write(CERTIFICATE, SECOND)
            self.assertEqual(certificate_of(server), ssl.PEM_cert_to_DER_cert(ONE))
            server.upgrade()
            self.assertEqual(certificate_of(server), ssl.PEM_cert_to_DER_cert(TWO))

    def test_broken_certificate(self) -> None:
        """A certificate that cannot be used fails the upgrade, with the reason; the old serves."""
        with served(certificate=FIRST) as server:
            pid = server.pid
            broken = {
                ONE + TWO_KEY: "is not that of the first certificate",
                "nothing\n": "holds no certificate in PEM format",
            }
            for attempt, (text, reason) in enumerate(broken.items(), 1):
                server.write(CERTIFICATE, text)
                server.kill(signal.SIGUSR2)
                server.said("Upgrade failed", attempt)
                self.assertIn(reason, server.log)
                self.assertEqual(certificate_of(server), ssl.PEM_cert_to_DER_cert(ONE))
                self.assertEqual(server.family(), [pid])
            (server.directory / CERTIFICATE).unlink()
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed", len(broken) + 1)
            self.assertIn("/tls.pem' cannot be read: No such file", server.log)
            self.assertEqual(certificate_of(server), ssl.PEM_cert_to_DER_cert(ONE))
            server.write(CERTIFICATE, SECOND)
            server.upgrade()
            self.assertEqual(certificate_of(server), ssl.PEM_cert_to_DER_cert(TWO))


class StartTests(SynchronousTestCase):
    """Starts that fail, or should have a better certificate."""

    def test_expired(self) -> None:
        """An expired certificate is served with a warning, and metrics count its days.

        A rolling restart serves a renewed one, and counts those.
        """
        expired = "it expired at 2021-01-01 00:00 UTC"
        days = "graceful_certificate_days_left{listener=127.0.0.1:0}"
        options = ("--workers", "2", "--tls-cert", CERTIFICATE, *ADMIN)
        server = Server("--app", "app.resource", *options)
        server.write(CERTIFICATE, EXPIRED + ONE_KEY)
        with server:
            admin = Admin(server)
            self.assertEqual(server.log.count(expired), 1)
            self.assertLess(admin.metrics()[days], 0)
            server.write(CERTIFICATE, FIRST)
            server.kill(signal.SIGHUP)
            until(lambda: admin.metrics()[days] > 0, "the renewed one counts")
            self.assertEqual(server.log.count(expired), 1)

    def test_refused(self) -> None:
        """Without a usable certificate nothing starts, and one line says why."""
        for options, reason in (
            (("--tls-cert", "nowhere.pem"), "tls_cert: '.*/nowhere.pem' cannot be read"),
            (("--port", "https:127.0.0.1:0"), "'https:127.0.0.1:0' needs a certificate"),
        ):
            with self.subTest(options=options, reason=reason), Server(*options) as server:
                self.assertEqual(server.exit_status(), 1)
                self.assertRegex(server.log, f"twistd graceful: {reason}")
                self.assertNotIn("Traceback", server.log)
                self.assertNotIn("Listening", server.log)
