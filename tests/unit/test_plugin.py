"""``twistd graceful``: its options, and what makes of them a service."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import fields, replace
from io import BytesIO, StringIO
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from twisted.application.twist._options import TwistOptions
from twisted.python.logfile import BaseLogFile, LogFile
from twisted.scripts.twistd import ServerOptions

from twisted_graceful.address import Address
from twisted_graceful.cli.autoreload import AutoReload
from twisted_graceful.cli.plugin import Options, makeService
from twisted_graceful.config.option_types import FilePath, Flag, ListOf, NetworkList, Number, Text
from twisted_graceful.config.options import OPTIONS
from twisted_graceful.config.setting_fields import kind_of
from twisted_graceful.config.settings import Settings
from twisted_graceful.process.twistd import prepare_check, skip_completed_steps, warnings_to_stderr
from twisted_graceful.process.upgrade import handed_over
from twisted_graceful.process.upgrade.inheritance import VARIABLE
from twisted_graceful.services.service import GracefulService

from ..case import SynchronousTestCase
from ..certificates import ONE, ONE_KEY
from .secure import certificate_file
from .support import leaves_nothing_open, run_python_beside, temporary_directory


def options(*arguments: str) -> Options:
    """The options of a command line."""
    parsed = Options()
    parsed.parseOptions(arguments)
    return parsed


def twistd_options(*arguments: str) -> ServerOptions:
    """The options of twistd itself, as they are before its subcommand's are read."""
    parsed = ServerOptions()
    parsed.parseOptions(arguments)
    return parsed


