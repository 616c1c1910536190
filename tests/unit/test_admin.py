"""The admin endpoints: who may ask, and what is answered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from twisted_graceful import AdminError, GracefulService, new
from twisted_graceful.admin import admin_site as resources
from twisted_graceful.admin.admin_server import AdminServer
from twisted_graceful.admin.admin_site import FollowedAction, Root
from twisted_graceful.admin.guard import RequestSource, why_refused
from twisted_graceful.admin.history import SECONDS, History, quantile
from twisted_graceful.admin.metrics import exposition
from twisted_graceful.admin.overview import Event, Overview
from twisted_graceful.admin.page import page
from twisted_graceful.admin.worker_totals import WorkerTotals
from twisted_graceful.event_names import EventName
from twisted_graceful.http.log.access_log import PartialRequest
from twisted_graceful.http.log.drain_report import Outcome
from twisted_graceful.http.log.request_metrics import RequestMetrics, TeeRequestLog
from twisted_graceful.networks import Networks
from twisted_graceful.process.host.process_status import Status
from twisted_graceful.process.upgrade.upgrade_events import (
    RollingRestartProgress,
    UpgradeProgress,
)
from twisted_graceful.services.worker_group import WorkerSummary
from twisted_graceful.testing.memory import MemoryServer

from ..case import SynchronousTestCase

NOBODY = Networks.parse("")


class GuardTests(SynchronousTestCase):
    """Who may ask."""

    def refused(self, **asked: str | None) -> str:
        """Why a question is refused that is all right but for this."""
        facts = {"client": "127.0.0.1", "host": "127.0.0.1:9000", **asked}
        return why_refused(
            RequestSource(**facts), Networks.parse("10.0.0.0/8"), {"App", ".Example.COM"}
        )  # type: ignore[arg-type]

    def test_who_may(self) -> None:
        """This machine and allowed networks may, under the names that we go by."""
        self.assertEqual(self.refused(), "")
        self.assertEqual(self.refused(client="10.1.2.3"), "")
        self.assertEqual(self.refused(client="::1", host="[::1]:9000"), "")
        self.assertEqual(self.refused(client=None, host="localhost"), "")
        for host in ("app:9000", "App:9000"):  # RFC 9110 section 4.2.3
            with self.subTest(host=host):
                self.assertEqual(self.refused(host=host), "")

    def test_domains(self) -> None:
        """A name with a dot before it stands for a domain, and all below it; not for a namesake."""
        for host in ("example.com", "a.example.com", "A.b.Example.com:9000"):
            with self.subTest(host=host):
                self.assertEqual(self.refused(host=host), "")
        for host in ("evilexample.com", "example.com.evil.example", ".com", "com", "a.app"):
            with self.subTest(host=host):
                self.assertIn("Host", self.refused(host=host))

    def test_addresses(self) -> None:
        """An address, even that of a port that leads to ours, is no name that could be rebound."""
        for host in ("192.0.2.1", "10.0.0.5:9000", "[2001:db8::1]:9000"):
            with self.subTest(host=host):
                self.assertEqual(self.refused(host=host), "")
        for host in ("1", "127.1", "0x7f.0.0.1", "127.0.0.1.", "[evil.example]", "[", "[]"):
            with self.subTest(host=host):
                self.assertIn("--admin-host", self.refused(host=host))

    def test_other_machines(self) -> None:
        """Whoever is not allowed is refused."""
        self.assertIn("--admin-allow", self.refused(client="192.0.2.1"))

    def test_rebound_names(self) -> None:
        """A name of somebody else that leads to our address does not help."""
        for host in (
            "evil.example",
            "evil.example:9000",
            "127.0.0.1.evil.example",
            "",
            "localhost.",
        ):
            with self.subTest(host=host):
                self.assertIn("Host", self.refused(host=host))
        self.assertIn("Host", self.refused(client=None, host="evil.example"))

    def test_other_origins(self) -> None:
        """A page of another origin is refused, and so is one without any."""
        self.assertEqual(self.refused(origin="http://127.0.0.1:9000"), "")
        for origin in ("http://evil.example", "null", "http://127.0.0.1:8080", "https://127.0.0.1"):
            with self.subTest(origin=origin):
                self.assertIn("origin", self.refused(origin=origin))

    def test_other_sites(self) -> None:
        """What a browser has been led to by another site is refused; who typed it is not."""
        for site in ("same-origin", "none"):
            with self.subTest(site=site):
                self.assertEqual(self.refused(fetch_site=site), "")
        for site in ("cross-site", "same-site"):
            with self.subTest(site=site):
                self.assertIn("site", self.refused(fetch_site=site))


class MeterTests(SynchronousTestCase):
    """What is counted of requests."""

    def test_a_request(self) -> None:
        """It is counted by method and status, with its time and its bytes."""
        clock = Clock()
        meter = RequestMetrics(clock)
        clock.advance(2)
        request = PartialRequest(IPv4Address("TCP", "127.0.0.1", 1), b"GET", b"/", b"HTTP/1.1")
        meter.write(request, 0.5, status=204, sent=7)
        meter.write(request, 2, Outcome.CUT, status=0, sent=0)
        self.assertEqual(
            {name: count for name, count in meter.counters.items() if count},
            {
                "requests,GET,none": 1,
                "requests,GET,2xx": 1,
                "unanswered,cut,none": 1,
                "seconds": 1.5,
                "sent": 7,
                "bucket,0.001": 1,
                "bucket,2.5": 1,
            },
        )

    def test_any_method_and_status(self) -> None:
        """What clients and applications invent takes no memory."""
        meter = RequestMetrics(Clock())
        for number in range(100):
            request = PartialRequest(IPv4Address("TCP", "127.0.0.1", 1), b"M%d" % number)
            meter.write(request, 0, status=number * 97, sent=0)
        requests = {name: it for name, it in meter.counters.items() if name.startswith("requests")}
        self.assertEqual({name.split(",")[1] for name in requests}, {"other"})
        self.assertEqual(sum(requests.values()), 100)

    def test_beside_a_log(self) -> None:
        """Both are told the same."""
        one, other = RequestMetrics(Clock()), RequestMetrics(Clock())
        request = PartialRequest(IPv4Address("TCP", "127.0.0.1", 1), b"GET")
        TeeRequestLog(one, other).write(request, 0, status=200, sent=3)
        self.assertEqual(one.counters["requests,GET,2xx"], 1)
        self.assertEqual(other.counters, one.counters)


class Admin(SynchronousTestCase):
    """What the tests of the resources share: a service that has not been started."""

    def setUp(self) -> None:
        """Make it."""
        self.clock = Clock()
        self.app = new("127.0.0.1:0", Resource(), reactor=self.clock)
        self.service = GracefulService(self.app, reactor=self.clock)
        self.overview = Overview(self.service, self.clock)
        self.server = MemoryServer(Root(self.overview, allowed=NOBODY))

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        """Status and body of an answer."""
        fields = {"Host": "localhost", **headers}
        answer = self.server.request(method, path, headers=fields)
        return answer.status, answer.body.decode()


class EndpointTests(Admin):
    """What is answered."""

    def test_alive(self) -> None:
        """Who answers is alive."""
        self.assertEqual(self.ask("/healthz"), (200, "alive\n"))

    def test_not_ready(self) -> None:
        """Before anything is served the answer is 503, and says what is missing."""
        status, body = self.ask("/readyz")
        self.assertEqual(status, 503)
        self.assertEqual(json.loads(body), {"ready": False, "checks": {"127.0.0.1:0": "not ready"}})

    def test_unknown(self) -> None:
        """Other paths are not found."""
        for path in ("/nothing", "/status/", "/status/more"):
            with self.subTest(path=path):
                self.assertEqual(self.ask(path)[0], 404)

    def test_refused(self) -> None:
        """A refusal is made for any path and method."""
        for path in ("/", "/status", "/metrics", "/nothing", "/page.js"):
            for method in ("GET", "POST", "OPTIONS"):
                with self.subTest(path=path, method=method):
                    self.assertEqual(self.ask(path, method, Host="evil.example")[0], 403)

    def test_every_answer_is_guarded(self) -> None:
        """No answer may be framed, sniffed or stored, nor run what is not ours."""
        for path in ("/", "/status", "/nothing"):
            with self.subTest(path=path):
                answer = self.server.request("GET", path, headers={"Host": "localhost"})
                headers = answer.headers
                self.assertIn("default-src 'none'", headers["content-security-policy"])
                self.assertNotIn("unsafe", headers["content-security-policy"])
                self.assertEqual(headers["x-content-type-options"], "nosniff")
                self.assertEqual(headers["cache-control"], "no-store")

    def test_no_actions_over_tcp(self) -> None:
        """On TCP nothing can be changed."""
        for path in ("/upgrade", "/reload", "/stop", "/workers"):
            with self.subTest(path=path):
                status, body = self.ask(path, "POST", **{"Content-Type": "application/json"})
                self.assertEqual(status, 403)
                self.assertIn("UNIX socket", body)
                self.assertEqual(self.ask(path)[0], 200 if path == "/upgrade" else 405)

    def test_metrics(self) -> None:
        """The exposition has what was counted, here and by others."""
        self.overview.reported("predecessor", Status({"requests,GET,2xx": 5}).encode())
        _, text = self.ask("/metrics")
        self.assertIn('graceful_http_requests_total{method="GET",status_class="2xx"} 5.0', text)

    def test_numbers_of_other_versions(self) -> None:
        """Numbers that are not known, or have other labels, are left out."""
        status = Status({"requests,GET": 1, "new": 2, "requests,GET,2xx": 3})
        text = exposition(status, {})[0].decode()
        self.assertEqual(text.count("graceful_http_requests_total{"), 1)


class PageTests(SynchronousTestCase):
    """The page without JavaScript."""

    def test_what_clients_send_is_text(self) -> None:
        """Markup in paths, methods and names is shown, and is none."""
        evil = "<script>alert(1)</script>\"'&"
        text = page(
            {
                "version": evil,
                "ready": True,
                "generations": [
                    {
                        "generation": evil,
                        "state": evil,
                        "requests": [{"method": evil, "path": evil, "age": evil, "doing": evil}],
                    }
                ],
                "listeners": [{"bound": [evil]}],
                "counters": {evil: 1},
                "gauges": {},
            }
        )
        self.assertNotIn("<script>", text)
        self.assertIn("&lt;script&gt;alert(1)", text)


class HistoryTests(SynchronousTestCase):
    """The last minutes."""

    def test_rates(self) -> None:
        """A sample is the mean of three seconds; where nobody asked there is no latency."""
        history = History()
        for count in (6, 6, 6, 6):
            history.sample({"bucket,0.001": count})
        self.assertEqual([each.rate for each in history.samples], [6, 3, 2, 0])
        self.assertEqual(history.samples[-1].median, None)

    def test_quantiles(self) -> None:
        """They are taken from the buckets, in milliseconds; of what is beyond, the last bound."""
        buckets = [(0.001, 50.0), (0.01, 48.0), (float("inf"), 2.0)]
        self.assertEqual(quantile(0.5, buckets), 1)
        self.assertEqual(quantile(0.74, buckets), 5.5)
        self.assertEqual(quantile(0.99, buckets), 10)
        self.assertEqual(quantile(0.5, [(1.0, 0.0)]), None)

    def test_marks(self) -> None:
        """A failed upgrade is marked in the second in which it was counted."""
        history = History()
        for failed in (0, 1, 1):
            history.sample({"upgrades,failed": failed})
        self.assertEqual(history.marks, [(1, "failed")])

    def test_a_successor_goes_on(self) -> None:
        """It has the samples of its predecessor, no jump after them, and a mark of its own."""
        history = History()
        told = [[5.0, 1.0, 2.0, ""], [4.0, None, None, "failed"], ["x"], None, [1, "a", 2, ""]]
        history.continue_from(told, 3)
        history.sample({"bucket,0.001": 1000})
        history.sample({"bucket,0.001": 1002})
        self.assertEqual([each.rate for each in history.samples], [5, 4, 2])
        self.assertEqual(history.marks, [(1, "failed"), (0, "generation 3")])

    def test_not_without_end(self) -> None:
        """What is older than the chart is forgotten."""
        history = History()
        for number in range(SECONDS + 10):
            history.sample({"upgrades,failed": min(number, 2)})
        self.assertEqual(len(history.samples), SECONDS)
        self.assertEqual(history.marks, [])


class OverviewTests(Admin):
    """What generations know of each other."""

    def test_counters_of_the_dead_stay(self) -> None:
        """A predecessor's counters stay in the sum, and its gauges go with it."""
        self.overview.reported("predecessor", Status({"sent": 5}, {"in_flight": 2}).encode())
        self.assertEqual(self.overview.total.gauges["in_flight"], 2)
        self.overview.generation_ended("predecessor")
        self.assertEqual(self.overview.total.counters["sent"], 5)
        self.assertEqual(self.overview.total.gauges["in_flight"], 0)

    def test_nobody_is_told_of_himself(self) -> None:
        """What one generation has told is in what others are told, and not in what it is told."""
        self.overview.reported("predecessor", Status({"sent": 5}).encode())
        for to, sent in (("predecessor", 0), ("successor", 5)):
            with self.subTest(to=to, sent=sent):
                self.assertEqual(Status.decode(self.overview.report(to)).counters["sent"], sent)

    def test_what_a_message_cannot_hold(self) -> None:
        """Of a report too long the words go first, and never the numbers."""
        self.overview.reported("predecessor", Status({"sent": 5}).encode())
        for length, left in ((10, {"upgrade", "history", "facts"}), (70_000, set())):
            with self.subTest(length=length, left=left):
                self.overview.last_upgrade = [{"event": "failed", "output": "x" * length}]
                report = self.overview.report("successor")
                self.assertLess(len(report), 65_535)
                self.assertEqual(Status.decode(report).counters["sent"], 5)
                self.assertEqual(set(json.loads(report)) - {"counters", "gauges"}, left)

    def test_a_drain(self) -> None:
        """It is counted once, with its length; one that was given up is not."""
        self.overview.serves()
        self.overview.drains()
        self.clock.advance(1)
        self.overview.serves()
        self.overview.drained()
        self.assertEqual(self.overview.own.counters["drains"], 0)
        self.overview.drains()
        self.clock.advance(2)
        self.overview.drains()  # a stop that comes meanwhile
        self.overview.drained()
        self.overview.drains()  # the end of the process
        self.overview.drained()
        counters = self.overview.own.counters
        self.assertEqual((counters["drains"], counters["drain_seconds"]), (1, 2))

    def test_no_drain_of_who_never_accepted(self) -> None:
        """A successor that does not get ready ends without anything to drain."""
        self.overview.drains()
        self.overview.drained()
        self.assertEqual(self.overview.own.counters["drains"], 0)

    def test_the_warm_up_of_workers(self) -> None:
        """What they ask for is passed on by a master that does not serve yet."""
        worker = WatchedProcess(1, 101)
        report = Status().encode({"facts": {"warm_up": "/a"}})
        self.overview.worker_reported(worker, report)
        self.assertEqual(self.overview.facts["warm_up"], "/a")
        self.overview.serves()
        self.assertIsNone(self.overview.facts["warm_up"])
        self.patch(GracefulService, "is_ready", True)
        self.overview.worker_reported(worker, report)  # one in the place of one that has died
        self.assertIsNone(self.overview.facts["warm_up"])

    def test_progress(self) -> None:
        """Who listens is told each step of an upgrade, and that the last one is the last."""
        events: list[Event] = []
        self.overview.add_observer(events.append)
        self.overview.progress(UpgradeProgress(EventName.STARTED, 1, 4711))
        for target in ("null", "null", '"/a"', '"/a"', '"/b"'):
            report = f'{{"facts": {{"generation": 1, "warm_up": {target}}}}}'
            self.overview.reported("successor", report)
        self.overview.progress(UpgradeProgress(EventName.READY, 1, 4711))
        self.overview.serves()
        self.overview.drains()
        self.clock.advance(2)
        self.overview.tick()
        self.overview.progress(UpgradeProgress(EventName.FAILED, 1, reason="it died", output="why"))
        names = [each.name for each in events]
        warm_up = ["warm-up", "warm-up"]
        self.assertEqual(names, ["started", "loading", *warm_up, "ready", "draining", "failed"])
        self.assertEqual(
            [each.facts for each in events[2:4]], [{"request": "GET /a"}, {"request": "GET /b"}]
        )
        self.assertEqual([each.is_last for each in events], [False] * 6 + [True])
        self.assertEqual(events[-1].facts["output"], "why")
        self.assertEqual(self.overview.total.counters["upgrades,failed"], 1)

    def test_a_roll(self) -> None:
        """So of a roll, of which no step is the last as long as another one follows."""
        overview = Overview(GracefulService(self.app, workers=2, reactor=self.clock), self.clock)
        events: list[Event] = []
        overview.add_observer(events.append)
        overview.progress(UpgradeProgress(EventName.STARTED, 1, 4711))
        overview.rolling_restart_progress(RollingRestartProgress(1, EventName.REPLACING, 0, 2))
        overview.rolling_restart_progress(RollingRestartProgress(2, EventName.QUEUED, 0, 2))
        overview.rolling_restart_progress(
            RollingRestartProgress(
                1, EventName.FAILED, 0, 2, "it died", "why", another_follows=True
            )
        )
        overview.rolling_restart_progress(RollingRestartProgress(2, EventName.REPLACING, 0, 2))
        overview.rolling_restart_progress(RollingRestartProgress(2, EventName.REPLACING, 2, 2))
        overview.rolling_restart_progress(RollingRestartProgress(2, EventName.DONE, 2, 2))
        self.assertEqual([each.is_last for each in events], [False] * 6 + [True])
        self.assertEqual(
            events[3].facts,
            {
                "rolling_restart": 1,
                "replaced": 0,
                "wanted": 2,
                "reason": "it died",
                "output": "why",
                "another_follows": True,
            },
        )
        names = [each["event"] for each in overview.last_upgrade]
        self.assertEqual(names, ["replacing", "replacing", "done"])
        overview.generation_ended("predecessor")
        self.assertEqual(len(overview.last_upgrade), 3)
        counters = overview.own.counters
        self.assertEqual((counters["rolls,done"], counters["rolls,failed"]), (1, 1))

    def told(
        self, is_roll: bool, *steps: UpgradeProgress | RollingRestartProgress
    ) -> list[tuple[str, bool]]:
        """What is answered to who asks for a roll or for an upgrade, and these steps follow."""
        overview = self.overview

        def begin() -> None:
            for step in steps:
                tell: Any = (
                    overview.rolling_restart_progress
                    if isinstance(step, RollingRestartProgress)
                    else overview.progress
                )
                tell(step)

        self.patch(resources, "why_action_refused", lambda request: "")
        action = FollowedAction(overview, begin, is_rolling=lambda: is_roll)
        answer = MemoryServer(action).request(
            "POST", "/", headers={"Host": "localhost", "Content-Type": "application/json"}
        )
        lines = map(json.loads, answer.body.decode().splitlines())
        return [(each["event"], "rolling_restart" in each) for each in lines]

    def test_who_asks_is_told_of_that(self) -> None:
        """An upgrade does not end with a roll, nor a roll with an upgrade that fails."""
        self.overview._counted |= {"rolls,done": 0, "rolls,failed": 0}
        started, failed = (
            UpgradeProgress(EventName.STARTED, 1, 11),
            UpgradeProgress(EventName.FAILED, 1),
        )
        ready = UpgradeProgress(EventName.READY, 1, 11)
        rolling, done = (
            RollingRestartProgress(1, EventName.REPLACING, 0, 2),
            RollingRestartProgress(1, EventName.DONE, 2, 2),
        )
        steps = [rolling, started, failed, done]
        self.assertEqual(self.told(True, *steps), [("replacing", True), ("done", True)])
        steps = [started, rolling, done, failed]
        self.assertEqual(self.told(False, *steps), [("started", False), ("failed", False)])
        # A new master that serves makes new workers below this one needless.
        steps = [rolling, started, ready]
        self.assertEqual(self.told(True, *steps), [("replacing", True), ("ready", False)])


