"""Deploys an application, kills processes meanwhile, and sees what comes of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random

from answer import read_answer
from deploys import DEPLOYS, GOOD, Deploy
from harness import Trouble, until
from load import ANSWER_TIMEOUT
from machine import Process, session
from served import Served
from tally import Failed

SETTLE_TIMEOUT = 45.0
"""Seconds after which the server must be a single process again; more than a drain takes."""

START_TIMEOUT = 10.0
"""Seconds after which a signal must have started a successor."""

START = 0.5
"""Seconds, about what a successor needs until it is ready; processes are killed in these too."""

STARTS = re.compile(r"generation \d+ starts \(pid (\d+)\)")
"""What the log says of each successor."""

READY = "is ready; generation"
"""What the predecessor's log says before the successor accepts."""

LOG_DELAY = 0.1
"""Seconds until what happened is in the log."""

DEATH_NOTE = "died"
"""A file with the time at which an application has ended its process."""


@dataclass(frozen=True)
class Done:
    """A deploy that is over.

    Attributes:
        at: when the signal was sent, in seconds since the load began.
        name: of its kind.
        outcome: ``upgraded`` or ``rolled back``.
        seconds: until there was a single process again.
    """

    at: float
    name: str
    outcome: str
    seconds: float


@dataclass(frozen=True)
class Death:
    """The sudden end of a process that could have had clients.

    Attributes:
        at: when, in seconds since the load began.
        whose: ``successor``, ``predecessor`` or ``by itself``.
    """

    at: float
    whose: str


