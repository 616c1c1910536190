"""The process around a service: its clock, logs, files, signals, terminal, title and end.

The process is either *ours*, or that of a program that only has the service in it. If it is ours
(``GracefulService(signals=True)``) the service handles its signals, sets its exit status, and makes
sure that it ends. In any other process almost nothing is changed.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Iterable, Mapping

from twisted.internet.defer import ensureDeferred
from twisted.logger import Logger

from ...clock import keep_steady
from ...reactors import IServerReactor
from .exit_deadline import ExitDeadline
from .exit_phases import ExitPhases
from .forks import ForkGuard, keep_inheritance_from_children
from .log_prefix import prefix_lines
from .reaper import OrphanReaper
from .server_log import never_wait
from .shared_log_files import share_log_files
from .signals import SignalHandlers
from .terminal import ControllingTerminal
from .title import set_title
from .twistd_files import TwistdFiles


class ProcessHost:
    """The process around a service. Nothing is changed before `take_over`.

    Args:
        reactor: runs everything.
        is_ours: whether the process is ours.
        is_foreground: whether what is typed in its terminal (INT, QUIT, a hang-up) is for this
            process. A terminal sends that to a master and its workers, and the master acts on it.
        reaps_orphans: whether it waits for the orphans of a container, as its process 1.
        actions: what to do on signals, by their numbers; of HUP only if the terminal is still open.
        hang_up: what to do when the terminal has been closed.
        stop_timeout: the seconds that a stop may take by its own deadlines.
        work_timeout: the seconds of these that requests in flight and threads have.
        killed: called before the process is killed, in a thread.
        listening: the listening sockets, which forked children must not keep.
        prefix: what each line of the log begins with; empty for nothing.
        files: what twistd does with files.
        take_over_reactor: makes the listeners that the program opens through the reactor ones that
            a successor inherits.

    Attributes:
        is_ours: whether the process is ours.
        files: as given.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: IServerReactor,
        *,
        is_ours: bool,
        is_foreground: bool,
        reaps_orphans: bool,
        actions: Mapping[int, Callable[[], object]],
        hang_up: Callable[[], object],
        stop_timeout: Callable[[], float],
        work_timeout: Callable[[], float],
        killed: Callable[[], None],
        listening: Callable[[], Iterable[socket.socket]],
        prefix: str,
        files: TwistdFiles,
        take_over_reactor: Callable[[], None],
    ) -> None:
        self.is_ours = is_ours
        self.files = files
        self._reactor = reactor
        self._take_over_reactor = take_over_reactor
        self._is_foreground = is_foreground
        self._prefix = prefix
        self._actions = actions
        self._hang_up = hang_up
        deadline = ExitDeadline(last_act=killed)
        self._exit = ExitPhases(reactor, stop_timeout, work_timeout, deadline)
        handled = {**actions, signal.SIGHUP: lambda: ensureDeferred(self._hup())}
        typed = {signal.SIGINT, signal.SIGQUIT}
        if not is_foreground:
            handled.update(dict.fromkeys(typed, lambda: None))
            typed = set()
        self._signals = SignalHandlers(
            reactor,
            handled if is_ours else {},
            shared={signal.SIGUSR1},  # twistd rotates its own log then
            ignorable={signal.SIGHUP},  # by nohup(1)
            stops=self._exit.stop_requested,
            stopping={signal.SIGTERM, *typed},
        )
        self._terminal = ControllingTerminal(reactor)
        self._fork_guard = ForkGuard(listening, lambda: self._signals.installed)
        self._reaper = OrphanReaper(reactor) if reaps_orphans else None
        self._has_taken_over = False

    def take_over(self) -> None:
        """Change what must be changed before the process logs or writes its pid file; once.

        This is all that is done to the program before the service starts: a clock that does not
        jump, listeners that a successor inherits, log files that several processes can write to,
        the prefix of log lines, and what twistd does with files.
        """
        if self._has_taken_over:
            return
        self._has_taken_over = True
        if self.is_ours:  # a reactor that others run too is theirs to change
            keep_steady(self._reactor)
            self._take_over_reactor()
        share_log_files(self._reactor)
        self.files.take_over_twistd()
        if self._prefix:
            prefix_lines(self._prefix)

    def catch_early_signals(self) -> None:
        """Handle signals that come before the reactor runs, when it does."""
        self._signals.install_early()

    def restore_signals(self, *, original: bool = False) -> None:
        """Give the signals back to their previous handlers.

        Args:
            original: to those before the reactor's, since the reactor has ended.
        """
        self._signals.restore(original=original)

    def begin(self) -> None:
        """The service starts: handle signals, and guard what the application forks."""
        if self.is_ours:
            never_wait(self._reactor)
        self._fork_guard.begin()
        keep_inheritance_from_children(())  # the guard and the channel look after it now
        if self.is_ours:
            self._exit.watch()
        self._signals.install()
        # The reactor sets its own when it starts, before it calls the application's functions.
        self._reactor.addSystemEventTrigger("during", "startup", self._signals.install)
        if self.is_ours:
            self._terminal.start()
        if self._signals.ignored and self._is_foreground:
            self._log.info(
                "HUP is ignored, as it was when this process was started (nohup); USR2 upgrades"
            )
        if self._reaper is not None:
            self._reaper.startService()

    def entitle(self, title: str) -> None:
        """Show a title in ps(1)."""
        if self.is_ours:
            set_title(title)

    def drains(self, now: bool) -> None:
        """The service drains without having been told to stop; or it accepts again."""
        self._exit.drains(now)

    def must_stop_within(self, seconds: float, since: str) -> None:
        """End the process unless its reactor begins to stop it by then.

        Args:
            seconds: from now.
            since: what happens now, for the log.
        """
        self._exit.must_stop_within(seconds, since)

    @property
    def is_ending(self) -> bool:
        """Whether the reactor stops, or has stopped."""
        return self._exit.has_begun

    def end(self, *, process_ends: bool) -> None:
        """The service has stopped.

        Args:
            process_ends: whether the process ends with it.
        """
        self._terminal.stop()
        if self._reaper is not None:
            self._reaper.stopService()
        if not process_ends:
            self._fork_guard.end()
            self._signals.restore()
            self._exit.disarm()
        elif self.is_ours:
            self._exit.stopped()

    async def _hup(self) -> None:
        """Do what HUP says, unless it says that the terminal was closed."""
        if not await self._terminal.has_closed():
            self._actions[signal.SIGHUP]()
        elif self._is_foreground:
            self._hang_up()
