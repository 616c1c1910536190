"""What a service manager is told, datagram by datagram; see sd_notify(3)."""

from __future__ import annotations

import signal
import sys

from ..case import SynchronousTestCase
from . import proc
from .client import Client
from .harness import Server
from .manager import Manager, Said
from .upgrade_case import STOPS
from .waiting import until

LOADING = "EXTEND_TIMEOUT_USEC=70000000\nSTATUS=Loading"
STOPPING = "STOPPING=1\nEXTEND_TIMEOUT_USEC=40000000\nSTATUS=Stopping; connections that drain: {}"


def ready(number: int, pid: int, more: str = "") -> str:
    """What the generation that serves says of itself."""
    return f"READY=1\nSTATUS=Generation {number} serves (pid {pid}){more}"


def reloading(number: int, pid: int) -> str:
    """What a generation says that begins an upgrade."""
    return (
        "RELOADING=1\nMONOTONIC_USEC=0\nEXTEND_TIMEOUT_USEC=70000000\n"
        f"STATUS=Upgrade: generation {number + 1} starts; generation {number} serves (pid {pid})"
    )


def main_is(pid: int, number: int, old: int) -> str:
    """What a generation says that hands over to the next one."""
    return f"MAINPID={pid}\n{ready(number, pid)}; generation {number - 1} (pid {old}) drains"


def takes_over(number: int, new: int) -> str:
    """What a generation says of itself that serves while the one before it drains."""
    return f"MAINPID={new}\n{ready(number, new)}; generation {number - 1} drains"


class NotifyTestCase(SynchronousTestCase):
    """A service and its manager."""

    def server(self, manager: Manager, *options: str, **variables: str) -> Server:
        """A service; it is not started yet."""
        environment = {**manager.variables, **variables}
        return Server(*(options or ("--app", "app.resource")), environment=environment)

    def hears(self, manager: Manager, pid: int, *texts: str) -> None:
        """These datagrams come next, from this process."""
        for text in texts:
            self.assertEqual(manager.hear(), Said(pid, text))

    def started(self, manager: Manager, server: Server) -> int:
        """Hear of the start; the pid."""
        pid = server.pid
        self.hears(manager, pid, LOADING, ready(0, pid))
        return pid


class ServiceTests(NotifyTestCase):
    """A service from its start to its end."""

    def starts_and_stops(self, manager: Manager) -> None:
        """It does, and says so."""
        with manager, self.server(manager) as server:
            pid = self.started(manager, server)
            holder = server.begin_drain()
            self.hears(manager, pid, STOPPING.format(1))
            self.assertEqual(server.finish_drain(holder), 0)
            self.assertTrue(manager.hears_nothing())

    def test_path(self) -> None:
        """At a path: the service is ready when it serves, and says that it stops."""
        self.starts_and_stops(Manager())

    def test_abstract(self) -> None:
        """The same in the abstract namespace."""
        self.starts_and_stops(Manager(abstract=True))

    def test_ready_means_that_it_serves(self) -> None:
        """A service is not ready before its application is."""
        with Manager() as manager, self.server(manager, "--app", "app.slow_factory") as server:
            server.wait_for("factory.begun")
            self.assertEqual(manager.hear().text, LOADING)
            self.assertTrue(manager.hears_nothing())
            server.open("factory")
            self.hears(manager, server.pid, ready(0, server.pid))

    def test_the_application_cannot_speak_for_it(self) -> None:
        """The variables are gone before the application is imported, in a successor too."""
        look = (
            "\nnames = {name for name in os.environ if name.startswith(('NOTIFY', 'WATCHDOG'))}"
            "\nwith open('seen', 'a') as file: print(names, file=file)\n"
        )
        with Manager() as manager:
            server = self.server(manager, WATCHDOG_USEC="60000000")
            server.deploy("1", look)
            with server:
                self.started(manager, server)
                server.kill(signal.SIGUSR2)
                server.hand_over()
                self.assertEqual((server.directory / "seen").read_text(), "set()\nset()\n")

    def test_nobody_listens(self) -> None:
        """A service whose manager is gone serves, upgrades and stops; each process warns once."""
        manager = Manager()
        server = self.server(manager)
        with manager:
            pass
        with server:
            server.upgrade()
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.log.count("Cannot tell the service manager"), 2)

    def test_nobody_reads(self) -> None:
        """A manager that hangs holds nothing: the service upgrades, again and again, and stops."""
        with Manager() as manager, self.server(manager) as server:
            for _ in range(3):
                server.kill(signal.SIGUSR2)
                server.hand_over()
            self.assertEqual(server.get("/pid").body, str(server.pid))
            self.assertEqual(server.stop(), 0)


