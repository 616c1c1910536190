"""A stop ends the process: at once, after the drain, or at the deadline."""

from __future__ import annotations

import signal

from ..case import SynchronousTestCase
from .harness import DAEMON, Server, served
from .waiting import until


class QuickStopTests(SynchronousTestCase):
    """Stops that have nothing to wait for."""

    def test_term_and_int_end_with_status_0(self) -> None:
        """TERM and INT end a process that answers nothing, with status 0."""
        for number in (signal.SIGTERM, signal.SIGINT):
            with self.subTest(number=number), served() as server:
                server.get()
                self.assertEqual(server.stop(number), 0)
                self.assertIn("Drained: 0 answered, 0 cut", server.log)

    def test_no_connection_takes_no_time(self) -> None:
        """Without a connection a stop waits for no grace and no deadline."""
        long = ("--idle-grace", "60", "--linger-timeout", "60", "--drain-timeout", "60")
        with served(*long) as server:
            server.get()
            self.assertEqual(server.stop(seconds=10), 0)

    def test_idle_connections_are_closed_after_their_grace(self) -> None:
        """Idle and silent connections are closed in order, long before the deadline, status 0."""
        with served("--drain-timeout", "60") as server:
            idle, silent = server.connect(), server.connect()
            self.assertFalse(idle.ask("/").last)
            server.kill(signal.SIGTERM)
            self.assertTrue(idle.closed())
            self.assertTrue(silent.closed())
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("2 idle closed", server.log)


class CutTests(SynchronousTestCase):
    """What ends a drain before its time."""

    def test_deadline(self) -> None:
        """What the deadline cuts is named by method, path and age, and the status is 1."""
        with served("--drain-timeout", "0.5") as server:
            client = server.connect()
            client.get("/gate/never?secret=1")
            server.wait_for("never.begun")
            self.assertEqual(server.stop(), 1)
            self.assertRaises(ConnectionError, client.answer)
            self.assertRegex(server.log, r"1 cut, in 0\.\d s; cut: GET /gate/never \(.*\d\.\d s\)")

    def test_deadline_cuts_half_a_head(self) -> None:
        """A request whose head never arrives cannot hold a stop."""
        with served("--drain-timeout", "0.5") as server:
            client = server.connect()
            client.send("GET /slow HTTP/1.1\r\nHost:")
            server.get()
            self.assertEqual(server.stop(), 1)
            self.assertRegex(server.log, r"cut: GET /slow \(")

    def test_second_signal(self) -> None:
        """A second signal ends a drain immediately, and a shutdown delay as well."""
        for first, second, delay in (
            (signal.SIGTERM, signal.SIGTERM, "0"),
            (signal.SIGINT, signal.SIGINT, "0"),
            (signal.SIGTERM, signal.SIGQUIT, "0"),
            (signal.SIGTERM, signal.SIGTERM, "60"),
            (signal.SIGINT, signal.SIGQUIT, "60"),
        ):
            options = ("--drain-timeout", "60", "--shutdown-delay", delay)
            with self.subTest(first=first, second=second, delay=delay), served(*options) as server:
                client = server.begin_drain(first)
                server.kill(second)
                self.assertEqual(server.exit_status(), 1)
                self.assertRaises(ConnectionError, client.answer)
                self.assertRegex(server.log, r"1 cut, .*; cut: GET /gate/held \(")

    def test_quit(self) -> None:
        """QUIT stops at once; what it cuts is named, and the status is 1."""
        with served("--drain-timeout", "60") as server:
            client = server.hold()
            self.assertEqual(server.stop(signal.SIGQUIT), 1)
            self.assertRaises(ConnectionError, client.answer)
            self.assertRegex(server.log, r"cut: GET /gate/held \(")

    def test_quit_when_idle(self) -> None:
        """QUIT waits for no grace and no delay, and where nothing is cut the status is 0."""
        with served("--idle-grace", "60", "--shutdown-delay", "60") as server:
            client = server.connect()
            client.ask("/")
            self.assertEqual(server.stop(signal.SIGQUIT), 0)

    def test_client_that_never_closes(self) -> None:
        """A client that ignores the announced close cannot hold a stop."""
        with served("--drain-timeout", "60") as server:
            client = server.begin_drain()
            server.open("held")
            self.assertTrue(client.answer().last)
            self.assertEqual(server.exit_status(), 0)


class WSGITests(SynchronousTestCase):
    """Requests in threads."""

    def test_in_flight(self) -> None:
        """A WSGI request in flight is answered, and the process ends."""
        with Server("--app", "app.wsgi") as server:
            idle = server.connect()
            idle.ask("/")
            client = server.hold(path="")
            server.kill(signal.SIGTERM)
            self.assertTrue(idle.closed())
            server.open("held")
            answer = client.answer()
            self.assertEqual(answer.body, "1")
            self.assertTrue(answer.last)
            client.close()
            self.assertEqual(server.exit_status(), 0)

    def test_hung(self) -> None:
        """A WSGI request that hangs is cut at the deadline, and the process still ends."""
        with Server("--app", "app.wsgi", "--drain-timeout", "0.5") as server:
            client = server.hold(path="")
            self.assertEqual(server.stop(), 1)
            self.assertRaises(ConnectionError, client.answer)
            self.assertRegex(server.log, r"cut: GET /held \(")


class USR1Tests(SynchronousTestCase):
    """The signal that is twistd's."""

    def test_log_rotation(self) -> None:
        """USR1 rotates the log file of twistd, and nothing else happens."""
        with Server("--app", "app.resource", command=DAEMON) as server:
            server.get()
            server.kill(signal.SIGUSR1)
            until(lambda: list(server.directory.glob("app.log.*")), "the log is rotated")
            self.assertEqual(server.get().body, "1")
