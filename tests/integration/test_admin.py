"""The admin endpoints of real processes, through upgrades and stops."""

from __future__ import annotations

import os
import signal
import stat

from ..case import SynchronousTestCase
from .admin import ADMIN, Admin, events, names
from .harness import served
from .waiting import until


class UpgradeTests(SynchronousTestCase):
    """What an operator sees of an upgrade."""

    def test_counters_never_fall(self) -> None:
        """Totals go on through upgrades, with what the predecessor still answers."""
        with served(*ADMIN) as server:
            admin = Admin(server)
            for _ in range(3):
                server.get()
            requests = "graceful_http_requests_total{method=GET,status_class=2xx}"
            self.assertEqual(admin.metrics()[requests], 3)
            held = server.hold()
            old = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            before = admin.metrics()
            self.assertEqual(before[requests], 3)
            self.assertEqual(before["graceful_generation{}"], 1)
            self.assertEqual(before["graceful_http_requests_in_flight{}"], 1)
            self.assertEqual([each["pid"] for each in admin.status()["generations"]][1:], [old])
            server.open("held")
            held.answer()
            server.ended(old)
            server.get()
            after = admin.metrics()
            self.assertEqual(after[requests], 5)
            self.assertEqual(after["graceful_upgrades_total{result=done}"], 1)
            self.assertEqual(after["graceful_http_request_duration_seconds_count{}"], 5)
            fallen = [
                name
                for name, value in before.items()
                if name.partition("{")[0].endswith(("_total", "_bucket", "_count", "_sum"))
                and after[name] < value
            ]
            self.assertEqual(fallen, [])
            server.upgrade()
            self.assertEqual(admin.metrics()[requests], 5)
            self.assertEqual(server.stop(), 0)

    def test_a_killed_successor(self) -> None:
        """What a successor had shown stays counted if it dies on probation."""
        with served(*ADMIN, "--probation", "60") as server:
            admin = Admin(server)
            server.get()
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            server.get()
            requests = "graceful_http_requests_total{method=GET,status_class=2xx}"
            self.assertEqual(admin.metrics()[requests], 2)
            server.kill(signal.SIGKILL, new)
            server.said("accepts again")
            found = admin.metrics()
            self.assertEqual(found[requests], 2)
            self.assertEqual(found["graceful_upgrades_total{result=failed}"], 1)
            self.assertEqual(found["graceful_generation{}"], 0)

    def test_asked_for(self) -> None:
        """POST /upgrade tells each step, and is over when only the new code is left."""
        with served(*ADMIN) as server:
            old = server.pid
            told = events(Admin(server).act("upgrade"))
            self.assertEqual(names(told), ["started", "loading", "ready", "drained", "done"])
            self.assertEqual(told[-1]["pid"], server.hand_over())
            server.ended(old)

    def test_bad_code(self) -> None:
        """POST /upgrade says why it failed, with what the successor wrote; all goes on."""
        with served(*ADMIN) as server:
            admin = Admin(server)
            server.write("app.py", "print('here it stops')\nraise ValueError('a bad deploy')")
            told = events(admin.act("upgrade"))
            self.assertEqual(told[-1]["event"], "failed")
            self.assertIn("a bad deploy", told[-1]["output"])
            self.assertEqual(server.get().body, "1")
            self.assertEqual(admin.get("/readyz")[0], 200)


class StopTests(SynchronousTestCase):
    """What an operator sees of a stop."""

    def test_ready_until_the_stop(self) -> None:
        """From the first moment of a stop /readyz says 503, until the last request is answered."""
        with served(*ADMIN) as server:
            admin = Admin(server)
            self.assertEqual(admin.get("/readyz")[0], 200)
            held = server.begin_drain()
            self.assertEqual(admin.get("/readyz")[0], 503)
            self.assertEqual(admin.get("/healthz")[0], 200)
            [generation] = admin.status()["generations"]
            self.assertEqual(generation["state"], "stopping")
            [request] = generation["requests"]
            self.assertEqual((request["method"], request["path"]), ("GET", "/gate/held"))
            self.assertEqual(server.finish_drain(held), 0)
            self.assertFalse(os.path.exists(admin.path))

    def test_lame_duck(self) -> None:
        """In the shutdown delay /readyz says 503, though clients are still served."""
        with served(*ADMIN, "--shutdown-delay", "60") as server:
            admin = Admin(server)
            server.kill(signal.SIGTERM)
            until(lambda: admin.get("/readyz")[0] == 503, "it is not ready")
            self.assertEqual(server.get().status, 200)
            server.kill(signal.SIGTERM)
            server.exit_status()

    def test_asked_for(self) -> None:
        """POST /stop is over when all has been answered."""
        with served(*ADMIN) as server:
            held = server.hold()
            stopping = Admin(server).act("stop")
            server.wait_for("held.draining")
            server.open("held")
            self.assertEqual(held.answer().body, "1")
            self.assertEqual(names(events(stopping)), ["stopped"])
            self.assertEqual(server.exit_status(), 0)

    def test_nobody_is_waited_for(self) -> None:
        """A client that stays connected to the admin endpoints holds no stop."""
        with served(*ADMIN) as server:
            client = server.connect(Admin(server).path)
            client.get("/healthz")
            client.answer()
            self.assertEqual(server.stop(seconds=5), 0)


class AccessTests(SynchronousTestCase):
    """Who can do what."""

    def test_the_socket_is_its_owners(self) -> None:
        """Nobody else can connect to the socket on which actions are taken."""
        with served(*ADMIN) as server:
            self.assertEqual(stat.S_IMODE(os.stat(Admin(server).path).st_mode), 0o600)

    def test_no_actions_over_tcp(self) -> None:
        """On TCP there is all to see, and nothing to do."""
        with served("--admin", "127.0.0.1:0") as server:
            admin = server.ports[0]
            self.assertEqual(server.get("/healthz", admin).status, 200)
            client = server.connect(admin)
            client.send(
                "POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                "Content-Length: 2\r\n\r\n{}"
            )
            self.assertEqual(client.answer().status, 403)
            self.assertEqual(server.get("/readyz", admin).status, 200)

    def test_a_form_is_no_action(self) -> None:
        """What a form of a page can send is refused on the UNIX socket, too."""
        with served(*ADMIN) as server:
            client = server.connect(Admin(server).path)
            client.send(
                "POST /stop HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n"
                "Content-Length: 2\r\n\r\n{}"
            )
            self.assertEqual(client.answer().status, 415)

    def test_open_to_others(self) -> None:
        """An address that other machines reach is refused, unless they are named."""
        with served("--admin", "0.0.0.0:0") as server:
            self.assertEqual(server.exit_status(), 1)
            self.assertIn("--admin-allow", server.log)
        with served("--admin", "0.0.0.0:0", "--admin-allow", "10.0.0.0/8") as server:
            server.said("which other machines can reach: clients of 10.0.0.0/8")

    def test_by_name(self) -> None:
        """Who scrapes a service by its name gets it if the name was given, and else the reason."""
        options = ("--admin", "127.0.0.1:0", "--admin-host", "app", "--admin-host", ".svc.local")
        with served(*options) as server:
            for host, status in (("app", 200), ("app.shop.svc.local", 200), ("evil.example", 403)):
                with self.subTest(host=host, status=status):
                    client = server.connect(server.ports[0])
                    client.send(f"GET /metrics HTTP/1.1\r\nHost: {host}:9000\r\n\r\n")
                    answer = client.answer()
                    self.assertEqual(answer.status, status)
            self.assertIn("--admin-host", answer.body)
