"""A delayed call that can be replaced and cancelled at any time."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class Timer:
    """At most one delayed call at a time.

    Args:
        clock: keeps the time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._call: IDelayedCall | None = None

    @property
    def is_running(self) -> bool:
        """Whether the call is still to come."""
        return self._call is not None and bool(self._call.active())

    def start(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Call something later, instead of what was to be called before.

        Args:
            seconds: from now.
            call: what to call.
            arguments: of the call.
        """
        self.cancel()
        self._call = self._clock.callLater(seconds, call, *arguments)

    def cancel(self) -> None:
        """Call nothing any more."""
        if self._call is not None and self._call.active():
            self._call.cancel()
        self._call = None
