"""``gracefulctl``: the command line, and what its commands do."""

from __future__ import annotations

import argparse
import json
import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Iterator, Mapping, Sequence

from ..event_names import EventName
from .events import ControlledServer, Event, name_of
from .find_server import find_server
from .outcome import MEANING, CtlError, Exit

QUERY_TIMEOUT = 5.0
"""Seconds for a command that changes nothing: a server that works responds at once."""

TIMEOUT = 120.0
"""Seconds for the others. Longer than the server's own --upgrade-timeout (60) or than a drain and
its delay, so that the server's word on how it ended comes before ours."""


def _upgrade(server: ControlledServer, options: Namespace) -> Exit:
    return _replace(server.upgrade(), options)


def _reload(server: ControlledServer, options: Namespace) -> Exit:
    return _replace(server.reload(), options)


def _replace(events: Iterator[Event], options: Namespace) -> Exit:
    last = EventName.DONE if options.wait_probation else EventName.READY
    reached = _follow(events, options, (last, EventName.DONE, EventName.FAILED))
    return Exit.FAILED if name_of(reached) == EventName.FAILED else Exit.DONE


def _stop(server: ControlledServer, options: Namespace) -> Exit:
    stopped = _follow(server.stop(), options, (EventName.STOPPED,))
    is_clean = not stopped.get("cut") and stopped.get("clean") is not False
    return Exit.DONE if is_clean else Exit.FAILED


def _follow(events: Iterator[Event], options: Namespace, last: Sequence[str]) -> Event:
    """Show what happens, up to an event of one of these names."""
    from .display import display

    with display(options.json) as shown:
        for event in events:
            shown.show(event)
            if name_of(event) in last:
                return event
    raise CtlError(Exit.UNKNOWN, "the server has not said how it ended; `gracefulctl status` does")


def _log(server: ControlledServer, options: Namespace) -> Exit:
    from .display import JsonLines
    from .events import output_of, sentence

    event = None
    for event in server.last_upgrade():
        if options.json:
            JsonLines(sys.stdout).show(event)
        else:
            time = f"{event['time']}  " if "time" in event else ""
            _print(f"{time}{sentence(event)}")
            if output_of(event):
                _print(output_of(event))
    if event is None and not options.json:
        _print("no upgrade has been made")
    return Exit.DONE


def _status(server: ControlledServer, options: Namespace) -> Exit:
    _show(server.status(), options)
    return Exit.DONE


def _workers(server: ControlledServer, options: Namespace) -> Exit:
    from .display import display

    status = Exit.DONE
    with display(options.json) as shown:
        for event in server.workers(options.count):
            shown.show(event)
            status = Exit.FAILED if name_of(event) == EventName.FAILED else Exit.DONE
    return status


def _show(answer: Mapping[str, object], options: Namespace) -> None:
    if options.json:
        _print(json.dumps(answer))
    else:
        from .status import lines

        for line in lines(answer):
            _print(line)


def _check(server: ControlledServer, options: Namespace) -> Exit:
    from .check_command import run_check

    run_check(server.pid())


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


_COMMANDS: Mapping[str, tuple[Callable[[ControlledServer, Namespace], Exit], str]] = {
    "status": (_status, "show how the server is"),
    "upgrade": (
        _upgrade,
        "replace the server by the code that is on disk now; wait until that serves",
    ),
    "reload": (
        _reload,
        "do what HUP does: replace the workers by new ones with the code that is on disk now, one "
        "after the other, below the same master; without workers the same as upgrade",
    ),
    "stop": (_stop, "answer what was begun, then end; wait for that"),
    "workers": (_workers, "serve with another number of worker processes"),
    "check": (_check, "see whether the code that is on disk now would serve"),
    "log": (_log, "show what happened in the last upgrade, or replacement of the workers"),
}

_GOES_ON: Mapping[str, str] = {
    "upgrade": "the upgrade goes on",
    "reload": "the reload goes on",
    "stop": "the stop goes on",
    "workers": "the server may have another number of workers already",
}
"""What is to be said when a command is interrupted; none of the others changes anything."""


def _seconds(text: str) -> float:
    """A time to wait, from an option."""
    seconds = float(text)
    if not 0 < seconds < _LONGEST:
        raise argparse.ArgumentTypeError(f"{text} is no time to wait, in seconds")
    return seconds


_LONGEST = 2**31
"""Seconds; more than that a socket may not take."""


def _common(default: object = SUPPRESS) -> ArgumentParser:
    """The options that may stand before the command, and after it."""

    def or_default(value: object) -> object:
        return SUPPRESS if default is SUPPRESS else value

    common = ArgumentParser(add_help=False)
    where = common.add_argument_group("which server")
    where.add_argument(
        "--admin",
        metavar="ADDRESS",
        default=or_default(""),
        help="its admin address: unix:/run/app/admin.sock, or 127.0.0.1:9090, where it can only "
        "be looked at; also GRACEFUL_ADMIN, or `admin` in the file",
    )
    where.add_argument(
        "--pid-file",
        metavar="PATH",
        default=or_default(""),
        help="its pid file, if it has no admin address; also ./twistd.pid",
    )
    where.add_argument(
        "--config",
        metavar="PATH",
        default=or_default(""),
        help="its TOML file; also GRACEFUL_CONFIG",
    )
    common.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        default=or_default(None),
        help=f"how long to wait [default: {TIMEOUT:g}; for status, check and log "
        f"{QUERY_TIMEOUT:g}]",
    )
    common.add_argument(
        "--json", action="store_true", default=or_default(False), help="JSON, for programs"
    )
    return common


def _parser() -> ArgumentParser:
    statuses = "\n".join(f"  {each.value:3}  {MEANING[each]}" for each in Exit)
    parser = ArgumentParser(
        prog="gracefulctl",
        description="Steer a server of twisted-graceful.",
        epilog=f"exit status:\n{statuses}",
        formatter_class=RawDescriptionHelpFormatter,
        parents=[_common(default=None)],
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, dest="command")
    for name, (_, help) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=help, description=f"{help[0].upper()}{help[1:]}.", parents=[_common()]
        )
        if name in ("upgrade", "reload"):
            command.add_argument(
                "--wait-probation",
                action="store_true",
                help="wait until the old process is gone, too: it takes the service back "
                "should the new code die",
            )
        if name == "workers":
            command.add_argument("count", metavar="N", type=int, help="how many")
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        _print(f"twisted-graceful {version('twisted-graceful')}")
        parser.exit()


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Run ``gracefulctl``.

    Args:
        arguments: of the command line; None for that of this process.
        environ: the environment.

    Returns:
        The exit status.

    Raises:
        SystemExit: the command line is wrong, or only asks for help.
    """
    options = _parser().parse_args(arguments)
    command, _ = _COMMANDS[options.command]
    if options.timeout is None:
        options.timeout = TIMEOUT if options.command in _GOES_ON else QUERY_TIMEOUT
    try:
        return command(find_server(options, environ), options)
    except CtlError as error:
        return _failed(str(error), error.status)
    except KeyboardInterrupt:
        begun = _GOES_ON.get(options.command)
        then = f"{begun}; `gracefulctl status` shows how" if begun else "nothing was changed"
        return _failed(f"interrupted; {then}", Exit.INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.UNKNOWN


def _failed(text: str, status: Exit) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"gracefulctl: {text}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
