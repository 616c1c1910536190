"""twistd's own options: what they say about this process, and what a successor must not repeat.

The options of a plugin can see and change twistd's. A ``.tac`` file is read too late for that, so
its successor is started as ``python -m twisted_graceful.process.twistd`` with the same arguments,
which changes the options and then runs twistd.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    textFileLogObserver,
)

from .host.log_file import check_writable
from .host.pid_file import require_free, require_writable
from .host.streams import canonical, number_of
from .upgrade.handed_over import handed_over
from .upgrade.launch import Launch

TwistdOptions: TypeAlias = MutableMapping[str, Any]
"""The parsed options of twistd or twist, by name."""

_DONE = {"nodaemon": True, "pidfile": "", "chroot": None, "uid": None, "gid": None}
"""The twistd options that must not take effect a second time, with values that do nothing."""


@dataclass(frozen=True)
class TwistdContext:
    """What the options of twistd, or twist, say about this process.

    Attributes:
        pid_file: the path of the pid file, absolute; empty if there is none.
        log_file: what twistd logs to, as `canonical` returns it; empty for standard streams.
        detaches: whether twistd is about to make a daemon of this process.
        changes_root: whether twistd is about to change its root directory.
    """

    pid_file: str
    log_file: str
    detaches: bool
    changes_root: bool

    @classmethod
    def take_over(cls, options: TwistdOptions) -> TwistdContext:
        """Read the options, and make twistd skip what was done before or is done by us.

        Args:
            options: twistd's or twist's; changed in place.
        """
        pid_file = options.get("pidfile") or ""
        if handed_over().is_successor:
            skip_completed_steps(options)
        elif "pidfile" in options:
            options["pidfile"] = ""  # we check and write it
        resolve_log(options)
        return cls(
            pid_file=pid_file and os.path.abspath(pid_file),
            log_file=log_file(options),
            detaches=not options.get("nodaemon", True),
            changes_root=bool(options.get("chroot")),
        )

    def launch(self) -> Launch:
        """How to start a successor of this process."""
        return Launch.of_this_process(os.environ, skips_twistd_steps=True, detaches=self.detaches)

    def require_log(self) -> None:
        """Make sure that the log can be opened.

        Raises:
            LogFileError: it cannot.
        """
        if not handed_over().is_successor:
            check_writable(self.log_file)

    def require_pid_file(self) -> None:
        """Make sure that the pid file can be written, and is not that of a running server.

        Raises:
            PidFileError: it cannot, or it is.
        """
        if self.pid_file and not handed_over().is_successor:
            if not self.changes_root:  # else the path means another file when it is written
                require_writable(self.pid_file)
            require_free(self.pid_file)


def skip_completed_steps(options: TwistdOptions) -> str:
    """Make twistd skip what the first generation has done for all its successors.

    Args:
        options: twistd's; changed in place. The options of ``twist`` have none of these.

    Returns:
        The absolute path of the pid file that the options named; empty if none.
    """
    if "pidfile" not in options:
        return ""
    options["logfile"] = log_file(options) or options["logfile"]
    pid_file = options["pidfile"]
    options.update(_DONE)
    return os.path.abspath(pid_file) if pid_file else ""


def prepare_check(options: TwistdOptions) -> None:
    """Make twistd, or twist, stay in the foreground, leave no file, and log only warnings.

    The user, root and directory are those of a real start.

    Args:
        options: twistd's or twist's; changed in place.
    """
    if "pidfile" in options:
        options.update(
            nodaemon=True,
            pidfile="",
            logfile="",
            syslog=False,
            logger="twisted_graceful.process.twistd.warnings_to_stderr",
        )
    else:
        options.update(
            logFile=sys.stderr, logLevel=LogLevel.warn, fileLogObserverFactory=textFileLogObserver
        )


def warnings_to_stderr() -> ILogObserver:
    """A log observer for warnings and errors only, on standard error; twistd gets its name."""
    only = LogLevelFilterPredicate(defaultLogLevel=LogLevel.warn)
    return FilteringLogObserver(textFileLogObserver(sys.stderr), [only])


def log_file(options: TwistdOptions) -> str:
    """The log file of twistd with these options, as `canonical` returns it; empty for a stream."""
    path = options.get("logfile") or ""
    if not path and not options.get("nodaemon", True):
        path = "twistd.log"  # a daemon's default
    path = canonical(path, os.getcwd())
    return "" if number_of(path) in (1, 2) else path


def resolve_log(options: TwistdOptions) -> None:
    """Make the path of the log absolute, before an application can change the directory.

    A symlink to standard output, for example, becomes ``-``: in a successor it would lead
    elsewhere.

    Args:
        options: twistd's or twist's; changed in place.
    """
    if options.get("logfile"):
        options["logfile"] = canonical(options["logfile"], os.getcwd())
    name = getattr(options.get("logFile"), "name", None)
    if isinstance(name, str):  # twist has opened it
        number = number_of(canonical(name, os.getcwd()))
        if number in (1, 2):
            options["logFile"] = sys.stdout if number == 1 else sys.stderr


def main() -> None:
    """Run twistd with the arguments of this process."""
    handed_over()  # before any plugin is imported
    from twisted.application import app
    from twisted.scripts import twistd

    class SuccessorOptions(twistd.ServerOptions):  # type: ignore[misc]
        def postOptions(self) -> None:
            handed_over().note_pid_file(skip_completed_steps(self))
            super().postOptions()

    app.run(twistd.runApp, SuccessorOptions)


if __name__ == "__main__":
    main()
