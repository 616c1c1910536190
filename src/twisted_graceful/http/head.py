"""Parses the head of a request: strictly, within limits, and in one pass.

Nothing in here does I/O. The sections are those of RFC 9112 where no other is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

from twisted.web.http_headers import Headers

from ..config.server_settings import ServerSettings

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
# A fragment is not part of a target (RFC 9110 section 7.1), and `#` is in none. The target of
# CONNECT has a form of its own (section 3.2.3).
_REQUEST_LINE = re.compile(rb"(?!CONNECT )(%s) ([!\"$-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_IS_TOKEN = re.compile(_TOKEN)
# An empty host is invalid (RFC 9110 section 4.2.1).
_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.%a-z]+\]|[0-9A-Za-z\-._~%!$&'()*+,;=]+)(?::([0-9]{0,5}))?")
MAX_PORT = 65535
# Neither an empty host nor userinfo (RFC 9110 sections 4.2.1 and 4.2.4).
_ABSOLUTE = re.compile(rb"https?://([^/?#:@][^/?#@]*)([/?].*)?", re.IGNORECASE)

# Ends of lines to `str.splitlines`, in Latin-1 and in UTF-8; libraries for WebSockets use it.
_LINE_END = re.compile(rb"\x85|\xe2\x80[\xa8\xa9]")

# What may stand in no value (RFC 9110 section 5.5).
CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t"})

_NAMES: dict[bytes, bytes] = {}
"""Names of fields that clients have sent, in Twisted's spelling, so that each is checked once."""

_NAMES_LIMIT = 1000
_NAME_LENGTH_LIMIT = 64

_HOSTS: set[bytes] = set()
"""Values of Host that clients have sent, and that are valid."""

_HOSTS_LIMIT = 1000
_HOST_LENGTH_LIMIT = 255

_REPEATED_LIMIT = 2048
"""Bytes of a header that is kept in case it is repeated."""

_MAX_LENGTH_DIGITS = 18


class RequestRejected(Exception):
    """A request to which the server itself sends an error response.

    Args:
        status: the HTTP status code of the response.
        detail: what was wrong, for its body.
        limit: the name of the setting that was exceeded; empty if it was something else.
    """

    def __init__(self, status: int, detail: str, limit: str = "") -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.limit = limit


class MalformedHead(ValueError):
    """The head of a response that cannot be sent; the text says why."""


SENDABLE: set[bytes] = set()
"""Values of fields that applications have sent, so that each is checked once."""

_SENDABLE_LIMIT = 1000
_SENDABLE_LENGTH_LIMIT = 64


def check_sendable(name: bytes, value: bytes) -> None:
    """Check a value that an application sends.

    Args:
        name: of the field.
        value: the value.

    Raises:
        MalformedHead: it contains a control character, or is not bytes.
    """
    if not isinstance(value, bytes):
        raise MalformedHead(f"the value of {name!r} is {type(value).__name__}, not bytes")
    if len(value.translate(None, CONTROLS)) != len(value):
        raise MalformedHead(f"the value of {name!r} contains a control character")
    if len(value) <= _SENDABLE_LENGTH_LIMIT:
        if len(SENDABLE) >= _SENDABLE_LIMIT:
            SENDABLE.clear()
        SENDABLE.add(value)


@dataclass(slots=True)
class Head:
    """The head of a request, of HTTP/1.1 or HTTP/2.

    Args:
        method: case matters (RFC 9110 section 9.1).
        target: in origin form, or ``*``; the authority of an absolute form is in ``headers``.
        version: ``HTTP/1.1`` or ``HTTP/1.0``.
        headers: values by name, in Twisted's spelling. Later heads of the connection may share
            them: to be copied before they are changed.
        length: of the body, in bytes; None if it is chunked.
        persistent: whether the client leaves the connection open.
        keep_alive: whether a client of HTTP/1.0, whose connections are not persistent, asks
            for one that is.
        expects_continue: whether the client waits for ``100 Continue``.
        websocket: whether this is the opening handshake of a WebSocket (RFC 6455 section 4.1).
    """

    method: bytes
    target: bytes
    version: bytes
    headers: dict[bytes, list[bytes]]
    length: int | None = 0
    persistent: bool = True
    keep_alive: bool = False
    expects_continue: bool = False
    websocket: bool = False


