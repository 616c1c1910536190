"""Clients that want too much: what real ones see of the limits."""

from __future__ import annotations

import resource
import signal

from twisted.trial.unittest import SynchronousTestCase

from . import proc
from .harness import PORT, Server, served


class ConnectionLimitTests(SynchronousTestCase):
    """More clients than there is room for."""

    def test_the_next_one_waits(self) -> None:
        """Over all ports only so many are served; the next one is when one of them ends."""
        with served(*PORT, "--max-connections", "2") as server:
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
        with served() as server:
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
            server.wait_for("held.draining")
            self.assertEqual(server.finish_drain(holder), 0)
