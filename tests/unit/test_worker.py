"""A worker as its master sees it, and the process itself: the two ends of one channel."""

from __future__ import annotations

import errno
import json
import signal
import socket
from collections.abc import Callable
from typing import Any
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from twisted_graceful.handover_interface import HandedConnection
from twisted_graceful.process.host.process_status import Status
from twisted_graceful.process.upgrade import child, parent
from twisted_graceful.process.upgrade.accept_retry import AGAIN
from twisted_graceful.process.upgrade.child import EXIT_AFTER_EOF, KILL_AFTER
from twisted_graceful.process.upgrade.control_channel import HEARD_TIMEOUT, ControlChannel
from twisted_graceful.process.upgrade.inheritance import VARIABLE, Inheritance
from twisted_graceful.process.upgrade.launch import Launch
from twisted_graceful.process.upgrade.upgrade_events import REPORT_LIMIT, Watcher
from twisted_graceful.process.workers import worker
from twisted_graceful.process.workers.worker import Worker
from twisted_graceful.process.workers.worker_handle import WorkerHandle, WorkerPhase

from ..case import SynchronousTestCase
from .wire import Wire

TIMEOUT = 60
"""Seconds that the worker may take until it is ready."""

SILENCE = 10
"""Seconds without a sign of life after which it is ended."""

ABORTED = [signal.SIGABRT, signal.SIGCONT]
"""It may have been stopped, by a debugger say: then it heeds the first after the second."""


class Line(Wire):
    """A wire that may be closed."""

    def loseConnection(self) -> None:
        """Nothing more is to be sent."""


class Reactor(Clock):
    """Keeps the time, and starts a process that is never there."""

    def __init__(self) -> None:
        super().__init__()
        self.environment: dict[str, str] = {}
        self.signals: list[int] = []
        self.pid = 4711

    def spawnProcess(self, protocol: Any, *_: Any, env: dict[str, str], **__: Any) -> None:
        """It is this object."""
        self.environment = env
        protocol.transport = self

    def signalProcess(self, number: int) -> None:
        """It does not heed any."""
        self.signals.append(number)


