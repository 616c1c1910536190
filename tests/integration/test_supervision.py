"""Workers that crash, hang, have answered enough or are too large; and how they are told apart."""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path

from ..case import SynchronousTestCase
from .admin import ADMIN, Admin
from .harness import served
from .load import Load
from .waiting import until
from .workers import BROKEN, with_workers, workers

ENDED = r"Worker \d \(pid {}\) has ended: "


class FaultTests(SynchronousTestCase):
    """What a worker does wrong."""

    def test_a_crash_loop(self) -> None:
        """Code that cannot be loaded is started ever later, until it can; the others serve."""
        with with_workers() as server:
            victim = min(workers(server))
            server.write("app.py", BROKEN)
            server.kill(signal.SIGKILL, victim)
            delays = ["at once", "in 0.25 seconds", "in 0.5 seconds", "in 1 seconds"]
            for delay in delays:
                server.said(rf"has ended: .* It is started again {re.escape(delay)}")
            self.assertEqual(server.get().body, "1")
            found = re.findall("It is started again (.*)", server.log)
            self.assertEqual(found[: len(delays)], delays)
            self.assertIn("the new code is broken", server.log)
            server.deploy("2")
            workers(server)

    def test_a_hang(self) -> None:
        """A worker that is blocked is ended, the log says where it was, and another one serves."""
        with with_workers("--worker-timeout", "3") as server:
            before = workers(server)
            server.connect().get("/block")
            server.said(ENDED.format(r"\d+") + "its reactor stood still for 3 seconds")
            server.said(r"in do_block")
            self.assertEqual(len(workers(server) & before), 1)
            self.assertEqual(server.log.count("stood still"), 1)

    def test_a_worker_that_was_stopped(self) -> None:
        """One that does not even run leaves its stack when it is ended, too."""
        with with_workers("--worker-timeout", "1") as server:
            before = workers(server)
            server.kill(signal.SIGSTOP, min(before))
            server.said(ENDED.format(min(before)) + "its reactor stood still for 1 seconds")
            server.said("(?s)Fatal Python error: Aborted.* in doPoll")
            self.assertEqual(workers(server) & before, before - {min(before)})

    def test_garbage_for_the_master(self) -> None:
        """A worker that writes into its control channel drains, and another takes its place."""
        with with_workers() as server:
            before = workers(server)
            culprit = int(server.get("/garbage").body)
            server.said(rf"\(pid {culprit}\) was sent SIGTERM: it broke the control channel")
            server.said("Drained: ")
            server.ended(culprit)
            self.assertEqual(workers(server) & before, before - {culprit})

    def test_a_hang_of_all(self) -> None:
        """When all are blocked, who waits in the kernel's queue is answered by the next ones."""
        with with_workers("--worker-timeout", "3", count=1) as server:
            workers(server, 1)
            server.connect().get("/block")
            server.wait_for("blocked")
            self.assertEqual(server.get().body, "1")

    def test_a_fault(self) -> None:
        """A worker that a fault ends leaves its stack in the log."""
        with with_workers() as server:
            workers(server)
            server.connect().get("/fault")
            server.said(ENDED.format(r"\d+") + "it was killed by SIGSEGV .* It is started again at")
            server.said(r"(?s)Fatal Python error: Segmentation fault.* in do_fault")
            workers(server)

    def test_a_master_that_was_suspended(self) -> None:
        """A master that was stopped for longer than the timeout does not take that for theirs."""
        with with_workers("--worker-timeout", "1") as server:
            before = workers(server)
            server.kill(signal.SIGSTOP)
            answered = 0

            def long_enough() -> bool:
                nonlocal answered
                answered += bool(server.get("/pause").body)
                return answered == 25

            until(long_enough, "more than a second has gone by")
            server.kill(signal.SIGCONT)
            server.kill(signal.SIGTTIN)
            server.said("Workers wanted: 3, not 2")
            self.assertLessEqual(before, workers(server, 3))


class RetirementTests(SynchronousTestCase):
    """What is replaced in good order, unseen by clients."""

    def test_max_requests(self) -> None:
        """Under load each worker is replaced after its number of requests, and none fails."""
        with with_workers("--max-requests", "200", "--max-requests-jitter", "50") as server:
            workers(server)
            with Load(f"http://127.0.0.1:{server.ports[0]}/") as load:
                server.said("is to be replaced: it has answered \\d+ requests", 3)
                server.said("Drained: ", 2)
            self.assertEqual(load.summary.errors, ())

    def test_max_requests_of_a_single_process(self) -> None:
        """Without workers it is an upgrade, and none fails."""
        with served("--max-requests", "200") as server:
            server.serving(0)
            with Load(f"http://127.0.0.1:{server.ports[0]}/") as load:
                server.said("is to be replaced: it has answered")
                server.serving(1)
                server.said("generation 0 .* ends; generation 1 serves")
            self.assertEqual(load.summary.errors, ())

    def test_max_rss(self) -> None:
        """A worker that has grown too large is replaced, and the others stay."""
        with with_workers("--max-rss", "300MiB") as server:
            before = workers(server)
            grown = int(server.get("/grow/300").body)
            server.said(rf"\(pid {grown}\) is to be replaced: it has .* and may have 300.0 MiB")
            server.ended(grown)
            self.assertEqual(workers(server) & before, before - {grown})


