"""Kill workers under load, one after the other, and look whether anybody but their clients notices.

``python benchmarks/kills.py`` kills a random worker every 100 ms for ten seconds. README.rst
explains the report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random, SystemRandom

from exchanges import KINDS
from harness import FAILED, SUCCESS, TROUBLE, Trouble, complete_with, exit_after, report, until
from load import Group, Load
from machine import Process, raise_file_limit
from ownership import clients_of, queued, stand_still
from served import Served, place
from tally import Failure, Tally, summaries

COMMAND = (
    "twistd -n --pidfile {{pidfile}} graceful --port 127.0.0.1:{{port}} --app upgrade_app.resource"
    " --workers {workers} {options}"
)

CLIENTS = {
    "keep-alive": 16,
    "one-request": 8,
    "slow-answer": 4,
    "upload": 4,
    "download": 2,
    "pipelined": 4,
    "resting": 50,
}
"""How many there are of each kind."""

RECOVERY = 10.0
"""Seconds within which all workers must serve when nobody kills them any more."""

ALLOWED = ("reset", "racing", "lost", "truncated")
"""What can become of a request on a connection whose process is killed."""

SHOWN_FAILURES = 20
KEPT_FAILURES = 200


@dataclass(frozen=True)
class Death:
    """A worker that was killed.

    Attributes:
        at: when, in seconds since the load began.
        pid: of it.
        clients: the ports of the clients that it had accepted.
        queued: how many clients waited in the kernel then.
    """

    at: float
    pid: int
    clients: frozenset[int]
    queued: int


def is_victims(failure: Failure, deaths: Iterable[Death]) -> bool:
    """Whether a request failed because the worker was killed that had accepted its connection."""
    return failure.outcome in ALLOWED and any(
        failure.port in death.clients and failure.since <= death.at <= failure.at
        for death in deaths
    )


@dataclass
class Master:
    """What the master has, look by look.

    Attributes:
        kibibytes: its memory (RSS).
        descriptors: how many it has open.
    """

    kibibytes: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)

    def look(self, pid: int) -> None:
        """Note what it has now.

        Raises:
            Trouble: it has ended.
        """
        process = Process.look(pid)
        if process is None or not process.runs:
            raise Trouble(f"the master ({pid}) has ended")
        self.kibibytes.append(process.resident // 1024)
        self.descriptors.append(process.descriptors())


@dataclass(frozen=True)
class Result:
    """What was seen.

    Attributes:
        seed: of the source of chance.
        workers: how many there were to be.
        trouble: why the run is not complete; empty if it is.
        seconds: from the first request to the last answer.
        deaths: of workers.
        spared: how often there was nobody to kill.
        recovery: seconds from the last kill until all workers served.
        of_victims: how many requests failed on connections that a killed worker had accepted.
        failures: the first of those that failed otherwise.
        problems: what must not be beside these.
        master: what it had.
        client_lag: the longest time in milliseconds by which the load client was late.
        kinds: the numbers for each kind of client.
        total: the numbers for all together.
    """

    seed: int
    workers: int
    trouble: str
    seconds: float
    deaths: list[Death]
    spared: int
    recovery: float
    of_victims: int
    failures: list[Failure]
    problems: list[str]
    master: Master
    client_lag: float
    kinds: dict[str, dict[str, float]]
    total: dict[str, float]

    @property
    def exit_status(self) -> int:
        """0: no failure; 1: there were some; 2: the run could not be completed."""
        if self.trouble:
            return TROUBLE
        return FAILED if self.failures or self.problems else SUCCESS


# The run


class Storm:
    """One run.

    Args:
        options: of the command line.
        served: the server, not yet started.
    """

    def __init__(self, options: argparse.Namespace, served: Served) -> None:
        self._options = options
        self._served = served
        [endpoint] = served.endpoints
        self._load = Load(Group(kind, endpoint, CLIENTS.get(kind.name, 0)) for kind in KINDS)
        self._random = Random(options.seed)
        self._deaths: list[Death] = []
        self._spared = 0
        self._recovery = 0.0
        self._master = Master()

    async def run(self) -> Result:
        """Serve, load, kill and stop.

        Raises:
            Trouble: the server does not start.
        """
        await self._served.start()
        master = self._served.serving
        load, trouble = self._load, ""
        load.start()
        try:
            await self._all_serve("at the begin")
            await asyncio.sleep(self._options.warm_up)
            self._master.look(master)
            await self._kill(master)
            self._recovery = await self._all_serve("after the last kill")
            await asyncio.sleep(self._options.cool_down)
        except Trouble as error:
            trouble = str(error)
        finally:
            load.stop()
        await load.stopped()
        seconds = time.monotonic() - load.epoch
        try:
            self._master.look(master)
            await self._served.stop()
        except Trouble as error:
            trouble = trouble or str(error)
        return self._result(trouble, seconds)

    def _serving(self) -> list[int]:
        """The workers that have answered, in the order of their start."""
        seen: set[int] = set().union(*(each.generations for each in self._load.tallies.values()))
        killed = {death.pid for death in self._deaths}  # where all is busy they need time to die
        processes = map(Process.look, sorted(self._served.answering & seen - killed))
        return [each.pid for each in processes if each is not None and each.runs]

    async def _all_serve(self, when: str) -> float:
        """Wait until as many workers answer as there are to be; how many seconds that took."""
        began = time.monotonic()
        count = self._options.workers
        await until(
            lambda: len(self._serving()) == count, f"{count} workers answer, {when}", RECOVERY
        )
        return round(time.monotonic() - began, 3)

    async def _kill(self, master: int) -> None:
        end = time.monotonic() + self._options.seconds
        while (due := time.monotonic() + self._options.interval) < end:
            serving = self._serving()
            if serving:
                self._kill_one(self._random.choice(serving))
            else:
                self._spared += 1
            self._master.look(master)
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def _kill_one(self, pid: int) -> None:
        """Kill it, when it is known whom it has accepted."""
        port = self._served.address[1]
        if not stand_still(pid):
            raise Trouble(f"worker {pid} does not stand still")
        clients = clients_of(pid, port)
        waiting = len(queued(port))
        at = round(time.monotonic() - self._load.epoch, 3)
        os.kill(pid, signal.SIGKILL)
        self._deaths.append(Death(at, pid, clients, waiting))

    def _result(self, trouble: str, seconds: float) -> Result:
        total = Tally.total(self._load.tallies.values())
        others = [each for each in total.failures if not is_victims(each, self._deaths)]
        problems = []
        had = self._master.descriptors
        if had and had[-1] > had[0]:
            problems.append(f"the master has {had[-1]} descriptors open, and had {had[0]}")
        return Result(
            seed=self._options.seed,
            workers=self._options.workers,
            trouble=trouble,
            seconds=round(seconds, 3),
            deaths=self._deaths,
            spared=self._spared,
            recovery=self._recovery,
            of_victims=len(total.failures) - len(others),
            failures=others[:KEPT_FAILURES],
            problems=problems,
            master=self._master,
            client_lag=round(self._load.lag * 1000, 1),
            kinds={name: tally.summary() for name, tally in self._load.tallies.items()},
            total=total.summary(),
        )


# The report


def table(result: Result) -> str:
    """The result, for people."""
    deaths, memory = result.deaths, result.master.kibibytes
    lines = [
        *summaries(result.kinds, result.total),
        "",
        f"seed {result.seed}; {result.workers} workers; {result.seconds:.1f} s",
        f"{len(deaths)} workers killed, which had accepted "
        f"{sum(len(each.clients) for each in deaths)} clients; "
        f"{sum(each.queued for each in deaths)} clients waited in the kernel at these moments; "
        f"{result.spared} times there was nobody to kill",
        f"requests failed of clients of the killed, as they must: {result.of_victims}",
        f"longest time without any answer: {result.total['gap']:g} ms",
        f"all workers served {result.recovery:g} s after the last kill",
        f"master: {memory[0]} KiB of memory at first, {max(memory)} at most, {memory[-1]} at last; "
        f"{result.master.descriptors[0]} descriptors at first, {result.master.descriptors[-1]} "
        "at last",
        f"the load client was late by {result.client_lag:g} ms at most",
        f"{len(result.failures) + len(result.problems)} failures",
        *map(_describe, result.failures[:SHOWN_FAILURES]),
        *result.problems,
    ]
    return "\n".join(lines)


def _describe(failure: Failure) -> str:
    return (
        f"{failure.at:.3f} s: {failure.outcome}: {failure.kind}, begun at {failure.began:.3f} s "
        f"on a connection from port {failure.port} since {failure.since:.3f} s: {failure.detail}"
    )


# The command line


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="Kill workers under load, and look whether anybody but their clients notices.",
        epilog="Exit status: 0, nobody did; 1, somebody did; 2, the run could not be completed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--workers", type=int, default=2, metavar="N", help="how many")
    add("--seconds", type=float, default=10, help="for how long they are killed")
    add("--interval", type=float, default=0.1, metavar="SECONDS", help="from one kill to the next")
    add("--seed", type=int, default=SystemRandom().randrange(10**6), help="of all chance")
    add("--warm-up", type=float, default=2, metavar="SECONDS", help="load before the first")
    add("--cool-down", type=float, default=3, metavar="SECONDS", help="load after the last")
    add("--options", default="", help="more of twistd graceful")
    add("--timeout", type=float, metavar="SECONDS", help="for the run; 2 minutes more if not given")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    add("--log", metavar="PATH", help="where the server's output goes; it is appended")
    return parser.parse_args(arguments)


def main() -> int:
    """Run it.

    Returns:
        The exit status.
    """
    options = parse()
    raise_file_limit()
    with place(options.log) as (files, log):
        command = COMMAND.format(workers=options.workers, options=options.options)
        served = Served(command, signal.SIGHUP, log, files)
        run = Storm(options, served).run()
        result = complete_with(served, run, options.timeout or options.seconds + 120)
        report(table(result), _jsonable(result), options.json)
        if result.trouble:
            raise served.trouble(result.trouble)
    return result.exit_status


def _jsonable(result: Result) -> dict[str, object]:
    deaths = [asdict(each) | {"clients": sorted(each.clients)} for each in result.deaths]
    return asdict(result) | {"deaths": deaths}


if __name__ == "__main__":
    exit_after(main)
