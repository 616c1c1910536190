"""The lifecycle of one generation of a service: its predecessor, its upgrades, its end.

It knows listeners and a `ManagedProcess`, and nothing of what is served on them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.logger import Logger

from ...errors import UpgradeRefused
from ...reactors import IServerReactor
from ...timer import Timer
from ..host.pid_file import PidFile
from ..host.supervisors import RECYCLED, ParentSupervisor
from ..host.systemd import Supervisor
from ..interfaces import Lifecycle, ManagedProcess
from ..state_machine import StateMachine
from .accept_retry import Acceptor, require_descriptors
from .announcer import Announcer
from .child import Child
from .control_channel import Handlers
from .generation_machine import (
    ACCEPTING,
    TABLE,
    GenerationInput,
    GenerationOutput,
    GenerationState,
)
from .inheritance import Inheritance
from .launch import Launch
from .messages import Goodbye, LogsMoved, Report, Upgrade
from .output import CapturedOutput, FaultFile, release
from .parent import Parent
from .upgrade_events import RollingRestartProgress, Watcher
from .upgrade_record import UpgradeRecord

_UPGRADING_OR_STOPPING = (
    GenerationState.UPGRADING,
    GenerationState.HANDING_OVER,
    GenerationState.STANDING_BY,
    GenerationState.DRAINING,
    GenerationState.STOPPING,
)
"""The states in which workers are not replaced: new code comes with a successor, or not at all."""


class Generation(Lifecycle):
    """One run of the code, from its load to its end.

    Args:
        reactor: runs everything.
        workload: the process, as far as it is directed here.
        inheritance: what the predecessor left; None in the first generation.
        launch: the command that starts a successor.
        upgrade_timeout: seconds that a successor may take until it is ready.
        probation: seconds for which this process, when it has drained, waits for the
            successor to die.
        supervisor: is told what becomes of the service; None if there is none.
        pid_file: names the serving generation; None if there is none.
        pid: of this process.
        watcher: is told what becomes of upgrades, and of the other generation; None for nobody.
        record: where upgrades are recorded, which the successor inherits; it stays open as long as
            the process, unless that `process_continues`.
            None for nowhere.
        ends_within: seconds that this process may take to end once its successor serves; 0 for
            any time.
        upgradable: whether a successor may be started at all.
        recycle: stops the process with this exit status, for its supervisor to start another one;
            None if the process is not ours to stop.
    """

    _log = Logger()
    role = ""

    def __init__(
        self,
        reactor: IServerReactor,
        workload: ManagedProcess,
        *,
        inheritance: Inheritance | None,
        launch: Launch,
        upgrade_timeout: float,
        probation: float,
        supervisor: Supervisor | None = None,
        pid_file: PidFile | None = None,
        pid: int | None = None,
        watcher: Watcher | None = None,
        record: UpgradeRecord | None = None,
        ends_within: Callable[[], float] = lambda: 0.0,
        upgradable: bool = True,
        recycle: Callable[[int], None] | None = None,
    ) -> None:
        self._watcher = Watcher() if watcher is None else watcher
        self.number = 0 if inheritance is None else inheritance.generation
        self._reactor = reactor
        self._workload = workload
        self._acceptor = Acceptor(reactor, workload.accept, lambda: self.state in ACCEPTING)
        self._inheritance = inheritance
        self.streams = (1, 2) if inheritance is None else (inheritance.stdout, inheritance.stderr)
        self._launch = launch
        self._upgrade_timeout = upgrade_timeout
        self._probation = probation
        self._probation_end = Timer(reactor)
        self._pid = os.getpid() if pid is None else pid
        self._supervisor = Supervisor(reactor) if supervisor is None else supervisor
        self._record = record
        self._ends_within = ends_within
        self._upgradable = upgradable
        self._recycle = recycle
        self._fault_file: FaultFile | None = None
        self._announcer = Announcer(
            self.number, self._pid, self._supervisor, self._watcher, self._record
        )
        self._pid_file = pid_file
        self._child: Child | None = None
        self._child_ended: Deferred[None] = Deferred()
        self._not_needed: Deferred[None] = succeed(None)
        self._arrived: Deferred[None] = succeed(None)  # fires when no connection is on its way here
        self._predecessor_responds = True  # whether the predecessor knows that this process stops
        self._upgrade_due = False
        self._captured: CapturedOutput | None = None
        self.is_asked_to_stop = False
        self._drain: object = None
        self._successor: Child | None = None  # that serves, and outlives us
        self._successor_stops = False
        self._predecessor_ended: Deferred[None] = Deferred()  # fires when it has
        first = GenerationState.LOADING if inheritance is None else GenerationState.SUCCEEDING
        self._machine = StateMachine(TABLE, first, self._actions())
        self._predecessor = None if inheritance is None else self._connect(inheritance)

    def _actions(self) -> Mapping[GenerationOutput, Callable[[], None]]:
        return {
            GenerationOutput.SERVE: self._serve,
            GenerationOutput.SPAWN: self._spawn,
            GenerationOutput.REMEMBER: self._remember,
            GenerationOutput.CATCH_UP: self._catch_up,
            GenerationOutput.PASS_ON: self._pass_on,
            GenerationOutput.WATCH: self._watch,
            GenerationOutput.HAND_OVER: self._hand_over,
            GenerationOutput.STAND_BY: self._stand_by,
            GenerationOutput.RESUME: self._resume,
            GenerationOutput.END_CHILD: self._end_child,
            GenerationOutput.LEAVE: self._leave,
            GenerationOutput.CUT: self._cut,
        }

    def _connect(self, inheritance: Inheritance) -> Parent:
        """Open the channel to the predecessor."""
        handlers: Handlers = {
            Upgrade: self.upgrade,
            LogsMoved: self._workload.logs_moved,
            Report: self._predecessor_reported,
            Goodbye: lambda: None,  # its answer is all that the predecessor waits for
        }
        return Parent(
            self._reactor,
            inheritance.control,
            self._workload,
            handlers,
            self.predecessor_ended,
            inheritance.stacks,
        )

    @property
    def state(self) -> GenerationState:
        """Where this process is in its life."""
        return self._machine.state

    @property
    def is_stopping(self) -> bool:
        """Whether the process stops."""
        return self.state is GenerationState.STOPPING

    @property
    def allows_rolling_restart(self) -> bool:
        """Whether neither an upgrade nor a stop is in progress."""
        return self.state not in _UPGRADING_OR_STOPPING

    @property
    def watched_by(self) -> ParentSupervisor | None:
        """What takes the end of this process for the end of the service; None for a successor."""
        return self._launch.supervised(self._pid) if self.number == 0 else None

    def rolling_restart_progress(self, progress: RollingRestartProgress) -> None:
        """A rolling restart of the workers has made progress."""
        self._announcer.rolling_restart_progress(progress)

    # What happens to this process

    def begin(self) -> None:
        """Let the predecessor know that this process loads."""
        self.report()

    def loaded(self) -> None:
        """All that is to be served can be served."""
        if self.state is GenerationState.SUCCEEDING and self._predecessor is not None:
            try:
                require_descriptors(self._workload.listeners())
            except OSError as error:
                # The predecessor has what this process lacks, and is still there.
                reason = f"it has no descriptors left to serve with ({error.strerror})"
                self._log.error("Generation {new}: {reason}", new=self.number, reason=reason)
                self._predecessor.fail(reason).addCallback(lambda _: self.stop())
            else:
                # First: what it then closes has to be closed here too, for clients to be refused.
                self._workload.close_unused()
                allowed = self._predecessor.ready(self._workload.listeners())
                self._limit_predecessor("this process was ready to serve")
                allowed.addCallback(self._may_serve)
        else:
            self._machine.send(GenerationInput.LOADED)

    def _may_serve(self, allowed: bool) -> None:
        if allowed:
            self._machine.send(GenerationInput.LOADED)
        else:
            if self._predecessor is not None:
                self._predecessor.need_not_end()
            self._log.error(
                "Generation {number} is ready too late: its predecessor serves on",
                number=self.number,
            )
            self.stop()

    def _limit_predecessor(self, since: str) -> None:
        """It must end in time; or respond, if it has only been asked for the listeners."""
        seconds = self.predecessor_ends_within
        if seconds and self._predecessor is not None:
            self._predecessor.must_end_within(seconds, since)

    @property
    def predecessor_ends_within(self) -> float:
        """Seconds that the predecessor may take to end; 0 for any time, or if there is none."""
        if self._inheritance is None or self._predecessor_ended.called:
            return 0.0
        return self._inheritance.patience or self._ends_within()

    def failed(self, reason: str) -> Deferred[None]:
        """What is to be served cannot be served.

        Returns:
            A Deferred that fires when the predecessor, if any, knows.
        """
        if self.state is GenerationState.SUCCEEDING and self._predecessor is not None:
            return self._predecessor.fail(reason)
        return succeed(None)

    def upgrade(self) -> None:
        """Replace this process by one that runs the code on disk.

        If that fails the reason is logged, and this process serves on.
        """
        if not self._upgradable:
            self._announcer.not_upgradable()
            return
        if self._successor is not None:
            # The sender read the pid file before the handover, and means the process that serves.
            self._successor.tell(Upgrade)
        elif self.state is GenerationState.STOPPING:
            self._announcer.refused("this process is stopping")
        self._machine.send(GenerationInput.UPGRADE)

    def retire(self, reason: str) -> None:
        """Upgrade; or stop, where a supervisor starts the program again, and an upgrade is refused.

        Args:
            reason: why; it is logged.
        """
        supervisor = self.watched_by
        if supervisor is None or self._recycle is None:
            self._log.info("This process is to be replaced: {reason}", reason=reason)
            self.upgrade()
        else:
            self._log.info(
                "This process ends with status {status}, to be started again: {reason}. "
                "{watches}, so it is not replaced by an upgrade",
                status=RECYCLED,
                reason=reason,
                watches=supervisor.watches,
            )
            self._recycle(RECYCLED)

    def stop(self) -> None:
        """Drain and let the process end, as somebody wishes; asked again: end at once."""
        is_asked_again, self.is_asked_to_stop = self.is_asked_to_stop, True
        if self.state is GenerationState.STOPPING and not is_asked_again:
            return  # it was the successor that was asked; a service manager asks both
        if self._predecessor is not None and self.state is GenerationState.TAKING_OVER:
            self._predecessor_responds = False
            self._arrived = self._predecessor.stopping().addCallback(self._wait_if_it_hangs)
            # With our end systemd takes the service for ended, and ends who is left.
            self._not_needed = self._predecessor_ended if self._supervisor else self._arrived
        self._machine.send(GenerationInput.STOP)

    def _wait_if_it_hangs(self, is_heard: bool) -> None:
        self._predecessor_responds = is_heard
        if not is_heard:  # no other process would kill it, and it keeps the port open
            self._not_needed = self._predecessor_ended

    def service_stops(self) -> None:
        """The service is being stopped. If nobody wished it, the predecessor may resume."""
        if self.state is GenerationState.TAKING_OVER:
            self._supervisor.stop_notifying()
        if self.state is not GenerationState.STOPPING:
            self._machine.send(GenerationInput.STOP)
        if self._successor is None:
            self._announcer.stops()

    @property
    def predecessor_resumes(self) -> bool:
        """Whether, if this process ended now, its predecessor would accept again."""
        return self.state is GenerationState.TAKING_OVER

    def connections_arrived(self) -> Deferred[None]:
        """A Deferred that fires, in a stop, when no connection will come from the predecessor."""
        return self._arrived

    def stopped(self, report: Mapping[str, object]) -> Deferred[None]:
        """Wait until neither predecessor nor child needs this process any more.

        Args:
            report: what the drain did, of which they need nothing.
        """
        if self._successor is None:
            return self._not_needed
        # Not before the drain is over: the connections that it hands over come first.
        both = gatherResults([self._successor.release(), self._supervisor.notifications_read()])
        return both.addCallback(lambda _: None)

    def drained(self, report: str, cut: int, clean: bool) -> None:
        """The drain of a stop is over.

        Args:
            report: what it did, in words.
            cut: how many requests it cut.
            clean: whether all processes have said what theirs did.
        """
        self._watcher.stopped(report, cut, clean)
        if self._successor is None:
            self._announcer.stopped(report, cut, clean)

    def ended(self) -> None:
        """This process serves no more, and ends."""
        if self._successor is not None:
            self._announcer.ended(told=self.is_asked_to_stop, successor_stops=self._successor_stops)
        if self._pid_file is not None and self.number > 0:  # twistd removes the first one's
            self.remove_pid_file()
        if self._successor is None:
            self._forget_fault_file()

    def process_continues(self) -> None:
        """The process goes on without what it has served."""
        if self._record is not None:
            self._record.close()

    def killed(self) -> None:
        """The process is ended, because something still held it. Called in a thread."""
        if self._successor is None:
            self._announcer.killed()
        if self._predecessor is not None and not self._predecessor_responds:
            self._predecessor.kill()  # it hangs, and nothing else would end it

    def remove_pid_file(self) -> None:
        """Remove the pid file, if it is this process's and not about to be its successor's."""
        if self._successor is None and self._pid_file is not None:
            self._pid_file.remove()

    def send_logs_moved(self) -> None:
        """Tell the predecessor or the successor that the log files have been moved."""
        for other in (self._predecessor, self._child, self._successor):
            if other is not None:
                other.tell(LogsMoved)

    def report(self) -> Deferred[None]:
        """Send the numbers of this process to the other generations, if the watcher has any."""
        heard = []
        for name, other in (
            ("predecessor", self._predecessor),
            ("successor", self._child or self._successor),
        ):
            text = self._watcher.report(name) if other is not None else ""
            if other is not None and text:
                heard.append(other.ask_briefly(Report, report=text))
        return gatherResults(heard).addCallback(lambda _: None)

    # What the predecessor and the successor tell us

    def _predecessor_reported(self, report: str) -> None:
        self._watcher.reported("predecessor", report)

    def predecessor_ended(self) -> None:
        """The predecessor has ended."""
        self._watcher.generation_ended("predecessor")
        if self._pid_file is not None:
            self._pid_file.hold()
        self._workload.own_listeners()
        self._forget_captured()
        if self.state is GenerationState.TAKING_OVER:
            self._announcer.predecessor_ended()
        self._machine.send(GenerationInput.PREDECESSOR_ENDED)
        self._fire_predecessor_ended()

    def child_ready(self) -> None:
        """The successor can serve."""
        self._machine.send(GenerationInput.CHILD_READY)

    def child_upgrade(self) -> None:
        """An upgrade was asked for of the successor. Should it die, it is ours."""
        self._upgrade_due = True
        self._machine.send(GenerationInput.CHILD_UPGRADE)

    def _successor_reported(self, report: str) -> None:
        if self._child is not None or self._successor is not None:  # else it has ended
            self._watcher.reported("successor", report)

    def child_stopping(self) -> None:
        """The successor was told to stop."""
        self._successor_stops = True
        self._machine.send(GenerationInput.CHILD_STOPPING)

    def child_channel_broken(self, reason: str) -> None:
        """The successor serves on as if this process had ended; its own end is noticed anyway."""

    def child_ended(self, reason: str, output: str) -> None:
        """The successor has ended."""
        self._child = self._successor = None
        self._forget_fault_file()
        self._watcher.generation_ended("successor")
        if self.state is not GenerationState.STOPPING:
            self._announcer.failed(
                reason,
                output,
                serves_on=self.state in ACCEPTING,
                another_follows=self._upgrade_due,
            )
        ended = self._child_ended
        self._machine.send(GenerationInput.CHILD_ENDED)
        ended.callback(None)

    def _forget_fault_file(self) -> None:
        file, self._fault_file = self._fault_file, None
        if file is not None:
            file.close()

    def _forget_captured(self) -> None:
        words, self._captured = self._captured, None
        if words is not None:
            words.close()

    # What the table makes us do

    def _serve(self) -> None:
        if self._predecessor is None:
            self._workload.own_listeners()
        self._acceptor.accept()
        if self._inheritance is not None:
            if self._pid_file is not None:
                self._pid_file.write()
            self._captured = release(*self.streams)
            self.streams = (1, 2)
            if self.state is GenerationState.TAKING_OVER:
                self._limit_predecessor("this process had begun to serve")
            if self.state is not GenerationState.TAKING_OVER:
                self._forget_captured()
        self._announcer.serves(predecessor_drains=self.state is GenerationState.TAKING_OVER)

    def _spawn(self) -> None:
        self._announcer.begins(self._upgrade_timeout)
        self._successor_stops = False
        handlers: Handlers = {
            Upgrade: self.child_upgrade,
            LogsMoved: self._workload.logs_moved,
            Report: self._successor_reported,
        }
        self._child = Child(self._reactor, self, self._upgrade_timeout, handlers)
        self._child_ended = Deferred()
        try:
            self._launch.require_possible()
            if self.watched_by is not None:
                raise UpgradeRefused(self.watched_by.refusal)
            self._workload.require_inheritable()
            launch = self._launch.with_variables(self._supervisor.environment)
            self._fault_file = FaultFile()
            memory = {"stacks": self._fault_file.descriptor}
            if self._record is not None:
                memory["record"] = self._record.descriptor
            pid = self._child.start(
                launch,
                self.number + 1,
                self._workload.listeners(),
                memory=memory,
                patience=self._ends_within(),
            )
        except (OSError, UpgradeRefused) as error:
            self.child_ended(f"it could not be started: {error}", "")
        except Exception as error:
            self._log.failure("Starting a successor failed in a way that nobody foresaw")
            self.child_ended(f"it could not be started: {error!r}", "")
        else:
            self._announcer.started(pid)

    def _remember(self) -> None:
        if not self._upgrade_due:
            self._upgrade_due = True
            self._announcer.queued()
            if self._predecessor is not None:
                self._predecessor.tell(Upgrade)

    def _catch_up(self) -> None:
        if self._upgrade_due:
            self._upgrade_due = False
            self._machine.send(GenerationInput.UPGRADE)

    def _pass_on(self) -> None:
        # It stays noted here too: should the successor die, it is ours again.
        if self._upgrade_due and self._child is not None:
            self._child.tell(Upgrade)

    def _watch(self) -> None:
        if self._upgrade_due or not self._probation:
            # An upgrade that waits is not to wait for this, too.
            self._machine.send(GenerationInput.PROBATION_OVER)
        else:
            self._probation_end.start(
                self._probation, self._machine.send, GenerationInput.PROBATION_OVER
            )

    def _stand_by(self) -> None:
        self._announcer.stands_by(self._probation)

    def _hand_over(self) -> None:
        assert self._child is not None
        # Before it may accept, and be asked for what it has from us.
        self.report()
        self._announcer.hands_over(self._child.pid)
        drain = self._drain = object()
        if self._fault_file is not None:
            self._fault_file.begin()

        def drained(result: object) -> None:
            if self._drain is drain:  # else it was given up by a resume
                self._announcer.drained()
                self._machine.send(GenerationInput.DRAINED)

        handed_over = self._workload.hand_over(self._child.carrier, self._child.removed_listeners)
        handed_over.addCallback(drained)

    def _resume(self) -> None:
        self._probation_end.cancel()
        self._drain = None
        self._acceptor.accept()
        if self._pid_file is not None:
            self._pid_file.write()

    def _cut(self) -> None:
        if self._child is not None:
            self._child.kill()
        self._fire_predecessor_ended()
        self._workload.cut()

    def _end_child(self) -> None:
        if self._child is not None:
            reason = "this process was told to stop"
            self._child.end(reason)
            self._announcer.given_up(reason)
            self._not_needed = self._child_ended

    def _leave(self) -> None:
        self._probation_end.cancel()
        if self._child is not None and self._drain is not None:
            self._successor, self._child = self._child, None
            self._announcer.done(self._successor.pid, another_follows=self._upgrade_due)
        self._workload.leave()

    def _fire_predecessor_ended(self) -> None:
        if not self._predecessor_ended.called:
            self._predecessor_ended.callback(None)
