"""The server behind nginx and HAProxy, which keep connections to it open."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from . import proc
from .harness import served
from .peers import Peer, free_port, haproxy, nginx

NGINX_KEEP_ALIVE = """\
upstream app {{ server 127.0.0.1:{server}; keepalive 8; }}
server {{
    listen 127.0.0.1:{port};
    location / {{
        proxy_pass http://app;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
    }}
}}
"""

HAPROXY_KEEP_ALIVE = """\
listen web
    bind 127.0.0.1:{port}
    http-reuse always
    server app 127.0.0.1:{server}
"""


class KeepAliveTests(SynchronousTestCase):
    """A proxy that uses one connection for many clients."""

    def check(self, peer: Peer, port: int) -> None:
        """What several clients ask comes on one connection."""
        for _ in range(3):
            client = peer.connect()
            self.assertEqual(client.ask("/").body, "1")
            client.close()
        self.assertEqual(proc.connections(port), 1)

    def test_nginx(self) -> None:
        """nginx keeps its connection to the server open."""
        with served() as server, free_port() as port:
            config = NGINX_KEEP_ALIVE.format(port=port, server=server.ports[0])
            with nginx(port, http=config) as peer:
                self.check(peer, server.ports[0])

    def test_haproxy(self) -> None:
        """HAProxy keeps its connection to the server open."""
        with served() as server, free_port() as port:
            config = HAPROXY_KEEP_ALIVE.format(port=port, server=server.ports[0])
            with haproxy(port, config=config) as peer:
                self.check(peer, server.ports[0])