@dataclass(frozen=True)
class WatchedProcess:
    """A worker, for those who are told of it."""

    number: int
    pid: int


class CrewTests(SynchronousTestCase):
    """What a master knows of its workers."""

    def setUp(self) -> None:
        """There are two."""
        self.clock = Clock()
        self.totals = WorkerTotals(self.clock)
        self.made = [WatchedProcess(1, 101), WatchedProcess(2, 102)]

    def report(self, age: float, **numbers: float) -> str:
        """What a worker tells of itself."""
        facts = {"requests": [{"method": "GET", "path": "/", "age": age}]}
        return Status(numbers, {"in_flight": 1, "connections,idle": 2, "rss": 7}).encode(
            {"facts": facts}
        )

    def test_a_worker(self) -> None:
        """What the master does with it is known at once, and its numbers when it has told them."""
        self.clock.advance(3)
        self.totals.reported(self.made[1], self.report(1, handed_over=4))
        workers = [
            WorkerSummary(each, each.number, each.pid, "starting", code=0, restarts=0, started=0)
            for each in self.made
        ]
        pool: Any = SimpleNamespace(size=2, workers=workers, last_rolling_restart=None)
        facts = self.totals.facts(pool)
        self.assertEqual(facts["workers_wanted"], 2)
        first, second = facts["workers"]
        self.assertEqual(
            second,
            {
                "number": 2,
                "pid": 102,
                "state": "starting",
                "code": 0,
                "restarts": 0,
                "uptime": 3,
                "connections": 2,
                "in_flight": 1,
                "rss": 7,
                "handed_over": 4,
            },
        )
        self.assertEqual((first["number"], first["connections"]), (1, 0))
        [request] = self.totals.requests
        self.assertEqual((request["path"], request["worker"]), ("/", 2))

    def test_one_that_has_ended(self) -> None:
        """What it had counted stays in the sum; its requests are over."""
        for worker in self.made:
            self.totals.reported(worker, self.report(1, sent=5))
        self.totals.ended(self.made[0])
        self.assertEqual(self.totals.total.counters["sent"], 10)
        self.assertEqual(self.totals.total.gauges["in_flight"], 1)
        self.assertEqual([each["worker"] for each in self.totals.requests], [2])

    def test_one_of_another_version(self) -> None:
        """A worker that tells numbers only is counted."""
        self.totals.reported(self.made[0], Status({"sent": 5}).encode())
        self.assertEqual(self.totals.total.counters["sent"], 5)
        self.assertEqual(self.totals.requests, [])


