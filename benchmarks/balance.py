"""How evenly workers share clients that connect at the same time.

``python benchmarks/balance.py`` lets 64 clients connect at once to four workers, again and again,
and asks on each connection which worker has it. README.rst explains the report.
"""

from __future__ import annotations

import argparse
import re
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from statistics import median

from harness import (
    HOST,
    OURS,
    START_TIMEOUT,
    SUCCESS,
    Server,
    Trouble,
    complete_with,
    exit_after,
    free_ports,
    report,
    until,
)
from machine import facts
from served import place

REQUEST = b"GET /fast/balance HTTP/1.1\r\nHost: benchmark\r\n\r\n"
PAUSE = 0.2
"""Seconds between two rounds: the workers have seen the last one's end."""


@dataclass(frozen=True)
class Round:
    """What became of the clients of one round.

    Attributes:
        shares: connections of each worker, the fewest first.
        milliseconds: until the last was answered.
    """

    shares: tuple[int, ...]
    milliseconds: float


def ask_all(address: tuple[str, int], workers: int, clients: int) -> Round:
    """Let clients connect at once, and ask each who has it."""
    begun = time.monotonic()
    with ExitStack() as stack:
        sockets = []
        for _ in range(clients):
            sockets.append(stack.enter_context(socket.create_connection(address, START_TIMEOUT)))
            sockets[-1].sendall(REQUEST)
        seen = Counter(_pid(each) for each in sockets)
        took = (time.monotonic() - begun) * 1000
    shares = sorted([*seen.values(), *[0] * (workers - len(seen))])
    return Round(tuple(shares), round(took, 1))


def _pid(client: socket.socket) -> str:
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = client.recv(4096)
        if not data:
            raise Trouble("a connection was closed")
        answer += data
    found = re.search(rb"(?i)x-pid: *(\d+)", answer)
    if found is None:
        raise Trouble("the answer does not say which process it is from")
    return found[1].decode()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that want a processor all the time, for a minute at most."""
    code = "import time\nend = time.monotonic() + 60\nwhile time.monotonic() < end: pass"
    processes = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(count)]
    try:
        yield
    finally:
        for each in processes:
            each.kill()
            each.wait()


async def measure(server: Server, options: argparse.Namespace) -> list[Round]:
    """Start the server, and let clients come."""
    await server.start()
    await until(
        lambda: len(re.findall(r"Worker \d+ of generation", server.output())) >= options.workers,
        "all workers serve",
        START_TIMEOUT,
    )
    rounds = []
    with busy(options.busy):
        for _ in range(options.rounds):
            rounds.append(ask_all(server.address, options.workers, options.clients))
            time.sleep(PAUSE)
    return rounds


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        description="See how evenly workers share clients that connect at the same time.",
        epilog="Exit status: 0; 2, the benchmark could not be completed.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--workers", type=int, default=4, metavar="N", help="how many workers")
    add("--clients", type=int, default=64, metavar="N", help="how many connect at once")
    add("--rounds", type=int, default=20, metavar="N", help="how often")
    add("--busy", type=int, default=0, metavar="N", help="processes that want processors too")
    add("--timeout", type=float, default=120, metavar="SECONDS", help="for the whole run")
    add("--json", metavar="PATH", help="write the report as JSON too; - prints it instead")
    return parser.parse_args(arguments)


def table(rounds: Sequence[Round], options: argparse.Namespace) -> str:
    """What was measured, in sentences."""
    most = [each.shares[-1] for each in rounds]
    return (
        f"{options.clients} clients, {options.workers} workers, {options.rounds} rounds, "
        f"{options.busy} busy processes: the fewest that a worker had were "
        f"{min(each.shares[0] for each in rounds)}, the most {max(most)} "
        f"({sum(most) / len(most):.1f} in the mean of the rounds); all were answered after "
        f"{median(each.milliseconds for each in rounds):.0f} ms, at most "
        f"{max(each.milliseconds for each in rounds):.0f} ms\n"
        + ", ".join(f"{name} {value}" for name, value in facts().items())
    )


def main() -> int:
    """Run the benchmark.

    Returns:
        The exit status.
    """
    options = parse()
    [port] = free_ports(1)
    with place(None) as (files, log):
        command = f"{OURS}/twistd -n --pidfile {files}/pid graceful --port {HOST}:{port}"
        words = [*command.split(), "--app", "upgrade_app.resource"]
        server = Server([*words, "--workers", str(options.workers)], (HOST, port), log)
        rounds = complete_with(server, measure(server, options), options.timeout)
    report(table(rounds, options), [asdict(each) for each in rounds], options.json)
    return SUCCESS


if __name__ == "__main__":
    exit_after(main)
