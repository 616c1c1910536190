"""The unit files for systemd, and the service in the sandbox that they make.

No systemd runs here. What it would forbid the service is forbidden to it by `sandbox`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

from ..case import SynchronousTestCase
from ..integration.harness import PATIENCE, TWISTD, Server
from ..integration.manager import Manager
from ..integration.programs import program, run

UNITS = Path(__file__).parents[2] / "deploy" / "systemd"
SERVICE = UNITS / "app.service"

EXPOSURE = 1.4
"""What ``systemd-analyze security`` says of the service, from 0 (safe) to 10; by systemd 252."""

PROBE = """
import ctypes, mmap, os, pathlib, resource, socket, subprocess, threading

CALLS = ctypes.CDLL(None, use_errno=True)

def denied(what, *arguments):
    try:
        what(*arguments)
    except OSError:
        return
    print(what, *arguments, "is not denied")

def unshare():
    if CALLS.unshare(0x20000):
        raise OSError(ctypes.get_errno(), "unshare")

denied(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
denied(socket.socket, socket.AF_PACKET, socket.SOCK_RAW)
denied(mmap.mmap, -1, 4096, mmap.MAP_PRIVATE, mmap.PROT_WRITE | mmap.PROT_EXEC)
denied(open, "/etc/written", "w")
denied(os.mkdir, "../written")
denied(pathlib.Path("/proc/loadavg").read_text)
denied(os.chown, ".", 1, 1)
denied(os.setpriority, os.PRIO_PROCESS, 0, 1)
denied(unshare)
os.mkdir("written")
resource.getrlimit(resource.RLIMIT_NOFILE)
socket.getaddrinfo("localhost", 80)
subprocess.run(["true"], check=True)
thread = threading.Thread(target=print, args=("threads run",))
thread.start()
thread.join()
"""


def sandboxed(*command: str) -> list[str]:
    """The command that runs a command in the sandbox of the service.

    Raises:
        SkipTest: no sandbox can be made here.
    """
    program("systemd-analyze")
    if os.getuid():
        raise SkipTest("only root can make the sandbox")
    sandbox = Path(__file__).with_name("sandbox.py")
    made = ["unshare", "--mount", sys.executable, str(sandbox), str(SERVICE), "."]
    done = run(*made, "true")
    if done.returncode:
        raise SkipTest(f"no sandbox can be made here: {done.stderr.decode()}")
    return [*made, *command]


def start() -> list[str]:
    """What the service runs, with a free port, and this machine's paths."""
    [line] = [each for each in SERVICE.read_text().splitlines() if each.startswith("ExecStart=")]
    text = line.removeprefix("ExecStart=").replace("%t/app/", "")
    text = text.replace("/srv/app/venv/bin/twistd", TWISTD).replace("8080", "127.0.0.1:0")
    return [*text.split(), *PATIENCE]


class UnitFileTests(SynchronousTestCase):
    """What systemd says of the files."""

    def analyze(self, *arguments: str, units: tuple[str, ...]) -> tuple[int, bytes, bytes]:
        """What systemd-analyze says, on a machine that has all that the units need."""
        with TemporaryDirectory() as directory:
            for unit in UNITS.iterdir():
                # What this machine may not have: the program, and a systemd as new as that.
                text = unit.read_text().replace("/srv/app/venv/bin/twistd", sys.executable)
                text = text.replace("Type=notify-reload", "Type=notify")
                (Path(directory) / unit.name).write_text(text)
            done = run("systemd-analyze", *arguments, *(f"{directory}/{each}" for each in units))
        return done.returncode, done.stdout, done.stderr

    def test_verify(self) -> None:
        """systemd has nothing to say about any line of them."""
        units = tuple(each.name for each in UNITS.iterdir())
        self.assertEqual(self.analyze("verify", "--man=no", units=units), (0, b"", b""))

    def test_security(self) -> None:
        """The service is exposed as little as the documentation says."""
        arguments = ("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE * 10:.0f}")
        status, said, _ = self.analyze(*arguments, units=(SERVICE.name,))
        self.assertEqual(status, 0, said.decode())
        page = (UNITS.parents[1] / "docs" / "deploying.rst").read_text()
        self.assertIn(f"its exposure is {EXPOSURE} of 10", page)

    def test_out_of_memory(self) -> None:
        """A worker that the kernel kills is restarted by the master, and the service goes on."""
        self.assertIn("OOMPolicy=continue", SERVICE.read_text().splitlines())

    def test_release_directory(self) -> None:
        """An upgrade enters the working directory by the path that the unit names."""
        lines = SERVICE.read_text().splitlines()
        [directory] = [each for each in lines if each.startswith("WorkingDirectory=")]
        self.assertIn(f"Environment=PWD={directory.partition('=')[2]}", lines)


class SandboxTests(SynchronousTestCase):
    """The service where all is denied that the unit says it does not need."""

    def test_denies(self) -> None:
        """The sandbox of these tests is one, and lets through what Python needs."""
        with TemporaryDirectory() as directory:
            command = ["env", "--chdir", directory, *sandboxed(sys.executable, "-c", PROBE)]
            done = run(*command)
        self.assertEqual((done.stdout, done.stderr), (b"threads run\n", b""))

    def test_upgrade(self) -> None:
        """An upgrade moves connections, of UNIX sockets too; systemd hears of the new process."""
        with Manager() as manager, self.service(manager, "--port", "unix:app.sock") as server:
            client, local = server.connect(), server.connect(str(server.directory / "app.sock"))
            self.assertEqual(local.ask("/").body, "1")
            self.assertEqual(client.ask("/").body, "1")
            server.deploy("2")
            old = server.pid
            server.kill(signal.SIGHUP)
            new = server.hand_over()
            while f"MAINPID={new}\n" not in manager.hear().text:
                pass
            self.assertEqual(client.ask("/").body, "2")
            admin = str(server.directory / "admin.sock")
            self.assertEqual(server.get("/readyz", admin).status, 200)
            self.assertEqual(local.ask("/").body, "2")
            while manager.hear().text != "BARRIER=1":
                pass
            manager.lift()
            self.assertEqual(server.ended(old), 0)
            self.assertEqual(server.pid_file, str(new))
            self.assertEqual(server.stop(), 0)
            left = {each.name for each in server.directory.iterdir()}
            self.assertEqual(left & {"app.pid", "app.sock", "admin.sock"}, set())

    def test_bad_deploy(self) -> None:
        """Of new code that fails the log has the traceback, and the old code serves on."""
        with Manager() as manager, self.service(manager) as server:
            client = server.connect()
            client.ask("/")
            server.write("app.py", "raise RuntimeError('as bad as can be')")
            server.kill(signal.SIGHUP)
            server.said(r"Upgrade failed: generation 1: (.*\n)*.*as bad as can be")
            self.assertEqual(client.ask("/").body, "1")
            self.assertEqual(server.stop(), 0)

    def test_death_on_probation(self) -> None:
        """The old process takes the service back from a successor that is killed."""
        with Manager() as manager, self.service(manager, "--probation", "60") as server:
            old = server.pid
            server.kill(signal.SIGHUP)
            new = server.hand_over()
            server.kill(signal.SIGKILL, new)
            server.said(rf"Generation 0 \(pid {old}\) accepts again")
            self.assertEqual(server.get("/pid").body, str(old))
            while f"MAINPID={old}\n" not in manager.hear().text:
                pass

    def test_workers(self) -> None:
        """With workers, which get their clients from a master, new code is in all of them."""
        with Manager() as manager, self.service(manager, "--workers", "2") as server:
            client = server.connect()
            self.assertEqual(client.ask("/").body, "1")
            server.deploy("2")
            server.kill(signal.SIGHUP)
            server.said("All workers have been replaced")
            self.assertEqual(client.ask("/").body, "2")
            self.assertEqual(server.stop(), 0)

    def service(self, manager: Manager, *options: str) -> Server:
        """The service; it is not started yet."""
        return Server(*options, command=sandboxed(*start()), environment=manager.variables)
