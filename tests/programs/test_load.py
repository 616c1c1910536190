"""A server under load while it is upgraded, with clients that never ask twice."""

from __future__ import annotations

from ..case import SynchronousTestCase
from ..integration.harness import served
from ..integration.load import Load

UPGRADES = 4


class LoadTests(SynchronousTestCase):
    """Load during upgrades."""

    def test_keep_alive_and_close(self) -> None:
        """Nothing fails on kept connections, nor on connections of one request beside them."""
        with served() as server:
            url = f"http://127.0.0.1:{server.ports[0]}/"
            with Load(url) as kept, Load(url, "Connection: close", connections=4) as closed:
                for _ in range(UPGRADES):
                    server.upgrade()
            for load in (kept, closed):
                with self.subTest(load=load):
                    self.assertEqual(load.summary.errors, ())
                    self.assertGreater(load.summary.requests, 1000)
            self.assertEqual(server.stop(), 0)
            self.assertNotIn("Traceback", server.log)
