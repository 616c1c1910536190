"""Real servers for the tests: a command, its log, its signals, and all its successors."""

from __future__ import annotations

import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from unittest import SkipTest

from ..certificates import ONE, TWO
from . import proc
from .client import Answer, Client, trusting
from .waiting import until

SERVED = Path(__file__).with_name("served.py")
BESIDE_PYTHON = os.path.dirname(sys.executable)
TWISTD = shutil.which("twistd", path=BESIDE_PYTHON) or "twistd"
TWIST = shutil.which("twist", path=BESIDE_PYTHON) or "twist"

PORT = ("--port", "127.0.0.1:0")
PATIENCE = ("--idle-grace", "0.3", "--linger-timeout", "0.5", "--probation", "0")
FOREGROUND = (TWISTD, "-n", "--pidfile", "app.pid", "--logfile", "-")
GRACEFUL = (*FOREGROUND, "graceful", *PORT, *PATIENCE)
"""The command of most tests; an option that is given again replaces the one in here."""

DAEMON = (TWISTD, "--pidfile", "app.pid", "--logfile", "app.log", "graceful", *PORT, *PATIENCE)

TAC = """\
import os, sys
sys.path.insert(0, os.getcwd())
from twisted.application.service import Application
from twisted_graceful import GracefulService, new
import app

application = Application("tac")
service = GracefulService(new("127.0.0.1:0", app.resource), signals=True, probation=0)
service.setServiceParent(application)
"""


if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # else servers of tests under nohup ignore it, too

ENDED = os.WEXITED | os.WNOHANG
CERTIFICATE = "tls.pem"
FAMILY = "TWISTED_GRACEFUL_TEST_FAMILY"

_launched: set[int] = set()
"""The commands of all servers. Each is waited for by its own, and orphans by any."""


