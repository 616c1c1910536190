"""The scenarios: what is asked of a server, and wrk, which asks it as fast as it can."""

from __future__ import annotations

import asyncio
import http.client
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass

from apps.answers import HELLO, LARGE
from harness import HERE, Server, Trouble
from machine import children_cpu_seconds, session

MARGIN = 10.0
"""Seconds that wrk may take longer than it was told to."""

BUSY = 0.9
"""The share of a core from which on it is the limit; if neither is, something disturbs."""

ANSWER_TIMEOUT = 5.0
"""Seconds that the first answer may take."""


@dataclass(frozen=True)
class Scenario:
    """One way to load a server.

    Attributes:
        name: on the command line.
        title: in the report.
        path: that is asked for.
        answer: the content that must come back.
        body: that is sent; with one, the request is a POST.
        fields: header fields, beside Host.
        script: a file of Lua that makes the requests for wrk, if they are not all the same.
        tls: whether the connections are.
    """

    name: str
    title: str
    path: str = "/"
    answer: bytes = HELLO
    body: bytes | None = None
    fields: tuple[tuple[str, str], ...] = ()
    script: str = ""
    tls: bool = False


SCENARIOS = (
    Scenario("plain", "GET of 14 bytes of text"),
    Scenario("headers", "the same with 20 header fields", script="headers.lua"),
    Scenario(
        "post",
        "POST of 1 KiB of JSON",
        path="/length",
        answer=b"1024",
        body=b" " * 1024,
        script="post.lua",
    ),
    Scenario("large", "GET of 1 MiB", path="/large", answer=LARGE),
    Scenario("close", "GET, one request per connection", fields=(("Connection", "close"),)),
    Scenario("tls", "GET over TLS", tls=True),
)


@dataclass(frozen=True)
class Load:
    """What one run of wrk saw.

    Attributes:
        rate: answers per second.
        cpu: microseconds of processor time of the server for each answer.
        server: the share of a processor that the server used.
        client: the share of a processor that wrk used.
        errors: connections that failed, and answers with a status of failure.
        client_cpu: microseconds of processor time of wrk for each answer.
        processes: what each process of the server has of `cpu`, the busiest first.
    """

    rate: float
    cpu: float
    server: float
    client: float
    errors: int
    client_cpu: float = 0.0
    processes: tuple[float, ...] = ()

    @property
    def use(self) -> float:
        """The share of its core that the server or wrk used, whichever was more."""
        return max(self.server, self.client)


def check(server: Server, scenario: Scenario) -> None:
    """Ask once, and look at the answer, so that what is measured is the work that it should be.

    Raises:
        Trouble: the answer is wrong.
    """
    connection = (
        http.client.HTTPSConnection(
            *server.address, timeout=ANSWER_TIMEOUT, context=ssl._create_unverified_context()
        )
        if scenario.tls
        else http.client.HTTPConnection(*server.address, timeout=ANSWER_TIMEOUT)
    )
    method = "GET" if scenario.body is None else "POST"
    try:
        connection.request(method, scenario.path, scenario.body, dict(scenario.fields))
        response = connection.getresponse()
        answer = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise Trouble(f"no answer: {error!r}") from error
    finally:
        connection.close()
    if (response.status, answer) != (200, scenario.answer):
        raise Trouble(f"wrong answer: status {response.status}, {len(answer)} bytes")


async def load(server: Server, scenario: Scenario, connections: int, seconds: int) -> Load:
    """Load a server with wrk, where this process may run.

    Args:
        server: that is loaded.
        scenario: what is asked of it.
        connections: how many at a time.
        seconds: how long.

    Raises:
        Trouble: wrk fails.
    """
    scheme = "https" if scenario.tls else "http"
    host, port = server.address
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}"]
    words += [f"-H{name}: {value}" for name, value in scenario.fields]
    if scenario.script:
        words += ["-s", str(HERE / "wrk" / scenario.script)]
    words.append(f"{scheme}://{host}:{port}{scenario.path}")
    began, before, client_cpu = (
        time.monotonic(),
        {each.pid: each.cpu for each in session(server.pid)},
        children_cpu_seconds(),
    )
    output = await _run(words, seconds + MARGIN)
    elapsed = time.monotonic() - began
    used = [each.cpu - before.get(each.pid, 0.0) for each in session(server.pid)]
    client_cpu = children_cpu_seconds() - client_cpu
    return parse(output, elapsed, used, client_cpu)


async def _run(words: Sequence[str], seconds: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output = (await asyncio.wait_for(process.communicate(), seconds))[0].decode()
    except asyncio.TimeoutError:
        raise Trouble(f"wrk did not end within {seconds:g} seconds") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise Trouble(f"wrk ended with status {process.returncode}: {output.strip()}")
    return output


def parse(output: str, elapsed: float, used: Sequence[float], client_cpu: float) -> Load:
    """What wrk printed, together with the processor times.

    Args:
        output: of wrk.
        elapsed: seconds.
        used: seconds that each process of the server used.
        client_cpu: seconds that wrk used.

    Raises:
        Trouble: there was no answer.
    """
    rate = re.search(r"Requests/sec:\s*([\d.]+)", output)
    requests = re.search(r"(\d+) requests in", output)
    if rate is None or requests is None or not int(requests[1]):
        raise Trouble(f"wrk got no answer: {output.strip()}")
    errors = re.findall(r"(?:connect|read|write|timeout|3xx responses:) (\d+)", output)
    count = int(requests[1])
    return Load(
        rate=float(rate[1]),
        cpu=sum(used) / count * 1e6,
        server=sum(used) / elapsed,
        client=client_cpu / elapsed,
        errors=sum(map(int, errors)),
        client_cpu=client_cpu / count * 1e6,
        processes=tuple(each / count * 1e6 for each in sorted(used, reverse=True)),
    )
