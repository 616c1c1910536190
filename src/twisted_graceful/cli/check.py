"""``--check``: load everything, serve nothing, and report whether it would have worked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, FirstError, gatherResults
from twisted.python.failure import Failure

from ..errors import GracefulError
from ..http.log.drain_report import DrainReport
from ..process.host.exit_status import exit_with
from ..reactors import IServerReactor
from ..services.server import Server, global_reactor
from ..timer import Timer


class CheckService(Service):
    """Loads what is needed to serve, reports how that went, and stops the reactor.

    It takes the place that a `GracefulService` has in a real start, so that the same user loads the
    same code in the same directory. It binds nothing, and opens no log.

    Args:
        servers: what would be served.
        timeout: seconds until they must be loaded.
        report: called once, with None for success or with the error; not if the process is asked
            to stop before.
        exit_with: sets the exit status of the process after an error.
        reactor: None for the global one.
    """

    def __init__(
        self,
        *servers: Server,
        timeout: float,
        report: Callable[[BaseException | None], None],
        exit_with: Callable[[int], None] = exit_with,
        reactor: Any = None,
    ) -> None:
        self._servers = servers
        self._timeout = timeout
        self._report = report
        self._exit_with = exit_with
        self._reactor: IServerReactor = global_reactor() if reactor is None else reactor
        self._loading: Deferred[list[None]] | None = None
        self._late = False

    def open(self) -> None:
        """Read what is read before privileges are dropped.

        Raises:
            CertificateError: there is no certificate that can be used.
        """
        for server in self._servers:
            server.certificate.read()

    def startService(self) -> None:
        """Load."""
        super().startService()
        self._loading = gatherResults([each.load() for each in self._servers], consumeErrors=True)
        timer = Timer(self._reactor)
        timer.start(self._timeout, self._too_late)
        self._loading.addBoth(self._over, timer)

    def _too_late(self) -> None:
        self._late = True
        if self._loading is not None:
            self._loading.cancel()

    def _over(self, result: object, timer: Timer) -> None:
        timer.cancel()
        error: BaseException | None = None
        if self._late:
            error = GracefulError(
                f"it was not ready within {self._timeout:g} seconds (--upgrade-timeout)"
            )
        elif isinstance(result, Failure):
            result.trap(FirstError)
            error = result.value.subFailure.value  # type: ignore[union-attr]
        if error is not None:
            self._exit_with(1)
        if self.running:
            self._report(error)
            self._reactor.callWhenRunning(self._reactor.stop)

    def stopService(self) -> Deferred[list[DrainReport]]:
        """Give up what was loaded, or is being loaded."""
        super().stopService()
        return gatherResults([each.stopService() for each in self._servers])