class UpgradeTests(NotifyTestCase):
    """An upgrade, as the manager sees it."""

    def test_upgrade(self) -> None:
        """The old process names the new one; it ends when that is heard, and says no more."""
        with Manager() as manager, self.server(manager) as server:
            old = self.started(manager, server)
            holder = server.hold()
            server.kill(signal.SIGUSR2)
            self.hears(manager, old, reloading(0, old))
            new = server.hand_over()
            self.hears(manager, old, main_is(new, 1, old))
            self.hears(manager, new, takes_over(1, new))
            server.open("held")
            holder.answer()
            holder.close()
            self.hears(manager, old, "BARRIER=1")
            self.assertTrue(proc.alive(old))
            self.assertEqual(manager.lift(), 1)
            self.hears(manager, new, f"STATUS=Generation 1 serves (pid {new})")
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.stop(), 0)
            self.hears(manager, new, STOPPING.format(0))
            self.assertTrue(manager.hears_nothing())

    def test_reload(self) -> None:
        """HUP, which ``systemctl reload`` sends, is answered at once, with the time of it."""
        with Manager() as manager, self.server(manager) as server:
            old = self.started(manager, server)
            server.kill(signal.SIGHUP)
            self.hears(manager, old, reloading(0, old))

    def test_failed_upgrade(self) -> None:
        """An upgrade that fails ends in a service that is ready, and says why in one line."""
        with Manager() as manager, self.server(manager) as server:
            old = self.started(manager, server)
            server.write("app.py", "raise SystemExit(3)\n")
            server.kill(signal.SIGUSR2)
            self.hears(manager, old, reloading(0, old))
            said = manager.hear()
            self.assertEqual(said.pid, old)
            self.assertRegex(
                said.text,
                r"\AREADY=1\nSTATUS=Upgrade failed: generation 1: it exited with status 1 .*"
                rf"Generation 0 serves \(pid {old}\)\Z",
            )
            self.assertEqual(server.stop(), 0)
            self.hears(manager, old, STOPPING.format(0))

    def test_rollback(self) -> None:
        """A process that accepts again, in the successor's probation, is the main one again."""
        options = ("--app", "app.resource", "--probation", "60")
        with Manager() as manager, self.server(manager, *options) as server:
            old = self.started(manager, server)
            server.kill(signal.SIGUSR2)
            self.hears(manager, old, reloading(0, old))
            new = server.serving(1)
            self.hears(manager, old, main_is(new, 1, old))
            self.hears(manager, new, takes_over(1, new))
            server.kill(signal.SIGKILL, new)
            said = manager.hear()
            self.assertEqual(said.pid, old)
            self.assertRegex(
                said.text,
                rf"\AMAINPID={old}\nREADY=1\nSTATUS=Upgrade failed: generation 1: "
                rf"it was killed by SIGKILL .*\. Generation 0 serves \(pid {old}\)\Z",
            )
            server.kill(signal.SIGTERM, old)
            self.hears(manager, old, STOPPING.format(0))

    def test_predecessor_that_is_killed(self) -> None:
        """A successor whose predecessor could not name it any more does so itself."""
        with Manager() as manager, self.server(manager, "--app", "app.slow_factory") as server:
            server.open("factory")
            old = self.started(manager, server)
            server.shut("factory")
            server.kill(signal.SIGUSR2)
            self.hears(manager, old, reloading(0, old))
            new = server.starting(1)
            server.wait_for("factory.begun")
            server.kill(signal.SIGKILL, old)
            self.assertEqual(server.ended(old), -signal.SIGKILL)
            server.open("factory")
            self.hears(manager, new, f"MAINPID={new}\n{ready(1, new)}")

    def test_program_without_upgrades(self) -> None:
        """A reload that is ignored is over at once, and not awaited without end."""
        program = (
            "import app\nfrom twisted_graceful import listen_and_serve\n"
            "listen_and_serve('127.0.0.1:0', app.resource)\n"
        )
        with Manager() as manager:
            command = (sys.executable, "program.py")
            server = Server(command=command, environment=manager.variables)
            server.write("program.py", program)
            with server:
                pid = self.started(manager, server)
                server.kill(signal.SIGHUP)
                self.assertIn("RELOADING=1\nMONOTONIC_USEC=0\n", manager.hear().text)
                self.assertIn("READY=1\n", manager.hear().text)
                server.kill(signal.SIGTERM)
                self.hears(manager, pid, STOPPING.format(0))


