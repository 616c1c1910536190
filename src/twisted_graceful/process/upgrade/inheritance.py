"""The environment variable that tells a child what it inherits.

The parent's `Child` writes it, and the successor or worker reads it once, at its start. It is JSON
with a version. A reader ignores fields that it does not know, so neighbouring versions of this
package understand each other.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import MutableMapping
from dataclasses import asdict, dataclass

from ...errors import InheritanceError
from ...json_object import JsonObject
from ..listeners.listener import Listener
from ..listeners.unix_files import SocketFile

VARIABLE = "TWISTED_GRACEFUL_INHERITANCE"
VERSION = 1


@dataclass(frozen=True)
class Inheritance:
    """Which file descriptor is which, and whose successor this process is.

    Attributes:
        generation: of the process that reads this; 0 only in a worker.
        control: the AF_UNIX stream socket to the predecessor, or to the master.
        stdout: where output belongs once the process is ready; until then the
            predecessor captures it.
        stderr: the same for errors.
        listeners: the names of the listeners, each with its sockets.
        files: descriptors of UNIX sockets, with device and inode of the file that is theirs.
        activated: descriptors of sockets that a service manager has bound.
        pid_file: the path of the pid file that this process takes over; empty if none.
        worker: the number of this worker, 1 or more; 0 in a successor.
        record: the descriptor of the predecessor's `UpgradeRecord`; negative if there is none.
        balance: the descriptor of the workers' `ConnectionCounts`; negative if there is none.
        stacks: the descriptor of the predecessor's `FaultFile`; negative if there is none.
        patience: seconds from when this process serves in which the predecessor ends; 0 if it did
            not say.
        kept: descriptors that the first generation was started with, beside its standard streams:
            the number of each there, and here.
        ignores_hup: whether SIGHUP is ignored (nohup(1)). spawnProcess resets ignored signals.
    """

    generation: int
    control: int
    stdout: int
    stderr: int
    listeners: tuple[tuple[str, tuple[int, ...]], ...] = ()
    files: tuple[tuple[int, int, int], ...] = ()
    activated: tuple[int, ...] = ()
    pid_file: str = ""
    worker: int = 0
    record: int = -1
    balance: int = -1
    stacks: int = -1
    patience: float = 0.0
    kept: tuple[tuple[int, int], ...] = ()
    ignores_hup: bool = False

    @classmethod
    def take(cls, environ: MutableMapping[str, str]) -> Inheritance | None:
        """Read the inheritance of this process and remove every trace of it.

        The variable is taken out of ``environ``, and the descriptors get FD_CLOEXEC, so
        that no process the application starts inherits either.

        Returns:
            The inheritance, or None if this process is nobody's successor.

        Raises:
            InheritanceError: the variable is there but makes no sense.
        """
        text = environ.pop(VARIABLE, None)
        if text is None:
            return None
        try:
            inheritance = cls._decode(json.loads(text))
            for descriptor in inheritance.descriptors():
                os.set_inheritable(descriptor, False)
        except (ValueError, TypeError, KeyError, OSError, OverflowError) as error:
            raise InheritanceError(
                f"the environment variable {VARIABLE} holds {text!r}, which cannot be used: "
                f"{error!r}; it is set for successors only, so remove it from the environment"
            ) from error
        return inheritance

    @classmethod
    def _decode(cls, data: JsonObject) -> Inheritance:
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']!r}, and this is version {VERSION}")
        return cls(
            generation=int(data["generation"]),
            control=int(data["control"]),
            stdout=int(data["stdout"]),
            stderr=int(data["stderr"]),
            listeners=tuple(
                (str(name), tuple(int(descriptor) for descriptor in descriptors))
                for name, descriptors in data["listeners"]
            ),
            files=tuple(
                (int(descriptor), int(device), int(inode))
                for descriptor, device, inode in data.get("files", ())
            ),
            activated=tuple(int(descriptor) for descriptor in data.get("activated", ())),
            pid_file=str(data.get("pid_file", "")),
            worker=int(data.get("worker", 0)),
            record=int(data.get("record", -1)),
            balance=int(data.get("balance", -1)),
            stacks=int(data.get("stacks", -1)),
            patience=float(data.get("patience", 0)),
            kept=tuple((int(number), int(here)) for number, here in data.get("kept", ())),
            ignores_hup=bool(data.get("ignores_hup", False)),
        )

    def encode(self) -> str:
        """The value of the environment variable."""
        return json.dumps({"version": VERSION, **asdict(self)})

    def descriptors(self) -> list[int]:
        """Every inherited file descriptor."""
        memory = [each for each in (self.record, self.balance, self.stacks) if each >= 0]
        kept = [here for _, here in self.kept]
        return [self.control, self.stdout, self.stderr, *self.listening(), *memory, *kept]

    def listening(self) -> list[int]:
        """The file descriptors of the listeners."""
        return [each for _, descriptors in self.listeners for each in descriptors]

    def take_listeners(self) -> list[Listener]:
        """The listeners, which own the descriptors from now on.

        Raises:
            InheritanceError: a descriptor is not a bound socket, or does not listen.
        """
        files = {descriptor: (device, inode) for descriptor, device, inode in self.files}
        listeners = []
        for name, descriptors in self.listeners:
            sockets = [_socket(name, each) for each in descriptors]
            owned = [
                SocketFile(sock.getsockname(), *files[each])
                for each, sock in zip(descriptors, sockets, strict=True)
                if each in files
            ]
            listeners.append(
                Listener(
                    name,
                    sockets,
                    file=owned[0] if owned else None,
                    is_inherited=True,
                    is_activated=not set(descriptors).isdisjoint(self.activated),
                )
            )
        return listeners


def _socket(name: str, descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise InheritanceError(
            f"the inherited listener {name} (descriptor {descriptor}) is no socket: {error}"
        ) from error
    if not listens and sock.type != socket.SOCK_DGRAM:
        raise InheritanceError(
            f"the inherited listener {name} (descriptor {descriptor}) does not listen"
        )
    sock.setblocking(False)
    return sock
