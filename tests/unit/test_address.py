"""Listen addresses: what is accepted, what is refused, and how it is said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from twisted_graceful.address import Address, UnixAddress, authority, parse
from twisted_graceful.errors import AddressError

from ..case import SynchronousTestCase
from .support import examples

ACCEPTED = [
    ("8080", Address("", 8080), ":8080"),
    (8080, Address("", 8080), ":8080"),
    (":8080", Address("", 8080), ":8080"),
    ("*:8080", Address("", 8080), ":8080"),
    (" 8080\n", Address("", 8080), ":8080"),
    ("08080", Address("", 8080), ":8080"),
    (":0", Address("", 0), ":0"),
    ("65535", Address("", 65535), ":65535"),
    ("127.0.0.1:8080", Address("127.0.0.1", 8080), "127.0.0.1:8080"),
    ("localhost:3000", Address("localhost", 3000), "localhost:3000"),
    ("[::1]:8080", Address("::1", 8080), "[::1]:8080"),
    ("[::]:80", Address("::", 80), "[::]:80"),
    ("[fe80::1%eth0]:80", Address("fe80::1%eth0", 80), "[fe80::1%eth0]:80"),
    ("https:8443", Address("", 8443, "https"), "https::8443"),
    ("https::8443", Address("", 8443, "https"), "https::8443"),
    ("HTTPS:*:8443", Address("", 8443, "https"), "https::8443"),
    ("http:localhost:80", Address("localhost", 80, "http"), "http:localhost:80"),
    ("https:[::1]:8443", Address("::1", 8443, "https"), "https:[::1]:8443"),
    ("https:http:80", Address("http", 80, "https"), "https:http:80"),
    ("unix:/run/app.sock", UnixAddress("/run/app.sock"), "unix:/run/app.sock"),
    ("unix:app.sock", UnixAddress("app.sock"), "unix:app.sock"),
    ("unix:@app", UnixAddress("@app"), "unix:@app"),
    ("UNIX:/a b/[c]:80", UnixAddress("/a b/[c]:80"), "unix:/a b/[c]:80"),
    ("https:unix:/a", UnixAddress("/a", "https"), "https:unix:/a"),
    ("HTTP:unix:@a/b", UnixAddress("@a/b", "http"), "http:unix:@a/b"),
    ("unix:unix:a", UnixAddress("unix:a"), "unix:unix:a"),
]

REFUSED = [
    ("", "port"),
    (":", "port"),
    ("localhost", "'localhost' is not a port"),
    ("localhost:", "port"),
    ("localhost:http", "'http' is not a port"),
    ("65536", "'65536' is not a port"),
    (-1, "'-1' is not a port"),
    ("+80", "'+80' is not a port"),
    ("8_0", "'8_0' is not a port"),
    ("8 0", "'8 0' is not a port"),
    ("80.0", "'80.0' is not a port"),
    ("٨٠", "is not a port"),
    ("²", "is not a port"),
    ("::1", "an IPv6 address goes in brackets"),
    ("::1:8080", "an IPv6 address goes in brackets"),
    ("[localhost]:80", "'localhost' in brackets is not an IPv6 address"),
    ("[]:80", "'' in brackets is not an IPv6 address"),
    ("a b:80", "'a b' is not a host"),
    ("user@host:80", "'user@host' is not a host"),
    ("host/path:80", "it is no URL"),
    ("https://localhost:8443", "it is no URL"),
    ("https:", "'' is not a port"),
    ("https:localhost", "'localhost' is not a port"),
    ("https:::1:8443", "an IPv6 address goes in brackets"),
    ("a\0b:80", "is not a host"),
    ("unix:", "'' is not the path of a socket"),
    ("unix:@", "'@' is not the path of a socket"),
    ("unix:/run/", "'/run/' is not the path of a socket"),
    ("unix:/a\0b", "is not the path of a socket"),
    ("/run/app.sock", "a UNIX socket is written unix:/run/app.sock"),
    ("./app.sock", "a UNIX socket is written unix:./app.sock"),
]


class ParseTests(SynchronousTestCase):
    """From text to value."""

    def test_domains(self) -> None:
        """A host is a domain if it is neither an IP address nor this machine's own name."""
        for text, domain in (
            ("example.com:443", "example.com"),
            ("localhost:443", ""),
            ("127.0.0.1:443", ""),
            ("[::1]:443", ""),
            ("443", ""),
        ):
            with self.subTest(text=text, domain=domain):
                address = parse(text)
                assert isinstance(address, Address)
                self.assertEqual(address.domain, domain)

    def test_accepted(self) -> None:
        """Each way of writing an address gives its value and its one canonical text."""
        for written, address, text in ACCEPTED:
            with self.subTest(written=written, address=address):
                self.assertEqual(parse(written), address)
                self.assertEqual(str(address), text)

    def test_refused(self) -> None:
        """What is no address is refused, and the reason says what is wrong with it."""
        for text, reason in REFUSED:
            with self.subTest(text=text, reason=reason):
                self.assertIn(reason, self._reason(text))

    def test_a_port_of_any_length_is_refused_alike(self) -> None:
        """More digits than Python converts are refused like any other port out of range."""
        self.assertIn("is not a port", self._reason("9" * 5000))

    def test_a_missing_port_is_what_is_reported(self) -> None:
        """For an IPv6 address in brackets without a port, the error is about the port."""
        self.assertIn("port", self._reason("[::1]"))
        self.assertNotIn("goes in brackets", self._reason("[::1]"))

    def test_a_url_is_not_taken_for_an_ipv6_address(self) -> None:
        """For a URL the error does not talk about IPv6."""
        self.assertNotIn("IPv6", self._reason("http://localhost:80"))

    def _reason(self, text: str | int) -> str:
        error = str(self.assertRaises(AddressError, parse, text))
        return error.partition("is not a listen address: ")[2].partition("; accepted")[0]

    def test_the_error_names_what_was_given_and_what_is_accepted(self) -> None:
        """A user reads the wrong text, as given, and each way to write it right."""
        text = str(self.assertRaises(AddressError, parse, "nonsense"))
        self.assertIn("'nonsense'", text)
        hosts = ("8080", ":8080", "127.0.0.1:8080", "localhost:3000", "[::1]:8080")
        for example in (*hosts, "unix:/run/app.sock", "unix:@name"):
            with self.subTest(example=example):
                self.assertIn(example, text)
                parse(example)

    def test_it_is_a_value_error(self) -> None:
        """Callers may catch a refused address as `ValueError`."""
        self.assertRaises(ValueError, parse, "nonsense")


names = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,20}[a-z0-9])?", fullmatch=True).filter(
    lambda name: name not in ("http", "https")  # as hosts these need a scheme before them
)
hosts = st.one_of(st.just(""), names, st.ip_addresses().map(str))
ports = st.integers(0, 65535)
schemes = st.sampled_from(["", "http", "https"])
paths = (
    st.text(min_size=1)
    .map(lambda path: path.replace("\0", ""))
    .filter(lambda path: path.strip() == path and path not in ("", "@") and path[-1:] != "/")
)


class RoundTripTests(SynchronousTestCase):
    """From value to text and back."""

    @examples
    @given(hosts, ports, schemes)
    def test_every_address_is_read_back_from_its_text(
        self, host: str, port: int, scheme: str
    ) -> None:
        """The text of an address names that address and no other."""
        address = Address(host, port, scheme)
        self.assertEqual(parse(str(address)), address)

    @examples
    @given(paths, schemes)
    def test_every_path_is_read_back_from_its_text(self, path: str, scheme: str) -> None:
        """The text of a UNIX socket names that socket and no other."""
        address = UnixAddress(path, scheme)
        self.assertEqual(parse(str(address)), address)

    def test_a_relative_path_means_something_in_its_directory_only(self) -> None:
        """A path becomes absolute; what is absolute or no path stays as it is."""
        for written, absolute in (
            ("unix:app.sock", "unix:/srv/app.sock"),
            ("https:unix:../run//app.sock", "https:unix:/run/app.sock"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
            ("unix:@app", "unix:@app"),
            ("localhost:80", "localhost:80"),
        ):
            with self.subTest(written=written, absolute=absolute):
                self.assertEqual(str(parse(written).within("/srv")), absolute)

    def test_what_the_system_calls_it(self) -> None:
        """bind(2) gets the path, or for an abstract socket a NUL byte and its name."""
        self.assertEqual(UnixAddress("/run/a").sockaddr, "/run/a")
        self.assertEqual(UnixAddress("@a").sockaddr, b"\0a")

    def test_the_name_of_a_listener_is_without_the_scheme(self) -> None:
        """A port that turns to TLS keeps its listener."""
        names = {parse(text).name for text in ("8443", "http:8443", "https:8443")}
        self.assertEqual(names, {":8443"})

    @examples
    @given(st.lists(st.sampled_from(["http", "https", "unix:", *"[]:*. /@%a1٣\0-"]), max_size=12))
    def test_any_text_is_refused_or_has_a_canonical_form(self, parts: list[str]) -> None:
        """Whatever is given, it is an `AddressError` or an address that reads back the same."""
        try:
            address = parse("".join(parts))
        except AddressError:
            return
        self.assertEqual(parse(str(address)), address)

    def test_a_url_has_ipv6_in_brackets(self) -> None:
        """The text of an address is what stands in a URL."""
        self.assertEqual(authority("::1", 80), "[::1]:80")
        self.assertEqual(authority("127.0.0.1", 80), "127.0.0.1:80")
