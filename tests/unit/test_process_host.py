"""What a service changes of the program that it is a part of."""

from __future__ import annotations

from ..case import SynchronousTestCase
from .support import run_python

_PROGRAM = """
import signal, sys
from twisted.application.service import MultiService
from twisted.internet import reactor
from twisted.logger import globalLogPublisher
from twisted.python.logfile import BaseLogFile, LogFile
from twisted.scripts._twistd_unix import UnixApplicationRunner as Runner
from twisted.web.resource import Resource
from twisted_graceful import GracefulService, new

call = reactor.callLater(60, print)

def program():
    return {
        "clock": (reactor.seconds, call.seconds),
        "signals": [signal.getsignal(each) for each in signal.valid_signals()],
        "log": [*globalLogPublisher._observers],
        "log files": (BaseLogFile._openFile, LogFile.shouldRotate, LogFile.rotate),
        "twistd": [getattr(Runner, each) for each in
                   ("setupEnvironment", "shedPrivileges", "removePID")],
        "twistd log": Runner.loggerFactory._getLogObserver,
    }

def changed():
    return [name for name, value in program().items() if value != before[name]]

before = program()
service = GracefulService(new("127.0.0.1:0", Resource()), signals=SIGNALS)
print(changed())
service.setServiceParent(MultiService())
print(changed())
"""


class ProcessHostTests(SynchronousTestCase):
    """A program that makes a service, and adds it to another one, but does not start it."""

    def test_what_is_changed(self) -> None:
        """A service that is made changes nothing; one that is added changes logs and twistd, and
        the clock only of a process that is its own."""
        logs = ["log files", "twistd", "twistd log"]
        rows = {False: logs, True: ["clock", "log", *logs]}
        for signals, expected in rows.items():
            with self.subTest(signals=signals):
                done = run_python("-c", _PROGRAM.replace("SIGNALS", str(signals)))
                self.assertEqual((done.stderr, done.stdout), ("", f"[]\n{expected}\n"))
