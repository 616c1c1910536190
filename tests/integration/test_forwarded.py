"""The server behind nginx and HAProxy, with the configurations that we recommend."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeAlias
from unittest import SkipTest

from websockets.sync.client import connect

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from ..unit.websockets import why_no_twisted
from . import proc
from .client import Client, request, trusting
from .harness import Server, served
from .peers import Peer, free_port, haproxy, nginx
from .waiting import until

Before: TypeAlias = Callable[[Server], AbstractContextManager[Peer]]

PROXIES = Path(__file__).parents[2] / "deploy" / "proxies"
PROXY_PROTOCOL = PROXIES / "haproxy-proxy-protocol.cfg"

CLIENT = "127.0.0.5"
"""A client that is none of the proxies that are trusted."""


@contextmanager
def nginx_before(server: Server | Peer) -> Iterator[Peer]:
    """nginx before a server, or before another proxy."""
    with free_port() as port:
        config = filled_in((PROXIES / "nginx.conf").read_text(), port, server.ports[0])
        with nginx(port, http=config) as peer:
            yield peer


@contextmanager
def haproxy_before(server: Server) -> Iterator[Peer]:
    """HAProxy before a server."""
    with free_port() as port:
        config = filled_in((PROXIES / "haproxy.cfg").read_text(), port, server.ports[0])
        # By default the first request of a client comes on a connection of its own.
        config = config.replace("server app", "http-reuse always\n    server app")
        with haproxy(port, config=config) as peer:
            yield peer


def filled_in(config: str, port: int, behind: int) -> str:
    """A configuration with the ports of the proxy and of what is behind it."""
    config = config.replace("127.0.0.1:8080", f"127.0.0.1:{behind}")
    config = config.replace("listen 80;", f"listen 127.0.0.1:{port};")
    return config.replace("bind :80", f"bind 127.0.0.1:{port}")


class HeaderTests(SynchronousTestCase):
    """``--proxy-headers``."""

    def ask(self, peer: Peer, headers: str = "") -> str:
        """What the server sees of a request of `CLIENT`."""
        client = peer.connect(CLIENT)
        client.send(request("/client", headers=headers))
        answer = client.answer()
        client.close()
        self.assertEqual(answer.status, 200)
        return answer.body

    def test_unix_socket(self) -> None:
        """nginx reaches a server at a UNIX socket, and is believed there."""
        site = (PROXIES / "nginx.conf").read_text()
        upstream = (PROXIES / "nginx-unix.conf").read_text()
        config = upstream + re.sub(r"upstream app {(.*\n)*?}", "", site, count=1)
        with served("--proxy-headers", "--port", "unix:app.sock") as server, free_port() as port:
            server.serving(0)
            (server.directory / "app.sock").chmod(0o666)  # for the user of nginx
            config = config.replace("/run/app/app.sock", str(server.directory / "app.sock"))
            with nginx(port, http=filled_in(config, port, 0)) as peer:
                self.assertEqual(self.ask(peer), f"{CLIENT} http://localhost/")

    def check(self, before: Before) -> None:
        """The server sees the client, on a connection that many clients share."""
        with served("--proxy-headers") as server, before(server) as peer:
            for forged in ("", "X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: https\r\n"):
                self.assertEqual(self.ask(peer, forged), f"{CLIENT} http://localhost/")
            self.assertEqual(proc.connections(server.ports[0]), 1)

    def test_nginx(self) -> None:
        """Behind nginx the server sees the client, who can forge nothing."""
        self.check(nginx_before)

    def test_haproxy(self) -> None:
        """Behind HAProxy the server sees the client, who can forge nothing."""
        self.check(haproxy_before)

    def test_both(self) -> None:
        """Behind HAProxy behind nginx too."""
        with (
            served("--proxy-headers") as server,
            haproxy_before(server) as inner,
            nginx_before(inner) as outer,
        ):
            seen = self.ask(outer, "X-Forwarded-For: 192.0.2.1\r\n")
        self.assertEqual(seen, f"{CLIENT} http://localhost/")

    def test_websockets(self) -> None:
        """WebSockets are opened through either."""
        if reason := why_no_twisted():
            raise SkipTest(reason)
        for before in (nginx_before, haproxy_before):
            with (
                self.subTest(before=before),
                served("--proxy-headers") as server,
                before(server) as peer,
                connect(f"ws://127.0.0.1:{peer.ports[0]}/socket") as client,
            ):
                client.send("hello")
                self.assertEqual(client.recv(timeout=15), "hello")

    def test_wsgi(self) -> None:
        """WSGI applications see the client too."""
        with (
            Server("--app", "app.wsgi_client", "--proxy-headers") as server,
            nginx_before(server) as peer,
        ):
            self.assertEqual(self.ask(peer), f"{CLIENT} http 80")

    def test_off(self) -> None:
        """Without the option the server sees the proxy."""
        with served() as server, nginx_before(server) as peer:
            self.assertEqual(self.ask(peer), f"127.0.0.1 http://localhost:{server.ports[0]}/")

    def test_untrusted(self) -> None:
        """Of a proxy that is not trusted the server sees the proxy."""
        options = ("--proxy-headers", "--forwarded-allow-ips", "10.0.0.0/8")
        with served(*options) as server, nginx_before(server) as peer:
            self.assertTrue(self.ask(peer).startswith("127.0.0.1 "))


class ProxyProtocolTests(SynchronousTestCase):
    """``--proxy-protocol``."""

    def check(self, server: Server, peer: Peer) -> None:
        """The server sees the client and where it connected to, on each of its requests."""
        client = peer.connect(CLIENT)
        for _ in range(2):
            answer = client.ask("/client")
            self.assertEqual(answer.body, f"{CLIENT} http://localhost:{peer.ports[0]}/")
        client.close()
        self.assertNotIn("Closed the connection", server.log)

    def test_haproxy(self) -> None:
        """HAProxy says who its client is, in both versions; when it checks us it is let in."""
        example = PROXY_PROTOCOL.read_text().replace(
            "mode tcp", "mode tcp\n log stdout format raw local0\n option log-health-checks"
        )
        for version in ("send-proxy", "send-proxy-v2"):
            with self.subTest(version=version):
                config = example.replace("send-proxy-v2", f"{version} inter 100ms")
                with served("--proxy-protocol") as server, free_port() as port:
                    config = filled_in(config, port, server.ports[0])
                    with haproxy(port, config=config) as peer:
                        until(lambda: "web/app succeeded" in peer.log, "it checks us")
                        self.check(server, peer)

    def test_nginx(self) -> None:
        """nginx says who its client is."""
        found = re.search(r"stream {(.*)}", (PROXIES / "nginx-stream.conf").read_text(), re.DOTALL)
        assert found is not None
        with served("--proxy-protocol") as server, free_port() as port:
            config = filled_in(found[1], port, server.ports[0])
            with nginx(port, stream=config) as peer:
                self.check(server, peer)

    def test_tls_of_the_proxy(self) -> None:
        """HAProxy says that its client speaks TLS with it."""
        config = PROXY_PROTOCOL.read_text().replace("send-proxy-v2", "send-proxy-v2-ssl")
        with served("--proxy-protocol") as server, free_port() as port:
            server.write("site.pem", ONE + ONE_KEY)
            secure = f"127.0.0.1:{port} ssl crt {server.directory / 'site.pem'}"
            config = config.replace(":80\n", f"{secure}\n")
            with haproxy(port, config=filled_in(config, port, server.ports[0])):
                self.check_tls(port)

    def test_tls_through_the_proxy(self) -> None:
        """The header comes before TLS that a client speaks with us."""
        with served("--proxy-protocol", certificate=ONE + ONE_KEY) as server, free_port() as port:
            config = filled_in(PROXY_PROTOCOL.read_text(), port, server.ports[0])
            with haproxy(port, config=config):
                self.check_tls(port)

    def check_tls(self, port: int) -> None:
        """A client that speaks TLS with a port is seen, and is known to do so."""
        client = Client(port, trusting(ONE), CLIENT)
        self.assertEqual(client.ask("/client").body, f"{CLIENT} https://localhost:{port}/")
        client.close()

    def test_no_header(self) -> None:
        """Who comes past the proxy is not answered, and the log says why."""
        with served("--proxy-protocol") as server:
            client = server.connect()
            client.get("/")
            self.assertTrue(client.closed())
            server.said(r"Closed the connection of .*127\.0\.0\.1.*: it sent no PROXY header: ")

    def test_untrusted(self) -> None:
        """A proxy that is not trusted is not listened to, and the log says why."""
        with served("--proxy-protocol", "--forwarded-allow-ips", "10.0.0.0/8") as server:
            client = server.connect()
            self.assertTrue(client.closed())
            server.said(r"Closed the connection of .*: it is not in forwarded_allow_ips")
