"""Imports go down only, inside packages too, and none of them installs a reactor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from ..case import SynchronousTestCase
from .modules import modules
from .support import run_python

Layers = list[set[str]]

ORDER: dict[str, Layers] = {
    "": [
        {"coroutines", "errors", "event_names", "json_object", "networks", "reactors"},
        {"address", "clock", "twisted_internals", "handover_interface", "log_limit", "timer"},
        {"config"},
        {"http", "process", "app"},
        {"services"},
        {"ctl", "admin"},
        {"run", "cli"},
        {"testing"},
    ],
    "services": [
        {"absolute_paths", "access_log_writer", "served_app", "server_certificate"}
        | {"shared_resources", "shutdown_delay", "workload"},
        {"listening"},
        {"server"},
        {"group"},
        {"service_process", "worker_group"},
        {"lifecycles"},
        {"service"},
    ],
    "http": [
        {"data_rate", "form", "head", "io", "phases", "producer", "ranges", "spool"}
        | {"time_sharing"},
        {"error_response", "log", "proxies"},
        {"interfaces"},
        {"handover", "request"},
        {"forwarded_request", "registry"},
        {"base_connection"},
        {"http2", "movable_connection", "proxy_header_reader", "tls_handshake", "websocket"},
        {"http1"},
        {"site"},
        {"warm_up"},
    ],
    "http.io": [
        {"accept_balance", "certificates", "proxy_protocol"},
        {"connection_limit"},
        {"port", "transport"},
        {"unix_port"},
        {"proxy_header"},
        {"tls"},
        {"transport_factory"},
        {"poller"},
    ],
    "http.log": [
        {"client_log", "drain_report", "request_id"},
        {"access_log", "request_logger"},
        {"request_metrics"},
    ],
    "http.http1": [{"body"}, {"channel"}],
    "http.http2": [
        {"frames"},
        {"field_decoder"},
        {"fields", "h2_machine"},
        {"stream"},
        {"interfaces", "uploads"},
        {"receiver", "sender"},
        {"connection"},
    ],
    "http.websocket": [{"frames", "upgraded_transport"}, {"connection"}],
    "admin": [
        {"admission", "guard", "history", "metrics", "worker_totals"},
        {"chart", "overview"},
        {"page"},
        {"admin_site"},
        {"admin_server"},
    ],
    "ctl": [
        {"outcome", "server_process"},
        {"events"},
        {"follow", "record", "rich_display", "status"},
        {"admin_client", "check_command", "display", "pid_file_lookup"},
        {"signal_client"},
        {"find_server"},
        {"main"},
    ],
    "config": [
        {"option_types", "toml_file"},
        {"setting_fields"},
        {"process_settings", "server_settings"},
        {"settings"},
        {"options"},
    ],
    "app": [{"conversion", "loading", "welcome", "wsgi"}],
    "app.wsgi": [{"environ", "response_head"}, {"call"}, {"resource"}, {"threads"}],
    "cli": [{"autoreload", "check", "command_line"}, {"plugin"}],
    "process": [
        {"host", "state_machine"},
        {"listeners"},
        {"interfaces"},
        {"upgrade"},
        {"twistd"},
        {"workers"},
    ],
    "process.host": [
        {"cpu_count", "exit_deadline", "exit_status", "forks", "lock", "proc_stat"}
        | {"process_status", "shebang", "sigaction", "streams", "symlinks", "systemd"}
        | {"terminal", "title", "log_prefix", "chown"},
        {"cpu_watchdog", "exit_phases", "log_file", "parent_death", "pid_file", "reaper"}
        | {"signals", "supervisors"},
        {"server_log", "twistd_files"},
        {"shared_log_files"},
        {"process_host"},
    ],
    "process.listeners": [
        {"unix_files"},
        {"listener"},
        {"activation", "binding"},
        {"listener_registry"},
        {"reactor_listeners"},
    ],
    "process.upgrade": [
        {"accept_retry", "generation_machine", "inheritance", "messages", "output"}
        | {"upgrade_events"},
        {"control_channel", "handed_over", "predecessor_deadline"},
        {"launch", "spawn"},
        {"handover_protocol", "upgrade_record"},
        {"child", "parent"},
        {"announcer"},
        {"generation", "not_started"},
    ],
    "process.workers": [
        {"backoff", "balance", "heartbeat", "recycling", "relay"},
        {"worker", "worker_handle"},
        {"worker_slot", "exiting_workers"},
        {"rolling_restart"},
        {"pool"},
    ],
    "testing": [{"http_messages", "memory_transport", "running"}, {"fixtures", "memory"}],
}
"""The layers of each package ("" is the whole), lowest first.

