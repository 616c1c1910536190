"""Sets of addresses, from text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_graceful.config.settings import Settings
from twisted_graceful.errors import SettingsError
from twisted_graceful.networks import Networks, address

from ..case import SynchronousTestCase
from .support import examples


def inside(text: str, host: str) -> bool:
    """Whether an address is in the set of a text."""
    return address(host) in Networks.parse(text)


class NetworksTests(SynchronousTestCase):
    """What a text names."""

    def test_members(self) -> None:
        """Addresses, networks of both families and `*` hold what they say, and no more."""
        for text, host, expected in (
            ("127.0.0.1,::1", "127.0.0.1", True),
            ("127.0.0.1,::1", "::1", True),
            ("127.0.0.1,::1", "127.0.0.2", False),
            (" 10.0.0.0/8 , 192.168.0.0/16 ", "192.168.7.1", True),
            ("10.0.0.0/8", "11.0.0.1", False),
            ("2001:db8::/32", "2001:db8:1::1", True),
            ("2001:db8::/32", "2001:db9::1", False),
            ("*", "192.0.2.1", True),
            ("10.0.0.1,*", "2001:db8::1", True),
            ("", "127.0.0.1", False),
        ):
            with self.subTest(text=text, host=host):
                self.assertEqual(inside(text, host), expected)

    def test_ipv4_in_ipv6(self) -> None:
        """An IPv4 address is the same in the form that sockets of both families show."""
        self.assertTrue(inside("10.0.0.0/8", "::ffff:10.1.2.3"))
        self.assertTrue(inside("::ffff:10.0.0.0/104", "10.1.2.3"))
        self.assertTrue(inside("::ffff:10.0.0.1", "10.0.0.1"))
        self.assertFalse(inside("::/0", "10.0.0.1"))

    def test_link_local(self) -> None:
        """The address of a neighbour, with its interface, is in the network of its address."""
        self.assertTrue(inside("fe80::/10", "fe80::1%eth0"))

    def test_star_names_nobody(self) -> None:
        """`*` lets everybody in, and names nobody."""
        networks = Networks.parse("*,10.0.0.0/8")
        self.assertTrue(networks.names(address("10.0.0.1")))
        self.assertFalse(networks.names(address("192.0.2.1")))

    def test_wrong_parts(self) -> None:
        """A part that is no address and no network is an error, and the part is named."""
        for text, part in (
            ("127.0.0.1,localhost", "'localhost'"),
            ("127.0.0.1,,::1", "''"),
            ("10.0.0.1/8", "10.0.0.1/8 has host bits set"),
            ("10.0.0.0/33", "'10.0.0.0/33'"),
            ("010.0.0.1", "'010.0.0.1'"),
            ("10.0.0.*", "'10.0.0.*'"),
            ("127.0.0.1 ::1", "'127.0.0.1 ::1'"),
        ):
            with self.subTest(text=text, part=part):
                self.assertIn(part, str(self.assertRaises(ValueError, Networks.parse, text)))

    @examples
    @given(st.text(alphabet="0123456789abf.:/*, %", max_size=30))
    def test_any_text(self, text: str) -> None:
        """Whatever is written, it names some or is a `ValueError`."""
        try:
            networks = Networks.parse(text)
        except ValueError:
            return
        self.assertEqual(networks.anyone, "*" in text)


class SettingTests(SynchronousTestCase):
    """The setting that is made of them."""

    def test_checked_at_once(self) -> None:
        """Settings with a wrong network cannot be made, and the error names the part."""
        wrong = self.assertRaises(SettingsError, Settings, forwarded_allow_ips="::1,10.0.0.1/8")
        self.assertIn("forwarded_allow_ips: ", str(wrong))
        self.assertIn("10.0.0.0/8, separated by commas", str(wrong))
        self.assertIn("10.0.0.1/8 has host bits set", str(wrong))

    def test_no_text(self) -> None:
        """What is no text is refused."""
        for value in (None, 1, ["127.0.0.1"]):
            with self.subTest(value=value):
                self.assertRaises(SettingsError, Settings, forwarded_allow_ips=value)
