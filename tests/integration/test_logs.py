"""Logs of whole processes: streams, paths and pipes, across upgrades and with workers."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from .harness import GRACEFUL, PATIENCE, PORT, TWISTD, Server
from .waiting import until

LINE = re.compile(r'"GET (/\w+) HTTP')


def redirected(redirections: str) -> tuple[str, ...]:
    """The usual command, as a shell starts it with these redirections."""
    return ("sh", "-c", f'exec "$@" {redirections}', "sh", *GRACEFUL, "--app", "app.resource")


class StreamTests(SynchronousTestCase):
    """An access log that is a descriptor."""

    def test_across_processes(self) -> None:
        """A link to standard output, and another descriptor, have a line for each request."""
        for path, redirections, options in (
            ("link", "", ("--workers", "1")),
            ("link", "", ()),
            ("/dev/fd/3", "3>>other.log", ("--workers", "1")),
            ("/proc/self/fd/3", "3>>other.log", ()),
        ):
            command = redirected(redirections)
            with self.subTest(path=path, options=options):
                server = Server("--access-log", path, *options, command=command)
                (server.directory / "link").symlink_to("/dev/stdout")
                with server:
                    server.get("/one")
                    server.upgrade()
                    server.get("/two")
                    server.stop()
                    self.assertEqual(LINE.findall(server.log), ["/one", "/two"])


class PathTests(SynchronousTestCase):
    """An application that changes the directory."""

    def test_relative(self) -> None:
        """Relative paths mean the directory of the start, in each process and after USR1."""
        command = (TWISTD, "-n", "--pidfile", "app.pid", "--logfile", "app.log", "graceful", *PORT)
        options = ("--app", "app.resource", "--workers", "1", "--access-log", "access.log")
        server = Server(*options, *PATIENCE, command=command, certificate=ONE + ONE_KEY)
        (server.directory / "elsewhere").mkdir()
        server.deploy("1", then="\nimport os\nos.chdir('elsewhere')\n")
        with server:
            server.get("/one")
            server.deploy("1", then="\nimport os\nos.chdir('elsewhere')\n")
            server.upgrade()
            until((server.directory / "access.log").exists, "there is an access log")
            (server.directory / "access.log").unlink()
            server.kill(signal.SIGUSR1)
            until((server.directory / "access.log").exists, "there is a new access log")
            until((server.directory / "app.log.1").exists, "the log is rotated")
            server.get("/two")
            server.stop()
            self.assertEqual(os.listdir(server.directory / "elsewhere"), [])
            texts = [
                path.read_text() for path in sorted(server.directory.glob("app.log*"), reverse=True)
            ]
            lines = [line for line in "".join(texts).splitlines() if line[:1].isdigit()]
            unnamed = [line for line in lines if not re.search(r"\[gen \d+ (worker \d+ )?\S", line)]
            self.assertEqual(unnamed, [])
            self.assertNotRegex("".join(texts), r"Closed\)|starting on|Starting factory")


class UnreadTests(SynchronousTestCase):
    """A log that is a pipe whose reader hangs."""

    def test_nobody_waits(self) -> None:
        """Requests, upgrades and stops go on; later the log says what is missing."""
        server = Server("--workers", "2", command=redirected(">fifo 2>&1"))
        fifo = server.directory / "fifo"
        os.mkfifo(fifo)
        server.deploy(
            "1",
            then=(
                "\nfrom twisted.logger import Logger\n"
                "class Loud(type(resource)):\n"
                "    def render(self, request):\n"
                "        if request.path == b'/loud': Logger().info('x' * 3_000_000)\n"
                "        return super().render(request)\n"
                "resource = Loud()\n"
            ),
        )
        reader = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        with server:
            port = int(until(lambda: self.seen(reader, rb"127\.0\.0\.1:(\d+)"), "it listens"))
            for _ in range(12):
                server.get("/loud", port=port)
            pid = int((Path(server.directory) / "app.pid").read_text())
            server.kill(signal.SIGUSR2, pid)
            new = until(
                lambda: server.pid_file not in ("", str(pid)) and int(server.pid_file),
                "the successor serves",
            )
            server.ended(pid)
            self.assertEqual(server.get("/", port=port).status, 200)
            server.kill(signal.SIGTERM, new)
            server.ended(new)

    def seen(self, reader: int, pattern: bytes) -> bytes:
        """What a pattern has found in the pipe."""
        try:
            found = re.search(pattern, os.read(reader, 1 << 16))
        except BlockingIOError:
            return b""
        return found[1] if found else b""
