"""A successor, or a worker, as the process that started it sees it."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.protocols import amp
from twisted.python.failure import Failure

from ...handover_interface import Recipient
from ..host.forks import keep_from_children, keep_number_from_children, passing_on
from ..host.streams import kept as kept_streams
from ..listeners.activation import ActivatedListener
from ..listeners.unix_files import UnixListener
from .control import (
    Answer,
    ControlChannel,
    Failed,
    Goodbye,
    Grant,
    LogsMoved,
    NotNow,
    Offer,
    Ready,
    Report,
    Revoke,
    Stopping,
    Upgrade,
    inode,
    open_channel,
)
from .handover_protocol import ConnectionReceiver, ConnectionSender
from .inheritance import VARIABLE, Inheritance
from .launch import Launch
from .output import Capture

KILL_AFTER = 3.0
"""Seconds between SIGTERM and SIGKILL for a child that is to end; it serves nobody yet."""

EXIT_AFTER_EOF = 1.0
"""Seconds between the EOF of a child that ends and its exit status, which says more. Who has not
ended by then has broken the channel."""


class ChildObserver(Protocol):
    """Who is told what becomes of a child."""

    def child_ready(self) -> Answer:
        """It can serve; when this returns, or what it returns fires, it does."""

    def child_stopping(self) -> None:
        """It was told to stop, by somebody else."""

    def child_upgrade(self) -> None:
        """An upgrade was asked for of it, which it will do when we are gone."""

    def logs_moved(self) -> None:
        """It was told that the log files have been moved."""

    def child_said(self, command: type[amp.Command], arguments: Mapping[str, Any]) -> Answer:
        """It sent a command that not every child has."""

    def child_unheard(self, reason: str) -> None:
        """It was ready, has broken the channel since, for this reason, and has not ended."""

    def child_ended(self, reason: str, output: str) -> None:
        """It has ended and is reaped.

        Args:
            reason: why, in words.
            output: the last lines of what it wrote before it was ready, or then logged as a warning
                or worse.
        """


class Child(ProcessProtocol):
    """One spawned process, from its start to its end.

    Args:
        reactor: starts it and keeps the time.
        observer: is told; every child that was started is reported ended, once.
        timeout: seconds it may take until it is ready.
        recipient: takes the connections up that it hands over; None if it is to have none.

    Attributes:
        pid: of the process; it is known when it has been started.
        carrier: brings connections to it, when it serves.
        gone: the listeners that it inherited and does not serve; known when it is ready.
        has_failed: whether it has ended with a status other than 0, or by a signal.
    """

    transport: IProcessTransport | None
    pid: int

    def __init__(
        self,
        reactor: Any,
        observer: ChildObserver,
        timeout: float,
        recipient: Recipient | None = None,
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._timeout = timeout
        self._channel = ControlChannel(self)
        self.carrier = ConnectionSender(reactor, self._channel)
        self._receiver = None if recipient is None else ConnectionReceiver(recipient)
        self.gone: list[socket.socket] = []
        self._inherits: dict[int, socket.socket] = {}  # by inode
        self._control: socket.socket | None = None
        self._capture: Capture | None = None
        self._timer: IDelayedCall | None = None
        self._ready_at: float | None = None
        self._reason = ""
        self.has_failed = False

    def start(
        self,
        launch: Launch,
        generation: int,
        listeners: Sequence[tuple[str, Sequence[socket.socket]]],
        worker: int = 0,
        streams: tuple[int, int] = (1, 2),
        memory: Mapping[str, int] | None = None,
        patience: float = 0.0,
    ) -> int:
        """Start the process.

        Args:
            launch: the command.
            generation: the number of its generation.
            listeners: what it inherits; they stay open here.
            worker: its number among the workers; 0 for a successor.
            streams: where its standard output and standard error go when it is ready; of this
                process they are others until it is ready itself.
            memory: the descriptors of files in memory, by the names that `Inheritance` has for
                them; a negative one is none.
            patience: seconds, from when it serves, in which this process ends; 0 for no limit.

        Returns:
            Its pid, for the log; the channel, not the pid, is what identifies it.

        Raises:
            OSError: it could not be started. Nothing is left behind.
            UpgradeRefused: the directory or the program does not exist.
        """
        launch.require_present()
        try:
            self._capture = Capture()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            keep_from_children(self._control)
            with theirs:
                open_channel(self._reactor, self._control, self._channel)
                captured = self._capture.stdout, self._capture.stderr
                descriptors = [0, *captured, theirs.fileno(), *streams]
                names, files, activated = [], [], []
                for name, sockets in listeners:
                    first = len(descriptors)
                    self._inherits |= {inode(each.fileno()): each for each in sockets}
                    descriptors += [each.fileno() for each in sockets]
                    names.append((name, tuple(range(first, len(descriptors)))))
                    files += [
                        (first + number, *each.file)
                        for number, each in enumerate(sockets)
                        if isinstance(each, UnixListener) and each.file is not None
                    ]
                    activated += [
                        first + number
                        for number, each in enumerate(sockets)
                        if isinstance(each, ActivatedListener)
                    ]
                inherited = {name: it for name, it in (memory or {}).items() if it >= 0}
                places: dict[str, Any] = dict(zip(inherited, count(len(descriptors)), strict=False))
                descriptors += inherited.values()
                kept = list(zip(kept_streams(), count(len(descriptors)), strict=False))
                descriptors += kept_streams().values()
                inheritance = Inheritance(
                    generation,
                    control=3,
                    stdout=4,
                    stderr=5,
                    listeners=tuple(names),
                    files=tuple(files),
                    worker=worker,
                    activated=tuple(activated),
                    patience=patience,
                    kept=tuple(kept),
                    ignores_hup=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
                    **places,
                )
                with _in_some_directory(), passing_on():
                    self._reactor.spawnProcess(
                        self,
                        launch.executable,
                        [launch.executable, *launch.arguments],
                        env={**launch.environment, VARIABLE: inheritance.encode()},
                        path=launch.directory,
                        childFDs=dict(enumerate(descriptors)),
                    )
        except BaseException as error:
            self._close()
            if isinstance(error, OSError) and error.errno == errno.EBADF:
                # What posix_spawn(3) says when a copy would have a number beyond the limit.
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
            raise
        assert self.transport is not None
        self._timer = self._reactor.callLater(
            self._timeout,
            self.end,
            f"it was not ready within {self._timeout:g} seconds (the upgrade timeout)",
        )
        self.pid = int(self.transport.pid)
        return self.pid

    def end(self, reason: str) -> None:
        """End the process: SIGTERM, and SIGKILL if it does not heed it.

        Args:
            reason: why; the first one given is the one that is reported.
        """
        self._end(reason, signal.SIGTERM)

    def abort(self, reason: str) -> None:
        """End a process that does not react: SIGABRT, at which it leaves its stacks, and SIGKILL.

        Args:
            reason: as for `end`.
        """
        self._end(reason, signal.SIGABRT)
        self._signal(signal.SIGCONT)  # one that was stopped heeds nothing else before

    def _end(self, reason: str, number: int) -> None:
        self._reason = self._reason or reason
        self._cancel_timer()
        self._signal(number)
        self._timer = self._reactor.callLater(KILL_AFTER, self._signal, signal.SIGKILL)

    def tell(self, command: type[amp.Command]) -> None:
        """Send a command and do not wait."""
        self._channel.tell(command)

    def ask(self, command: type[amp.Command], **arguments: Any) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be.
        """
        return self._channel.ask(command, **arguments)

    def stop(self) -> None:
        """Let it drain and end, where the channel cannot tell it to."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Do not wait any more for the process to heed its `end`."""
        self._signal(signal.SIGKILL)

    def pass_on_upgrade(self) -> None:
        """Tell it that an upgrade is due; it starts it when this process is gone."""
        self._channel.tell(Upgrade)

    def tell_logs_moved(self) -> None:
        """Tell it that the log files have been moved."""
        self._channel.tell(LogsMoved)

    def report(self, report: str) -> Deferred[None]:
        """Tell it of this process.

        Returns:
            A Deferred that fires when it knows, or is gone, and soon in any case.
        """
        return self._channel.inform(self._reactor, Report, report=report)

    def let_go(self) -> Deferred[None]:
        """Leave it alone from now on: it serves, and this process is about to end.

        Our end of the channel stays open until the kernel closes it. Python would close
        a socket object while it shuts down, and the successor would believe us gone too early.

        Returns:
            A Deferred that fires when it has heard all that we have said; the reactor
            throws away at its stop what it has not sent. It fires soon in any case.
        """
        if self._control is not None:
            keep_number_from_children(self._control.detach())
            self._control = None
        return self._channel.inform(self._reactor, Goodbye)

    # Twisted and the channel tell us

    def received(self, command: type[amp.Command], **arguments: Any) -> Answer:
        """The child sent a command."""
        if command is Ready:
            if self._ready_at is not None or self._reason:
                raise NotNow(self._reason or "it was ready before")
            self._ready_at = self._reactor.seconds()
            self._cancel_timer()
            self._note_served(arguments["listeners"])
            return self._observer.child_ready()
        if command is Failed:
            self.end(str(arguments["reason"]))
        elif command is Stopping:
            if not self._reason:  # else it was us who told it to
                self._observer.child_stopping()
        elif command is Upgrade:
            self._observer.child_upgrade()
        elif command is LogsMoved:
            self._observer.logs_moved()
        elif command is Offer and self._receiver is not None:
            return {"refused": self._receiver.offered(**arguments)}
        elif command is Grant and self._receiver is not None:
            self._receiver.granted(**arguments)
        elif command is Revoke and self._receiver is not None:
            self._receiver.revoked(**arguments)
        else:
            return self._observer.child_said(command, arguments)
        return None

    def _note_served(self, served: Sequence[int] | None) -> None:
        if served is not None:
            self.gone = [each for number, each in self._inherits.items() if number not in served]

    def channel_lost(self, reason: Failure) -> None:
        """The child closed the channel, ended, or wrote what is no message."""
        if self._receiver is not None:
            self._receiver.lost()
        if self._control is None or self._reason:
            return
        then = self.end if self._ready_at is None else self._observer.child_unheard
        self._cancel_timer()
        self._timer = self._reactor.callLater(
            EXIT_AFTER_EOF, then, f"it broke the control channel ({reason.value})"
        )

    def processEnded(self, reason: Failure) -> None:
        """The child has ended."""
        self._cancel_timer()
        self.has_failed = reason.check(ProcessDone) is None
        assert self._capture is not None
        output = self._capture.tail()
        self._close()
        when = "before it was ready"
        if self._ready_at is not None:
            lived = self._reactor.seconds() - self._ready_at
            when = f"{lived:.1f} seconds after it was ready"
        self._observer.child_ended(self._reason or f"{_status(reason)} {when}", output)

    def _close(self) -> None:
        if self._capture is not None:
            self._capture.close()
        control, self._capture, self._control = self._control, None, None
        if control is not None:
            control.close()
        if self._channel.transport is not None:
            self._channel.transport.loseConnection()

    def _signal(self, number: int) -> None:
        try:
            assert self.transport is not None
            self.transport.signalProcess(number)
        except ProcessExitedAlready:
            pass

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


@contextmanager
def _in_some_directory() -> Iterator[None]:
    """Make sure that the working directory exists, since spawnProcess asks for its path.

    This process may have been started in a release directory that has been removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        try:
            os.chdir("/")
            yield
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        yield


def _status(reason: Failure) -> str:
    """How a process ended, in words."""
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"it was killed by {signal.Signals(number).name}"
    return f"it exited with status {getattr(reason.value, 'exitCode', 0) or 0}"
