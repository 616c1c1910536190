"""Which lifecycle a process has: it is a generation of its service, or a worker below a master."""

from __future__ import annotations

from ..process.host.cpu_watchdog import CpuWatchdog
from ..process.interfaces import Lifecycle
from ..process.upgrade.generation import Generation
from ..process.upgrade.inheritance import Inheritance
from ..process.upgrade.launch import Launch
from ..process.upgrade.upgrade_record import UpgradeRecord
from ..process.workers.worker import Worker
from ..reactors import IServerReactor
from .service_process import ServiceProcess


class Lifecycles:
    """Makes the lifecycle of a process.

    Args:
        reactor: runs everything.
        launch: how to start a successor.
        upgradable: whether a successor can be started at all.
    """

    def __init__(self, reactor: IServerReactor, launch: Launch, *, upgradable: bool) -> None:
        self._reactor = reactor
        self._launch = launch
        self._upgradable = upgradable

    def of(self, process: ServiceProcess, inheritance: Inheritance | None) -> Lifecycle:
        """The lifecycle of a process.

        Args:
            process: it.
            inheritance: what its predecessor or master left; None if it has neither.
        """
        if inheritance is not None and inheritance.worker:
            return self._worker(process, inheritance)
        return self._generation(process, inheritance)

    def _worker(self, process: ServiceProcess, inheritance: Inheritance) -> Worker:
        is_ours, timeout = process.host.is_ours, process.settings.worker_timeout
        return Worker(
            self._reactor,
            process,
            inheritance,
            master_ends=process.master_has_ended if is_ours else None,
            watcher=process.watcher,
            timeout=timeout,
            watchdog=CpuWatchdog(timeout if is_ours else 0),
        )

    def _generation(self, process: ServiceProcess, inheritance: Inheritance | None) -> Generation:
        is_ours, pid_file = process.host.is_ours, process.host.files.pid_file
        inherited = -1 if inheritance is None else inheritance.record
        path = "" if pid_file is None else pid_file.path
        return Generation(
            self._reactor,
            process,
            inheritance=inheritance,
            launch=self._launch,
            upgrade_timeout=process.settings.upgrade_timeout,
            probation=process.settings.probation,
            supervisor=process.supervisor,
            pid_file=pid_file,
            watcher=process.watcher,
            # A program with its own way to start an upgrade has its own way to ask about one.
            record=UpgradeRecord(self._launch, inherited, path) if is_ours else None,
            ends_within=process.ends_within,
            upgradable=self._upgradable,
            recycle=process.recycle if is_ours else None,
        )
