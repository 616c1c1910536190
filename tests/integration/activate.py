"""Pass sockets to a program as systemd does, and become that program; see sd_listen_fds(3).

    python activate.py NAMES KIND... -- COMMAND...

``{port}`` in the command is the port of the first socket.
"""

from __future__ import annotations

import os
import socket
import sys

FIRST = 3


def opened(kind: str) -> socket.socket:
    """A socket of a kind; the path follows ``unix:``."""
    if kind.startswith("unix:"):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.abspath(kind.removeprefix("unix:")))
        listener.listen()
        return listener
    if kind == "dual":
        return socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    datagram = kind == "datagram"
    made = socket.socket(type=socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM)
    made.bind(("127.0.0.1", 0))
    if kind == "listening":
        made.listen()
    return made


def main() -> None:
    """Do it."""
    end = sys.argv.index("--")
    names, *kinds = sys.argv[1:end]
    sockets = [opened(kind) for kind in kinds]
    port = str(sockets[0].getsockname()[1])  # of a path it is nothing
    spare = [os.dup(each.fileno()) for each in sockets]  # above those that are to be
    for at, descriptor in enumerate(spare):
        os.dup2(descriptor, FIRST + at, inheritable=True)
    passed = {"LISTEN_FDS": str(len(kinds)), "LISTEN_PID": str(os.getpid())}
    command = [argument.replace("{port}", port) for argument in sys.argv[end + 1 :]]
    variables = {**os.environ, **passed, **({"LISTEN_FDNAMES": names} if names else {})}
    os.execve(command[0], command, variables)


if __name__ == "__main__":
    main()
