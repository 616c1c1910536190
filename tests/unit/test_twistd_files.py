"""What is done with files at twistd's start and end, in its place."""

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
from twisted_graceful.process.host.shared_log_files import share_log_files
from twisted_graceful.process.host.twistd_files import TwistdFiles

from ..case import SynchronousTestCase
from .support import run_python, temporary_directory

USER = 54321


def restore_twistd(test: SynchronousTestCase) -> None:
    """Give twistd its own way back after a test."""
    for name in ("removePID", "setupEnvironment", "shedPrivileges"):
        test.patch(UnixApplicationRunner, name, getattr(UnixApplicationRunner, name))
    logger = UnixApplicationRunner.loggerFactory
    test.patch(logger, "_getLogObserver", logger._getLogObserver)


class Runner(UnixApplicationRunner):
    """twistd's own runner, of an application that does nothing, on no reactor."""

    application = oldstdout = oldstderr = None

    def startApplication(self, application: object) -> None:
        """Start nothing."""

    def startReactor(self, reactor: object, oldstdout: object, oldstderr: object) -> None:
        """Run nothing."""


class FailingRunner(Runner):
    """The same, of an application that does not start."""

    def startApplication(self, application: object) -> None:
        """Fail to start."""
        raise ValueError("this application does not start")


class TakeOverTwistdTests(SynchronousTestCase):
    """twistd's start and exit, as any user."""

    def setUp(self) -> None:
        """Take over."""
        restore_twistd(self)
        self.ended: list[str] = []
        self.files = TwistdFiles(
            "",
            located=os.path.abspath,
            is_successor=False,
            written=list,
            ends=lambda: self.ended.append("ends"),
            observes=lambda observer: None,
        )
        self.files.take_over_twistd()

    def test_the_start(self) -> None:
        """The pid file that twistd's options name is written, and is known; without one none is."""
        path = os.path.join(temporary_directory(self), "app.pid")
        Runner({}).setupEnvironment(None, ".", True, None, "")
        self.assertIsNone(self.files.pid_file)
        Runner({}).setupEnvironment(None, ".", True, None, path)
        self.assertEqual(self.files.pid_file and self.files.pid_file.path, path)
        self.assertEqual(Path(path).read_text(), str(os.getpid()))

    def test_the_exit(self) -> None:
        """The pid file is removed by us at the end, also when the start fails."""
        Runner({"pidfile": ""}).postApplication()
        failing = FailingRunner({"pidfile": "app.pid"})
        self.assertRaises(ValueError, failing.postApplication)
        self.assertEqual(self.ended, ["ends", "ends"])

    def test_twistd_calls_them(self) -> None:
        """twistd's start goes through what we have put in place, the files before the user."""
        names = UnixApplicationRunner.startApplication.__code__.co_names
        order = [names.index(name) for name in ("setupEnvironment", "shedPrivileges")]
        self.assertEqual(order, sorted(order))

    def test_a_second_service_replaces_the_first(self) -> None:
        """Of two services in a program the last one is called, and twistd's method once."""
        self.test_the_start()
        first, self.ended = self.ended, []
        self.setUp()
        Runner({"pidfile": ""}).postApplication()
        self.assertEqual((first, self.ended), ([], ["ends"]))

    def test_twistd_is_not_imported(self) -> None:
        """In a program that is not twistd nothing is done, and nothing is imported."""
        done = run_python(
            "-c",
            "import sys\n"
            "from twisted_graceful.process.host.twistd_files import TwistdFiles\n"
            "TwistdFiles('', located=str, is_successor=False, written=list, ends=print,"
            " observes=print).take_over_twistd()\n"
            "print('twisted.scripts._twistd_unix' in sys.modules)",
        )
        self.assertEqual((done.stdout, done.returncode), ("False\n", 0))


class TwistdFilesTests(SynchronousTestCase):
    """twistd, started by root, with a log, a pid file and an access log."""

    def setUp(self) -> None:
        """Make the files; let nobody really become another user."""
        if os.geteuid():
            raise SkipTest("only root can give files away")
        restore_twistd(self)
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
        ).take_over_twistd()
        runner = UnixApplicationRunner({})
        runner.setupEnvironment(None, ".", True, None, "" if named else path)
        runner.shedPrivileges(False, USER, USER)

    def test_given(self) -> None:
        """The pid file is written, and all files belong to the user before twistd changes to it."""
        for named in (True, False):
            with self.subTest(named=named):
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
            with self.subTest(given=given, expected=expected):
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
