"""Workers: several processes that serve, below a master that nothing can take down."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
from statistics import median

from ..case import SynchronousTestCase
from . import proc
from .client import Client
from .harness import SERVED, Server
from .load import Load
from .waiting import Watch, until
from .workers import BROKEN, PROGRAM, with_workers, workers

TWO_ADDRESSES = PROGRAM.replace('"127.0.0.1:0"', '["127.0.0.1:0", "0.0.0.0:0"]').replace(
    "probation=0", "probation=30"
)


def polls(pid: int, inode: str) -> bool:
    """Whether a process waits for what comes to a socket, with epoll(7)."""
    descriptors = proc.PROC / str(pid) / "fd"
    waits, names = "", []
    for each in sorted(descriptors.glob("*"), key=lambda path: int(path.name)):
        with contextlib.suppress(OSError):  # it has ended, or closed this one meanwhile
            waits += (descriptors.parent / "fdinfo" / each.name).read_text()
            names += [each.name] if os.readlink(each) == f"socket:[{inode}]" else []
    return any(re.search(rf"^tfd: +{name} ", waits, re.MULTILINE) for name in names)


def idle_clients(server: Server, count: int) -> list[Client]:
    """Clients that each have been answered once, and stay connected."""
    clients = [server.connect() for _ in range(count)]
    for client in clients:
        client.ask("/")
    return clients


class ServingTests(SynchronousTestCase):
    """What several processes do together."""

    def test_all_serve_and_the_master_does_not(self) -> None:
        """Each worker answers, and the master never does."""
        with with_workers(count=3) as server:
            pids = workers(server, 3)
            self.assertNotIn(server.pid, pids)
            self.assertEqual(server.stop(), 0)
            server.said(r"\[gen 0 twisted.*Drained: .* answered")

    def test_what_cannot_be_loaded(self) -> None:
        """Where the application cannot be loaded the command ends with 1, and says why."""
        server = with_workers()
        server.write("app.py", BROKEN)
        with server:
            self.assertEqual(server.exit_status(), 1)
            self.assertIn("the new code is broken", server.log)

    def test_connections_are_shared(self) -> None:
        """Clients that come at once are served by all, and not by whoever wakes first."""
        with with_workers(count=4) as server:
            pids = workers(server, 4)
            most = []
            for _ in range(5):
                clients = [server.connect() for _ in range(64)]
                for client in clients:
                    client.get("/pid")
                seen = [int(client.answer().body) for client in clients]
                most.append(max(map(seen.count, pids)))
                for client in clients:
                    client.close()
            self.assertLess(median(most), 26, most)

    def test_a_program(self) -> None:
        """A program can have workers, too, which run it again."""
        server = Server(command=(sys.executable, "program.py"))
        server.write("program.py", PROGRAM)
        with server:
            before = workers(server)
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            self.assertEqual(server.get().body, "2")
            server.upgrade()
            self.assertFalse(workers(server) & before)
            self.assertEqual(server.stop(), 0)


class DeathTests(SynchronousTestCase):
    """Workers and masters that die."""

    def test_a_worker_that_dies_is_replaced(self) -> None:
        """After SIGKILL another one serves, and the log says what happened."""
        with with_workers() as server:
            before = workers(server)
            victim = min(before)
            server.kill(signal.SIGKILL, victim)
            server.said(rf"Worker \d \(pid {victim}\) has ended: it was killed by SIGKILL")
            until(lambda: victim not in proc.children(server.pid), "it is reaped")
            self.assertEqual(len(workers(server) & before), 1)

    def test_queued_connections_survive_all_workers(self) -> None:
        """Who waits in the kernel's queue while every worker is killed is answered by the next."""
        with with_workers() as server:
            pids = workers(server)
            for pid in pids:
                server.kill(signal.SIGSTOP, pid)
            clients = [server.connect() for _ in range(20)]
            for client in clients:
                client.get("/")
            for pid in pids:
                server.kill(signal.SIGKILL, pid)
            self.assertEqual({client.answer().body for client in clients}, {"1"})

    def test_only_the_victims_clients_notice(self) -> None:
        """Whichever worker is killed, its own clients notice, those of the others do not, and
        who connects is served."""
        with with_workers() as server:
            for kills_its_own in (True, False, True, False):
                pids = workers(server)
                holder = server.connect()
                its_own = int(holder.ask("/pid").body)
                [other] = pids - {its_own}
                server.kill(signal.SIGKILL, its_own if kills_its_own else other)
                self.assertEqual(server.get("/").body, "1")
                if kills_its_own:
                    self.assertRaises(ConnectionError, holder.ask, "/pid")
                else:
                    self.assertEqual(holder.ask("/pid").body, str(its_own))

    def test_the_file_of_a_unix_socket(self) -> None:
        """It stays, whatever workers come and go, and goes with the master."""
        with with_workers("--port", "unix:app.sock") as server:
            before = workers(server)
            path = server.directory / "app.sock"
            server.kill(signal.SIGTERM, min(before))
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            self.assertEqual(server.get("/", str(path)).body, "1")
            server.upgrade()
            self.assertEqual(server.get("/", str(path)).body, "1")
            server.stop()
            self.assertFalse(path.exists())

    def test_the_workers_of_a_dead_master_drain_and_end(self) -> None:
        """What was begun is answered, and then nobody is left."""
        with with_workers() as server:
            workers(server)
            holder = server.hold()
            server.kill(signal.SIGKILL)
            server.wait_for("held.draining")
            server.open("held")
            self.assertEqual(holder.answer().body, "1")
            until(lambda: not server.family(), "all workers have ended")

    def test_a_new_start_need_not_wait_for_the_workers_of_a_dead_master(self) -> None:
        """They accept no more, though a stop is to be announced first, or that is going on."""
        for stops in (False, True):
            with self.subTest(stops=stops), with_workers("--shutdown-delay", "60") as server:
                workers(server)
                holder = server.hold()
                if stops:
                    server.kill(signal.SIGTERM)
                    server.said("it accepts for another 60 seconds", 2)
                server.kill(signal.SIGKILL)
                until(server.refuses, "who connects is refused")
                server.open("held")
                self.assertEqual(holder.answer().body, "1")
                until(lambda: not server.family(), "all workers have ended")


