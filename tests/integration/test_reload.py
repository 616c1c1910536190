"""``--reload``: a change of the source is an upgrade."""

from __future__ import annotations

from ..case import SynchronousTestCase
from . import proc
from .harness import Server
from .waiting import Watch, until

try:
    import watchfiles
except ImportError:
    watchfiles = None  # type: ignore[assignment]

STALE = {"PYTHONDONTWRITEBYTECODE": ""}
"""As users have it; the tests set it, since a file that is replaced twice in a second is stale."""


class ReloadTests(SynchronousTestCase):
    """Changes while a server runs."""

    if watchfiles is None:
        skip = "watchfiles is not installed"

    def server(self, *options: str) -> Server:
        """A server that watches its source."""
        return Server("--app", "app.resource", "--reload", *options, environment=STALE)

    def watching(self, server: Server) -> int:
        """Wait until the process that serves sees changes; its pid."""
        pid = server.pid
        until(lambda: proc.watches_files(pid), "files are watched")
        return pid

    def test_changes(self) -> None:
        """Each change is served soon, and every request is answered all the while."""
        with self.server() as server:
            versions: list[str] = []

            def ask() -> str:
                versions.append(server.get().body)
                return ""

            self.assertEqual(server.get().body, "1")
            with Watch(ask) as clients:
                for number, version in enumerate(("2", "3", "4"), 1):
                    predecessor = self.watching(server)
                    server.deploy(version)
                    server.said(r"Changed: .*app\.py; upgrading", number)
                    server.hand_over()
                    server.ended(predecessor)
                    self.assertEqual(server.get().body, version)
            self.assertEqual(clients.wrong, [])
            self.assertEqual(versions, sorted(versions))
            self.assertEqual(server.log.count("; upgrading"), 3)  # of two processes one acts
            self.assertEqual(server.stop(), 0)

    def test_the_last_of_many_changes(self) -> None:
        """Of changes that come quickly one after the other the last is served in the end."""
        with self.server() as server:
            self.watching(server)
            for version in ("2", "3", "4", "5"):
                server.deploy(version)
                until(lambda: "; upgrading" in server.log, "the first change is seen")
            until(lambda: server.get().body == "5", "the last change is served")

    def test_with_workers(self) -> None:
        """Workers serve a change, too, that an editor makes which moves the old file away first."""
        with self.server("--workers", "1") as server:
            self.watching(server)
            self.assertEqual(server.get().body, "1")
            (server.directory / "app.py").rename(server.directory / "app.py~")
            server.deploy("2")
            until(lambda: server.get().body == "2", "the change is served")

    def test_broken_source(self) -> None:
        """Source that is broken fails the upgrade; the next change tries again."""
        with self.server() as server:
            self.watching(server)
            server.write("app.py", "def broken(:\n")
            server.said("Upgrade failed: generation 1")
            server.said("SyntaxError")
            self.assertEqual(server.get().body, "1")
            server.deploy("2")
            server.hand_over()
            self.assertEqual(server.get().body, "2")

    def test_configuration_file(self) -> None:
        """A change of the configuration file counts; that of another file does not."""
        server = self.server("--config", "graceful.toml")
        server.write("graceful.toml", "[graceful]\nidle-timeout = 1\n")
        with server:
            self.watching(server)
            server.write("notes.txt", "nothing of interest")
            server.write("graceful.toml", "[graceful]\nidle-timeout = 2\n")
            server.said(r"Changed: graceful\.toml; upgrading")
            server.hand_over()
            self.assertNotIn("notes.txt", server.log)
