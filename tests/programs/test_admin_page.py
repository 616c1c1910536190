"""The page of the admin endpoints, in a browser."""

from __future__ import annotations

import signal
from collections.abc import Callable

from ..case import SynchronousTestCase
from ..integration.gracefulctl import LOADS_AT_A_GATE
from ..integration.harness import Server, served
from ..integration.waiting import until
from .browser import Browser, Tab

EVIL = "evil.example"
"""A name whose owner lets it lead here."""

ADMIN = ("--admin", "127.0.0.1:0")


class PageTests(SynchronousTestCase):
    """What the tests share: a browser of their own, for `served` ends all children of the test."""

    def setUp(self) -> None:
        """Start it."""
        self.browser = Browser(EVIL)
        self.addCleanup(self.browser.close)

    def tab(self, url: str, *, script: bool = True) -> Tab:
        """A page that is open."""
        tab = Tab(self.browser, script=script)
        tab.open(url)
        return tab

    def look(self, server: Server, *, script: bool = True) -> Tab:
        """The page of a server."""
        return self.tab(f"http://127.0.0.1:{server.ports[0]}/", script=script)

    def shows(self, tab: Tab, *parts: str) -> None:
        """Wait until all of these are on a page."""

        html = ""

        def found() -> bool:
            nonlocal html
            html = tab.html
            return all(each in html for each in parts)

        try:
            until(found, "the page shows it")
        except AssertionError:
            missing = [each for each in parts if each not in html]
            self.fail(f"the page does not show {missing}:\n{html}")

    def hold(self, server: Server, query: str = "") -> Callable[[], None]:
        """Let the application be at work on a request, until what is returned is called."""
        client = server.connect(server.ports[1])
        client.get(f"/gate/held{query}")
        server.wait_for("held.begun")

        def end() -> None:
            server.open("held")
            client.answer()

        return end


class ShownTests(PageTests):
    """What an operator sees."""

    def test_live(self) -> None:
        """It goes on by itself: requests come and go, with paths as text, and are counted."""
        with served(*ADMIN) as server:
            tab = self.look(server)
            self.shows(tab, "generation 0", "● serving", "None at the moment")
            end = self.hold(server)
            evil = server.connect(server.ports[1])
            evil.send("GET /<img/src=x/onerror=document.title=1> HTTP/1.1\r\n")
            self.shows(tab, "/gate/held", "&lt;img", "being answered", "<polyline")
            self.assertNotIn("<img", tab.html)
            end()
            self.shows(tab, "<dt>requests GET 2xx</dt><dd>1</dd>")
            self.assertNotIn("/gate/held", tab.html)
            # The page itself was loaded once.
            self.assertEqual(sum(each.endswith("/page.js") for each in tab.requests), 1)

    def test_an_upgrade(self) -> None:
        """A drain shows its progress, and the upgrade leaves a mark; so too without the script."""
        with served(*ADMIN) as server:
            tab = self.look(server)
            idle = server.connect(server.ports[1])
            idle.get("/")
            idle.answer()
            end = self.hold(server)
            # The successor goes on with what its predecessor has seen.
            self.shows(tab, "<polyline")
            old = server.pid
            server.kill(signal.SIGUSR2)
            server.hand_over()
            for script in (True, False):
                self.shows(
                    tab if script else self.look(server, script=False),
                    'class="lane draining"',
                    "1 connection moved, 1 left",
                    '<progress max="2" value="1"',
                    'class="mark done"',
                    "▲ 1</text>",
                    "/gate/held",
                    f"<dd>{old}</dd>",
                )
            end()
            server.ended(old)
            tab.call("Page.bringToFront")  # who is not looked at asks for nothing
            self.shows(tab, "✓ done")
            self.assertNotIn("lane draining", tab.html)

    def test_a_bad_deploy(self) -> None:
        """An upgrade that fails has a mark of its own kind; why, and what the new code wrote."""
        with served(*ADMIN) as server:
            tab = self.look(server)
            server.write("app.py", "raise ValueError('<b>a bad deploy</b>')")
            server.kill(signal.SIGUSR2)
            self.shows(tab, 'class="mark failed"', "✕</text>", "✕ failed", "&lt;b&gt;a bad deploy")

    def test_workers(self) -> None:
        """A master shows each worker in its lane, and how their replacement goes."""
        with served(*ADMIN, "--workers", "2") as server:
            server.said(r"Worker 2 of generation 0 serves")
            for script in (True, False):
                self.shows(self.look(server, script=script), "2 of 2 workers serve", "<td>2</td>")
            tab = self.look(server)
            server.deploy("2", LOADS_AT_A_GATE)
            server.kill(signal.SIGHUP)
            self.shows(tab, "replacing the workers: 0 of 2", "starting")
            server.open("load")

    def test_without_script(self) -> None:
        """It comes again by itself, and is of this moment each time."""
        with served(*ADMIN) as server:
            tab = self.look(server, script=False)
            end = self.hold(server)
            self.shows(tab, "/gate/held", "being answered")
            end()
            self.assertFalse(any("status" in each for each in tab.requests))

    def test_nobody_answers(self) -> None:
        """When the server is away the page says so, and since when; it goes on when it is back."""
        with served(*ADMIN) as server:
            tab = self.look(server)
            self.shows(tab, 'id="away" role="status" hidden')
            tab.set_offline(True)
            self.shows(tab, "The server does not answer", "✕ no answer", 'class="stale"')
            tab.set_offline(False)
            self.shows(tab, "● ready", 'id="away" role="status" hidden')


