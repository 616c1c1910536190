"""The registry of a site's connections: their deadlines and their drain.

One sweep checks the deadlines of all connections, so a request starts no timer. A drain has two
steps: `announce` tells applications and clients, and closes nothing; `drain` closes what is idle
and waits for the rest. With ``shutdown_delay`` there is time between them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from math import ceil

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from ..config.server_settings import ServerSettings
from ..timer import Timer
from .handover import HandoverQueue
from .interfaces import HttpConnection
from .log.client_log import ClientLog
from .log.drain_report import CutRequest, DrainReport
from .phases import WAITING, ConnectionPhase
from .time_sharing import TurnScheduler

SWEEP_INTERVAL = 0.25
"""Seconds between two looks at connections: the precision of every deadline.

With over 1000 connections it is a second, so that ten thousand that are idle cost next to nothing.
"""

_SMALL_ROUND = 1000
"""Connections that are looked at in each sweep."""

_CLOSED_FOR_ROOM = 0.1
"""The part of all connections that is closed at a time, since nobody can tell how many wait."""


class ConnectionRegistry:
    """All connections of one site.

    Args:
        clock: what the deadlines of the drain run on.
        settings: ``drain_timeout`` and ``idle_grace`` are read.
        has_clients_waiting: whether clients wait to be accepted.

    Attributes:
        answered: how many requests have been.
        told_to_close: how many clients were told, in a drain or before it, that a response is the
            connection's last.
        handed_over: how many connections have been moved to another process.
        received: bytes of the bodies of requests that have been read.
        limits: how often each limit was reached, by the name of its setting.
        report_failures: how often a connection could not be reported on.
        handover: hands connections over to another process, in a drain; None if none does.
        client_log: logs what clients do wrong.
        scheduler: shares each turn of the reactor between the connections that have much to do.
        draining: whether a drain is announced or in progress: the next response of each
            connection is to be its last.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        settings: ServerSettings,
        has_clients_waiting: Callable[[], bool] = lambda: False,
    ) -> None:
        self.clock = clock
        self.settings = settings
        self.has_clients_waiting = has_clients_waiting
        self.answered = 0
        self.told_to_close = 0
        self.handed_over = 0
        self.received = 0
        self.limits: dict[str, int] = {}
        self.report_failures = 0
        self.handover: HandoverQueue | None = None
        self.client_log = ClientLog(clock)
        self.scheduler = TurnScheduler(clock)
        self.draining = False
        self._open: set[HttpConnection] = set()
        self._drain: _Drain | None = None
        self._announced = _Announcement(self)
        self._drain_begins: set[Deferred[None]] = set()
        self._sweep: IDelayedCall | None = None
        self._round: list[HttpConnection] = []
        self._share = 0

    @property
    def counters(self) -> Mapping[str, float]:
        """What is counted whether anybody looks at it or not."""
        limits = {f"limits,{name}": count for name, count in self.limits.items()}
        return {
            "told_to_close": self.told_to_close,
            "handed_over": self.handed_over,
            "received": self.received,
            "report_failures": self.report_failures,
            **limits,
        }

    def count_limit(self, limit: str) -> None:
        """Count that a limit was reached.

        Args:
            limit: the name of its setting.
        """
        self.limits[limit] = self.limits.get(limit, 0) + 1

    def __len__(self) -> int:
        return len(self._open)

    def __iter__(self) -> Iterator[HttpConnection]:
        return iter(tuple(self._open))

    def add(self, connection: HttpConnection) -> None:
        """A connection was accepted."""
        self._open.add(connection)
        if self._sweep is None:
            self._sweep = self.clock.callLater(SWEEP_INTERVAL, self._check_all)

    def remove(self, connection: HttpConnection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if not self._open and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
            self._round = []
        if self._drain is not None:
            self._drain.check()

    def _check_all(self) -> None:
        self._sweep = None
        now = self.clock.seconds()
        for connection in self._next_share():
            # To pass over one that is idle, as most of a great many are, takes a tenth of a check.
            if (
                now < connection.deadline
                and not connection.needs_check
                and connection.phase in WAITING
            ):
                continue
            try:
                connection.check(now)
            except Exception:
                self._log.failure("A deadline could not be carried out: the connection is ended")
                self.end(connection)
        try:
            if self._drain is not None:
                if self.handover is not None:
                    # Those that had to wait for their clients.
                    self.handover.add_waiting(self)
                self._drain.close_idle(now)
                self._drain.send_away(now)
            elif self.has_clients_waiting():
                self._make_room(now)
        finally:  # every deadline depends on the next sweep
            if self._open and self._sweep is None:
                self._sweep = self.clock.callLater(SWEEP_INTERVAL, self._check_all)

    def idle(self, now: float, since: float = 0.0) -> Iterator[HttpConnection]:
        """The connections that have had their grace, and on which nothing is begun.

        Args:
            now: seconds.
            since: when the grace begins, for those that are idle for longer.
        """
        for connection in self:
            over = now - max(connection.since, since) >= connection.grace
            if over and connection.phase in WAITING and not connection.has_unread():
                yield connection

    def _make_room(self, now: float) -> None:
        """Close some that are idle, so that others, who wait, are served."""
        closing = sum(each.phase is ConnectionPhase.CLOSING for each in self._open)
        wanted = max(0, ceil(len(self._open) * _CLOSED_FOR_ROOM) - closing)
        longest = sorted(self.idle(now), key=lambda each: each.since)
        for connection in longest[:wanted]:
            self.close(connection)

    def _next_share(self) -> Iterator[HttpConnection]:
        """The connections that a sweep looks at: all, or of a great many a quarter."""
        if not self._round:
            self._round = list(self._open)
            self._share = max(_SMALL_ROUND, ceil(len(self._round) / 4))
        share = self._round[-self._share :]
        del self._round[-self._share :]
        return (connection for connection in share if connection in self._open)

    def end(self, connection: HttpConnection) -> tuple[CutRequest, ...]:
        """End a connection, whatever it is like; tell which requests that cut."""
        try:
            return connection.end()
        except Exception:
            # One that cannot be ended, for an application has broken it, must hold no drain.
            self._log.failure("Cannot end a connection: it is reset and forgotten")
            with suppress(Exception):
                connection.reset_connection()
            self.remove(connection)
            return ()

    def close(self, connection: HttpConnection) -> None:
        """Close a connection in stages; end it if that fails, so that the others need not wait."""
        try:
            connection.loseConnection()
        except Exception:
            self._log.failure("Cannot close a connection: it is ended")
            self.end(connection)

    def send_away(self, connection: HttpConnection) -> bool:
        """Tell a client to leave; whether that was possible."""
        try:
            return connection.go_away()
        except Exception:
            self._log.failure("Cannot tell a client to leave: its connection is ended")
            self.end(connection)
            return False

    def requests_in_flight(self) -> Iterator[CutRequest]:
        """The requests that are being read or answered, on all connections."""
        for connection in self:
            try:
                yield from connection.requests_in_flight()
            except Exception:
                # The others are reported in any case. Logged once, since reports are frequent.
                self.report_failures += 1
                if self.report_failures == 1:
                    self._log.failure(
                        "A connection cannot be reported on: it is missing from the requests in "
                        "flight. Further failures are counted (report_failures)"
                    )

    def when_draining(self) -> Deferred[None]:
        """A Deferred that fires when a drain begins, at once in one; see also `forget`."""
        begins: Deferred[None] = Deferred()
        if self.draining:
            begins.callback(None)
        else:
            self._drain_begins.add(begins)
        return begins

    def forget(self, begins: Deferred[None]) -> None:
        """Nobody waits any more for what `when_draining` returned: it will not fire."""
        self._drain_begins.discard(begins)

    @property
    def accepts_clients(self) -> bool:
        """Whether new connections may come: until a drain begins, though it be announced."""
        return self._drain is None

    def will_hand_over(self, connection: HttpConnection) -> bool:
        """Whether another process will go on with a connection."""
        return self.handover is not None and self.handover.will_hand_over(connection)

    def announce(self) -> None:
        """Tell applications, and each client with its next response, that a drain will come.

        Only connections that get a last response are closed.
        """
        if self.draining:
            return
        self.draining = True
        self._announced = _Announcement(self)
        begins, self._drain_begins = self._drain_begins, set()
        for each in begins:
            if not each.called:  # an application may have fired it on its own
                each.callback(None)

    def drain(self, handover: HandoverQueue | None = None) -> Deferred[DrainReport]:
        """Finish requests in flight, close idle connections, and cut the rest at the deadline.

        The caller has stopped accepting. Asked again while it runs, it is the same drain.

        Args:
            handover: what brings connections to the process that serves now; None if none does.

        Returns:
            A Deferred that fires when no connection is left.
        """
        if self._drain is None:
            self.handover = handover  # before applications end their responses
            self.announce()
            self._drain = _Drain(self, self._announced)
            self._drain.check()
            if handover is not None:
                handover.add_waiting(self)
        return self._drain.report()

    def resume(self) -> None:
        """Give up the drain: connections live on as if it had not been announced."""
        drain, self._drain = self._drain, None
        self.handover = None
        self.draining = False
        if drain is not None:
            drain.finish()

    def cut(self) -> None:
        """End the drain now, and cut the requests in flight."""
        if self._drain is not None:
            self._drain.cut_all()


class _Announcement:
    """When a drain was announced, and what had been counted until then."""

    def __init__(self, connections: ConnectionRegistry) -> None:
        self.time = connections.clock.seconds()
        self.answered = connections.answered
        self.told_to_close = connections.told_to_close


class _Drain:
    """One drain, from its start to its report."""

    def __init__(self, connections: ConnectionRegistry, announced: _Announcement) -> None:
        self._connections = connections
        self._clock = connections.clock
        self._begun = self._clock.seconds()
        self._announced = announced
        self._handed_over_before = connections.handed_over
        self._closed_idle = 0
        self._to_send_away = 0
        self._sent_away = 0
        self._cut: list[CutRequest] = []
        self._report: DrainReport | None = None
        self._waiting: list[Deferred[DrainReport]] = []
        self._deadline = Timer(self._clock)
        self._deadline.start(connections.settings.drain_timeout, self._time_is_over)

    def report(self) -> Deferred[DrainReport]:
        done: Deferred[DrainReport] = Deferred()
        if self._report is not None:
            done.callback(self._report)
        else:
            self._waiting.append(done)
        return done

    def check(self) -> None:
        if not self._connections:
            self.finish()

    def finish(self) -> None:
        if self._report is not None:
            return
        self._deadline.cancel()
        self._report = DrainReport(
            answered=self._connections.answered - self._announced.answered,
            closed_idle=self._closed_idle,
            cut=tuple(self._cut),
            seconds=self._clock.seconds() - self._begun,
            sent_away=self._sent_away,
            told_to_close=self._connections.told_to_close - self._announced.told_to_close,
            delay=self._begun - self._announced.time,
            handed_over=self._connections.handed_over - self._handed_over_before,
        )
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(self._report)

    def _time_is_over(self) -> None:
        self._connections.count_limit("drain_timeout")
        self.cut_all()

    def cut_all(self) -> None:
        for connection in self._connections:
            self._sent_away += self._connections.send_away(connection)
            self._cut += self._connections.end(connection)

    def send_away(self, now: float) -> None:
        """Let WebSockets go one after the other, so that the clients do not return all at once.

        The first half of the drain is for the applications to take their leave. In the
        second the number of those that may stay falls evenly to none, early enough for the
        last to be closed in order.
        """
        there = [each for each in self._connections if each.phase is ConnectionPhase.WEBSOCKET]
        settings = self._connections.settings
        begin = self._begun + settings.drain_timeout / 2
        end = self._begun + settings.drain_timeout - settings.linger_timeout
        if not there or now < begin:
            return
        self._to_send_away = self._to_send_away or len(there)
        share = (end - now) / (end - begin) if now < end else 0.0
        too_many = len(there) - ceil(self._to_send_away * share)
        there.sort(key=lambda each: each.since)
        for connection in there[: max(0, too_many)]:
            self._sent_away += self._connections.send_away(connection)

    def close_idle(self, now: float) -> None:
        for connection in self._connections.idle(now, self._begun):
            if self._connections.will_hand_over(connection):
                continue
            self._closed_idle += 1
            self._connections.close(connection)
