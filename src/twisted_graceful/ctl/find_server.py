"""Finds the server to control: from the command line, the environment, or a TOML file."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence

from .events import ControlledServer
from .outcome import CtlError, Exit

ADMIN = "GRACEFUL_ADMIN"
CONFIG = "GRACEFUL_CONFIG"
"""As the server itself reads them."""

PID_FILE = "twistd.pid"
"""Where twistd puts its pid, if it is not told otherwise."""


def find_server(options: Namespace, environ: Mapping[str, str]) -> ControlledServer:
    """The server that is meant.

    Args:
        options: the options; ``admin``, ``pid_file``, ``config`` may be empty.
        environ: where they may stand, too.

    Raises:
        CtlError: nothing says which, or what says it is wrong.
    """
    if options.pid_file and options.admin:
        raise CtlError(Exit.USAGE, "--pid-file and --admin: give one of them")
    if options.pid_file:
        return _by_pid_file(options.pid_file, options.timeout)
    if options.admin:
        return _by_address([options.admin], "--admin", options.timeout)
    if not options.config and environ.get(ADMIN):
        from ..config.toml_file import listed

        if texts := listed(environ[ADMIN]):
            return _by_address(texts, f"the environment variable {ADMIN}", options.timeout)
    path = options.config or environ.get(CONFIG, "")
    addresses = _addresses_in_file(path) if path else []
    if addresses:
        return _by_address(addresses, path, options.timeout)
    if os.path.exists(PID_FILE):
        return _by_pid_file(PID_FILE, options.timeout)
    nowhere = f"; {path} has no `admin`" if path else ""
    raise CtlError(
        Exit.USAGE,
        f"which server? Give --admin ADDRESS or --pid-file PATH, or set {ADMIN} or "
        f"{CONFIG}{nowhere}",
    )


def _by_pid_file(path: str, timeout: float) -> ControlledServer:
    from .signal_client import SignalClient

    return SignalClient(path, timeout)


def _by_address(texts: Sequence[str], where: str, timeout: float) -> ControlledServer:
    """The server at one of its admin addresses: at a UNIX socket, where it can be told, if any."""
    from ..address import UnixAddress, parse
    from ..errors import AddressError
    from .admin_client import AdminClient

    try:
        addresses = [parse(text) for text in texts]
    except AddressError as error:
        raise CtlError(Exit.USAGE, f"{where}: {error}") from None
    addresses.sort(key=lambda address: not isinstance(address, UnixAddress))
    return AdminClient(addresses[0], timeout)


def _addresses_in_file(path: str) -> list[str]:
    from ..config.toml_file import read, table
    from ..errors import ConfigError

    try:
        _, entries = table(read(path), path)
    except ConfigError as error:
        raise CtlError(Exit.USAGE, str(error)) from None
    value = entries.get("admin") or []
    return [str(each) for each in (value if isinstance(value, list) else [value])]
