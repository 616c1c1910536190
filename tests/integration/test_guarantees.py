"""The guarantees of the README, each from end to end, under its name."""

from __future__ import annotations

import hashlib
import signal

from ..case import SynchronousTestCase
from .client import request
from .harness import served
from .load import KeepAlive, wrong
from .upgrade_case import EXITS
from .waiting import Watch, until


class GuaranteeTests(SynchronousTestCase):
    """The guarantees."""

    def test_no_request_is_lost(self) -> None:
        """No request is lost: not by an upgrade, not by a bad deploy, not by a stop."""
        body = "x" * 200_000
        upload = request("/upload", "POST", f"Content-Length: {len(body)}\r\n")
        with served() as server:
            server.get()

            keep_alive = KeepAlive(server)
            with Watch(keep_alive) as keeping, Watch(lambda: wrong(server.get())) as connecting:
                slow, uploading = server.hold(), server.connect()
                uploading.send(upload + body[:100_000])
                server.deploy("2")
                server.kill(signal.SIGUSR2)
                server.hand_over()
                uploading.send(body[100_000:])
                server.open("held")
                self.assertEqual(slow.answer().body, "1")
                slow.close()
                digest = hashlib.sha256(body.encode()).hexdigest()
                self.assertEqual(uploading.answer().body, digest)
                uploading.close()
                until(lambda: len(server.family()) == 1, "the predecessor ends")

                server.write("app.py", "import nowhere\n")
                server.kill(signal.SIGUSR2)
                server.said("Upgrade failed")

                server.deploy("3")
                server.upgrade()
                until(lambda: keep_alive.last_seen == "3", "the newest code answers")
            self.assertEqual(keeping.wrong + connecting.wrong, [])

            server.shut("held")
            slow = server.begin_drain()
            server.open("held")
            self.assertEqual(slow.answer().body, "3")
            self.assertTrue(slow.closed())
            self.assertEqual(server.ended(server.pid), 0)

    def test_an_upgrade_is_invisible(self) -> None:
        """An upgrade is invisible: who connects is served, and who is connected stays so."""
        with served() as server:
            idle, busy = server.connect(), server.hold()
            self.assertEqual(idle.ask("/").body, "1")
            with Watch(lambda: wrong(server.get())) as connecting:
                server.deploy("2")
                server.kill(signal.SIGUSR2)
                server.hand_over()
                until(lambda: server.get().body == "2", "the new code answers")
                server.open("held")
                for client, version in ((busy, "1"), (busy, "2"), (idle, "2")):
                    answer = client.answer() if version == "1" else client.ask("/")
                    self.assertEqual((answer.body, answer.last), (version, False))
            self.assertEqual(connecting.wrong, [])

    def test_a_bad_deploy_cannot_take_the_service_down(self) -> None:
        """A bad deploy cannot take the service down: the old code serves on."""
        die = "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n"
        hang = "import time\ntime.sleep(600)\n"
        with served("--upgrade-timeout", "3", "--probation", "60") as server:
            pid = server.pid
            with Watch(lambda: "" if server.get().body == "1" else "not served") as clients:
                for attempt, code in enumerate(("def half(\n", "import nowhere\n", die, hang), 1):
                    server.write("app.py", code)
                    server.kill(signal.SIGUSR2)
                    server.said("Upgrade failed", attempt)
            self.assertEqual(clients.wrong, [])
            self.assertEqual(server.family(), [pid])
            server.deploy("2", EXITS)
            server.kill(signal.SIGUSR2)
            server.said("generation 0 has drained")
            server.open("end")
            server.said("Upgrade failed", attempt + 1)
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.family(), [pid])
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            until(lambda: server.get().body == "2", "the new code serves")

    def test_the_newest_code_on_disk_ends_up_serving(self) -> None:
        """The newest code on disk ends up serving, however the signals fall."""
        with served() as server:
            server.get()
            with Watch(lambda: "three" if len(server.family()) > 2 else "") as watch:
                for version in "23456789":
                    server.deploy(version)
                    server.kill(signal.SIGUSR2, int(server.pid_file))
                    for _ in range(int(version) ** 2):  # so the next one comes ever later
                        server.get()
                until(lambda: server.get().body == "9", "the newest code serves")
                until(lambda: len(server.family()) == 1, "one process is left")
            self.assertEqual(watch.wrong, [])
            self.assertEqual(server.get().body, "9")

    def test_a_stop_ends(self) -> None:
        """A stop ends: whatever clients do, at the deadline, and what it cut is in the log."""
        with served("--drain-timeout", "1") as server:
            server.hold("never")
            half_head, half_body, deaf = (server.connect() for _ in range(3))
            half_head.send("GET /half-head HTTP/1.1\r\n")
            half_body.send(request("/half-body", "POST", "Content-Length: 9\r\n") + "x")
            deaf.get("/large/30000000")
            server.get()
            self.assertEqual(server.stop(), 1)
            for path in ("/gate/never", "/half-head", "/half-body", "/large/30000000"):
                with self.subTest(path=path):
                    self.assertRegex(server.log, rf"4 cut.*: .*{path} \(")

    def test_a_client_cannot_hold_the_server(self) -> None:
        """A client cannot hold the server: each is answered or closed, and others are served."""
        limits = ("--read-header-timeout", "1", "--read-timeout", "1", "--write-timeout", "1")
        with served(*limits, "--idle-timeout", "1", "--max-body-size", "1000") as server:
            expected = (
                ("", 0),
                ("GET / HTTP/1.1\r\nHost:", 408),
                (request("/upload", "POST", "Content-Length: 9\r\n") + "x", 408),
                (request("/upload", "POST", "Content-Length: 1001\r\n"), 413),
                ("GET /" + "x" * 10_000, 414),
                (request("/", headers=f"X: {'x' * 40_000}\r\n"), 431),
                ("\x16\x03\x01", 400),
                (request("/") + request("/"), 200),
            )
            clients = [server.connect() for _ in expected]
            unwilling = server.connect()
            unwilling.get("/large/10000000")
            with Watch(lambda: wrong(server.get())) as others:
                for client, (sent, _) in zip(clients, expected, strict=True):
                    client.send(sent)
                for client, (_, status) in zip(clients, expected, strict=True):
                    with self.subTest(client=client, status=status):
                        if status:
                            self.assertEqual(client.answer().status, status)
                        if status == 200:
                            self.assertEqual(client.answer().status, status)
                        self.assertTrue(client.closed())
                server.said("does not read its answer: GET /large/10000000 ")
            self.assertEqual(others.wrong, [])
            self.assertGreater(others.looks, 10)