class HeadParser:
    """Parses the heads of the requests on one connection.

    Clients repeat themselves: one that polls sends the same request again, and most send nearly the
    same fields with every request. So a head is compared with the one before, first as a whole and
    then line by line, and only the lines that differ are parsed.

    Args:
        settings: the limits.

    Attributes:
        rest: what came after the head that was taken last.
    """

    __slots__ = ("_bytes", "_head", "_lines", "_looked", "_settings", "rest")

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._looked = 0
        self.forget()

    def forget(self) -> None:
        """Give back the memory: no head is expected soon."""
        self._bytes = self.rest = b""
        self._lines: list[bytes] = []
        self._head: Head | None = None

    def parse(self, buffer: bytes) -> Head | None:
        """Read the head that begins here.

        Args:
            buffer: what has arrived since its first byte; not empty. After None was returned it is
                the same, with more appended.

        Returns:
            The head; None if it has not arrived in whole.

        Raises:
            RequestRejected: it is not a valid request, or over a limit.
        """
        last = self._bytes
        if last and buffer.startswith(last):
            self._looked = 0
            self.rest = buffer[len(last) :]
            return self._head
        end = find(buffer, self._settings, self._looked)
        if not end:
            self._looked = len(buffer)
            return None
        self._looked = 0
        self.rest = buffer[end:]
        head = buffer[:end]
        request_line, *lines = _lines(head, self._settings)
        fields = self._fields(lines)
        result = _parse(request_line, fields)
        if end <= _REPEATED_LIMIT and result.headers is fields:  # not so with the absolute form
            self._bytes, self._lines, self._head = head, lines, result
        return result

    def _fields(self, lines: list[bytes]) -> dict[bytes, list[bytes]]:
        before, last = self._lines, self._head
        if last is None or len(lines) != len(before):
            return _fields(lines)
        if lines == before:
            return last.headers
        headers = last.headers.copy()
        for line, old in zip(lines, before, strict=True):
            if line != old:
                name, colon, value = line.partition(b":")
                known = _NAMES.get(name)
                if known is None or not colon or not old.startswith(name + colon):
                    return _fields(lines)
                if len(headers[known]) > 1:
                    return _fields(lines)
                headers[known] = [value.strip()]
        return headers


def find(buffer: bytes, settings: ServerSettings, looked: int = 0) -> int:
    """Where a head ends.

    Args:
        buffer: what has arrived since its first byte.
        settings: the limits.
        looked: bytes of it that an earlier call has checked, without an end or a fault in them.

    Returns:
        The position after its empty line; 0 if that has not arrived.

    Raises:
        RequestRejected: the head is over a limit, whether or not it has arrived in whole; or it
            will not be one, whatever comes.
    """
    end = buffer.find(b"\r\n\r\n", looked - 3 if looked > 3 else 0, settings.max_header_size + 4)
    if end >= 0:
        line = buffer.find(b"\r\n")
    else:
        # Only for its CR: that is found some ten times as fast.
        line = buffer.find(b"\r", 0, settings.max_request_line + 2)
        if line < 0 and len(buffer) > settings.max_request_line + 1:  # its CR may have come
            line = len(buffer)
    if end >= 0 and line <= settings.max_request_line:
        return end + 4
    too_long = line > settings.max_request_line
    seen = buffer[: settings.max_request_line + 1 if too_long else settings.max_header_size + 3]
    # A client that speaks TLS, or ends lines with LF, gets its error now, not after a timeout.
    new = looked - buffer.endswith(b"\r", 0, looked)
    ends = seen.count(b"\r\n", new)
    if (
        _IS_TOKEN.match(seen, 0, 1) is None
        or seen.count(b"\n", new) != ends
        or seen.count(b"\r", new) - seen.endswith(b"\r") != ends
    ):
        raise RequestRejected(400, "This is no request.")
    if too_long:
        raise RequestRejected(
            414, f"The request line is over {settings.max_request_line} bytes.", "max_request_line"
        )
    if len(buffer) > settings.max_header_size + 3:  # and most of CR LF CR LF
        raise RequestRejected(
            431, f"The header is over {settings.max_header_size} bytes.", "max_header_size"
        )
    return 0