class Deployer:
    """Makes one deploy after the other.

    Args:
        served: the server; it serves ``app.resource``.
        directory: where that application is.
        random: the source of chance.
        grace: seconds after a successor is ready in which it can be killed without the end
            of the service; 0 if only until then.

    Attributes:
        epoch: when the load began, in seconds of the monotonic clock.
        done: the deploys that are over.
        deaths: of processes that could have had clients.
        killed: how many processes were killed, with clients or without.
        problems: what must not be, with its time.
    """

    def __init__(self, served: Served, directory: Path, random: Random, grace: float) -> None:
        self._served = served
        self._directory = directory
        self._random = random
        self._grace = grace
        self._version = 0
        self._serving_version = 0
        self.epoch = 0.0
        self.done: list[Done] = []
        self.deaths: list[Death] = []
        self.killed: Counter[str] = Counter()
        self.problems: list[str] = []

    def put(self, source: str) -> int:
        """Put an application in place, and return its version."""
        self._version += 1
        text = (
            source.replace("{version}", str(self._version))
            .replace("{delay}", f"{self._random.uniform(0, max(0.3, self._grace / 2)):.3f}")
            .replace("{pid_file}", str(self._served.pid_file))
        )
        temporary = self._directory / ".app.py"
        temporary.write_text(text)
        temporary.rename(self._directory / "app.py")
        return self._version

    def put_first(self) -> None:
        """Put in place what the first generation serves."""
        self._serving_version = self.put(GOOD)

    async def deploy_first(self) -> None:
        """Upgrade once before the load: only from then on is one generation like another."""
        # The kernel accepts before the process does, or would heed the signal.
        if (seen := await self._ask_for_version()) != str(self._serving_version):
            raise Trouble(f"the first generation does not serve: {seen}")
        await self.deploy(DEPLOYS[0])
        self.done.clear()

    async def deploy(self, deploy: Deploy) -> None:
        """Deploy once, and wait until the server is a single process again.

        Raises:
            Trouble: that does not come, or nobody serves any more.
        """
        mark = self._served.log.stat().st_size
        before = self._serving_version
        newest = self.put(deploy.source)
        sent = time.monotonic()
        old = self._served.ask_for_upgrade()
        succeeds = deploy.succeeds
        if deploy.twice:
            await asyncio.sleep(self._random.uniform(0.05, START + self._grace / 2))
            newest = self.put(GOOD)
            self._served.ask_for_upgrade()
        if deploy.kills:
            killed = await self._kill(deploy.kills, old, mark, sent)
            succeeds = succeeds or not killed
        self._serving_version = newest if succeeds else before
        await self._settle(deploy.name, old, mark, str(self._serving_version))
        self._read_death_note()
        if not succeeds and deploy.says not in self._said(mark):
            self._complain(f"the log does not say of {deploy.name!r}: {deploy.says}")
        self.done.append(
            Done(
                at=round(sent - self.epoch, 3),
                name=deploy.name,
                outcome="rolled back" if self._served.serving == old else "upgraded",
                seconds=round(time.monotonic() - sent, 3),
            )
        )

    async def _kill(self, whose: str, old: int, mark: int, sent: float) -> bool:
        """Kill one of the two processes at a random moment; whether there were two."""
        await asyncio.sleep(self._random.uniform(0, START + self._grace / 2))
        await until(lambda: self._successors(mark), f"{old} starts a successor", START_TIMEOUT)
        successor = self._successors(mark)[-1]
        ready = self._served.serving != old
        last_chance = ready and time.monotonic() - sent > self._grace
        if not (_runs(old) and _runs(successor)) or (whose == "successor" and last_chance):
            return False
        os.kill(old if whose == "predecessor" else successor, signal.SIGKILL)
        at = time.monotonic() - self.epoch
        self.killed[whose] += 1
        # Before it is ready a successor has no clients. The log tells: the pid file comes later.
        await asyncio.sleep(LOG_DELAY)
        if whose == "predecessor" or READY in self._said(mark):
            self.deaths.append(Death(round(at, 3), whose))
        return True

    async def _settle(self, name: str, old: int, mark: int, version: str) -> None:
        """Wait until a single process is left, and serves this version."""
        what = f"after the deploy {name!r} the server is a single process"
        deadline = time.monotonic() + SETTLE_TIMEOUT
        while True:
            await until(lambda: self._settled(old, mark), what, SETTLE_TIMEOUT)
            seen = await self._ask_for_version()
            if seen == version and self._settled(old, mark):
                return
            if time.monotonic() > deadline:
                self._complain(f"after the deploy {name!r} {seen} serves, and not {version}")
                return
            await asyncio.sleep(0.1)

    async def _ask_for_version(self) -> str:
        """The version that serves who connects now; what is wrong if there is none."""
        try:
            reader, writer = await self._served.endpoints[0].connect()
        except OSError as error:
            return repr(error)
        try:
            writer.write(b"GET /version HTTP/1.1\r\nHost: soak\r\nConnection: close\r\n\r\n")
            return (await asyncio.wait_for(read_answer(reader, 0), ANSWER_TIMEOUT)).body.decode()
        except (OSError, EOFError, Failed, asyncio.TimeoutError) as error:
            return repr(error)
        finally:
            writer.close()

    def _complain(self, text: str) -> None:
        self.problems.append(f"{time.monotonic() - self.epoch:.3f} s: {text}")

    def _read_death_note(self) -> None:
        note = self._directory / DEATH_NOTE
        with suppress(FileNotFoundError):
            # time.monotonic() is the same clock in all processes of a system.
            self.deaths.append(Death(round(float(note.read_text()) - self.epoch, 3), "by itself"))
            note.unlink()

    def _settled(self, old: int, mark: int) -> bool:
        """Whether the upgrade has begun, and only the process that serves is left."""
        if not self._successors(mark):
            return False
        serving = self._served.serving
        if all(map(_runs, {old, *self._successors(mark)})):
            return False  # which is cheaper to see than all processes
        running = [each.pid for each in session(self._served.pid) if each.runs]
        if not running:
            raise Trouble("no process is left that serves")
        if not _runs(old):
            self._served.ended(old)
        return running == [serving]

    def _successors(self, mark: int) -> list[int]:
        """The pids of the successors that were started since the log had a length."""
        return [int(pid) for pid in STARTS.findall(self._said(mark))]

    def _said(self, mark: int) -> str:
        """What the log says since it had a length."""
        with self._served.log.open("rb") as log:
            log.seek(mark)
            return log.read().decode(errors="replace")


def _runs(pid: int) -> bool:
    process = Process.look(pid)
    return process is not None and process.runs
