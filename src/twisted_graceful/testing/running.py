"""A server on a free port, in the process of the test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from ..config.settings import Settings
from ..http.log.drain_report import DrainReport
from ..services.server import Server


class HasCleanups(Protocol):
    """What is asked of a test case; those of trial have it."""

    def addCleanup(self, function: Callable[[], object], /) -> object:
        """Call this function when the test is over, and wait for its Deferred."""


class RunningServer:
    """A server that accepts connections on a port of its own.

    Attributes:
        port: the port, on 127.0.0.1.
        url: the address of its root, such as ``http://127.0.0.1:43211``; it is ``https`` with
            ``tls_cert``.
        service: the `Server` itself.
    """

    def __init__(self, service: Server) -> None:
        _, self.port = service.bound[0]
        self.url = service.urls[0]
        self.service = service

    def stop(self) -> Deferred[DrainReport]:
        """Stop accepting and drain; a server that has been stopped has nothing to drain.

        Returns:
            A Deferred that fires with the report when the drain is over.
        """
        return self.service.stopService()


def start(app: object, *, wsgi: bool = False, **settings: Any) -> Deferred[RunningServer]:
    """Run a server on a free port of 127.0.0.1; the caller stops it.

    Args:
        app: as for `serve`.
        wsgi: as for `serve`.
        settings: as for `serve`.

    Returns:
        A Deferred that fires when the server accepts; it fails with `AppError`.

    Raises:
        CertificateError: the files of ``tls_cert`` and ``tls_key`` cannot be used.
        SettingsError: a setting is out of range.
    """
    # At the end of a test no client is about to send.
    chosen = Settings(**{"idle_grace": 0, **settings})
    service = Server("127.0.0.1:0", app, settings=chosen, wsgi=wsgi)
    accepts = service.ready()
    service.startService()
    return accepts.addCallbacks(
        lambda _: RunningServer(service),
        lambda failure: service.stopService().addCallback(lambda _: failure),
    )


def serve(
    test_case: HasCleanups, app: object, *, wsgi: bool = False, **settings: Any
) -> Deferred[RunningServer]:
    """Run a server in a trial test; when the test is over it is drained.

    Args:
        test_case: the `twisted.trial.unittest.TestCase` that the test is in.
        app: an `IResource`; a Klein app; a WSGI callable; a class or function without
            arguments that returns one of these, at once, as a Deferred or coroutine.
        wsgi: take ``app`` for a WSGI callable, whatever it looks like.
        settings: the fields of `Settings`, by name: ``drain_timeout=5``. Unless they say
            otherwise idle connections have no grace.

    Returns:
        A Deferred that fires when the server accepts; it fails with `AppError`.

    Raises:
        CertificateError: the files of ``tls_cert`` and ``tls_key`` cannot be used.
        SettingsError: a setting is out of range.
    """

    def drained_at_the_end(server: RunningServer) -> RunningServer:
        test_case.addCleanup(server.stop)
        return server

    return start(app, wsgi=wsgi, **settings).addCallback(drained_at_the_end)
