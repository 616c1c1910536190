"""A headless Chromium, steered by the DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import SkipTest

from websockets.sync.client import connect

from ..integration.waiting import until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or ""

_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--remote-debugging-port=0",
)


class Browser:
    """A browser with a profile of its own, in which `Tab` opens pages.

    Args:
        names: host names that lead to this machine, as an attacker's do who has rebound them.

    Raises:
        SkipTest: there is no browser.
    """

    def __init__(self, *names: str) -> None:
        if not CHROMIUM:
            raise SkipTest("there is no chromium")
        self._resources = ExitStack()
        self._directory = tempfile.TemporaryDirectory(
            prefix="graceful-browser-", ignore_cleanup_errors=True
        )
        here = Path(self._directory.name)
        rules = ",".join(f"MAP {name} 127.0.0.1" for name in names)
        with open(here / "output", "wb") as output:
            self._process = subprocess.Popen(
                [
                    CHROMIUM,
                    *_OPTIONS,
                    f"--user-data-dir={here / 'profile'}",
                    f"--host-resolver-rules={rules}",
                    "about:blank",
                ],
                env={**os.environ, "HOME": str(here)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            found = until(
                lambda: re.search(r"ws://127\S+", (here / "output").read_text(errors="replace")),
                "the browser listens",
                30,
            )
            self.socket = self._resources.enter_context(connect(found[0], max_size=None))
        except BaseException:
            self._end()
            raise

    def close(self) -> None:
        """End it."""
        self._resources.close()
        self._end()

    def _end(self) -> None:
        self._process.terminate()
        self._process.wait(30)
        self._directory.cleanup()


class Tab:
    """A page in a browser.

    Args:
        browser: it opens it.
        script: whether the page's own scripts run.

    Attributes:
        requests: the URLs that it has asked for.
    """

    _numbers = itertools.count(1)

    def __init__(self, browser: Browser, *, script: bool = True) -> None:
        self._socket = browser.socket
        self._session = ""
        self.requests: list[str] = []
        self._urls: dict[str, str] = {}
        self._answers: list[tuple[str, int]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Network.enable")
        self.call("Page.enable")
        self.call("Emulation.setScriptExecutionDisabled", value=not script)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command of the protocol."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            heard = json.loads(self._socket.recv(30))
            if heard.get("method") == "Network.requestWillBeSent":
                if heard["sessionId"] == self._session:
                    url = heard["params"]["request"]["url"]
                    self.requests.append(url)
                    self._urls[heard["params"]["requestId"]] = url
            elif heard.get("method") == "Network.responseReceivedExtraInfo":
                facts = heard["params"]  # also of what the page may not see
                self._answers.append((facts["requestId"], facts["statusCode"]))
            elif heard.get("id") == number:
                if "error" in heard:
                    raise AssertionError(f"{method}: {heard['error']}")
                return heard["result"]

    def open(self, url: str) -> None:
        """Go to a page, and wait until there is something of it."""
        self.call("Page.navigate", url=url)
        until(lambda: "<body" in self.html, f"{url} is shown")

    @property
    def html(self) -> str:
        """What the page consists of now; nothing while another one takes its place."""
        root = self.call("DOM.getDocument", depth=0)["root"]
        try:
            html: str = self.call("DOM.getOuterHTML", nodeId=root["nodeId"])["outerHTML"]
        except AssertionError:
            return ""
        return html

    def statuses(self, url: str) -> list[int]:
        """The statuses of what was answered at a URL."""
        self.call("Page.getFrameTree")  # with whose answer comes what happened before
        return [status for number, status in self._answers if self._urls.get(number) == url]

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript in the page, when it is there."""
        done = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        return done["result"].get("value")

    def set_offline(self, offline: bool) -> None:
        """Let it reach nobody, or everybody again."""
        self.call(
            "Network.emulateNetworkConditions",
            offline=offline,
            latency=0,
            downloadThroughput=-1,
            uploadThroughput=-1,
        )

    def picture(self, path: Path, *, width: int, height: int, scheme: str = "light") -> None:
        """Leave a picture of the page, as a PNG."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        self.call(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        data = self.call("Page.captureScreenshot")["data"]
        path.write_bytes(base64.b64decode(data))
