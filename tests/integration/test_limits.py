"""Clients that want too much: what real ones see of the limits."""

from __future__ import annotations

import resource
import signal
import socket
import time

from ..case import SynchronousTestCase
from . import proc
from .client import Client, request
from .harness import PORT, Server, served
from .waiting import until

MIB = 1 << 20

PATIENT = ("--idle-grace", "60")
"""Who is idle may stay, whoever waits."""


class ConnectionLimitTests(SynchronousTestCase):
    """More clients than there is room for."""

    def test_the_next_one_waits(self) -> None:
        """Over all ports only so many are served; the next one is when one of them ends."""
        with served(*PORT, "--max-connections", "2", *PATIENT) as server:
            first, second = (server.connect(port) for port in server.ports)
            first.ask("/")
            second.ask("/")
            third = server.connect(server.ports[1])
            third.get("/")
            server.said("2 connections are open, as many as max_connections allows")
            second.ask("/")  # who is served goes on to be
            first.close()
            self.assertEqual(third.answer().body, "1")
            third.close()
            second.close()
            server.said("1 connections are open: there is room again")

    def test_idle_clients_give_way(self) -> None:
        """Clients that are idle, or silent, hold no place that others wait for."""
        with served("--max-connections", "2", "--read-header-timeout", "0") as server:
            idle, silent = server.connect(), server.connect()
            idle.ask("/")
            third, fourth = server.connect(), server.connect()
            third.get("/")
            self.assertEqual(third.answer().body, "1")
            fourth.get("/")
            self.assertEqual(fourth.answer().body, "1")
            self.assertTrue(idle.closed())
            self.assertTrue(silent.closed())

    def test_stop(self) -> None:
        """A stop of a full server ends as any: what was accepted is answered, status 0."""
        with served("--max-connections", "1") as server:
            holder = server.hold()
            server.connect().get("/")
            server.said("1 connections are open")
            server.kill(signal.SIGTERM)
            server.wait_for("held.draining")
            self.assertEqual(server.finish_drain(holder), 0)

    def test_upgrade(self) -> None:
        """After an upgrade the successor serves who has waited for the predecessor."""
        with served("--max-connections", "1") as server:
            holder = server.hold()
            waiting = server.connect()
            waiting.get("/pid")
            server.said("1 connections are open")
            server.kill(signal.SIGUSR2)
            self.assertEqual(int(waiting.answer().body), server.hand_over())
            server.open("held")
            holder.answer()


class DescriptorTests(SynchronousTestCase):
    """A process without descriptors."""

    def limit(self, server: Server, descriptors: int) -> None:
        """Set how many descriptors the process may have."""
        hard = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)[1]
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (descriptors, hard))

    def test_survived(self) -> None:
        """Who comes when there is none left waits, and is served when there is one."""
        with served("--max-connections", "1000") as server:
            served_already = server.connect()
            served_already.ask("/")
            self.limit(server, sum(proc.descriptors(server.pid).values()))
            waiting = server.connect()
            waiting.get("/")
            server.said("No connection can be accepted: Too many open files")
            self.assertEqual(served_already.ask("/").body, "1")
            self.limit(server, 1024)
            self.assertEqual(waiting.answer().body, "1")
            self.assertEqual(server.stop(), 0)

    def test_derived_limit(self) -> None:
        """Without a limit it is three quarters of the descriptors, so that none is missing."""
        with served(*PATIENT) as server:
            server.get("/")
            self.limit(server, 100)
            clients = [server.connect() for _ in range(80)]
            for client in clients:
                client.get("/")
            for client in clients[:75]:
                self.assertEqual(client.answer().body, "1")
            server.said("75 connections are open, as many as three quarters of RLIMIT_NOFILE")
            for client in clients[:5]:
                client.close()
            for client in clients[75:]:
                self.assertEqual(client.answer().body, "1")
            self.assertNotIn("No connection can be accepted", server.log)

    def test_stop(self) -> None:
        """A stop without descriptors answers what was begun, and ends."""
        with served("--max-connections", "1000") as server:
            holder = server.hold()
            self.limit(server, sum(proc.descriptors(server.pid).values()))
            server.connect().get("/")
            server.said("No connection can be accepted")
            server.kill(signal.SIGTERM)
            until(server.refuses, "the port is closed")
            self.assertEqual(server.finish_drain(holder), 0)


