"""What waits for the end of a process, by its ancestors and its environment."""

from __future__ import annotations

import os
import subprocess
import sys

from twisted_graceful.process.host.supervisors import Ancestor, look, parent_supervisor
from twisted_graceful.process.host.terminal import is_there

from ..case import SynchronousTestCase
from .support import temporary_directory

PID = 90
OUTSIDE = 7
"""The parent of the last ancestor, which cannot be seen."""


def watched(
    *ancestors: str,
    environ: dict[str, str] | None = None,
    container: bool = False,
    leader: int = -1,
    **options: bool,
) -> str:
    """What is found for a process below these ancestors, nearest first; empty if nothing.

    Each has its own process group where its name ends with an asterisk, as below a shell with job
    control; it may have several names. The last one is process 1 in a container. The process with
    the place ``leader``, 0 for the first one, leads a session with a terminal.
    """
    pids = [PID - number for number in range(len(ancestors) + 1)]
    if container:
        pids[-1] = 1
    names = ["twistd", *ancestors]
    processes, group = {}, pids[-1]
    for place in reversed(range(len(pids))):
        pid, parent = pids[place], [*pids[1:], 0 if container else OUTSIDE][place]
        if place + 1 < len(names) and names[place + 1].endswith("*"):
            group = pid
        programs = tuple(names[place].rstrip("*").split("|"))
        session = pid if leader < 0 else PID - leader
        processes[pid] = Ancestor(programs, parent, group, session, terminal=leader >= 0)
    found = parent_supervisor(
        environ or {}, pids[0], look=lambda pid: processes.get(pid, Ancestor()), **options
    )
    return "" if found is None else found.refusal


