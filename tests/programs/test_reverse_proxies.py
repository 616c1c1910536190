"""nginx and HAProxy, and what their clients see of upgrades and of a stop.

The proxies keep connections to the server open, and never ask twice: whatever the server
loses is an error of theirs, which their client and their log see.
"""

from __future__ import annotations

import hashlib
import re
import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from ..case import SynchronousTestCase
from ..integration import proc
from ..integration.client import Client, request
from ..integration.harness import Server, served
from ..integration.load import Load
from ..integration.peers import Peer, free_port, haproxy, nginx
from ..integration.programs import curl
from ..integration.waiting import until

UPGRADES = 4
BURST = 10
DOWNLOAD = 30_000_000
BODY = "x" * 1_000_000


@dataclass(frozen=True)
class Kind:
    """A kind of proxy.

    Attributes:
        run: starts one.
        config: its configuration; each request leaves a line with ``outcome`` in its log.
        log: the file in which these lines are.
        answered: the outcome of a request that was answered.
        left: outcomes of a request whose client went away, as wrk does at its end.
    """

    run: Callable[[int, str], AbstractContextManager[Peer]]
    config: str
    log: str
    answered: str
    left: str

    @contextmanager
    def before(self, server: Server) -> Iterator[Peer]:
        """A proxy before a server."""
        with free_port() as port:
            config = self.config.format(port=port, server=server.ports[0])
            with self.run(port, config) as peer:
                yield peer

    def failures(self, peer: Peer) -> Counter[str]:
        """The outcomes of requests that were not answered, though their client waited."""
        text = (peer.directory / self.log).read_text()
        outcomes = Counter(re.findall(r"^outcome (.*)$", text, re.MULTILINE))
        for each in list(outcomes):
            if each == self.answered or re.fullmatch(self.left, each):
                del outcomes[each]
        return outcomes


NGINX = Kind(
    run=lambda port, config: nginx(port, http=config),
    config="""\
log_format outcome 'outcome $status $upstream_status';
access_log outcomes outcome;
upstream app {{ server 127.0.0.1:{server}; keepalive 16; }}
server {{
    listen 127.0.0.1:{port};
    client_max_body_size 0;
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_next_upstream off;
        proxy_buffering off;
        proxy_request_buffering off;
    }}
}}
""",
    log="outcomes",
    answered="200 200",
    left="499 .*",
)

HAPROXY = Kind(
    run=lambda port, config: haproxy(port, config=config),
    config="""\
listen web
    bind 127.0.0.1:{port}
    option dontlognull
    log stdout format raw local0
    log-format "outcome %ST %ts"
    retries 0
    http-reuse always
    server app 127.0.0.1:{server}
""",
    log="output",
    answered="200 --",
    left="-?[0-9]+ C.",
)


class ProxyTests:
    """What is the same for every kind of proxy."""

    kind: Kind

    def answers(self: Any, clients: list[Client]) -> None:
        """Each client gets a good answer."""
        for client in clients:
            self.assertEqual(client.answer().status, 200)

    def burst(self: Any, server: Server, peer: Peer, gate: str) -> list[Client]:
        """Several requests at once, so that the proxy needs as many connections."""
        clients = [peer.connect() for _ in range(BURST)]
        for client in clients:
            client.get(f"/gate/{gate}")
        until(
            lambda: proc.connections(server.ports[0]) >= BURST,
            "each request has a connection of its own",
        )
        return clients

    def test_load_during_upgrades(self: Any) -> None:
        """Of thousands of requests during several upgrades none fails."""
        with served() as server, self.kind.before(server) as peer:
            with Load(f"http://127.0.0.1:{peer.ports[0]}/") as load:
                for _ in range(UPGRADES):
                    server.upgrade()
            self.assertEqual(load.summary.errors, ())
            self.assertGreater(load.summary.requests, 1000)
            self.assertEqual(self.kind.failures(peer), Counter())

    def test_idle_connections(self: Any) -> None:
        """What an upgrade finds idle moves, and the proxy goes on to use it; none fails."""
        with served() as server, self.kind.before(server) as peer:
            clients = self.burst(server, peer, "held")
            server.open("held")
            self.answers(clients)
            server.deploy("2")
            predecessor = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            server.ended(predecessor)
            server.said(f"Drained: .*{BURST} handed over")
            seen = [client.ask("/").body for client in clients]
            self.assertEqual(seen, ["2"] * BURST)
            for client in clients:
                client.close()
            self.assertEqual(self.kind.failures(peer), Counter())

    def test_download_during_an_upgrade(self: Any) -> None:
        """A large answer that an upgrade finds half read arrives whole."""
        with served() as server, self.kind.before(server) as peer:
            client = peer.connect()
            client.get(f"/large/{DOWNLOAD}")
            self.assertIn(b"200", client.socket.recv(15, socket.MSG_PEEK))
            server.kill(signal.SIGUSR2)
            server.hand_over()
            self.assertEqual(len(client.answer().body), DOWNLOAD)
            client.close()
            self.assertEqual(self.kind.failures(peer), Counter())

    def test_upload_during_an_upgrade(self: Any) -> None:
        """A large body of which an upgrade finds one half arrives whole."""
        with served() as server, self.kind.before(server) as peer:
            client = peer.connect()
            client.send(request("/upload", "PUT", f"Content-Length: {len(BODY)}\r\n"))
            client.send(BODY[:500_000])
            until(lambda: proc.connections(server.ports[0]), "the server is asked")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            client.send(BODY[500_000:])
            self.assertEqual(client.answer().body, hashlib.sha256(BODY.encode()).hexdigest())
            client.close()
            self.assertEqual(self.kind.failures(peer), Counter())

    def test_upload_that_is_refused(self: Any) -> None:
        """The client of the proxy is told what is wrong, however much it has still to send."""
        with served() as server, self.kind.before(server) as peer:
            (server.directory / "body").write_bytes(bytes(20_000_000))
            upload = ("--header", "Expect:", "--upload-file", str(server.directory / "body"))
            found = curl(f"http://127.0.0.1:{peer.ports[0]}/upload", *upload)
            self.assertEqual(found["http_code"], 413)
            self.assertIn("The body is over 1048576 bytes.", found["body"])

    def test_stop(self: Any) -> None:
        """What a stop finds begun is answered through the proxy."""
        with served() as server, self.kind.before(server) as peer:
            clients = self.burst(server, peer, "held")
            server.kill(signal.SIGTERM)
            server.wait_for("held.draining")
            server.open("held")
            self.answers(clients)
            self.assertEqual(server.exit_status(), 0)
            for client in clients:
                client.close()
            self.assertEqual(self.kind.failures(peer), Counter())


class NginxTests(ProxyTests, SynchronousTestCase):
    """nginx."""

    kind = NGINX


class HAProxyTests(ProxyTests, SynchronousTestCase):
    """HAProxy."""

    kind = HAPROXY