class Pool:
    """Who is told what becomes of the worker."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def worker_ready(self, worker: WorkerHandle) -> None:
        """It can serve."""
        self.told.append("ready")

    def worker_reported(self, worker: WorkerHandle, report: str) -> None:
        """It has said how it is."""
        self.told.append(report)

    def worker_retires(self, worker: WorkerHandle, reason: str) -> None:
        """It wants to be replaced."""
        self.told.append(("retires", reason))

    def worker_stopping(self, worker: WorkerHandle) -> None:
        """It was told to stop."""
        self.told.append("stopping")

    def worker_channel_broken(self, worker: WorkerHandle, reason: str) -> None:
        """It broke the channel."""
        self.told.append(("unheard", reason))

    def worker_ended(self, worker: WorkerHandle, reason: str, output: str) -> None:
        """It has ended."""
        self.told.append(("ended", reason))

    def logs_moved(self) -> None:
        """The log files have been moved."""
        self.told.append("logs moved")


class Says(Watcher):
    """Makes the reports of the worker."""

    text = ""

    def report(self, to: str) -> str:
        """What was said last."""
        return self.text


class Workload:
    """What the process serves."""

    connected = 7

    def __init__(self) -> None:
        self.did: list[str] = []
        self.drained: Deferred[None] = Deferred()
        self.refuses = False
        self.taken: list[HandedConnection] = []

    def listeners(self) -> list[Any]:
        """None; nothing is sent on them."""
        return []

    def accept(self) -> None:
        """Accept, if the system lets it."""
        self.did.append("accept")
        if self.refuses:
            raise OSError(errno.EMFILE, "too many open files")

    def hand_over(self, carrier: object, removed: object) -> Deferred[None]:
        """Accept no more."""
        self.did.append("hand over")
        return self.drained

    def can_take_up(self, handed: HandedConnection) -> bool:
        """Any."""
        return True

    def take_up(self, handed: HandedConnection) -> None:
        """Serve it."""
        self.taken.append(handed)

    def logs_moved(self) -> None:
        """Open them anew."""
        self.did.append("logs moved")

    def skip_shutdown_delay(self) -> None:
        """Accept no more, whatever was to come first."""
        self.did.append("make way")

    def leave(self) -> None:
        """Let the process end."""
        self.did.append("leave")

    def cut(self) -> None:
        """End what is being answered."""
        self.did.append("cut")


class Leaving:
    """A connection that moves to the process, and must not stay."""

    def __init__(self, connection: socket.socket) -> None:
        self.handed = HandedConnection(connection.fileno(), "127.0.0.1:80", "{}", b"")
        self.release = connection.close

    def take_back(self) -> None:
        """It stays."""
        raise AssertionError("refused")


class WorkerTestCase(SynchronousTestCase):
    """One worker that has been started, and loads."""

    def setUp(self) -> None:
        """Start it, as number 2 of generation 5."""
        channels: list[ControlChannel] = []
        for module in (child, parent):
            self.patch(module, "open_channel", lambda *opened: channels.append(opened[-1]))
        self.released: list[tuple[int, int]] = []
        self.patch(worker, "release", lambda *streams: self.released.append(streams))
        self.patch(worker, "Heartbeat", mock.Mock())  # signs of life are given by hand
        self.reactor = Reactor()
        self.pool, self.workload, self.says = Pool(), Workload(), Says()
        self.worker = WorkerHandle(self.reactor, 2, self.pool, None, TIMEOUT, SILENCE)  # type: ignore[arg-type]
        self.worker.start(Launch("python", (), "/", {}), 5, [], (1, 2), {})
        inheritance = Inheritance.take({VARIABLE: self.reactor.environment[VARIABLE]})
        assert inheritance is not None
        ours, theirs = socket.socketpair()
        ours.close()
        self.member = Worker(
            self.reactor,
            self.workload,  # type: ignore[arg-type]
            Inheritance(inheritance.generation, theirs.detach(), 1, 2, worker=inheritance.worker),
            pid=4711,
            watcher=self.says,
        )
        self.channels = channels
        self.wires = [Line(channels[1]), Line(channels[0])]
        for channel, wire in zip(channels, self.wires, strict=True):
            channel.makeConnection(wire)  # type: ignore[arg-type]
        self.is_alive = True
        self.addCleanup(self.end)

    def alive(self, report: str) -> None:
        """The worker gives a sign of life."""
        self.says.text = report
        self.member.report()

    def run_on(self) -> None:
        """Let all messages arrive."""
        while any(wire.queue for wire in self.wires):
            for wire in self.wires:
                while wire.queue:
                    wire.queue.popleft()()

    def end(self, number: int = signal.SIGKILL) -> None:
        """The process ends, by a signal."""
        if self.is_alive:
            self.is_alive = False
            self.lose_channel(0)
            ended = Failure(ProcessTerminated(signal=number))
            self.worker._child.processEnded(ended)

    def lose_channel(self, end: int) -> None:
        """One end of the channel, 0 that of the master, learns that the other has gone."""
        if self.channels[end].transport is not None:
            self.channels[end].connectionLost(Failure(ConnectionDone()))

    def serve(self) -> None:
        """It is ready, and accepts."""
        self.member.loaded()
        self.run_on()
        self.worker.accept()
        self.run_on()
        self.pool.told.clear()
        self.workload.did.clear()

    def after(self, act: Callable[..., object], *arguments: Any) -> list[str]:
        """What is served does this when one end does that."""
        self.workload.did.clear()
        act(*arguments)
        self.run_on()
        return self.workload.did


class WorkerTests(WorkerTestCase):
    """What a master asks of it, and what it is told."""

    def test_who_it_is(self) -> None:
        """The process knows its number, and that of its generation."""
        self.assertEqual((self.worker.pid, self.member.number, self.member.worker), (4711, 5, 2))

    def test_before_its_start(self) -> None:
        """There is no process, and nothing is known of it."""
        new = WorkerHandle(self.reactor, 3, self.pool, None, TIMEOUT)  # type: ignore[arg-type]
        self.assertEqual(
            (new.pid, new.connections, new.is_ready, new.report, new.code, new.retires),
            (0, 0, False, "", 0, False),
        )

    def test_connections(self) -> None:
        """Its carrier brings connections to the process."""
        self.serve()
        ours, clients = socket.socketpair()
        self.addCleanup(clients.close)
        self.worker.carrier.send([Leaving(ours)])
        self.run_on()
        [handed] = self.workload.taken
        with socket.socket(fileno=handed.descriptor) as taken:
            taken.sendall(b"served")
        self.assertEqual(clients.recv(99), b"served")
        self.assertEqual(ours.fileno(), -1)

    def test_accepts_when_told(self) -> None:
        """It says that it is ready, and accepts when the master says so, not before."""
        self.assertEqual(self.after(self.member.loaded), [])
        self.assertEqual((self.pool.told, self.worker.is_ready), (["ready"], True))
        self.assertEqual(self.released, [])
        self.assertEqual(self.after(self.worker.accept), ["accept"])
        self.assertEqual(self.released, [(1, 2)])  # its output is its own from now on

    def test_a_sign_of_life_without_a_report(self) -> None:
        """Without a report that a message holds it says how many connections it has."""
        self.serve()
        for report in ("", "x" * (REPORT_LIMIT + 1)):
            self.after(self.alive, report)
        self.assertEqual(self.pool.told, [Status(gauges={"connections": 7}).encode()] * 2)

    def test_never_ready(self) -> None:
        """One that is not ready in time is ended, and the reason says so."""
        self.reactor.advance(TIMEOUT)
        self.reactor.advance(KILL_AFTER)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM, signal.SIGKILL])
        self.end()
        [(_, reason)] = self.pool.told
        self.assertIn("not ready within 60 seconds", reason)

    def test_drain_and_stand_by(self) -> None:
        """A drain is over when nothing is left; then it may be told to accept again."""
        self.serve()
        drained = self.worker.drain(30)
        self.run_on()
        self.assertEqual(self.workload.did, ["hand over"])
        self.assertNoResult(drained)
        self.workload.drained.callback(None)
        self.run_on()
        self.successResultOf(drained)
        self.assertEqual(self.after(self.worker.accept), ["accept"])

    def test_a_drain_without_end(self) -> None:
        """It is waited for as long as was said."""
        self.serve()
        drained = self.worker.drain(30)
        self.run_on()
        self.reactor.pump([29, 0.9])
        self.assertNoResult(drained)
        self.reactor.advance(0.1)
        self.successResultOf(drained)
        self.workload.drained.callback(None)
        self.run_on()  # which changes nothing

    def test_a_death_in_a_drain(self) -> None:
        """One that has ended has nothing left."""
        self.serve()
        drained = self.worker.drain(30)
        self.end()
        self.successResultOf(drained)
        self.assertEqual(self.pool.told[-1][0], "ended")

    def test_leave(self) -> None:
        """It is told to end, and when it has not in time it is ended, and leaves its stacks."""
        self.serve()
        self.assertEqual(self.after(self.worker.leave, 30), ["leave"])
        self.reactor.pump([29, 0.9])
        self.assertEqual(self.reactor.signals, [])
        self.reactor.advance(0.1)
        self.assertEqual(self.reactor.signals, ABORTED)
        self.reactor.advance(KILL_AFTER)
        self.assertEqual(self.reactor.signals, [*ABORTED, signal.SIGKILL])
        self.end(signal.SIGABRT)
        self.assertIn("did not end within 30 seconds when it was told to", self.pool.told[-1][1])

    def test_an_end_in_time(self) -> None:
        """When it has ended nothing waits for a time any more."""
        self.serve()
        self.alive("fine")
        self.after(self.worker.leave, 30)
        self.after(self.worker.cut, 2)
        self.end()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_move_out(self) -> None:
        """It hands over, ends when nothing is left, and is killed when it has not in time."""
        self.serve()
        self.assertEqual(self.after(self.worker.hand_over_and_leave, 30), ["hand over"])
        self.assertEqual(self.after(self.workload.drained.callback, None), ["leave"])
        self.reactor.advance(30)
        self.assertEqual(self.reactor.signals, ABORTED)

    def test_cut(self) -> None:
        """It cuts what it answers and ends, and is killed when it has not in time."""
        self.serve()
        self.assertEqual(self.after(self.worker.cut, 2), ["cut", "leave"])
        self.reactor.advance(2)
        self.assertEqual(self.reactor.signals, ABORTED)

    def test_one_that_loads_needs_no_words(self) -> None:
        """As long as it is not ready a signal ends it."""
        for end, number in (
            (self.worker.leave, signal.SIGTERM),
            (self.worker.hand_over_and_leave, signal.SIGTERM),
            (self.worker.cut, signal.SIGKILL),
        ):
            with self.subTest(end=end, number=number):
                self.assertEqual(self.after(end, 30), [])
                self.assertEqual(self.reactor.signals.pop(), number)

    def test_a_sign_of_life(self) -> None:
        """What it says of itself arrives."""
        self.serve()
        self.after(self.alive, "fine")
        self.assertEqual(self.pool.told, ["fine"])

    def test_phases(self) -> None:
        """What it is doing is known to the master without its word."""
        self.assertIs(self.worker.phase, WorkerPhase.STARTING)
        self.after(self.member.loaded)
        self.assertIs(self.worker.phase, WorkerPhase.READY)
        for step, phase in (
            (self.worker.accept, WorkerPhase.SERVING),
            (lambda: self.worker.drain(30), WorkerPhase.DRAINING),
            (self.worker.accept, WorkerPhase.SERVING),
            (lambda: self.worker.leave(30), WorkerPhase.LEAVING),
        ):
            with self.subTest(step=step, phase=phase):
                self.after(step)
                self.assertIs(self.worker.phase, phase)

    def test_silence(self) -> None:
        """One that gives no sign of life any more is ended so that it leaves its stacks."""
        self.serve()
        self.after(self.alive, "fine")
        self.reactor.pump([1] * SILENCE)
        self.assertEqual(self.reactor.signals, [])
        self.reactor.advance(1)
        self.assertEqual(self.reactor.signals, ABORTED)
        self.end(signal.SIGABRT)
        self.assertIn("stood still for 10 seconds (worker_timeout)", self.pool.told[-1][1])

    def test_a_broken_channel(self) -> None:
        """One that cannot be told anything is sent a signal, and ended if it does not heed that."""
        self.serve()
        self.after(self.alive, "fine")
        self.pool.told.clear()
        self.lose_channel(0)
        self.reactor.advance(EXIT_AFTER_EOF)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM])
        [(what, reason)] = self.pool.told
        self.assertEqual(what, "unheard")
        self.assertIn("it broke the control channel", reason)
        self.worker.hand_over_and_leave(30)
        self.reactor.pump([1] * (SILENCE - 1))
        self.assertEqual(self.reactor.signals, [signal.SIGTERM])
        self.reactor.advance(1)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM, *ABORTED])
        self.end(signal.SIGABRT)
        said = "did not end within 10 seconds (worker_timeout), and it was ended"
        self.assertIn(said, self.pool.told[-1][1])

    def test_a_broken_channel_of_one_that_nobody_watches(self) -> None:
        """Then it may take as long as any other that is to end."""
        self.worker._watch.stop()
        self.serve()
        self.lose_channel(0)
        self.reactor.advance(EXIT_AFTER_EOF)
        self.worker.hand_over_and_leave(30)
        self.reactor.pump([1] * 29)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM])
        self.reactor.advance(1)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM, *ABORTED])

    def test_the_channel_of_one_that_ends(self) -> None:
        """One that has said what its drain did may take its time to end."""
        self.serve()
        self.worker.leave(30)
        self.run_on()
        self.after(self.member.stopped, {})
        self.lose_channel(0)
        self.reactor.advance(EXIT_AFTER_EOF)
        self.assertEqual((self.reactor.signals, self.pool.told), ([], []))

    def test_no_silence_while_it_loads(self) -> None:
        """What it says in its warm-up does not begin the wait for signs of life."""
        self.after(self.alive, "warming up")
        self.assertEqual(self.pool.told, ["warming up"])
        self.reactor.pump([1] * 3 * SILENCE)
        self.assertEqual(self.reactor.signals, [])

    def test_retire(self) -> None:
        """It may ask for another one."""
        self.serve()
        self.after(self.member.retire, "it is too large")
        self.assertEqual(self.pool.told, [("retires", "it is too large")])

    def test_the_logs_have_moved(self) -> None:
        """Either end tells the other."""
        self.assertEqual(self.after(self.worker.send_logs_moved), ["logs moved"])
        self.assertEqual(self.after(self.member.send_logs_moved), [])
        self.assertEqual(self.pool.told, ["logs moved"])


class MemberTests(WorkerTestCase):
    """What becomes of the process itself."""

    def test_what_cannot_be_served(self) -> None:
        """The master knows why, ends the process, and reports that."""
        told = self.member.failed("no module named app")
        self.run_on()
        self.successResultOf(told)
        self.assertEqual(self.reactor.signals, [signal.SIGTERM])
        self.after(self.member.stop)  # as it does at the signal, which is no wish of others
        self.end(signal.SIGTERM)
        self.assertEqual(self.pool.told, [("ended", "no module named app")])

    def test_ready_too_late(self) -> None:
        """Whom the master does not wait for any more never accepts, and leaves."""
        self.worker.leave(30)
        self.assertEqual(self.after(self.member.loaded), ["leave"])
        self.assertFalse(self.worker.is_ready)

    def test_a_permission_after_the_stop(self) -> None:
        """One that stops does not accept, although it was ready before."""
        self.after(self.member.loaded)
        self.after(self.member.stop)
        self.assertEqual(self.after(self.worker.accept), [])

    def test_a_stop(self) -> None:
        """A signal lets it drain and end; the master knows, and then sends no connection."""
        self.serve()
        self.member.stop()
        arrived = self.member.connections_arrived()
        self.assertNoResult(arrived)
        self.run_on()
        self.successResultOf(arrived)
        self.assertEqual((self.workload.did, self.pool.told), (["leave"], ["stopping"]))

    def test_a_stop_below_a_master_that_stands_still(self) -> None:
        """It does not wait for its answer for long."""
        self.serve()
        self.member.stop()
        self.reactor.advance(HEARD_TIMEOUT)
        self.successResultOf(self.member.connections_arrived())

    def test_the_service_is_stopped(self) -> None:
        """Whoever stops it from inside lets it end, and there is nothing to wait for."""
        self.serve()
        self.assertEqual(self.after(self.member.service_stops), ["leave"])
        self.assertEqual(self.after(self.member.service_stops), [])
        self.successResultOf(self.member.connections_arrived())

    def test_a_second_stop(self) -> None:
        """It cuts what is being answered."""
        self.serve()
        self.assertEqual(self.after(self.member.stop), ["leave"])
        self.assertEqual(self.after(self.member.stop), ["cut"])

    def test_what_its_drain_did(self) -> None:
        """The master knows before the process ends."""
        self.serve()
        told = self.member.stopped({"answered": 3})
        self.assertNoResult(told)
        self.run_on()
        self.successResultOf(told)
        self.assertEqual(json.loads(self.worker.report), {"answered": 3})

    def test_nobody_hears_what_its_drain_did(self) -> None:
        """It ends all the same, and soon."""
        self.serve()
        told = self.member.stopped({})
        self.reactor.advance(HEARD_TIMEOUT)
        self.successResultOf(told)

    def test_a_drain_of_who_serves_nothing(self) -> None:
        """Whoever drains already, or ends, has nothing to add."""
        self.serve()
        for act in (lambda: self.worker.drain(30), self.member.stop):
            with self.subTest(act=act):
                self.after(act)
                again = self.worker.drain(30)
                self.assertEqual(self.after(lambda: None), [])
                self.successResultOf(again)

    def test_resumed_in_the_middle_of_its_drain(self) -> None:
        """It accepts again, and that its drain then ends changes nothing."""
        self.serve()
        self.after(self.worker.drain, 30)
        self.assertEqual(self.after(self.worker.accept), ["accept"])
        self.assertEqual(self.after(self.workload.drained.callback, None), [])

    def test_the_master_is_gone(self) -> None:
        """It drains, and the log says why."""
        self.serve()
        with capturedLogs() as events:
            self.assertEqual(self.after(self.lose_channel, 1), ["make way", "leave"])
        self.assertEqual(
            [formatEvent(event) for event in events], ["The master has ended: worker 2 drains"]
        )

    def test_the_master_is_gone_when_it_drains(self) -> None:
        """Then nothing is new to the log; should it still accept, it does not any more."""
        self.serve()
        self.after(self.worker.leave, 30)
        with capturedLogs() as events:
            self.assertEqual(self.after(self.lose_channel, 1), ["make way"])
        self.assertEqual(events, [])

    def test_the_system_refuses(self) -> None:
        """What cannot accept for want of descriptors tries again, as long as it shall."""
        self.workload.refuses = True
        self.after(self.member.loaded)
        self.assertEqual(self.after(self.worker.accept), ["accept"])
        self.assertEqual(self.after(self.reactor.advance, AGAIN), ["accept"])
        self.after(self.member.stop)
        self.assertEqual(self.after(self.reactor.advance, AGAIN), [])

    def test_no_upgrade_of_its_own(self) -> None:
        """Whoever takes it for the master reads in the log that it is none."""
        self.serve()
        with capturedLogs() as events:
            self.assertEqual(self.after(self.member.upgrade), [])
        self.assertIn("A worker does not upgrade itself", formatEvent(events[0]))
