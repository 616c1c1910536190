"""Programs of other people, under load while they are upgraded twice and stopped.

They are installed from PyPI into an environment of their own, together with this server.
``TWISTED_GRACEFUL_PROGRAMS`` names its directory; `.ci/run` makes one. Without it these tests are
skipped. Each adds its line to the file ``table`` in there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path
from unittest import SkipTest

from ..case import SynchronousTestCase
from ..integration.harness import Server
from ..integration.peers import free_port
from ..integration.programs import run
from ..integration.waiting import until
from .applications import PROGRAMS, Program
from .visitor import Tally, Visitors

FOLDER = Path(__file__).with_name("applications")
QUICK = {
    "GRACEFUL_PROBATION": "0",
    "GRACEFUL_IDLE_GRACE": "0.3",
    "GRACEFUL_LINGER_TIMEOUT": "0.5",
}


def environment() -> Path:
    """The environment that the programs are installed in.

    Raises:
        SkipTest: there is none.
    """
    found = os.environ.get("TWISTED_GRACEFUL_PROGRAMS")
    if not found:
        raise SkipTest("TWISTED_GRACEFUL_PROGRAMS is not set")
    return Path(found)


class RunningProgram:
    """A program in a directory of its own, with the user's diff applied.

    Args:
        name: of its row in the table.
        resources: at whose end it ends.
    """

    def __init__(self, name: str, resources: ExitStack) -> None:
        self.program = PROGRAMS[name]
        paths = f"{environment() / 'bin'}{os.pathsep}{os.environ['PATH']}"
        variables = {"PATH": paths, **QUICK, **self.program.environment}
        self.server = Server(command=(), environment=variables)
        self.directory = self.server.directory
        shutil.copytree(FOLDER / name, self.directory, dirs_exist_ok=True)
        diff = (FOLDER / name / "graceful.diff").read_text()
        self.changed = len(re.findall(r"^[+-](?![+-])", diff, re.MULTILINE))
        applied = run("patch", "--batch", "--fuzz=0", "-d", str(self.directory), send=diff.encode())
        if applied.returncode:
            raise AssertionError(applied.stdout.decode())
        for path, content in self.program.files.items():
            (self.directory / path).parent.mkdir(exist_ok=True)
            (self.directory / path).write_bytes(content)
        beside = resources.enter_context(free_port())
        self._edit(self.program, beside)
        commands = dict(re.findall(r"^(\w+): (.*)$", self._text("Procfile"), re.MULTILINE))
        for command in (*commands.keys() & {"release"}, *self.program.prepare):
            self._run(commands.get(command, command))
        self.server.command = shlex.split(commands["web"])
        resources.enter_context(self.server)
        if self.program.beside:
            self._start(self.program.beside.format(port=beside), beside, resources)

    def _text(self, name: str) -> str:
        return (self.directory / name).read_text()

    def _edit(self, program: Program, beside: int) -> None:
        edits = {**program.edits, "8081": str(beside), f":{program.port}": ":0"}
        for path in self.directory.iterdir():
            if path.suffix in (".py", ".tac", "") and path.is_file():
                text = path.read_text()
                for old, new in edits.items():
                    text = text.replace(old, new)
                path.write_text(text)

    def _run(self, command: str) -> None:
        done = subprocess.run(
            shlex.split(command),
            cwd=self.directory,
            env=self.server.environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        if done.returncode:
            raise AssertionError(f"{command}: {done.stdout}{done.stderr}")

    def _start(self, command: str, port: int, resources: ExitStack) -> None:
        """Run something until the end of the server, which ends its whole family."""
        process = subprocess.Popen(
            shlex.split(command), cwd=self.directory, env=self.server.environment
        )
        resources.callback(process.wait)
        resources.callback(process.kill)
        until((self.directory / "backend.sock").exists, f"{command} listens")


class ApplicationTests(SynchronousTestCase):
    """Nothing is lost: no request fails, and no connection is closed without an announcement."""

    def assertLosesNothing(self, name: str) -> None:
        """Two upgrades and a stop under load."""
        with ExitStack() as resources:
            running = RunningProgram(name, resources)
            server = running.server
            first = server.launched
            with Visitors(server.ports[0], running.program.visit) as visitors:
                visitors.progress()
                server.upgrade()
                visitors.progress()
                server.upgrade()
                visitors.progress()
                visitors.stop()
                self.assertEqual(server.stop(), 0)
            self.assertEqual(server.ended(first), 0)
            self.assertNotRegex(server.log, "[1-9][0-9]* cut")
        self.record(name, visitors.tally, running.changed)
        self.assertEqual((visitors.tally.failures, visitors.tally.closed), ([], 0))

    def record(self, name: str, tally: Tally, changed: int) -> None:
        """Add a line to the table."""
        with open(environment() / "table", "a") as table:
            table.write(
                f"{name:12} {tally.requests:6} requests {len(tally.failures):3} failed "
                f"{tally.closed:3} closed {tally.announced:3} closed with an announcement "
                f"{changed:3} lines changed\n"
            )

    def test_autobahn(self) -> None:
        """autobahn's WebSocketResource, whose protocol closes when the server drains."""
        self.assertLosesNothing("autobahn")

    def test_django(self) -> None:
        """Django over WSGI: its admin site, an upload, and a streamed response."""
        self.assertLosesNothing("django")

    def test_flask(self) -> None:
        """Flask over WSGI: sessions, forms, an upload, and a streamed response."""
        self.assertLosesNothing("flask")

    def test_klein(self) -> None:
        """Klein: a form, an upload, and a coroutine."""
        self.assertLosesNothing("klein")

    def test_mailbox(self) -> None:
        """The mailbox server of magic-wormhole: messages from one WebSocket to another."""
        self.assertLosesNothing("mailbox")

    def test_pypiserver(self) -> None:
        """pypiserver over WSGI: packages are uploaded, listed and downloaded."""
        self.assertLosesNothing("pypiserver")

    def test_radicale(self) -> None:
        """Radicale over WSGI: calendars are made, filled, read and removed."""
        self.assertLosesNothing("radicale")

    def test_scrapyd(self) -> None:
        """Scrapyd: its pages and its API."""
        self.assertLosesNothing("scrapyd")

    def test_twisted_web(self) -> None:
        """guard, vhost, proxy, distrib, xmlrpc and static of twisted.web."""
        self.assertLosesNothing("twisted_web")

    def test_all(self) -> None:
        """Each folder has a row, a test, and a place on the page."""
        folders = {each.name for each in FOLDER.iterdir() if each.is_dir()}
        tests = {name.removeprefix("test_") for name in dir(self) if name.startswith("test_")}
        page = (FOLDER.parents[2] / "docs" / "your-program.rst").read_text()
        shown = set(re.findall(r"applications/(\w+)/graceful\.diff", page))
        self.assertEqual(folders, set(PROGRAMS))
        self.assertEqual(folders, tests - {"all"})
        self.assertEqual(folders, shown)
