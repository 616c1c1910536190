"""What several unit tests share."""

from __future__ import annotations

import errno
import gc
import os
import resource
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import HealthCheck, settings

from ..case import SynchronousTestCase

examples = settings(
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
"""For property tests: the same examples in every run, no time limit, no files left behind."""

PYTHON_TIMEOUT = 30
"""Seconds that a small Python program may take on a busy machine."""


def temporary_directory(test: SynchronousTestCase) -> str:
    """An empty directory, which is removed after the test."""
    directory = tempfile.TemporaryDirectory()
    test.addCleanup(directory.cleanup)
    return os.path.realpath(directory.name)


def run_python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the Python of this process; what it writes is in the result, as text.

    It buffers its output as Python does by default, whatever the environment of the tests says.

    Args:
        arguments: of the interpreter; ``"-c", code`` for a program in place.
        options: of `subprocess.run`.
    """
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environ, **options}
    command = [sys.executable, *arguments]
    return subprocess.run(command, text=True, timeout=PYTHON_TIMEOUT, check=False, **options)


@contextmanager
def leaves_nothing_open(test: SynchronousTestCase) -> Iterator[None]:
    """Fail if a descriptor that was opened in the block is open at its end."""
    gc.collect()  # what earlier tests left behind must not make room now
    before = _open_descriptors()
    yield
    test.assertEqual(_open_descriptors() - before, set(), "left open")


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    """While the block runs this process can open nothing (EMFILE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)  # the lowest
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _open_descriptors() -> set[int]:
    listed = (int(name) for name in os.listdir("/dev/fd"))
    return {descriptor for descriptor in listed if is_open(descriptor)}


def is_open(descriptor: int) -> bool:
    """Whether a file descriptor is open in this process."""
    try:
        os.fstat(descriptor)
    except OSError as error:
        if error.errno != errno.EBADF:
            raise
        return False
    return True


def why_no_ipv6() -> str:
    """Why tests of IPv6 cannot run here; empty if they can."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        return f"this system has no IPv6: {error}"
    return ""


def run_python_beside(test: SynchronousTestCase, program: str) -> subprocess.Popen[str]:
    """A Python program that runs until the end of a test, with pipes to it."""
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def end() -> None:
        child.kill()
        child.communicate()

    test.addCleanup(end)
    return child
