"""The report of a drain: what was finished, handed over and cut."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import Enum

from ...json_object import JsonObject


class Outcome(Enum):
    """How a request ended.

    Attributes:
        ANSWERED: the application's response was sent.
        REFUSED: the server answered, in the application's place.
        TIMED_OUT: the client, or the application, was too slow.
        CUT: the drain deadline, or the application, ended the connection.
        CLIENT_GONE: the client ended the connection, before it had the response.
    """

    ANSWERED = "answered"
    REFUSED = "refused"
    TIMED_OUT = "timed out"
    CUT = "cut"
    CLIENT_GONE = "client gone"


@dataclass(frozen=True)
class CutRequest:
    """A request that the drain deadline ended.

    Attributes:
        method: its method; ``"-"`` if its request line had not arrived.
        path: its target without the query, which may hold secrets; ``"-"`` if that is unknown.
        age: seconds since its first byte.
        doing: what it was in the middle of.
    """

    method: str
    path: str
    age: float
    doing: str

    @classmethod
    def of(cls, method: bytes, target: bytes, *, age: float, doing: str) -> CutRequest:
        """A cut, from what the client has sent."""
        path = target.partition(b"?")[0]
        return cls(printable(method) or "-", printable(path) or "-", age, doing)

    def __str__(self) -> str:
        return f"{self.method} {self.path} ({self.doing}, {self.age:.1f} s)"


@dataclass(frozen=True)
class DrainReport:
    """What a drain did, from the moment that it was announced to its end.

    Attributes:
        answered: requests answered.
        closed_idle: connections closed because no further request came on them.
        cut: the requests that the deadline ended.
        seconds: how long the drain took.
        sent_away: WebSockets that were told that the server goes away.
        handed_over: connections that the successor has taken, open.
        told_to_close: connections whose client was told that a response is the last one:
            by ``Connection: close``, or in HTTP/2 by a GOAWAY.
        delay: seconds before the drain for which its announcement stood (``shutdown_delay``).
    """

    answered: int = 0
    closed_idle: int = 0
    cut: tuple[CutRequest, ...] = ()
    seconds: float = 0.0
    sent_away: int = 0
    handed_over: int = 0
    told_to_close: int = 0
    delay: float = 0.0

    @classmethod
    def of(cls, known: JsonObject) -> DrainReport:
        """The report of a process that may be of another version.

        Args:
            known: its `fields`. Those that this version does not have are left out.
        """
        cut = tuple(CutRequest(**_of(CutRequest, each)) for each in known.get("cut", ()))
        return cls(**{**_of(cls, known), "cut": cut})

    def __add__(self, other: DrainReport) -> DrainReport:
        """The report of two drains that ran side by side."""
        return DrainReport(
            self.answered + other.answered,
            self.closed_idle + other.closed_idle,
            self.cut + other.cut,
            max(self.seconds, other.seconds),
            self.sent_away + other.sent_away,
            self.handed_over + other.handed_over,
            self.told_to_close + other.told_to_close,
            max(self.delay, other.delay),
        )

    def __str__(self) -> str:
        # Where there was none of these, nobody misses them.
        some = {
            "handed over": self.handed_over,
            "told to close": self.told_to_close,
            "idle closed": self.closed_idle,
            "WebSockets sent away": self.sent_away,
        }
        counts = [
            f"{self.answered} answered",
            *(f"{count} {what}" for what, count in some.items() if count),
            f"{len(self.cut)} cut",
        ]
        text = f"{', '.join(counts)}, in {self.seconds:.1f} s"
        if self.delay >= 0.05:  # else it is a turn of the reactor
            text += f" after a delay of {self.delay:.1f} s"
        if self.cut:
            text += f"; cut: {listed(self.cut)}"
        return text

    @property
    def fields(self) -> JsonObject:
        """The same, as a log event has it in fields; each cut is a dictionary."""
        return asdict(self)

    @property
    def exit_status(self) -> int:
        """0 when every request was answered, 1 when the deadline cut one."""
        return 1 if self.cut else 0


def _of(kind: type, known: JsonObject) -> JsonObject:
    return {each.name: known[each.name] for each in fields(kind) if each.name in known}


def listed(cuts: Iterable[CutRequest]) -> str:
    """What was cut, for a line of the log."""
    return ", ".join(map(str, cuts)) or "nothing"


def printable(text: bytes) -> str:
    """Bytes of a client as text that cannot break a log line."""
    return text.decode("latin-1").encode("unicode_escape").decode("ascii")
