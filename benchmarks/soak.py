"""Deploy good and bad code again and again, kill processes, and look for what must not be.

``python benchmarks/soak.py`` does so for ten minutes, under mixed load over TCP, a UNIX
socket and TLS. README.rst explains the report.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random, SystemRandom

import plot
from deployer import Death, Deployer, Done
from deploys import DEPLOYS, endless
from exchanges import KINDS
from generations import Generation, Watch, trend
from harness import (
    FAILED,
    SUCCESS,
    TROUBLE,
    Trouble,
    align,
    complete,
    exit_after,
    graceful_has,
    report,
)
from load import ANSWER_TIMEOUT, Group, Load
from machine import raise_file_limit
from served import Served, place
from tally import Failure, Tally, summaries

COMMAND = (
    "twistd -n --pidfile {pidfile} graceful --app app.resource --port http:127.0.0.1:{port}"
    " --upgrade-timeout 5"
)
PROBATION = 2.0
"""Seconds for which a predecessor can still come back."""

PARTS = {
    "--tls-cert": "--port https:127.0.0.1:{tls_port} --tls-cert {certificate} --tls-key {key}",
    "--unix-mode": "--port http:unix:{unix}",
    "--warm-up": "--warm-up /warm-up",
    "--probation": f"--probation {PROBATION}",
}
"""What is added where twistd graceful has such an option, which older versions have not."""

CLIENTS = {
    "keep-alive": 6,
    "one-request": 3,
    "slow-answer": 2,
    "upload": 2,
    "download": 1,
    "pipelined": 2,
    "event-stream": 2,
}
"""How many there are of each kind, at each endpoint."""

RESTING = 20
"""And of those that are idle for long, where connections can move: not with TLS."""

SMALL = ("keep-alive", "one-request")
"""The kinds of clients whose latency is drawn."""

PAUSE = (0.2, 1.5)
"""Seconds between two deploys, at least and at most."""

LOOK_INTERVAL = 0.25
"""Seconds between two looks at the processes."""

WITHOUT_CLIENTS = 2.5
"""Seconds without clients, in which the least number of descriptors is taken."""

MOST_GENERATIONS = 2
SHOWN_FAILURES = 50

CUT = {"reset": 0.5, "racing": 0.5, "lost": 0.5, "truncated": 5.0}
"""What can become of a request that is in flight when its process is killed.