class StopTests(NotifyTestCase):
    """A stop in the middle of an upgrade: it is the service's end, but not that of a part."""

    def handing_over(self, manager: Manager, server: Server) -> tuple[int, int, Client]:
        """An upgrade whose predecessor still drains: both pids, and whom it waits for."""
        old = self.started(manager, server)
        holder = server.hold()
        server.kill(signal.SIGUSR2)
        new = server.hand_over()
        for _ in range(3):
            manager.hear()
        return old, new, holder

    def test_of_the_predecessor(self) -> None:
        """A drained predecessor that is told to stop does not say that the service stops."""
        with Manager() as manager, self.server(manager) as server:
            old, new, holder = self.handing_over(manager, server)
            server.kill(signal.SIGTERM, old)
            server.open("held")
            holder.answer()
            holder.close()
            self.hears(manager, old, "BARRIER=1")
            manager.lift()
            self.hears(manager, new, f"STATUS=Generation 1 serves (pid {new})")

    def test_of_the_service(self) -> None:
        """The main process ends after the one that drains: with its end systemd ends the rest."""
        with Manager() as manager, self.server(manager) as server:
            old, new, holder = self.handing_over(manager, server)
            for pid in (new, old):  # as systemd does: all of the control group
                server.kill(signal.SIGTERM, pid)
            self.hears(manager, new, STOPPING.format(0))
            until(server.refuses, "connections are refused")
            server.open("held")
            self.assertEqual(holder.answer().body, "1")
            holder.close()
            self.hears(manager, old, "BARRIER=1")
            self.assertTrue(proc.alive(new))
            manager.lift()
            self.assertEqual([server.ended(old), server.ended(new)], [0, 0])
            self.assertTrue(manager.hears_nothing())

    def test_of_a_successor_that_nobody_told(self) -> None:
        """New code that stops itself does not stop the service, and does not say so."""
        with Manager() as manager, self.server(manager) as server:
            old = self.started(manager, server)
            server.hold()
            server.deploy("1", STOPS)
            server.kill(signal.SIGUSR2)
            for _ in range(3):
                manager.hear()
            server.open("end")
            self.assertIn(f"MAINPID={old}\nREADY=1\n", manager.hear().text)


class WatchdogTests(NotifyTestCase):
    """The manager wants to hear that the service is alive."""

    def beats(self, manager: Manager, pid: int) -> None:
        """It does, several times, and it is this process that says so."""
        self.hears(manager, pid, *["WATCHDOG=1"] * 3)

    def test_watchdog(self) -> None:
        """Whoever serves says so; after an upgrade it is the new process and nobody else."""
        with Manager() as manager, self.server(manager, WATCHDOG_USEC="200000") as server:
            old = self.started(manager, server)
            self.beats(manager, old)
            server.hold()
            server.kill(signal.SIGUSR2)
            # Read as they come: the kernel queues no more than ten, and the rest arrives later.
            until(lambda: manager.hear().pid != old, "the successor speaks")
            self.beats(manager, server.hand_over())

    def test_watchdog_of_another_process(self) -> None:
        """A watchdog that is meant for another process is none of ours."""
        variables = {"WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"}
        with Manager() as manager, self.server(manager, **variables) as server:
            self.started(manager, server)
            server.get()
            self.assertEqual(server.stop(), 0)
            self.assertIn("STOPPING=1\n", manager.hear().text)
