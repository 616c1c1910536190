"""Several instances behind a proxy, of which one after another is replaced under load."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ..case import SynchronousTestCase
from ..integration.harness import FOREGROUND, PATIENCE, Server
from ..integration.load import Load
from ..integration.peers import free_port, haproxy, nginx
from ..integration.programs import run
from ..integration.waiting import until

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"

STRICT = "    retries 0\n    http-reuse always\n"
"""HAProxy asks nothing twice, so that whatever an instance refuses or loses is an error."""

LOGGED = """\
    log stdout format raw local0
    option dontlognull
    log-format "outcome %ST %ts %s"
"""


class Instances:
    """Three servers, each at an address that its successors have too.

    Args:
        resources: at whose end they end.
    """

    def __init__(self, resources: ExitStack) -> None:
        self._resources = resources
        self.ports = [resources.enter_context(free_port()) for _ in range(3)]
        self._admin = [resources.enter_context(free_port()) for _ in range(3)]
        self.servers = [self._start(index, "old") for index in range(3)]
        for server in self.servers:
            server.serving(0)

    def _start(self, index: int, version: str) -> Server:
        listening = [f"127.0.0.1:{each[index]}" for each in (self.ports, self._admin)]
        options = ("--shutdown-delay", "1.5", "--port", listening[0], "--admin", listening[1])
        command = (*FOREGROUND, "graceful", *PATIENCE, "--app", "app.resource")
        server = Server(*options, command=command)
        server.deploy(version)
        return self._resources.enter_context(server)

    def replace(self, index: int) -> int | None:
        """Stop one, and start its successor; the exit status of what was stopped."""
        status = self.servers[index].stop()
        self.servers[index] = self._start(index, "new")
        self.servers[index].serving(0)
        return status

    def filled_in(self, config: str, port: int, *, checked: bool) -> str:
        """A configuration with the addresses of this machine."""
        for number, behind in enumerate(self.ports, 1):
            here = f"127.0.0.1:{behind}"
            if checked:
                here += f" port {self._admin[number - 1]}"
            config = config.replace(f"192.0.2.{number}:8080", here)
        config = config.replace("listen 80;", f"listen 127.0.0.1:{port};")
        return config.replace("bind :80", f"bind 127.0.0.1:{port}")


class RollingTests(SynchronousTestCase):
    """All instances are replaced, and no request fails."""

    def roll(
        self, resources: ExitStack, instances: Instances, port: int, used: Callable[[int], object]
    ) -> None:
        """Replace all.

        Args:
            resources: at whose end all ends.
            instances: that stand behind a proxy.
            port: of the proxy.
            used: waits until the proxy makes use of an instance that has just been started.
        """
        url = f"http://127.0.0.1:{port}/"
        with Load(url, connections=4) as load:
            for index in range(3):
                used(index)
            for index in range(3):
                self.assertEqual(instances.replace(index), 0)
                used(index)
        self.assertEqual(load.summary.errors, ())
        self.assertGreater(load.summary.requests, 1000)
        for server, port in zip(instances.servers, instances.ports, strict=True):
            self.assertEqual(server.get(port=port).body, "new")

    def test_haproxy(self) -> None:
        """Behind HAProxy, which asks whether they are ready."""
        file = PROXIES / "haproxy-instances.cfg"
        self.assertEqual(run("haproxy", "-c", "-f", str(file)).returncode, 0)
        config = file.read_text().replace("inter 2s", "inter 100ms")
        config = re.sub(r"    retries 1\n.*\n.*conn-failure\n", STRICT, config)
        config = config.replace("frontend web\n", f"frontend web\n{LOGGED}")
        with ExitStack() as resources:
            instances = Instances(resources)
            port = resources.enter_context(free_port())
            peer = resources.enter_context(
                haproxy(port, config=instances.filled_in(config, port, checked=True))
            )

            def used(index: int) -> None:
                before = len(peer.log)
                until(lambda: f"200 -- app{index + 1}" in peer.log[before:], "HAProxy uses it")

            self.roll(resources, instances, port, used)
            outcomes = set(re.findall(r"^outcome (\S+ \S\S) ", peer.log, re.MULTILINE))
        # A request whose client has gone is one that wrk had open at its end.
        self.assertEqual({each for each in outcomes if each[-2] != "C"}, {"200 --"})

    def test_nginx(self) -> None:
        """Behind nginx, which asks nobody, and goes by what is refused."""
        site = (PROXIES / "nginx.conf").read_text()
        upstream = (PROXIES / "nginx-instances.conf").read_text()
        config = upstream + re.sub(r"upstream app {(.*\n)*?}", "", site, count=1)
        logged = "log_format outcome '$status $upstream_addr'; access_log outcomes outcome;\n"
        with ExitStack() as resources:
            instances = Instances(resources)
            port = resources.enter_context(free_port())
            text = logged + instances.filled_in(config, port, checked=False)
            peer = resources.enter_context(nginx(port, http=text))
            outcomes = peer.directory / "outcomes"

            def used(index: int) -> None:
                before = len(outcomes.read_text())
                wanted = f"200 127.0.0.1:{instances.ports[index]}\n"
                until(lambda: wanted in outcomes.read_text()[before:], "nginx uses it")

            self.roll(resources, instances, port, used)
            found = set(re.findall(r"^\S+", outcomes.read_text(), re.MULTILINE))
        self.assertEqual(found - {"499"}, {"200"})
