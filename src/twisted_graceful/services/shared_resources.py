"""The resources that all servers of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from ..http.io.connection_limit import ConnectionLimit
from ..process.host.log_file import LogFiles
from ..process.listeners.listener_registry import ListenerRegistry


@dataclass(frozen=True)
class SharedResources:
    """What the servers of a process share.

    Attributes:
        listeners: where the listeners come from.
        logs: where the access logs come from; one file for each path.
        limit: of the connections of all servers that have no limit of their own.
    """

    listeners: ListenerRegistry
    logs: LogFiles
    limit: ConnectionLimit
