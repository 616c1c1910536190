"""The exceptions of this package."""

from __future__ import annotations


class GracefulError(Exception):
    """The base of every error of this package; its text says what was wrong and what to do."""


class SettingsError(GracefulError, ValueError):
    """A setting has a value that is not accepted."""

    def __init__(self, name: str, given: object, accepted: str) -> None:
        super().__init__(f"{name}: {given!r} is not accepted; it must be {accepted}")
        self.name = name
        self.given = given
        self.accepted = accepted


class ConfigError(GracefulError):
    """A value is not accepted, or a name not known; the text says in which source."""


class AddressError(GracefulError, ValueError):
    """A text does not name a listen address."""


class BindError(GracefulError, OSError):
    """The operating system refused a listen address."""


class CertificateError(GracefulError):
    """A certificate or its key is missing, or cannot be used."""


class LogFileError(GracefulError, OSError):
    """A log file cannot be opened."""


class PidFileError(GracefulError):
    """A running server has the pid file; the text says which, and what to do."""


class AppError(GracefulError):
    """An application cannot be served.

    Attributes:
        inside: whether the fault lies in the application's own code, so that
            its traceback (``__cause__``) helps whoever reads the message.
    """

    def __init__(self, message: str, *, inside: bool = False) -> None:
        super().__init__(message)
        self.inside = inside


class FormError(GracefulError, ValueError):
    """A form in a request is malformed, or has too many fields.

    ``request.args`` raises it. If a resource does not catch it, its status is the response's.

    Attributes:
        status: for the response, 400 or 413.
        limit: the name of the setting that was exceeded; empty if it was something else.
    """

    def __init__(self, status: int, message: str, limit: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.limit = limit


class WarmUpError(GracefulError):
    """An application did not answer a warm-up request as it should."""


class InheritanceError(GracefulError):
    """A process was started as a successor, but what it was given cannot be used."""


class ActivationError(GracefulError):
    """A service manager passed sockets to this process that cannot be used."""


class WorkerError(GracefulError):
    """A worker ended before it was ready."""


class AdminError(GracefulError):
    """The admin endpoints cannot be where they should; the text says what to do."""


class UpgradeRefused(GracefulError):
    """This process cannot start a successor; the text says why and what to do."""


class LaunchError(GracefulError):
    """How this process was started cannot be found out; the text says why and what to do."""
