"""What is done with files at twistd's start, in its place."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from unittest import SkipTest

from twisted.internet.task import Clock
from twisted.logger import LogPublisher, capturedLogs, formatEvent, textFileLogObserver
from twisted.python.logfile import LogFile
from twisted.scripts._twistd_unix import UnixApplicationRunner

from twisted_graceful import twisted_internals
from twisted_graceful.process.host.server_log import share_log_files
from twisted_graceful.process.host.twistd_files import TwistdFiles

from ..case import SynchronousTestCase
from .support import temporary_directory

USER = 54321


class TwistdFilesTests(SynchronousTestCase):
    """twistd, started by root, with a log, a pid file and an access log."""

    def setUp(self) -> None:
        """Make the files; let nobody really become another user."""
        if os.geteuid():
            raise SkipTest("only root can give files away")
        for name in ("removePID", "setupEnvironment", "shedPrivileges"):
            self.patch(UnixApplicationRunner, name, getattr(UnixApplicationRunner, name))
        logger = UnixApplicationRunner.loggerFactory
        self.patch(logger, "_getLogObserver", logger._getLogObserver)
        self.changes: list[object] = []
        self.observers: list[object] = []
        self.patch(
            UnixApplicationRunner, "shedPrivileges", lambda *given: self.changes.append(given[1:])
        )
        self.directory = Path(temporary_directory(self))
        self.access_log, self.pid_file = (self.directory / name for name in ("a.log", "app.pid"))
        self.access_log.touch()
        share_log_files(Clock())
        log = LogFile.fromFullPath(str(self.directory / "app.log"))
        self.addCleanup(log.close)
        publisher = LogPublisher(textFileLogObserver(log))
        self.patch(twisted_internals, "globalLogPublisher", publisher)

    def start(self, *, named: bool, is_successor: bool = False) -> None:
        """Let twistd start, with a pid file that the plugin, or twistd alone, has named."""
        path = str(self.pid_file)
        TwistdFiles(
            path if named else "",
            located=lambda path: os.path.join(self.directory, path),
            is_successor=is_successor,
            written=lambda: ["", "-", "/dev/fd/7", str(self.access_log)],
            ends=lambda: None,
            observes=self.observers.append,
        )
        runner = UnixApplicationRunner({})
        runner.setupEnvironment(None, ".", True, None, "" if named else path)
        runner.shedPrivileges(False, USER, USER)

    def test_given(self) -> None:
        """The pid file is written, and all files belong to the user before twistd changes to it."""
        for named in (True, False):
            self.start(named=named)
            self.assertEqual(self.pid_file.read_text(), str(os.getpid()))
            for path in self.directory.iterdir():
                self.assertEqual((path.stat().st_uid, path.stat().st_gid), (USER, USER), path)
                os.chown(path, 0, 0)
        self.assertEqual(self.changes, [(False, USER, USER)] * 2)

    def test_the_log(self) -> None:
        """A relative path of the log, or none, is in the directory of the start."""
        self.addCleanup(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        self.start(named=True)
        for given, expected in (("new.log", "new.log"), ("", "twistd.log")):
            logger = UnixApplicationRunner.loggerFactory({"logfile": given})
            observer = logger._getLogObserver()
            self.assertIs(self.observers.pop(), observer)
            observer._outFile.close()
            self.assertTrue((self.directory / expected).exists())

    def test_a_successor(self) -> None:
        """A successor writes no pid file yet, chowns nothing, and runs as the user already."""
        self.patch(os, "geteuid", lambda: USER)
        self.start(named=True, is_successor=True)
        self.assertFalse(self.pid_file.exists())
        self.assertEqual({path.stat().st_uid for path in self.directory.iterdir()}, {0})
        self.assertEqual(self.changes, [])

    def test_what_cannot_be_given(self) -> None:
        """A file that must not be chowned stays as it is, and the log says why."""
        os.link(self.access_log, self.directory / "other")
        with capturedLogs() as events:
            self.start(named=True)
        (text,) = map(formatEvent, events)
        self.assertIn(f"Cannot chown {self.access_log}", text)
        self.assertIn("hard links", text)
        self.assertEqual(self.access_log.stat().st_uid, 0)