class StopTests(SynchronousTestCase):
    """The end of all of them."""

    def drains(self, server: Server, stop: signal.Signals, *, group: bool = False) -> None:
        """What was begun is answered, and the exit status is 0."""
        workers(server)
        holder = server.hold()
        if group:
            os.killpg(server.pid, stop)
        else:
            server.kill(stop)
        server.wait_for("held.draining")
        until(server.refuses, "nobody is accepted any more")
        server.open("held")
        self.assertEqual(holder.answer().body, "1")
        holder.close()
        self.assertEqual(server.exit_status(), 0)
        self.assertEqual(server.family(), [])

    def test_term(self) -> None:
        """TERM drains all workers, and then the master ends."""
        with with_workers() as server:
            self.drains(server, signal.SIGTERM)

    def test_ctrl_c(self) -> None:
        """INT to the whole group, as a terminal sends it, is one wish to stop, not one of each."""
        with with_workers() as server:
            self.drains(server, signal.SIGINT, group=True)

    def test_term_to_all(self) -> None:
        """So is TERM to every process, which systemd sends."""
        with with_workers() as server:
            self.drains(server, signal.SIGTERM, group=True)

    def test_cut(self) -> None:
        """When the deadline of a worker cuts a request, the master says so and ends with 1."""
        with with_workers("--drain-timeout", "0.3") as server:
            server.hold()
            self.assertEqual(server.stop(), 1)
            server.said(r"\[gen 0 twisted.*Drained: .*1 cut.*GET /gate/held")

    def test_at_once(self) -> None:
        """A second TERM waits for nothing."""
        with with_workers() as server:
            server.begin_drain()
            server.kill(signal.SIGTERM)
            self.assertEqual(server.exit_status(), 1)
            self.assertEqual(server.family(), [])

    def test_one_worker(self) -> None:
        """A worker that gets a TERM drains, and another one takes its place meanwhile."""
        with with_workers() as server:
            before = workers(server)
            holder = server.hold()
            server.kill(signal.SIGUSR2, min(before))
            server.said("Signal the master")
            for pid in before:
                server.kill(signal.SIGTERM, pid)
            server.said("was told to stop", 2)
            server.said("Worker . of generation 0 serves", 4)
            self.assertEqual(server.get().body, "1")
            server.open("held")
            self.assertEqual(holder.answer().body, "1")
            self.assertEqual(len(workers(server) & before), 0)