class OptionsTests(SynchronousTestCase):
    """Command lines."""

    def refused(self, *arguments: str) -> str:
        """What is said of a command line that is wrong."""
        said = str(self.assertRaises(SystemExit, options, *arguments))
        self.assertTrue(said.startswith("twistd graceful: "))
        self.assertEqual(len(said.split("\n")), 2)
        return said

    def test_defaults(self) -> None:
        """Without options it is port 8080 on all interfaces, and every setting's default."""
        parsed = options()
        self.assertEqual((parsed["port"], parsed["app"]), ((Address("", 8080),), ()))
        for each in fields(Settings):
            with self.subTest(each=each):
                self.assertEqual(parsed[each.name.replace("_", "-")], each.default)

    def test_ports_and_apps_are_repeatable(self) -> None:
        """Ports and applications are kept in the order in which they were given."""
        parsed = options("--port", ":1", "--app", "a.a", "--port", "localhost:2", "--app", "b.b")
        self.assertEqual(parsed["port"], (Address("", 1), Address("localhost", 2)))
        self.assertEqual(parsed["app"], ("a.a", "b.b"))

    def test_a_word_that_is_no_option(self) -> None:
        """An application without its option is refused with the option that was meant."""
        self.assertIn("did you mean --app mod.resource?", self.refused("mod.resource"))

    def test_a_value_of_two_words(self) -> None:
        """Half a value is taken for no application."""
        self.assertIn("must be quoted", self.refused("--max-body-size", "3", "MiB"))

    def test_an_option_that_there_is_not(self) -> None:
        """An option that is unknown is refused with the one that is most like it, if any."""
        self.assertIn("--prot not recognized; did you mean --port?", self.refused("--prot", "1"))
        self.assertIn("--nothing not recognized\n", self.refused("--nothing"))

    def test_a_port_twice(self) -> None:
        """The same port twice is refused; port 0 twice is two free ports."""
        for second in (":8080", "https:8080"):
            with self.subTest(second=second):
                self.assertIn(
                    "given more than once", self.refused("--port", "8080", "--port", second)
                )
        self.assertEqual(len(options("--port", ":0", "--port", ":0")["port"]), 2)

    def test_where_the_admin_endpoints_must_not_be(self) -> None:
        """What no start accepts is refused by a check, and is not printed as a configuration."""
        for what in ((), ("--check",), ("--print-config",)):
            with self.subTest(what=what):
                self.assertIn("--admin-allow", self.refused("--admin", ":9000", *what))
                self.assertIn("plain HTTP", self.refused("--admin", "https:127.0.0.1:9000", *what))
        options("--admin", ":9000", "--admin-allow", "10.0.0.0/8")

    def test_two_parsers_do_not_share_what_they_read(self) -> None:
        """What one command line has repeated is not in the next one."""
        options("--port", "1", "--app", "a.a")
        self.assertEqual(options("--port", "2")["port"], (Address("", 2),))

    def test_one_app_for_all_ports(self) -> None:
        """One application goes with any number of ports, and so does none."""
        options("--port", "1", "--port", "2", "--app", "a.a")
        options("--port", "1", "--port", "2")

    def test_counts_that_do_not_match(self) -> None:
        """Any other count is refused, with both counts and what is accepted."""
        for ports, apps in ((1, 2), (3, 2), (2, 3)):
            with self.subTest(ports=ports, apps=apps):
                text = self.refused(*["--port", "0"] * ports, *["--app", "a.a"] * apps)
                for given in (f"--app was given {apps} times", f"--port {ports} times"):
                    self.assertIn(f"{given} (by the command line)", text)
                self.assertIn("one --app for all ports, or as many as there are ports", text)

    def test_what_is_spoken_on_a_port(self) -> None:
        """A port may be written with its scheme."""
        parsed = options("--port", "https:[::1]:8443", "--port", "http:8080")
        self.assertEqual(parsed["port"], (Address("::1", 8443, "https"), Address("", 8080, "http")))

    def test_a_wrong_port(self) -> None:
        """A wrong port is refused by the option's name, as given, with what is accepted."""
        text = self.refused("--port", "http")
        for part in ("--port", "'http'", "accepted are 8080"):
            with self.subTest(part=part):
                self.assertIn(part, text)

    def test_every_setting_is_an_option(self) -> None:
        """Each setting can be given, by its name with hyphens."""
        for each in fields(Settings):
            with self.subTest(each=each):
                name = each.name.replace("_", "-")
                kind = kind_of(each)
                if isinstance(kind, Flag):
                    self.assertTrue(options(f"--{name}")[name])
                    continue
                text = kind.choices[-1] if isinstance(kind, Text) and kind.choices else "7"
                text = "10.0.0.7" if isinstance(kind, NetworkList) else text
                text = "/7" if isinstance(kind, ListOf) else text
                self.assertEqual(options(f"--{name}", text)[name], kind.parse(text))

    def test_what_holds_several(self) -> None:
        """An option that holds several values is repeatable, and keeps their order."""
        self.assertEqual(options()["warm-up"], ())
        given = options("--warm-up", "/b", "--warm-up", "/a")
        self.assertEqual(given["warm-up"], ("/b", "/a"))
        self.assertEqual(options("--warm-up", "/d")["warm-up"], ("/d",))
        self.assertIn("--warm-up: 'health' is not", self.refused("--warm-up", "health"))

    def test_a_wrong_value(self) -> None:
        """A wrong value is refused by the option's name, as given, with unit and range."""
        numbers = (each for each in fields(Settings) if isinstance(kind_of(each), Number))
        for each in numbers:
            name = each.name.replace("_", "-")
            for value in ("soon", "-1"):
                with self.subTest(each=each, value=value):
                    text = self.refused(f"--{name}", value)
                    for part in (f"--{name}: ", repr(value), kind_of(each).unit, "or more"):
                        self.assertIn(part, text)

    def test_help_has_every_unit_and_default(self) -> None:
        """`--help` shows unit and default of every setting, and the default of the rest."""
        text = " ".join(str(options()).split())
        for each in fields(Settings):
            with self.subTest(each=each):
                if isinstance(kind_of(each), Flag):
                    continue
                name = each.name.replace("_", "-")
                _, found, entry = text.partition(f" --{name}= ")
                self.assertTrue(found, name)
                entry = entry.partition(" --")[0]
                self.assertTrue(entry.startswith(f"{kind_of(each).unit}: "), entry)
                default = each.default if each.default != () else "none"
                self.assertIn(f"[default: {default}", entry)
        for default in ("[default: 8080]", "[default: a welcome page]"):
            with self.subTest(default=default):
                self.assertIn(default, text)


