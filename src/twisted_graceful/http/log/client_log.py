"""Logs what clients do wrong, at a limited rate, so that they cannot fill the log."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.logger import Logger, LogLevel

from ...address import authority

_BURST = 10
"""How often a matter is told, after which it is not for `_QUIET` seconds."""

_QUIET = 60.0

_ENOUGH = ". There are more of this kind; they are not told for {quiet:.0f} s"


class ClientLog:
    """What is wrong with clients.

    They do it as often as they like, a thousand of them in a second if that serves them. So
    some are told, and then it is said that there are more. (The access log has each request.)

    Args:
        clock: the time.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._told: dict[str, tuple[int, float]] = {}

    def write(
        self, client: IAddress, text: str, *, level: Any = LogLevel.info, **values: Any
    ) -> None:
        """Write a line, if there have not been many like it.

        Args:
            client: fills in ``{peer}``.
            text: the matter, in the format of `twisted.logger`.
            level: how grave it is.
            values: fill in the rest.
        """
        now = self._clock.seconds()
        count, until = self._told.get(text, (0, 0.0))
        if now >= until:
            count, until = 0, now + _QUIET
        self._told[text] = (count + 1, until)
        if count < _BURST:
            more = _ENOUGH if count == _BURST - 1 else ""
            self._log.emit(level, text + more, peer=_named(client), quiet=until - now, **values)


def _named(client: Any) -> str:
    """An address as people write it."""
    host = getattr(client, "host", None)
    if host == "":
        return "a client of a UNIX socket"
    return str(client) if host is None else authority(host, client.port)
