"""A server and its successors: what upgrades it, and what becomes of its processes."""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness import HERE, HOST, Server, Trouble, free_ports, make_certificate, until
from load import Endpoint

STOP_TIMEOUT = 40.0
"""Seconds that the last generation may take to end; more than the default drain timeout."""

ENVIRONMENT = {
    "PYTHONPATH": str(HERE),
    # A file that is replaced twice in a second has a stale .pyc, which Python trusts.
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True)
class Upgrade:
    """One finished upgrade.

    Attributes:
        at: when the signal was sent, in seconds since the load began.
        pid: of the successor.
        ready: seconds from the signal until the pid file named the successor; until all workers
            were replaced, if that is what the signal does.
        gone: seconds from the signal until the predecessor had ended; likewise.
    """

    at: float
    pid: int
    ready: float
    gone: float


class Served(Server):
    """A server and its successors.

    Args:
        command: starts it. ``{port}``, ``{pidfile}``, ``{unix}``, ``{tls_port}``,
            ``{certificate}`` and ``{key}`` are replaced.
        upgrade_signal: asks for an upgrade.
        log: where its output goes.
        files: a directory for its files.
        directory: in which it is started.

    Attributes:
        endpoints: where it serves: on TCP, and on a UNIX socket and with TLS if the command
            has places for these.
        pid_file: names the process that serves.
        exit_statuses: of the generations that have ended, by pid; None if unknown.
    """

    def __init__(
        self,
        command: str,
        upgrade_signal: signal.Signals,
        log: Path,
        files: Path,
        directory: Path = HERE,
    ) -> None:
        port, tls_port = free_ports(2)
        self.pid_file = files / "server.pid"
        places = {
            "port": port,
            "tls_port": tls_port,
            "pidfile": self.pid_file,
            "unix": files / "server.sock",
            "certificate": files / "certificate.pem",
            "key": files / "key.pem",
        }
        words = [word.format(**places) for word in shlex.split(command)]
        super().__init__(words, (HOST, port), log, directory, ENVIRONMENT)
        self.endpoints = [Endpoint("tcp", (HOST, port))]
        if "{unix}" in command:
            self.endpoints.append(Endpoint("unix", str(places["unix"])))
        if "{tls_port}" in command:
            make_certificate(files / "certificate.pem", files / "key.pem")
            trust = ssl.create_default_context(cafile=files / "certificate.pem")
            trust.check_hostname = False
            self.endpoints.append(Endpoint("tls", (HOST, tls_port), trust))
        self._upgrade_signal = upgrade_signal
        self._has_workers = "--workers" in words
        self._replaces_workers = self._has_workers and upgrade_signal is signal.SIGHUP
        self.exit_statuses: dict[int, int | None] = {}

    def serves(self) -> bool:
        """Whether the first generation accepts connections, and can be upgraded."""
        return super().serves() and bool(self.serving)

    async def upgrade(self, epoch: float, seconds: float) -> Upgrade:
        """Upgrade once.

        Args:
            epoch: when the load began.
            seconds: that the upgrade may take until the predecessor has ended.

        Raises:
            Trouble: it takes longer, or there is nobody to upgrade.
        """
        before = self.answering
        sent = time.monotonic()
        old = self.ask_for_upgrade()
        if self._replaces_workers:
            await until(lambda: not before & self.answering, "all workers are replaced", seconds)
            done = round(time.monotonic() - sent, 3)
            return Upgrade(at=round(sent - epoch, 3), pid=old, ready=done, gone=done)
        pid = await self.successor(old, seconds)
        ready = time.monotonic()
        left = max(0.0, sent + seconds - ready)
        await until(lambda: self.ended(old), f"the predecessor {old} ends", left)
        gone = time.monotonic()
        return Upgrade(
            at=round(sent - epoch, 3),
            pid=pid,
            ready=round(ready - sent, 3),
            gone=round(gone - sent, 3),
        )

    def ask_for_upgrade(self) -> int:
        """Send the signal; return the pid of the process that got it.

        Raises:
            Trouble: there is nobody.
        """
        return self._send(self._upgrade_signal)

    async def successor(self, old: int, seconds: float) -> int:
        """Wait until the pid file names another process, and return its pid.

        Raises:
            Trouble: it takes longer than so many seconds.
        """
        return await until(
            lambda: (new := self.serving) != old and new, f"a successor of {old} serves", seconds
        )

    async def stop(self) -> None:
        """Stop the serving generation, and wait until it has ended.

        Raises:
            Trouble: it does not end, or has ended before.
        """
        pid = self._send(signal.SIGTERM)
        await until(lambda: self.ended(pid), f"the server {pid} ends", STOP_TIMEOUT)
        self._process = None

    @property
    def serving(self) -> int:
        """The pid of the serving generation; 0 if there is none."""
        with suppress(OSError, ValueError):
            return int(self.pid_file.read_text())
        return 0

    @property
    def answering(self) -> set[int]:
        """The pids of the processes that answer: that of the serving one, or of its workers."""
        pid = self.serving
        return _children(pid) if self._has_workers else {pid}

    def _send(self, number: signal.Signals) -> int:
        """Send a signal to the serving generation; return its pid."""
        pid = self.serving
        if not pid:
            raise Trouble("the pid file names no process")
        if self.ended(pid):
            raise Trouble(f"the pid file names {pid}, which has ended")
        os.kill(pid, number)
        return pid

    def ended(self, pid: int) -> bool:
        """Whether a generation has ended; its exit status is kept."""
        if pid not in self.exit_statuses:
            ended, status = self._look(pid)
            if ended:
                self.exit_statuses[pid] = status
        return pid in self.exit_statuses

    def _look(self, pid: int) -> tuple[bool, int | None]:
        """Whether a process has ended, and its exit status if that can be known."""
        assert self._process is not None
        if pid == self._process.pid:
            first = self._process.poll()
            return first is not None, first
        try:
            waited, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # its predecessor's child, or see _become_subreaper
            return not _exists(pid), None
        return bool(waited), os.waitstatus_to_exitcode(status)


@contextmanager
def place(log: str | None) -> Iterator[tuple[Path, Path]]:
    """Where a server and its successors can run, for the time of a ``with`` statement.

    Args:
        log: the path of the log; None for one that is removed with the rest.

    Returns:
        A directory for its files, and the absolute path of the log.
    """
    _become_subreaper()
    with tempfile.TemporaryDirectory() as temporary:
        files = Path(temporary)
        yield files, Path(log).absolute() if log else files / "server.log"


def _become_subreaper() -> None:
    """Let the system make us the parent of every orphaned generation.

    Else only the first could be waited for. See PR_SET_CHILD_SUBREAPER in prctl(2);
    elsewhere than on Linux exit statuses stay unknown.
    """
    PR_SET_CHILD_SUBREAPER = 36
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _children(pid: int) -> set[int]:
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it has ended meanwhile
            # The name, in parentheses, may hold anything; proc(5).
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.add(int(path.parent.name))
    return found


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
