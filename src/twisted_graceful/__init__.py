"""An HTTP server for Twisted that drains, and upgrades its own code without losing a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .admin.admin_server import AdminServer, add_admin
    from .config.settings import Settings
    from .errors import (
        ActivationError,
        AddressError,
        AdminError,
        AppError,
        BindError,
        CertificateError,
        FormError,
        GracefulError,
        InheritanceError,
        LaunchError,
        LogFileError,
        PidFileError,
        SettingsError,
        WarmUpError,
    )
    from .http.log.drain_report import CutRequest, DrainReport
    from .http.site import draining, is_ready
    from .run import RequestsCut, listen_and_serve, listen_and_serve_forever, new, wait_group
    from .services.server import Server
    from .services.service import GracefulService, serving

# Loaded when they are first used (PEP 562): the settings are read without the HTTP server.
_HOMES = {
    "ActivationError": "errors",
    "AddressError": "errors",
    "AdminError": "errors",
    "AdminServer": "admin.admin_server",
    "AppError": "errors",
    "BindError": "errors",
    "CertificateError": "errors",
    "CutRequest": "http.log.drain_report",
    "DrainReport": "http.log.drain_report",
    "FormError": "errors",
    "GracefulError": "errors",
    "GracefulService": "services.service",
    "InheritanceError": "errors",
    "LaunchError": "errors",
    "LogFileError": "errors",
    "PidFileError": "errors",
    "RequestsCut": "run",
    "Server": "services.server",
    "Settings": "config.settings",
    "SettingsError": "errors",
    "WarmUpError": "errors",
    "add_admin": "admin.admin_server",
    "draining": "http.site",
    "is_ready": "http.site",
    "listen_and_serve": "run",
    "listen_and_serve_forever": "run",
    "new": "run",
    "serving": "services.service",
    "wait_group": "run",
}

__all__ = [
    "ActivationError",
    "AddressError",
    "AdminError",
    "AdminServer",
    "AppError",
    "BindError",
    "CertificateError",
    "CutRequest",
    "DrainReport",
    "FormError",
    "GracefulError",
    "GracefulService",
    "InheritanceError",
    "LaunchError",
    "LogFileError",
    "PidFileError",
    "RequestsCut",
    "Server",
    "Settings",
    "SettingsError",
    "WarmUpError",
    "add_admin",
    "draining",
    "is_ready",
    "listen_and_serve",
    "listen_and_serve_forever",
    "new",
    "serving",
    "wait_group",
]


def __getattr__(name: str) -> object:
    """A public name, loaded from where it lives."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names."""
    return __all__
