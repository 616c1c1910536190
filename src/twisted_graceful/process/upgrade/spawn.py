"""Lays out the descriptors that a child inherits, and finds its working directory."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..host.streams import kept as kept_streams
from ..listeners.listener import Listener
from .inheritance import Inheritance


def descriptors_for_child(
    generation: int,
    worker: int,
    captured: tuple[int, int],
    control: int,
    streams: tuple[int, int],
    listeners: Sequence[Listener],
    memory: Mapping[str, int],
    patience: float,
) -> tuple[Inheritance, list[int]]:
    """Lay out the descriptors of a child.

    Args:
        generation: the number of its generation.
        worker: its number among the workers; 0 for a successor.
        captured: where its standard output and standard error go until it is ready.
        control: the child's end of the control channel.
        streams: where its standard output and standard error go when it is ready.
        listeners: what it inherits.
        memory: the descriptors of files in memory, by the names that `Inheritance` has for them; a
            negative one is none.
        patience: seconds, from when it serves, in which this process ends; 0 for no limit.

    Returns:
        What the child is told of its descriptors, and those of this process that are to be its
        descriptors 0, 1, 2, ...
    """
    descriptors = [0, *captured, control, *streams]

    def place(descriptor: int) -> int:
        descriptors.append(descriptor)
        return len(descriptors) - 1

    names, files = [], []
    activated: list[int] = []
    for each in listeners:
        places = tuple(place(sock.fileno()) for sock in each.sockets)
        names.append((each.name, places))
        if each.file is not None:
            files.append((places[0], each.file.device, each.file.inode))
        if each.is_activated:
            activated += places
    inheritance = Inheritance(
        generation,
        control=3,
        stdout=4,
        stderr=5,
        listeners=tuple(names),
        files=tuple(files),
        worker=worker,
        activated=tuple(activated),
        patience=patience,
        **{name: place(number) for name, number in memory.items() if number >= 0},  # type: ignore[arg-type]
        kept=tuple((number, place(each)) for number, each in kept_streams().items()),
        ignores_hup=signal.getsignal(signal.SIGHUP) is signal.SIG_IGN,
    )
    return inheritance, descriptors


@contextmanager
def existing_directory() -> Iterator[None]:
    """Make sure that the working directory exists, since spawnProcess asks for its path.

    This process may have been started in a release directory that has been removed.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
        try:
            os.chdir("/")
            yield
        finally:
            os.fchdir(here)
            os.close(here)
    else:
        yield
