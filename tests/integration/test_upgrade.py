"""Upgrades: new code, the same sockets, nothing lost, one at a time."""

from __future__ import annotations

import signal
import time

from ..case import SynchronousTestCase
from . import proc
from .harness import DAEMON, SERVED, Server, served
from .load import Load
from .waiting import Watch, until


class NewCodeTests(SynchronousTestCase):
    """What an upgrade brings."""

    def upgraded_by(self, number: int) -> None:
        """A signal makes the code that is on disk now answer, in another process."""
        with served() as server:
            self.assertEqual(server.get().body, "1")
            old = server.pid
            server.deploy("2")
            new = server.upgrade(number)
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.get("/pid").body, str(new))
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.stop(), 0)

    def test_usr2(self) -> None:
        """USR2 replaces the code, and the predecessor ends with status 0."""
        self.upgraded_by(signal.SIGUSR2)

    def test_hup(self) -> None:
        """HUP replaces the code, and the predecessor ends with status 0."""
        self.upgraded_by(signal.SIGHUP)

    def test_again_and_again(self) -> None:
        """Each generation can start the next."""
        with served() as server:
            for version in ("2", "3", "4"):
                server.deploy(version)
                server.upgrade()
                self.assertEqual(server.get().body, version)

    def test_options_on_disk_are_the_apps_only(self) -> None:
        """The successor runs with the options and the environment of the first start."""
        with Server(
            *("--app", "app.resource", "--port", "127.0.0.1:0", "--drain-timeout", "0.5"),
            environment={"KEPT": "as it was"},
        ) as server:
            new = server.upgrade()
            self.assertEqual(proc.environment(new)["KEPT"], "as it was")
            server.hold()
            self.assertEqual(server.stop(), 1)  # by the drain timeout

    def test_wsgi(self) -> None:
        """A WSGI request in flight is finished by the old code, and the new code serves."""
        with Server("--app", "app.wsgi") as server:
            client = server.hold(path="")
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(server.get().body, "2")
            server.open("held")
            self.assertEqual(client.answer().body, "1")


class NothingLostTests(SynchronousTestCase):
    """What clients see of an upgrade."""

    def test_same_listening_sockets(self) -> None:
        """The successor listens on the very sockets of its predecessor, and on no others."""
        with served("--port", "127.0.0.1:0") as server:
            ports = server.ports
            before = [entry for entry in proc.listening_sockets() if entry[0] in ports]
            server.upgrade()
            after = [entry for entry in proc.listening_sockets() if entry[0] in ports]
            self.assertEqual(after, before)
            self.assertEqual([server.get(port=port).body for port in ports], ["1", "1"])

    def test_every_connection_is_answered(self) -> None:
        """Connections that are made all the while are all answered, by one code or the other."""
        with served() as server:
            versions: list[str] = []

            def ask() -> str:
                versions.append(server.get().body)
                return ""

            server.get()
            server.deploy("2")
            with Watch(ask) as clients:
                for _ in range(3):
                    server.upgrade()
                looks = clients.looks
                until(lambda: clients.looks > looks + 5, "more answers")
            self.assertEqual(clients.wrong, [])
            self.assertEqual(versions, sorted(versions))  # once new, always new
            self.assertEqual(set(versions), {"1", "2"})

    def test_slow_answer(self) -> None:
        """A slow answer is finished by the process that began it, and then the connection moves."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(server.get().body, "2")
            self.assertTrue(proc.alive(old))
            server.open("held")
            answers = [client.answer(), client.ask("/")]
            self.assertEqual([(each.body, each.last) for each in answers], [("1", 0), ("2", 0)])
            self.assertEqual(server.ended(old), 0)

    def test_deadline(self) -> None:
        """What an upgrade cuts at the drain deadline is named in the log."""
        with served("--drain-timeout", "0.5") as server:
            client = server.hold()
            old = server.pid
            server.upgrade()
            self.assertRaises(ConnectionError, client.answer)
            self.assertRegex(server.log, r"1 cut, .*; cut: GET /gate/held \(")
            self.assertEqual(server.ended(old), 1)
            self.assertEqual(server.get().body, "1")

    def test_no_connection_takes_no_time(self) -> None:
        """Without a connection a predecessor waits for no grace and no deadline."""
        long = ("--idle-grace", "60", "--linger-timeout", "60", "--drain-timeout", "60")
        with served(*long) as server:
            server.upgrade()


class OneAtATimeTests(SynchronousTestCase):
    """Signals that come when they are in each other's way."""

    def test_five_signals_at_once(self) -> None:
        """Of five USR2 at once the newest code ends up serving, with two generations at most."""
        with served() as server:
            first = server.pid
            with Watch(lambda: too_many(server)) as watch:
                for version in "23456":
                    server.deploy(version)
                    server.kill(signal.SIGUSR2, first)
                until(lambda: server.get().body == "6", "the newest code serves")
                until(lambda: len(server.family()) == 1, "one process is left")
            self.assertEqual(watch.wrong, [])
            self.assertGreater(watch.looks, 10)
            self.assertEqual(server.get().body, "6")

    def test_storm(self) -> None:
        """A hundred USR2 a second, for 5 s and under load: nothing is lost, the newest serves."""
        with served("--probation", "60") as server:
            url = f"http://127.0.0.1:{server.ports[0]}/"
            with Load(url) as load, Watch(lambda: too_many(server)) as watch:
                for second in range(5):
                    server.deploy(f"{second + 2}")
                    for _ in range(100):
                        server.kill(signal.SIGUSR2, int(server.pid_file))
                        time.sleep(0.01)  # the pace of the storm, not a wait for something
                until(lambda: server.get().body == "6", "the newest code serves")
                until(lambda: proc.children(int(server.pid_file)) == [], "no upgrade is due")
            self.assertEqual(watch.wrong, [])
            self.assertEqual(load.summary.errors, ())
            self.assertGreater(load.summary.requests, 1000)
            self.assertEqual(server.get().body, "6")
            self.assertNotIn("Traceback", server.log)

    def test_signal_while_the_successor_loads(self) -> None:
        """A USR2 during an upgrade is remembered, and brings what was deployed for it."""
        with Server("--app", "app.slow_factory") as server:
            server.open("factory")
            first = server.serving(0)
            server.shut("factory")
            server.deploy("2")
            server.kill(signal.SIGUSR2, first)
            server.wait_for("factory.begun")
            server.deploy("3")
            server.kill(signal.SIGUSR2, first)
            server.kill(signal.SIGUSR2, first)
            server.said("another one follows")
            server.open("factory")
            until(lambda: server.get().body == "3", "the newest code serves")
            until(lambda: len(server.family()) == 1, "one process is left")
            self.assertNotIn("Generation 3", server.log)

    def test_signal_to_the_successor_while_the_predecessor_drains(self) -> None:
        """A USR2 to the new process, while the old one drains, runs when that is gone."""
        self.remembered(to_the_new=True)

    def test_signal_to_the_predecessor_while_it_drains(self) -> None:
        """A USR2 to the old process, while it drains, is done by the new one."""
        self.remembered(to_the_new=False)

    def remembered(self, *, to_the_new: bool) -> None:
        """An upgrade that is asked for during a drain runs after it."""
        with served() as server:
            old, client = server.pid, server.hold()
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            server.deploy("3")
            server.kill(signal.SIGUSR2, new if to_the_new else old)
            server.said("another one follows")
            self.assertEqual(server.get().body, "2")
            self.assertEqual(sorted(server.family()), sorted([old, new]))
            server.open("held")
            self.assertEqual(client.answer().body, "1")
            client.close()
            server.hand_over()
            self.assertEqual(server.get().body, "3")
            self.assertEqual(server.ended(new), 0)


def too_many(server: Server) -> str:
    """What is wrong if more than two generations run."""
    family = server.family()
    return f"{len(family)} processes: {family}" if len(family) > 2 else ""


class PidFileTests(SynchronousTestCase):
    """The pid file and the log file across upgrades."""

    def test_names_the_serving_process(self) -> None:
        """The pid file is there all the while, and names the process that serves."""
        with served() as server:
            processes = {str(server.pid)}

            def missing() -> str:
                found = server.pid_file
                return "" if found.isdigit() else f"the pid file holds {found!r}"

            with Watch(missing) as watch:
                for _ in range(2):
                    self.assertEqual(server.pid_file, str(server.pid))
                    processes.add(str(server.upgrade()))
                self.assertEqual(server.pid_file, str(server.pid))
            self.assertEqual(watch.wrong, [])
            self.assertEqual(len(processes), 3)
            server.stop()
            self.assertEqual(server.pid_file, "")
            left = [each.name for each in server.directory.glob("*app.pid*")]
            self.assertEqual(left, [])

    def test_belongs_to_its_owner(self) -> None:
        """A pid file that names another process is not removed."""
        with served() as server:
            server.get()
            server.write("app.pid", "1")
            server.stop()
            self.assertEqual(server.pid_file, "1")

    def test_predecessor_that_drains_does_not_own_it(self) -> None:
        """While the old process drains, the pid file names the new one."""
        with served() as server:
            server.hold()
            server.kill(signal.SIGUSR2)
            new = server.hand_over()
            self.assertEqual(server.pid_file, str(new))

    def test_daemon(self) -> None:
        """A daemon upgrades: the same log file, the pid file in place, no second daemonizing."""
        with Server("--app", "app.resource", command=DAEMON) as server:
            self.assertEqual(server.exit_status(), 0)
            old = server.pid
            server.deploy("2")
            new = server.upgrade()
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.pid_file, str(new))
            self.assertEqual(server.family(), [new])
            self.assertEqual(server.starting(1), new)  # a second fork would change the pid
            log = (server.directory / "app.log").read_text()
            for line in (f"serves (pid {old})", f"serves (pid {new})", "Generation 0 drains"):
                with self.subTest(line=line):
                    self.assertIn(line.lower(), log.lower())
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.pid_file, "")

    def test_output_goes_on(self) -> None:
        """What a successor writes before and after it is ready is in the one log, once."""
        with served() as server:
            server.get()
            server.write("app.py", SERVED.read_text() + NOISE)
            server.upgrade()
            self.assertEqual(server.log.count("an early word"), 1)
            self.assertEqual(server.log.count("an early error"), 1)
            server.stop()
            self.assertEqual(server.log.count("a last word"), 1)


NOISE = """
print("an early word")
print("an early error", file=sys.stderr)
import atexit
atexit.register(os.write, 1, b"a last word")
"""
