"""``gracefulctl``, against an admin address that says what the test wants."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pkgutil
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any
from unittest import SkipTest

import twisted_graceful.ctl
from twisted_graceful.ctl import events, status
from twisted_graceful.ctl.admin_client import AdminClient
from twisted_graceful.ctl.check_command import takes_check
from twisted_graceful.ctl.main import main
from twisted_graceful.ctl.outcome import MEANING, Exit
from twisted_graceful.ctl.rich_display import RichDisplay
from twisted_graceful.event_names import EventName

from ..case import SynchronousTestCase
from .fake_admin import HOLD, FakeAdmin
from .support import run_python, temporary_directory

STARTED = {"event": "started", "generation": 1, "pid": 11}
READY = {"event": "ready", "generation": 1, "pid": 11}
DONE = {"event": "done", "generation": 1, "pid": 11}
DRAINING = {"event": "draining", "handed_over": 7, "connections": 4, "in_flight": 3}
FAILED = {
    "event": "failed",
    "generation": 1,
    "reason": "it exited with status 1",
    "output": "ImportError: no module 'nowhere'",
}


def rolled(replaced: int, event: str = "replacing", number: int = 1) -> dict[str, Any]:
    """A step of the replacement of two workers."""
    return {"event": event, "rolling_restart": number, "replaced": replaced, "wanted": 2}


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


class CtlTestCase(SynchronousTestCase):
    """With an admin address."""

    def setUp(self) -> None:
        """Begin to answer."""
        self.directory = Path(temporary_directory(self))
        self.socket = self.directory / "admin.sock"
        self.admin = FakeAdmin(self.socket)
        self.admin.__enter__()
        self.addCleanup(self.admin.__exit__)

    def run_ctl(
        self, *arguments: str, environ: Mapping[str, str] | None = None
    ) -> tuple[int, str, str]:
        """The exit status, and what was written to either stream."""
        if environ is None:
            environ = {"GRACEFUL_ADMIN": f"unix:{self.socket}"}
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = main(arguments, environ)
            except SystemExit as error:
                status = int(error.code or 0)
        return status, out.getvalue(), err.getvalue()

    def upgrade(self, *lines: Any, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """What becomes of an upgrade of which the server says this."""
        self.admin.answers["POST", "/upgrade"] = (200, lines)
        return self.run_ctl("upgrade", *options)


class UpgradeTests(CtlTestCase):
    """``gracefulctl upgrade``."""

    def test_serves(self) -> None:
        """It is done when the new code serves, and does not wait for what comes then."""
        code, out, err = self.upgrade(STARTED, READY, HOLD, FAILED)
        self.assertEqual((code, err), (Exit.DONE, ""))
        self.assertRegex(
            out,
            r"\A +0\.\d s  generation 1 starts \(pid 11\)\n"
            r" +0\.\d s  the new code serves \(pid 11\)\n\Z",
        )

    def test_wait_probation(self) -> None:
        """With --wait-probation it is done at the end of the upgrade."""
        code, out, err = self.upgrade(STARTED, READY, DONE, options=("--wait-probation",))
        self.assertEqual((code, err), (Exit.DONE, ""))
        self.assertIn("the new code serves alone (pid 11)\n", out)

    def test_not_before(self) -> None:
        """It is not over as long as the new code does not serve; what it says comes at once."""
        lines = (STARTED, HOLD, FAILED)
        self.admin.answers["POST", "/upgrade"] = (200, lines)
        ended: list[tuple[int, str, str]] = []
        thread = threading.Thread(target=lambda: ended.append(self.run_ctl("upgrade")))
        thread.start()
        self.assertTrue(self.admin.held.wait(15))
        self.assertEqual(ended, [])
        self.admin.go_on.set()
        thread.join(15)
        self.assertEqual([code for code, _, _ in ended], [Exit.FAILED])

    def test_fails(self) -> None:
        """The reason and the successor's own output are shown, and the status is 1."""
        code, out, err = self.upgrade(STARTED, FAILED)
        self.assertEqual((code, err), (Exit.FAILED, ""))
        self.assertIn("the upgrade failed: it exited with status 1\n", out)
        self.assertIn("\nImportError: no module 'nowhere'\n", out)

    def test_rolled_back(self) -> None:
        """A death in the probation is a failure to who waits for its end."""
        code, _, _ = self.upgrade(STARTED, READY, FAILED, options=("--wait-probation",))
        self.assertEqual(code, Exit.FAILED)

    def test_predecessor_ends(self) -> None:
        """If the answer ends, who serves decides."""
        for pid, expected in ((11, Exit.DONE), (10, Exit.UNKNOWN)):
            with self.subTest(pid=pid, expected=expected):
                generations = [{"pid": pid}, {"pid": 99}]
                self.admin.answers["GET", "/status"] = (200, [{"generations": generations}])
                code, _, _ = self.upgrade(STARTED, READY, options=("--wait-probation",))
                self.assertEqual(code, expected)
        code, _, err = self.upgrade(STARTED)
        self.assertEqual(code, Exit.UNKNOWN)
        self.assertIn("process 10 serves", err)

    def test_after_another(self) -> None:
        """What is told of an upgrade that had begun before is no success of this one."""
        queued = {"event": "queued", "generation": 1}
        ready, done = {**READY, "pid": 7}, {**DONE, "pid": 7, "another_follows": True}

        def answer() -> Iterator[dict[str, Any]]:
            yield from (queued, ready, done)
            self.admin.answers["POST", "/upgrade"] = (200, [STARTED, FAILED])

        self.admin.answers["POST", "/upgrade"] = (200, answer())
        code, out, _ = self.run_ctl("upgrade")
        self.assertEqual(code, Exit.FAILED)
        self.assertIn("of the upgrade before this one: ready\n", out)
        # A failure before ours is none of ours either, and the same process goes on with it.
        failed = {**FAILED, "another_follows": True}
        code, out, _ = self.upgrade(queued, failed, STARTED, READY)
        self.assertEqual(code, Exit.DONE)

    def test_breaks_off(self) -> None:
        """A connection that breaks is no success, wherever it breaks."""
        self.admin.answers["GET", "/status"] = (200, [{"pid": 10}])
        code, _, err = self.upgrade(STARTED, None)
        self.assertEqual(code, Exit.UNKNOWN)
        self.assertIn("process 10 serves", err)
        self.admin.answers["GET", "/status"] = (200, [None])
        code, _, err = self.upgrade(STARTED, None)
        self.assertEqual(code, Exit.UNKNOWN)
        self.assertIn("broke off", err)

    def test_silent(self) -> None:
        """A server that says nothing is not waited for without end."""
        code, _, err = self.upgrade(STARTED, HOLD, options=("--timeout", "0.2"))
        self.assertEqual(code, Exit.UNKNOWN)
        self.assertIn("within 0.2 s (--timeout)", err)

    def test_json(self) -> None:
        """For programs each event is a line, as the server sent it."""
        code, out, _ = self.upgrade(STARTED, FAILED, options=("--json",))
        self.assertEqual(code, Exit.FAILED)
        self.assertEqual([json.loads(line) for line in out.splitlines()], [STARTED, FAILED])

    def test_other_versions(self) -> None:
        """What a newer server tells is shown as it comes, and less than is known does no harm."""
        code, out, _ = self.upgrade(
            {"event": "polishing", "of": "brass"}, {"event": "started"}, {"event": "ready"}
        )
        self.assertEqual(code, Exit.DONE)
        self.assertIn("polishing, of brass\n", out)
        self.assertIn("ready\n", out)
        for garbage in ("what?", "[1]", '"text"'):
            with self.subTest(garbage=garbage):
                self.assertEqual(self.upgrade(garbage)[0], Exit.NOT_SUPPORTED)