class NameTests(SynchronousTestCase):
    """Who is who."""

    def test_lines_of_the_log(self) -> None:
        """Each line of the log says from which process it is."""
        with with_workers() as server:
            workers(server)
            server.upgrade(signal.SIGUSR2)
            workers(server)
            events = re.findall(r"^\d{4}-\S+ \[(.*?)\S+\] ", server.log, re.MULTILINE)
            processes = ("", "worker 1 ", "worker 2 ")
            self.assertEqual(set(events), {f"gen {g} {w}" for g in (0, 1) for w in processes})

    def test_titles(self) -> None:
        """The list of processes says what each of them is."""
        with with_workers() as server:
            pids = workers(server)
            titles = {pid: self.title(pid) for pid in pids}
            self.assertEqual(
                sorted(titles.values()),
                [f"twisted-graceful: worker {n}, generation 0 [app.resource]" for n in (1, 2)],
            )
            master = "twisted-graceful: master, generation 0 [app.resource]"
            self.assertEqual(self.title(server.pid), master)

    def title(self, pid: int) -> str:
        """What ps(1) shows of a process."""
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()


class NumberTests(SynchronousTestCase):
    """What the master knows of its workers."""

    def test_the_admin_endpoints_have_the_sums(self) -> None:
        """They count what all workers answer, and do not forget what one did that was killed."""
        with with_workers(*ADMIN) as server:
            pids = workers(server)
            admin = Admin(server)
            before = admin.status()["counters"].get("requests,GET,2xx", 0)
            for _ in range(10):
                server.get()

            def counted() -> bool:
                return bool(admin.status()["counters"].get("requests,GET,2xx", 0) >= before + 10)

            until(counted, "all are counted")
            server.kill(signal.SIGKILL, min(pids))
            server.said("has ended: it was killed by SIGKILL")
            self.assertTrue(counted())
            requests = "graceful_http_requests_total{method=GET,status_class=2xx}"
            self.assertGreaterEqual(admin.metrics()[requests], 10)
            self.assertEqual(admin.metrics()["graceful_worker_restarts_total{}"], 1)
            checks = json.loads(admin.get("/readyz")[1])["checks"]
            self.assertEqual(set(checks.values()), {"ready"})
            workers(server)  # another one has taken its place
            holder = server.hold()
            until(lambda: admin.status()["gauges"]["in_flight"] == 1, "it is in flight")
            [generation] = admin.status()["generations"]
            self.assertEqual([each["number"] for each in generation["workers"]], [1, 2])
            self.assertEqual({each["state"] for each in generation["workers"]}, {"serving"})
            self.assertEqual(sum(each["restarts"] for each in generation["workers"]), 1)
            self.assertTrue(all(each["rss"] > 0 for each in generation["workers"]))
            self.assertEqual([each["in_flight"] for each in generation["workers"]].count(1), 1)
            [request] = generation["requests"]
            self.assertEqual((request["method"], request["path"]), ("GET", "/gate/held"))
            self.assertIn(request["worker"], (1, 2))
            server.open("held")
            holder.answer()

    def test_how_a_roll_goes(self) -> None:
        """/status says how many workers have the new code, and why no more of them."""
        with with_workers(*ADMIN) as server:
            pids = workers(server)
            admin = Admin(server)
            [generation] = admin.status()["generations"]
            self.assertIsNone(generation["rolling_restart"])
            self.assertEqual({each["pid"] for each in generation["workers"]}, pids)
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            [generation] = admin.status()["generations"]
            self.assertEqual(
                generation["rolling_restart"],
                {"replaced": 2, "wanted": 2, "is_over": True, "failure": ""},
            )
            self.assertEqual({each["code"] for each in generation["workers"]}, {1})
            server.write("app.py", "raise ValueError('a bad deploy')")
            server.kill(signal.SIGHUP)
            server.said("The workers are not replaced")
            [generation] = admin.status()["generations"]
            self.assertEqual(
                (
                    generation["rolling_restart"]["replaced"],
                    generation["rolling_restart"]["wanted"],
                ),
                (0, 2),
            )
            self.assertIn("exited with status 1", generation["rolling_restart"]["failure"])
            self.assertEqual({each["code"] for each in generation["workers"]}, {1})