class NewCodeTests(SynchronousTestCase):
    """New code, below the same master or a new one."""

    def nothing_is_lost(self, number: signal.Signals) -> None:
        """Clients that work or rest stay connected to the new code."""
        with with_workers() as server:
            before = workers(server)
            clients = idle_clients(server, 40)
            with Load(f"http://127.0.0.1:{server.ports[0]}/") as load:
                server.deploy("2")
                if number == signal.SIGHUP:
                    server.kill(number)
                    server.said("All workers have been replaced")
                else:
                    server.upgrade(number)
            self.assertEqual(load.summary.errors, ())
            self.assertGreater(load.summary.requests, 0)
            self.assertEqual({client.ask("/").body for client in clients}, {"2"})
            self.assertFalse(workers(server) & before)
            self.assertEqual(server.stop(), 0)

    def test_hup(self) -> None:
        """HUP replaces the workers, and no connection is closed."""
        self.nothing_is_lost(signal.SIGHUP)

    def test_usr2(self) -> None:
        """USR2 replaces the master too, and no connection is closed."""
        self.nothing_is_lost(signal.SIGUSR2)

    def test_an_old_worker_that_stands_still(self) -> None:
        """It holds the roll up until its deadlines are over; then it is ended, with its stack."""
        with with_workers("--drain-timeout", "0.1") as server:
            stuck = min(workers(server))
            server.kill(signal.SIGSTOP, stuck)
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said(
                rf"\(pid {stuck}\) has ended: it did not end within 5.2 seconds when it was"
            )
            server.said("(?s)Fatal Python error: Aborted.* in doPoll")
            server.said("All workers have been replaced")
            self.assertEqual(server.get().body, "2")

    def test_never_fewer(self) -> None:
        """In a roll as many workers as are wanted have the listener open at any time."""
        with with_workers() as server:
            workers(server)
            port = server.ports[0]
            [inode] = {each for number, each in proc.listening_sockets() if number == port}

            def accept() -> str:
                there = [pid for pid in proc.children(server.launched) if polls(pid, inode)]
                return "" if len(there) >= 2 else f"{there} accept"

            with Watch(accept) as watch:
                for count in (1, 2):
                    server.kill(signal.SIGHUP)
                    server.said("All workers have been replaced", count)
            self.assertEqual(watch.wrong, [])
            self.assertGreater(watch.looks, 10)

    def test_canary(self) -> None:
        """The first new worker that fails ends a HUP: the old ones stay, and the log says so."""
        with with_workers() as server:
            before = workers(server)
            server.write("app.py", BROKEN)
            server.kill(signal.SIGHUP)
            server.said("The workers are not replaced: worker 1: .*")
            self.assertIn("the new code is broken", server.log)
            self.assertEqual(workers(server), before)
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            self.assertEqual(server.get().body, "2")

    def test_again_meanwhile(self) -> None:
        """HUPs that come meanwhile are one more: the newest code ends up serving."""
        with with_workers() as server:
            workers(server)
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said("Replacing 2 workers")
            server.deploy("3")
            server.kill(signal.SIGHUP)
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced", 2)
            self.assertEqual(server.get().body, "3")

    def test_a_bad_upgrade(self) -> None:
        """A new master whose workers fail leaves the old tree serving."""
        with with_workers() as server:
            before = workers(server)
            server.write("app.py", BROKEN)
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1: worker .*")
            server.write("app.py", SERVED.read_text())
            self.assertEqual(workers(server), before)

    def test_rollback(self) -> None:
        """A new master that dies in the probation leaves the old workers, which serve again."""
        with with_workers("--probation", "30") as server:
            before = workers(server)
            clients = idle_clients(server, 4)
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            new = server.serving(1)
            server.said("Upgrade: generation 0 has drained")
            self.assertEqual({client.ask("/").body for client in clients}, {"2"})
            server.kill(signal.SIGKILL, new)
            server.said("accepts again, with the code from before the upgrade")
            self.assertEqual(workers(server), before)
            self.assertEqual(server.get().body, "1")


class AddressTests(SynchronousTestCase):
    """New code that has an address less."""

    def setUp(self) -> None:
        """The old code has two."""
        self.server = Server(command=(sys.executable, "program.py"))
        self.server.write("program.py", TWO_ADDRESSES)

    def upgrade(self) -> tuple[int, Client]:
        """Upgrade, with one address less; the new master, and a client that has been there."""
        server = self.server
        self.gone = int(server.said(r"Listening on .*http://0.0.0.0:(\d+)")[1])
        server.said(r"Worker \d of generation 0 serves", 2)
        client = server.connect(self.gone)
        client.ask("/")
        server.write("program.py", TWO_ADDRESSES.replace(', "0.0.0.0:0"', ""))
        server.kill(signal.SIGUSR2)
        return server.serving(1), client

    def is_refused(self) -> bool:
        """Whether nobody is accepted there."""
        try:
            self.server.connect(self.gone).close()
        except ConnectionRefusedError:
            return True
        return False

    def test_what_is_gone(self) -> None:
        """Nobody waits there for a process that stands by, and who was there is told to go."""
        with self.server:
            _, client = self.upgrade()
            # The new master says that it serves before the old workers have heard of it.
            until(lambda: client.ask("/").last, "the client is told to go")
            until(self.is_refused, "who connects is refused")

    def test_rollback(self) -> None:
        """Old workers that serve again do without it, and HUP brings it back."""
        with self.server as server:
            new, _ = self.upgrade()
            until(self.is_refused, "who connects is refused")
            server.write("program.py", TWO_ADDRESSES)
            server.kill(signal.SIGKILL, new)
            server.said(r"Closed for the successor that has ended, and not served: 0\.0\.0\.0:0")
            self.assertEqual(server.get().body, "1")
            server.kill(signal.SIGHUP)
            server.said("serves the new code, on probation")
            self.assertEqual(server.get(port=self.gone).body, "1")


class SizeTests(SynchronousTestCase):
    """More of them, or fewer."""

    def test_ttin_and_ttou(self) -> None:
        """TTIN starts one more, TTOU ends one, but never the last."""
        with with_workers() as server:
            before = workers(server)
            server.kill(signal.SIGTTIN)
            self.assertLess(before, workers(server, 3))
            for count in (2, 1, 1):
                server.kill(signal.SIGTTOU)
                self.assertEqual(len(workers(server, count)), count)
