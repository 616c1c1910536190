"""The logger of Twisted's `Request`."""

from __future__ import annotations

from typing import Any

from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from .drain_report import printable


class RequestLogger(Logger):
    """Names the request in what Twisted's `Request` logs about itself."""

    def failure(
        self,
        format: str,
        failure: Failure | None = None,
        level: LogLevel = LogLevel.critical,
        **values: object,
    ) -> None:
        """The application failed; Twisted has no word for it."""
        request: Any = self.source
        super().failure(
            format or "{method} {path} failed",
            failure,
            level,
            method=printable(request.method),
            path=printable(request.uri.partition(b"?")[0]),
            **values,
        )

    def info(self, format: str | None = None, **values: object) -> None:
        """Log nothing: Twisted would log for each HEAD that its response has no body."""