class Server:
    """A command in a directory of its own, with all the processes that come of it.

    Entering it starts the command. Leaving it ends every process of the family, and adds
    the log to the message of a failure.

    Args:
        options: added to the command.
        command: what is run.
        environment: variables on top of the test's own.
        certificate: a certificate and its key, with which it speaks TLS, as its clients do then.
    """

    def __init__(
        self,
        *options: str,
        command: Sequence[str] = GRACEFUL,
        environment: Mapping[str, str] | None = None,
        certificate: str = "",
    ) -> None:
        self._resources = ExitStack()
        self.directory = Path(
            self._resources.enter_context(tempfile.TemporaryDirectory(prefix="graceful-"))
        )
        self.working_directory = self.directory
        self.command = [*command, *options]
        self._family = uuid.uuid4().hex
        self.environment = {
            **os.environ,
            # A file that is replaced twice in a second has a stale .pyc, which Python trusts.
            "PYTHONDONTWRITEBYTECODE": "1",
            # A title must leave in place what the family is known by.
            "SPT_NOENV": "1",
            **(environment or {}),
            FAMILY: self._family,
        }
        self._statuses: dict[int, int] = {}
        self._generation = 0
        self.tls: ssl.SSLContext | None = None
        if certificate:
            self.write(CERTIFICATE, certificate)
            self.command += ["--tls-cert", CERTIFICATE]
            self.tls = trusting(ONE, TWO)
        self.deploy("1")

    # Its directory

    def write(self, name: str, text: str) -> None:
        """Put a file in place, at once as a whole."""
        temporary = self.directory / f".{name}"
        temporary.write_text(text)
        temporary.rename(self.directory / name)

    def deploy(self, version: str, then: str = "") -> None:
        """Put a version of the application in place.

        Args:
            version: what it answers.
            then: code at its end.
        """
        text = SERVED.read_text().replace('VERSION = "1"', f'VERSION = "{version}"')
        self.write("app.py", text + then)

    def wait_for(self, name: str) -> None:
        """Wait until the application has created a file."""
        until((self.directory / name).exists, f"the application creates {name}")

    def open(self, *gates: str) -> None:
        """Open gates."""
        for name in gates:
            (self.directory / f"{name}.open").touch()

    def shut(self, gate: str) -> None:
        """Shut a gate that was open, as if nobody had come to it."""
        (self.directory / f"{gate}.open").unlink()
        (self.directory / f"{gate}.begun").unlink()

    @property
    def pid_file(self) -> str:
        """What the pid file says; nothing if there is none."""
        try:
            return (self.directory / "app.pid").read_text().strip()
        except FileNotFoundError:
            return ""

    @property
    def log(self) -> str:
        """All that the processes wrote, to their standard streams and to their log file."""
        rotated = sorted(self.directory.glob("*.log.*"), reverse=True)
        files = [self.directory / "output", *rotated, *self.directory.glob("*.log")]
        return "".join(file.read_text(errors="replace") for file in files if file.exists())

    # Its processes

    def __enter__(self) -> Server:
        self._resources.enter_context(proc.adopting_orphans())
        output = self._resources.enter_context(open(self.directory / "output", "ab"))
        self._process = subprocess.Popen(
            self.command,
            cwd=self.working_directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        _launched.add(self._process.pid)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        log = self.log
        with self._resources:
            until(self._killed, "all processes have ended")
        # pytest shows it if the test fails, as it does when only a `subTest` in here has failed.
        sys.stdout.write(log)
        if isinstance(error, Exception) and not isinstance(error, SkipTest):
            raise AssertionError(f"{error!r}\n\nThe log of the server:\n{log}") from error

    def _killed(self) -> bool:
        # An orphan is our child; in the middle of its exec(2) it has no environment to see.
        found = {*self.family(), *filter(proc.alive, proc.children(os.getpid()))}
        for pid in found:
            self.kill(signal.SIGKILL, pid)
        self._reap()
        return not found

    def _reap(self) -> None:
        if (status := self._process.poll()) is not None:
            self._statuses[self._process.pid] = status
        for pid in proc.children(os.getpid()):
            if pid not in _launched and os.waitid(os.P_PID, pid, ENDED | os.WNOWAIT):
                self._statuses[pid] = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def family(self) -> list[int]:
        """The processes that run."""
        return [pid for pid in proc.pids() if proc.environment(pid).get(FAMILY) == self._family]

    def said(self, pattern: str, count: int = 1) -> re.Match[str]:
        """Wait until the log has matched a pattern this many times.

        Returns:
            The last of these matches.
        """

        def found() -> re.Match[str] | None:
            over = self._process.poll() is not None and not self.family()
            matches = list(re.finditer(pattern, self.log))
            if over and len(matches) < count:
                raise AssertionError(f"all processes have ended, and none has said {pattern!r}")
            return next(iter(matches[count - 1 :]), None)

        return until(found, f"the log says {pattern!r}")

    def serving(self, generation: int) -> int:
        """Wait until a generation serves; its pid."""
        return int(self.said(rf"Generation {generation} serves \(pid (\d+)\)")[1])

    def starting(self, generation: int, attempt: int = 1) -> int:
        """Wait until the start of a generation has been attempted so many times; its pid."""
        return int(self.said(rf"generation {generation} starts \(pid (\d+)\)", attempt)[1])

    @property
    def launched(self) -> int:
        """The process that the command is."""
        return self._process.pid

    @property
    def pid(self) -> int:
        """The process that serves, as far as the test knows."""
        return self.serving(self._generation)

    def kill(self, number: int, pid: int | None = None) -> None:
        """Send a signal; to the process that serves, if no other is named."""
        try:
            os.kill(self.pid if pid is None else pid, number)
        except ProcessLookupError:
            if number != signal.SIGKILL:
                raise

    def upgrade(self, number: int = signal.SIGUSR2) -> int:
        """Upgrade, and wait until the predecessor is gone; the pid of the successor."""
        predecessor = self.pid
        self.kill(number)
        self.hand_over()
        self.ended(predecessor)
        return self.pid

    def hand_over(self) -> int:
        """Wait until the next generation serves, which from now on is the one; its pid."""
        self._generation += 1
        return self.pid

    def ended(self, pid: int, seconds: float = 15) -> int | None:
        """Wait for the end of a process; its exit status, if it was an orphan or the first."""

        def over() -> bool:
            self._reap()
            return pid in self._statuses or not proc.exists(pid)

        until(over, f"process {pid} ends", seconds)
        return self._statuses.get(pid)

    def exit_status(self, seconds: float = 15) -> int | None:
        """Wait for the end of the command; its exit status."""
        return self.ended(self._process.pid, seconds)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 15) -> int | None:
        """Stop the process that serves, and wait for its end; its exit status."""
        self.kill(number)
        return self.ended(self.pid, seconds)

    # Its clients

    @property
    def ports(self) -> list[int]:
        """The ports of the first generation, in order."""
        self.serving(0)
        first = self.log.partition("Generation 0 serves")[0]
        return [int(port) for port in re.findall(r"Listening on https?://\S+:(\d+)", first)]

    def connect(self, port: int | str | None = None) -> Client:
        """A new connection, to a port or to the path of a UNIX socket."""
        client = Client(self.ports[0] if port is None else port, self.tls)
        self._resources.callback(client.close)
        return client

    def refuses(self) -> bool:
        """Whether connections are refused."""
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return True
        return False

    def get(self, path: str = "/", port: int | str | None = None) -> Answer:
        """The answer to one request on a connection of its own."""
        client = self.connect(port)
        client.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = client.answer()
        client.close()
        return answer

    def hold(self, gate: str = "held", path: str = "/gate") -> Client:
        """A connection whose request is being answered until its gate is opened."""
        client = self.connect()
        client.get(f"{path}/{gate}")
        self.wait_for(f"{gate}.begun")
        return client

    def idle_descriptors(self) -> Counter[str]:
        """What the serving process has open when it runs and nobody is connected."""
        self.get()  # before its reactor runs, it has not opened all of it
        until(lambda: not any(map(proc.connections, self.ports)), "no client is connected")
        until(lambda: not proc.has_ended_sockets(self.pid), "the last connection is closed")
        return proc.descriptors(self.pid)

    # Its drain

    def begin_drain(self, number: int = signal.SIGTERM) -> Client:
        """Tell the process to stop while a request is being answered, and wait until it drains.

        Returns:
            The client of that request, which keeps the drain from ending.
        """
        holder = self.hold()
        self.kill(number)
        self.wait_for("held.draining")
        return holder

    def finish_drain(self, holder: Client) -> int | None:
        """Let the drain end; the exit status."""
        self.open("held")
        holder.answer()
        holder.closed()
        return self.exit_status()


def served(*options: str, certificate: str = "") -> Server:
    """A server of the application that the tests know."""
    return Server("--app", "app.resource", *options, certificate=certificate)
