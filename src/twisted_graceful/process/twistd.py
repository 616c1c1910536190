"""twistd, run again as a successor: already detached, unprivileged and in place."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from typing import Any

from . import inheritance

_DONE = {"nodaemon": True, "pidfile": "", "chroot": None, "uid": None, "gid": None}
"""twistd's options that must not be carried out a second time, and what does nothing."""


def skip_what_is_done(options: MutableMapping[str, Any]) -> str:
    """Let twistd leave out what the first generation has done for all.

    Args:
        options: twistd's; changed in place. The options of ``twist`` have none of these.

    Returns:
        The path of the pid file that the options named, absolute; empty if none.
    """
    if "pidfile" not in options:
        return ""
    options["logfile"] = log_file(options) or options["logfile"]
    pid_file = options["pidfile"]
    options.update(_DONE)
    return os.path.abspath(pid_file) if pid_file else ""


def log_file(options: Mapping[str, Any]) -> str:
    """The path of the file that twistd logs to, with these options; empty if to none."""
    path = options.get("logfile") or ""
    if not path and not options.get("nodaemon", True):
        path = "twistd.log"  # a daemon's default
    return "" if path in ("", "-") else os.path.abspath(path)


def main() -> None:
    """Run twistd with the arguments of this process."""
    inheritance.seize()
    from twisted.application import app
    from twisted.scripts import twistd

    class Options(twistd.ServerOptions):  # type: ignore[misc]
        def postOptions(self) -> None:
            inheritance.note_pid_file(skip_what_is_done(self))
            super().postOptions()

    app.run(twistd.runApp, Options)


if __name__ == "__main__":
    main()
