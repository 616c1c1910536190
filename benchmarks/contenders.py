"""The servers that are compared, where their programs are, and how to start them."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import venv
from dataclasses import dataclass
from importlib.metadata import distributions, version
from importlib.util import find_spec
from pathlib import Path

from harness import HERE, HOST, OURS, Server, graceful_has, make_certificate, run

APPS = HERE / "apps"
REQUIREMENTS = HERE / "peers.txt"
ENDPOINT = "tcp:{port}:interface=127.0.0.1"
TLS_ENDPOINT = "ssl:{port}:privateKey={key}:certKey={certificate}:interface=127.0.0.1"
GRACEFUL = (
    "{ours}/twistd -n --pidfile {directory}/{port}.pid graceful"
    " --port 127.0.0.1:{port} --app twisted_app.Root --handler-timeout 30"
)
GRACEFUL_TLS = " --tls-cert {certificate} --tls-key {key}"
GRACEFUL_LOG = " --access-log {directory}/{port}.access.log"
NEWER = ("--access-log", "--tls-cert")
"""Options of twistd graceful that older versions do not have."""


@dataclass(frozen=True)
class Contender:
    """A server that is compared.

    Attributes:
        name: on the command line and in the tables.
        about: it, in some words.
        command: starts it, in the directory ``apps``; the names in braces are replaced.
        tls: the same for TLS; empty if it has none.
    """

    name: str
    about: str
    command: str
    tls: str = ""

    def with_workers(self, count: int) -> Contender:
        """It, with so many workers."""
        return Contender(f"{self.name}-{count}", self.about, f"{self.command} --workers {count}")


def _with_tls(name: str, about: str, command: str, tls: str) -> Contender:
    """One that gets some more options for TLS."""
    return Contender(name, about, command, command + tls)


def _endpoint(name: str, about: str, command: str) -> Contender:
    """One that takes a description of an endpoint of Twisted."""
    return Contender(
        name,
        about,
        command.replace("{endpoint}", ENDPOINT),
        command.replace("{endpoint}", TLS_ENDPOINT),
    )


CONTENDERS = (
    _with_tls(
        "graceful",
        "twisted-graceful, with all timeouts and limits, without an access log",
        GRACEFUL,
        GRACEFUL_TLS,
    ),
    _with_tls(
        "graceful-log",
        "the same with an access log",
        GRACEFUL + GRACEFUL_LOG,
        GRACEFUL_TLS,
    ),
    _endpoint(
        "web",
        "twistd web; it always writes an access log",
        "{ours}/twistd -n --pidfile {directory}/{port}.pid web --listen {endpoint}"
        " --class twisted_app.Root --logfile {directory}/{port}.access.log",
    ),
    _endpoint(
        "web-nolog",
        "twisted.web in a script, without an access log",
        "{python} site_app.py {endpoint}",
    ),
    _with_tls(
        "uvicorn",
        "uvicorn[standard]: uvloop and httptools",
        "{peers}/uvicorn --port {port} --loop uvloop --http httptools --ws none --lifespan off"
        " --no-access-log --log-level warning --timeout-keep-alive 75 asgi_app:app",
        " --ssl-certfile {certificate} --ssl-keyfile {key}",
    ),
    _with_tls(
        "aiohttp",
        "aiohttp on uvloop",
        "{peers}/python aiohttp_app.py {port}",
        " {certificate} {key}",
    ),
    _with_tls(
        "granian",
        "granian, one worker and one thread, ASGI on uvloop",
        "{peers}/granian --port {port} --interface asginl --workers 1 --runtime-threads 1"
        " --loop uvloop --http 1 --no-ws --no-access-log --log-level warning"
        " --backlog 2048 --backpressure 20000 asgi_app:app",
        " --ssl-certificate {certificate} --ssl-keyfile {key}",
    ),
    _with_tls(
        "gunicorn",
        "gunicorn, one gthread worker with a thread for each connection",
        "{peers}/gunicorn --bind 127.0.0.1:{port} --worker-class gthread --threads {connections}"
        " --worker-connections 20000 --keep-alive 75 --log-level warning wsgi_app:app",
        " --certfile {certificate} --keyfile {key}",
    ),
    _endpoint(
        "bare",
        "Twisted's reactor with a constant answer: the limit of transport.write",
        "{python} bare_app.py {endpoint} write",
    ),
    Contender(
        "bare-send",
        "the same, sent at once on the socket: the limit of all",
        f"{{python}} bare_app.py {ENDPOINT} send",
    ),
)


SCALING = ("graceful", "graceful-log", "uvicorn", "granian", "gunicorn")
"""Those that understand ``--workers N``; the last one counts where there are two."""


class Unavailable(Exception):
    """A contender cannot take part; the text says why."""


class Grounds:
    """What all contenders share: where their programs are, and where they may write.

    Args:
        peers: the virtual environment with the programs of the peers, if there is one.
        directory: for all that they write; it is theirs alone.
        logs: a directory for their output, each in a file of its own.
        connections: how many will load them at a time.
    """

    def __init__(self, peers: Path | None, directory: Path, logs: Path, connections: int) -> None:
        self._peers = peers
        self._names = {
            "python": sys.executable,
            "ours": str(OURS),
            "peers": str(peers / "bin") if peers else "",
            "directory": str(directory),
            "certificate": str(directory / "certificate.pem"),
            "key": str(directory / "key.pem"),
            "connections": str(connections),
        }
        self._logs = logs

    def server(self, contender: Contender, port: int, tls: bool = False) -> Server:
        """A server, not yet started.

        Raises:
            Unavailable: it cannot be.
        """
        command = contender.tls if tls else contender.command
        if not command:
            raise Unavailable("it has no TLS here")
        if "{peers}" in command and not self._peers:
            raise Unavailable("a peer; --peers says where those are")
        words = [word.format(port=port, **self._names) for word in shlex.split(command)]
        if not Path(words[0]).exists():
            raise Unavailable(f"there is no {words[0]}")
        if tls and TLS_ENDPOINT in command and find_spec("OpenSSL") is None:
            raise Unavailable("Twisted's TLS needs pyOpenSSL: pip install twisted[tls]")
        for option in NEWER:
            if option in words and not graceful_has(option):
                raise Unavailable(f"twistd graceful has no option {option}")
        log = self._logs / f"{contender.name}.log"
        return Server(words, (HOST, port), log, APPS, {"PYTHONPATH": str(APPS)})

    def make_certificate(self) -> None:
        """Make a certificate that signs itself, and its key.

        Raises:
            Trouble: that fails.
        """
        make_certificate(*(Path(self._names[each]) for each in ("certificate", "key")))


def make_peers(directory: Path) -> None:
    """Make the virtual environment of the peers, if it is not there.

    Raises:
        Trouble: that fails; nothing is left of it.
    """
    if directory.exists():
        return
    try:
        venv.create(directory, with_pip=True)
        run([str(directory / "bin" / "pip"), "install", "--quiet", "-r", str(REQUIREMENTS)])
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise


def versions(peers: Path | None) -> dict[str, str]:
    """The versions of ourselves and of the peers."""
    paths = map(str, peers.glob("lib/python*/site-packages")) if peers else ()
    pinned = re.findall(r"(?m)^[\w-]+", REQUIREMENTS.read_text())
    found = {each.name.lower(): each.version for each in distributions(path=list(paths))}
    return {
        **{name: version(name) for name in ("twisted-graceful", "Twisted")},
        **{name: found[name] for name in pinned if name in found},
    }
