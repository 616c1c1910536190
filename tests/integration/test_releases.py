"""Deploys that move a symlink to a new release directory, and remove the old one."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import sysconfig
import venv

from ..case import SynchronousTestCase
from .harness import PATIENCE, PORT, SERVED, TAC, TWISTD, Server

OPTIONS = ("-n", "--pidfile=../app.pid", "graceful", *PORT, *PATIENCE, "--app", "app.resource")

VERSION = """\
import sys
VERSION = "{version} in the environment of " + os.path.realpath(sys.prefix).split("/")[-2]
"""


class Releases:
    """Release directories below ``releases``, each with a virtual environment of its own.

    All that Python imports from outside of its standard library is below the release, too.
    """

    def __init__(self, server: Server) -> None:
        self.directory = server.directory
        self.current = self.directory / "current"
        self.deploy("1")
        server.working_directory = self.current

    def deploy(self, version: str) -> None:
        """Make a release, and let ``current`` lead to it."""
        release = self.directory / "releases" / version
        environment = release / "venv"
        venv.create(environment, symlinks=True)
        packages = sysconfig.get_path("purelib", vars={"base": str(environment)})
        standard = sysconfig.get_paths()["stdlib"]
        found = [each for each in sys.path if os.path.isdir(each)]
        links = []
        for number, each in enumerate(found):
            if each.endswith("site-packages") or not each.startswith(standard):
                links.append(str(release / f"packages-{number}"))
                os.symlink(each, links[-1])
        with open(os.path.join(packages, "release.pth"), "w") as file:
            file.write("\n".join(links))
        script = environment / "bin" / "twistd"
        with open(TWISTD) as installed:
            _, *code = installed.readlines()
        script.write_text("".join([f"#!{environment}/bin/python\n", *code]))
        script.chmod(0o755)
        text = SERVED.read_text().replace('VERSION = "1"\n', VERSION.format(version=version))
        (release / "app.py").write_text(text)
        self.switch(version)

    def switch(self, version: str) -> None:
        """Let ``current`` lead to a release."""
        os.symlink(f"releases/{version}", self.directory / "next")
        os.replace(self.directory / "next", self.current)

    def prune(self, version: str) -> None:
        """Remove a release."""
        shutil.rmtree(self.directory / "releases" / version)


class ReleaseTests(SynchronousTestCase):
    """A server that was started in ``current``, with the virtual environment of the release."""

    def server(self, *command: str, pwd: bool = True) -> tuple[Server, Releases]:
        """One of the first release; it is not started yet."""
        server = Server(command=command)
        releases = Releases(server)
        server.environment.pop("PWD", None)
        if pwd:
            server.environment["PWD"] = str(releases.current)
        return server, releases

    def test_upgrade(self) -> None:
        """An upgrade runs the release, interpreter and libraries that ``current`` leads to.

        The old release may be gone. What is missing is named, and the old process serves on.
        """
        server, releases = self.server("venv/bin/twistd", *OPTIONS)
        with server:
            self.assertEqual(server.get().body, "1 in the environment of 1")
            releases.current.unlink()
            releases.prune("1")
            server.kill(signal.SIGUSR2)
            server.said(f"Upgrade failed: .* {releases.current}, does not exist")
            self.assertEqual(server.get().body, "1 in the environment of 1")
            releases.deploy("2")
            (releases.current / "venv" / "bin" / "twistd").rename(releases.current / "twistd")
            server.kill(signal.SIGUSR2)
            server.said(f"Upgrade failed: .* {releases.current}/venv/bin/twistd, does not exist")
            (releases.current / "twistd").rename(releases.current / "venv" / "bin" / "twistd")
            server.upgrade()
            self.assertEqual(server.get().body, "2 in the environment of 2")
            releases.deploy("3")
            releases.prune("2")
            server.upgrade()
            self.assertEqual(server.get().body, "3 in the environment of 3")
            self.assertEqual(server.stop(), 0)

    def test_upgrade_of_a_tac_file(self) -> None:
        """The same for a ``.tac`` file, where only the command line names the symlink."""
        server, releases = self.server(pwd=False)
        server.command += [f"{releases.current}/venv/bin/twistd", "--pidfile=../app.pid", "-ny"]
        server.command += ["app.tac"]
        for version in ("2", "3"):
            releases.deploy(version)
        for version in ("1", "2", "3"):
            (server.directory / "releases" / version / "app.tac").write_text(TAC)
        releases.switch("1")
        with server:
            self.assertEqual(server.get().body, "1 in the environment of 1")
            for version, old in (("2", "1"), ("3", "2")):
                releases.switch(version)
                releases.prune(old)
                server.upgrade()
                self.assertEqual(server.get().body, f"{version} in the environment of {version}")

    def test_workers(self) -> None:
        """A worker that dies is started from the release that ``current`` leads to.

        While it leads nowhere the log names it; when it leads somewhere again a worker serves.
        """
        server, releases = self.server("venv/bin/twistd", *OPTIONS, "--workers", "1")
        with server:
            self.assertEqual(server.get().body, "1 in the environment of 1")
            worker = int(server.get("/pid").body)
            releases.current.unlink()
            releases.prune("1")
            server.kill(signal.SIGKILL, worker)
            server.said(f"could not be started: .* {releases.current}, does not exist")
            releases.deploy("2")
            self.assertEqual(server.get().body, "2 in the environment of 2")
            self.assertEqual(server.stop(), 0)
