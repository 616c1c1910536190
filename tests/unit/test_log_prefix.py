"""Which process a line is from, and that lines of several processes stay whole."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
from pathlib import Path

from twisted.logger import LogEvent, Logger, LogLevel, LogPublisher, textFileLogObserver

from twisted_graceful.process.host.log_prefix import prefix, prefix_lines

from ..case import SynchronousTestCase
from .support import run_python, temporary_directory


class PrefixTests(SynchronousTestCase):
    """What an observer writes that comes after ours."""

    def setUp(self) -> None:
        """A log with a prefix."""
        self.written = io.StringIO()
        publisher = LogPublisher()
        prefix_lines(prefix(2, 3), publisher)
        publisher.addObserver(textFileLogObserver(self.written, timeFormat=None))
        self.publisher = publisher
        self.log = Logger("app.views", observer=publisher)

    def test_an_event(self) -> None:
        """The line says who it is from, and what Twisted says anyway."""
        self.log.warn("hello {name}", name="you")
        self.assertEqual(self.written.getvalue(), "- [gen 2 worker 3 app.views#warn] hello you\n")

    def test_a_system(self) -> None:
        """A system that the event names stays."""
        self.log.info("hello", log_system="HTTPChannel,1,::1")
        self.assertEqual(self.written.getvalue(), "- [gen 2 worker 3 HTTPChannel,1,::1] hello\n")

    def test_an_event_without_anything(self) -> None:
        """What is logged without a level and a namespace has the prefix too."""
        event: LogEvent = {"log_format": "hello"}
        self.publisher(event)
        self.assertEqual(self.written.getvalue(), "- [gen 2 worker 3 -#-] hello\n")

    def test_a_level(self) -> None:
        """All levels have it."""
        for level in LogLevel.iterconstants():
            self.log.emit(level, "hello")
        lines = self.written.getvalue().splitlines()
        self.assertEqual({line.startswith("- [gen 2 worker 3 ") for line in lines}, {True})

    def test_who_is_no_worker(self) -> None:
        """A master has its generation alone."""
        self.assertEqual(prefix(2, 0), "gen 2")

    def test_an_observer_that_was_there_before(self) -> None:
        """A script that has begun to log before it makes its server has the prefix too."""
        written = io.StringIO()
        publisher = LogPublisher(textFileLogObserver(written, timeFormat=None))
        prefix_lines(prefix(1, 0), publisher)
        Logger("app", observer=publisher).info("hello")
        self.assertEqual(written.getvalue(), "- [gen 1 app#info] hello\n")

    def test_a_replayed_event(self) -> None:
        """What Twisted replays once the log is open has the prefix once."""
        event: LogEvent = {"log_format": "hello"}
        self.publisher(event)
        self.publisher(event)
        self.assertEqual(self.written.getvalue(), 2 * "- [gen 2 worker 3 -#-] hello\n")


WRITES = """
import sys
from twisted.application.app import AppLogger
from twisted.logger import Logger
from twisted.python.components import Componentized
from twisted.internet import reactor
from twisted_graceful.process.host.server_log import never_wait
from twisted_graceful.process.host.shared_log_files import share_log_files
share_log_files(reactor)
logger = AppLogger({"logfile": sys.argv[1]})
logger.start(Componentized())
for size in map(int, sys.argv[2:]):
    Logger().info("{text}", text="\\u00e9\\n" * size + "end of event")
"""


class WholeLineTests(SynchronousTestCase):
    """twistd's log, as Twisted writes it: one event is one write(2), whatever its length."""

    def test_standard_output(self) -> None:
        """Each event arrives at standard output as one message."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(ours.close)
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        with theirs:
            sizes = ("10", "5000", "9000", "50000")
            done = run_python("-c", WRITES, "-", *sizes, stdout=theirs.fileno())
        self.assertEqual(done.returncode, 0, done.stderr)
        messages = [each.decode() for each in iter(lambda: ours.recv(1 << 20), b"")]
        self.assertEqual(max(map(len, messages)) > 100_000, True)
        for message in messages:
            with self.subTest(message):
                self.assertRegex(message, r"^\d{4}-\d\d-\d\dT")
                self.assertTrue(message.endswith("\n"))
                self.assertEqual(message.count("+0000 [") + message.count("-0000 ["), 1)

    def test_one_file(self) -> None:
        """Of long events of several processes in one log each is whole, and in a file once."""
        directory = temporary_directory(self)
        command = [sys.executable, "-c", WRITES, os.path.join(directory, "app.log")]
        programs = [subprocess.Popen([*command, *["9000"] * 20]) for _ in range(3)]
        self.assertEqual([each.wait(30) for each in programs], [0, 0, 0])
        files = [path.read_text() for path in Path(directory).iterdir()]
        # Twisted rotates the log at 1 MB, and indents the further lines of an event. A process
        # that finds another one rotating goes on in the file it has, which is larger then.
        self.assertIn(len(files), (2, 3))
        event = "] " + "\u00e9\n\t" * 9000 + "end of event\n"
        self.assertEqual(sum(text.count(event) for text in files), 60)
