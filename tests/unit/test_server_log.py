"""Twisted's observers write without waiting."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path
from typing import Any, TextIO

from twisted.internet.task import Clock
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevelFilterPredicate,
    LogPublisher,
    jsonFileLogObserver,
    textFileLogObserver,
)
from twisted.python import log
from twisted.python.logfile import LogFile as TwistedLogFile

from twisted_graceful import twisted_internals
from twisted_graceful.process.host import log_file
from twisted_graceful.process.host.server_log import never_wait
from twisted_graceful.process.host.shared_log_files import share_log_files

from ..case import SynchronousTestCase
from .support import temporary_directory


class Reactor(Clock):
    """A clock that remembers what is to be done at its end."""

    def __init__(self) -> None:
        super().__init__()
        self.at_end: list[Any] = []

    def addSystemEventTrigger(self, phase: str, event: str, callable: Any) -> None:
        """Remember it."""
        self.at_end.append(callable)


class NeverWaitTests(SynchronousTestCase):
    """A log that goes to a pipe."""

    def setUp(self) -> None:
        """Make the pipe, and a log of its own."""
        self.reader, writer = os.pipe()
        self.addCleanup(os.close, self.reader)
        self.stream: TextIO = os.fdopen(writer, "w")
        self.addCleanup(self.stream.close)
        self.publisher = LogPublisher()
        self.patch(twisted_internals, "globalLogPublisher", self.publisher)
        self.log = Logger("app", observer=self.publisher)
        self.reactor = Reactor()

    def read(self) -> str:
        """All that is in the pipe."""
        os.set_blocking(self.reader, False)
        read = b""
        try:
            while data := os.read(self.reader, 1 << 16):
                read += data
        except BlockingIOError:
            pass
        return read.decode()

    def test_each_observer(self) -> None:
        """Text, JSON, with a level, and that of an older program: a full pipe blocks none."""
        level = LogLevelFilterPredicate()
        for name, observer in (
            ("text", textFileLogObserver(self.stream)),
            ("json", jsonFileLogObserver(self.stream)),
            ("filtered", FilteringLogObserver(textFileLogObserver(self.stream), [level])),
            ("nested", LogPublisher(textFileLogObserver(self.stream))),
            ("legacy", log.FileLogObserver(self.stream).emit),
        ):
            with self.subTest(name):
                if name == "legacy":
                    from twisted.logger import LegacyLogObserverWrapper

                    observer = LegacyLogObserverWrapper(observer)
                self.publisher.addObserver(observer)
                never_wait(self.reactor)
                for number in range(300):
                    self.log.info("{number} {text}", number=number, text="x" * 1000)
                seen = ""
                for _ in range(20):
                    seen += self.read()
                    self.reactor.advance(1)
                self.assertEqual(seen.count("\n"), 300)
                self.publisher.removeObserver(observer)

    def test_dropped(self) -> None:
        """Beyond the limit lines are dropped and counted, and the log says how many."""
        self.publisher.addObserver(textFileLogObserver(self.stream))
        never_wait(self.reactor)
        before = log_file.lost_lines()
        self.patch(log_file.LogFile, "_log", self.log)
        for _ in range(6000):
            self.log.info("x" * 1000)
        seen = ""
        for _ in range(200):
            seen += self.read()
            self.reactor.advance(1)
        lost = log_file.lost_lines() - before
        self.assertGreater(lost, 1000)
        self.assertRegex(seen, rf"is written again; {lost} lines were lost\n$")
        self.assertEqual(seen.count("x" * 1000), 6000 - lost)

    def test_the_end(self) -> None:
        """After the reactor has stopped lines may wait for the reader, for a while in all."""
        self.publisher.addObserver(textFileLogObserver(self.stream))
        never_wait(self.reactor)
        (patience,) = self.reactor.at_end
        patience()
        begun = time.monotonic()
        for _ in range(2000):
            self.log.info("x" * 1000)
        self.assertLess(time.monotonic() - begun, 5)
        self.assertTrue(self.read().endswith("x\n"))

    def test_what_is_no_stream(self) -> None:
        """An observer that writes to memory, or to a file of its own, is left alone."""
        path = Path(temporary_directory(self)) / "app.log"
        with open(path, "w") as file:
            memory = io.StringIO()
            both = [textFileLogObserver(memory), textFileLogObserver(file)]
            for each in both:
                self.publisher.addObserver(each)
            never_wait(self.reactor)
            self.assertEqual([each._outFile for each in both], [memory, file])
        self.assertEqual(self.reactor.at_end, [])


class StreamLogFileTests(SynchronousTestCase):
    """``--logfile`` names what is not a file."""

    def setUp(self) -> None:
        """Share log files."""
        share_log_files(Clock())
        self.directory = Path(temporary_directory(self))
        self.path = self.directory / "app.log"

    def test_not_rotated(self) -> None:
        """A FIFO, and a link to a stream or a device, is neither rotated nor renamed."""
        for name, target in (("fifo", ""), ("stream", "/dev/fd/1"), ("device", "/dev/full")):
            with self.subTest(name):
                if target:
                    self.path.symlink_to(target)
                else:
                    os.mkfifo(self.path)
                file = TwistedLogFile.fromFullPath(str(self.path), rotateLength=1)
                if name != "stream":  # which pytest has captured
                    file.write(b"line\n")
                    file.write(b"line\n")
                file.rotate()
                self.assertEqual(os.listdir(self.directory), ["app.log"])
                self.assertEqual(self.path.is_symlink(), bool(target))
                file.close()
                self.path.unlink()

    def test_a_link_to_a_file(self) -> None:
        """If the path is a link to a file, the target is rotated, and the link stays."""
        target = self.directory / "real.log"
        target.touch()
        self.path.symlink_to("real.log")
        file = TwistedLogFile.fromFullPath(str(self.path))
        file.write(b"before\n")
        file.rotate()
        file.write(b"after\n")
        file.close()
        self.assertEqual(sorted(os.listdir(self.directory)), ["app.log", "real.log", "real.log.1"])
        self.assertEqual((self.path.is_symlink(), target.read_bytes()), (True, b"after\n"))

    def test_a_reader_with_a_lock(self) -> None:
        """A reader of the log that locks it does not hold up a rotation."""
        import fcntl

        file = TwistedLogFile.fromFullPath(str(self.path))
        with open(self.path) as reader:
            fcntl.flock(reader, fcntl.LOCK_SH)
            file.rotate()
        file.close()
        self.assertEqual(sorted(os.listdir(self.directory)), ["app.log", "app.log.1"])

    def test_a_full_disk(self) -> None:
        """What cannot be written is kept until it can be."""
        file = TwistedLogFile.fromFullPath(str(self.path))

        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        refusing = self.patch(os, "write", full)
        file.write(b"before\n")
        refusing.restore()
        file.write(b"after\n")
        file.close()
        self.assertEqual(self.path.read_bytes(), b"before\nafter\n")