class OriginTests(PageTests):
    """What pages of others can do: nothing."""

    def answered(self, tab: Tab, url: str) -> list[int]:
        """Wait for an answer at a URL; the statuses of those that there were."""
        return until(lambda: tab.statuses(url), f"{url} is answered")

    def test_nothing_leaves(self) -> None:
        """The page asks nobody else, and its policy lets nothing in it do so."""
        with served(*ADMIN) as server:
            tab = self.look(server)
            ours = f"http://127.0.0.1:{server.ports[0]}/"
            until(lambda: tab.statuses(ours).count(200) > 1, "it has been fetched anew")
            self.assertEqual([each for each in tab.requests if not each.startswith(ours)], [])
            other = f"http://{EVIL}:{server.ports[1]}/"
            ask = f"fetch('{other}', {{mode: 'no-cors'}}).then(() => 'left', () => 'blocked')"
            self.assertEqual(tab.evaluate(ask), "blocked")

    def test_pages_of_other_origins(self) -> None:
        """What a page of another origin fetches, embeds or sends as a form gets 403."""
        with served(*ADMIN) as server:
            admin, app = server.ports
            for host in ("127.0.0.1", EVIL):
                with self.subTest(host=host):
                    tab = self.tab(f"http://{host}:{app}/")
                    url = f"http://127.0.0.1:{admin}"
                    tab.evaluate(f"fetch('{url}/status', {{mode: 'no-cors'}}).catch(() => 0)")
                    self.assertEqual(self.answered(tab, f"{url}/status"), [403])
                    tab.evaluate(
                        "document.body.innerHTML = '<form method=post target=_self "
                        f"action={url}/stop></form>'; document.forms[0].submit()"
                    )
                    self.assertEqual(self.answered(tab, f"{url}/stop"), [403])

    def test_a_rebound_name(self) -> None:
        """A name of somebody else that leads here gets 403, from within its own origin too."""
        with served(*ADMIN) as server:
            url = f"http://{EVIL}:{server.ports[0]}/status"
            tab = self.tab(url)
            self.shows(tab, "--admin-host")
            tab.evaluate(f"fetch('{url}').then(() => 1, () => 0)")
            self.assertEqual(tab.statuses(url), [403, 403])
