"""Upgrade a server under load, again and again, and count what became of the requests.

``python benchmarks/upgrade.py`` starts a server, lets clients work that never retry, and
sends the server SIGUSR2 every time that the upgrade before is over. README.rst explains
the report.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from exchanges import KINDS
from harness import (
    FAILED,
    SUCCESS,
    TROUBLE,
    Trouble,
    complete_with,
    exit_after,
    graceful_has,
    report,
)
from load import Group, Load
from machine import Process, raise_file_limit
from served import Served, Upgrade, place
from tally import FAILURES, Failure, Tally, summaries

COMMAND = (
    "twistd -n --pidfile {pidfile} graceful --port 127.0.0.1:{port} --app upgrade_app.resource"
)
NEWER = {"--unix-mode": "--port unix:{unix}", "--probation": "--probation 0"}
"""What is added where twistd graceful has such an option, which older versions have not."""
TLS = "--port https:127.0.0.1:{tls_port} --tls-cert {certificate} --tls-key {key}"

SHOWN_FAILURES = 20
KEPT_FAILURES = 200


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
        closes: how many connections that their clients would have kept the server has ended.
        tls_closes: how many of these were TLS connections, which cannot be kept.
        kept: how many connections had a last request, after the last upgrade.
        newest: how many of these requests the newest process answered, or its workers.
        memory: of the process that the pid file names, in KiB (RSS): under load before the first
            upgrade, and after each; empty where the system does not tell.
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
    closes: int
    tls_closes: int
    kept: int
    newest: int
    memory: list[int]
    client_lag: float
    client_cpu: float
    kinds: dict[str, dict[str, float]]
    total: dict[str, float]
    failures: list[Failure]

    def exit_status(self, closes_fail: bool) -> int:
        """0: nothing failed; 1: something did; 2: the benchmark could not be completed.

        Args:
            closes_fail: whether that a connection was not kept, or not by the newest
                process in the end, is a failure too.
        """
        if self.trouble:
            return TROUBLE
        failed = any(self.total[outcome] for outcome in FAILURES)
        moved = self.closes == self.tls_closes and self.newest == self.kept
        return SUCCESS if not failed and (moved or not closes_fail) else FAILED


async def run(options: argparse.Namespace, served: Served) -> Result:
    """Serve, load, upgrade and stop.

    Raises:
        Trouble: the server does not start.
    """
    await served.start()
    load = Load(
        Group(kind, endpoint, options.clients[kind.name])
        for endpoint in served.endpoints
        for kind in KINDS
        # TLS connections cannot move: those that rest are closed, and may race.
        if endpoint.tls is None or kind.name != "resting"
    )
    upgrades: list[Upgrade] = []
    memory: list[int] = []
    trouble = ""
    cpu = time.process_time()
    load.start()
    try:
        await asyncio.sleep(options.warm_up)
        memory += _memory(served.serving)
        for _ in range(options.upgrades):
            upgrades.append(await served.upgrade(load.epoch, options.upgrade_timeout))
            memory += _memory(served.serving)
        await asyncio.sleep(options.cool_down)
        memory += _memory(served.serving)
    except Trouble as error:
        trouble = str(error)
    finally:
        # When we are cancelled, too: asyncio.wait_for can hide that from a client whose
        # answer is just complete (Python 3.11 and earlier), which would then work for ever.
        load.stop()
    await load.stopped()
    seconds = time.monotonic() - load.epoch
    cpu = time.process_time() - cpu
    newest = served.answering
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
        closes=total.closes.total(),
        tls_closes=sum(
            tally.closes.total() for name, tally in load.tallies.items() if name.endswith(" tls")
        ),
        kept=total.last.total(),
        newest=sum(total.last[pid] for pid in newest),
        memory=memory,
        client_lag=round(load.lag * 1000, 1),
        client_cpu=round(cpu / seconds, 2),
        kinds={name: tally.summary() for name, tally in load.tallies.items()},
        total=total.summary(),
        failures=total.failures[:KEPT_FAILURES],
    )


def _memory(pid: int) -> list[int]:
    process = Process.look(pid)
    return [process.resident // 1024] if process is not None else []


# The report


def table(result: Result) -> str:
    """The result, for people."""
    lines = summaries(result.kinds, result.total)
    rate = result.total["answered"] / result.seconds
    lines += [
        "",
        f"{len(result.upgrades)} upgrades and {result.generations} generations that answered, "
        f"in {result.seconds:.1f} s; {rate:.0f} answers/s",
        f"{result.closes} closes of any kind, {result.tls_closes} of them of TLS connections; "
        f"in the end the newest process answered on {result.newest} of {result.kept} kept "
        "connections",
        f"seconds from signal to ready: {_spread([each.ready for each in result.upgrades])}; "
        f"to the predecessor's end: {_spread([each.gone for each in result.upgrades])}",
        f"KiB of memory of the process that the pid file names: "
        f"{' '.join(map(str, result.memory)) or '-'}",
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


# The command line


def default_command(tls: bool = False, workers: int = 0) -> str:
    """Ours, with all that this version has.

    Args:
        tls: whether it serves with TLS too.
        workers: how many; 0 for a single process.
    """
    words = [COMMAND, *(words for option, words in NEWER.items() if graceful_has(option))]
    command = " ".join(words)
    if tls:  # then the other addresses have to say that they are not for TLS
        command = f"{command.replace('--port ', '--port http:')} {TLS}"
    return f"{command} --workers {workers}" if workers else command


class _Clients(argparse.Action):
    """Collects the number of clients of each kind."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        namespace.clients[self.dest.replace("_", "-")] = values


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Upgrade a server under load and count what became of the requests.",
        epilog="Exit status: 0, nothing failed; 1, something did; "
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
    add(
        "--closes-fail",
        action="store_true",
        help="that a connection is closed, or not the newest process's in the end, is a failure",
    )
    add("--command", help="starts the server, in the directory of this file; ours if not given")
    add("--workers", type=int, default=0, metavar="N", help="of our server; 0 for a single process")
    add("--tls", action="store_true", help="serve with TLS too; nobody rests there")
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
    raise_file_limit()
    with place(options.log) as (files, log):
        served = Served(
            options.command or default_command(options.tls, options.workers),
            signal.Signals[f"SIG{options.signal}"],
            log,
            files,
        )
        result = complete_with(served, run(options, served), options.timeout)
        report(table(result), asdict(result), options.json)
        if result.trouble:
            raise served.trouble(result.trouble)
    return result.exit_status(options.closes_fail)


if __name__ == "__main__":
    exit_after(main)
