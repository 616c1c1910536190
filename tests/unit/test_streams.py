"""Paths that mean a descriptor of the process, and writing to one without waiting."""

from __future__ import annotations

import os
import pty
import select
import socket
import subprocess
import sys
import tty
from pathlib import Path

from twisted.internet.task import Clock

from twisted_graceful.errors import LogFileError
from twisted_graceful.process.host import streams
from twisted_graceful.process.host.log_file import LogFile
from twisted_graceful.process.host.streams import canonical

from ..case import SynchronousTestCase
from .support import temporary_directory


class StreamsTestCase(SynchronousTestCase):
    """A directory, and no descriptors that were kept before."""

    def setUp(self) -> None:
        """Make it."""
        self.directory = Path(temporary_directory(self))
        self.patch(streams, "_kept", {})
        self.patch(streams, "_are_own", True)

    def pipe(self) -> tuple[int, int]:
        """A pipe, which is closed after the test."""
        ends = os.pipe()
        for end in ends:
            self.addCleanup(os.close, end)
        return ends


MISSING = """
import os, sys
from twisted_graceful.cli import command_line
command_line.working_directory = lambda environ: sys.exit(0)
try:
    command_line.Options().parseOptions([])
finally:
    file = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)
    names = [os.readlink(f"/proc/self/fd/{number}") for number in range(3)]
    os.write(file, " ".join(map(str, [*names, *map(os.get_inheritable, range(3))])).encode())
"""


class OpenMissingTests(StreamsTestCase):
    """A process that was started with closed standard streams."""

    def test_closed(self) -> None:
        """They are /dev/null before the options are looked at, and no later file is in between."""
        said = self.directory / "said"
        command = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-c", MISSING]
        subprocess.run([*command, str(said)], check=True)
        self.assertEqual(said.read_text(), " ".join(["/dev/null"] * 3 + ["True"] * 3))


class CanonicalTests(StreamsTestCase):
    """What a path means, settled once."""

    def link(self, name: str, target: str) -> str:
        """The path of a symbolic link."""
        (self.directory / name).symlink_to(target)
        return str(self.directory / name)

    def test_streams(self) -> None:
        """A path that leads to a standard stream is that stream; others become absolute."""
        here = str(self.directory)
        chain = self.link("chain", self.link("link", "/dev/stdout"))
        inner = self.link("fds", f"/proc/{os.getpid()}/fd")
        for path, expected in (
            ("", ""),
            ("-", "-"),
            ("/dev/stdout", "-"),
            ("/dev/stderr", "/dev/stderr"),
            ("/dev/fd/1", "-"),
            ("/dev/../dev/fd/2", "/dev/stderr"),
            ("/proc/self/fd/1", "-"),
            ("/proc/thread-self/fd/1", "-"),
            (f"/proc/{os.getpid()}/fd/2", "/dev/stderr"),
            (f"{inner}/1", "-"),
            ("chain", "-"),
            (chain, "-"),
            (self.link("relative", "chain"), "-"),
            ("/proc/1/fd/1", "/proc/1/fd/1"),
            ("access.log", f"{here}/access.log"),
            (self.link("loop", "loop"), f"{here}/loop"),
            ("/var/log/a.log", "/var/log/a.log"),
        ):
            with self.subTest(path=path):
                self.assertEqual(canonical(path, here), expected)
                self.assertEqual(canonical(expected, "/"), expected)

    def test_another_descriptor(self) -> None:
        """A descriptor beyond the standard streams is kept, also when somebody closes it."""
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        path = canonical(f"/dev/fd/{writer}", "/")
        os.close(writer)
        file = LogFile(path, Clock())
        file.write(b"line\n")
        self.assertEqual(os.read(reader, 99), b"line\n")
        (kept,) = streams.kept().values()
        os.close(kept)

    def test_in_a_successor(self) -> None:
        """A number is that of the first generation: what was not kept there is an error."""
        reader, writer = self.pipe()
        streams.inherit({3: writer})
        LogFile("/dev/fd/3", Clock()).write(b"line\n")
        self.assertEqual(os.read(reader, 99), b"line\n")
        path = canonical(f"/dev/fd/{writer}", "/")
        error = self.assertRaises(LogFileError, LogFile, path, Clock())
        self.assertIn("no such stream", str(error))

    def test_read_only(self) -> None:
        """A descriptor that can only be read from is not a log."""
        reader, _ = self.pipe()
        self.assertRaises(LogFileError, LogFile, canonical(f"/dev/fd/{reader}", "/"), Clock())
        (kept,) = streams.kept().values()
        os.close(kept)


class WriteTests(StreamsTestCase):
    """Nobody reads."""

    def test_full(self) -> None:
        """A full pipe is not waited for, and stays blocking for other processes."""
        _, writer = self.pipe()
        one, other = socket.socketpair()
        self.addCleanup(one.close)
        self.addCleanup(other.close)
        leader, terminal = pty.openpty()
        self.addCleanup(os.close, leader)
        self.addCleanup(os.close, terminal)
        tty.setraw(terminal)
        for name, descriptor in (("pipe", writer), ("socket", one.fileno()), ("tty", terminal)):
            with self.subTest(name):
                taken = 0
                with self.assertRaises(BlockingIOError):
                    while taken < 1 << 24:
                        taken += streams.write(descriptor, b"x" * 4096)
                self.assertGreater(taken, 1000)
                self.assertTrue(os.get_blocking(descriptor))

    def test_an_older_kernel(self) -> None:
        """Where a pipe cannot be written without waiting by a flag it is opened again for that."""
        _, writer = self.pipe()

        def unknown(*_: object) -> int:
            raise OSError(95, "Operation not supported")

        self.patch(os, "pwritev", unknown)
        with self.assertRaises(BlockingIOError):
            for _ in range(100):
                streams.write(writer, b"x" * 4096)
        self.assertTrue(os.get_blocking(writer))
        _, writer = self.pipe()
        self.patch(os, "open", unknown)  # as for a pipe of another user
        self.assertEqual(streams.write(writer, b"x" * (1 << 20)), select.PIPE_BUF)
