"""Sockets that a service manager has bound; see sd_listen_fds(3)."""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path

from ..case import SynchronousTestCase
from . import proc
from .harness import FAMILY, FOREGROUND, PATIENCE, Server
from .programs import program

ACTIVATE = str(Path(__file__).with_name("activate.py"))
GRACEFUL = (*FOREGROUND, "graceful", *PATIENCE, "--app", "app.resource")

PROGRAM = """\
import sys
import twisted.internet.endpoints
import app
from twisted_graceful import listen_and_serve_forever
listen_and_serve_forever(sys.argv[1], app.resource, idle_grace=0.3, probation=0)
"""

CHANGING = """\
import sys
from pathlib import Path
from app import resource
from twisted_graceful import listen_and_serve_forever
probation, *addresses = Path("changing").read_text().split()
listen_and_serve_forever(addresses or sys.argv[1], resource, probation=float(probation))
"""


def activated(*kinds: str, names: str = "", command: tuple[str, ...]) -> Server:
    """A server that is passed sockets."""
    return Server(command=(sys.executable, ACTIVATE, names, *kinds, "--", *command))


class ActivationTests(SynchronousTestCase):
    """Sockets are served by the ports whose addresses they are bound to."""

    def serves(self, server: Server) -> None:
        """It serves what it was passed, in every generation, and nobody else has it."""
        port = server.ports[0]
        listening = [each for each in proc.listening_sockets() if each[0] == port]
        for version in ("2", "3"):
            server.deploy(version)
            server.upgrade()
            self.assertEqual(server.get().body, version)
            self.assertEqual(server.get("/inherited").body, "descriptors [0, 1, 2]\nvariables []\n")
        self.assertEqual(len(listening), 1)
        self.assertEqual([each for each in proc.listening_sockets() if each[0] == port], listening)
        self.assertEqual(server.stop(), 0)
        self.assertNotIn("nothing here serves", server.log)

    def test_by_address(self) -> None:
        """``--port`` with the address of the socket serves it, across upgrades."""
        command = (*GRACEFUL, "--port", "127.0.0.1:{port}")
        with activated("listening", names="web", command=command) as server:
            self.serves(server)

    def test_without_names(self) -> None:
        """A manager that names nothing is understood too."""
        command = (*GRACEFUL, "--port", "localhost:{port}")
        with activated("listening", command=command) as server:
            self.serves(server)

    def test_that_twisted_has_seen(self) -> None:
        """It does not matter that Twisted's endpoints, imported before, took the variables."""
        command = (sys.executable, "program.py", "127.0.0.1:{port}")
        server = activated("listening", names="web", command=command)
        server.write("program.py", PROGRAM)
        with server:
            self.serves(server)

    def test_both_families(self) -> None:
        """A socket for IPv4 and IPv6 serves both, and clients have the addresses of their own."""
        command = (*GRACEFUL, "--port", "{port}")
        with activated("dual", command=command) as server:
            self.assertEqual(server.get("/client").body.split()[0], "127.0.0.1")
            with socket.create_connection(("::1", server.ports[0]), timeout=15) as client:
                client.sendall(b"GET /client HTTP/1.0\r\n\r\n")
                answer = b""
                while more := client.recv(4096):
                    answer += more
            self.assertEqual(answer.partition(b"\r\n\r\n")[2].split()[0], b"::1")

    def test_unix(self) -> None:
        """A UNIX socket is served by the port of its path; its file is the manager's to remove."""
        command = (*GRACEFUL, "--port", "unix:app.sock")
        with activated("unix:app.sock", command=command) as server:
            server.serving(0)
            path = server.directory / "app.sock"
            inode = path.stat().st_ino
            server.upgrade()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                self.assertIn(b"200 OK", client.recv(4096))
            self.assertEqual(server.stop(), 0)
            self.assertEqual(path.stat().st_ino, inode)

    def test_that_nobody_serves(self) -> None:
        """A socket that no port serves is told of, with its name and its address."""
        command = (*GRACEFUL, "--port", "127.0.0.1:{port}")
        with activated("listening", "listening", names="a:b.socket", command=command) as server:
            said = server.said(r"nothing here serves: (\S+) \(of the name (\S+)\)")
            self.assertTrue(said[1].startswith("127.0.0.1:"))
            self.assertEqual(said[2], "b.socket")
            self.assertEqual(server.get().body, "1")

    def test_that_is_gone(self) -> None:
        """One that the next generation does not serve is kept, and served again should that die."""
        command = (sys.executable, "changing.py", "127.0.0.1:{port}")
        server = activated("listening", names="web", command=command)
        server.write("changing.py", CHANGING)
        server.write("changing", "0")
        with server:
            port = server.ports[0]
            server.write("changing", "30")
            old = server.upgrade()  # who knows it as a listener that was inherited
            server.write("changing", "30 unix:app.sock")
            server.kill(signal.SIGUSR2)
            new = server.serving(2)
            client = server.connect(port)  # nobody is refused, for its manager has it open too
            server.kill(signal.SIGKILL, new)
            self.assertEqual(client.ask("/pid").body, str(old))
            self.assertNotIn("cannot listen", server.log)

    def refused(self, kind: str) -> str:
        """What a server says that is passed something else; it has ended then."""
        with activated(kind, names="odd", command=(*GRACEFUL, "--port", "0")) as server:
            self.assertEqual(server.exit_status(), 1)
            return server.log

    def test_datagrams(self) -> None:
        """A datagram socket is an error that says what to do."""
        self.assertIn(
            "passed odd (descriptor 3), which is no stream socket: its unit needs ListenStream=",
            self.refused("datagram"),
        )

    def test_that_does_not_listen(self) -> None:
        """A socket that does not listen, as a connection of ``Accept=yes``, is an error."""
        self.assertIn("odd (descriptor 3), which does not listen", self.refused("bound"))

    def test_systemd_socket_activate(self) -> None:
        """systemd's own program starts a server with the first client, who is answered."""
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        names = (FAMILY, "PYTHONDONTWRITEBYTECODE", "SPT_NOENV")
        kept = [f"--setenv={name}" for name in names]
        command = (
            *(program("systemd-socket-activate"), f"--listen=127.0.0.1:{port}", "--fdname=web"),
            *(*kept, *GRACEFUL, "--port", f"127.0.0.1:{port}"),
        )
        with Server(command=command) as server:
            server.said("Listening on")
            self.assertEqual(server.get(port=port).body, "1")
            self.serves(server)
