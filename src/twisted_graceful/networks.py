"""Sets of IP addresses, as users write them: ``127.0.0.1,10.0.0.0/8``."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

ANY = "*"


@dataclass(frozen=True)
class Networks:
    """A set of IP addresses.

    Attributes:
        named: the networks that were named; an address is a network of one.
        anyone: whether ``*`` was written too.
    """

    named: tuple[IPv4Network | IPv6Network, ...]
    anyone: bool = False

    @classmethod
    def parse(cls, text: str) -> Networks:
        """A set, from what a user wrote.

        Args:
            text: addresses and networks (``10.0.0.0/8``), separated by commas; ``*``
                for any; nothing for none.

        Raises:
            ValueError: a part is none of these; the text says which, and why.
        """
        parts = [part.strip() for part in text.split(",")] if text.strip() else []
        return cls(tuple(_network(part) for part in parts if part != ANY), ANY in parts)

    def names(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether an address is in a network that was named; ``*`` names none."""
        return any(address in each for each in self.named)

    def __contains__(self, address: IPv4Address | IPv6Address) -> bool:
        return self.anyone or self.names(address)


def address(text: str) -> IPv4Address | IPv6Address:
    """An address, from text.

    Raises:
        ValueError: it is none.
    """
    return unmapped(ip_address(text))


def unmapped(found: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address that an IPv6 address stands for, if it does.

    A socket of both families shows 192.0.2.1 as ``::ffff:192.0.2.1`` (RFC 4291 section 2.5.5.2).
    """
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _network(part: str) -> IPv4Network | IPv6Network:
    network = ip_network(part)
    first = network.network_address
    mapped = unmapped(first)
    return network if mapped is first else IPv4Network((str(mapped), network.prefixlen - 96))
