"""When gracefulctl takes the process that a pid file names for its server."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from twisted_graceful.ctl.check_command import run_check
from twisted_graceful.ctl.outcome import CtlError, Exit
from twisted_graceful.ctl.server_process import ServerProcess
from twisted_graceful.ctl.signal_client import SignalClient
from twisted_graceful.process.upgrade.launch import Launch
from twisted_graceful.process.upgrade.upgrade_record import UpgradeRecord

from ..case import SynchronousTestCase
from .support import temporary_directory


class PidFileTests(SynchronousTestCase):
    """This process as a server with a record."""

    if not hasattr(os, "memfd_create"):
        skip = "this system has no files in memory"

    def setUp(self) -> None:
        """Write a pid file."""
        self.directory = Path(temporary_directory(self))
        self.path = self.directory / "app.pid"
        self.path.write_text(str(os.getpid()))
        # As a server does, which handles them.
        self.patch(ServerProcess, "disposition_of", lambda process, number: "caught")

    def why_stale(self, pid_file: str) -> str:
        """Why the file is stale, if this process has another pid file, or none."""
        record = UpgradeRecord(Launch("", (), "", {}), pid_file=pid_file)
        try:
            SignalClient(str(self.path), 1).pid()
        except CtlError as error:
            self.assertIs(error.status, Exit.NOT_RUNNING)
            return str(error)
        finally:
            record.close()
        return ""

    def test_its_own(self) -> None:
        """The pid file of the process matches, by any path."""
        link = self.directory / "link"
        link.symlink_to(self.directory)
        for path in (self.path, link / "app.pid"):
            with self.subTest(path=path):
                self.assertEqual(self.why_stale(str(path)), "")

    def test_of_another_server(self) -> None:
        """The pid file of another server does not match."""
        other = self.directory / "other.pid"
        for _ in range(2):
            self.assertIn(
                f"another server, whose pid file is '{other}'", self.why_stale(str(other))
            )
            other.write_text(str(os.getpid()))

    def test_of_a_server_without_a_pid_file(self) -> None:
        """A process without a pid file matches if the file was written after its start."""
        self.assertEqual(self.why_stale(""), "")
        started = time.time() - 3600
        os.utime(self.path, (started, started))
        self.assertIn("started after that file was written", self.why_stale(""))

    def test_without_a_proc(self) -> None:
        """A system without /proc shows no successor, and the file is stale."""
        self.path.write_text("2147483647")
        self.patch(os.path, "isdir", lambda path: False)
        error = self.assertRaises(CtlError, SignalClient(str(self.path), 1).pid)
        self.assertIn("does not run", str(error))

    def test_the_start_of_a_process(self) -> None:
        """The start time of a process is known."""
        with ServerProcess(os.getpid()) as process:
            self.assertLess(time.time() - 7200, process.started)
            self.assertLess(process.started, time.time() + 1)
            self.assertFalse(process.is_suspended)


class CheckTests(SynchronousTestCase):
    """``gracefulctl check`` without what the server was started with."""

    if not hasattr(os, "memfd_create"):
        skip = "this system has no files in memory"

    def test_missing_interpreter(self) -> None:
        """It says what is missing: the program, where a symlink leads, or its interpreter."""
        directory = Path(temporary_directory(self))
        self.patch(os, "chdir", lambda path: None)
        missing, link, script = (directory / name for name in ("missing", "link", "script"))
        link.symlink_to(missing)
        script.write_text(f"#!{missing}\n")
        script.chmod(0o755)
        plain = directory / "plain"
        plain.write_text("")
        rows: list[tuple[Path, str]] = [
            (missing, "Install the virtual environment"),
            (link, f"It is a symlink to '{missing}', which does not exist"),
            (script, "The interpreter that its first line names does not exist"),
            (plain, "Permission denied"),
        ]
        for program, text in rows:
            with self.subTest(program=program.name):
                launch = Launch(str(program), ("twistd", "graceful"), str(directory), {})
                record: Any = UpgradeRecord(launch)
                error = self.assertRaises(CtlError, run_check, os.getpid())
                record.close()
                self.assertIs(error.status, Exit.FAILED)
                self.assertIn(f"started with '{program}'", str(error))
                self.assertIn(text, str(error))