class AddressTests(SynchronousTestCase):
    """Where the admin endpoints may be."""

    def server(self, address: str, allow: str = "") -> AdminServer:
        """A server of them."""
        clock = Clock()
        self.app = new("127.0.0.1:0", Resource(), reactor=clock)
        service = GracefulService(self.app, reactor=clock)
        return AdminServer([address], service, allow=allow, reactor=clock)

    def test_for_this_machine(self) -> None:
        """Loopback and UNIX sockets need nothing else."""
        for address in (
            "127.0.0.1:0",
            "[::1]:0",
            "localhost:0",
            "Localhost:0",
            "unix:/run/x",
            "unix:@x",
        ):
            self.server(address)

    def test_for_others(self) -> None:
        """Where other machines can connect it must be said which ones may."""
        for address in ("9000", "0.0.0.0:9000", "192.0.2.1:9000", "example.com:9000"):
            with self.subTest(address=address):
                error = self.assertRaises(AdminError, self.server, address)
                self.assertIn("--admin-allow", str(error))
                self.assertIsNone(self.app.meter)  # nobody would see what is counted
                self.server(address, "10.0.0.0/8")
                self.assertIsNotNone(self.app.meter)

    def test_no_tls(self) -> None:
        """TLS is not spoken there."""
        self.assertRaises(AdminError, self.server, "https:127.0.0.1:0")