A part is a module or a subpackage. It imports from lower layers and from itself, but not from other
parts of its own layer.
"""

FACES: dict[str, set[str]] = {
    "admin": {
        "http.interfaces",
        "http.log.drain_report",
        "http.log.request_metrics",
        "http.phases",
        "http.registry",
        "process.host.process_status",
        "process.upgrade.upgrade_events",
        "process.workers.heartbeat",
        "services.server",
        "services.service",
        "services.worker_group",
    },
    "ctl": {"process.host.proc_stat"},
}
"""The modules of `http`, `process` and `services` that another package may import."""


def imports(name: str, path: Path) -> Iterator[str]:
    """The modules of the package that a module imports, in functions and for types too."""
    parents = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found = [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = ["twisted_graceful", *parents][: 2 - node.level + len(parents)]
            base = ".".join([*(above if node.level else []), *filter(None, [node.module])])
            # `from . import x` imports a module, `from .x import y` may or may not.
            found = [f"{base}.{each.name}" for each in node.names]
        else:
            continue
        for each in found:
            if each.startswith("twisted_graceful."):
                yield each.removeprefix("twisted_graceful.")


def graph() -> dict[str, set[str]]:
    """Which modules each module imports; the public names, which load lazily, are left out."""
    found = {name: path for name, path in modules() if name != "__init__"}

    def module_of(imported: str) -> str:
        return imported if imported in found else imported.rpartition(".")[0]

    return {
        name: {module_of(each) for each in imports(name, path)} & set(found) - {name}
        for name, path in found.items()
    }


def reachable(edges: dict[str, set[str]], start: str) -> set[str]:
    """All modules that a module imports, directly or through others."""
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        new = edges[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen


def part_in(package: str, name: str) -> str:
    """The part of a package that a module is, or is in; empty if it is not inside."""
    prefix = f"{package}." if package else ""
    return name.removeprefix(prefix).split(".")[0] if name.startswith(prefix) else ""


class LayerTests(SynchronousTestCase):
    """All modules of the package."""

    def test_every_package_has_an_order(self) -> None:
        """Each package has its layers in `ORDER`."""
        packages = {
            name for name, path in modules() if path.name == "__init__.py" and name != "__init__"
        }
        self.assertEqual(packages, set(ORDER) - {""})

    def test_every_part_has_its_layer(self) -> None:
        """Each module and subpackage of an ordered package is in exactly one layer."""
        names = graph()
        for package, layers in ORDER.items():
            with self.subTest(package=package):
                parts = {part_in(package, name) for name in names} - {""}
                self.assertEqual(sorted(parts), sorted(each for layer in layers for each in layer))

    def test_imports_go_down_only(self) -> None:
        """No module imports another part of its own layer or of a higher one, for types too."""
        edges = graph()
        for package, layers in ORDER.items():
            level_of = {part: level for level, layer in enumerate(layers) for part in layer}
            with self.subTest(package=package):
                upward = [
                    f"{name} imports {imported}, but {part} is not above {target}"
                    for name, targets in edges.items()
                    for imported in sorted(targets)
                    if (part := part_in(package, name))
                    and (target := part_in(package, imported))
                    and part != target
                    and level_of[target] >= level_of[part]
                ]
                self.assertEqual(upward, [])

    def test_faces(self) -> None:
        """A package imports those modules of others that are meant for it, and all of these."""
        edges = graph()
        for package, face in FACES.items():
            with self.subTest(package=package):
                imported = {
                    target
                    for name, targets in edges.items()
                    for target in targets
                    if part_in(package, name)
                    and target.split(".")[0] in {"http", "process", "services"}
                }
                self.assertEqual(imported, face)

    def test_no_cycles(self) -> None:
        """No modules import each other in a circle, for types either."""
        edges = graph()
        self.assertEqual([name for name in edges if name in reachable(edges, name)], [])

    def test_imports_are_seen(self) -> None:
        """The test sees the imports of each form that the package uses."""
        seen = {name: set(imports(name, path)) for name, path in modules()}
        self.assertIn("errors.SettingsError", seen["config.server_settings"])
        self.assertIn("process.listeners.listener.Listener", seen["services.listening"])
        self.assertIn("config.server_settings.ServerSettings", seen["http.site"])
        self.assertIn("process.upgrade.handed_over.handed_over", seen["services.service"])

    def test_no_module_installs_a_reactor(self) -> None:
        """Whoever imports a module of ours can still choose the reactor."""
        names = [f"twisted_graceful.{name}" for name, _ in modules() if name != "__init__"]
        # One process for all: as long as none is found, each has been seen without.
        done = run_python(
            "-c",
            "import importlib, sys\n"
            "for name in ['twisted_graceful', *sys.argv[1:]]:\n"
            "    importlib.import_module(name)\n"
            "    assert 'twisted.internet.reactor' not in sys.modules, name\n"
            "print(len(sys.argv))",
            *names,
        )
        self.assertEqual((done.stderr, done.stdout), ("", f"{len(names) + 1}\n"))
