"""``twistd graceful`` and its like: what they serve, and what they refuse."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Sequence

from ..case import SynchronousTestCase
from . import proc
from .harness import DAEMON, FOREGROUND, PORT, TWIST, Server

NO_PORT = (*FOREGROUND, "graceful")


class ServedTests(SynchronousTestCase):
    """What a command line serves."""

    def test_default_is_the_welcome_page(self) -> None:
        """Without --app there is a welcome page."""
        with Server() as server:
            self.assertIn("It works", server.get().body)
            self.assertEqual(server.get("/nothing").status, 404)

    def test_default_port(self) -> None:
        """Without --port it is 8080 on all interfaces, whether that is free here or not."""
        with Server(command=NO_PORT) as server:
            server.said(r"Listening on http://0\.0\.0\.0:8080|cannot listen on :8080")

    def test_two_apps_on_two_ports(self) -> None:
        """The n-th --app serves on the n-th --port."""
        with Server(
            *("--app", "app.resource", "--port", "localhost:0", "--app", "app.Other")
        ) as server:
            first, second = server.ports[:2]
            self.assertEqual(server.get(port=first).body, "1")
            self.assertEqual(server.get(port=second).body, "other")

    def test_one_app_on_two_ports(self) -> None:
        """A single --app serves on every --port."""
        with Server(*PORT, "--app", "app.resource") as server:
            self.assertEqual([server.get(port=each).body for each in server.ports], ["1", "1"])
            self.assertEqual(len(set(server.ports)), 2)

    def test_all_interfaces(self) -> None:
        """:0 is one free port for IPv4, and for IPv6 where there is IPv6."""
        with Server("--port", ":0", command=NO_PORT) as server:
            ports = server.ports
            self.assertEqual(len(set(ports)), 1)
            self.assertIn("It works", server.get().body)
            if len(ports) == 2:
                socket.create_connection(("::1", ports[0]), timeout=5).close()

    def test_kinds_of_applications(self) -> None:
        """A resource, a class, a WSGI callable and a Klein app are served, by either spelling."""
        klein = "from klein import Klein\napp = Klein()\n@app.route('/')\ndef home(r): return '1'\n"
        names = ["app.resource", "app.Root", "app:wsgi", "klein_app:app", "klein_app.app.resource"]
        options = [word for name in names for word in (*PORT, "--app", name)]
        server = Server(*options, command=NO_PORT)
        server.write("klein_app.py", klein)
        with server:
            self.assertEqual([server.get(port=each).body for each in server.ports], ["1"] * 5)

    def test_wsgi_flag(self) -> None:
        """--wsgi serves a callable that does not show its signature."""
        server = Server("--app", "opaque.app", "--wsgi")
        server.write("opaque.py", "import app as served\ndef app(*a): return served.wsgi(*a)\n")
        with server:
            self.assertEqual(server.get().body, "1")

    def test_async_factory(self) -> None:
        """An application that is made slowly is served when it is ready, and nobody refused."""
        with Server(
            "--port", "127.0.0.1:0", "--app", "app.slow_factory", command=NO_PORT
        ) as server:
            server.wait_for("factory.begun")
            (port,) = listening_ports(server)
            client = server.connect(port)
            client.get("/")
            server.open("factory")
            self.assertEqual(client.answer().body, "1")

    def test_backlog(self) -> None:
        """--backlog connections queue for a server that does not accept."""
        with Server("--app", "app.slow_factory", "--backlog", "3") as server:
            server.wait_for("factory.begun")
            (port,) = listening_ports(server)
            queued = [socket.socket() for _ in range(4)]  # Linux admits one more
            for each in queued:
                self.addCleanup(each.close)
                each.settimeout(5)
                each.connect(("127.0.0.1", port))
            late = socket.socket()
            self.addCleanup(late.close)
            late.settimeout(0.3)
            self.assertRaises(TimeoutError, late.connect, ("127.0.0.1", port))


def listening_ports(server: Server) -> list[int]:
    """Where the processes of a server listen, whether they say so or not."""
    inodes = {
        os.readlink(entry)
        for pid in server.family()
        for entry in (proc.PROC / str(pid) / "fd").iterdir()
    }
    return [port for port, inode in proc.listening_sockets() if f"socket:[{inode}]" in inodes]


class CommandTests(SynchronousTestCase):
    """The programs that have the plugin."""

    def check(self, command: Sequence[str]) -> None:
        """The command serves, and drains at TERM."""
        with Server(*PORT, "--app", "app.resource", command=command) as server:
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.stop(), 0)
            self.assertIn("Drained", server.log)

    def test_twistd(self) -> None:
        """Under twistd it serves, and a clean stop has status 0, not twistd's 143."""
        self.check([*FOREGROUND, "graceful"])

    def test_twist(self) -> None:
        """Under twist it serves, and a clean stop has status 0."""
        self.check([TWIST, "--log-format", "text", "graceful"])

    def test_python_m_twisted(self) -> None:
        """Under ``python -m twisted`` it serves, and a clean stop has status 0."""
        self.check([sys.executable, "-m", "twisted", "--log-format", "text", "graceful"])

    def test_daemon(self) -> None:
        """Daemonized it serves, names itself in the pid file, logs to its file, and drains."""
        with Server("--app", "app.resource", command=DAEMON) as server:
            self.assertEqual(server.exit_status(), 0)
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.pid_file, str(server.pid))
            self.assertEqual(server.get("/pid").body, str(server.pid))
            self.assertEqual(server.stop(), 0)
            self.assertEqual(server.pid_file, "")
            self.assertIn("Drained", (server.directory / "app.log").read_text())

    def test_help(self) -> None:
        """--help names every option with its unit and its default."""
        with Server("--help", command=NO_PORT) as server:
            self.assertEqual(server.exit_status(), 0)
            text = " ".join(server.log.split())
        for words in (
            r"--port.*\[default: 8080\]",
            r"--app.*\[default: a welcome page\]",
            r"--drain-timeout=.*seconds.*\[default: 30\]",
            r"--upgrade-timeout=.*seconds.*\[default: 60\]",
            r"--backlog=.*connections.*\[default: 2048\]",
        ):
            with self.subTest(words=words):
                self.assertRegex(text, words)


