"""Compare how fast servers answer, on one core, and what they use for it.

``python benchmarks/throughput.py --peers ENV`` starts them side by side and loads one after
the other with wrk, round by round. README.rst explains the report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from contenders import (
    CONTENDERS,
    SCALING,
    Contender,
    Grounds,
    Unavailable,
    make_peers,
    versions,
)
from harness import SUCCESS, TROUBLE, Server, Trouble, complete, exit_after, free_ports, write_json
from idle import WARM_UP, bytes_per_connection
from machine import facts, pinned, raise_file_limit, two_cores
from results import Comparison, Idle, Measured, Report
from scaling import Pair, Scaling
from scenarios import BUSY, SCENARIOS, Load, Scenario, check, load

IDLE = "idle"
"""The scenario without load: memory for each idle connection."""

SPARE_FILES = 200
"""Descriptors that a server and we need beside the connections."""

FULL: dict[str, Any] = {
    "servers": [each.name for each in CONTENDERS],
    "scenarios": [*(each.name for each in SCENARIOS), IDLE],
    "rounds": 3,
    "idle_connections": 10_000,
}
QUICK: dict[str, Any] = {
    **FULL,
    "servers": ["graceful", "uvicorn", "bare"],
    "rounds": 2,
    "idle_connections": 2000,
}
"""What is measured if nothing else is asked for."""


# The run


class Benchmark:
    """One run.

    Args:
        options: of the command line.
        grounds: of the contenders.
        server_core: on which the servers run; None for all.
        report: is filled.
    """

    def __init__(
        self,
        options: argparse.Namespace,
        grounds: Grounds,
        server_core: int | None,
        report: Report,
    ) -> None:
        self._options = options
        self._grounds = grounds
        self._server_core = server_core
        self._report = report
        self._contenders = [
            *(each for each in CONTENDERS if each.name in options.servers),
            *options.command,
        ]
        self._say = _silent if options.json == "-" else _print

    async def run(self) -> None:
        """Measure what is to be measured, and print each table when it is complete.

        Raises:
            Trouble: it cannot go on.
        """
        self._say(self._report.introduction())
        chosen = [each for each in SCENARIOS if each.name in self._options.scenarios]
        if self._options.workers:
            await self._compare_workers([each for each in chosen if not each.tls])
            return
        for tls in (False, True):
            scenarios = [each for each in chosen if each.tls == tls]
            if scenarios:
                await self._compare(scenarios, tls)
        if IDLE in self._options.scenarios:
            await self._compare_idle()
        self._check_measured()

    def _check_measured(self) -> None:
        if not self._report.measured():
            raise Trouble("no server could be measured")

    async def _compare(self, scenarios: Iterable[Scenario], tls: bool) -> None:
        """Measure all servers in some scenarios."""
        if tls:
            self._grounds.make_certificate()
        servers = self._servers(self._contenders, tls)
        if not servers:
            return
        async with self._started(servers) as failures:
            for scenario in scenarios:
                measured = await self._measure(scenario, servers, failures)
                self._report.scenarios[scenario.name] = measured
                self._say(measured.table(scenario))

    async def _measure(
        self, scenario: Scenario, servers: dict[str, Server], failures: dict[str, str]
    ) -> Comparison:
        """Load one server after the other, round by round: what disturbs, disturbs all alike."""
        measured = {name: Measured(trouble=failures.get(name, "")) for name in servers}
        for number in range(self._options.rounds):
            for name, each in measured.items():
                if each.trouble:
                    continue
                try:
                    if not number:
                        check(servers[name], scenario)
                    each.loads.append(await self._load(servers[name], scenario))
                except Trouble as error:
                    each.trouble = str(error)
        return Comparison(self._options.reference, measured)

    async def _load(self, server: Server, scenario: Scenario) -> Load:
        """Load a server once, and again while that is disturbed; of these, the least disturbed."""
        loads: list[Load] = []
        while len(loads) <= self._options.retries:
            loads.append(
                await load(server, scenario, self._options.connections, self._options.seconds)
            )
            if loads[-1].use >= BUSY:
                break
        return max(loads, key=lambda each: each.use)

    async def _compare_workers(self, scenarios: Iterable[Scenario]) -> None:
        """Measure each server with one worker and with several, in turns."""
        workers = self._options.workers
        for scenario in scenarios:
            measured: dict[str, Pair] = {}
            for contender in self._contenders:
                if contender.name not in SCALING:
                    continue
                both = [contender.with_workers(count) for count in (1, workers)]
                servers = self._servers(both)
                if len(servers) < len(both):
                    continue
                pair = measured[contender.name] = Pair()
                async with self._started(servers) as failures:
                    try:
                        for failure in failures.values():
                            raise Trouble(failure)
                        one, several = servers.values()
                        check(one, scenario)
                        check(several, scenario)
                        for _ in range(self._options.rounds):
                            pair.one.append(await self._load(one, scenario))
                            pair.several.append(await self._load(several, scenario))
                    except Trouble as error:
                        pair.trouble = str(error)
            found = Scaling(scenario.title, workers, measured)
            self._report.scaling[scenario.name] = found
            self._say(found.table())
        self._check_measured()

    async def _compare_idle(self) -> None:
        """Measure the memory for each idle connection."""
        available = raise_file_limit() - SPARE_FILES
        idle = self._report.idle = Idle(min(self._options.idle_connections, available))
        for contender in self._contenders:
            # One by one: a port that is free now need not be when the others are through.
            servers = self._servers([contender])
            async with self._started(servers) as failures:
                idle.troubles |= failures
                for name in servers.keys() - failures.keys():
                    try:
                        idle.memory[name] = await bytes_per_connection(
                            servers[name], idle.connections
                        )
                    except Trouble as error:
                        idle.troubles[name] = str(error)
        self._say(idle.table())

    def _servers(self, contenders: Sequence[Contender], tls: bool = False) -> dict[str, Server]:
        """Those of them that can take part, not yet started, by name."""
        servers = {}
        for contender, port in zip(contenders, free_ports(len(contenders)), strict=True):
            try:
                servers[contender.name] = self._grounds.server(contender, port, tls)
            except Unavailable as error:
                self._skip(contender.name + (" with TLS" if tls else ""), str(error))
        return servers

    def _skip(self, name: str, reason: str) -> None:
        if name not in self._report.skipped:
            self._report.skipped[name] = reason
            self._say(f"{name} is skipped: {reason}")

    @asynccontextmanager
    async def _started(self, servers: dict[str, Server]) -> AsyncIterator[dict[str, str]]:
        """Run servers, all on one core; tells which do not start, and why."""
        failures = {}

        async def start(name: str, server: Server) -> None:
            try:
                await server.start()
            except Trouble as error:
                failures[name] = f"{error}\n{server.output(3)}"

        try:
            with nullcontext() if self._server_core is None else pinned(self._server_core):
                await asyncio.gather(*(start(*each) for each in servers.items()))
            yield failures
        finally:
            for server in servers.values():
                server.kill()


def _print(text: str) -> None:
    print(text, flush=True)


def _silent(text: str) -> None:
    pass


# The command line


def _at_least(least: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


def _contender(text: str) -> Contender:
    name, equals, command = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=COMMAND")
    return Contender(name, "from the command line", command)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    names = [each.name for each in CONTENDERS]
    parser = argparse.ArgumentParser(
        description="Compare how fast servers answer, on one core, and what they use for it.",
        epilog="\n".join(
            [
                "servers:",
                *(f"  {each.name:13} {each.about}" for each in CONTENDERS),
                "",
                "scenarios:",
                *(f"  {each.name:13} {each.title}" for each in SCENARIOS),
                f"  {IDLE:13} memory for each idle connection",
                "",
                "Exit status: 0, all was measured; 2, something could not be. A server that is",
                "not installed is skipped, with a line that says so.",
            ]
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--peers",
        type=Path,
        metavar="DIR",
        help="a virtual environment with the other servers; if there is none, it is made with "
        "pip and peers.txt (default: none, they are skipped)",
    )
    add("--servers", nargs="+", choices=names, metavar="NAME", help="(default: all)")
    add(
        "--command",
        action="append",
        default=[],
        type=_contender,
        metavar="NAME=COMMAND",
        help="one more server, say another version; it is started in the directory apps, and "
        "{port}, {directory}, {python}, {ours} and {peers} are replaced; can be repeated",
    )
    add(
        "--scenarios",
        nargs="+",
        choices=FULL["scenarios"],
        metavar="NAME",
        help="(default: all)",
    )
    add(
        "--reference",
        default="uvicorn",
        metavar="NAME",
        help="the server that the others are compared with (default: uvicorn)",
    )
    add(
        "--workers",
        type=_at_least(2),
        metavar="N",
        help="measure instead, on all processors, what N workers bring over one",
    )
    add("--quick", action="store_true", help="less of everything, in less than a minute")
    add("--rounds", type=_at_least(1), metavar="N", help="loads of each server (default: 3)")
    add(
        "--retries",
        type=_at_least(0),
        default=0,
        metavar="N",
        help="how often to repeat a load that something else disturbed (default: 0)",
    )
    add("--seconds", type=_at_least(1), default=1, metavar="N", help="of one load (default: 1)")
    add(
        "--connections",
        type=_at_least(1),
        default=64,
        metavar="N",
        help="of the load (default: 64)",
    )
    add(
        "--idle-connections",
        type=_at_least(2 * WARM_UP),
        metavar="N",
        help=f"of the scenario {IDLE} (default: 10000, or what the file limit allows)",
    )
    add(
        "--cores",
        nargs=2,
        type=int,
        metavar=("SERVER", "LOAD"),
        help="processors to use, as numbered in /proc/cpuinfo (default: the last for the server)",
    )
    add("--timeout", type=float, default=900, metavar="SECONDS", help="for all (default: 900)")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    add("--logs", type=Path, metavar="DIR", help="where the servers' output goes, a file for each")
    options = parser.parse_args(arguments)
    if options.workers and options.scenarios is None:
        options.scenarios = ["plain"]
    for name, value in (QUICK if options.quick else FULL).items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    if options.reference not in [*names, *(each.name for each in options.command)]:
        parser.error(f"argument --reference: there is no server {options.reference!r}")
    return options


def benchmark(options: argparse.Namespace, directory: Path) -> Report:
    """Run it.

    Raises:
        Trouble: it could not be completed.
    """
    if sys.platform != "linux":
        raise Trouble("this runs on Linux only")
    if shutil.which("wrk") is None:
        raise Trouble("wrk is not installed (https://github.com/wg/wrk; apt install wrk)")
    if options.peers:
        make_peers(options.peers)
    server_core, load_core = (None, None) if options.workers else options.cores or two_cores()
    cores = {"cores": f"{server_core} for the servers, {load_core} for the load"}
    if options.workers:
        cores = {"cores": f"{len(os.sched_getaffinity(0))}, shared by the servers and the load"}
    report = Report(
        {**facts(), **cores},
        versions(options.peers),
        {each: getattr(options, each) for each in ("connections", "rounds", "seconds")},
    )
    logs = options.logs or directory
    logs.mkdir(parents=True, exist_ok=True)
    grounds = Grounds(options.peers, directory, logs.absolute(), options.connections)
    with nullcontext() if load_core is None else pinned(load_core):
        complete(Benchmark(options, grounds, server_core, report).run(), options.timeout)
    return report


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit status.
    """
    options = parse()
    with tempfile.TemporaryDirectory() as temporary:
        report = benchmark(options, Path(temporary))
    if options.json:
        write_json(report.as_json(), options.json)
    return SUCCESS if report.complete() else TROUBLE


if __name__ == "__main__":
    exit_after(main)
