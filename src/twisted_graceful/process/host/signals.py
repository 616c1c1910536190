"""Handles signals in the reactor; a stop takes effect even if the reactor hangs."""

from __future__ import annotations

import signal
from collections.abc import Callable, Container, Iterable, Mapping
from types import FrameType

from twisted.internet.interfaces import IReactorFromThreads

from .sigaction import handle_once


class SignalHandlers:
    """Handlers for signals, each called by the reactor, never in the middle of other code.

    Args:
        reactor: what calls them.
        actions: what to do, by signal number.
        shared: signals that are also passed on to the handler that was there before.
        ignorable: signals that stay ignored where they were ignored before.
        stops: called within the handler, whatever the process is doing, with each of ``stopping``
            that arrives; returns whether a further one is to be handled. If not, and until Python
            has called this, the next one ends the process.
        stopping: signals that stop the process.

    Attributes:
        ignored: the signals that stay ignored.
    """

    def __init__(
        self,
        reactor: IReactorFromThreads,
        actions: Mapping[int, Callable[[], object]],
        shared: Container[int] = (),
        ignorable: Container[int] = (),
        stops: Callable[[int], bool] = lambda number: True,
        stopping: Container[int] = (),
    ) -> None:
        self._reactor = reactor
        self._actions = actions
        self._shared = shared
        self._ignorable = ignorable
        self.ignored: set[int] = set()
        self._stops = stops
        self._stopping = stopping
        self._original: dict[int, object] = {}
        self._previous: dict[int, object] = {}

    def install_early(self) -> None:
        """Handle those that nobody else does; the reactor calls what is to be done when it runs."""
        self._install(number for number in self._actions if number not in self._shared)

    def install(self) -> None:
        """Handle the signals; ask again once the reactor runs, which sets its own."""
        self._install(self._actions)

    def _install(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number in self._ignorable and signal.getsignal(number) is signal.SIG_IGN:
                self.ignored.add(number)
                continue
            previous = signal.signal(number, self._caught)
            if previous != self._caught:
                self._previous[number] = previous
                self._original.setdefault(number, previous)
            if number in self._stopping:
                handle_once(number)

    @property
    def installed(self) -> list[int]:
        """The signals that are handled here now."""
        return [each for each in self._previous if signal.getsignal(each) == self._caught]

    def restore(self, *, original: bool = False) -> None:
        """Give the signals back to their previous handlers.

        Args:
            original: to the handlers before the reactor's, since the reactor has ended.
        """
        for number, previous in (self._original if original else self._previous).items():
            if signal.getsignal(number) == self._caught:
                signal.signal(number, previous)  # type: ignore[arg-type]
        self._previous = {}
        self._original = {}

    def _caught(self, number: int, frame: FrameType | None) -> None:
        if number in self._stopping and self._stops(number):
            signal.signal(number, self._caught)  # the kernel has removed it
            handle_once(number)
        self._reactor.callFromThread(self._actions[number])
        previous = self._previous.get(number)
        if number in self._shared and callable(previous):
            previous(number, frame)
