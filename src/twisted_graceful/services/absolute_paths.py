"""Makes the paths in settings absolute, since the working directory may change."""

from __future__ import annotations

import os
from dataclasses import replace

from ..config.settings import Settings
from ..process.host.streams import canonical


def with_absolute_paths(settings: Settings, directory: str) -> Settings:
    """Settings whose paths mean the same from now on, in every directory and process.

    Args:
        settings: as they were written.
        directory: what relative paths are relative to.
    """
    cert, key = settings.tls_cert, settings.tls_key
    return replace(
        settings,
        access_log=canonical(settings.access_log, directory),
        tls_cert=cert and os.path.join(directory, cert),
        tls_key=key and os.path.join(directory, key),
    )
