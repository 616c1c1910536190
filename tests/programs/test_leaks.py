"""What upgrades leave behind: nothing."""

from __future__ import annotations

from ..case import SynchronousTestCase
from ..integration import proc
from ..integration.harness import SERVED, served
from ..integration.waiting import until

RUN_AT_IMPORT = """
subprocess.run([sys.executable, "-c", LIST_INHERITED], close_fds=False)
"""
GENERATIONS = 12
GROWTH = 1.05
"""How much more memory the last generation may have than the first: less than 1 MiB for each."""


class LeakTests(SynchronousTestCase):
    """What a service has after many upgrades is what it had at first."""

    def test_many_upgrades(self) -> None:
        """Descriptors, environment and memory of the last generation are those of the first."""
        with served() as server:
            first = server.pid
            descriptors = server.idle_descriptors()
            memory = proc.resident(first)
            environment = self.environment(first)
            answers = server.get("/inherited").body
            for _ in range(GENERATIONS):
                pid = server.upgrade()
                until(
                    lambda: proc.descriptors(server.pid) == descriptors,
                    f"{server.pid} has open what the first had, {descriptors}",
                )
            self.assertEqual(self.environment(pid), environment)
            self.assertEqual(server.get("/inherited").body, answers)
            self.assertEqual(server.get().body, "1")
            self.assertEqual(server.family(), [pid])
            self.assertEqual(proc.children(pid), [])
            self.assertLess(proc.resident(pid), memory * GROWTH)
            self.assertEqual(server.stop(), 0)

    def test_processes_of_the_import(self) -> None:
        """A process that the application starts while it is imported inherits nothing either."""
        with served() as server:
            server.serving(0)
            server.write("app.py", SERVED.read_text() + RUN_AT_IMPORT)
            server.upgrade()
            self.assertIn("descriptors [0, 1, 2]\nvariables []\n", server.log)

    def environment(self, pid: int) -> dict[str, str]:
        """What a process was started with, but for what it takes out at once."""
        found = proc.environment(pid)
        found.pop("TWISTED_GRACEFUL_INHERITANCE", None)
        return found
