"""Files of lines: whole, bounded, shared, and opened anew."""

from __future__ import annotations

import errno
import os
import select
from pathlib import Path
from random import Random

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_graceful.errors import LogFileError
from twisted_graceful.process.host import log_file
from twisted_graceful.process.host.log_file import LIMIT, RETRY, RETRY_SIZE, LogFile, LogFiles

from ..case import SynchronousTestCase
from .support import leaves_nothing_open, run_python, temporary_directory

LINE = b"x" * 99 + b"\n"


class LogFileTestCase(SynchronousTestCase):
    """A directory for files, and a clock."""

    def setUp(self) -> None:
        """Make them."""
        self.directory = Path(temporary_directory(self))
        self.path = self.directory / "access.log"
        self.clock = Clock()

    def open(self, path: Path | str | None = None) -> LogFile:
        """A log file that is closed after the test."""
        file = LogFile(str(path or self.path), self.clock)
        self.addCleanup(file.close)
        return file

    def fail_to_write(self, number: int = errno.ENOSPC) -> None:
        """Let the system refuse to write, until `let_write`."""

        def write(descriptor: int, data: bytes) -> int:
            raise OSError(number, os.strerror(number))

        self.refusing = self.patch(os, "write", write)

    def let_write(self) -> None:
        """Let the system write again."""
        self.refusing.restore()


class WriteTests(LogFileTestCase):
    """Lines are written."""

    def test_at_once(self) -> None:
        """Lines are written at once, in one piece, and no timer is left behind."""
        file = self.open()
        calls: list[int] = []
        write = os.write
        self.patch(os, "write", lambda fd, data: calls.append(len(data)) or write(fd, data))
        file.write(10 * LINE)
        self.assertEqual(self.path.read_bytes(), 10 * LINE)
        self.assertEqual(calls, [10 * len(LINE)])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close(self) -> None:
        """Closed twice it is closed."""
        with leaves_nothing_open(self):
            file = self.open()
            file.write(LINE)
            file.close()
            file.close()
        self.assertEqual(self.path.read_bytes(), LINE)

    def test_dropped(self) -> None:
        """A file that nobody has closed, and nobody has any more, is closed."""
        with leaves_nothing_open(self):
            LogFile(str(self.path), self.clock).write(LINE)
        self.assertEqual(self.path.read_bytes(), LINE)

    def test_appended(self) -> None:
        """What was in the file stays there."""
        self.path.write_bytes(b"before\n")
        file = self.open()
        file.write(b"after\n")
        self.assertEqual(self.path.read_bytes(), b"before\nafter\n")

    def test_two_processes(self) -> None:
        """Two that have the same file open do not overwrite or mix their lines."""
        files = [self.open(), self.open()]
        random = Random(1)
        expected: list[bytes] = []
        for number in range(5000):
            line = b"%d %b\n" % (number, b"x" * random.randrange(200))
            expected.append(line)
            random.choice(files).write(line)
        self.assertEqual(sorted(self.path.read_bytes().splitlines(True)), sorted(expected))


FORKS = """
import os, sys, threading
from twisted.internet.task import Clock
from twisted_graceful.process.host.log_file import LogFile

reader, writer = os.pipe()
file = LogFile("-", Clock(), descriptor=writer)
kept = b"kept\\n" * 20000
file.write(kept)
file._lock.acquire()
holder = threading.Thread(target=lambda: None)
forked = []


def fork():
    pid = os.fork()
    if not pid:
        while os.read(reader, 4096) != b"child\\n":
            file.write(b"child\\n") if not file._buffer else None
        os._exit(0)
    forked.append(pid)


thread = threading.Thread(target=fork)
thread.start()
thread.join()
print(os.waitstatus_to_exitcode(os.waitpid(forked[0], 0)[1]))
"""


class ForkTests(SynchronousTestCase):
    """A process that the application forks."""

    def test_a_child_writes(self) -> None:
        """A forked child writes at once, even if the lock was held, and not the parent's lines."""
        # From 3.12 Python warns of a fork while there is another thread.
        done = run_python("-W", "ignore::DeprecationWarning", "-c", FORKS)
        self.assertEqual((done.stdout, done.stderr), ("0\n", ""))


class ReopenTests(LogFileTestCase):
    """The file is moved away, and opened anew."""

    def test_moved(self) -> None:
        """What was written before is in the old file, what comes later in the new one."""
        with leaves_nothing_open(self):
            file = self.open()
            file.write(b"before\n")
            old = self.path.rename(self.path.with_suffix(".1"))
            file.write(b"moved\n")
            file.reopen()
            file.write(b"after\n")
            file.close()
        self.assertEqual(old.read_bytes(), b"before\nmoved\n")
        self.assertEqual(self.path.read_bytes(), b"after\n")

    def test_not_moved(self) -> None:
        """If nobody has moved it, it goes on."""
        file = self.open()
        file.write(b"before\n")
        file.reopen()
        file.write(b"after\n")
        self.assertEqual(self.path.read_bytes(), b"before\nafter\n")

    def test_impossible(self) -> None:
        """If there can be no new file the old one is written on, and the log says so."""
        file = self.open()
        moved = self.directory.rename(self.directory.with_suffix(".moved"))
        self.addCleanup(moved.rename, self.directory)
        with capturedLogs() as events:
            file.reopen()
        self.assertIn("there is no directory", formatEvent(events[0]))
        file.write(LINE)
        self.assertEqual((moved / self.path.name).read_bytes(), LINE)