class CompletionTests(SynchronousTestCase):
    """What Twisted's completion for zsh is told."""

    def test_every_option_is_completed(self) -> None:
        """Each option is there, with what its value can be."""
        twistd = ServerOptions()
        twistd._shellCompFile = BytesIO()
        words = ("graceful", "--port", "1", "--", "--_shell-completion", "zsh:5")
        self.assertEqual(self.assertRaises(SystemExit, twistd.parseOptions, words).code, 0)
        text = twistd._shellCompFile.getvalue().decode()
        for option in OPTIONS:
            with self.subTest(option=option):
                [line] = re.findall(rf"^['\"]\*?--{option.name}=?\[.*$", text, re.MULTILINE)
                kind = option.kind
                self.assertEqual(line[1] == "*", option.repeatable, line)
                self.assertEqual(f"--{option.name}=" in line, not isinstance(kind, Flag), line)
                if isinstance(kind, FilePath):
                    self.assertIn(":_files", line)
                elif isinstance(kind, Text) and kind.choices:
                    self.assertIn(f":({' '.join(kind.choices)})", line)
                elif not isinstance(kind, Flag):
                    self.assertTrue(line.rstrip("'\" \\").endswith(f":{kind.unit}:"), line)


class SourcesTests(SynchronousTestCase):
    """Options that do not come from the command line alone."""

    def setUp(self) -> None:
        """An environment without any of our variables, and a file."""
        ours = [name for name in os.environ if name.startswith("GRACEFUL_")]
        kept = {name: os.environ.pop(name) for name in ours}
        self.addCleanup(os.environ.update, kept)
        self.path = os.path.join(temporary_directory(self), "graceful.toml")
        self.write("[graceful]\nidle-grace = 3\nidle-timeout = 3\nread-timeout = 3\n")

    def write(self, text: str) -> None:
        """Put a text into the file."""
        with open(self.path, "w") as file:
            file.write(text)

    def set(self, name: str, value: str) -> None:
        """Set a variable until the end of the test."""
        os.environ[name] = value
        self.addCleanup(os.environ.pop, name, None)

    def refused(self, *arguments: str) -> str:
        """The line that says what is wrong."""
        return str(self.assertRaises(SystemExit, options, *arguments)).partition("\n")[0]

    def test_precedence(self) -> None:
        """The command line counts before the environment, that before the file, then defaults."""
        self.set("GRACEFUL_IDLE_GRACE", "2")
        self.set("GRACEFUL_IDLE_TIMEOUT", "2")
        parsed = options("--config", self.path, "--idle-grace", "1")
        names = ("idle-grace", "idle-timeout", "read-timeout", "write-timeout")
        self.assertEqual([parsed[name] for name in names], [1, 2, 3, 5])

    def test_a_default_that_was_given(self) -> None:
        """Who writes a default on the command line gets it, whatever the file says."""
        self.assertEqual(options("--config", self.path, "--idle-grace", "2")["idle-grace"], 2)

    def test_the_file_is_named_by_a_variable(self) -> None:
        """GRACEFUL_CONFIG names the file, if --config does not name another."""
        self.set("GRACEFUL_CONFIG", self.path)
        self.assertEqual(options()["idle-grace"], 3)
        for name, arguments in (
            ("--config", ("--config", "nowhere.toml")),
            ("the environment variable GRACEFUL_CONFIG", ()),
        ):
            with self.subTest(name=name, arguments=arguments):
                self.assertIn(
                    f"{name}: 'nowhere.toml' cannot be read: No such", self.refused(*arguments)
                )
                self.set("GRACEFUL_CONFIG", "nowhere.toml")

    def test_a_file_that_is_no_text(self) -> None:
        """A file that is not UTF-8 is refused, and the error names the probable encoding."""
        text = "[graceful]\r\n# caf\xe9\r\nidle-grace = 7\r\n"
        for data, told in (
            (b"\xff", "0xff, in line 1"),
            (text.encode("latin-1"), "0xe9, in line 2"),
            (text.encode("utf-16"), "probably UTF-16"),
            (text.encode("utf-16-be"), "probably UTF-16"),
        ):
            with self.subTest(data=data, told=told):
                Path(self.path).write_bytes(data)
                said = self.refused("--config", self.path)
                self.assertIn(f"--config: {self.path!r} is not UTF-8", said)
                self.assertIn(told, said)
        Path(self.path).write_bytes(text.encode("utf-8-sig"))
        self.assertEqual(options("--config", self.path)["idle-grace"], 7)

    def test_no_file_is_read_unasked(self) -> None:
        """A pyproject.toml in the working directory is nobody's configuration."""
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(os.path.dirname(self.path))
        with open("pyproject.toml", "w") as file:
            file.write("[tool.graceful]\nidle-grace = 9\n")
        self.assertEqual(options()["idle-grace"], 2)
        self.assertEqual(options("--config", "pyproject.toml")["idle-grace"], 9)

    def test_errors_are_one_line_that_names_the_source(self) -> None:
        """What is wrong in a file or a variable is said as for the command line."""
        self.write("[graceful]\nidle-grace = 'soon'\n")
        start = f"twistd graceful: {self.path}: [graceful] idle-grace: 'soon' is not accepted"
        self.assertTrue(self.refused("--config", self.path).startswith(start))
        self.set("GRACEFUL_PORT", "http")
        self.assertIn("the environment variable GRACEFUL_PORT: 'http' is not", self.refused())

    def test_counts_name_their_sources(self) -> None:
        """Applications and ports whose counts do not match are named with their sources."""
        self.set("GRACEFUL_PORT", "1,2,3")
        said = self.refused("--app", "a.a", "--app", "b.b")
        self.assertIn("2 times (by the command line)", said)
        self.assertIn("3 times (by the environment variable GRACEFUL_PORT)", said)
        self.set("GRACEFUL_PORT", "1,1")
        self.assertIn("than once (by the environment variable GRACEFUL_PORT)", self.refused())

    def test_print_config(self) -> None:
        """--print-config prints it, to be read again, and ends well; nothing is loaded."""
        self.set("GRACEFUL_APP", "no_such.module")
        self.patch(sys, "stdout", StringIO())
        arguments = ("--config", self.path, "--port", "localhost:1", "--print-config")
        ended = self.assertRaises(SystemExit, options, *arguments)
        self.assertEqual(ended.code, 0)
        printed = sys.stdout.getvalue()  # type: ignore[attr-defined]
        del os.environ["GRACEFUL_APP"]
        before = options("--config", self.path, "--port", "localhost:1", "--app", "no_such.module")
        self.write(printed)
        again = options("--config", self.path)
        for name in printed_names(printed):
            self.assertEqual(again[name], before[name], name)

    def test_print_config_refuses_what_is_wrong(self) -> None:
        """What could not be served is no configuration to print."""
        self.set("GRACEFUL_TLS_KEY", "key")
        said = self.refused("--print-config")
        self.assertIn("--tls-key: 'key' (from the environment variable GRACEFUL_TLS_KEY)", said)
        self.assertIn("given together with", said)