def _lines(head: bytes, settings: ServerSettings) -> list[bytes]:
    """The lines of a head, of which each ends as it must, without the empty one."""
    *lines, _, _ = head.split(b"\r\n")
    # Without its control characters it must have lost one CR LF a line, and nothing else.
    if len(head.translate(None, CONTROLS)) != len(head) - 2 * len(lines) - 2:
        raise _misplaced(head)
    if len(lines) - 1 > settings.max_headers:
        raise RequestRejected(
            431, f"There are over {settings.max_headers} header fields.", "max_headers"
        )
    return lines


def _fields(lines: list[bytes]) -> dict[bytes, list[bytes]]:
    headers: dict[bytes, list[bytes]] = {}
    known_names = _NAMES
    for line in lines:
        name, colon, value = line.partition(b":")
        known = known_names.get(name) or _learn(name)
        if not colon:
            raise RequestRejected(400, "A header field has no colon.")
        # Of what is white space to Python only SP and HTAB can be there.
        if known in headers:
            headers[known].append(value.strip())
        else:
            headers[known] = [value.strip()]
    return headers


def _parse(request_line: bytes, headers: dict[bytes, list[bytes]]) -> Head:
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        if request_line.startswith(b"CONNECT "):
            raise RequestRejected(501, "This server is no tunnel.")
        raise RequestRejected(400, "The request line is malformed.")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise RequestRejected(505, "This server speaks HTTP/1.1.")
    # A later minor version is understood as the highest that we know (RFC 9110 section 2.5).
    result = Head(method, target, b"HTTP/1.0" if minor == b"0" else b"HTTP/1.1", headers)
    check(result)
    return result


def _misplaced(head: bytes) -> RequestRejected:
    ends = head.count(b"\r\n")
    if head.count(b"\r") != ends or head.count(b"\n") != ends:
        return RequestRejected(400, "A line does not end with CR LF.")
    return RequestRejected(400, "A header field holds a control character.")


def known_name(name: bytes) -> bytes:
    """The name of a field, in Twisted's spelling.

    Raises:
        RequestRejected: it is none.
    """
    return _NAMES.get(name) or _learn(name)


def check(head: Head) -> None:
    """Check what a request says of its target, host and body, and take note of the latter.

    Raises:
        RequestRejected: it is not a valid request.
    """
    _check_host(head)
    if head.target[0] != 0x2F:  # not the origin form
        _check_target(head)
    _read_framing(head)


def _learn(name: bytes) -> bytes:
    if _IS_TOKEN.fullmatch(name) is None:
        # Among them white space before the colon and folded lines (sections 5.1 and 5.2).
        raise RequestRejected(400, "The name of a header field is malformed.")
    spelled = Headers({name: [b""]})
    [(known, _)] = spelled.getAllRawHeaders()
    if len(_NAMES) < _NAMES_LIMIT and len(name) <= _NAME_LENGTH_LIMIT:
        _NAMES[name] = known
    return known


def has_option(connection: Sequence[bytes], option: bytes) -> bool:
    """Whether `Connection` has an option (RFC 9110 section 7.6.1).

    Args:
        connection: the values of all its lines.
        option: in lower case.
    """
    return option in _members(connection)


def _members(values: Sequence[bytes]) -> list[bytes]:
    """The members of a list, in lower case, over all its lines (RFC 9110 section 5.6.1)."""
    return [member.strip(b" \t").lower() for member in b",".join(values).split(b",")]


