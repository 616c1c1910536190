"""Reverse proxies for the tests: nginx and HAProxy, each with a configuration of the test's own.

Start them inside the block of the server that they stand before: a `harness.Server` ends
every process below the test when it is left.
"""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from unittest import SkipTest

from . import proc
from .client import Client
from .programs import program
from .waiting import until

NGINX = """\
{modules}
daemon off;
master_process off;
pid nginx.pid;
error_log stderr info;
events {{ worker_connections 1024; }}
{blocks}
"""

NGINX_HTTP = """\
http {{
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxied;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
{config}
}}
"""

NGINX_STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")

HAPROXY = """\
global
    maxconn 1000
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
{config}
"""

END = 5.0
"""Seconds that a program may take to end when it is told to."""


class Peer:
    """A program that runs.

    Attributes:
        process: the program.
        directory: where it runs.
        ports: where it listens, on 127.0.0.1.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], directory: Path, ports: Sequence[int]
    ) -> None:
        self.process = process
        self.directory = directory
        self.ports = ports

    @property
    def log(self) -> str:
        """What it has written."""
        return (self.directory / "output").read_text(errors="replace")

    def connect(self, source: str = "127.0.0.1") -> Client:
        """A new connection to the first port; the caller closes it."""
        return Client(self.ports[0], source=source)

    def listens(self) -> bool:
        """Whether it listens on all its ports.

        Raises:
            AssertionError: it has ended.
        """
        if self.process.poll() is not None:
            raise AssertionError(f"{self.process.args} has ended:\n{self.log}")
        return set(self.ports) <= {port for port, _ in proc.listening_sockets()}


@contextmanager
def free_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is nobody else's until the end of the block.

    A program can listen on it all the same: SO_REUSEADDR lets it have an address that is
    bound and does not listen (socket(7)).
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def nginx(*ports: int, http: str = "", stream: str = "") -> Iterator[Peer]:
    """nginx, as one process in the foreground.

    Args:
        ports: where the configuration makes it listen.
        http: what stands in the block of that name; the access log is ``access.log``.
        stream: likewise, of the stream module.

    Raises:
        SkipTest: nginx, or its stream module, is not installed.
    """
    command = program("nginx")
    modules, blocks = "", NGINX_HTTP.format(config=http)
    if stream:
        if not NGINX_STREAM_MODULE.exists():
            raise SkipTest("the stream module of nginx is not installed (libnginx-mod-stream)")
        modules = f"load_module {NGINX_STREAM_MODULE};"
        blocks += f"stream {{\n{stream}\n}}\n"
    with _directory() as directory:
        (directory / "nginx.conf").write_text(NGINX.format(modules=modules, blocks=blocks))
        arguments = [command, "-e", "stderr", "-p", str(directory), "-c", "nginx.conf"]
        with _running(arguments, directory, ports) as peer:
            yield peer


@contextmanager
def haproxy(*ports: int, config: str) -> Iterator[Peer]:
    """HAProxy, as one process in the foreground.

    Args:
        ports: where the configuration makes it listen.
        config: its ``frontend``, ``backend`` and ``listen`` sections.

    Raises:
        SkipTest: HAProxy is not installed.
    """
    command = program("haproxy")
    with _directory() as directory:
        (directory / "haproxy.cfg").write_text(HAPROXY.format(config=config))
        with _running([command, "-db", "-f", "haproxy.cfg"], directory, ports) as peer:
            yield peer


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="peer-") as directory:
        yield Path(directory)


@contextmanager
def _running(command: Sequence[str], directory: Path, ports: Sequence[int]) -> Iterator[Peer]:
    with open(directory / "output", "wb") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    peer = Peer(process, directory, ports)
    try:
        until(peer.listens, f"{command[0]} listens")
        yield peer
    except Exception as error:
        if isinstance(error, SkipTest):
            raise
        raise AssertionError(f"{error!r}\n\nThe log of {command[0]}:\n{peer.log}") from error
    finally:
        process.terminate()
        try:
            process.wait(END)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
