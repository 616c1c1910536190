"""What a unit file forbids, for a command that no systemd runs; see systemd.exec(5).

``unshare --mount python sandbox.py UNIT WRITABLE COMMAND...`` runs the command as the service
would be run: with the unit's filters of system calls and address families, its memory protection,
its umask, without capabilities and privileges to gain, with a /proc of processes alone, and all
file systems read-only but the directory that is named. The mounts need root.

What does not become stricter with the command: users, private /tmp and /dev, and what only those
with capabilities could do.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyseccomp as seccomp

CLONE_NEW = 0x7E020080  # any of the CLONE_NEW* flags of clone(2)
SHM_EXEC = 0o100000

AT_FDCWD = -100
AT_RECURSIVE = 0x8000
MOUNT_SETATTR = 442  # on every architecture
MOUNT_ATTR_RDONLY = 1

PR_CAPBSET_DROP = 24


def settings(unit: Path) -> dict[str, list[str]]:
    """All values of each setting of a unit file, in order."""
    found = defaultdict(list)
    for line in unit.read_text().splitlines():
        if not line.startswith(("#", "[")) and "=" in line:
            name, _, value = line.partition("=")
            found[name].append(value)
    return found


def system_calls(filters: list[str]) -> set[str]:
    """The system calls that several ``SystemCallFilter=``, the first of which allows, leave."""
    said = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # that it cannot ask this kernel which others it has
        text=True,
        check=True,
    ).stdout
    members = defaultdict(list)
    name = ""
    for line in said.splitlines():
        word = line.partition("#")[0].strip()
        if line.startswith("@"):
            name = word
        elif word:
            members[name].append(word)

    def expanded(word: str) -> Iterator[str]:
        if word.startswith("@"):
            for member in members[word]:
                yield from expanded(member)
        else:
            yield word

    allowed = set(expanded("@default"))
    for each in filters:
        calls = {call for word in each.lstrip("~").split() for call in expanded(word)}
        allowed = allowed - calls if each.startswith("~") else allowed | calls
    return allowed


def allow(calls: set[str], error: int) -> None:
    """Have all other system calls fail with an error."""
    only = seccomp.SyscallFilter(seccomp.ERRNO(error))
    for call in calls:
        with suppress(OSError, ValueError, RuntimeError):  # of another architecture
            only.add_rule(seccomp.ALLOW, call)
    only.load()


def restrict(unit: dict[str, list[str]]) -> None:
    """Load the filters of the settings that look at arguments of system calls."""
    without = seccomp.SyscallFilter(seccomp.ALLOW)
    denied = seccomp.ERRNO(errno.EPERM)

    def has(index: int, bits: int) -> seccomp.Arg:
        return seccomp.Arg(index, seccomp.MASKED_EQ, bits, bits)

    if unit["RestrictAddressFamilies"]:
        families = {getattr(socket, each) for each in unit["RestrictAddressFamilies"][0].split()}
        for family in set(range(64)) - families:
            unsupported = seccomp.ERRNO(errno.EAFNOSUPPORT)
            without.add_rule(unsupported, "socket", seccomp.Arg(0, seccomp.EQ, family))
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        without.add_rule(denied, "mmap", has(2, mmap.PROT_WRITE | mmap.PROT_EXEC))
        for call in ("mprotect", "pkey_mprotect"):
            without.add_rule(denied, call, has(2, mmap.PROT_EXEC))
        without.add_rule(denied, "shmat", has(2, SHM_EXEC))
    if unit["RestrictNamespaces"] == ["yes"]:
        for flag in (1 << bit for bit in range(32) if CLONE_NEW & 1 << bit):
            without.add_rule(denied, "clone", has(0, flag))
        without.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
        for call in ("unshare", "setns"):
            without.add_rule(denied, call)
    without.load()


class MountAttributes(ctypes.Structure):
    """``struct mount_attr``; mount_setattr(2)."""

    _fields_ = [(each, ctypes.c_uint64) for each in ("set", "clear", "propagation", "userns")]


def read_only(writable: str) -> None:
    """Make all file systems read-only, but for a directory and those of the kernel."""
    libc = ctypes.CDLL(None, use_errno=True)

    def change(path: str, attributes: MountAttributes) -> None:
        size = ctypes.sizeof(attributes)
        where = (ctypes.c_int(AT_FDCWD), path.encode(), ctypes.c_uint(AT_RECURSIVE))
        if libc.syscall(MOUNT_SETATTR, *where, ctypes.byref(attributes), ctypes.c_size_t(size)):
            raise OSError(ctypes.get_errno(), f"mount_setattr of {path}")

    subprocess.run(["mount", "--bind", writable, writable], check=True)
    change("/", MountAttributes(set=MOUNT_ATTR_RDONLY))
    for path in ("/dev", "/proc", "/sys", writable):
        change(path, MountAttributes(clear=MOUNT_ATTR_RDONLY))


def own_proc() -> None:
    """Mount a /proc without other users' processes, and with nothing but processes."""
    options = "subset=pid,hidepid=invisible"
    subprocess.run(["mount", "-t", "proc", "-o", options, "proc", "/proc"], check=True)


def main(path: str, writable: str, *command: str) -> None:
    """Run a command."""
    unit = settings(Path(path))
    calls = system_calls(unit["SystemCallFilter"])
    if unit["ProcSubset"] == ["pid"]:
        own_proc()
    if unit["ProtectSystem"] == ["strict"]:
        read_only(os.path.realpath(writable))
    os.chdir(os.getcwd())  # into the mount that is above it now
    os.umask(int(unit["UMask"][0], 8))
    if unit["CapabilityBoundingSet"] == [""]:
        libc = ctypes.CDLL(None, use_errno=True)
        number = 0
        while libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
            number += 1
    restrict(unit)  # and with it NoNewPrivileges; pyseccomp sees to that
    allow(calls, getattr(errno, unit["SystemCallErrorNumber"][0]))
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(*sys.argv[1:])
