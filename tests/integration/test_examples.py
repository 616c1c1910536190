"""Every example, as its own first line says it is run."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import SkipTest

from websockets.sync.client import connect

from ..case import SynchronousTestCase
from ..unit.websockets import why_no_twisted
from .client import request
from .harness import FOREGROUND, GRACEFUL, Server
from .peers import free_port
from .programs import program

EXAMPLES = Path(__file__).parents[2] / "examples"
TRIAL = (sys.executable, "-m", "twisted.trial")
TAC = (*FOREGROUND, "-y", "hello.tac")


def example(name: str, command: tuple[str, ...], *options: str) -> Server:
    """A server of an example, on free ports instead of those that it names."""
    server = Server(*options, command=command)
    text = (EXAMPLES / name).read_text()
    server.write(name, text.replace(":8080", ":0").replace(":8081", ":0"))
    return server


class ExampleTests(SynchronousTestCase):
    """The examples."""

    def test_mod(self) -> None:
        """The smallest application answers."""
        with example("mod.py", GRACEFUL, "--app", "mod.resource") as server:
            self.assertEqual(server.get().body, "Hello\n")

    def test_klein(self) -> None:
        """The Klein example answers, and its slow answer outlives an upgrade."""
        with example("klein_app.py", GRACEFUL, "--app", "klein_app.app") as server:
            self.assertEqual(server.get("/").body, "Hello from Klein\n")
            slow = server.connect()
            slow.get("/slow")
            server.upgrade()
            self.assertEqual(slow.answer().body, "done\n")

    def test_flask(self) -> None:
        """The Flask example answers."""
        with example("flask_app.py", GRACEFUL, "--app", "flask_app.app") as server:
            self.assertEqual(server.get("/").body, "Hello from Flask\n")

    def test_event_stream(self) -> None:
        """The event stream says goodbye when the server stops, and nothing is cut."""
        self.says_goodbye("event_stream.py", "event_stream.Clock")

    def test_wsgi_stream(self) -> None:
        """So does that of a WSGI application."""
        self.says_goodbye("wsgi_stream.py", "wsgi_stream.app")

    def says_goodbye(self, name: str, app: str) -> None:
        """A stream ends in its own words when the server stops."""
        with example(name, GRACEFUL, "--app", app) as server:
            stream = server.connect()
            stream.get("/")
            head = stream.socket.recv(4096)
            self.assertIn(b"200 OK", head)
            server.kill(15)
            self.assertEqual(server.exit_status(), 0)
            rest = b""
            while more := stream.socket.recv(4096):
                rest += more
            self.assertIn(b"event: goodbye", head + rest)
            self.assertTrue(rest.endswith(b"0\r\n\r\n"), rest)

    def test_readiness(self) -> None:
        """It is ready until the stop, and in the shutdown delay serves all else as ever."""
        with example(
            "readiness.py", GRACEFUL, "--shutdown-delay", "60", "--app", "readiness.resource"
        ) as server:
            self.assertEqual(server.get("/readyz").status, 200)
            server.kill(15)
            server.said("is not ready any more")
            told = [server.get(path).status for path in ("/readyz", "/healthz", "/")]
            self.assertEqual(told, [503, 200, 200])
            server.kill(15)
            server.exit_status()

    def test_websocket(self) -> None:
        """The WebSocket takes its leave when the server stops, and nothing is sent away."""
        if reason := why_no_twisted():
            raise SkipTest(reason)
        with (
            example("websocket.py", GRACEFUL, "--app", "websocket.resource") as server,
            connect(f"ws://127.0.0.1:{server.ports[0]}/echo") as client,
        ):
            client.send("hello again")
            self.assertEqual([client.recv(15), client.recv(15)], ["hello", "hello again"])
            server.kill(15)
            self.assertEqual(list(client), ["goodbye"])
            self.assertEqual(server.exit_status(), 0)

    def test_tac(self) -> None:
        """The application file serves on both ports, and is upgraded."""
        with example("hello.tac", TAC) as server:
            first, last = server.ports[0], server.ports[-1]
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(server.get(port=first).body, "Hello, world\n")
            self.assertEqual(server.get(port=last).body, "Hello, administrator\n")

    def test_background(self) -> None:
        """A job that was accepted is done before the process ends."""
        with example("background.tac", (*FOREGROUND, "-y", "background.tac")) as server:
            client = server.connect()
            client.send(request("/", "POST", "Content-Length: 0\r\n"))
            self.assertEqual(client.answer().status, 202)
            server.kill(signal.SIGTERM)
            server.said("1 jobs done")
            self.assertEqual(server.exit_status(), 0)

    def test_script(self) -> None:
        """The plain script serves, and upgrades itself."""
        with example("script.py", (sys.executable, "script.py")) as server:
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(server.get().body, "Hello\n")

    def test_group(self) -> None:
        """The servers of the group answer, and stop together."""
        with example("group.py", (sys.executable, "group.py")) as server:
            bodies = {server.get(port=port).body for port in server.ports}
            self.assertEqual(bodies, {"Hello, world\n", "Hello, administrator\n"})
            server.kill(signal.SIGTERM)
            self.assertEqual(server.exit_status(), 0)

    def test_embedding(self) -> None:
        """The embedding program asks its own server, and stops it."""
        done = subprocess.run(
            [sys.executable, EXAMPLES / "embedding.py"], capture_output=True, text=True, timeout=30
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("Hello\nstopped: 0 answered"), done.stdout)

    def test_test_mod(self) -> None:
        """The tests in the examples pass."""
        with TemporaryDirectory() as directory:
            done = subprocess.run(
                [*TRIAL, "--temp-directory", f"{directory}/trial", "test_mod"],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=EXAMPLES,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("PASSED (successes=2)", done.stdout)

    def test_tutorial(self) -> None:
        """The commands of the tutorial do what it says, one after the other as they stand there."""
        page = (EXAMPLES.parent / "docs" / "tutorial.rst").read_text()
        commands = re.findall(r"^    \$ (.*)$", page, re.MULTILINE)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        program("curl")
        with TemporaryDirectory() as directory, free_port() as port:
            shutil.copy(EXAMPLES / "mod.py", directory)
            done = subprocess.run(
                ["bash", "-c", "\n".join(commands).replace("8080", str(port))],
                capture_output=True,
                text=True,
                timeout=60,
                cwd=directory,
                env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
            )
            log = (Path(directory) / "app.log").read_text()
        # Times and process ids differ.
        lines = [re.sub(r"^ +\S+ s  |\d\d+|\d\.\d", "", each) for each in done.stdout.splitlines()]
        self.assertEqual(
            lines,
            [
                "Hello",
                "process  was sent SIGUSR2",
                "generation 1 starts (pid )",
                "the new code serves (pid )",
                "Hello again",
                "Hello again",
                "1",
                "twistd graceful: mod.resource: can be served",
                "process  was sent SIGTERM",
                "stopped: 0 answered, 0 cut, in  s",
            ],
            done.stderr,
        )
        self.assertIn("ZeroDivisionError", done.stderr)
        self.assertIn("Drained: 0 answered, 0 cut", log)

    def test_all(self) -> None:
        """There is a test for each example; that of graceful.toml is in test_config."""
        tested = {
            *("klein_app", "flask_app", "event_stream", "websocket"),
            *("hello", "script", "embedding", "readiness", "mod", "group", "graceful"),
            *("background", "wsgi_stream", "test_mod"),
        }
        self.assertEqual({path.stem for path in EXAMPLES.iterdir() if path.is_file()}, tested)