class ParentTests(SynchronousTestCase):
    """By the names of its ancestors."""

    def test_supervisors(self) -> None:
        """Each supervisor is named, also above shells and programs that wait; none elsewhere."""
        for names, expected in (
            (("supervisord",), "supervisord watches"),
            (("supervisord", "init"), "supervisord watches"),
            (("circusd",), "circusd watches"),
            (("runsv", "runsvdir"), "runsv (runit) watches"),
            (("sh", "runsv", "runsvdir"), "runsv (runit) watches"),
            (("s6-supervise",), "s6-supervise watches"),
            (("sudo", "bash", "supervise"), "supervise (daemontools) watches"),
            (("start.sh|bash", "runsv"), "runsv (runit) watches"),
            (("uv", "runsv"), "runsv (runit) watches"),
            (("python3|python3|supervisord",), "supervisord watches"),
            (("honcho",), "honcho watches"),
            (("bash*", "supervisord"), ""),  # a shell with job control, where somebody types
            (("bash", "sshd"), ""),
            (("python3", "supervisord"), ""),  # something else is below it
            ((), ""),
        ):
            with self.subTest(names):
                said = watched(*names)
                self.assertIn(expected, said)
                self.assertEqual("--workers 1" in said, bool(expected))

    def test_containers(self) -> None:
        """A container ends with its process 1, and with what an init or a shell has started."""
        for names, expected in (
            (("tini",), "the process for which tini runs its container"),
            (("sh",), "the process for which sh runs its container"),
            (("sudo", "sh", "docker-init"), "for which docker-init runs its container"),
            (("docker-entrypoi|sh",), "for which docker-entrypoi runs its container"),
            (("uv",), "the process for which uv runs its container"),
            (("sh*",), ""),
            (("nginx",), ""),
            (("supervisord",), "supervisord watches"),
        ):
            with self.subTest(names):
                self.assertIn(expected, watched(*names, container=True))
        found = parent_supervisor({}, 1, look=lambda pid: Ancestor())
        assert found is not None
        self.assertIn("process 1 of its container, and the container would end", found.refusal)
        self.assertFalse(found.restarts)

    def test_containers_without_process_ids_of_their_own(self) -> None:
        """Nor may the main process end where process 1 is another's, or the machine's."""
        main = "this is the main process of its container"
        self.assertIn(main, watched("containerd-shim", "init"))
        self.assertIn("for which sh runs", watched("sh", "conmon"))
        outside = {PID: Ancestor(("twistd",), parent=0)}
        for first, expected in (((), True), (("pause",), True), (("sleep",), False)):
            with self.subTest(first):  # `docker exec` beside a main process that is another
                outside[1] = Ancestor(first)
                found = parent_supervisor({}, PID, look=lambda pid: outside.get(pid, Ancestor()))
                self.assertEqual(found is not None and main in found.refusal, expected)

    def test_terminals(self) -> None:
        """A terminal closes with the command that it runs, but not with one that a shell runs."""
        for names, leader, expected in (
            (("tmux: server",), 0, True),
            (("script", "bash"), 0, True),
            (("sh", "sshd"), 1, True),
            (("sudo", "sudo", "bash*"), 1, True),  # sudo makes a terminal of its own
            (("bash*", "sshd"), 1, False),
            (("sudo*", "bash", "sshd"), 2, True),  # a script, without job control
            (("timeout", "bash*", "sshd"), 2, False),
            (("make", "bash*"), 2, False),
        ):
            with self.subTest(names):
                said = watched(*names, leader=leader)
                self.assertEqual("the command that its terminal runs" in said, expected)
                self.assertEqual(watched(*names, leader=leader, ignores_hup=True), "")

    def test_a_real_process(self) -> None:
        """The name, parent and process group of a process are read from /proc."""
        this = look(os.getpid())
        self.assertEqual((this.parent, this.group), (os.getppid(), os.getpgrp()))
        self.assertEqual(this.session, os.getsid(0))
        self.assertEqual(this.terminal, is_there())
        self.assertEqual(look(2**22 + 1), Ancestor())
        script = os.path.join(temporary_directory(self), "entrypoint.sh")
        with open(script, "w") as file:
            file.write("#!/bin/sh\necho runs\nread line\n")
        os.chmod(script, 0o755)
        pipe = subprocess.PIPE
        with subprocess.Popen([script], stdin=pipe, stdout=pipe) as shell:
            assert shell.stdout is not None
            shell.stdout.readline()  # until then its command line may be that of before exec(2)
            self.assertEqual(look(shell.pid).names, ("entrypoint.sh", "sh"))
        module = [sys.executable, "-c", "print(flush=True); input()", "/usr/bin/circusd"]
        with subprocess.Popen(module, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as python:
            assert python.stdout is not None
            python.stdout.readline()
            self.assertIn("circusd", look(python.pid).names)


class EnvironmentTests(SynchronousTestCase):
    """By its environment, where its ancestors cannot be seen or are others."""

    def test_supervisord(self) -> None:
        """supervisord and PM2 are recognized by the environment."""
        self.assertIn("supervisord watches", watched(environ={"SUPERVISOR_ENABLED": "1"}))
        pm2 = {"PM2_HOME": "/root", "pm_id": "0"}
        self.assertIn("PM2 watches", watched(environ=pm2))
        self.assertIn("PM2 watches", watched("PM2 v5.3.0: God|node", environ=pm2))

    def test_a_terminal_below_a_supervisor(self) -> None:
        """What was typed in a shell below a supervisor has its variables, and is not watched."""
        for environ in ({"SUPERVISOR_ENABLED": "1"}, {"PM2_HOME": "/root", "pm_id": "0"}):
            with self.subTest(**environ):
                self.assertEqual(watched("bash*", "jupyter-lab", environ=environ), "")
                self.assertNotEqual(watched("python3", environ=environ), "")  # may be it

    def test_systemd(self) -> None:
        """The main process of a unit is watched, unless systemd listens for another one."""
        for main, names, notifies, expected in (
            (f"{PID}", ("systemd",), False, True),
            (f"{PID}", (), False, True),  # /proc is hidden
            (f"{PID}", ("systemd",), True, False),
            (f"{PID - 1}", ("sh", "systemd"), False, True),
            (f"{PID - 1}", ("sh*", "systemd"), False, False),
            (f"{PID - 2}", ("sh*", "gnome-terminal-", "systemd"), False, False),
            (f"{PID + 1}", ("systemd",), False, False),
            ("", ("systemd",), False, True),  # before systemd 248
            ("", ("sh*", "systemd"), False, False),
        ):
            with self.subTest(main=main, names=names, notifies=notifies):
                environ = {"INVOCATION_ID": "0123", "SYSTEMD_EXEC_PID": main}
                said = watched(*names, environ=environ, notifies=notifies)
                self.assertEqual("systemd watches" in said, expected)
                self.assertEqual("Type=notify" in said, expected)

    def test_none(self) -> None:
        """A process that systemd has started below its own supervisor is that one's."""
        self.assertEqual(watched("systemd"), "")
        self.assertIn("runsv", watched("runsv", environ={"INVOCATION_ID": "0123"}))


if sys.platform != "linux":
    del ParentTests.test_a_real_process
