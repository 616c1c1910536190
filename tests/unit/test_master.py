"""A master, with a reactor in memory and workers that are no processes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, cast
from unittest import mock

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import capturedLogs, formatEvent
from twisted.web.resource import Resource

from tests.unit.fake_workers import FakeRoute, FakeWorker
from twisted_graceful import DrainReport, GracefulService, new, serving
from twisted_graceful.errors import SettingsError
from twisted_graceful.handover_interface import HandedConnection
from twisted_graceful.process.listeners.listener import Listener
from twisted_graceful.process.upgrade.upgrade_events import RollingRestartProgress
from twisted_graceful.process.workers.balance import ConnectionCounts
from twisted_graceful.process.workers.worker_handle import WorkerPhase
from twisted_graceful.services.server import Server

from ..case import SynchronousTestCase


class Reactor(MemoryReactorClock):  # type: ignore[misc]
    """One that runs."""

    def callWhenRunning(self, call: Any, *arguments: Any, **options: Any) -> None:
        """At once."""
        call(*arguments, **options)


class Launch:
    """The command of a worker."""

    def require_possible(self) -> None:
        """It is."""


class Worker(FakeWorker):
    """A worker that is told what it inherits."""

    def __init__(self, number: int, code: int) -> None:
        super().__init__(number, 0, code)
        self.carrier = FakeRoute()
        self.listeners: list[Listener] = []
        self.removed: Sequence[Listener] = ()
        self.phase = WorkerPhase.SERVING
        self.counts = ConnectionCounts()

    def start(
        self, launch: Any, generation: int, listeners: Any, streams: Any, memory: Mapping[str, int]
    ) -> None:
        """It has been started."""
        self.counts = ConnectionCounts(os.dup(memory["balance"]))
        self.listeners = list(listeners)

    def drain(self, within: float, removed: Sequence[Listener] = ()) -> Deferred[None]:
        """It accepts no more, and closes what is removed."""
        self.removed = removed
        return super().drain(within)


class MasterTests(SynchronousTestCase):
    """A master of two, on two addresses."""

    def setUp(self) -> None:
        """It has started its workers, which load."""
        self.started: list[Worker] = []
        patch = mock.patch("twisted_graceful.services.worker_group.WorkerHandle", self.make)
        patch.start()
        self.addCleanup(patch.stop)
        self.reactor = Reactor()
        self.statuses: list[int] = []
        server = new(["127.0.0.1:0", "localhost:0"], Resource(), reactor=self.reactor)
        launch: Any = Launch()
        self.master = serving(
            server,
            workers=2,
            reactor=self.reactor,
            launch=launch,
            upgradable=True,
            exit_with=self.statuses.append,
        )
        assert self.master.pool is not None
        self.group = self.master.pool
        self.listening = server.listening
        self.addCleanup(lambda: self.listening.close())
        self.master.startService()
        self.first, *self.others = self.listening.listeners_in_use

    def make(self, reactor: Any, number: int, *rest: Any) -> Worker:
        """A worker, in the place of a real one."""
        self.started.append(Worker(number, rest[-1]))
        return self.started[-1]

    def ready(self, number: int) -> None:
        """A worker can serve."""
        worker: Any = self.started[number]
        worker.is_ready = True
        self.group._pool.worker_ready(worker)

    def serve(self) -> None:
        """Both can."""
        self.ready(0)
        self.ready(1)

    def handed(self, listener: Listener) -> HandedConnection:
        """A connection that came in there."""
        descriptor = os.open(os.devnull, os.O_RDONLY)
        return HandedConnection(descriptor, listener.addresses[0], "{}", b"")

    def test_load(self) -> None:
        """It serves when all workers are ready, and each inherits all listeners."""
        listeners = self.listening.listeners_in_use
        self.assertEqual([each.listeners for each in self.started], [listeners, listeners])
        self.ready(0)
        self.assertFalse(self.master.is_accepting())
        self.ready(1)
        self.assertTrue(self.master.is_accepting())
        self.assertTrue(self.master.is_ready)
        self.assertEqual([each.told for each in self.started], [["accept"], ["accept"]])

    def test_counts(self) -> None:
        """The workers share how many they shall be, and whether one of them is no more."""
        self.serve()
        one, other = (each.counts for each in self.started)
        one.note(1, 5)
        other.note(2, 7)
        self.assertEqual((one.size, other.fewest), (2, 5))
        self.group._pool.worker_ended(cast(Any, self.started[0]), "it fell", "")
        self.assertEqual(other.fewest, 7)
        self.group.resize(-1)
        self.assertIsNone(other.fewest)

    def test_the_place_of_one_that_leaves(self) -> None:
        """What the next one of a place has stays when the last one ends."""
        self.serve()
        self.started[0].phase = WorkerPhase.LEAVING
        self.started[0].counts.note(1, 5)
        self.group._pool.worker_ended(cast(Any, self.started[0]), "it left", "")
        self.assertEqual(self.started[0].counts.fewest, 5)

    def test_it_accepts_nothing_itself(self) -> None:
        """The sockets are there, and no port reads from them."""
        self.serve()
        self.assertFalse(self.listening.is_accepting)

    def test_a_connection_that_passes_through(self) -> None:
        """One goes to the worker with the fewest; one of another listener is refused."""
        self.serve()
        self.started[0].connections = 5
        handed = self.handed(self.first)
        self.addCleanup(os.close, handed.descriptor)
        self.assertTrue(self.master.process.can_take_up(handed))
        self.master.process.take_up(handed)
        self.reactor.advance(0)
        self.assertEqual([len(each.carrier.sent) for each in self.started], [0, 1])
        elsewhere = HandedConnection(handed.descriptor, "127.0.0.1:1", "{}", b"")
        self.assertFalse(self.master.process.can_take_up(elsewhere))

    def test_hand_over(self) -> None:
        """All workers drain, and what they let go goes to the successor."""
        self.serve()
        successor = FakeRoute()
        drained = self.master.process.hand_over(successor)
        self.assertEqual([each.told[-1] for each in self.started], ["drain", "drain"])
        self.assertFalse(self.master.is_ready)
        handed = self.handed(self.first)
        self.addCleanup(os.close, handed.descriptor)
        self.master.process.take_up(handed)
        self.reactor.advance(0)
        self.assertEqual(len(successor.sent), 1)
        self.assertNoResult(drained)
        for worker in self.started:
            worker.drained.callback(None)
        self.successResultOf(drained)

    def test_removed_listeners(self) -> None:
        """They are closed here and by the workers, who keep their connections."""
        self.serve()
        stays = self.handed(self.first)
        goes = self.handed(self.others[0])
        for handed in (stays, goes):
            self.addCleanup(os.close, handed.descriptor)
        self.master.process.hand_over(FakeRoute(), self.others)
        self.assertEqual([each.removed for each in self.started], [self.others, self.others])
        self.assertEqual(self.listening.listeners_in_use, [self.first])
        self.assertTrue(self.master.process.can_take_up(stays))
        self.assertFalse(self.master.process.can_take_up(goes))

    def test_removed_listeners_come_back(self) -> None:
        """When it serves again, the log names it, and the next worker that starts has it."""
        self.serve()
        self.master.process.hand_over(FakeRoute(), self.others)
        with capturedLogs() as events:
            self.master.process.accept()
        [told] = [text for event in events if "Closed for" in (text := formatEvent(event))]
        self.assertIn("localhost:0. HUP", told)
        self.assertEqual(self.listening.listeners_in_use, [self.first])
        self.master.reload()
        self.assertEqual(len(self.listening.listeners_in_use), 2)
        self.assertEqual(self.started[2].listeners, self.listening.listeners_in_use)

    def test_resume(self) -> None:
        """All workers accept again, and get the connections again."""
        self.serve()
        self.master.process.hand_over(FakeRoute())
        self.master.process.accept()
        self.assertTrue(self.master.is_ready)
        self.assertEqual([each.told[-1] for each in self.started], ["accept", "accept"])

    def test_roll(self) -> None:
        """A worker is started in the place of the first."""
        self.serve()
        self.master.reload()
        self.assertEqual([each.number for each in self.started], [1, 2, 1])

    def test_no_roll_in_a_stop(self) -> None:
        """A reload that comes in a stop is refused as an upgrade is, and starts no worker."""
        self.serve()
        self.master.stopService()
        self.assertFalse(self.master.reloads_workers)
        with capturedLogs() as events:
            self.master.reload()
        self.assertIn("this process is stopping", " ".join(map(formatEvent, events)))  # type: ignore[arg-type]
        self.assertEqual(len(self.started), 2)

    def test_steps_of_a_roll(self) -> None:
        """Whoever watches is told of each; a reload is a roll."""
        told: list[RollingRestartProgress] = []
        self.patch(self.master.watcher, "rolling_restart_progress", told.append)
        self.serve()
        self.assertTrue(self.master.reloads_workers)
        self.master.reload()
        self.ready(2)
        self.assertEqual([(each.replaced, each.wanted) for each in told], [(0, 2), (1, 2)])

    def test_resize(self) -> None:
        """One more is started, and one fewer ends the last."""
        self.serve()
        self.group.resize(+1)
        self.assertEqual((self.group.size, len(self.started)), (3, 3))
        self.ready(2)
        self.group.resize(-1)
        self.assertEqual(self.group.size, 2)
        self.assertEqual(self.started[2].told, ["accept", "move out"])

    def stop(self, *reports: str) -> DrainReport:
        """The service is stopped, and the workers end after these reports."""
        self.serve()
        stopped = self.master.stopService()
        self.assertNoResult(stopped)
        for worker, report in zip(list(self.started), reports, strict=True):
            self.assertEqual(worker.told, ["accept", "leave"])
            worker.report = report
            ended: Any = worker
            self.group._pool.worker_ended(ended, "it exited with status 0", "")
        return self.successResultOf(stopped)

    def test_drain(self) -> None:
        """It has drained when all workers have, and its report is the sum of theirs."""
        self.assertEqual(self.stop('{"answered": 3}', '{"answered": 4}').answered, 7)
        self.assertEqual(self.statuses, [])
        self.assertEqual(self.listening.sockets, [])

    def test_drain_of_one_that_says_nothing(self) -> None:
        """A worker that is killed meanwhile makes the exit status 1, as its requests are lost."""
        self.assertEqual(self.stop('{"answered": 3}', "").answered, 3)
        self.assertEqual(self.statuses, [1])

    def test_cut(self) -> None:
        """Workers that leave are told to do so at once."""
        self.serve()
        self.master.stopService()
        self.master.process.cut()
        self.assertEqual([each.told[-1] for each in self.started], ["cut", "cut"])


class NobodyStartsThemTests(SynchronousTestCase):
    """A server that is to have workers, where nobody would start any."""

    def server(self) -> Server:
        """One that is to have two."""
        return new("127.0.0.1:0", Resource(), workers=2, reactor=Reactor())

    def test_a_service_of_one_process(self) -> None:
        """It does not take the server, and says who starts workers."""
        for take in (
            lambda server: server.setServiceParent(GracefulService(reactor=Reactor())),
            lambda server: server.startService(),
        ):
            with self.subTest(take=take):
                error = self.assertRaises(SettingsError, take, self.server())
                self.assertIn("workers: 2 is not accepted", str(error))
                self.assertIn("serving(..., workers=2)", str(error))

    def test_serving(self) -> None:
        """It starts as many workers as its caller says, else as many as the server is to have."""
        for given, workers in (({}, 2), ({"workers": 3}, 3), ({"workers": 0}, 0)):
            with self.subTest(given=given):
                master = serving(self.server(), reactor=Reactor(), **given)
                self.assertEqual(master.pool.size if master.pool else 0, workers)
