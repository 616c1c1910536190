"""The command that starts the successor."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted_graceful.errors import LaunchError, UpgradeRefused
from twisted_graceful.process.upgrade.inheritance import VARIABLE
from twisted_graceful.process.upgrade.launch import TWISTD_AGAIN, Launch, working_directory

from ..case import SynchronousTestCase
from .support import run_python, temporary_directory

PYTHON = "/usr/bin/python3"
TWISTD = "/venv/bin/twistd"


def launch(*orig_argv: str, argv: tuple[str, ...], **options: Any) -> Launch:
    """How a process with these command lines was started."""
    options.setdefault("pid", 99)
    return Launch.of_this_process(
        {}, executable=PYTHON, orig_argv=("python3", *orig_argv), argv=argv, **options
    )


class CommandTests(SynchronousTestCase):
    """One command line after the other."""

    def test_a_plain_script_is_run_again_as_it_was(self) -> None:
        """A script starts with the same interpreter, interpreter options and arguments."""
        again = launch("-X", "dev", "serve.py", "--loud", argv=("serve.py", "--loud"))
        self.assertEqual(again.executable, PYTHON)
        self.assertEqual(again.arguments, ("-X", "dev", "serve.py", "--loud"))

    def test_a_module_is_run_again_as_a_module(self) -> None:
        """`python -m package` starts as such, though the program sees a path in its argv."""
        again = launch("-m", "twisted", "graceful", argv=("/lib/twisted/__main__.py", "graceful"))
        self.assertEqual(again.arguments, ("-m", "twisted", "graceful"))

    def test_code_on_the_command_line_is_run_again(self) -> None:
        """`python -c code` starts with the same code."""
        self.assertEqual(launch("-c", "serve()", argv=("-c",)).arguments, ("-c", "serve()"))

    def test_the_plugin_is_run_again_as_it_was(self) -> None:
        """`twistd graceful`, which tells twistd itself what not to repeat, starts as it was."""
        again = launch(
            TWISTD, "-n", "graceful", argv=(TWISTD, "-n", "graceful"), skips_twistd_steps=True
        )
        self.assertEqual(again.arguments, (TWISTD, "-n", "graceful"))

    def test_a_tac_file_goes_through_our_twistd(self) -> None:
        """`twistd -y app.tac` starts as our module, which repeats nothing that is done."""
        again = launch("-X", "dev", TWISTD, "-ny", "app.tac", argv=(TWISTD, "-ny", "app.tac"))
        self.assertEqual(again.arguments, ("-X", "dev", "-m", TWISTD_AGAIN, "-ny", "app.tac"))

    def test_our_twistd_does_not_nest(self) -> None:
        """The successor of a successor has the same command as the successor."""
        first = launch(TWISTD, "-ny", "app.tac", argv=(TWISTD, "-ny", "app.tac"))
        module = "/lib/twisted_graceful/process/twistd.py"
        second = launch(*first.arguments, argv=(module, "-ny", "app.tac"))
        self.assertEqual(second.arguments, first.arguments)

    def test_the_interpreter_agrees(self) -> None:
        """In a real process named twistd, the command has its real options in the right places."""
        script = Path(temporary_directory(self), "twistd")
        script.write_text(
            "from twisted_graceful.process.upgrade.launch import Launch\n"
            "print(*Launch.of_this_process({}).arguments)\n"
        )
        done = run_python("-W", "ignore", str(script), "-y", "app.tac")
        self.assertEqual(done.stdout, f"-W ignore -m {TWISTD_AGAIN} -y app.tac\n")


class RefusalTests(SynchronousTestCase):
    """What cannot be started again."""

    def test_an_interactive_program_is_refused(self) -> None:
        """What was typed or piped in is told that there is no command to start again."""
        for refused in (launch(argv=("",)), launch("-", argv=("-",)), launch(argv=())):
            with self.subTest(refused=refused):
                text = str(self.assertRaises(UpgradeRefused, refused.require_possible))
                self.assertIn("typed in or piped in", text)
                self.assertIn("put it into a file", text)

    def test_anything_else_is_possible(self) -> None:
        """A program from a file is not refused."""
        launch("serve.py", argv=("serve.py",)).require_possible()

    def test_process_1_is_supervised(self) -> None:
        """The supervisor of process 1 is known; a process that detaches has none."""
        started = launch("serve.py", argv=("serve.py",), pid=1)
        found = started.supervised(1)
        assert found is not None
        self.assertIn("process 1 of its container", found.refusal)
        self.assertIsNone(started.supervised(2))  # it has become a daemon
        detached = launch("serve.py", argv=("serve.py",), pid=1, detaches=True)
        self.assertIsNone(detached.supervised(1))


class PlaceTests(SynchronousTestCase):
    """Working directory and environment."""

    def setUp(self) -> None:
        """Make a release directory behind a symlink, and go there."""
        self.addCleanup(os.chdir, os.getcwd())
        top = temporary_directory(self)
        self.release = os.path.join(top, "releases", "7")
        self.current = os.path.join(top, "current")
        os.makedirs(self.release)
        os.symlink(self.release, self.current)
        os.chdir(self.current)

    def directory(self, **environ: str) -> str:
        """Where the successor starts."""
        return Launch.of_this_process(environ).directory

    def test_a_symlink_stays_a_symlink(self) -> None:
        """If $PWD names the working directory by a symlink, the successor follows the symlink."""
        self.assertEqual(self.directory(PWD=self.current), self.current)

    def test_a_symlink_on_the_command_line(self) -> None:
        """Without $PWD the symlink is found in any path that the user wrote."""
        os.mkdir(os.path.join(self.release, "src"))
        for word in (
            f"{self.current}/venv/bin/twistd",
            f"{self.current}/venv/bin/python",
            f"--config={self.current}/app.toml",
            f"{self.current}/src",
        ):
            with self.subTest(word):
                os.chdir(os.path.join(self.release, "src"))
                found = working_directory({}, ["python", "twistd", word])
                self.assertEqual(found, f"{self.current}/src")
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            with self.subTest(name):
                os.chdir(self.release)
                self.assertEqual(working_directory({name: f"/lib:{self.current}/x"}), self.current)

    def test_a_pwd_of_somewhere_else_is_not_believed(self) -> None:
        """If $PWD is stale, relative, missing or names nothing, the real directory is taken."""
        for wrong in ("/", ".", "", os.path.join(self.release, "gone")):
            with self.subTest(wrong=wrong):
                self.assertEqual(self.directory(PWD=wrong), self.release)
        self.assertEqual(self.directory(), self.release)

    def test_a_start_in_a_removed_directory(self) -> None:
        """The error names the directory, and says what to do."""
        os.rmdir(self.release)
        error = self.assertRaises(LaunchError, working_directory, {"PWD": self.current}, [])
        self.assertIn(f"the working directory {self.current} has been removed", str(error))

    def test_the_environment_is_that_of_the_start(self) -> None:
        """The successor gets the environment as it was, whatever changes later."""
        environ = {"PATH": "/bin"}
        again = Launch.of_this_process(environ)
        environ["PATH"] = "/elsewhere"
        self.assertEqual(again.environment, {"PATH": "/bin"})

    def test_descriptors_of_this_process_are_not_passed_on(self) -> None:
        """No variable of sd_listen_fds(3), and none of ours, reaches the successor."""
        environ = {"LISTEN_FDS": "1", "LISTEN_PID": "99", "LISTEN_FDNAMES": "web", "LISTEN": "x"}
        environ[VARIABLE] = "{}"
        self.assertEqual(Launch.of_this_process(environ).environment, {"LISTEN": "x"})


class ReleaseTests(SynchronousTestCase):
    """What is started again if ``current`` is a symlink to a release with an environment."""

    def setUp(self) -> None:
        """Make the release, and enter it by the symlink."""
        self.addCleanup(os.chdir, os.getcwd())
        self.top = temporary_directory(self)
        self.current = f"{self.top}/current"
        self.release = f"{self.top}/releases/1"
        self.venv = f"{self.release}/venv"
        self.python = f"{self.venv}/bin/python"
        os.makedirs(f"{self.venv}/bin")
        os.symlink("releases/1", self.current)
        os.symlink(sys.executable, self.python)
        self.write(f"#!{self.python}\n")
        os.chdir(self.current)

    def write(self, text: str, mode: int = 0o755) -> None:
        """The script ``venv/bin/twistd``."""
        with open(f"{self.venv}/bin/twistd", "w") as file:
            file.write(text)
        os.chmod(file.name, mode)

    def start(self, *command: str, script: int = 1, pwd: bool = True, told: bool = True) -> Launch:
        """How it was started by a command of which the program sees the words from one on."""
        return Launch.of_this_process(
            {"PWD": self.current} if pwd else {},
            executable=self.python,
            orig_argv=command,
            argv=command[script:],
            skips_twistd_steps=told,
            pid=99,
        )

    def command(self, launch: Launch) -> list[str]:
        """What it runs, with the top directory left out."""
        words = (launch.executable, *launch.arguments)
        return [each.replace(self.top + "/", "") for each in words]

    def test_a_script_with_a_first_line(self) -> None:
        """However it was found, it is run through the symlink, by its own first line."""
        for script, pwd in (
            ("venv/bin/twistd", True),
            (f"{self.current}/venv/bin/twistd", True),
            (f"{self.current}/venv/bin/twistd", False),
            (f"{self.venv}/bin/twistd", True),  # an activated environment, found on PATH
        ):
            with self.subTest(script=script, pwd=pwd):
                again = self.start(self.python, script, "graceful", pwd=pwd)
                self.assertEqual(self.command(again), ["current/venv/bin/twistd", "graceful"])
                self.assertEqual(again.directory, self.current)
                self.assertEqual(again.environment, {"PWD": self.current})
                again.require_present()

    def test_first_lines(self) -> None:
        """A script is run by its first line if that is how its interpreter was started."""
        trampoline = f"""#!/bin/sh\n'''exec' "{self.python}" "$0" "$@"\n' '''\n"""
        for text, mode, before, is_run in (
            (f"#!{self.python}\n", 0o755, (self.python,), True),
            (f"#!{self.python} -sE\n", 0o755, (self.python, "-sE"), True),
            ("#!/usr/bin/env python\n", 0o755, ("python",), True),
            ("#!/usr/bin/env -S A=1 python -u\n", 0o755, ("python", "-u"), True),
            (trampoline, 0o755, (self.python,), True),
            (f"#!{self.python}\n", 0o644, (self.python,), False),
            (f"#!{self.python}\n", 0o755, (self.python, "-X", "dev"), False),
            ("#!/usr/bin/python2\n", 0o755, (self.python,), False),
            ("import sys\n", 0o755, (self.python,), False),
        ):
            with self.subTest(text=text, mode=mode, before=before):
                self.write(text, mode)
                again = self.start(*before, "venv/bin/twistd", "x", script=len(before))
                expected = ["current/venv/bin/twistd", "x"]
                if not is_run:
                    expected = ["current/venv/bin/python", *before[1:], "venv/bin/twistd", "x"]
                self.assertEqual(self.command(again), expected)

    def test_an_interpreter(self) -> None:
        """A Python that was named, or found on PATH, is that of the current release."""
        for python in ("venv/bin/python", f"{self.current}/venv/bin/python", "python"):
            with self.subTest(python):
                again = Launch.of_this_process(
                    {"PWD": self.current},
                    executable=python if os.path.isabs(python) else self.python,
                    orig_argv=[python, "-m", "twisted", "graceful"],
                    argv=[f"{self.venv}/lib/twisted/__main__.py", "graceful"],
                )
                expected = ["current/venv/bin/python", "-m", "twisted", "graceful"]
                self.assertEqual(self.command(again), expected)

    def test_a_tac_file(self) -> None:
        """A ``.tac`` file is run by the Python beside the twistd that the user wrote."""
        script = f"{self.current}/venv/bin/twistd"
        again = self.start(self.python, script, "-y", "app.tac", pwd=False, told=False)
        expected = ["current/venv/bin/python", "-m", TWISTD_AGAIN, "-y", "app.tac"]
        self.assertEqual(self.command(again), expected)

    def test_an_activated_environment(self) -> None:
        """Variables that name the release lead to the current one; other paths stay."""
        again = Launch.of_this_process(
            {
                "PWD": self.current,
                "PATH": f"{self.venv}/bin:/usr/bin",
                "VIRTUAL_ENV": self.venv,
                "PYTHONPATH": f"lib:{self.release}/lib:",
                "OTHER": self.venv,
            }
        )
        self.assertEqual(
            again.environment,
            {
                "PWD": self.current,
                "PATH": f"{self.current}/venv/bin:/usr/bin",
                "VIRTUAL_ENV": f"{self.current}/venv",
                "PYTHONPATH": f"lib:{self.current}/lib:",
                "OTHER": self.venv,
            },
        )

    def test_what_is_missing_is_named(self) -> None:
        """The directory, the script or its interpreter, with the symlink that is broken."""
        again = self.start(self.python, "venv/bin/twistd", "graceful")
        script = f"{self.current}/venv/bin/twistd"

        def refusal() -> str:
            return str(self.assertRaises(UpgradeRefused, again.require_present))

        os.unlink(self.python)
        self.assertIn(f"{self.python}, which the first line of {script} names, does", refusal())
        os.symlink("/nowhere/python", self.python)
        self.assertIn(f"{self.python} is a symlink to /nowhere/python, which is gone", refusal())
        os.chmod(script, 0o644)
        self.assertIn(f"{script}, may not be executed", refusal())
        os.unlink(script)
        self.assertIn(f"{script}, does not exist. Put it back", refusal())
        os.rename(self.release, f"{self.top}/releases/2")
        self.assertIn(f"{self.current} is a symlink to releases/1, which is gone", refusal())
        os.unlink(self.current)
        self.assertIn(f"{self.current}, does not exist", refusal())
        os.symlink(self.current, self.current)
        self.assertIn(f"{self.current}, cannot be reached: Too many levels", refusal())
