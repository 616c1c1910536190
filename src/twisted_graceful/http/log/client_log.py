"""Logs what clients do wrong, at a limited rate, so that they cannot fill the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger, LogLevel

from ...address import authority
from ...log_limit import LogLimit

_LINES = 10
"""Lines of a kind that are written before it is quiet about them for `_QUIET` seconds."""

_QUIET = 60.0

_ENOUGH = ". There are more of this kind; they are not told for {quiet:.0f} s"


class ClientLog:
    """Log lines about clients, a few of each kind; the access log has every request.

    Args:
        clock: keeps the time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._limit = LogLimit(clock, _LINES, _QUIET)

    def write(
        self, client: IAddress, text: str, *, level: LogLevel = LogLevel.info, **values: object
    ) -> None:
        """Write a line, if there have not been many like it.

        Args:
            client: fills in ``{peer}``.
            text: the line, in the format of `twisted.logger`.
            level: its level.
            values: fill in the rest.
        """
        left = self._limit.left(text)
        if left:
            quiet = self._limit.seconds_left(text)
            more = _ENOUGH if left == 1 else ""
            self._log.emit(level, text + more, peer=_named(client), quiet=quiet, **values)


def _named(client: Any) -> str:
    """An address as people write it."""
    host = getattr(client, "host", None)
    if host == "":
        return "a client of a UNIX socket"
    return str(client) if host is None else authority(host, client.port)
