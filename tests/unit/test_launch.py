"""The command that starts the successor."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from twisted_graceful.errors import UpgradeRefused
from twisted_graceful.process.inheritance import VARIABLE
from twisted_graceful.process.launch import TWISTD_AGAIN, Launch

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
            TWISTD, "-n", "graceful", argv=(TWISTD, "-n", "graceful"), twistd_is_told=True
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
            "from twisted_graceful.process.launch import Launch\n"
            "print(*Launch.of_this_process({}).arguments)\n"
        )
        done = run_python("-W", "ignore", str(script), "-y", "app.tac")
        self.assertEqual(done.stdout, f"-W ignore -m {TWISTD_AGAIN} -y app.tac\n")


class RefusalTests(SynchronousTestCase):
    """What cannot be started again."""

    def refusal(self, refused: Launch) -> str:
        """The text of the refusal."""
        return str(self.assertRaises(UpgradeRefused, refused.require_replaceable))

    def test_process_1_is_refused(self) -> None:
        """Process 1 of a container is told why it cannot be upgraded, and what to do."""
        text = self.refusal(launch("serve.py", argv=("serve.py",), pid=1))
        self.assertIn("process 1 of its container", text)
        self.assertIn("Start a new container", text)

    def test_an_interactive_program_is_refused(self) -> None:
        """What was typed or piped in is told that there is no command to start again."""
        for refused in (launch(argv=("",)), launch("-", argv=("-",)), launch(argv=())):
            text = self.refusal(refused)
            self.assertIn("typed in or piped in", text)
            self.assertIn("put it into a file", text)

    def test_anything_else_is_possible(self) -> None:
        """A program from a file, in a process that is not the first, is not refused."""
        launch("serve.py", argv=("serve.py",)).require_replaceable()

    def test_process_1_can_have_workers(self) -> None:
        """Process 1 can start its command again, below itself; what was typed in cannot."""
        launch("serve.py", argv=("serve.py",), pid=1).require_possible()
        self.assertRaises(UpgradeRefused, launch(argv=("",)).require_possible)


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

    def test_a_pwd_of_somewhere_else_is_not_believed(self) -> None:
        """If $PWD is stale, relative, missing or names nothing, the real directory is taken."""
        for wrong in ("/", ".", "", os.path.join(self.release, "gone")):
            self.assertEqual(self.directory(PWD=wrong), self.release)
        self.assertEqual(self.directory(), self.release)

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