def printed_names(printed: str) -> list[str]:
    """The options whose value --print-config has printed."""
    return [line.partition(" = ")[0] for line in printed.splitlines() if " = " in line]


class TwistdOptionsTests(SynchronousTestCase):
    """twistd's own options, in the first generation and in a successor."""

    given = ("--pidfile", "app.pid", "--uid", "0", "--gid", "0", "--chroot", "/srv")

    def parsed(self, parent: ServerOptions) -> Options:
        """Our options, under twistd's."""
        ours = Options()
        ours.parent = parent
        ours.parseOptions([])
        return ours

    def test_the_first_generation_leaves_them(self) -> None:
        """In the first generation twistd does all that it was told, but for the pid file."""
        parent = twistd_options(*self.given)
        before = {**parent, "pidfile": ""}
        ours = self.parsed(parent)
        self.assertEqual(dict(parent), before)
        self.assertEqual(ours.twistd.pid_file, os.path.abspath("app.pid"))

    def test_a_log_is_located_once(self) -> None:
        """A relative log file is an absolute path from now on, a link to a stream that stream."""
        directory = temporary_directory(self)
        os.symlink("/proc/self/fd/1", os.path.join(directory, "link"))
        for given, expected in (
            ("app.log", os.path.abspath("app.log")),
            (os.path.join(directory, "link"), "-"),
        ):
            with self.subTest(given=given, expected=expected):
                parent = twistd_options("--nodaemon", "--logfile", given)
                self.parsed(parent)
                self.assertEqual(parent["logfile"], expected)

    def test_output_that_is_no_file_is_given_to_nobody(self) -> None:
        """In the foreground, without a log file, there is none."""
        for given in (("--nodaemon",), ("--nodaemon", "--logfile", "-")):
            with self.subTest(given=given):
                self.assertEqual(self.parsed(twistd_options(*given)).twistd.log_file, "")

    def test_a_successor_does_nothing_twice(self) -> None:
        """A successor does not daemonize, change user or root, or touch twistd's pid file."""
        self.patch(handed_over.handed_over(), "is_successor", True)
        parent = twistd_options(*self.given)
        ours = self.parsed(parent)
        done = {name: parent[name] for name in ("pidfile", "uid", "gid", "chroot")}
        self.assertEqual(done, {"pidfile": "", "uid": None, "gid": None, "chroot": None})
        self.assertTrue(parent["nodaemon"])
        self.assertEqual(ours.twistd.pid_file, os.path.abspath("app.pid"))
        self.assertEqual(ours.twistd.log_file, os.path.abspath("twistd.log"))

    def test_a_daemon_logs_where_it_did(self) -> None:
        """A successor that does not daemonize still logs where a daemon does."""
        for given, log_file in (
            ((), os.path.abspath("twistd.log")),
            (("--logfile", "app.log"), os.path.abspath("app.log")),
            (("--nodaemon", "--logfile", "-"), "-"),
            (("--nodaemon",), None),
        ):
            with self.subTest(given=given, log_file=log_file):
                parent = twistd_options(*given)
                skip_completed_steps(parent)
                self.assertEqual(parent["logfile"], log_file)

    def test_what_is_skipped_is_known_to_twistd(self) -> None:
        """Each option that a successor leaves out is one that this twistd has."""
        parent = twistd_options()
        known = set(parent)
        skip_completed_steps(parent)
        self.assertEqual(set(parent), known)

    def test_what_a_check_changes_is_known(self) -> None:
        """Each option that a check changes is one that twistd, or twist, has."""
        twist = TwistOptions()
        twist.selectDefaultLogObserver()
        for parent in (twistd_options(), twist):
            with self.subTest(parent=parent):
                known = set(parent)
                prepare_check(parent)
                self.assertEqual(set(parent), known)

    def test_a_check_leaves_no_process_and_no_file(self) -> None:
        """A check does not daemonize, and has neither pid file nor log; its user is as given."""
        parent = twistd_options(*self.given, "--logfile", "app.log", "--syslog")
        ours = Options()
        ours.parent = parent
        ours.parseOptions(["--check"])
        names = ("nodaemon", "pidfile", "logfile", "syslog", "uid", "chroot")
        self.assertEqual([parent[each] for each in names], [True, "", "", False, 0, "/srv"])
        self.assertEqual(ours.twistd.log_file, os.path.abspath("app.log"))
        parent.postOptions()  # which looks the observer up
        self.assertIs(parent["logger"], warnings_to_stderr)

    def test_no_pid_file(self) -> None:
        """If twistd was told to write none, there is none to take over."""
        self.assertEqual(skip_completed_steps(twistd_options("--pidfile", "")), "")

    def test_twist_has_none_of_them(self) -> None:
        """Under `twist`, which never daemonizes, there is nothing to leave out."""
        twist: dict[str, Any] = {"reactor": None}
        self.assertEqual(skip_completed_steps(twist), "")
        self.assertEqual(twist, {"reactor": None})


