"""The page of the admin endpoints, in a browser."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from .harness import Server, served
from .waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""


def browse(server: Server, *options: str) -> str:
    """What a browser has made of the page after some seconds of its time; a picture is left, too.

    Raises:
        SkipTest: there is no browser.
    """
    if not CHROMIUM:
        raise SkipTest("there is no chromium")
    directory = server.directory
    done = subprocess.run(
        [
            CHROMIUM,
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            f"--user-data-dir={directory / 'browser'}",
            "--virtual-time-budget=5000",
            *options,
            f"http://127.0.0.1:{server.ports[0]}/",
        ],
        capture_output=True,
        timeout=60,
        cwd=directory,
        env={**os.environ, "HOME": str(directory)},
        check=True,
    )
    return done.stdout.decode()


class BrowserTests(SynchronousTestCase):
    """What an operator sees."""

    def test_live(self) -> None:
        """The script runs under the page's own policy: charts, lanes, and paths as text only."""
        with served("--admin", "127.0.0.1:0") as server:
            client = server.connect(server.ports[1])
            client.get("/gate/held?<img/src=x>")
            server.wait_for("held.begun")
            client.send("GET /<img/src=x> HTTP/1.1\r\n")
            page = browse(server, "--dump-dom")
            self.assertIn("<polyline", page)
            self.assertIn("generation 0", page)
            self.assertIn("/gate/held", page)
            self.assertNotIn("<img", page)

    def test_an_upgrade(self) -> None:
        """While a predecessor drains there are two lanes, and a picture of them."""
        with served("--admin", "127.0.0.1:0") as server:
            app = server.ports[1]
            client = server.connect(app)
            client.get("/gate/held")
            server.wait_for("held.begun")
            server.kill(signal.SIGUSR2)
            server.hand_over()
            # Once a second it tells its successor, whose page this is.
            until(lambda: "drains for" in server.get().body, "the page knows of the drain")
            page = browse(server, "--dump-dom")
            self.assertIn("lane draining", page)
            self.assertIn("/gate/held", page)
            picture = server.directory / "page.png"
            browse(server, f"--screenshot={picture}", "--window-size=1100,800")
            self.assertGreater(picture.stat().st_size, 10000)
            server.open("held")
            client.answer()
