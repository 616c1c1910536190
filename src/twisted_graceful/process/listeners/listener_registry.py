"""The listeners of a process: where each comes from, and which of them are in use."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from twisted.logger import Logger

from ...address import ListenAddress
from ...errors import BindError
from .binding import bind, is_bound_to
from .listener import Listener


class ListenerRegistry:
    """The listeners of a process.

    It also keeps track of which generation removes socket files: `Listener.owns_file`.

    Args:
        inherited: listeners of the predecessor, in its order. It may serve on them again until
            `take_over` is called.
        activated: listeners of a service manager, by the names that it has for them. Each serves
            the address that it is bound to.
    """

    _log = Logger()

    def __init__(
        self, inherited: Iterable[Listener] = (), activated: Iterable[Listener] = ()
    ) -> None:
        self._inherited = list(inherited)
        self._activated = list(activated)
        self._in_use: list[Listener] = []

    @property
    def in_use(self) -> list[Listener]:
        """The open listeners, which a successor inherits."""
        return list(self._in_use)

    @property
    def unclaimed(self) -> list[Listener]:
        """The listeners of a service manager that nobody has opened."""
        return list(self._activated)

    def open(self, address: ListenAddress, backlog: int, mode: int, port: int = 0) -> Listener:
        """The listener of an address: inherited, from the service manager, or bound now.

        Two servers may have the same address if its port is 0. Each gets its own listener, in the
        same order in every generation.

        Args:
            address: if it is a path, an absolute one.
            backlog: how many connections the kernel queues, 1 or more.
            mode: permissions of the file of a UNIX socket.
            port: the one to bind if the address leaves that to the system; 0 for any free one.

        Raises:
            BindError: the system refused the address.
        """
        listener = (
            self._take_inherited(address, backlog, mode)
            or self._take_activated(address)
            or self._bind(address, backlog, mode, port)
        )
        self._in_use.append(listener)
        return listener

    def _take_inherited(self, address: ListenAddress, backlog: int, mode: int) -> Listener | None:
        inherited = next((each for each in self._inherited if each.name == address.name), None)
        if inherited is None:
            return None
        if not inherited.is_reachable:
            # Somebody has removed the file, or a symlink leads to another directory.
            try:
                return self._bind(address, backlog, mode)
            except BindError as error:
                self._log.warn(
                    "{address} does not lead to the inherited socket any more, and {error}. The "
                    "inherited one is served on",
                    address=address,
                    error=error,
                )
        self._inherited.remove(inherited)
        return inherited

    def _take_activated(self, address: ListenAddress) -> Listener | None:
        taken = [
            each
            for each in self._activated
            if all(is_bound_to(sock, address) for sock in each.sockets)
        ]
        if not taken:
            return None
        self._activated = [each for each in self._activated if each not in taken]
        sockets = [sock for each in taken for sock in each.sockets]
        return Listener(address.name, sockets, is_activated=True)

    def _bind(self, address: ListenAddress, backlog: int, mode: int, port: int = 0) -> Listener:
        try:
            return bind(address, backlog, mode, port)
        except BindError as error:
            passed = [f"{', '.join(each.addresses)} ({each.name})" for each in self._activated]
            if not passed:
                raise
            raise BindError(f"{error}. The service manager passed {', '.join(passed)}") from error

    def inherits(self, name: str) -> bool:
        """Whether the predecessor left a listener of a name that nobody has taken."""
        return any(each.name == name for each in self._inherited)

    def inherit(self, name: str) -> Listener | None:
        """Take the first listener of a name that the predecessor left; None if there is none."""
        inherited = next((each for each in self._inherited if each.name == name), None)
        if inherited is not None:
            self._inherited.remove(inherited)
            self._in_use.append(inherited)
        return inherited

    def add(self, listener: Listener) -> None:
        """Add a listener that somebody else has bound."""
        self._in_use.append(listener)

    def close(self, listener: Listener) -> None:
        """Close a listener that is in use."""
        self._in_use.remove(listener)
        listener.close()

    def close_unused(self) -> None:
        """Close the inherited listeners that nobody has opened."""
        unused, self._inherited = self._inherited, []
        for each in unused:
            each.close()

    # Which generation removes the files

    def take_over(self) -> None:
        """No other generation would serve on a listener if this process ended."""
        for each in self._in_use + self._inherited:
            each.owns_file = True

    def leave_unused(self) -> None:
        """Inherited listeners that nobody has opened belong to the process that left them."""
        for each in self._inherited:
            each.owns_file = False

    def hand_over(self, removed: Collection[Listener]) -> None:
        """The successor serves on all listeners except those that are removed."""
        for each in self._in_use:
            each.owns_file = each in removed

    def hand_back(self) -> None:
        """The predecessor will serve again on what it had."""
        for each in self._in_use + self._inherited:
            each.owns_file = not each.is_inherited
