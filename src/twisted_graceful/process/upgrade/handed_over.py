"""Takes what the parent passed to this process out of the environment, once.

A predecessor or a master leaves an `Inheritance`. A service manager passes sockets (`Activation`)
and the socket for notifications (`Supervision`). Processes that the application starts, even while
it is imported, must not inherit these variables and descriptors. So they are taken as early as
possible: when a module that serves is imported, and in a successor of ``twistd`` before that.
"""

from __future__ import annotations

import os
import signal
from collections.abc import MutableMapping
from contextlib import suppress
from dataclasses import replace

from ...errors import ActivationError, InheritanceError
from ..host import streams
from ..host.forks import keep_inheritance_from_children
from ..host.parent_death import die_with_parent
from ..host.systemd import Supervision
from ..listeners.activation import Activation, first_environment
from ..listeners.listener import Listener
from .inheritance import Inheritance


class HandedOver:
    """What a process was handed. Errors are kept for the service that claims it.

    Args:
        environ: of the process; changed in place.
        pid: of the process.

    Attributes:
        supervision: what the service manager has asked for.
        worker: the number of this worker; 0 if a master did not start this process.
        is_successor: whether a predecessor or a master started this process.
    """

    def __init__(self, environ: MutableMapping[str, str], pid: int) -> None:
        self.supervision = Supervision.take(environ, pid)
        self._inheritance: Inheritance | InheritanceError | None
        self._activation: Activation | ActivationError
        try:
            self._inheritance = Inheritance.take(environ)
        except InheritanceError as error:
            self._inheritance = error
        try:
            self._activation = Activation.take(first_environment(environ), pid)
        except ActivationError as error:
            self._activation = error
        self._is_claimed = False
        self.is_successor = self._inheritance is not None
        self.worker = 0
        if isinstance(self._inheritance, Inheritance):
            self.worker = self._inheritance.worker
            _guard(self._inheritance)

    def note_pid_file(self, path: str) -> None:
        """Add the path of a pid file to the inheritance; empty if there is none."""
        if isinstance(self._inheritance, Inheritance):
            self._inheritance = replace(self._inheritance, pid_file=path)

    def claim_inheritance(self) -> Inheritance | None:
        """The inheritance, for the one service that serves; None if there is none.

        Raises:
            InheritanceError: it makes no sense, or another service has claimed it.
        """
        if isinstance(self._inheritance, InheritanceError):
            raise self._inheritance
        if self._inheritance is not None and self._is_claimed:
            raise InheritanceError(
                "the listeners of this process belong to another GracefulService: "
                "give all servers to one"
            )
        self._is_claimed = True
        return self._inheritance

    def claim_activated(self) -> list[Listener]:
        """The listeners of the service manager, for the first service that claims them.

        Raises:
            ActivationError: what was passed cannot be used.
        """
        activation, self._activation = self._activation, Activation()
        if isinstance(activation, ActivationError):
            raise activation
        return activation.listeners()


def _guard(inheritance: Inheritance) -> None:
    """Do what the inheritance asks for before the application is imported."""
    keep_inheritance_from_children([inheritance.control, *inheritance.listening()])
    if inheritance.worker:
        die_with_parent()  # until it is loaded, which may never end
    streams.inherit(dict(inheritance.kept))
    if inheritance.ignores_hup:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGHUP, signal.SIG_IGN)


_handed_over: HandedOver | None = None


def handed_over() -> HandedOver:
    """What this process was handed; the first call takes it out of the environment."""
    global _handed_over
    if _handed_over is None:
        _handed_over = HandedOver(os.environ, os.getpid())
    return _handed_over
