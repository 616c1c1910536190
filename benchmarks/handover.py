"""What it costs to hand idle connections over to a new process.

``python benchmarks/handover.py`` opens 10,000 of them, upgrades the server once, and looks
at the processor time of both processes. README.rst explains the report.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import signal
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass

from harness import FAILED, SUCCESS, Trouble, align, complete_with, exit_after, report
from idle import ask, connect, ended
from machine import Process, facts, raise_file_limit
from served import Served, place
from upgrade import default_command

REQUEST = b"GET /fast/idle HTTP/1.1\r\nHost: benchmark\r\n\r\n"
ANSWER = b"idle"

SPARE_FILES = 200
"""Descriptors that a process needs beside the connections."""

UPGRADE_TIMEOUT = 60.0
LOOK_INTERVAL = 0.05
"""Seconds between two looks at the processes; the precision of times."""

SETTLE = 1.0
"""Seconds without work before the upgrade."""


@dataclass(frozen=True)
class Measured:
    """One upgrade.

    Attributes:
        connections: that were idle.
        kept: how many of them were still open after it.
        newest: on how many of these the newest process answered.
        old: seconds of processor time that the predecessor used from the signal to its end.
        new: seconds of processor time that the successor used until then.
        ready: seconds from the signal until the pid file named the successor.
        moved: seconds from the signal until the successor had as many descriptors as there are
            connections; 0 if it never had.
        gone: seconds from the signal until the predecessor had ended.
    """

    connections: int
    kept: int
    newest: int
    old: float
    new: float
    ready: float
    moved: float
    gone: float


async def measure(served: Served, endpoint: int, connections: int) -> Measured:
    """Start a server, upgrade it with so many idle connections, and stop it.

    Args:
        served: the server.
        endpoint: to which of its endpoints to connect.
        connections: how many.

    Raises:
        Trouble: that does not work.
    """
    await served.start()
    address = served.endpoints[endpoint].address
    with ExitStack() as stack:
        idle = []
        for number in range(connections):
            idle.append(stack.enter_context(await connect(address, number)))
            # At once: the kernel's queue is shorter than this.
            await ask(idle[-1], REQUEST, ANSWER)
        await asyncio.sleep(SETTLE)
        old, new, times = await _upgrade(served, connections)
        kept = [each for each in idle if not ended(each)]
        answers = [await _pid(each) for each in kept]
        result = Measured(
            connections,
            kept=len(kept),
            newest=answers.count(served.serving),
            old=round(old, 2),
            new=round(new, 2),
            **times,
        )
    await served.stop()
    return result


async def _upgrade(served: Served, connections: int) -> tuple[float, float, dict[str, float]]:
    """Upgrade; the processor time of both processes, and when what was."""
    used = _look(served.serving).cpu
    sent = time.monotonic()
    old = served.ask_for_upgrade()
    new = await served.successor(old, UPGRADE_TIMEOUT)
    times = {"ready": time.monotonic() - sent, "moved": 0.0}
    # Who has ended can be looked at until `served` waits for it.
    while (last := _look(old)).runs:
        if time.monotonic() - sent > UPGRADE_TIMEOUT:
            raise Trouble(f"the predecessor {old} does not end")
        if not times["moved"] and connections and _look(new).descriptors() >= connections:
            times["moved"] = time.monotonic() - sent
        await asyncio.sleep(LOOK_INTERVAL)
    times["gone"] = time.monotonic() - sent
    cpu = _look(new).cpu
    if not times["moved"] and connections and _look(new).descriptors() >= connections:
        times["moved"] = times["gone"]
    served.ended(old)
    return last.cpu - used, cpu, {name: round(each, 2) for name, each in times.items()}


def _look(pid: int) -> Process:
    process = Process.look(pid)
    if process is None:
        raise Trouble(f"there is no process {pid} any more")
    return process


async def _pid(connection: socket.socket) -> int:
    """Which process answers."""
    found = re.search(rb"(?i)x-pid: *(\d+)", await ask(connection, REQUEST, ANSWER))
    return int(found[1]) if found else 0


def table(results: Sequence[Measured]) -> str:
    """The results, for people: each, and what the connections cost beside the upgrade itself."""
    rows = [
        [
            "connections",
            *("kept", "by the newest", "CPU s old", "new", "both", "ready s", "moved", "gone"),
        ]
    ]
    for each in results:
        times = [f"{value:.2f}" for value in (each.ready, each.moved, each.gone)]
        cpu = [f"{value:.2f}" for value in (each.old, each.new, each.old + each.new)]
        rows.append([str(each.connections), str(each.kept), str(each.newest), *cpu, *times])
    none, all_ = results
    more = (all_.old - none.old, all_.new - none.new, all_.old + all_.new - none.old - none.new)
    rows.append(["difference", "", "", *(f"{value:.2f}" for value in more), "", "", ""])
    return "\n".join(
        [*align(rows), "", ", ".join(f"{name} {value}" for name, value in facts().items())]
    )


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Measure what handing idle connections over costs.",
        epilog="Exit status: 0, all are open and the newest process's; 1, some are not; "
        "2, the benchmark could not be completed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--connections", type=int, default=10_000, metavar="N", help="how many are idle")
    add("--unix", action="store_true", help="over a UNIX socket")
    add("--timeout", type=float, default=300, metavar="SECONDS", help="for the whole run")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    add("--log", metavar="PATH", help="where the server's output goes; it is appended")
    return parser.parse_args(arguments)


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit status.
    """
    options = parse()
    if raise_file_limit() < options.connections * 4 / 3 + SPARE_FILES:
        raise Trouble("the limit of open files (ulimit -Hn) is too low for so many")
    results = []
    for connections in (0, options.connections):
        with place(options.log) as (files, log):
            served = Served(default_command(), signal.SIGUSR2, log, files)
            if len(served.endpoints) <= options.unix:
                raise Trouble("this version of the server has no UNIX sockets")
            run = measure(served, int(options.unix), connections)
            results.append(complete_with(served, run, options.timeout))
    report(table(results), [asdict(each) for each in results], options.json)
    return SUCCESS if all(each.newest == each.connections for each in results) else FAILED


if __name__ == "__main__":
    exit_after(main)