class RefusalTests(SynchronousTestCase):
    """What a command line cannot serve is one clear line and status 1."""

    def refused(self, *options: str, files: dict[str, str] | None = None) -> str:
        """What a command says that fails with status 1."""
        server = Server(*options)
        for name, text in (files or {}).items():
            server.write(name, text)
        with server:
            self.assertEqual(server.exit_status(), 1)
            self.assertEqual(server.pid_file, "")
            return server.log

    def refused_in_one_line(self, *options: str) -> str:
        """What a command says that fails with one line."""
        text = self.refused(*options)
        self.assertEqual(len(text.splitlines()), 1, text)
        return text

    def test_count_mismatch(self) -> None:
        """Two apps for three ports are a usage error that gives both numbers."""
        text = self.refused(*PORT, *PORT, "--app", "app.resource", "--app", "app.Other")
        self.assertRegex(text, "--app.* 2 times.*--port.* 3 times")

    def test_unknown_module(self) -> None:
        """A module that does not exist is named as the half that failed."""
        text = self.refused_in_one_line("--app", "nowhere.resource")
        self.assertIn("no module 'nowhere'", text)

    def test_unknown_attribute(self) -> None:
        """An attribute that does not exist is named, with the one that is probably meant."""
        text = self.refused_in_one_line("--app", "app.resorce")
        self.assertIn("no attribute 'resorce'", text)
        self.assertIn("'resource'", text)

    def test_nothing_that_can_be_served(self) -> None:
        """An attribute of a wrong kind is one clear line."""
        text = self.refused("--app", "app.VERSION")
        self.assertIn("nothing that can be served", text)
        self.assertNotIn("Traceback", text)

    def test_exception_inside_the_application(self) -> None:
        """If the application's own code raises, its traceback is shown, and no frames of ours."""
        code = "def work():\n    raise RuntimeError('boom')\nwork()\n"
        text = self.refused("--app", "broken.resource", files={"broken.py": code})
        self.assertIn("RuntimeError: boom", text.splitlines()[-1])
        self.assertIn('broken.py", line 2, in work', text)
        self.assertNotIn("twisted_graceful/", text)

    def test_missing_import_inside_the_application(self) -> None:
        """A module that the application misses is not taken for the application."""
        text = self.refused("--app", "needy.resource", files={"needy.py": "import nowhere\n"})
        self.assertIn("Traceback", text)
        self.assertIn("No module named 'nowhere'", text.splitlines()[-1])

    def test_failing_factory(self) -> None:
        """An application that fails while it is made ends the process, with its traceback."""
        text = self.refused("--app", "app.failing_factory")
        self.assertIn("the factory is closed", text)
        self.assertIn("in failing_factory", text)

    def test_port_in_use(self) -> None:
        """A port that is taken is named in one line."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            text = self.refused_in_one_line("--port", address)
        self.assertIn(f"cannot listen on {address}", text)

    def test_unknown_host(self) -> None:
        """A host that cannot be found is named in one line."""
        text = self.refused_in_one_line("--port", "no-such-host.invalid:0")
        self.assertIn("'no-such-host.invalid'", text)

    def test_bad_values(self) -> None:
        """A bad value is refused with the option, what was given and what is accepted."""
        for option, given, accepted in (
            ("--port", "80800", "0 to 65535"),
            ("--port", "::1:80", "brackets"),
            ("--drain-timeout", "soon", "a number of seconds, 0 or more"),
            ("--drain-timeout", "-1", "a number of seconds, 0 or more"),
            ("--backlog", "0", "a whole number of connections, 1 or more"),
            ("--upgrade-timeout", "nan", "a number of seconds"),
        ):
            with self.subTest(option=option, given=given):
                text = self.refused(f"{option}={given}")
                self.assertIn(option, text)
                self.assertIn(given, text)
                self.assertIn(accepted, " ".join(text.split()))
                self.assertNotIn("Traceback", text)

    def test_in_use_daemonized(self) -> None:
        """A daemon that cannot bind fails before it detaches, where its user sees it."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            with Server("--port", address, command=DAEMON) as server:
                self.assertEqual(server.exit_status(), 1)
                self.assertIn(f"cannot listen on {address}", server.log)
                self.assertEqual(server.family(), [])

    def test_int_while_loading(self) -> None:
        """INT while the application is still being made ends the process with status 0."""
        with Server("--app", "app.slow_factory") as server:
            server.wait_for("factory.begun")
            server.kill(signal.SIGINT, server.family()[0])
            self.assertEqual(server.exit_status(), 0)
