"""The access log of a site: a line for every request, which nothing that a client sends can forge.

A line is made in one step from what is at hand, and then looked at as a whole: only if a byte
in it is suspicious is it made again from values that are escaped one by one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from .. import private
from .report import Outcome
from .request_id import new_request_id

_UNANSWERED = {Outcome.CLIENT_GONE: 499}
"""The status of a request to which no answer was begun: nginx's, and 444 for any other outcome."""

_SUSPICIOUS = bytes({*range(0x20), *b'"\\', *range(0x7F, 0x100)})
"""Bytes that end a line or a value, or are not printable ASCII."""

_NOTHING = [b""]
_ABSENT = [b"-"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Loggable(Protocol):
    """A request, as far as the log is concerned; the names are Twisted's."""

    client: Any
    method: bytes
    uri: bytes
    clientproto: bytes
    requestHeaders: Headers
    code: int
    sentLength: int

    @property
    def request_id(self) -> str:
        """What names it in logs."""


@dataclass
class Fragment:
    """A request that was not read in whole: what is known of it, and nothing for the rest."""

    client: IAddress
    method: bytes = b""
    uri: bytes = b""
    clientproto: bytes = b""
    requestHeaders: Headers = field(default_factory=Headers)
    code: int = 0
    sentLength: int = 0
    request_id: str = field(default_factory=new_request_id)


class _Template:
    """A line with gaps for what clients send.

    Args:
        line: a format of bytes.
        escape: what stands for a value with suspicious bytes.

    Attributes:
        own: how many suspicious bytes are in it before the gaps are filled.
    """

    def __init__(self, line: bytes, escape: Callable[[bytes], bytes]) -> None:
        self.line = line
        self.own = len(line) - len(line.translate(None, _SUSPICIOUS))
        self._escape = escape

    def escaped(self, values: tuple[object, ...]) -> bytes:
        """The line with these values, whatever is in them."""
        return self.line % tuple(
            self._escape(value) if isinstance(value, bytes) else value for value in values
        )


class Format(Protocol):
    """How a request becomes a line."""

    def __call__(
        self, request: Loggable, begun: float, now: float, outcome: Outcome, status: int, sent: int
    ) -> bytes:
        """The line, with its end."""


class Combined:
    """The combined format of Apache and nginx; the time is local, as theirs is."""

    def __init__(self) -> None:
        self._second = -1
        self._time = b""

    def __call__(
        self, request: Loggable, begun: float, now: float, outcome: Outcome, status: int, sent: int
    ) -> bytes:
        """The line."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = _local_time(second)
        try:
            client = request.client.host.encode()
        except AttributeError:
            client = b"-"  # a UNIX socket's client has no address
        headers = private.raw_headers(request.requestHeaders)
        referer = headers.get(b"Referer", _ABSENT)[0]
        agent = headers.get(b"User-Agent", _ABSENT)[0]
        values: tuple[object, ...]
        if request.clientproto:
            template = _COMBINED
            asked = (request.method, request.uri, request.clientproto)
            values = (client, self._time, *asked, status, sent, referer, agent)
        else:
            template = _COMBINED_FRAGMENT
            known = b" ".join(filter(None, (request.method, request.uri))) or b"-"
            values = (client, self._time, known, status, sent, referer, agent)
        line = template.line % values
        if len(line) - len(line.translate(None, _SUSPICIOUS)) != template.own:
            return template.escaped(values)
        return line


class Json:
    """An object in a line, in ASCII (RFC 8259); the time is UTC (RFC 3339)."""

    def __init__(self) -> None:
        self._second = -1
        self._time = b""

    def __call__(
        self, request: Loggable, begun: float, now: float, outcome: Outcome, status: int, sent: int
    ) -> bytes:
        """The line."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode("ascii")
        try:
            client = request.client.host.encode()
        except AttributeError:
            client = b"-"
        headers = private.raw_headers(request.requestHeaders)
        values = (
            self._time,
            (now - second) * 1000,
            client,
            request.method,
            request.uri,
            request.clientproto,
            status,
            sent,
            now - begun if now > begun else 0,  # the system's clock may be set back
            headers.get(b"Host", _NOTHING)[0],
            headers.get(b"Referer", _NOTHING)[0],
            headers.get(b"User-Agent", _NOTHING)[0],
            request.request_id.encode(),
        )
        line = _JSON.line % values
        if len(line) - len(line.translate(None, _SUSPICIOUS)) != _JSON.own:
            line = _JSON.escaped(values)
        if outcome is not Outcome.ANSWERED:
            line = line[:-2] + b',"outcome":"%b"}\n' % outcome.value.encode()
        return line


FORMATS: Mapping[str, Callable[[], Format]] = {"combined": Combined, "json": Json}
"""By their names in the settings."""


class AccessLog:
    """Where a site tells of each request, once, when it is over.

    Args:
        format: one of `FORMATS`.
        clock: the time.
        sink: takes the lines.
    """

    _log = Logger()

    def __init__(self, format: str, clock: IReactorTime, sink: Callable[[bytes], None]) -> None:
        self._format = FORMATS[format]()
        self._clock = clock
        self._sink = sink

    def write(
        self,
        request: Loggable,
        begun: float,
        outcome: Outcome = Outcome.ANSWERED,
        *,
        status: int | None = None,
        sent: int | None = None,
    ) -> None:
        """Write the line of a request; whatever is wrong with it is no fault of the caller.

        Args:
            request: what was asked for; a `Fragment` if it was not read in whole.
            begun: when its first byte was read, in seconds of the clock.
            outcome: how it ended.
            status: of the answer; 0 if none was begun, None for that of the request.
            sent: bytes of the answer's body that were sent; None for all that was written.
        """
        if status is None:
            status = request.code
        elif not status:
            status = _UNANSWERED.get(outcome, 444)
        if sent is None:
            sent = request.sentLength
        try:
            line = self._format(request, begun, self._clock.seconds(), outcome, status, sent)
        except Exception:
            self._log.failure(
                "The application has made of {request!r} what is none", request=request
            )
        else:
            self._sink(line)


def _local_time(second: int) -> bytes:
    """``10/Oct/2000:13:55:36 -0700``; strftime(3) alone would use the locale's months."""
    at = time.localtime(second)
    return time.strftime(f"%d/{_MONTHS[at.tm_mon - 1]}/%Y:%H:%M:%S %z", at).encode("ascii")


_HEXADECIMAL = {byte: f"\\x{byte:02X}" for byte in _SUSPICIOUS}


def _hexadecimal(value: bytes) -> bytes:
    r"""``\xHH`` for each suspicious byte, as Apache and nginx write it."""
    return value.decode("latin-1").translate(_HEXADECIMAL).encode("ascii")


def _json(value: bytes) -> bytes:
    """The inside of a JSON string: of UTF-8 its text, of other bytes what is readable."""
    text = json.dumps(value.decode("utf-8", "backslashreplace"))[1:-1]
    return text.replace("\x7f", "\\u007f").encode("ascii")


_COMBINED = _Template(b'%b - - [%b] "%b %b %b" %d %d "%b" "%b"\n', _hexadecimal)
_COMBINED_FRAGMENT = _Template(b'%b - - [%b] "%b" %d %d "%b" "%b"\n', _hexadecimal)
_JSON = _Template(
    b'{"time":"%b.%03dZ","client":"%b","method":"%b","target":"%b","version":"%b","status":%d,'
    b'"bytes":%d,"duration":%.6f,"host":"%b","referer":"%b","user_agent":"%b","request_id":"%b"}\n',
    _json,
)
