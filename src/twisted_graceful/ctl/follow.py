"""An upgrade or a reload that one asks for, among those that others have asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .events import DONE, FAILED, READY, ROLLING, SIGNALLED, STARTED, Event, is_of_roll, name_of
from .outcome import CtlError, Exit


def follow(
    ask: Callable[[], Iterator[Event]],
    serving: Callable[[], int],
    where: str,
    rolls: bool | None = False,
) -> Iterator[Event]:
    """Ask for an upgrade or a reload, and tell what becomes of it.

    If another upgrade is under way the server tells of that first, and ours may be another
    process's: so that is asked, too.

    Args:
        ask: asks the process that serves, and yields what happens there from then on.
        serving: the pid of that process.
        where: how the server was found, for the error.
        rolls: whether it is the replacement of all workers; None if the server decides that, and
            what it tells first shows it.

    Raises:
        CtlError: it is not known how the upgrade ended.
    """
    while True:
        is_ours, follows, successor, started, asked = False, False, None, None, None
        is_roll = rolls
        for event in ask():
            name = name_of(event)
            if name == SIGNALLED:
                asked = event.get("pid")
                yield event
                continue
            if is_roll is None:
                is_roll = is_of_roll(event)
            if is_of_roll(event) != is_roll:
                # Of something else; but if a new master serves, its workers have the new code.
                if name == READY:
                    successor = event.get("pid")
                    yield event
                continue
            follows = follows or name == "queued" or bool(event.get("another_follows"))
            # What could not even be started is ours as well, if nothing was under way.
            begins = name == STARTED or (name == ROLLING and not event.get("replaced"))
            is_ours = is_ours or begins or (name == FAILED and not follows)
            if name == STARTED:
                started = event.get("pid")
            if not is_ours and name in (READY, DONE, FAILED):
                # Its code was read before we came.
                yield {**event, "event": "earlier", "of": name}
                continue
            yield event
            if name in (DONE, FAILED):
                return
            if name == READY:
                successor = event.get("pid")
        if is_ours or not follows:
            break
    # Who told is the predecessor. That it ended means what became of its successor.
    pid = serving()
    is_its_successor = pid == started or (asked is not None and pid != asked and not is_roll)
    if successor is None and not follows and is_its_successor:
        # The predecessor was killed while this one loaded, or before it said more.
        successor = started
        yield {"event": READY, "pid": pid}
    if successor is None or pid != successor:
        raise CtlError(
            Exit.UNKNOWN,
            f"{where} has said nothing more before the upgrade was over; process {pid} serves",
        )
    yield {"event": DONE, "pid": pid}
