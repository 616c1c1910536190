"""Any bytes, in any pieces: the verdict is the same, and it is that of h11.

Where it is not, we differ on purpose: the tables say where and why.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.streams import Asked, Outcome, serve, split
from tests.unit.support import examples

from ..case import SynchronousTestCase

# What streams are made of. Each has what is usual, and what somebody once got wrong.
METHODS = [b"GET", b"POST", b"HEAD", b"OPTIONS", b"get", b"CONNECT", b"M-SEARCH"]
TARGETS = [b"/", b"/a?b", b"*", b"http://y/a", b"http://y", b"//a", b"a", b"x:80", b"/#"]
VERSIONS = [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/0.9", b"http/1.1"]
FIELDS = [
    b"Host: x",
    b"Host:",
    b"X: 1",
    b"X:",
    b"X: a\tb\xff",
    b"X : 1",
    b" folded",
    b"Content-Length: 3",
    b"Content-Length: 0",
    b"Content-Length: 3, 3",
    b"Content-Length: +3",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: chunked, gzip",
    b"Connection: close",
    b"Connection: Keep-Alive",
    b"Connection: TE, CLOSE",
    b"Expect: 100-continue",
    b"Expect: more",
]
BODIES = [
    b"",
    b"abc",
    b"3\r\nabc\r\n0\r\n\r\n",
    b"3;a=b\r\nabc\r\n0\r\nX: 1\r\n\r\n",
    b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
]
NOISE = [bytes([each]) for each in b"\0\x01\t\n\x0b\r !#%*+,-/0123:;=A_a{\x7f\x80\xff"]
NOISE += [b"\r\n", b"\r\n\r\n", b"\n\n", b"0\r\n", b" \r\n", b"\r\n "]


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request, mostly in order."""
    line = b" ".join(draw(st.sampled_from(each)) for each in (METHODS, TARGETS, VERSIONS))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=3))
    if draw(st.booleans()):
        line, fields = b"POST / HTTP/1.1", [b"Host: x", *fields]
    return b"\r\n".join([line, *fields, b"", draw(st.sampled_from(BODIES))])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Requests, one after the other, of which some bytes may be changed."""
    sent = draw(st.lists(requests(), min_size=1, max_size=3))
    if draw(st.booleans()):
        sent.insert(0, sent[0])  # what was read once may be remembered
    stream = b"".join(sent)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(stream)))
        removed = draw(st.integers(0, 2))
        stream = stream[:at] + draw(st.sampled_from([b"", *NOISE])) + stream[at + removed :]
    return stream


splits = st.lists(st.integers(0, 10_000), max_size=8)
many = settings(examples, max_examples=1000)


def ours(*chunks: bytes) -> Outcome:
    """Our verdict, without the limits that h11 has not."""
    return serve(*chunks, max_body_size=0)


@dataclass(frozen=True)
class Verdict:
    """What h11 makes of a stream.

    Attributes:
        asked: the requests that are complete.
        refusal: why the next one is none; empty if it is, or has not arrived.
    """

    asked: tuple[Asked, ...]
    refusal: str


def theirs(stream: bytes) -> Verdict:
    """The verdict of h11."""
    asked: list[Asked] = []
    persistent = True
    while persistent:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(stream)
        try:
            found = read(connection)
        except h11.RemoteProtocolError as error:
            return Verdict(tuple(asked), str(error))
        if found is None:
            break
        stream, _ = connection.trailing_data
        persistent = connection.their_state is not h11.MUST_CLOSE or keeps_alive(found)
        if found.target != b"*":  # which is answered for the server, before any application
            asked.append(as_we_show_it(found))
    return Verdict(tuple(asked), "")


def read(connection: h11.Connection) -> Asked | None:
    """One request; None if it is not complete."""
    request: h11.Request | None = None
    body = b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage):
            assert request is not None
            version = b"HTTP/1.0" if request.http_version == b"1.0" else b"HTTP/1.1"
            return Asked.of(request.method, request.target, version, request.headers, body)
        else:
            return None


def keeps_alive(asked: Asked) -> bool:
    """Whether HTTP/1.0 asks for a persistent connection, which h11 never gives."""
    options = b",".join(value for name, value in asked.headers if name == b"connection").lower()
    members = [each.strip() for each in options.split(b",")]
    return asked.version == b"HTTP/1.0" and b"keep-alive" in members and b"close" not in members


def as_we_show_it(asked: Asked) -> Asked:
    """A request with the target in origin form, and its authority in `Host`."""
    target = urlsplit(asked.target)
    if not target.scheme or not target.netloc:
        return asked
    others = [field for field in asked.headers if field[0] != b"host"]
    path = (target.path or b"/") + (b"?" + target.query if b"?" in asked.target else b"")
    return Asked.of(
        asked.method, path, asked.version, [*others, (b"host", target.netloc)], asked.body
    )


def codings_in_lower_case(asked: Asked) -> Asked:
    """A request as h11 shows it in one more respect."""
    fields = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in asked.headers]
    return Asked.of(asked.method, asked.target, asked.version, fields, asked.body)


def difference(us: Outcome, them: Verdict) -> tuple[str, str] | None:
    """Who refuses what the other one does not, and why; None if nobody does.

    Raises:
        AssertionError: a request is not the same to both.
    """
    count = min(len(us.asked), len(them.asked))
    alike = [*map(codings_in_lower_case, us.asked[:count])] == list(them.asked[:count])
    assert alike, (us, them)
    we_refuse = bool(us.refusal) and len(us.asked) == count
    they_refuse = bool(them.refusal) and len(them.asked) == count
    if we_refuse != they_refuse:
        return ("we", us.refusal) if we_refuse else ("they", them.refusal)
    assert we_refuse or len(us.asked) == len(them.asked), (us, them)
    return None


GET = b"GET / HTTP/1.1\r\n"
POST = b"POST / HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

STRICTER: dict[str, tuple[str, bytes]] = {
    "This is no request.": (
        "A line ends with CR LF: a lone LF is an end to some and none to others (2.2).",
        b"GET / HTTP/1.1\nHost: x\n\n",
    ),
    "A line does not end with CR LF.": (
        "Likewise.",
        GET + b"Host: x\nX: 1\r\n\r\n",
    ),
    "This server speaks HTTP/1.1.": (
        "A major version that we do not speak (RFC 9110 section 2.5).",
        b"GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    ),
    "The request line is malformed.": (
        "A fragment is no part of a target (RFC 9110 section 7.1).",
        b"GET /#a HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "The target is malformed.": (
        "A target has one of four forms (3.2).",
        b"GET a HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "The target * is for OPTIONS only.": (
        "The asterisk form is for OPTIONS (3.2.4).",
        b"GET * HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "This server is no tunnel.": (
        "An origin server may have no CONNECT (RFC 9110 section 9.3.6).",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ),
    "There is no Host field.": (
        "1.2 is understood as 1.1, which has a Host (RFC 9110 section 2.5).",
        b"GET / HTTP/1.2\r\n\r\n",
    ),
    "The Host field is malformed.": (
        "An invalid Host is refused (3.2).",
        GET + b"Host: a/b\r\n\r\n",
    ),
    "The name of a header field is malformed.": (
        "A folded line is obsolete, and refused (5.2).",
        GET + b"Host: x\r\n folded\r\n\r\n",
    ),
    "A header field holds a control character.": (
        "No control character is part of a value (RFC 9110 section 5.5).",
        GET + b"Host: x\r\nX: \x01\r\n\r\n",
    ),
    "There are both Content-Length and Transfer-Encoding.": (
        "Such a request may have been made to be read in two ways (6.1).",
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "HTTP/1.0 has no Transfer-Encoding.": (
        "Its framing is taken for faulty (6.1).",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    "Content-Length is malformed.": (
        "Equal lengths may be accepted, and are a sign of trouble (6.3).",
        POST + b"Content-Length: 3, 3\r\n\r\nabc",
    ),
    "The only expectation understood is 100-continue.": (
        "What cannot be met is refused (RFC 9110 section 10.1.1).",
        GET + b"Host: x\r\nExpect: more\r\n\r\n",
    ),
    "The size of a chunk is malformed.": (
        "No white space may follow a size (7.1).",
        CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    ),
    "The size of a chunk is too long.": (
        "Extensions are bounded (7.1.1).",
        CHUNKED + b"3;" + b"a" * 300 + b"\r\nabc\r\n0\r\n\r\n",
    ),
    "A trailer field is malformed.": (
        "A trailer field is a field: no control characters, no folding (7.1.2).",
        CHUNKED + b"0\r\nX: \x01\r\n\r\n",
    ),
    "The trailer is too long.": (
        "It is bounded (7.1.2).",
        CHUNKED + b"0\r\nX: " + b"1" * 10_000 + b"\r\n\r\n",
    ),
}
"""What we refuse and h11 does not: our words for it, why, and an example."""

LOOSER: dict[str, tuple[str, bytes]] = {
    "no request line received": (
        "Empty lines before a request are ignored (2.2).",
        b"\r\n" + GET + b"Host: x\r\n\r\n",
    ),
}
"""What h11 refuses and we do not: its words for it, why, and an example."""


class DifferentialTests(SynchronousTestCase):
    """h11 and we agree."""

    @many
    @given(streams())
    def test_verdict(self, stream: bytes) -> None:
        """Each request is accepted by both, with the same content, or by none."""
        found = difference(ours(stream), theirs(stream))
        if found is None:
            return
        who, why = found
        if why.isdigit():
            return  # the answer to HEAD does not say which of our reasons it is
        known = STRICTER if who == "we" else LOOSER
        self.assertTrue(any(why.startswith(each) for each in known), (found, stream))

    def test_differences(self) -> None:
        """Each difference that is listed is still one."""
        for who, known in (("we", STRICTER), ("they", LOOSER)):
            for why, (_, example) in known.items():
                with self.subTest(who=who, known=known):
                    found = difference(ours(example), theirs(example))
                    assert found is not None, example
                    self.assertEqual((found[0], found[1][: len(why)]), (who, why), example)

    def test_head(self) -> None:
        """What is refused of other methods is refused of HEAD, whose answer does not say why."""
        for body in (b"3 \r\nabc\r\n0\r\n\r\n", b"x\r\n"):
            with self.subTest(body=body):
                stream = CHUNKED.replace(b"POST", b"HEAD") + body
                self.assertEqual(ours(stream).refusal, "400")

    def test_the_other_forms_of_the_same(self) -> None:
        """We show an absolute target in origin form, and keep HTTP/1.0 alive; h11 does not."""
        old = b"GET http://y HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(old)
        found = read(connection)
        assert found is not None
        self.assertEqual(connection.their_state, h11.MUST_CLOSE)
        self.assertNotEqual(found, as_we_show_it(found))
        self.assertEqual(ours(old * 2).asked, (as_we_show_it(found),) * 2)


class SplitTests(SynchronousTestCase):
    """How bytes arrive changes nothing."""

    @many
    @given(streams(), splits)
    def test_any_split(self, stream: bytes, at: list[int]) -> None:
        """The requests, the verdict and the end are the same in whatever pieces bytes come."""
        whole, pieces = ours(stream), ours(*split(stream, at))
        self.assertEqual(pieces.asked, whole.asked)
        self.assertEqual(final(pieces), final(whole))
        self.assertEqual(pieces.ended, whole.ended)

    @examples
    @given(streams())
    def test_byte_by_byte(self, stream: bytes) -> None:
        """So it is when each byte comes alone."""
        whole, pieces = ours(stream), ours(*split(stream, range(len(stream))))
        self.assertEqual((pieces.asked, final(pieces)), (whole.asked, final(whole)))

    @many
    @given(st.binary(max_size=200), splits)
    def test_noise(self, stream: bytes, at: list[int]) -> None:
        """Bytes that are no HTTP at all are refused or waited for; nothing fails."""
        outcome = ours(*split(stream, at))
        self.assertTrue(set(final(outcome)) <= {200, 400, 414, 431, 501, 505}, outcome)


class RepetitionTests(SynchronousTestCase):
    """A request that is nearly the last one again is read as if it were the first."""

    def test_one_byte_is_another(self) -> None:
        """The verdict on it is the same, with whatever byte in any place, and whatever removed."""
        first = b"GET /a?b HTTP/1.1\r\nHost: x\r\nX: 1\r\n\r\n"
        for at in range(len(first)):
            for byte in [b"", *NOISE]:
                for behind in (at, at + 1):
                    with self.subTest(at=at, byte=byte):
                        second = first[:at] + byte + first[behind:]
                        alone, after = ours(second), ours(first + second)
                        self.assertEqual(after.asked[1:], alone.asked, second)
                        self.assertEqual(after.statuses[1:], alone.statuses, second)
                        self.assertEqual(after.ended, alone.ended, second)


def final(outcome: Outcome) -> list[int]:
    """The answers without `100 Continue`, which depends on whether the body had come by then."""
    return [status for status in outcome.statuses if status != 100]
