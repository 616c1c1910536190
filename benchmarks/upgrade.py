"""Upgrade a server under load, again and again, and count what became of the requests.

``python benchmarks/upgrade.py`` starts a server, lets clients work that never retry, and
sends the server SIGUSR2 every time that the upgrade before is over. README.rst explains
the report.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness import (
    FAILED,
    HOST,
    SUCCESS,
    TROUBLE,
    Server,
    Trouble,
    align,
    complete,
    free_ports,
    until,
    write_json,
)
from load import FAILURES, KINDS, Failure, Load, Tally

COMMAND = (
    "twistd -n --pidfile {pidfile} graceful --port 127.0.0.1:{port} --app upgrade_app.resource"
)

STOP_TIMEOUT = 40.0
"""Seconds that the last generation may take to end; more than the default drain timeout."""

SHOWN_FAILURES = 20
KEPT_FAILURES = 200


@dataclass(frozen=True)
class Upgrade:
    """One finished upgrade.

    Attributes:
        at: when the signal was sent, in seconds since the load began.
        pid: of the successor.
        ready: seconds from the signal until the pid file named the successor.
        gone: seconds from the signal until the predecessor had ended.
    """

    at: float
    pid: int
    ready: float
    gone: float


class Served(Server):
    """A server and its successors.

    Args:
        command: starts it; ``{port}`` and ``{pidfile}`` are replaced.
        upgrade_signal: asks for an upgrade.
        log: where its output goes.
        directory: of the pid file.
    """

    def __init__(
        self, command: str, upgrade_signal: signal.Signals, log: Path, directory: Path
    ) -> None:
        [port] = free_ports(1)
        self._pid_file = directory / "server.pid"
        words = [part.format(port=port, pidfile=self._pid_file) for part in shlex.split(command)]
        super().__init__(words, (HOST, port), log)
        self._upgrade_signal = upgrade_signal
        self.exit_statuses: dict[int, int | None] = {}

    def serves(self) -> bool:
        """Whether the first generation accepts connections, and can be upgraded."""
        return super().serves() and bool(self._pid())

    async def upgrade(self, epoch: float, seconds: float) -> Upgrade:
        """Upgrade once.

        Args:
            epoch: when the load began.
            seconds: that the upgrade may take until the predecessor has ended.

        Raises:
            Trouble: it takes longer, or there is nobody to upgrade.
        """
        sent = time.monotonic()
        old = self._send(self._upgrade_signal)
        pid = await until(
            lambda: (new := self._pid()) != old and new, f"a successor of {old} serves", seconds
        )
        ready = time.monotonic()
        left = max(0.0, sent + seconds - ready)
        await until(lambda: self._ended(old), f"the predecessor {old} ends", left)
        gone = time.monotonic()
        return Upgrade(
            at=round(sent - epoch, 3),
            pid=pid,
            ready=round(ready - sent, 3),
            gone=round(gone - sent, 3),
        )

    async def stop(self) -> None:
        """Stop the serving generation, and wait until it has ended.

        Raises:
            Trouble: it does not end, or has ended before.
        """
        pid = self._send(signal.SIGTERM)
        await until(lambda: self._ended(pid), f"the server {pid} ends", STOP_TIMEOUT)
        self._process = None

    def _pid(self) -> int:
        """The pid of the serving generation; 0 if there is none."""
        with suppress(OSError, ValueError):
            return int(self._pid_file.read_text())
        return 0

    def _send(self, number: signal.Signals) -> int:
        """Send a signal to the serving generation; return its pid."""
        pid = self._pid()
        if not pid:
            raise Trouble("the pid file names no process")
        if self._ended(pid):
            raise Trouble(f"the pid file names {pid}, which has ended")
        os.kill(pid, number)
        return pid

    def _ended(self, pid: int) -> bool:
        """Whether a generation has ended; its exit status is kept."""
        if pid not in self.exit_statuses:
            ended, status = self._look(pid)
            if ended:
                self.exit_statuses[pid] = status
        return pid in self.exit_statuses

    def _look(self, pid: int) -> tuple[bool, int | None]:
        """Whether a process has ended, and its exit status if that can be known."""
        assert self._process is not None
        if pid == self._process.pid:
            first = self._process.poll()
            return first is not None, first
        try:
            waited, status = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:  # its predecessor's child, or see become_subreaper
            return not _exists(pid), None
        return bool(waited), os.waitstatus_to_exitcode(status)


def become_subreaper() -> None:
    """Let the system make us the parent of every orphaned generation.

    Else only the first could be waited for. See PR_SET_CHILD_SUBREAPER in prctl(2);
    elsewhere than on Linux exit statuses stay unknown.
    """
    PR_SET_CHILD_SUBREAPER = 36
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# The run


@dataclass(frozen=True)
class Result:
    """What was seen.

    Attributes:
        trouble: why the run is not complete; empty if it is.
        seconds: from the first request to the last answer.
        upgrades: those that finished.
        exit_statuses: of all generations that ended, in order; negative for a signal,
            None if unknown.
        generations: how many processes answered a request.
        client_lag: the longest time in milliseconds by which the load client was late.
        client_cpu: the share of one processor that the load client used.
        kinds: the numbers for each kind of client.
        total: the numbers for all together.
        failures: the first failed requests.
    """

    trouble: str
    seconds: float
    upgrades: list[Upgrade]
    exit_statuses: list[int | None]
    generations: int
    client_lag: float
    client_cpu: float
    kinds: dict[str, dict[str, float]]
    total: dict[str, float]
    failures: list[Failure]

    @property
    def exit_status(self) -> int:
        """0: nothing failed; 1: a request failed; 2: the benchmark could not be completed."""
        if self.trouble:
            return TROUBLE
        return FAILED if any(self.total[outcome] for outcome in FAILURES) else SUCCESS


async def run(options: argparse.Namespace, served: Served) -> Result:
    """Serve, load, upgrade and stop.

    Raises:
        Trouble: the server does not start.
    """
    await served.start()
    load = Load(served.address, options.clients)
    upgrades: list[Upgrade] = []
    trouble = ""
    cpu = time.process_time()
    load.start()
    try:
        await asyncio.sleep(options.warm_up)
        for _ in range(options.upgrades):
            upgrades.append(await served.upgrade(load.epoch, options.upgrade_timeout))
        await asyncio.sleep(options.cool_down)
    except Trouble as error:
        trouble = str(error)
    finally:
        # When we are cancelled, too: asyncio.wait_for can hide that from a client whose
        # answer is just complete (Python 3.11 and earlier), which would then work for ever.
        load.stop()
    await load.stopped()
    seconds = time.monotonic() - load.epoch
    cpu = time.process_time() - cpu
    try:
        await served.stop()
    except Trouble as error:
        trouble = trouble or str(error)
    total = Tally.total(load.tallies.values())
    return Result(
        trouble=trouble,
        seconds=round(seconds, 3),
        upgrades=upgrades,
        exit_statuses=list(served.exit_statuses.values()),
        generations=len(total.generations),
        client_lag=round(load.lag * 1000, 1),
        client_cpu=round(cpu / seconds, 2),
        kinds={name: tally.summary() for name, tally in load.tallies.items()},
        total=total.summary(),
        failures=total.failures[:KEPT_FAILURES],
    )


# The report


def table(result: Result) -> str:
    """The result, for people."""
    rows = [["clients of kind", *result.total]]
    for name, numbers in [*result.kinds.items(), ("total", result.total)]:
        rows.append([name, *map("{:g}".format, numbers.values())])
    lines = align(rows)
    rate = result.total["answered"] / result.seconds
    lines += [
        "",
        f"{len(result.upgrades)} upgrades and {result.generations} generations that answered, "
        f"in {result.seconds:.1f} s; {rate:.0f} answers/s",
        f"seconds from signal to ready: {_spread([each.ready for each in result.upgrades])}; "
        f"to the predecessor's end: {_spread([each.gone for each in result.upgrades])}",
        f"exit statuses of the server: {' '.join(map(str, result.exit_statuses))}",
        f"the load client used {result.client_cpu:.0%} of a processor "
        f"and was late by {result.client_lag:g} ms at most",
    ]
    lines += [_describe(failure, result.upgrades) for failure in result.failures[:SHOWN_FAILURES]]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    ascending = sorted(values)
    return f"{ascending[0]:.2f}, {ascending[len(ascending) // 2]:.2f}, {ascending[-1]:.2f}"


def _describe(failure: Failure, upgrades: Sequence[Upgrade]) -> str:
    since = [failure.at - each.at for each in upgrades if each.at <= failure.at]
    when = f"{min(since):.3f} s after signal {len(since)}" if since else "before any upgrade"
    return f"{failure.outcome}: {failure.kind}, {when}: {failure.detail}"


def report(result: Result, json_path: str | None) -> None:
    """Print the table, and write the JSON where it is wanted; ``-`` prints it instead."""
    if json_path != "-":
        print(table(result))
    if json_path is not None:
        write_json(asdict(result), json_path)


# The command line


class _Clients(argparse.Action):
    """Collects the number of clients of each kind."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        namespace.clients[self.dest.replace("_", "-")] = values


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Upgrade a server under load and count what became of the requests.",
        epilog="Exit status: 0, nothing failed; 1, a request failed; "
        "2, the benchmark could not be completed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--upgrades", type=int, default=20, metavar="N", help="how many, one after the other")
    add("--warm-up", type=float, default=3, metavar="SECONDS", help="load before the first")
    add("--cool-down", type=float, default=3, metavar="SECONDS", help="load after the last")
    add("--upgrade-timeout", type=float, default=60, metavar="SECONDS", help="for one upgrade")
    add("--timeout", type=float, default=600, metavar="SECONDS", help="for the whole run")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    add("--log", metavar="PATH", help="where the server's output goes; it is appended")
    add("--command", default=COMMAND, help="starts the server, in the directory of this file")
    add("--signal", choices=["USR2", "HUP"], default="USR2", help="asks for an upgrade")
    for kind in KINDS:
        what = f"clients of the kind {kind.name}"
        add(
            f"--{kind.name}",
            action=_Clients,
            type=int,
            default=kind.clients,
            metavar="N",
            help=what,
        )
    parser.set_defaults(clients={kind.name: kind.clients for kind in KINDS})
    return parser.parse_args(arguments)


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit status.
    """
    options = parse()
    become_subreaper()
    with tempfile.TemporaryDirectory() as temporary:
        directory = Path(temporary)
        log = Path(options.log) if options.log else directory / "server.log"
        served = Served(
            options.command, signal.Signals[f"SIG{options.signal}"], log.absolute(), directory
        )
        try:
            result = complete(run(options, served), options.timeout)
        except Trouble as error:
            trouble = str(error)
        else:
            report(result, options.json)
            trouble = result.trouble
        finally:
            served.kill()
        if not trouble:
            return result.exit_status
        print(f"{trouble}\nThe last the server wrote:\n{served.output()}", file=sys.stderr)
        return TROUBLE


if __name__ == "__main__":
    sys.exit(main())
