"""UNIX sockets, with real clients, through upgrades; and servers whose addresses change."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from . import proc
from .harness import GRACEFUL, SERVED, Server, served
from .peers import free_port, nginx
from .programs import curl
from .waiting import Watch, until

PATH = "app.sock"
UNIX = ("--port", f"unix:{PATH}")

SCRIPT = """\
import os
from pathlib import Path
from sys import stdout
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted_graceful import GracefulService, new
from app import resource

globalLogBeginner.beginLoggingTo([textFileLogObserver(stdout)], redirectStandardIO=False)
server = new(
    Path("addresses").read_text().split(),
    resource,
    idle_grace=0.3,
    linger_timeout=0.5,
    unix_mode=0o600,
)
service = GracefulService(server, signals=True, probation=float(Path("probation").read_text()))
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
exec(Path("then").read_text())
reactor.run()
"""

UNTIL_GO = """\
import time
while not Path("go").exists():
    time.sleep(0.01)
"""


class UnixTestCase(SynchronousTestCase):
    """A server on a UNIX socket."""

    def server(self, *options: str) -> Server:
        """One that is about to start."""
        return served(*UNIX, *options)

    def script(self, *addresses: str, probation: float = 0) -> Server:
        """One whose addresses are in a file, which the test changes."""
        server = Server(command=(sys.executable, "script.py"))
        server.write("script.py", SCRIPT)
        server.write("addresses", " ".join(addresses))
        server.write("probation", str(probation))
        server.write("then", "")
        return server

    def path(self, server: Server, name: str = PATH) -> str:
        """The path of a socket."""
        return str(server.directory / name)

    def file(self, server: Server, name: str = PATH) -> tuple[int, str]:
        """Inode and mode of a socket file."""
        found = os.lstat(self.path(server, name))
        return found.st_ino, stat.filemode(found.st_mode)

    def exists(self, server: Server, name: str = PATH) -> bool:
        """Whether there is such a file."""
        return os.path.lexists(self.path(server, name))


class ServingTests(UnixTestCase):
    """What clients and applications see."""

    def test_curl(self) -> None:
        """curl is answered, and the application finds the URL that was asked for."""
        with self.server("--access-log", "access.log") as server:
            server.said(rf"Listening on unix:{self.path(server)}\n")
            done = curl("http://example.com:81/client", "--unix-socket", self.path(server))
            self.assertEqual(done["body"], " http://example.com:81/")
            server.stop()
            self.assertIn("- - - [", (server.directory / "access.log").read_text())

    def test_abstract(self) -> None:
        """An abstract socket is reached by its name, and goes on through an upgrade."""
        name = f"graceful-test-{os.getpid()}"
        with served("--port", f"unix:@{name}") as server:
            server.said(rf"Listening on unix:@{name}\n")
            for version in ("1", "2"):
                done = curl("http://localhost/", "--abstract-unix-socket", name)
                self.assertEqual(done["body"], version)
                server.deploy("2")
                server.upgrade()

    def test_tls(self) -> None:
        """TLS, and HTTP/2 in it, are spoken on a UNIX socket too."""
        with Server(
            *("--app", "app.resource", "--port", f"https:unix:{PATH}"), certificate=ONE + ONE_KEY
        ) as server:
            server.said(rf"Listening on https:unix:{self.path(server)}\n")
            self.assertEqual(server.connect(self.path(server)).ask("/").body, "1")
            options = ("--insecure", "--unix-socket", self.path(server))
            done = curl("https://localhost/client", *options)
            self.assertEqual((done["body"], done["http_version"]), (" https://localhost/", "2"))

    def test_wsgi(self) -> None:
        """A WSGI application gets an environment with a port, and no address of the client."""
        with Server("--app", "app.wsgi_client", *UNIX) as server:
            server.serving(0)
            self.assertEqual(server.get(port=self.path(server)).body, " http 80")

    def test_proxy_headers(self) -> None:
        """Whoever can open the socket is believed about its clients."""
        with self.server("--proxy-headers") as server:
            server.serving(0)
            fields = ("-H", "X-Forwarded-For: 192.0.2.7", "-H", "X-Forwarded-Proto: https")
            url = "http://example.com/client"
            done = curl(url, *fields, "--unix-socket", self.path(server))
            self.assertEqual(done["body"], "192.0.2.7 https://example.com/")

    def test_proxy_protocol(self) -> None:
        """The PROXY protocol is spoken on a UNIX socket as on any other."""
        with self.server("--proxy-protocol") as server:
            server.serving(0)
            client = server.connect(self.path(server))
            client.send("PROXY TCP4 192.0.2.7 192.0.2.1 1 80\r\n")
            self.assertEqual(client.ask("/client").body, "192.0.2.7 http://localhost/")
            unknown = server.connect(self.path(server))
            unknown.send("GET / HTTP/1.1\r\n\r\n")
            server.said("Closed the connection of a client of a UNIX socket: it sent no PROXY")

    def test_large_answer_and_upload(self) -> None:
        """Bodies that are larger than any buffer come through, in both directions."""
        with self.server("--max-body-size", "0") as server:
            server.serving(0)
            socket_of = ("--unix-socket", self.path(server))
            done = curl("http://localhost/large/30000000", *socket_of)
            self.assertEqual(len(done["body"]), 30_000_000)
            done = curl("http://localhost/upload", "-T", "-", *socket_of, send=b"x" * 30_000_000)
            self.assertEqual(len(done["body"]), 64)

    def test_half_close(self) -> None:
        """A client that has closed its side gets its answer."""
        with self.server() as server:
            server.serving(0)
            client = server.connect(self.path(server))
            client.get("/")
            client.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(client.answer().body, "1")
            self.assertTrue(client.closed())

    def test_nginx(self) -> None:
        """nginx before the socket, with connections that it keeps, loses nothing in upgrades."""
        with self.server("--proxy-headers") as server, free_port() as port:
            server.serving(0)
            config = f"""
                upstream app {{ server unix:{self.path(server)}; keepalive 8; }}
                server {{
                    listen 127.0.0.1:{port};
                    location / {{
                        proxy_pass http://app;
                        proxy_http_version 1.1;
                        proxy_set_header Connection "";
                        proxy_set_header Host $http_host;
                        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                        proxy_next_upstream off;
                    }}
                }}
            """
            os.chmod(server.directory, 0o755)
            with nginx(port, http=config):
                expected = "127.0.0.1 http://localhost/"

                def look() -> str:
                    body = server.get("/client", port).body
                    return "" if body == expected else repr(body)

                with Watch(look) as watch:
                    for _ in range(3):
                        server.upgrade()
                    looks = watch.looks
                    until(lambda: watch.looks > looks + 3, "more requests")
                self.assertEqual(watch.wrong, [])


class HandoverTests(UnixTestCase):
    """Connections that are open during an upgrade."""

    def test_idle_ones_move(self) -> None:
        """A kept connection goes on, open, in the successor, with the half request that it has."""
        with self.server() as server:
            server.serving(0)
            clients = [server.connect(self.path(server)) for _ in range(5)]
            for client in clients:
                self.assertEqual(client.ask("/").body, "1")
            for version in ("2", "3"):
                clients[0].send("GET / HT")
                server.deploy(version)
                server.upgrade()
                clients[0].send("TP/1.1\r\nHost: localhost\r\n\r\n")
                answer = clients[0].answer()
                self.assertEqual((answer.body, answer.last), (version, False))
                for client in clients[1:]:
                    answer = client.ask("/")
                    self.assertEqual((answer.body, answer.last), (version, False))

    def test_of_an_address_that_is_gone(self) -> None:
        """A kept connection whose address the successor does not have is closed with notice."""
        with self.script("unix:a.sock", "unix:b.sock") as server:
            server.serving(0)
            client = server.connect(self.path(server, "a.sock"))
            client.ask("/")
            server.write("addresses", "unix:b.sock")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            answer = client.ask("/")
            self.assertEqual((answer.body, answer.last), ("1", True))
            self.assertTrue(client.closed())


class FileTests(UnixTestCase):
    """The socket file, from its making to its end."""

    def test_survives_upgrades(self) -> None:
        """Path, inode and mode survive three upgrades, and the stop removes the file."""
        with self.server("--unix-mode", "640") as server:
            server.serving(0)
            before = self.file(server)
            self.assertEqual(before[1], "srw-r-----")

            def look() -> str:
                body = server.get(port=self.path(server)).body
                return "" if (body, self.file(server)) == ("1", before) else body

            with Watch(look) as watch:
                for _ in range(3):
                    server.upgrade()
            self.assertEqual(watch.wrong, [])
            self.assertEqual(server.stop(), 0)
            self.assertFalse(self.exists(server))

    def test_killed(self) -> None:
        """What a killed server leaves is replaced by the next one."""
        with self.server() as server:
            server.serving(0)
            server.stop(signal.SIGKILL)
            self.assertTrue(self.exists(server))
            with subprocess.Popen(
                [*GRACEFUL, "--app", "app.resource", *UNIX],
                cwd=server.directory,
                env=server.environment,
                stdout=subprocess.DEVNULL,
            ) as again:
                until(lambda: self.answers(server), "the next one serves")
                again.terminate()
            self.assertFalse(self.exists(server))

    def answers(self, server: Server) -> bool:
        """Whether somebody serves the socket."""
        try:
            return server.get(port=self.path(server)).body == "1"
        except OSError:
            return False

    def test_live(self) -> None:
        """A second server on the same path is refused, and the first one goes on."""
        with self.server() as server:
            server.serving(0)
            before = self.file(server)
            second = subprocess.run(
                [*GRACEFUL[:3], "second.pid", *GRACEFUL[4:], "--app", "app.resource", *UNIX],
                cwd=server.directory,
                env=server.environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=30,
            )
            self.assertEqual(second.returncode, 1)
            self.assertIn("another process listens there", second.stderr + second.stdout)
            self.assertEqual((self.file(server), self.answers(server)), (before, True))

    def test_failed_upgrade(self) -> None:
        """A successor that fails, or is told to stop before it is ready, leaves the file."""
        with Server("--app", "app.resource", *UNIX) as server:
            server.serving(0)
            before = self.file(server)
            server.write("app.py", SERVED.read_text() + "\nresource = failing_factory\n")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1")
            server.write("app.py", SERVED.read_text() + "\nresource = slow_factory\n")
            server.kill(signal.SIGUSR2)
            server.wait_for("factory.begun")
            server.kill(signal.SIGTERM, server.starting(1, 2))
            server.said("Upgrade failed: generation 1", 2)
            self.assertEqual((self.file(server), self.answers(server)), (before, True))
            server.deploy("2")
            server.upgrade()
            self.assertEqual(server.get(port=self.path(server)).body, "2")
            self.assertEqual(self.file(server), before)

    def test_stop_of_the_predecessor(self) -> None:
        """A predecessor that is told to stop while it drains leaves the file to its successor."""
        with self.server("--probation", "0") as server:
            server.serving(0)
            client = server.connect(self.path(server))
            client.get("/gate/held")
            server.wait_for("held.begun")
            old = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.kill(signal.SIGTERM, old)
            server.open("held")
            self.assertEqual(client.answer().body, "1")
            client.close()
            server.ended(old)
            self.assertTrue(self.answers(server))
            server.stop()
            self.assertFalse(self.exists(server))

    def test_replaced_by_another(self) -> None:
        """A file that somebody else has put there meanwhile is not removed at the end."""
        with self.server() as server:
            server.serving(0)
            os.unlink(self.path(server))
            with socket.socket(socket.AF_UNIX) as other:
                other.bind(self.path(server))
                server.stop()
                self.assertTrue(self.exists(server))

    def test_removed_by_another(self) -> None:
        """If somebody has removed the file, an upgrade puts it back."""
        with self.server() as server:
            server.serving(0)
            os.unlink(self.path(server))
            server.upgrade()
            self.assertTrue(self.answers(server))

    def test_application_changes_directory(self) -> None:
        """A relative path means the directory of the start, also for a successor and at the end."""
        with self.server() as server:
            server.write("app.py", SERVED.read_text() + "\nos.chdir('/')\n")
            server.serving(0)
            server.upgrade()
            self.assertTrue(self.answers(server))
            server.stop()
            self.assertFalse(self.exists(server))


class ChangedAddressesTests(UnixTestCase):
    """A successor with other addresses than its predecessor."""

    def sockets(self, server: Server) -> list[str]:
        """The socket files."""
        return sorted(each.name for each in server.directory.glob("*.sock"))

    def test_new_kept_and_gone(self) -> None:
        """What is new is bound, what stays is the same socket, and what is gone is removed."""
        with self.script("unix:a.sock", "unix:b.sock") as server:
            server.serving(0)
            kept = self.file(server, "b.sock")
            server.write("addresses", "unix:b.sock unix:c.sock")
            server.deploy("2")
            server.upgrade()
            until(lambda: self.sockets(server) == ["b.sock", "c.sock"], "a.sock is removed")
            self.assertEqual(self.file(server, "b.sock"), kept)
            for name in ("b.sock", "c.sock"):
                with self.subTest(name=name):
                    self.assertEqual(server.get(port=self.path(server, name)).body, "2")
            server.stop()
            self.assertEqual(self.sockets(server), [])

    def test_ports(self) -> None:
        """A port that is gone is closed as soon as the new code serves, and a new one is served."""
        with (
            self.script("127.0.0.1:0", f"unix:{PATH}", probation=30) as server,
            free_port() as port,
        ):
            (old,) = server.ports
            server.write("addresses", f"unix:{PATH} 127.0.0.1:{port}")
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertTrue(server.refuses())
            self.assertNotIn(old, [each for each, _ in proc.listening_sockets()])
            for each in (port, self.path(server)):
                with self.subTest(each=each):
                    self.assertEqual(server.get(port=each).body, "2")
            self.assertEqual(len(server.family()), 2)

    def test_paths(self) -> None:
        """The file of a path that is gone is removed as soon as the new code serves."""
        with self.script("unix:a.sock", "unix:b.sock", probation=30) as server:
            server.serving(0)
            server.write("addresses", "unix:b.sock")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(self.sockets(server), ["b.sock"])
            server.stop()
            self.assertEqual(self.sockets(server), [])

    def test_in_the_queue(self) -> None:
        """Who is in the queue of what is gone, when the new code is ready, is served by the old."""
        with self.script("127.0.0.1:0", "unix:b.sock", probation=30) as server:
            old, (port,) = server.serving(0), server.ports
            (inode,) = (each for at, each in proc.listening_sockets() if at == port)
            server.write("addresses", "unix:b.sock")
            server.deploy("2")
            server.write("then", UNTIL_GO)  # between that and what it says of it
            server.kill(signal.SIGUSR2)
            new = server.starting(1)
            until(lambda: inode not in proc.sockets(new), "the successor has given the port up")
            server.kill(signal.SIGSTOP, old)  # it finds all of them, and that word, at once
            server.write("go", "")
            clients = [server.connect() for _ in range(8)]
            for client in clients:
                client.get("/pid")
            server.kill(signal.SIGCONT, old)
            server.hand_over()
            self.assertEqual([client.answer().body for client in clients], [str(old)] * 8)
            self.assertTrue(server.refuses())

    def test_bound_anew(self) -> None:
        """A port that was gone is served again, on that port, when the successor has died."""
        with self.script("127.0.0.1:0", "unix:b.sock", probation=30) as server:
            old = server.serving(0)
            server.write("addresses", "unix:b.sock")
            server.kill(signal.SIGUSR2)
            server.kill(signal.SIGKILL, server.serving(1))
            until(lambda: not server.refuses(), "the port is served again")
            for port in (server.ports[0], self.path(server, "b.sock")):
                with self.subTest(port=port):
                    self.assertEqual(server.get("/pid", port=port).body, str(old))
            # And from then on as if nothing had been: the next one inherits it.
            server.write("addresses", "127.0.0.1:0 unix:b.sock")
            server.deploy("2")
            server.kill(signal.SIGUSR2)
            server.said(r"Generation 1 serves \(pid", 2)
            self.assertEqual(server.get().body, "2")

    def test_taken_by_another(self) -> None:
        """What cannot be bound anew is told; all else is served, and the next upgrade binds it."""
        with free_port() as port:
            address = f"127.0.0.1:{port}"
            with self.script(address, "unix:b.sock", probation=30) as server:
                server.serving(0)
                server.write("addresses", "unix:b.sock")
                server.kill(signal.SIGUSR2)
                new = server.serving(1)
                with socket.create_server(("127.0.0.1", port)):
                    server.kill(signal.SIGKILL, new)
                    server.said(f"cannot listen on {address}: Address already in use")
                    self.assertEqual(server.get(port=self.path(server, "b.sock")).body, "1")
                server.write("addresses", f"{address} unix:b.sock")
                server.kill(signal.SIGUSR2)
                server.said(r"Generation 1 serves \(pid", 2)
                for each in (port, self.path(server, "b.sock")):
                    with self.subTest(each=each):
                        self.assertEqual(server.get(port=each).body, "1")

    def test_failed(self) -> None:
        """A successor that fails leaves nothing of what it has bound, and all that was there."""
        with self.script("unix:a.sock") as server:
            server.serving(0)
            before = self.file(server, "a.sock")
            server.write("addresses", "unix:new.sock")
            server.write("app.py", SERVED.read_text() + "\nresource = failing_factory\n")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1")
            self.assertEqual(self.sockets(server), ["a.sock"])
            server.write("addresses", "unix:new.sock unix:nowhere/x.sock")
            server.kill(signal.SIGUSR2)
            server.said("Upgrade failed: generation 1", 2)
            self.assertIn("there is no directory", server.log)
            self.assertEqual(self.sockets(server), ["a.sock"])
            self.assertEqual(self.file(server, "a.sock"), before)
            self.assertEqual(server.get(port=self.path(server, "a.sock")).body, "1")

    def rolled_back(self, end: int | str, left: list[str]) -> None:
        """A successor ends in the probation: the predecessor has all of its own, and serves it."""
        with self.script("unix:a.sock", "unix:b.sock", probation=30) as server:
            old = server.serving(0)
            self.assertEqual(self.file(server, "a.sock")[1], "srw-------")
            before = [self.file(server, name) for name in ("a.sock", "b.sock")]
            server.write("addresses", "unix:b.sock unix:new.sock")
            if isinstance(end, str):
                server.write("then", end)
            server.kill(signal.SIGUSR2)
            new = server.serving(1)
            if isinstance(end, int):
                server.kill(end, new)
            server.said("accepts again, with the code")
            server.said("Listening on unix:.*a.sock", 2)
            self.assertEqual(self.sockets(server), left)
            self.assertEqual(self.file(server, "a.sock")[1], before[0][1])  # another file
            self.assertEqual(self.file(server, "b.sock"), before[1])
            for name in ("a.sock", "b.sock"):
                pid = server.get("/pid", port=self.path(server, name)).body
                self.assertEqual(pid, str(old))
            server.stop()
            self.assertNotIn("a.sock", self.sockets(server))

    def test_killed_in_the_probation(self) -> None:
        """One that is killed leaves what it has bound anew, which the next start replaces."""
        self.rolled_back(signal.SIGKILL, ["a.sock", "b.sock", "new.sock"])

    def test_ends_in_the_probation(self) -> None:
        """One that ends by itself takes with it what it has bound anew."""
        end = "reactor.callLater(1, reactor.stop)"
        self.rolled_back(end, ["a.sock", "b.sock"])
