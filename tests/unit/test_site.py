"""A site: which connection speaks what was negotiated."""

from __future__ import annotations

from twisted_graceful.http.http1.channel import Channel
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .web import Echo


class Other(Channel):
    """Another protocol."""


class NegotiatedTests(SynchronousTestCase):
    """The protocols of a site, by their ALPN names."""

    def test_what_was_negotiated_is_spoken(self) -> None:
        """Each name has its kind of connection; without a name it is HTTP/1.1."""
        site = MemoryServer(Echo()).site
        site.protocols = {b"other": Other, b"http/1.1": Channel}
        self.assertEqual(site.acceptableProtocols(), [b"other", b"http/1.1"])
        for name, kind in ((b"other", Other), (b"http/1.1", Channel), (None, Channel)):
            with self.subTest(name=name, kind=kind):
                connection = site.connection_for(name)
                self.assertIs(type(connection), kind)
                self.assertIs(connection.site, site)
                self.assertIs(connection.factory, site)
