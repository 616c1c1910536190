"""Servers under real supervisors, which watch the process that they have started."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from unittest import SkipTest

from ..case import SynchronousTestCase
from ..integration.gracefulctl import ctl
from ..integration.harness import BESIDE_PYTHON, GRACEFUL, Server
from ..integration.waiting import until

APP = ("--app", "app.resource")
RECYCLES = ("--max-requests", "3")

SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile=/dev/null
logfile_maxbytes=0
pidfile=supervisord.pid

[program:app]
command={command}
stdout_logfile=/dev/stdout
stdout_logfile_maxbytes=0
redirect_stderr=true
startsecs=0
"""

CIRCUS = """\
[circus]
endpoint = ipc://{directory}/endpoint
pubsub_endpoint = ipc://{directory}/pubsub

[watcher:app]
cmd = {command}
working_dir = {directory}
copy_env = True
copy_path = True
"""


class SupervisorTests(SynchronousTestCase):
    """Each is run without privileges, and without being process 1."""

    def start(self, program: str, *arguments: str) -> Server:
        """A supervisor; its service is to be added."""
        path = shutil.which(program, path=f"{BESIDE_PYTHON}{os.pathsep}{os.environ['PATH']}")
        if path is None:
            raise SkipTest(f"{program} is not installed")
        script = [sys.executable] if path.startswith(BESIDE_PYTHON) else []
        server = Server(command=[*script, path, *arguments])
        server.environment.pop("PWD", None)
        return server

    def service(self, server: Server, *options: str) -> str:
        """The command of the service."""
        return shlex.join([*GRACEFUL, *APP, *options])

    def run_script(self, server: Server, *options: str) -> None:
        """A script ``service/run``, as runit, s6 and daemontools want it."""
        script = server.directory / "service" / "run"
        script.parent.mkdir()
        script.write_text(f"#!/bin/sh\ncd ..\nexec {self.service(server, *options)}\n")
        script.chmod(0o755)

    def is_watched(self, server: Server, name: str) -> None:
        """An upgrade is refused, with the reason; the limit of requests leads to a new start."""
        with server:
            first = server.pid
            refused = ctl(server.directory, "upgrade", "--pid-file", "app.pid")
            self.assertEqual(refused.returncode, 1, refused)
            self.assertIn(f"{name} watches this process", refused.stdout)
            self.assertIn("--workers 1", refused.stdout)
            self.assertEqual([server.get().body for _ in range(3)], ["1"] * 3)
            server.said(f"ends with status 75, to be started again: .*{re.escape(name)}")
            server.said("Generation 0 serves", 2)
            until(lambda: server.pid_file not in ("", str(first)), "another process serves")

    def test_supervisord(self) -> None:
        """supervisord, with its default settings."""
        server = self.start("supervisord", "-c", "supervisord.conf")
        text = SUPERVISORD.format(command=self.service(server, *RECYCLES).replace("%", "%%"))
        server.write("supervisord.conf", text)
        self.is_watched(server, "supervisord")

    def test_circus(self) -> None:
        """circus."""
        server = self.start("circusd", "circus.ini")
        text = CIRCUS.format(command=self.service(server, *RECYCLES), directory=server.directory)
        server.write("circus.ini", text)
        self.is_watched(server, "circusd")

    def test_runit(self) -> None:
        """runit."""
        server = self.start("runsv", "service")
        self.run_script(server, *RECYCLES)
        self.is_watched(server, "runsv (runit)")

    def test_s6(self) -> None:
        """s6."""
        server = self.start("s6-supervise", "service")
        self.run_script(server, *RECYCLES)
        self.is_watched(server, "s6-supervise")

    def test_daemontools(self) -> None:
        """daemontools."""
        server = self.start("supervise", "service")
        self.run_script(server, *RECYCLES)
        self.is_watched(server, "supervise (daemontools)")

    def test_systemd(self) -> None:
        """systemd with Type=simple, or another that does not listen for a new main process."""
        marks = "INVOCATION_ID=0123456789abcdef SYSTEMD_EXEC_PID=$$"
        command = ("sh", "-c", f'export {marks}; exec "$@"', "sh", *GRACEFUL)
        with Server(*APP, *RECYCLES, command=command) as server:
            server.get()
            refused = ctl(server.directory, "upgrade", "--pid-file", "app.pid")
            self.assertEqual(refused.returncode, 1, refused)
            self.assertIn("systemd watches this process", refused.stdout)
            self.assertIn("Type=notify", refused.stdout)
            self.assertEqual([server.get().body for _ in range(2)], ["1"] * 2)
            self.assertEqual(server.exit_status(), 75)

    def test_workers(self) -> None:
        """What the refusal advises: HUP replaces the workers, and the process stays."""
        server = self.start("runsv", "service")
        self.run_script(server, "--workers", "1")
        with server:
            master = server.pid
            server.deploy("2")
            done = ctl(server.directory, "reload", "--pid-file", "app.pid")
            self.assertEqual(done.returncode, 0, done)
            self.assertEqual(server.get().body, "2")
            self.assertEqual(server.pid_file, str(master))
