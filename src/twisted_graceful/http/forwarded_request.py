"""A request whose client is described by a trusted proxy."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress

from .head import Head
from .interfaces import RequestChannel
from .request import Request


class ForwardedRequest(Request):
    """A request that a trusted proxy has passed on.

    What its fields say of the client stands in place of what we know of the connection:
    in the client's address; in `isSecure`, so in URLs and sessions too; and in the port of
    `getHost`, which is that of the ``Host`` field. If the address is malformed the client is
    `UNKNOWN`, so that the proxy is not taken for it. A malformed scheme is ignored.
    """

    from_trusted_proxy = True
    _secure: bool | None = None

    def __init__(self, channel: RequestChannel, head: Head) -> None:
        super().__init__(channel, head)
        addresses = head.headers.get(b"X-Forwarded-For", ())
        schemes = head.headers.get(b"X-Forwarded-Proto", ())
        if addresses or schemes:
            proxies = channel.site.proxies
            assert proxies is not None  # or this class would not have been chosen
            client, self._secure = proxies.client_and_scheme(addresses, schemes)
            if client is not None:
                self.client = client

    def getHost(self) -> IAddress:
        """Our address, with the port that the client asked."""
        host: IAddress = super().getHost()
        if self._secure is None or not isinstance(host, (IPv4Address, IPv6Address)):
            return host
        return type(host)("TCP", host.host, self.port_asked())

    def isSecure(self) -> bool:
        """Whether the client speaks TLS."""
        if self._secure is None or self._forceSSL:
            secure: bool = super().isSecure()
            return secure
        return self._secure
