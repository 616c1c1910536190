"""What ps(1) and top(1) show of a process, where the extra ``titles`` is installed."""

from __future__ import annotations

import os

PREFIX = "twisted-graceful"


def title(generation: int, *, role: str = "", served: str = "") -> str:
    """The title of a process.

    Args:
        generation: its number.
        role: such as ``master``; empty for a single process.
        served: what is served; empty if nobody knows a name for it.
    """
    before = f"{role}, " if role else ""
    what = f" [{served}]" if served else ""
    return f"{PREFIX}: {before}generation {generation}{what}"


def set_title(text: str) -> None:
    """Show a title in the place of the command line; without the extra nothing happens."""
    try:
        from setproctitle import setproctitle
    except ImportError:
        return
    setproctitle(_as_utf8(text))


def _as_utf8(text: str) -> str:
    """A title that can be encoded in UTF-8, which the library does whatever the locale is.

    The command line was decoded in the encoding of the locale. If that is not UTF-8, the bytes that
    were typed are restored by encoding in the same way.
    """
    try:
        data = os.fsencode(text)
    except UnicodeEncodeError:  # it comes from a file or a program
        data = text.encode("utf-8", "surrogateescape")
    return data.decode("utf-8", "replace")
