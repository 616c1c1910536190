"""All settings, for callers that configure a server and its process in one place."""

from __future__ import annotations

from dataclasses import dataclass

from .process_settings import ProcessSettings
from .server_settings import ServerSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ProcessSettings, ServerSettings):
    """The settings of a server, and of the process that runs it.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """
