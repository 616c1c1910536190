"""The access log of a site: a line for every request, which nothing that a client sends can forge.

A line is made in one step from what was noted, and then looked at as a whole: only if a byte
in it is suspicious is it made again from values that are escaped one by one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger

from ...clock import time_of_day
from ..head import Head
from .drain_report import Outcome
from .request_id import new_request_id

BATCH = 32
"""Requests after which lines are made; a longer list pushes other things out of the caches."""

BUFFER = 64 * 1024
"""Bytes of lines after which they are written: a system call for some hundreds of lines."""

_NOT_SET = 0.01
"""Seconds by which two readings of the clock may differ though nobody has set it."""

INTERVAL = 1.0
"""Seconds after which they are made in any case; as long as a reader of the log likes to wait."""

_ANSWERED = Outcome.ANSWERED  # in Python 3.11 it costs as much as a call to look it up there

_UNANSWERED = {Outcome.CLIENT_GONE: 499}
"""The status of a request to which no answer was begun: nginx's, and 444 for any other outcome."""

_SUSPICIOUS = bytes({*range(0x20), *b'"\\', *range(0x7F, 0x100)})
"""Bytes that end a line or a value, or are not printable ASCII."""

_NOTHING = [b""]
_ABSENT = [b"-"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Loggable(Protocol):
    """A request, as far as the log is concerned; the names are Twisted's where it has one."""

    client: IAddress
    head: Head
    code: int
    sentLength: int

    @property
    def request_id(self) -> str:
        """What names it in logs."""


class RequestLog(Protocol):
    """What a site tells of each request: an `AccessLog`, or what counts them."""

    def write(
        self,
        request: Loggable,
        begun: float,
        outcome: Outcome = ...,
        *,
        status: int | None = None,
        sent: int | None = None,
    ) -> None:
        """A request is over; the arguments are those of `AccessLog.write`."""


class PartialRequest:
    """A request that was not read completely; unknown parts are empty.

    Args:
        client: who sent it.
        method: empty if it is not known, and so are the others.
        target: likewise.
        version: likewise.
    """

    code = sentLength = 0

    def __init__(
        self, client: IAddress, method: bytes = b"", target: bytes = b"", version: bytes = b""
    ) -> None:
        self.client = client
        self.head = Head(method, target, version, {})
        self.request_id = new_request_id()


class _Template:
    """A line with gaps for what clients send.

    Args:
        line: a format of bytes.
        escape: what stands for a value with suspicious bytes.
    """

    def __init__(self, line: bytes, escape: Callable[[bytes], bytes]) -> None:
        self._line = line
        self._escape = escape
        self._own = len(line) - len(line.translate(None, _SUSPICIOUS))

    def fill(self, values: tuple[object, ...]) -> bytes:
        line = self._line % values
        if len(line) - len(line.translate(None, _SUSPICIOUS)) == self._own:
            return line
        escape = self._escape
        return self._line % tuple(escape(e) if isinstance(e, bytes) else e for e in values)


Entry = tuple[
    float,  # when the request was over
    float,  # when its first byte was read
    IAddress,  # the client's address
    Head,
    int,  # status
    int,  # bytes of the body that were sent
    Outcome,
    str,  # request id
]
"""What is noted of a request."""


class Combined:
    """The combined format of Apache and nginx; the time is local, as theirs is."""

    names_requests = False

    def __init__(self) -> None:
        self._second = -1
        self._time = b""

    def __call__(self, entry: Entry) -> bytes:
        """The line, with its end."""
        now, _, client, head, status, sent, _, _ = entry
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = _local_time(second)
        host, version, headers = _host(client), head.version, head.headers
        referer = headers.get(b"Referer", _ABSENT)[0]
        agent = headers.get(b"User-Agent", _ABSENT)[0]
        if version:
            asked = (head.method, head.target, version)
            return _COMBINED.fill((host, self._time, *asked, status, sent, referer, agent))
        known = b" ".join(filter(None, (head.method, head.target))) or b"-"
        return _COMBINED_FRAGMENT.fill((host, self._time, known, status, sent, referer, agent))


class Json:
    """An object in a line, in ASCII (RFC 8259); the time is UTC (RFC 3339)."""

    names_requests = True

    def __init__(self) -> None:
        self._second = -1
        self._time = b""

    def __call__(self, entry: Entry) -> bytes:
        """The line, with its end."""
        now, begun, client, head, status, sent, outcome, name = entry
        second = int(now)
        if second != self._second:
            self._second = second
            self._time = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode("ascii")
        headers = head.headers
        line = _JSON.fill(
            (
                self._time,
                (now - second) * 1000,
                _host(client),
                head.method,
                head.target,
                head.version,
                status,
                sent,
                now - begun if now > begun else 0,  # the system's clock may be set back
                headers.get(b"Host", _NOTHING)[0],
                headers.get(b"Referer", _NOTHING)[0],
                headers.get(b"User-Agent", _NOTHING)[0],
                name.encode(),
            )
        )
        if outcome is not _ANSWERED:
            line = line[:-2] + b',"outcome":"%b"}\n' % outcome.value.encode()
        return line


FORMATS: Mapping[str, type[Combined | Json]] = {"combined": Combined, "json": Json}
"""By their names in the settings."""


class AccessLog:
    """Logs each request of a site, once, when it is over.

    Lines are made in batches: while the code of a whole request runs, nothing that makes lines
    stays in the processor's caches, and one by one they cost half as much again.

    Args:
        format: one of `FORMATS`.
        clock: the time.
        sink: takes the lines, one or more at once.
        buffer: bytes of lines that are kept until it gets them, for `INTERVAL` at most; if
            there is one, whoever made the log closes it. 0: it gets each line at once.
    """

    _log = Logger()

    def __init__(
        self, format: str, clock: IReactorTime, sink: Callable[[bytes], None], *, buffer: int = 0
    ) -> None:
        self._line = FORMATS[format]()
        self._clock = clock
        self._time_of_day = time_of_day(clock)
        self._sink = sink
        self._batch = BATCH if buffer else 1
        self._buffer = buffer
        self._entries: list[Entry] = []
        self._lines = bytearray()
        self._timer: IDelayedCall | None = None

    def write(
        self,
        request: Loggable,
        begun: float,
        outcome: Outcome = Outcome.ANSWERED,
        *,
        status: int | None = None,
        sent: int | None = None,
    ) -> None:
        """Write the line of a request, soon.

        Args:
            request: what was asked for; a `PartialRequest` if it was not read in whole.
            begun: when its first byte was read, in seconds of the clock.
            outcome: how it ended.
            status: of the answer; 0 if none was begun, None for that of the request.
            sent: bytes of the answer's body that were sent; None for all that was written.
        """
        entries = self._entries
        entries.append(
            (
                self._clock.seconds(),
                begun,
                request.client,
                request.head,
                request.code if status is None else status or _UNANSWERED.get(outcome, 444),
                request.sentLength if sent is None else sent,
                outcome,
                request.request_id if self._line.names_requests else "",
            )
        )
        if len(entries) >= self._batch:
            self._make_lines()
            if len(self._lines) >= self._buffer:
                self.flush()
        if self._timer is None and self._buffer:
            self._timer = self._clock.callLater(INTERVAL, self._tick)

    def _make_lines(self) -> None:
        entries, self._entries = self._entries, []
        # What was noted is in seconds of the clock, which leaves the time of day if that is set.
        set_by = self._time_of_day() - self._clock.seconds()
        if abs(set_by) > _NOT_SET:
            entries = [(each[0] + set_by, each[1] + set_by, *each[2:]) for each in entries]
        try:
            self._lines += b"".join(map(self._line, entries))
        except Exception:
            self._lines += b"".join(map(self._line_or_failure, entries))

    def flush(self) -> None:
        """Make the lines of all that was noted, and pass them on."""
        self._make_lines()
        lines, self._lines = self._lines, bytearray()
        if lines:
            self._sink(bytes(lines))

    def close(self) -> None:
        """Pass on what was noted."""
        self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        self.flush()

    def _line_or_failure(self, entry: Entry) -> bytes:
        try:
            return self._line(entry)
        except Exception:
            self._log.failure("Cannot log {what!r}: has an application changed it?", what=entry)
            return b""


def _local_time(second: int) -> bytes:
    """``10/Oct/2000:13:55:36 -0700``; strftime(3) alone would use the locale's months."""
    at = time.localtime(second)
    return time.strftime(f"%d/{_MONTHS[at.tm_mon - 1]}/%Y:%H:%M:%S %z", at).encode("ascii")


def _host(client: Any) -> bytes:
    try:
        host: str = client.host
    except AttributeError:
        return b"-"
    return host.encode() or b"-"  # a UNIX socket's client has no address


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