class ReloadTests(CtlTestCase):
    """``gracefulctl reload``."""

    def reload(self, *lines: Any, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        """What becomes of a reload of which the server says this."""
        self.admin.answers["POST", "/reload"] = (200, lines)
        return self.run_ctl("reload", *options)

    def test_without_workers(self) -> None:
        """It is the upgrade that the server makes of it."""
        self.assertEqual(self.reload(STARTED, READY, HOLD, FAILED)[0], Exit.DONE)
        self.assertEqual(self.reload(STARTED, FAILED)[0], Exit.FAILED)

    def test_all_replaced(self) -> None:
        """It is done when all workers have the new code."""
        code, out, err = self.reload(rolled(0), rolled(1), rolled(2), rolled(2, "done"))
        self.assertEqual((code, err), (Exit.DONE, ""))
        self.assertEqual(out.count("of 2 workers have the new code\n"), 3)
        self.assertIn("all 2 workers have the new code\n", out)

    def test_fails(self) -> None:
        """The reason, how many were replaced and what the worker wrote are shown."""
        failed = {**rolled(0, "failed"), "reason": "worker 1: it fell", "output": "Traceback"}
        code, out, _ = self.reload(rolled(0), failed)
        self.assertEqual(code, Exit.FAILED)
        self.assertIn("not replaced: worker 1: it fell; 0 of 2 have the new code\nTraceback\n", out)

    def test_not_all_at_once(self) -> None:
        """Before all have the new code it is not over; an end without a word is no success."""
        self.admin.answers["GET", "/status"] = (200, [{"pid": 10}])
        code, _, err = self.reload(rolled(0), rolled(1))
        self.assertEqual(code, Exit.UNKNOWN)
        self.assertIn("process 10 serves", err)

    def test_after_another(self) -> None:
        """What is told of a reload that had begun before is no success of this one."""
        queued, done = rolled(0, "queued", number=2), rolled(2, "done")
        failed = {**rolled(0, "failed", number=2), "reason": "it fell"}
        before = [queued, rolled(2), {**done, "another_follows": True}]
        code, out, _ = self.reload(*before, rolled(0, number=2), failed)
        self.assertEqual(code, Exit.FAILED)
        self.assertIn("of the reload before this one: done\n", out)
        code, _, _ = self.reload(*before, rolled(0, number=2), rolled(2, "done", number=2))
        self.assertEqual(code, Exit.DONE)

    def test_overtaken_by_an_upgrade(self) -> None:
        """If a new master serves, so does the new code; that one is not ready means nothing."""
        self.assertEqual(self.reload(rolled(0), STARTED, FAILED, rolled(2, "done"))[0], Exit.DONE)
        self.assertEqual(self.reload(rolled(0), STARTED, READY, HOLD)[0], Exit.DONE)

    def test_upgrades_are_none(self) -> None:
        """What is told of rolls is nothing to who asks for an upgrade."""
        self.assertEqual(self.upgrade(STARTED, rolled(2, "done"), FAILED)[0], Exit.FAILED)


class RefusalTests(CtlTestCase):
    """Servers that do not do it."""

    def test_refused(self) -> None:
        """The reason is the server's, and the status says of what kind it is."""
        for answer, expected in (
            (403, Exit.NOT_ALLOWED),
            (404, Exit.NOT_SUPPORTED),
            (405, Exit.NOT_SUPPORTED),
            (409, Exit.FAILED),
            (500, Exit.FAILED),
        ):
            with self.subTest(answer=answer, expected=expected):
                self.admin.answers["POST", "/upgrade"] = (answer, [{"error": "because of that"}])
                code, out, err = self.run_ctl("upgrade")
                self.assertEqual((code, out), (expected, ""))
                self.assertIn("POST /upgrade: because of that", err)

    def test_no_server_of_ours(self) -> None:
        """What answers otherwise is shown as it is."""
        code, _, err = self.run_ctl("upgrade")
        self.assertEqual(code, Exit.NOT_SUPPORTED)
        self.assertIn("404 Not Found: no page; it may be an older version", err)

    def test_nobody_there(self) -> None:
        """No socket, or one that nobody listens on, is no server."""
        left = self.directory / "left.sock"
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(str(left))
        for path in (left, self.directory / "nowhere.sock"):
            with self.subTest(path=path):
                code, out, err = self.run_ctl("status", "--admin", f"unix:{path}")
                self.assertEqual((code, out), (Exit.NOT_RUNNING, ""))
                self.assertIn(f"no server is at unix:{path}: ", err)

    def test_tcp(self) -> None:
        """A port that nobody listens on is no server either."""
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            port = bound.getsockname()[1]
        code, _, err = self.run_ctl("status", "--admin", f"127.0.0.1:{port}")
        self.assertEqual(code, Exit.NOT_RUNNING)
        self.assertIn("Connection refused", err)

    def test_that_could_not_be_started(self) -> None:
        """An upgrade for which no process could be started has failed, and not an earlier one."""
        self.admin.answers["POST", "/upgrade"] = (200, [FAILED])
        code, out, _ = self.run_ctl("upgrade")
        self.assertEqual(code, Exit.FAILED)
        self.assertIn("the upgrade failed: it exited with status 1\n", out)


class StopTests(CtlTestCase):
    """``gracefulctl stop``."""

    def test_stops(self) -> None:
        """It waits until the server has stopped, and a cut is a failure."""
        for last, expected in (
            ({"event": "stopped", "report": "", "cut": 0}, Exit.DONE),
            ({"event": "stopped", "report": "", "cut": 2}, Exit.FAILED),
        ):
            with self.subTest(last=last, expected=expected):
                self.admin.answers["POST", "/stop"] = (200, [{"event": "draining"}, last])
                self.assertEqual(self.run_ctl("stop")[0], expected)

    def test_not_clean(self) -> None:
        """A stop fails if a process has not reported on its drain."""
        last = {"event": "stopped", "report": "0 cut", "cut": 0, "clean": False}
        self.admin.answers["POST", "/stop"] = (200, [last])
        code, out, _ = self.run_ctl("stop")
        self.assertEqual(code, Exit.FAILED)
        self.assertIn("did not report whether they cut a request", out)
        last = {"event": "stopped", "report": "1 cut", "cut": 1, "clean": False}
        self.admin.answers["POST", "/stop"] = (200, [last])  # as of a worker that has cut it
        code, out, _ = self.run_ctl("stop")
        self.assertEqual((code, "did not report" in out), (Exit.FAILED, False))

    def test_gone(self) -> None:
        """An answer that does not tell the end is followed by a wait for that."""
        self.admin.answers["POST", "/stop"] = (200, [{"event": "draining"}])
        code, _, err = self.run_ctl("stop", "--timeout", "0.2")
        self.assertEqual(code, Exit.UNKNOWN, err)

        def end() -> Iterator[dict[str, str]]:
            yield {"event": "draining"}
            self.admin.shutdown()
            self.admin.server_close()

        self.admin.answers["POST", "/stop"] = (200, end())
        code, out, err = self.run_ctl("stop")
        self.assertEqual((code, err), (Exit.DONE, ""))
        self.assertTrue(out.endswith("stopped: nobody listens there any more\n"), out)


class OtherCommandsTests(CtlTestCase):
    """The other commands."""

    STATUS = {
        "version": "1.0",
        "pid": 11,
        "upgrade": None,
        "drain": {"answered": 3},
        "workers": [{"pid": 12, "state": "serving"}, {"pid": 13, "age": 1.5}],
    }

    def test_status(self) -> None:
        """Whatever the server tells is shown, for people or for programs."""
        self.admin.answers["GET", "/status"] = (200, [self.STATUS])
        code, out, _ = self.run_ctl("status")
        self.assertEqual(code, Exit.DONE)
        self.assertEqual(
            out.splitlines(),
            [
                "version  1.0",
                "pid      11",
                "upgrade  -",
                "drain",
                "    answered  3",
                "workers",
                "    pid  state    age (s)",
                "    12   serving  -",
                "    13   -        1.5",
            ],
        )
        self.assertEqual(json.loads(self.run_ctl("status", "--json")[1]), self.STATUS)

    def test_no_answer(self) -> None:
        """A command that changes nothing has an exit status of its own if it times out."""
        self.admin.answers["GET", "/status"] = (200, [HOLD])
        for name in ("status", "check"):
            with self.subTest(name=name):
                code, _, err = self.run_ctl(name, "--timeout", "0.2")
                self.assertEqual(code, Exit.NO_ANSWER)
                self.assertIn("did not respond within 0.2 s", err)
                self.assertNotIn("begun", err)

    def test_numbers_of_one_name(self) -> None:
        """They are one line, without those that are 0."""
        counters = {"sent": 5, "requests,GET,2xx": 3, "requests,other,5xx": 1, "limits,max_rss": 0}
        self.assertEqual(
            list(status.lines({"counters": {**counters, "bucket,0.5": 4, "bucket,inf": 0}})),
            [
                "counters",
                "    response bodies (bytes)          5",
                "    requests                         GET 2xx 3, other 5xx 1",
                "    limits hit                       -",
                "    requests by duration (s, up to)  0.5 4",
            ],
        )

    def test_the_workers_of_a_generation(self) -> None:
        """What there are several of in a row is a table of its own, below."""
        workers = [{"number": 1, "state": "serving"}, {"number": 2, "state": "starting"}]
        generations = [{"generation": 1, "workers": workers, "requests": []}, {"generation": 0}]
        self.assertEqual(
            list(status.lines({"generations": generations})),
            [
                "generations",
                "    generation  requests",
                "    1           -",
                "    0           -",
                "    workers of generation 1",
                "        number  state",
                "        1       serving",
                "        2       starting",
            ],
        )

    def test_a_rolling_restart(self) -> None:
        """Labels read as words, whatever the field in the JSON is called."""
        roll = {"replaced": 1, "wanted": 2, "is_over": False, "failure": ""}
        generation = {"warm_up": None, "workers_wanted": 2, "in_flight": 0, "rolling_restart": roll}
        self.assertEqual(
            list(status.lines(generation)),
            [
                "warm-up request     -",
                "target workers      2",
                "requests in flight  0",
                "rolling restart",
                "    replaced  1",
                "    total     2",
                "    finished  no",
                "    failure   -",
            ],
        )
        self.assertEqual(status.text(roll), "replaced 1, total 2, finished no, failure -")

    def test_terminal_is_safe(self) -> None:
        """What clients chose, as the path of a request, cannot steer a terminal."""
        self.assertEqual(list(status.lines({"path": "/\x1b[2J\n"})), ["path  /?[2J?"])
        for text in (
            events.sentence({"event": "failed", "reason": "\x1b[2J"}),
            events.sentence({"event": "other", "what": "\x1b[2J"}),
            events.output_of({"output": "a\n\x1b[2J"}),
        ):
            with self.subTest(text=text):
                self.assertNotIn("\x1b", text)

    def test_workers(self) -> None:
        """The number is sent, and the answer shown."""
        self.admin.answers["POST", "/workers"] = (200, [{"event": "resized", "to": 4}])
        code, out, _ = self.run_ctl("workers", "4")
        self.assertEqual(code, Exit.DONE)
        self.assertIn("resized, to 4\n", out)
        [(_, _, body)] = self.admin.asked
        self.assertEqual(json.loads(body), {"workers": 4})
        self.admin.answers["POST", "/workers"] = (200, [FAILED])
        self.assertEqual(self.run_ctl("workers", "4")[0], Exit.FAILED)

    def test_interrupted(self) -> None:
        """Ctrl-C ends the wait; what may have been changed is not said to be as it was."""
        for name, said in (
            ("upgrade", "the upgrade goes on"),
            ("stop", "the stop goes on"),
            ("workers", "the server may have another number of workers already"),
            ("status", "nothing was changed"),
        ):
            with self.subTest(name=name, said=said):
                self.patch(AdminClient, name, _interrupted)
                code, _, err = self.run_ctl(name, *["4"][: name == "workers"])
                self.assertEqual(code, Exit.INTERRUPTED)
                self.assertIn(f"interrupted; {said}", err)

    def test_log(self) -> None:
        """The last upgrade is told again, with what the successor wrote."""
        self.admin.answers["GET", "/upgrade"] = (200, [{**STARTED, "time": "12:00"}, FAILED])
        code, out, _ = self.run_ctl("log")
        self.assertEqual(code, Exit.DONE)
        self.assertEqual(
            out,
            "12:00  generation 1 starts (pid 11)\nthe upgrade failed: it exited with status 1\n"
            "ImportError: no module 'nowhere'\n",
        )
        self.admin.answers["GET", "/upgrade"] = (200, [])
        self.assertEqual(self.run_ctl("log")[:2], (Exit.DONE, "no upgrade has been made\n"))


class FindTests(CtlTestCase):
    """Which server is meant."""

    def setUp(self) -> None:
        """Answer to who asks for the status."""
        super().setUp()
        self.admin.answers["GET", "/status"] = (200, [{"pid": 11}])
        self.config = self.directory / "graceful.toml"
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(self.directory)

    def finds(self, *arguments: str, **environ: str) -> None:
        """The server is found."""
        code, out, err = self.run_ctl("status", *arguments, environ=environ)
        self.assertEqual((code, out), (Exit.DONE, "pid  11\n"), err)

    def test_everywhere(self) -> None:
        """It may be in an option before or after the command, a variable, or the file."""
        here, nowhere = f"unix:{self.socket}", "unix:/nowhere"
        self.finds("--admin", here, GRACEFUL_ADMIN=nowhere, GRACEFUL_CONFIG="nowhere.toml")
        self.finds(GRACEFUL_ADMIN=f"127.0.0.1:1, {here}")
        code, out, _ = self.run_ctl("--admin", here, "status", environ={})
        self.assertEqual((code, out), (Exit.DONE, "pid  11\n"))
        for text in (
            f'[graceful]\nport = 1\nadmin = "{here}"\n',
            f'[tool.graceful]\nadmin = ["127.0.0.1:1", "{here}"]\n',
        ):
            with self.subTest(text=text):
                self.config.write_text(text)
                self.finds(GRACEFUL_CONFIG=str(self.config))
                self.finds("--config", str(self.config), GRACEFUL_ADMIN=nowhere)

    def test_nowhere(self) -> None:
        """If nothing says which, or what says it is wrong, it is an error of usage."""
        self.config.write_text("[graceful]\nport = 1\n")
        (self.directory / "broken.toml").write_text("[graceful")
        for arguments, text in (
            ((), "which server? Give --admin ADDRESS or --pid-file PATH"),
            (("--config", "graceful.toml"), "graceful.toml has no `admin`"),
            (("--config", "broken.toml"), "broken.toml: this is not TOML"),
            (("--config", "nowhere.toml"), "'nowhere.toml' cannot be read"),
            (("--admin", "nonsense"), "--admin: 'nonsense' is not a listen address"),
            (("--admin", "1", "--pid-file", "2"), "give one of them"),
        ):
            with self.subTest(arguments=arguments, text=text):
                code, _, err = self.run_ctl("status", *arguments, environ={})
                self.assertEqual(code, Exit.USAGE)
                self.assertIn(text, err)

    def test_default_pid_file(self) -> None:
        """twistd's own pid file is found in the working directory."""
        (self.directory / "twistd.pid").write_text(f"{2**22 + 1}")
        code, _, err = self.run_ctl("status", environ={})
        self.assertEqual(code, Exit.NOT_RUNNING)
        self.assertIn("'twistd.pid' is stale", err)


class TerminalTests(SynchronousTestCase):
    """What a terminal shows."""

    def test_steps(self) -> None:
        """Each step has a line, one that is told of again too, and the output is whole."""
        out = io.StringIO()
        with RichDisplay(out) as terminal:
            terminal.show(STARTED)
            for left in (3, 2, 1):
                terminal.show(DRAINING | {"in_flight": left})
            terminal.show(FAILED)
        text = out.getvalue()
        self.assertEqual(text.count("generation 1 starts"), 1)
        self.assertEqual(text.count("7 connections moved, 4 left, 1 requests left"), 1)
        self.assertNotIn("2 requests left", text)
        self.assertIn("ImportError: no module 'nowhere'", text)

    def test_workers(self) -> None:
        """Of their replacement there is one line, which counts."""
        out = io.StringIO()
        with RichDisplay(out) as terminal:
            for replaced in (0, 1, 2):
                terminal.show(rolled(replaced))
            terminal.show(rolled(2, "done"))
        text = out.getvalue()
        self.assertIn("2 of 2 workers have the new code", text)
        self.assertNotIn("1 of 2", text)


class PtyTests(CtlTestCase):
    """The program on a terminal of its own."""

    def screen(self, columns: int = 40, **environ: str) -> bytes:
        """All that it writes to a terminal while an upgrade fails."""
        events = [STARTED, HOLD, DRAINING, {**FAILED, "output": "x" * 60}]
        self.admin.answers["POST", "/upgrade"] = (200, events)
        leader, terminal = pty.openpty()
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        with subprocess.Popen(
            [sys.executable, "-m", "twisted_graceful.ctl.main", "upgrade"],
            env={
                **{key: it for key, it in os.environ.items() if key not in ("COLUMNS", "NO_COLOR")},
                "GRACEFUL_ADMIN": f"unix:{self.socket}",
                **environ,
            },
            stdout=terminal,
        ) as running:
            os.close(terminal)
            written = b""
            try:
                while data := os.read(leader, 65536):
                    written += data
                    if b"generation 1" in written:
                        self.admin.go_on.set()
            except OSError:  # nobody has it open any more
                pass
            os.close(leader)
            self.assertEqual(running.wait(15), Exit.FAILED)
        return written

    def test_narrow(self) -> None:
        """It is redrawn in place, what it writes fits, and the cursor is there in the end."""
        written = self.screen(TERM="xterm")
        self.assertIn(b"\x1b[2K", written)
        self.assertGreater(written.rfind(b"\x1b[?25h"), written.rfind(b"\x1b[?25l"))
        self.assertIn(b"x" * 60, written)  # which the terminal wraps
        lines = re.split(rb"[\r\n]+", re.sub(rb"\x1b\[[0-9;?]*\w", b"", written))
        self.assertLessEqual(max(len(each.decode()) for each in lines if b"xx" not in each), 40)

    def test_no_color(self) -> None:
        """With NO_COLOR nothing has a colour."""
        self.assertIn(b"\x1b[31m", self.screen(TERM="xterm"))
        self.assertNotIn(b"\x1b[31m", self.screen(TERM="xterm", NO_COLOR="1"))

    def test_dumb(self) -> None:
        """A terminal that cannot move its cursor gets lines, each as it comes."""
        written = self.screen(TERM="dumb")
        self.assertNotIn(b"\x1b", written)
        self.assertIn(b" s  generation 1 starts (pid 11)\r\n", written)


class CommandTests(SynchronousTestCase):
    """The program as such."""

    def test_every_event_has_a_sentence(self) -> None:
        """All events that a server may send are put into words."""
        self.assertEqual(set(events._SENTENCES) | set(events._ROLLING_SENTENCES), set(EventName))

    def test_is_light(self) -> None:
        """Its modules, save that for terminals, import neither Twisted nor rich, late or early."""
        found = pkgutil.iter_modules(twisted_graceful.ctl.__path__, "twisted_graceful.ctl.")
        names = [each.name for each in found if not each.name.endswith("rich_display")]
        names += ["twisted_graceful.address", "twisted_graceful.config.toml_file"]  # imported late
        done = run_python(
            "-c",
            "import importlib, sys\n"
            "for name in sys.argv[1:]:\n"
            "    importlib.import_module(name)\n"
            "print({'twisted', 'zope', 'rich'} & set(sys.modules), len(sys.argv))",
            *names,
        )
        self.assertEqual((done.stderr, done.stdout), ("", f"set() {len(names) + 1}\n"))

    def test_help(self) -> None:
        """The help says what each exit status means, and what each command does."""
        done = run_python("-m", "twisted_graceful.ctl.main", "--help")
        self.assertEqual(done.returncode, 0)
        for exit, meaning in MEANING.items():
            with self.subTest(exit=exit, meaning=meaning):
                self.assertIn(f"{exit.value:3}  {meaning}", done.stdout)
        for command in ("status", "upgrade", "reload", "stop", "workers", "check", "log"):
            with self.subTest(command=command):
                self.assertRegex(done.stdout, rf"\n +{command} ")
        self.assertEqual(set(MEANING), set(Exit))

    def test_documented(self) -> None:
        """The page of the documentation has the same exit statuses, in the same words."""
        page = Path(__file__).parents[2] / "docs" / "gracefulctl.rst"
        if not page.exists():
            raise SkipTest("the documentation is not there")
        text = page.read_text().replace("``", "")
        for exit, meaning in MEANING.items():
            with self.subTest(exit=exit, meaning=meaning):
                words = re.escape(meaning[0].upper() + meaning[1:])
                self.assertRegex(text, rf"\n{exit.value} +{words}")

    def test_usage(self) -> None:
        """What is no command is refused with the status of a wrong usage."""
        for arguments in ((), ("restart",), ("workers", "many"), ("upgrade", "--timeout", "soon")):
            with self.subTest(arguments=arguments):
                done = run_python("-m", "twisted_graceful.ctl.main", *arguments)
                self.assertEqual(done.returncode, Exit.USAGE, done.stderr)

    def test_timeout(self) -> None:
        """What is no time to wait is refused, and so does not fail later."""
        for text in ("0", "-1", "nan", "inf"):
            with self.subTest(text=text):
                err = io.StringIO()
                with redirect_stderr(err), self.assertRaises(SystemExit) as caught:
                    main([f"--timeout={text}", "status"], {})
                self.assertEqual(caught.exception.code, Exit.USAGE)
                self.assertIn(f"{text} is no time to wait", err.getvalue())

    def test_commands_that_can_be_checked(self) -> None:
        """Only a command line of ours is run again with --check; any other would start a server."""
        for command, expected in (
            (["/v/bin/python", "/v/bin/twistd", "-n", "graceful", "--port", "80"], True),
            (["python3", "-m", "twisted", "graceful"], True),
            (["/v/bin/python", "/v/bin/twist", "graceful"], True),
            (["/v/bin/python", "/v/bin/twistd", "-ny", "app.tac"], False),
            (["/v/bin/python", "script.py", "graceful"], False),
            (["graceful: master"], False),
        ):
            with self.subTest(command=command, expected=expected):
                self.assertEqual(takes_check(command), expected)
