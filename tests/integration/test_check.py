"""``twistd graceful --check``: whether a start would do, without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import SkipTest

from tests.unit.support import temporary_directory

from ..case import SynchronousTestCase
from ..certificates import EXPIRED, ONE, ONE_KEY, TWO_KEY
from . import proc
from .harness import DAEMON, FOREGROUND, TWIST, TWISTD, served
from .warm_up_apps import BROKEN, DOWN, SILENT

KINDS = """\
from twisted.internet.defer import Deferred
from app import Root
from app import wsgi, failing_factory
async def coroutine():
    return Root()
def deferred():
    from twisted.internet import reactor
    made = Deferred()
    reactor.callLater(0.01, made.callback, Root())
    return made
"""
PLAIN = (TWISTD, "graceful")


class CheckTests(SynchronousTestCase):
    """In a directory of its own."""

    def setUp(self) -> None:
        """Put the application there."""
        self.directory = Path(temporary_directory(self))
        self.write("app.py", Path(__file__).with_name("served.py").read_text())

    def write(self, name: str, text: str) -> None:
        """Put a file in place."""
        (self.directory / name).write_text(text)

    def run_check(
        self, *options: str, command: Sequence[str] = PLAIN
    ) -> subprocess.CompletedProcess[str]:
        """A check, which leaves no file and no process behind."""
        before = self.files()
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        with proc.adopting_orphans():
            children = proc.children(os.getpid())  # others may have left some
            done = subprocess.run(
                [*command, "--check", *options],
                cwd=self.directory,
                env=environment,
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            self.assertEqual(proc.children(os.getpid()), children, "it does not detach")
        self.assertEqual(self.files(), before)
        return done

    def files(self) -> dict[str, int]:
        """What is in the directory, and when it was changed, but for what the application says."""
        found = {path.name: path.stat().st_mtime_ns for path in self.directory.iterdir()}
        found.pop("asked", None)
        return found

    def passes(self, *options: str, command: Sequence[str] = PLAIN) -> None:
        """A check says in one line that all is well."""
        done = self.run_check(*options, command=command)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\Atwistd graceful: .*can be served\n\Z")

    def test_a_warning(self) -> None:
        """What is wrong with a certificate that can be served is a warning."""
        self.write("old.pem", EXPIRED + ONE_KEY)
        done = self.run_check("--app", "app.resource", "--tls-cert", "old.pem")
        self.assertEqual(done.returncode, 0)
        self.assertIn("can be served", done.stdout)
        self.assertRegex(
            done.stderr,
            r"\Atwistd graceful: warning: The certificate in '.*old.pem': it expired at .*\n\Z",
        )

    def fails(self, *options: str, command: Sequence[str] = PLAIN) -> str:
        """What a check says to standard error that fails."""
        done = self.run_check(*options, command=command)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr

    def test_all_is_well(self) -> None:
        """Each kind of application can be served, at once or later; nothing is left behind."""
        self.write("kinds.py", KINDS)
        for name in ("app.resource", "app.Root", "app:wsgi", "kinds.coroutine", "kinds.deferred"):
            with self.subTest(name=name):
                self.passes("--app", name, "--warm-up", "/")
        self.passes()

    def test_whatever_twistd_is_told(self) -> None:
        """It does not daemonize, and touches neither pid file nor logs, whatever twistd is told."""
        for command in (FOREGROUND, DAEMON[: DAEMON.index("graceful")]):
            with self.subTest(command=command):
                self.passes("--access-log", "access.log", command=[*command, "graceful"])
        self.passes(command=[TWIST, "graceful"])
        self.passes(command=[sys.executable, "-m", "twisted", "graceful"])

    def test_in_its_directory(self) -> None:
        """The application is loaded where twistd would load it."""
        (self.directory / "run").mkdir()
        self.write("here.py", "import app, os\ndef app(): assert os.getcwd().endswith('/run')\n")
        text = self.fails("--app", "here.app", command=[TWISTD, "--rundir", "run", "graceful"])
        self.assertIn("None is nothing that can be served", text)

    def test_as_its_user(self) -> None:
        """The application is loaded as the user that would serve it."""
        if os.getuid() != 0:
            raise SkipTest("only root can change the user")
        self.directory.chmod(0o755)
        self.write("here.py", "import os\ndef app(): raise RuntimeError(f'user {os.getuid()}')\n")
        text = self.fails("--app", "here.app", command=[TWISTD, "--uid", "65534", "graceful"])
        self.assertIn("RuntimeError: user 65534", text.splitlines()[-1])

    def test_what_is_wrong(self) -> None:
        """The reason is one line, as a start would say it."""
        self.write("broken.pem", ONE + TWO_KEY)
        for options, reason in (
            (("--app", "nowhere.app"), "there is no module 'nowhere'"),
            (("--app", "app.VERSION"), "nothing that can be served"),
            (("--tls-cert", "broken.pem"), "broken.pem"),
            (("--access-log", "nowhere/access.log"), "there is no directory"),
            (("--access-log", "app.py/access.log"), "there is no directory"),
            (("--drain-timeout", "soon"), "--drain-timeout: 'soon' is not accepted"),
            (("--prot", "8080"), "did you mean --port?"),
            (("--config", "nowhere.toml"), "nowhere.toml"),
        ):
            with self.subTest(options=options, reason=reason):
                text = self.fails(*options)
                self.assertIn(reason, text.splitlines()[0])
                self.assertNotIn("Traceback", text)

    def test_faults_of_the_application(self) -> None:
        """The traceback of the application's own exception is shown, and then the reason."""
        self.write("kinds.py", KINDS)
        self.write("faulty.py", "1 / 0\n")
        for name, frame, reason in (
            ("kinds.failing_factory", "in failing_factory", "RuntimeError: the factory is closed"),
            ("faulty.app", 'faulty.py", line 1', "ZeroDivisionError"),
        ):
            with self.subTest(name=name, frame=frame):
                text = self.fails("--app", name)
                self.assertIn(frame, text)
                self.assertIn(reason, text.splitlines()[-1])
                self.assertNotIn("twisted_graceful/", text)

    def test_warm_up(self) -> None:
        """An application that does not answer as it should cannot be served."""
        options = ("--app", "entry.app", "--warm-up", "/ready", "--warm-up-timeout", "0.5")
        for code, reason in (
            (DOWN, "503 Service Unavailable\n    the database\n    is down\n"),
            (BROKEN, "RuntimeError: no such table"),
            (SILENT, "GET /ready was not answered within 0.5 seconds"),
        ):
            with self.subTest(code=code, reason=reason):
                self.write("entry.py", code)
                self.assertIn(reason, self.fails(*options))

    def test_too_late(self) -> None:
        """An application that is never made is not waited for without end."""
        self.write("never.py", "from twisted.internet.defer import Deferred as app\n")
        text = self.fails("--app", "never.app", "--upgrade-timeout", "0.5")
        self.assertIn("not ready within 0.5 seconds", text)


class BesideTests(SynchronousTestCase):
    """Beside the service that it is about."""

    def test_beside_a_running_service(self) -> None:
        """It passes or fails with the options of a service that runs, which does not notice."""
        with served("--access-log", "access.log") as server:
            pid, port = server.pid, server.ports[0]
            self.assertEqual(server.pid_file, str(pid))
            for name, status in (("app.resource", 0), ("nowhere.resource", 1)):
                with self.subTest(name=name, status=status):
                    options = ("--port", f"127.0.0.1:{port}", "--check", "--app", name)
                    done = subprocess.run(
                        [*server.command, *options],
                        cwd=server.directory,
                        env=server.environment,
                        capture_output=True,
                        timeout=30,
                        check=False,
                    )
                    self.assertEqual(done.returncode, status, done.stderr.decode())
            self.assertEqual(server.pid_file, str(pid))
            self.assertEqual(server.family(), [pid])
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.stop(), 0)
