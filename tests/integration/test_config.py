"""Configuration files and variables, with real servers."""

from __future__ import annotations

import signal
from pathlib import Path

from ..case import SynchronousTestCase
from .harness import FOREGROUND, Server

ONE_APP = '[graceful]\napp = "app.resource"\n'
OTHER_APP = '[tool.graceful]\napp = "app.Other"\n'
EXAMPLES = Path(__file__).parents[2] / "examples"


class FileTests(SynchronousTestCase):
    """A file, at the start and at upgrades."""

    def server(self, text: str, *options: str) -> Server:
        """A server with a configuration file."""
        server = Server("--config", "graceful.toml", *options)
        server.write("graceful.toml", text)
        return server

    def changed(self, number: int) -> None:
        """A signal makes what the file says now take effect."""
        with self.server(ONE_APP) as server:
            self.assertEqual(server.get().body, "1")
            server.write("graceful.toml", OTHER_APP)
            server.upgrade(number)
            self.assertEqual(server.get().body, "other")

    def test_changed_file_and_usr2(self) -> None:
        """A changed file takes effect with USR2."""
        self.changed(signal.SIGUSR2)

    def test_changed_file_and_hup(self) -> None:
        """A changed file takes effect with HUP."""
        self.changed(signal.SIGHUP)

    def test_broken_file(self) -> None:
        """A broken file fails the upgrade, with its error in the log, and not the service."""
        with self.server(ONE_APP) as server:
            pid = server.pid
            for attempt, (text, error) in enumerate(
                (
                    ("[graceful", "graceful.toml: this is not TOML"),
                    ("[graceful]\nidle-graze = 1", "idle-graze: there is no such option"),
                ),
                1,
            ):
                server.write("graceful.toml", text)
                server.kill(signal.SIGUSR2)
                server.starting(1, attempt)
                server.said(error)
                server.said("Upgrade failed", attempt)
                self.assertEqual(server.get("/pid").body, str(pid))
            server.write("graceful.toml", OTHER_APP)
            server.upgrade()
            self.assertEqual(server.get().body, "other")

    def test_file_that_is_gone(self) -> None:
        """A file that is not there any more fails the upgrade as well."""
        with self.server(ONE_APP) as server:
            self.assertEqual(server.get().body, "1")
            (server.directory / "graceful.toml").unlink()
            server.kill(signal.SIGUSR2)
            server.said("'graceful.toml' cannot be read")
            self.assertEqual(server.get().body, "1")

    def test_example(self) -> None:
        """The example of a file serves the application that it names."""
        with self.server((EXAMPLES / "graceful.toml").read_text()) as server:
            server.write("mod.py", (EXAMPLES / "mod.py").read_text())
            self.assertEqual(server.get().body, "Hello\n")


class EnvironmentTests(SynchronousTestCase):
    """Variables."""

    def test_everything_from_the_environment(self) -> None:
        """A server needs no command line, and its successors see the same environment."""
        environment = {
            "GRACEFUL_PORT": "127.0.0.1:0 127.0.0.1:0",
            "GRACEFUL_APP": "app.resource,app.Other",
            "GRACEFUL_IDLE_GRACE": "0.1",
            "GRACEFUL_PROBATION": "0",
            "GRACEFUL_PROT": "1",
        }
        command = (*FOREGROUND, "graceful")
        with Server(command=command, environment=environment) as server:
            for _ in range(2):
                bodies = [server.get(port=port).body for port in server.ports]
                self.assertEqual(bodies, ["1", "other"])
                server.upgrade()
            server.said("GRACEFUL_PROT is no option of ours; did you mean GRACEFUL_PORT")

    def test_print_config(self) -> None:
        """--print-config prints what would be in force, in UTF-8, and serves nothing."""
        ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        server = Server(
            *("--print-config", "--config", "graceful.toml"),
            environment={"GRACEFUL_BACKLOG": "7", **ascii_only},
        )
        server.write("graceful.toml", '[graceful]\napp = "\u0142.at.all"\n')
        with server:
            self.assertEqual(server.exit_status(), 0)
            self.assertIn("GRACEFUL_BACKLOG.\nbacklog = 7\n", server.log)
            self.assertIn('app = ["\u0142.at.all"]', server.log)
            self.assertNotIn("Listening", server.log)
