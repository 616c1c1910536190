"""Every setting of a server: unit, default, range, and the reason for the default."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any

from .errors import SettingsError

MAXIMUM = 2**31 - 1
"""The largest value of any setting: what fits a C ``int``."""


def _setting(default: float, unit: str, help: str, *, minimum: float = 0) -> Any:
    """A field that the command line, the documentation and the checks are all made from."""
    return field(default=default, metadata={"unit": unit, "help": help, "minimum": minimum})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of a server; every field has a production default.

    Raises:
        SettingsError: a value is no number or out of range.
    """

    # Twisted's 50 drops connections in any burst; 2048 is what gunicorn and uvicorn
    # ask for. The kernel caps it at net.core.somaxconn.
    backlog: int = _setting(
        2048, "connections", "how many connections the kernel queues for us", minimum=1
    )
    # Go's and Kestrel's hosts use 5 to 30; a head fits one segment, so even 5 is much.
    read_header_timeout: float = _setting(
        5,
        "seconds",
        "how long a head may take from its first byte, and a new connection be silent; 0: for ever",
    )
    # Kestrel's MinRequestBodyDataRate and MinResponseDataRate: 240 bytes/s after 5 s of grace.
    read_timeout: float = _setting(
        5, "seconds", "how long a body may stand still, or be too slow; 0: for ever"
    )
    write_timeout: float = _setting(
        5, "seconds", "how long a client may not read its answer, or too slowly; 0: for ever"
    )
    # A client that has closed its sending side may wait for its answer, or be gone for good.
    half_close_timeout: float = _setting(
        10, "seconds", "how long a client that has closed its side may wait in vain; 0: for ever"
    )
    min_rate: float = _setting(
        240, "bytes per second", "what is too slow, for a body and for a reader, on average"
    )
    # Event streams and long polls take as long as they like.
    handler_timeout: float = _setting(
        0, "seconds", "how long the application may take to begin its answer; 0: for ever"
    )
    # nginx's client_max_body_size.
    max_body_size: int = _setting(1 << 20, "bytes", "the largest body of a request; 0: any")
    # nginx's large_client_header_buffers: 4 of 8 KiB, and a line in one of them.
    max_request_line: int = _setting(8192, "bytes", "the longest request line", minimum=1)
    max_header_size: int = _setting(32768, "bytes", "the largest head", minimum=1)
    # gunicorn's limit_request_fields.
    max_headers: int = _setting(100, "fields", "the most header fields of a request", minimum=1)
    max_requests_per_connection: int = _setting(
        0, "requests", "after how many a connection is closed, with notice; 0: never"
    )
    # As much as a socket's receive buffer holds anyway.
    spool_size: int = _setting(65536, "bytes", "a larger body is kept in a temporary file")
    # Longer than the keep-alive pool of the usual load balancer (60 s at AWS and nginx),
    # so that it is the balancer that closes and not we, racing its next request.
    idle_timeout: float = _setting(
        75, "seconds", "how long a connection may stay open between requests; 0: for ever"
    )
    # gunicorn's graceful_timeout, Kubernetes' terminationGracePeriodSeconds: 30.
    drain_timeout: float = _setting(
        30,
        "seconds",
        "how long a drain waits for what was begun, then cuts it; 0: at once",
    )
    # Long enough for a client that is about to send, short enough for a deploy.
    idle_grace: float = _setting(
        2,
        "seconds",
        "how long, in a drain, a connection without a request is kept for one more",
    )
    # nginx's lingering_timeout is 5; a peer on a healthy network closes within a round trip.
    linger_timeout: float = _setting(
        2,
        "seconds",
        "how long, after the last answer, we wait for the client to close first",
    )
    # The default of systemd's TimeoutStartSec is 90, of tableflip's UpgradeTimeout 60.
    upgrade_timeout: float = _setting(
        60, "seconds", "how long a new process may take until it is ready", minimum=0.001
    )
    # Twisted's own thread pool has 10.
    wsgi_threads: int = _setting(
        10, "threads", "how many threads run a WSGI application", minimum=1
    )

    def __post_init__(self) -> None:
        for each in fields(self):
            _check(each, getattr(self, each.name))

    @classmethod
    def describe(cls) -> Iterator[Field[Any]]:
        """The fields, each with ``unit``, ``help`` and ``minimum`` in its metadata."""
        yield from fields(cls)

    @classmethod
    def of(cls, chosen: Mapping[str, Any]) -> Settings:
        """Settings from names and values.

        Raises:
            SettingsError: there is no such setting, or its value is out of range.
        """
        names = [each.name for each in fields(cls)]
        for name, value in chosen.items():
            if name not in names:
                close = difflib.get_close_matches(name, names, n=1)
                raise SettingsError(
                    name,
                    value,
                    f"a setting; did you mean {close[0]}?"
                    if close
                    else "one of " + ", ".join(names),
                )
        return cls(**chosen)

    @classmethod
    def parse(cls, name: str, text: str) -> float:
        """The value of one setting, from text.

        Args:
            name: the name of the field.
            text: what a user wrote.

        Returns:
            The number, which is in the setting's range.

        Raises:
            SettingsError: it is no number, or out of range.
        """
        each = next(each for each in fields(cls) if each.name == name)
        try:
            value = _number(each)(text)
        except ValueError:
            raise SettingsError(name, text, accepted(each)) from None
        _check(each, value)
        return value


def accepted(setting: Field[Any]) -> str:
    """What values a setting takes, in words."""
    kind = "a whole number" if _number(setting) is int else "a number"
    unit, minimum = setting.metadata["unit"], setting.metadata["minimum"]
    return f"{kind} of {unit}, {minimum:g} or more, and {MAXIMUM} at most"


def _number(setting: Field[Any]) -> type[int] | type[float]:
    return int if setting.type == "int" else float


def _check(setting: Field[Any], value: object) -> None:
    kinds = int if _number(setting) is int else (int, float)
    # A bool is an int to Python and a mistake here; NaN fails the comparison.
    if (
        isinstance(value, bool)
        or not isinstance(value, kinds)
        or not setting.metadata["minimum"] <= value <= MAXIMUM
    ):
        raise SettingsError(setting.name, value, accepted(setting))
