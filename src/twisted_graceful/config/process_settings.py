"""The settings of a process: workers, upgrades, and when the process is recycled."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from math import inf

from .option_types import AUTO, Size, WorkerCount
from .setting_fields import CheckedSettings, count, seconds, setting


@dataclass(frozen=True, kw_only=True)
class ProcessSettings(CheckedSettings):
    """The settings of a process; every field has a production default.

    Raises:
        SettingsError: a value has the wrong type or is out of range.
    """

    # The default of systemd's TimeoutStartSec is 90, of tableflip's UpgradeTimeout 60.
    upgrade_timeout: float = seconds(
        60, "how long a new process may take until it is ready", minimum=0.001
    )
    # None: a single process is what an application is written for first, and what it stores in
    # memory is all there. gunicorn and uvicorn start with one, too.
    workers: int | str = setting(
        WorkerCount(),
        0,
        "how many serve, below a master that starts them anew when they die, and in turns at HUP; "
        "auto: one for each processor that may be used; 0: a single process serves, with no master",
    )
    # gunicorn's timeout. What is blocked answers nobody, and its stack says where.
    worker_timeout: float = seconds(
        30,
        "how long the reactor of a worker may be blocked before the worker is ended, with its "
        "stack in the log, and started anew; 0: for ever",
    )
    # None of them by default, as in gunicorn: they are for applications that leak.
    max_requests: int = count(
        0, "requests", "after about how many a process is replaced in good order; 0: never"
    )
    max_requests_jitter: int = count(
        0, "requests", "how many more these are at most, by chance, in each process"
    )
    max_rss: int = setting(
        Size("bytes", maximum=1 << 50),  # there are machines with more than 2 GiB
        0,
        "how much memory a process may have (its resident set) before it is replaced in good "
        "order; 0: any",
    )
    # What is wrong with new code shows in its first requests; systemd takes a service that fails
    # five times within 10 s (StartLimitIntervalSec) for broken.
    probation: float = seconds(
        10,
        "for how long the old process stays when a new one is ready, to accept again if that dies; "
        "with workers, at HUP: how long the first new worker must live before old ones leave; 0: "
        "not at all",
    )

    @classmethod
    def combined(
        cls, given: Mapping[str, object], servers: Collection[ProcessSettings]
    ) -> ProcessSettings:
        """The settings of a process that runs these servers.

        Args:
            given: settings of the process itself, by name; None counts as not given.
            servers: the settings of its servers. They decide what is not in ``given``; of several
                values other than the default the smallest counts, in which 0 is no limit.

        Raises:
            SettingsError: there is no such setting, or its value is out of range.
        """
        chosen: dict[str, object] = {}
        for each in fields(cls):
            values = {getattr(server, each.name) for server in servers} - {each.default}
            if values:
                chosen[each.name] = min(filter(None, values), key=_magnitude, default=0)
        return cls.of({**chosen, **{name: it for name, it in given.items() if it is not None}})


def _magnitude(value: float | str) -> float:
    return inf if value == AUTO else float(value)