class MakeServiceTests(SynchronousTestCase):
    """From options to a service."""

    def setUp(self) -> None:
        """Go to a directory with an application, and keep the process as it is."""
        directory = temporary_directory(self)
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(directory)
        with open("tap_app.py", "w") as file:
            file.write("from twisted.web.resource import Resource\none, two = [Resource()] * 2\n")
        with open("tap_faulty.py", "w") as file:
            file.write("import nothing_of_this_name\n")
        self.addCleanup(lambda: [sys.modules.pop(n, None) for n in ("tap_app", "tap_faulty")])
        self.patch(sys, "path", list(sys.path))
        self.addCleanup(os.environ.pop, VARIABLE, None)
        # All three, or the next test would share log files by halves.
        self.patch(BaseLogFile, "_openFile", BaseLogFile._openFile)
        self.patch(LogFile, "shouldRotate", LogFile.shouldRotate)
        self.patch(LogFile, "rotate", LogFile.rotate)

    def service(self, *arguments: str) -> GracefulService:
        """The service of a command line; its sockets are closed after the test."""
        service = makeService(options(*arguments))
        assert isinstance(service, GracefulService)
        for server in service.servers:
            self.addCleanup(server.stopService)
        return service

    def refused(self, *arguments: str) -> str:
        """What the process says when it ends at once."""
        with leaves_nothing_open(self):
            error = self.assertRaises(SystemExit, makeService, options(*arguments))
            return str(error.code)

    def test_its_sockets_are_bound(self) -> None:
        """A port is bound before the service is started, where an error can still be shown."""
        service = self.service("--port", "127.0.0.1:0", "--app", "tap_app.one")
        ((host, port),) = service.servers[0].bound
        self.assertEqual(host, "127.0.0.1")
        self.assertIn(
            f"cannot listen on 127.0.0.1:{port}: ", self.refused("--port", f"127.0.0.1:{port}")
        )

    def test_one_server_for_each_application(self) -> None:
        """Each application has a server; one application for all ports has all of them."""
        two = ["--port", "127.0.0.1:0"] * 2
        for apps, shares in (
            ((), [2]),
            (("--app", "tap_app.one"), [2]),
            (("--app", "tap_app.one", "--app", "tap_app.two"), [1, 1]),
        ):
            with self.subTest(apps=apps, shares=shares):
                servers = self.service(*two, *apps, "--idle-grace", "7").servers
                self.assertEqual([len(each.addresses) for each in servers], shares)
                self.assertEqual({each.settings.idle_grace for each in servers}, {7})

    def test_a_name_that_cannot_be_loaded(self) -> None:
        """What cannot be loaded is one line that says which half failed, and no traceback."""
        self.patch(sys, "stderr", StringIO())
        for name, half in (
            ("nothing_of_this_name.one", "there is no module 'nothing_of_this_name'"),
            ("tap_app.three", "the module 'tap_app' has no attribute 'three'"),
        ):
            with self.subTest(name=name, half=half):
                text = self.refused("--port", "127.0.0.1:0", "--app", name)
                self.assertTrue(text.startswith(f"twistd graceful: --app {name!r}: {half}"), text)
                self.assertNotIn("\n", text)
        self.assertEqual(sys.stderr.getvalue(), "")  # type: ignore[attr-defined]

    def test_reload(self) -> None:
        """--reload adds what watches the source, has short drains, and leaves no .pyc behind."""
        self.patch(sys, "dont_write_bytecode", False)
        common = ("--port", "127.0.0.1:0", "--reload")
        with patch.dict(sys.modules, {"watchfiles": ModuleType("watchfiles")}):
            self.assertIn("pip install 'twisted-graceful[reload]'", self.refused(*common))
        with patch("twisted_graceful.cli.plugin.watch_source") as watch:
            for arguments, drain in (((), 5), (("--drain-timeout", "30"), 30)):
                with self.subTest(arguments=arguments, drain=drain):
                    service = self.service(*common, "--app", "tap_app.one", *arguments)
                    self.assertEqual(service.servers[0].settings.drain_timeout, drain)
                    self.assertEqual(
                        len([each for each in service if isinstance(each, AutoReload)]), 1
                    )
                    watch.assert_called_with(("tap_app.one",), "")
        self.assertTrue(sys.dont_write_bytecode)
        self.assertFalse(
            [each for each in self.service(*common[:2]) if isinstance(each, AutoReload)]
        )

    def test_a_certificate(self) -> None:
        """With a certificate a port speaks TLS; one that cannot be used is one line."""
        path = certificate_file(self, ONE, ONE_KEY)
        both = ("--port", "127.0.0.1:0", "--port", "http:127.0.0.1:0")
        (server,) = self.service(*both, "--tls-cert", path, "--tls-key", path).servers
        self.assertEqual([url.partition(":")[0] for url in server.urls], ["https", "http"])
        for arguments, text in (
            (("--port", "https:127.0.0.1:0"), "'https:127.0.0.1:0' needs a certificate"),
            ((*both, "--tls-cert", "nowhere.pem"), "/nowhere.pem' cannot be read"),
            ((*both, "--tls-key", path), "it must be given together with tls_cert"),
        ):
            with self.subTest(arguments=arguments, text=text):
                refused = self.refused(*arguments)
                self.assertTrue(refused.startswith("twistd graceful: "), refused)
                self.assertIn(text, refused)
                self.assertNotIn("\n", refused)

    def test_a_fault_inside_the_application(self) -> None:
        """A fault of the application shows the application's frames, and none of the loader's."""
        self.patch(sys, "stderr", StringIO())
        self.assertIn("importing 'tap_faulty' failed", self.refused("--app", "tap_faulty.one"))
        shown = sys.stderr.getvalue()  # type: ignore[attr-defined]
        self.assertIn("import nothing_of_this_name", shown)
        self.assertNotIn("twisted_graceful", shown)
        self.assertNotIn("importlib", shown)

    def test_an_inheritance_that_makes_no_sense(self) -> None:
        """A successor's variable that makes no sense is one line, too."""
        parsed = options("--port", "127.0.0.1:0")
        self.patch(handed_over, "_handed_over", None)
        os.environ[VARIABLE] = "nonsense"
        error = self.assertRaises(SystemExit, makeService, parsed)
        self.assertIn(f"twistd graceful: the environment variable {VARIABLE}", str(error.code))

    def test_a_running_server(self) -> None:
        """The pid file of a running server is an error of the start, before anything is bound."""
        path = os.path.join(temporary_directory(self), "app.pid")
        child = run_python_beside(
            self,
            "import sys\n"
            "from twisted_graceful.process.host.pid_file import PidFile\n"
            f"PidFile({path!r}, 7).create()\n"
            "print(flush=True)\n"
            "sys.stdin.read()\n",
        )
        assert child.stdout is not None
        child.stdout.readline()
        parsed = options("--port", "127.0.0.1:0")
        parsed.twistd = replace(parsed.twistd, pid_file=path)
        error = self.assertRaises(SystemExit, makeService, parsed)
        self.assertIn(f"a server is running with the pid file {path} (pid 7)", str(error.code))

    def test_daemon_without_an_output(self) -> None:
        """A daemon has no standard output that it could log to."""
        for twistds, refused in ((("--nodaemon",), False), ((), True)):
            with self.subTest(twistds=twistds, refused=refused):
                parsed = Options()
                parsed.parent = twistd_options(*twistds)  # type: ignore[attr-defined]
                if refused:
                    arguments = ("--access-log", "-")
                    error = self.assertRaises(SystemExit, parsed.parseOptions, arguments)
                    self.assertIn("name a file", str(error))
                else:
                    parsed.parseOptions(("--access-log", "-"))
