"""Notifies systemd, or another service manager with its protocol (sd_notify(3)).

Two generations of a service can be alive, and only one speaks for it: the first, and then the one
that serves. If both did, a predecessor that drains would announce that the service stops, or keep
the watchdog quiet while its successor hangs. An upgrade::

    predecessor                                            successor
    RELOADING=1 MONOTONIC_USEC= EXTEND_TIMEOUT_USEC=
    MAINPID=<successor> READY=1       before it hands over
                                                           MAINPID=<itself> READY=1
    BARRIER=1, until systemd has read all of that; it exits

The successor names itself too, since a predecessor that was killed could not; that does no harm
where only the main process is heard (``NotifyAccess=main``). After a failed upgrade the predecessor
sends ``READY=1`` again. systemd ends what is left of a service when the main process has ended, so
the main process waits for a predecessor that still drains.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import MutableMapping
from dataclasses import dataclass

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...reactors import IServerReactor

SOCKET, WATCHDOG, WATCHDOG_PID = "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"

BARRIER_TIMEOUT = 5.0
"""Seconds for which we wait until all that we have said is read; as libsystemd's examples."""

SEND_AGAIN = 0.1
"""Seconds until a message is sent again for which there was no room."""

_NO_ROOM = frozenset((errno.EAGAIN, errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
"""The queue of the socket is full, or there is no descriptor or memory left: it may go later."""

SLACK = 10.0
"""Seconds that whatever has a deadline may last beyond it, before systemd kills the service."""

_STATUS_LIMIT = 1000
"""Characters of a status, which ``systemctl status`` shows in one line."""


@dataclass(frozen=True)
class Supervision:
    """What a service manager has asked of this process, in its environment.

    Attributes:
        socket: where it wants to be told: the path of a UNIX socket, or ``@`` and a name in
            the abstract namespace; empty if it does not.
        watchdog: microseconds after which it takes a service for dead that says nothing; 0
            if it does not watch.
    """

    socket: str = ""
    watchdog: int = 0

    @classmethod
    def take(cls, environ: MutableMapping[str, str], pid: int) -> Supervision:
        """Read what is asked, and remove it from the environment.

        The application, and what it starts, must not speak for the service.

        Args:
            environ: changed in place.
            pid: of this process. A watchdog that is meant for another one is none of ours.
        """
        where = environ.pop(SOCKET, "")
        watchdog = environ.pop(WATCHDOG, "")
        watched = environ.pop(WATCHDOG_PID, "") or str(pid)
        is_ours = watched == str(pid) and watchdog.isascii() and watchdog.isdigit()
        return cls(where, int(watchdog) if is_ours else 0)

    def environment(self) -> dict[str, str]:
        """The same for a successor, whose process id is not known yet."""
        watchdog = {WATCHDOG: str(self.watchdog)} if self.watchdog else {}
        return {SOCKET: self.socket, **watchdog} if self.socket else {}


class Notifier:
    """Sends messages, in order; never waits, and never fails.

    Args:
        reactor: keeps the time, and waits for barriers.
        where: the socket, as in `Supervision`.
    """

    _log = Logger()

    def __init__(self, reactor: IServerReactor, where: str) -> None:
        self._reactor = reactor
        self._where = where
        self._address = "\0" + where[1:] if where.startswith("@") else where
        self._waiting: deque[tuple[bytes, list[int]]] = deque()
        self._has_warned = False

    def send(self, **fields: object) -> None:
        """Send one message.

        Args:
            fields: what it says, by the names that sd_notify(3) has.
        """
        # A value is one line, whatever an application has put into it: a line is a field.
        lines = (f"{name}={' '.join(str(value).split())}" for name, value in fields.items())
        self._enqueue("\n".join(lines).encode("utf-8", "replace"))

    def barrier(self) -> Deferred[None]:
        """Wait until all that was sent is read; see sd_notify_barrier(3).

        Returns:
            A Deferred that fires then, or when it cannot be known, or takes too long.
        """
        try:
            ours, theirs = os.pipe()
        except OSError as error:
            self._warn(error)
            return succeed(None)
        end = _Pipe(self._reactor, ours)
        self._enqueue(b"BARRIER=1", theirs)
        return end.closed.addTimeout(BARRIER_TIMEOUT, self._reactor).addErrback(lambda _: None)

    def _enqueue(self, message: bytes, *descriptors: int) -> None:
        self._waiting.append((message, list(descriptors)))
        if len(self._waiting) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._waiting:
            message, descriptors = self._waiting[0]
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
                    end.setblocking(False)
                    end.connect(self._address)
                    socket.send_fds(end, [message], descriptors)
            except OSError as error:
                if error.errno in _NO_ROOM:
                    self._reactor.callLater(SEND_AGAIN, self._flush)
                    return
                self._warn(error)
            self._waiting.popleft()
            for descriptor in descriptors:
                os.close(descriptor)

    def _warn(self, error: OSError) -> None:
        if not self._has_warned:
            self._has_warned = True
            self._log.warn(
                "Cannot tell the service manager ({variable}={where}): {error}",
                variable=SOCKET,
                where=self._where,
                error=error,
            )


@implementer(IReadDescriptor)
class _Pipe:
    """The end of a pipe of which nothing is awaited but that the other end is closed."""

    def __init__(self, reactor: IServerReactor, descriptor: int) -> None:
        self.closed: Deferred[None] = Deferred(self._close)
        self._reactor = reactor
        self._descriptor = descriptor
        reactor.addReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "notification barrier"

    def doRead(self) -> Failure:
        return CONNECTION_DONE  # type: ignore[return-value]  # as all of Twisted's do

    def connectionLost(self, reason: Failure) -> None:
        self._close()
        self.closed.callback(None)

    def _close(self, _: object = None) -> None:
        self._reactor.removeReader(self)
        os.close(self._descriptor)


class Supervisor:
    """The service manager, as this process sees it; if there is none, nothing is done.

    Args:
        reactor: keeps the time.
        supervision: what it has asked for.
        speaks: whether this process speaks for the service from its start, as the first
            generation does.
        pid: of this process; None to ask the system.
    """

    def __init__(
        self,
        reactor: IServerReactor,
        supervision: Supervision = Supervision(),
        *,
        speaks: bool = False,
        pid: int | None = None,
    ) -> None:
        self._supervision = supervision
        self._pid = os.getpid() if pid is None else pid
        self._notifier = Notifier(reactor, supervision.socket) if supervision.socket else None
        self._speaks = speaks
        self._heart = LoopingCall(self._is_alive)
        self._heart.clock = reactor

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._notifier is not None

    @property
    def environment(self) -> dict[str, str]:
        """What a successor finds in its environment."""
        return self._supervision.environment()

    def loads(self, status: str, within: float) -> None:
        """This process loads what it is to serve.

        Args:
            status: a line for ``systemctl status``, here and in the methods below.
            within: seconds that it may take.
        """
        self._tell(status, EXTEND_TIMEOUT_USEC=_microseconds(within))

    def serves(self, status: str) -> None:
        """This process serves, or serves on; it speaks for the service from now on."""
        main = {} if self._speaks else {"MAINPID": self._pid}
        self._speaks = True
        self._tell(status, **main, READY=1)
        interval = self._supervision.watchdog / 2_000_000  # half of it, sd_watchdog_enabled(3)
        if self._notifier is not None and interval and not self._heart.running:
            self._heart.start(interval)

    def notify_status(self, status: str) -> None:
        """Something has changed that an operator may want to know."""
        self._tell(status)

    def reloads(self, status: str, within: float) -> None:
        """An upgrade was asked for; `serves` or `hands_over` follows, also if it is refused.

        Args:
            status: says so.
            within: seconds that it may take.
        """
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell(
            status,
            RELOADING=1,
            MONOTONIC_USEC=now,
            EXTEND_TIMEOUT_USEC=_microseconds(within),
        )

    def hands_over(self, pid: int, status: str) -> None:
        """Another process serves, and speaks for the service from now on.

        Args:
            pid: of that process.
            status: says so.
        """
        # Said here, since systemd may listen to the main process only (NotifyAccess=main).
        self._tell(status, MAINPID=pid, READY=1)
        self.stop_notifying()

    def stops(self, status: str, within: float) -> None:
        """The service ends, if it is this process that speaks for it.

        Args:
            status: says so.
            within: seconds that it may take.
        """
        self._tell(status, STOPPING=1, EXTEND_TIMEOUT_USEC=_microseconds(within))

    def stop_notifying(self) -> None:
        """This process does not speak for the service any more."""
        self._speaks = False
        if self._heart.running:
            self._heart.stop()

    def notifications_read(self) -> Deferred[None]:
        """Wait until all that this process said has been read: it is not heard once it is gone.

        Returns:
            A Deferred that fires then, or soon in any case.
        """
        return succeed(None) if self._notifier is None else self._notifier.barrier()

    def _tell(self, status: str, **fields: object) -> None:
        if self._notifier is not None and self._speaks:
            self._notifier.send(**fields, STATUS=status[:_STATUS_LIMIT])

    def _is_alive(self) -> None:
        if self._notifier is not None:
            self._notifier.send(WATCHDOG=1)


def _microseconds(seconds: float) -> int:
    return int((seconds + SLACK) * 1_000_000)