def _check_target(head: Head) -> None:
    """Section 3.2."""
    target = head.target
    if target == b"*":
        if head.method != b"OPTIONS":
            raise RequestRejected(400, "The target * is for OPTIONS only.")
        return
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None:
        raise RequestRejected(400, "The target is malformed.")
    # The authority of the target counts, not the Host field (section 3.2.2).
    authority, rest = absolute.groups()
    if not _is_host(authority):
        raise RequestRejected(400, "The authority of the target is malformed.")
    head.headers = {**head.headers, b"Host": [authority]}  # the next head may share them
    rest = rest or b"/"
    head.target = rest if rest[0] == 0x2F else b"/" + rest


def _check_host(head: Head) -> None:
    """Section 3.2: exactly one, in HTTP/1.1; at most one before."""
    hosts = head.headers.get(b"Host")
    if hosts is None:
        if head.version != b"HTTP/1.0":
            raise RequestRejected(400, "There is no Host field.")
    elif len(hosts) > 1:
        raise RequestRejected(400, "There is more than one Host field.")
    elif hosts[0] not in _HOSTS:
        if not _is_host(hosts[0]):
            raise RequestRejected(400, "The Host field is malformed.")
        if len(_HOSTS) < _HOSTS_LIMIT and len(hosts[0]) <= _HOST_LENGTH_LIMIT:
            _HOSTS.add(hosts[0])


def _is_host(text: bytes) -> bool:
    """Whether this is a host, and a port if there is one (RFC 9110 section 7.2)."""
    match = _HOST.fullmatch(text)
    return match is not None and int(match[1] or 0) <= MAX_PORT


def _read_framing(head: Head) -> None:
    """Sections 6 and 9.3, and RFC 9110 section 10.1.1."""
    headers = head.headers
    lengths = headers.get(b"Content-Length")
    codings = headers.get(b"Transfer-Encoding")
    if codings is not None:
        if lengths is not None:
            raise RequestRejected(400, "There are both Content-Length and Transfer-Encoding.")
        if head.version == b"HTTP/1.0":
            raise RequestRejected(400, "HTTP/1.0 has no Transfer-Encoding.")
        *others, last = _members(codings)
        if last != b"chunked" or b"chunked" in others:
            # Nobody knows where such a body ends (section 6.3).
            raise RequestRejected(400, "The last transfer coding must be chunked, and no other.")
        if others:
            raise RequestRejected(501, "The only transfer coding understood is chunked.")
        head.length = None
    elif lengths is not None:
        # A list of equal lengths may be accepted (RFC 9110 section 8.6), and is a sign of trouble.
        [length, *more] = lengths
        if more or not length.isdigit() or len(length) > _MAX_LENGTH_DIGITS:
            raise RequestRejected(400, "Content-Length is malformed.")
        head.length = int(length)
    connection = headers.get(b"Connection")
    if connection is not None:
        options = _members(connection)
        lasts = b"close" not in options
        head.persistent = lasts and head.version != b"HTTP/1.0"
        head.keep_alive = lasts and not head.persistent and b"keep-alive" in options
    elif head.version == b"HTTP/1.0":
        head.persistent = False
    if b"Upgrade" in headers:
        _read_upgrade(head)
    expectations = headers.get(b"Expect")
    if expectations is not None and head.version != b"HTTP/1.0":
        if len(expectations) > 1 or expectations[0].lower() != b"100-continue":
            raise RequestRejected(417, "The only expectation understood is 100-continue.")
        head.expects_continue = True


def _read_upgrade(head: Head) -> None:
    """RFC 9110 section 7.8, and RFC 6455 section 4.2.1."""
    headers = head.headers
    asks = has_option(headers.get(b"Connection", ()), b"upgrade")
    if not asks or head.version == b"HTTP/1.0":
        # Ignored, and hidden from applications, which would respond with 101.
        head.headers = {name: each for name, each in headers.items() if name != b"Upgrade"}
        return
    head.websocket = b"websocket" in _members(headers[b"Upgrade"])
    if head.websocket and _LINE_END.search(b"\n".join(chain(*headers.values()))):
        raise RequestRejected(
            400, "A header field contains a character that some take for the end of a line."
        )
