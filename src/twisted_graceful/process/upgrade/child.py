"""A child process, as its parent sees it: a successor, or a worker of a master."""

from __future__ import annotations

import errno
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IProcessTransport
from twisted.internet.protocol import ProcessProtocol
from twisted.protocols import amp
from twisted.python.failure import Failure

from ...handover_interface import Recipient
from ...reactors import IServerReactor
from ...timer import Timer
from ..host.forks import keep_from_children, keep_number_from_children, keeping_all_descriptors
from ..listeners.listener import Listener
from .control_channel import Answer, ControlChannel, Handlers, open_channel
from .handover_protocol import ConnectionReceiver, ConnectionSender
from .inheritance import VARIABLE, Inheritance
from .launch import Launch
from .messages import Failed, Goodbye, NotNow, Ready, Stopping
from .output import Capture
from .spawn import descriptors_for_child, existing_directory

KILL_AFTER = 3.0
"""Seconds between SIGTERM and SIGKILL for a child that is to end; it serves nobody yet."""

EXIT_AFTER_EOF = 1.0
"""Seconds between the EOF of a child that ends and its exit status, which says more. A child that
has not ended by then has broken the channel."""


class ChildObserver(Protocol):
    """The owner of a child, which is told about its life."""

    def child_ready(self) -> Answer:
        """The child can serve; it does when this returns, or when the returned Deferred fires."""

    def child_stopping(self) -> None:
        """Another process told the child to stop."""

    def child_channel_broken(self, reason: str) -> None:
        """The child was ready, has broken the channel since, and has not ended."""

    def child_ended(self, reason: str, output: str) -> None:
        """The child has ended and is reaped.

        Args:
            reason: why, in words.
            output: the last lines of what it wrote before it was ready, or then logged as a warning
                or worse.
        """


