"""A `Check`: what would be served is loaded, and nothing else happens."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from twisted_graceful import AppError, CertificateError, GracefulError, Server
from twisted_graceful.cli.check import CheckService
from twisted_graceful.config.settings import Settings

from ..case import SynchronousTestCase
from .support import leaves_nothing_open
from .web import Echo


class Reactor(Clock):
    """Time, and whether it was stopped."""

    stopped = 0

    def callWhenRunning(self, function: Any) -> None:
        """It runs."""
        function()

    def stop(self) -> None:
        """Count."""
        self.stopped += 1


class CheckTests(SynchronousTestCase):
    """With applications of each kind."""

    def setUp(self) -> None:
        """Note what is reported."""
        self.reactor = Reactor()
        self.reports: list[BaseException | None] = []
        self.statuses: list[int] = []

    def check(self, *apps: Any, **settings: Any) -> CheckService:
        """A check of these, which has begun."""
        servers = [
            Server(8080, app, settings=Settings(**settings), reactor=self.reactor) for app in apps
        ]
        check = CheckService(
            *servers,
            timeout=3,
            report=self.reports.append,
            exit_with=self.statuses.append,
            reactor=self.reactor,
        )
        check.open()
        check.startService()
        return check

    def ended(self, check: CheckService, *, status: int = 0) -> BaseException | None:
        """What was reported, once, by a check that has ended, and left nothing behind."""
        self.successResultOf(check.stopService())
        self.assertEqual((self.reactor.stopped, len(self.reports)), (1, 1))
        self.assertEqual(self.statuses, [status] if status else [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return self.reports[0]

    def test_all_is_well(self) -> None:
        """It loads all, binds nothing, and stops."""
        with leaves_nothing_open(self):
            self.assertIsNone(self.ended(self.check(Echo(), Echo)))

    def test_waits(self) -> None:
        """It waits for an application that is made later."""
        made: Deferred[Any] = Deferred()
        check = self.check(Echo(), lambda: made)
        self.assertEqual((self.reports, self.reactor.stopped), ([], 0))
        made.callback(Echo())
        self.assertIsNone(self.ended(check))

    def test_one_is_none(self) -> None:
        """One application that cannot be served is the reason, while another is still made."""
        check = self.check(Deferred, 7)
        self.assertIsInstance(self.ended(check, status=1), AppError)

    def test_too_late(self) -> None:
        """An application that is not made in time is the reason."""
        check = self.check(Deferred)
        self.reactor.advance(3)
        error = self.ended(check, status=1)
        self.assertIsInstance(error, GracefulError)
        self.assertIn("not ready within 3 seconds", str(error))

    def test_no_certificate(self) -> None:
        """A certificate that cannot be used is an error before anything is loaded."""
        self.assertRaises(CertificateError, self.check, Echo(), tls_cert="nowhere.pem")

    def test_stopped(self) -> None:
        """A check that is stopped has found nothing, and its status does not say otherwise."""
        check = self.check(Deferred)
        self.successResultOf(check.stopService())
        self.assertEqual((self.reports, self.statuses), ([], [1]))