class RefusalTests(LogFileTestCase):
    """What cannot be opened, and why."""

    def refused(self, path: str) -> str:
        """What the error says."""
        with leaves_nothing_open(self):
            text = str(self.assertRaises(LogFileError, LogFile, path, self.clock))
        self.assertIn(path, text)
        return text

    def test_no_directory(self) -> None:
        """The directory that is missing is named."""
        text = self.refused(str(self.directory / "logs" / "access.log"))
        self.assertIn(f"there is no directory {self.directory}/logs", text)

    def test_a_directory(self) -> None:
        """A directory is none."""
        self.assertIn("Is a directory", self.refused(str(self.directory)))

    def test_a_socket(self) -> None:
        """A socket cannot be opened; what to do is said."""
        import socket

        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.path))
            self.assertIn("- is standard output", self.refused(str(self.path)))

    def test_closed_stream(self) -> None:
        """A standard stream that is closed cannot be written."""
        done = run_python(
            "-c",
            "import os\n"
            "from twisted.internet.task import Clock\n"
            "from twisted_graceful.process.host.log_file import LogFile, LogFileError\n"
            "os.close(1)\n"
            "try: LogFile('-', Clock())\n"
            "except LogFileError as error: os.write(2, str(error).encode())\n",
        )
        self.assertEqual(done.stderr, "cannot open the log file -: this process has no such stream")


class FullDiskTests(LogFileTestCase):
    """The system refuses to write."""

    def test_kept(self) -> None:
        """Lines are kept until they can be written; nothing is raised, the log tells of it."""
        file = self.open()
        self.fail_to_write()
        with capturedLogs() as events:
            for _ in range(1000):
                file.write(LINE)
            self.clock.advance(1)
            self.clock.advance(1)
        self.assertEqual(len(events), 1)
        self.assertIn("No space left on device; 0 lines are lost", formatEvent(events[0]))
        self.let_write()
        with capturedLogs() as events:
            self.clock.advance(1)
        self.assertEqual(self.path.read_bytes(), LINE * 1000)
        self.assertIn("is written again; 0 lines were lost", formatEvent(events[0]))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_limit(self) -> None:
        """Beyond the limit the last lines are lost, whole, and counted."""
        file = self.open()
        self.fail_to_write()
        count = 2 * LIMIT // len(LINE)
        for _ in range(count):
            file.write(LINE)
        self.assertLessEqual(len(file._buffer), LIMIT + RETRY_SIZE)
        self.let_write()
        with capturedLogs() as events:
            self.clock.advance(RETRY)
        written = self.path.read_bytes()
        kept = len(written) // len(LINE)
        self.assertEqual(written, LINE * kept)
        self.assertGreater(len(written), LIMIT - len(LINE))
        self.assertIn(f"{count - kept} lines were lost", formatEvent(events[-1]))
        file.write(LINE)
        self.assertEqual(self.path.stat().st_size, len(written) + len(LINE))

    def test_told_now_and_then(self) -> None:
        """The log tells of it once a minute, not with every attempt."""
        file = self.open("/dev/full")
        with capturedLogs() as events:
            for _ in range(150):
                file.write(LINE)
                self.clock.advance(1)
        self.assertEqual(len(events), 3)

    def test_close(self) -> None:
        """What cannot be written at the close is lost, and the log says how much that is."""
        file = self.open("/dev/full")
        file.write(LINE * 3)
        with capturedLogs() as events:
            file.close()
        self.assertIn("3 lines are lost", formatEvent(events[0]))

    def test_half_written(self) -> None:
        """A line of which the system took a part is completed."""
        file = self.open()
        write = os.write
        taken = iter([50])

        def write_some(descriptor: int, data: bytes) -> int:
            for size in taken:
                return write(descriptor, data[:size])
            raise OSError(errno.ENOSPC, "full")

        self.refusing = self.patch(os, "write", write_some)
        with capturedLogs():
            file.write(LINE)
        self.let_write()
        self.clock.advance(RETRY)
        file.write(LINE)
        self.assertEqual(self.path.read_bytes(), 2 * LINE)


