"""What a forked child keeps and what not, in real processes."""

from __future__ import annotations

from ..case import SynchronousTestCase
from .support import run_python

PROGRAM = """\
import os, signal, socket, sys
from twisted_graceful.process.host.forks import *
from twisted_graceful.process.host.sigaction import handle_once

def child(look):
    if not os.fork():
        os._exit(look())
    return os.waitstatus_to_exitcode(os.wait()[1])

def is_socket(*sockets):
    return sum(os.path.exists(f"/proc/self/fd/{each.fileno()}")
               and os.readlink(f"/proc/self/fd/{each.fileno()}").startswith("socket")
               for each in sockets)

listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accepted, _ = listener.accept()
named = socket.socket(socket.AF_UNIX)
named.bind(b"\\0fork-%d" % os.getpid())
named.listen()
ends = socket.socketpair()
keep_from_children(ends[0])
signal.signal(signal.SIGTERM, lambda *_: None)
guard = ForkGuard(lambda: [listener, named], lambda: [signal.SIGTERM, signal.SIGINT])
ours = listener, accepted, named, ends[0]
others = client, ends[1]
"""


class ForkTests(SynchronousTestCase):
    """A process with listeners, a connection of theirs, a channel, and sockets of its own."""

    def check(self, code: str) -> None:
        """Run code after the program, and check that it exits with 0."""
        done = run_python("-c", PROGRAM + code)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_sockets(self) -> None:
        """A child has neither the listeners, nor their connections, nor the channels; the
        application's own sockets it has, and the parent keeps all."""
        self.check(
            "guard.begin()\n"
            "assert child(lambda: is_socket(*ours)) == 0\n"
            "assert child(lambda: is_socket(*others)) == 2\n"
            "assert is_socket(*ours, *others) == 6\n"
        )

    def test_numbers_stay_taken(self) -> None:
        """A child that opens files gets none of those numbers, which our objects still close."""
        self.check(
            "guard.begin()\n"
            "taken = {each.fileno() for each in ours}\n"
            "assert child(lambda: {os.dup(0) for _ in range(9)} & taken != set()) == 0\n"
        )

    def test_signals(self) -> None:
        """SIGTERM ends a child, and SIGINT raises KeyboardInterrupt there."""
        self.check(
            "guard.begin()\n"
            "assert child(lambda: signal.raise_signal(signal.SIGTERM) or 0) == -signal.SIGTERM\n"
            "is_default = lambda: signal.getsignal(2) is signal.default_int_handler\n"
            "assert child(is_default) == 1\n"
        )

    def test_when_it_keeps_all(self) -> None:
        """A daemon that forks before the start, and a child that inherits on purpose, keep all."""
        self.check(
            "assert child(lambda: is_socket(*ours)) == 4\n"
            "guard.begin()\n"
            "with keeping_all_descriptors():\n"
            "    assert child(lambda: is_socket(*ours)) == 4\n"
            "guard.end()\n"
            "assert child(lambda: is_socket(*ours)) == 4\n"
        )

    def test_what_is_inherited(self) -> None:
        """A child that is forked while the application is imported has nothing inherited."""
        self.check(
            "keep_inheritance_from_children([listener.fileno()])\n"
            "assert child(lambda: is_socket(listener)) == 0\n"
            "keep_inheritance_from_children([])\n"
            "assert child(lambda: is_socket(listener)) == 1\n"
        )


class HandleOnceTests(SynchronousTestCase):
    """A handler that the kernel removes."""

    def test_the_second_one_ends_the_process(self) -> None:
        """A signal finds the handler once; the next one ends the process without Python."""
        code = (
            "import os, signal\nfrom twisted_graceful.process.host.sigaction import handle_once\n"
            "signal.signal(signal.SIGTERM, lambda *_: os.write(1, b'once'))\n"
            "assert not handle_once(signal.SIGHUP), 'nobody handles it'\n"
            "print(handle_once(signal.SIGTERM), flush=True)\n"
            "signal.raise_signal(signal.SIGTERM)\n"
            "signal.raise_signal(signal.SIGTERM)\n"
        )
        done = run_python("-c", code)
        if done.stdout == "False\nonceonce":
            self.skipTest("this system's struct sigaction is not known")
        self.assertEqual((done.stdout, done.returncode, done.stderr), ("True\nonce", -15, ""))