class RefusalTests(SynchronousTestCase):
    """What is refused is answered, whole, and then closed so that the answer can be read."""

    def check(self, client: Client, status: int) -> None:
        """An answer from the server itself, as all of them are."""
        answer = client.answer()
        self.assertEqual((answer.status, answer.last), (status, True))
        self.assertEqual(answer.headers["content-type"], "text/plain; charset=utf-8")
        self.assertEqual(answer.headers["content-length"], str(len(answer.body)))
        self.assertIn("date", answer.headers)
        self.assertTrue(answer.body.startswith(f"{status} "))
        self.assertTrue(client.closed())

    def test_upload_that_goes_on(self) -> None:
        """Who sends ten megabytes of a body that is too large can read that it is, afterwards."""
        with served("--max-body-size", "1 MiB") as server:
            for length in (f"Content-Length: {10 * MIB}", "Transfer-Encoding: chunked"):
                with self.subTest(length=length):
                    client = server.connect()
                    client.send(request("/upload", "POST", f"{length}\r\n"))
                    for _ in range(10):
                        if length.startswith("T"):
                            client.send(f"{MIB:x}\r\n")
                        client.send("x" * MIB + "\r\n"[: 2 * length.startswith("T")])
                    self.check(client, 413)

    def test_upload_on_a_slow_line(self) -> None:
        """So can who needs longer for that than we wait for a client that sends nothing."""
        with served("--linger-timeout", "0.5") as server:
            client = server.connect()
            client.send(request("/upload", "POST", f"Content-Length: {10 * MIB}\r\n"))
            end = time.monotonic() + 2
            until(lambda: self.sends_on(client, end), "the upload is over")
            self.check(client, 413)

    def sends_on(self, client: Client, end: float) -> bool:
        """Send some more; whether it is enough."""
        client.send("x" * 1000)
        return time.monotonic() > end

    def test_what_is_too_slow_or_too_large(self) -> None:
        """Each limit has its status, and says so to a real client."""
        limits = ("--read-header-timeout", "0.3", "--read-timeout", "0.3", "--max-headers", "5")
        with served(*limits, "--handler-timeout", "0.3") as server:
            for status, sent in (
                (408, "GET / HTTP/1.1\r\nHost:"),
                (408, request("/upload", "POST", "Content-Length: 9\r\n") + "x"),
                (414, "GET /" + "x" * 10_000),
                (431, request("/", headers="X: 1\r\n" * 5)),
                (431, request("/", headers=f"X: {'x' * 40_000}\r\n")),
                (503, request("/watched/hung")),
            ):
                with self.subTest(status=status, sent=sent):
                    client = server.connect()
                    client.send(sent)
                    self.check(client, status)
            server.wait_for("hung.TimeoutError")  # the application has seen its request end
            silent = server.connect()
            self.assertTrue(silent.closed())  # and was told nothing

    def test_full_disk(self) -> None:
        """A body for which there is no room is refused, and the next one is not."""
        with served("--max-body-size", "10 MiB", "--spool-size", "1 KiB") as server:
            hard = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (MIB, hard))
            for size, status in ((2 * MIB, 507), (MIB // 2, 200), (2 * MIB, 507)):
                with self.subTest(size=size, status=status):
                    client = server.connect()
                    client.send(request("/upload", "POST", f"Content-Length: {size}\r\n"))
                    client.send("x" * size)
                    self.assertEqual(client.answer().status, status)
            self.assertIn(
                "cannot be kept in a temporary file: [Errno 27] File too large", server.log
            )


class ReaderTests(SynchronousTestCase):
    """Clients that ask, and do not read."""

    def test_answer_that_the_kernel_takes(self) -> None:
        """Who leaves an answer in the kernel's buffers is left, however small it is."""
        with served("--write-timeout", "0.5") as server:
            for size in (20_000, 3_000_000):
                client = socket.socket()
                self.addCleanup(client.close)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
                client.connect(("127.0.0.1", server.ports[0]))
                client.sendall(request(f"/large/{size}").encode())
                server.said(rf"does not read its answer: GET /large/{size} ")
            until(lambda: not proc.connections(server.ports[0]), "they are gone")