class Child(ProcessProtocol):
    """A child process, from its start to its end.

    Args:
        reactor: starts it and keeps the time.
        observer: is told; every child that was started is reported ended, once.
        timeout: seconds it may take until it is ready.
        handlers: what to call for the commands that not every child sends.
        recipient: takes up the connections that the child hands over; None for a child that may
            not hand over any.

    Attributes:
        pid: of the process; it is known when it has been started.
        carrier: hands connections over to it, when it serves.
        removed_listeners: those that it inherited and does not serve; known when it is ready.
        has_failed: whether it has ended with a status other than 0, or by a signal.
    """

    transport: IProcessTransport | None
    pid: int

    def __init__(
        self,
        reactor: IServerReactor,
        observer: ChildObserver,
        timeout: float,
        handlers: Handlers,
        recipient: Recipient | None = None,
    ) -> None:
        self._reactor = reactor
        self._observer = observer
        self._timeout = timeout
        self._receiver = None if recipient is None else ConnectionReceiver(recipient)
        self._channel = ControlChannel(
            {
                Ready: self._on_ready,
                Failed: self._on_failed,
                Stopping: self._on_stopping,
                **({} if self._receiver is None else self._receiver.handlers),
                **handlers,
            },
            self._channel_lost,
        )
        self.carrier = ConnectionSender(reactor, self._channel)
        self.removed_listeners: list[Listener] = []
        self.has_failed = False
        self._inherited: Sequence[Listener] = ()
        self._control: socket.socket | None = None
        self._capture: Capture | None = None
        self._timer = Timer(reactor)
        self._ready_at: float | None = None
        self._reason = ""  # why it is to end

    def start(
        self,
        launch: Launch,
        generation: int,
        listeners: Sequence[Listener],
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
        self._inherited = listeners
        try:
            capture = self._capture = Capture()
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            keep_from_children(self._control)
            with theirs:
                open_channel(self._reactor, self._control, self._channel)
                inheritance, descriptors = descriptors_for_child(
                    generation,
                    worker,
                    (capture.stdout, capture.stderr),
                    theirs.fileno(),
                    streams,
                    listeners,
                    memory or {},
                    patience,
                )
                self._spawn(launch, inheritance, descriptors)
        except BaseException as error:
            self._close()
            if isinstance(error, OSError) and error.errno == errno.EBADF:
                # What posix_spawn(3) says when a copy would have a number beyond the limit.
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE)) from error
            raise
        assert self.transport is not None
        self._timer.start(
            self._timeout,
            self.end,
            f"it was not ready within {self._timeout:g} seconds (the upgrade timeout)",
        )
        self.pid = int(self.transport.pid)
        return self.pid

    def _spawn(self, launch: Launch, inheritance: Inheritance, descriptors: Sequence[int]) -> None:
        with existing_directory(), keeping_all_descriptors():
            self._reactor.spawnProcess(
                self,
                launch.executable,
                [launch.executable, *launch.arguments],
                env={**launch.environment, VARIABLE: inheritance.encode()},
                path=launch.directory,
                childFDs=dict(enumerate(descriptors)),
            )

    # What the owner does with it

    def end(self, reason: str) -> None:
        """End the process: SIGTERM, and SIGKILL if it does not heed that.

        Args:
            reason: why; the first one given is the one that is reported.
        """
        self._end(reason, signal.SIGTERM)

    def abort(self, reason: str) -> None:
        """End a process that does not react: SIGABRT, at which it leaves its stacks, and SIGKILL.

        The handler of SIGABRT is faulthandler's, which needs neither Python nor the reactor.

        Args:
            reason: as for `end`.
        """
        self._end(reason, signal.SIGABRT)
        self._signal(signal.SIGCONT)  # a stopped process heeds nothing else before

    def _end(self, reason: str, number: int) -> None:
        self._reason = self._reason or reason
        self._timer.cancel()
        self._signal(number)
        self._timer.start(KILL_AFTER, self._signal, signal.SIGKILL)

    def stop(self) -> None:
        """Let it drain and end, where the channel cannot tell it to."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill it now."""
        self._signal(signal.SIGKILL)

    def tell(self, command: type[amp.Command], **arguments: object) -> None:
        """Send a command without waiting for its answer."""
        self._channel.tell(command, **arguments)

    def ask(self, command: type[amp.Command], **arguments: object) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be.
        """
        return self._channel.ask(command, **arguments)

    def ask_briefly(self, command: type[amp.Command], **arguments: object) -> Deferred[None]:
        """Send a command.

        Returns:
            A Deferred that fires when it is answered, or never will be, and soon in any case.
        """
        return self._channel.ask_briefly(self._reactor, command, **arguments)

    def release(self) -> Deferred[None]:
        """Leave it alone from now on: it serves, and this process is about to end.

        Our end of the channel stays open until the kernel closes it. Python would close a socket
        object while it shuts down, and the successor would take this process for ended too early.

        Returns:
            A Deferred that fires when the child has received all messages, since the reactor
            discards at its stop what it has not sent. It fires soon in any case.
        """
        if self._control is not None:
            keep_number_from_children(self._control.detach())
            self._control = None
        return self.ask_briefly(Goodbye)

    # What the child and Twisted tell us

    def _on_ready(self, listeners: Sequence[int] | None) -> Answer:
        if self._ready_at is not None or self._reason:
            raise NotNow(self._reason or "it was ready before")
        self._ready_at = self._reactor.seconds()
        self._timer.cancel()
        if listeners is not None:
            self.removed_listeners = [
                each for each in self._inherited if not {*each.inodes} & {*listeners}
            ]
        return self._observer.child_ready()

    def _on_failed(self, reason: str | None) -> None:
        self.end(reason or "it does not say why")

    def _on_stopping(self) -> None:
        if not self._reason:  # else it was this process that ended it
            self._observer.child_stopping()

    def _channel_lost(self, reason: Failure) -> None:
        if self._receiver is not None:
            self._receiver.lost()
        if self._control is None or self._reason:
            return
        then = self.end if self._ready_at is None else self._observer.child_channel_broken
        self._timer.start(EXIT_AFTER_EOF, then, f"it broke the control channel ({reason.value})")

    def processEnded(self, reason: Failure) -> None:
        """The child has ended."""
        self._timer.cancel()
        self.has_failed = reason.check(ProcessDone) is None
        assert self._capture is not None
        output = self._capture.tail()
        self._close()
        when = "before it was ready"
        if self._ready_at is not None:
            lived = self._reactor.seconds() - self._ready_at
            when = f"{lived:.1f} seconds after it was ready"
        self._observer.child_ended(self._reason or f"{_exit_in_words(reason)} {when}", output)

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


def _exit_in_words(reason: Failure) -> str:
    number = getattr(reason.value, "signal", None)
    if number is not None:
        return f"it was killed by {signal.Signals(number).name}"
    return f"it exited with status {getattr(reason.value, 'exitCode', 0) or 0}"