And within how many seconds its client sees that. A slow reader has first to read what the
kernel had already taken for it.
"""


@dataclass(frozen=True)
class Result:
    """What was seen.

    Attributes:
        seed: of the source of chance.
        trouble: why the run is not complete; empty if it is.
        seconds: from the first request to the last answer.
        skipped: what could not be tried, in words.
        deploys: that were made.
        killed: how many processes were killed, by whose they were.
        deaths: of processes that could have had clients.
        in_flight: how many requests were cut by these; they are no failures.
        failures: the requests that failed otherwise.
        problems: what must not be beside these, with the time.
        closes: how many connections that their clients would have kept the server has ended.
        generations: what each process held that has served alone.
        idle_descriptors: what the first successor and the last had open without clients.
        client_lag: the longest time in milliseconds by which the load client was late.
        kinds: the numbers for each kind of client.
        total: the numbers for all together.
    """

    seed: int
    trouble: str
    seconds: float
    skipped: list[str]
    deploys: list[Done]
    killed: dict[str, int]
    deaths: list[Death]
    in_flight: int
    failures: list[Failure]
    problems: list[str]
    closes: int
    generations: list[Generation]
    idle_descriptors: list[int]
    client_lag: float
    kinds: dict[str, dict[str, float]]
    total: dict[str, float]

    @property
    def exit_status(self) -> int:
        """0: no failure; 1: there were some; 2: the soak could not be completed."""
        if self.trouble:
            return TROUBLE
        return FAILED if self.failures or self.problems else SUCCESS


# The run


class Soak:
    """One run.

    Args:
        served: the server, not yet started.
        deployer: of the application that it serves.
        skipped: what cannot be tried, in words.
        options: of the command line.
    """

    def __init__(
        self,
        served: Served,
        deployer: Deployer,
        skipped: list[str],
        options: argparse.Namespace,
    ) -> None:
        self._served = served
        self._deployer = deployer
        self._skipped = skipped
        self._options = options
        self._load = Load(
            Group(kind, endpoint, count)
            for endpoint in served.endpoints
            for kind in KINDS
            for count in [_clients(kind.name, moves=endpoint.tls is None)]
        )
        self._trouble = ""
        self._seconds = 0.0
        self._idle: list[int] = []

    async def run(self) -> Result:
        """Serve, load, deploy and stop.

        Raises:
            Trouble: the server does not start.
        """
        self._deployer.put_first()
        try:
            await self._served.start()
            self._watch = Watch(self._served.pid)
            await self._watched()
        finally:
            self._served.kill()
        return self._result()

    async def _watched(self) -> None:
        looking = asyncio.ensure_future(self._look())
        try:
            await self._deployer.deploy_first()
            self._idle.append(await self._descriptors())
            await self._under_load()
            if not self._trouble:
                self._idle.append(await self._descriptors())
                await self._served.stop()
        except Trouble as error:
            self._trouble = str(error)
        finally:
            looking.cancel()

    async def _under_load(self) -> None:
        load = self._load
        load.start()
        self._watch.notes = True
        self._deployer.epoch = load.epoch
        try:
            await self._deploy()
        except Trouble as error:
            self._trouble = str(error)
        finally:
            load.stop()
            self._watch.notes = False
        await load.stopped()
        self._seconds = time.monotonic() - load.epoch

    async def _deploy(self) -> None:
        random = Random(self._options.seed)
        end = self._load.epoch + self._options.seconds
        for deploy in endless(random, self._options.deploys):
            await asyncio.sleep(random.uniform(*PAUSE))
            if time.monotonic() > end:
                return
            await self._deployer.deploy(deploy)

    async def _look(self) -> None:
        while True:
            self._watch.look()
            await asyncio.sleep(LOOK_INTERVAL)

    async def _descriptors(self) -> int:
        """How many the process that serves has open without clients."""
        end = time.monotonic() + WITHOUT_CLIENTS
        least = sys.maxsize
        while time.monotonic() < end:
            least = min([least, *(each.descriptors() for each in self._watch.look())])
            await asyncio.sleep(LOOK_INTERVAL)
        return least

    def _result(self) -> Result:
        load, deployer = self._load, self._deployer
        total = Tally.total(load.tallies.values())
        in_flight = [each for each in total.failures if is_in_flight(each, deployer.deaths)]
        problems = list(deployer.problems)
        if self._watch.most > MOST_GENERATIONS:
            problems.append(f"there were {self._watch.most} processes at a time")
        if len(self._idle) == 2 and self._idle[1] > self._idle[0]:
            problems.append("descriptors were leaked: {} and then {}".format(*self._idle))
        return Result(
            seed=self._options.seed,
            trouble=self._trouble,
            seconds=round(self._seconds, 3),
            skipped=self._skipped,
            deploys=deployer.done,
            killed=dict(deployer.killed),
            deaths=deployer.deaths,
            in_flight=len(in_flight),
            failures=[each for each in total.failures if each not in in_flight],
            problems=problems,
            closes=total.closes.total(),
            generations=self._watch.generations(),
            idle_descriptors=self._idle,
            client_lag=round(load.lag * 1000, 1),
            kinds={name: tally.summary() for name, tally in load.tallies.items()},
            total=total.summary(),
        )

    def output(self) -> str:
        """The end of what the server wrote."""
        return self._served.output()

    def draw(self, result: Result, path: str) -> None:
        """Draw the latency of the small requests."""
        deaths = ((death.at, "killed") for death in result.deaths)
        plot.draw(
            [
                answer
                for name, tally in self._load.tallies.items()
                if name.startswith(SMALL)
                for answer in tally.answers
            ],
            [*((each.at, each.outcome) for each in result.deploys), *deaths],
            [failure.at for failure in result.failures],
            path,
        )


def _clients(kind: str, moves: bool) -> int:
    return RESTING * moves if kind == "resting" else CLIENTS[kind]


def is_in_flight(failure: Failure, deaths: Iterable[Death]) -> bool:
    """Whether a request failed because it was in flight when its process was killed.

    It was begun before, or so shortly after that its client could not know, and its
    connection ended then. Nothing else that fails is forgiven: least of all a refusal.
    """
    within = CUT.get(failure.outcome, 0.0)
    return failure.at - failure.began < ANSWER_TIMEOUT and any(
        failure.began - 0.1 <= death.at <= failure.at + 0.1 and failure.at <= death.at + within
        for death in deaths
    )


# The report


def table(result: Result) -> str:
    """The result, for people."""
    outcomes = Counter((each.name, each.outcome) for each in result.deploys)
    ways = ("upgraded", "rolled back")
    rows = [["deploys of kind", "tried", *ways]]
    for name in dict.fromkeys(each.name for each in DEPLOYS):
        counts = [outcomes[name, way] for way in ways]
        if any(counts):
            rows.append([name, *map(str, [sum(counts), *counts])])
    counts = [sum(outcomes[name, way] for name, _ in set(outcomes)) for way in ways]
    deaths = Counter(death.whose for death in result.deaths)
    lines = [
        *summaries(result.kinds, result.total),
        "",
        *align(rows),
        "",
        f"seed {result.seed}; {result.seconds:.1f} s",
        *(f"not tried: {each}" for each in result.skipped),
        f"{result.total['requests']:g} requests; {len(result.deploys)} upgrades tried",
        f"processes killed: {_counts(result.killed)}; that could have had clients: "
        f"{_counts(deaths)}",
        f"requests in flight that these have cut, as they must: {result.in_flight}",
        f"{result.closes} connections were closed that their clients would have kept",
        "per generation that served alone:",
        f"  descriptors: {trend([each.descriptors for each in result.generations])}",
        f"  MiB of memory: {trend([each.megabytes for each in result.generations])}",
        f"  descriptors without clients: {trend(result.idle_descriptors)}",
        f"the load client was late by {result.client_lag:g} ms at most",
        f"{len(result.failures) + len(result.problems)} failures",
        *(_describe(failure, result) for failure in result.failures[:SHOWN_FAILURES]),
        *result.problems,
    ]
    return "\n".join(lines)


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in numbers.items()) or "none"


def _describe(failure: Failure, result: Result) -> str:
    """A failure, with what went on."""
    before = [each for each in result.deploys if each.at <= failure.at]
    when = "before any deploy"
    if before:
        last = before[-1]
        when = f"{failure.at - last.at:.3f} s after the signal for {last.name} ({last.outcome}"
        when += f" in {last.seconds:.3f} s)"
    return f"{failure.at:.3f} s: {failure.outcome}: {failure.kind}, {when}: {failure.detail}"


# The command line


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    names = [each.name for each in DEPLOYS]
    parser = argparse.ArgumentParser(
        description="Deploy good and bad code and kill processes under load, for a time.",
        epilog="Exit status: 0, no failure; 1, there were some; "
        "2, the soak could not be completed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--seconds", type=float, default=600, help="for how long there are deploys")
    add("--seed", type=int, default=SystemRandom().randrange(10**6), help="of all chance")
    add("--deploys", nargs="+", choices=names, default=names, help="the kinds of deploys")
    add("--options", default="", help="more of twistd graceful")
    add("--timeout", type=float, metavar="SECONDS", help="for the run; 3 minutes more if not given")
    add("--plot", default="soak.png", metavar="PATH", help="where the picture is put, a PNG")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    add("--log", metavar="PATH", help="where the server's output goes; it is replaced")
    return parser.parse_args(arguments)


def serve(options: argparse.Namespace, files: Path, log: Path) -> Soak:
    """What is to be run, as far as this version of the server has it."""
    skipped = [f"twistd graceful has no {option}" for option in PARTS if not graceful_has(option)]
    has = [option for option in PARTS if graceful_has(option)]
    if "--tls-cert" in has and shutil.which("openssl") is None:
        has.remove("--tls-cert")
        skipped.append("there is no openssl, and so no TLS")
    served = Served(
        " ".join([COMMAND, *(PARTS[option] for option in has), options.options]),
        signal.SIGUSR2,
        log,
        files,
        files,
    )
    deployer = Deployer(
        served, files, Random(f"{options.seed}"), PROBATION if "--probation" in has else 0.0
    )
    options.deploys = [
        each.name
        for each in DEPLOYS
        if each.name in options.deploys and (not each.needs or each.needs in has)
    ]
    return Soak(served, deployer, skipped, options)


def main() -> int:
    """Run the soak.

    Returns:
        The exit status.
    """
    options = parse()
    raise_file_limit()
    with place(options.log) as (files, log):
        log.write_bytes(b"")
        soak = serve(options, files, log)
        result = complete(soak.run(), options.timeout or options.seconds + 180)
        report(table(result), asdict(result), options.json)
        draw(result, soak, options)
        if result.exit_status:
            print(
                f"{result.trouble or 'Failures'}\nThe last the server wrote:\n{soak.output()}",
                file=sys.stderr,
            )
        return result.exit_status


def draw(result: Result, soak: Soak, options: argparse.Namespace) -> None:
    """Draw the picture, or say why there is none."""
    if plot.available():
        soak.draw(result, options.plot)
    elif options.json != "-":
        print("no picture: matplotlib is missing (pip install 'twisted-graceful[benchmark]')")


if __name__ == "__main__":
    exit_after(main)
