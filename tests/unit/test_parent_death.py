"""A process learns of its parent's death whatever it is doing; in real processes."""

from __future__ import annotations

from ..case import SynchronousTestCase
from .support import run_python


class ParentDeathTests(SynchronousTestCase):
    """A process whose reactor hangs, and whose parent is killed."""

    def test_noticed(self) -> None:
        """It is noticed in a regular expression by the signal, in a sleep by the thread."""
        code = (
            "import os, re, select, signal, socket, sys, time\n"
            "from twisted_graceful.process.host import parent_death\n"
            "how, hang = sys.argv[1:]\n"
            "noticed, write = os.pipe()\n"
            "if not os.fork():\n"
            "    ours, theirs = socket.socketpair()\n"
            "    if os.fork():\n"
            "        theirs.close()\n"
            "        ours.recv(1); os.kill(os.getpid(), signal.SIGKILL)\n"
            "    ours.close()\n"
            "    if how == 'thread': parent_death._by_signal = lambda call: False\n"
            "    else: parent_death._in_a_thread = None\n"
            "    call = lambda: (os.write(write, b'noticed'), os._exit(0))\n"
            "    parent_death.when_parent_ends(theirs.fileno(), call)\n"
            "    theirs.send(b'.'); eval(hang)\n"
            "assert select.select([noticed], [], [], 20)[0], 'not noticed'\n"
            "print(os.read(noticed, 99).decode())\n"
        )
        for how, hang in (
            ("signal", "re.match(r'(a|aa)+$', 'a' * 60 + 'b')"),
            ("signal", "time.sleep(60)"),
            ("thread", "time.sleep(60)"),
        ):
            with self.subTest(how=how, hang=hang):
                done = run_python("-c", code, how, hang)
                self.assertEqual((done.stdout, done.stderr), ("noticed\n", ""))