class PipeTests(LogFileTestCase):
    """What is no plain file has a reader, who may take his time."""

    def setUp(self) -> None:
        """Make a FIFO."""
        super().setUp()
        os.mkfifo(self.path)

    def read_all(self, descriptor: int) -> bytes:
        """What is in a pipe now."""
        read = b""
        while select.select([descriptor], [], [], 0)[0] and (data := os.read(descriptor, 1 << 16)):
            read += data
        return read

    def open_reader(self) -> int:
        """A reader of the FIFO, closed after the test."""
        reader = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        return reader

    def test_no_reader(self) -> None:
        """Nobody has to read yet; who comes later gets what was kept."""
        file = self.open()
        for _ in range(2000):
            file.write(LINE)
        reader = self.open_reader()
        read = b""
        for _ in range(100):
            read += self.read_all(reader)
            self.clock.advance(1)
        self.assertEqual(read, LINE * 2000)

    def test_slow_reader(self) -> None:
        """A pipe that is full is looked at again soon; nothing is lost or said."""
        file = self.open()
        reader = self.open_reader()
        with capturedLogs() as events:
            for _ in range(2000):
                file.write(LINE)
            read = b""
            for _ in range(10):
                read += self.read_all(reader)
                self.clock.advance(0.2)
        self.assertEqual((len(read), events), (2000 * len(LINE), []))

    def test_never_read(self) -> None:
        """A reader who does not read costs bounded memory, and the log says what is lost."""
        file = self.open()
        with capturedLogs() as events:
            for _ in range(2 * LIMIT // len(LINE)):
                file.write(LINE)
        self.assertLessEqual(len(file._buffer), LIMIT + RETRY_SIZE)
        self.assertIn("nobody reads it; ", formatEvent(events[0]))
        self.patch(log_file, "PATIENCE", 0)
        with capturedLogs():
            file.close()

    def test_whole_lines(self) -> None:
        """What is written at once is whole lines, so many that a pipe takes them at once."""
        file = self.open()
        pieces: list[bytes] = []
        write = os.write
        self.patch(os, "write", lambda fd, data: pieces.append(bytes(data)) or write(fd, data))
        file.write(100 * LINE)
        self.assertEqual(b"".join(pieces), 100 * LINE)
        self.assertEqual({len(each) % len(LINE) for each in pieces}, {0})
        self.assertLessEqual(max(map(len, pieces)), select.PIPE_BUF)
        self.assertLess(len(pieces), 5)

    def test_line_longer_than_a_pipe_takes_at_once(self) -> None:
        """It is written in one piece while there is room, and in pieces when there is none."""
        file = self.open()
        pieces: list[bytes] = []
        write = os.write
        self.patch(os, "write", lambda fd, data: pieces.append(bytes(data)) or write(fd, data))
        line = b"x" * 3 * select.PIPE_BUF + b"\n"
        file.write(line + LINE)
        self.assertEqual(pieces, [line, LINE])
        for _ in range(20):
            file.write(line)
        reader = self.open_reader()
        read = self.read_all(reader)
        for _ in range(10):
            self.clock.advance(1)
            read += self.read_all(reader)
        self.assertEqual(read, line + LINE + 20 * line)

    def test_broken(self) -> None:
        """A pipe whose reader has gone is an error like any other."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, writer)
        os.close(reader)
        file = LogFile("-", self.clock, descriptor=writer)
        self.addCleanup(file.close)
        with capturedLogs() as events:
            file.write(LINE)
        self.assertIn("Broken pipe", formatEvent(events[0]))
        with capturedLogs():
            file.close()

    def test_standard_output(self) -> None:
        """Standard output is written as it is at the time, not opened anew and not closed."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        self.addCleanup(os.close, writer)
        file = LogFile("-", self.clock, descriptor=writer)
        self.addCleanup(file.close)
        for _ in range(2):
            file.write(LINE)
            file.reopen()
        file.close()
        self.assertEqual(self.read_all(reader), 2 * LINE)
        os.fstat(writer)


class LogFilesTests(LogFileTestCase):
    """All log files of a process."""

    def setUp(self) -> None:
        """None yet."""
        super().setUp()
        self.files = LogFiles(self.clock)

    def test_shared(self) -> None:
        """A path is open once, until its last user closes it."""
        with leaves_nothing_open(self):
            one, two = self.files.open(str(self.path)), self.files.open(str(self.path))
            self.assertIs(one, two)
            self.files.close(one)
            two.write(LINE)
            self.files.close(two)
        self.assertEqual(self.path.read_bytes(), LINE)

    def test_opened_again(self) -> None:
        """After the last close it is opened anew."""
        file = self.files.open(str(self.path))
        self.files.close(file)
        again = self.files.open(str(self.path))
        again.write(LINE)
        self.files.close(again)
        self.assertEqual(self.path.read_bytes(), LINE)

    def test_reopen(self) -> None:
        """All are opened anew."""
        paths = [self.directory / "a", self.directory / "b"]
        opened = [self.files.open(str(path)) for path in paths]
        for path in paths:
            path.unlink()
        self.files.reopen()
        for file in opened:
            file.write(LINE)
            self.files.close(file)
        self.assertEqual([path.read_bytes() for path in paths], [LINE, LINE])
