"""What the benchmarks share: a server to start and to end, waiting, and the report."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"

OURS = Path(sys.executable).parent
"""Where twistd is: beside this interpreter."""

SUCCESS, FAILED, TROUBLE = 0, 1, 2
"""Exit statuses: what was measured is good; it is not; it could not be measured."""

START_TIMEOUT = 20.0
"""Seconds that a server may take until it serves."""

POLL_INTERVAL = 0.02
"""Seconds between two looks at what is waited for; the precision of such times."""

T = TypeVar("T")


class Trouble(Exception):
    """The benchmark cannot go on; the text says why."""


async def until(condition: Callable[[], T], what: str, seconds: float) -> T:
    """Wait for a condition.

    Args:
        condition: is asked again and again until it returns something true.
        what: is waited for, in words.
        seconds: to wait at most.

    Returns:
        What the condition returned.

    Raises:
        Trouble: it took too long.
    """
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() >= deadline:
            raise Trouble(f"waited {seconds:g} seconds in vain: {what}")
        await asyncio.sleep(POLL_INTERVAL)
    return result


class Server:
    """A server under test: a process and all that it starts.

    Args:
        command: its words.
        address: where it serves, host and port.
        log: where its output goes; it is appended.
        directory: in which it is started.
        environment: variables that it gets beside ours.

    Attributes:
        address: where it serves, host and port.
        log: where its output goes.
    """

    def __init__(
        self,
        command: Sequence[str],
        address: tuple[str, int],
        log: Path,
        directory: Path = HERE,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.address = address
        self._command = command
        self.log = log
        self._directory = directory
        # What is installed beside this interpreter is found first.
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        self._environment = {**os.environ, "PATH": path, "PWD": str(directory), **environment}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that was started; it leads the session of all that it starts."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it, and wait until it accepts connections.

        Raises:
            Trouble: it does not.
        """
        with self.log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._directory,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,  # so that `kill` reaches all of them
                )
            except OSError as error:
                raise Trouble(f"cannot start the server: {error}") from error
        await until(self.serves, "the server serves", START_TIMEOUT)

    def serves(self) -> bool:
        """Whether it accepts connections.

        Raises:
            Trouble: it has ended.
        """
        assert self._process is not None
        status = self._process.poll()
        if status:  # with 0 it may have daemonized
            raise Trouble(f"the server ended with status {status}")
        with suppress(OSError), socket.create_connection(self.address, timeout=1):
            return True
        return False

    def kill(self) -> None:
        """End it, and all that it has started, if it still runs."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def trouble(self, text: object) -> Trouble:
        """Why a benchmark of it cannot go on, with the end of what it wrote."""
        return Trouble(f"{text}\nThe last the server wrote:\n{self.output()}")

    def output(self, lines: int = 30) -> str:
        """The end of what it wrote."""
        with suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""


def run(words: Sequence[str]) -> str:
    """Run a program to its end; return what it writes to standard output.

    Raises:
        Trouble: it fails.
    """
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout
    except OSError as error:
        raise Trouble(f"cannot run {words[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        raise Trouble(f"{' '.join(words)}: {error.stderr.strip()}") from error


def make_certificate(certificate: Path, key: Path) -> None:
    """Make a certificate for localhost that signs itself, and its key.

    Raises:
        Trouble: that fails.
    """
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    run([*command.split(), "-out", str(certificate), "-keyout", str(key)])


@lru_cache
def graceful_has(option: str) -> bool:
    """Whether twistd graceful beside this interpreter has an option; older versions may not."""
    help = run([str(OURS / "twistd"), "graceful", "--help"])
    return re.search(rf"{option}\b(?!-)", help) is not None


def free_ports(count: int) -> list[int]:
    """Ports of `HOST` on which nobody listens just now, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


def complete(run: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a benchmark to its end.

    SIGTERM ends it like SIGINT, so that what it has started is ended as well.

    Raises:
        Trouble: it took more than so many seconds, was interrupted, or says so itself.
    """

    async def interruptible() -> T:
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await asyncio.wait_for(run, seconds)

    try:
        return asyncio.run(interruptible())
    except asyncio.TimeoutError:
        raise Trouble(f"the run took more than {seconds:g} seconds") from None
    except (asyncio.CancelledError, KeyboardInterrupt):
        raise Trouble("interrupted") from None


def complete_with(server: Server, run: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a benchmark of a server to its end, and end the server then.

    Raises:
        Trouble: as `complete` does, with the end of what the server wrote.
    """
    try:
        return complete(run, seconds)
    except Trouble as error:
        raise server.trouble(error) from error
    finally:
        server.kill()


def exit_after(main: Callable[[], int]) -> NoReturn:
    """Run a benchmark and exit with its status, or with `TROUBLE` if it cannot go on."""
    try:
        sys.exit(main())
    except Trouble as error:
        print(error, file=sys.stderr)
        sys.exit(TROUBLE)


def report(table: str, result: object, json_path: str | None) -> None:
    """Print a table, and write JSON where it is wanted; ``-`` prints that instead."""
    if json_path != "-":
        print(table)
    if json_path is not None:
        write_json(result, json_path)


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def write_json(report: object, path: str) -> None:
    """Write a report as JSON; ``-`` prints it."""
    text = json.dumps(report, indent=2)
    if path == "-":
        print(text)
    else:
        Path(path).write_text(text + "\n")
