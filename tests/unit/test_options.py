"""Options from the environment and from a file."""

from __future__ import annotations

from dataclasses import fields

from hypothesis import given
from hypothesis import strategies as st

from twisted_graceful.address import Address
from twisted_graceful.config import options
from twisted_graceful.config.option_types import Flag, ListOf, NetworkList, Text
from twisted_graceful.config.options import (
    OPTIONS,
    effective,
    from_command_line,
    from_environment,
    from_file,
    to_toml,
    unknown_variables,
)
from twisted_graceful.config.settings import Settings
from twisted_graceful.errors import ConfigError, GracefulError

from ..case import SynchronousTestCase
from .support import examples


class TableTests(SynchronousTestCase):
    """The one table."""

    def test_every_setting_is_in_it(self) -> None:
        """Each setting of a server is an option, with the setting's kind and default."""
        options = {option.key: option for option in OPTIONS}
        for each in fields(Settings):
            with self.subTest(each=each):
                self.assertEqual(options[each.name].default, each.default)
                kind = each.metadata["kind"]
                several = isinstance(kind, ListOf)
                self.assertEqual(options[each.name].kind, kind.each if several else kind)
                self.assertEqual(options[each.name].repeatable, several)
        self.assertEqual(len(options), len(OPTIONS))


class EnvironmentTests(SynchronousTestCase):
    """Variables."""

    def refused(self, **environ: str) -> str:
        """What is said of an environment that is wrong."""
        return str(self.assertRaises(ConfigError, from_environment, environ))

    def test_every_option_has_a_variable(self) -> None:
        """Each option is read from GRACEFUL_ and its name, and says so."""
        for option in OPTIONS:
            with self.subTest(option=option):
                text = {Flag: "yes", NetworkList: "::1", Text: "combined"}.get(
                    type(option.kind), "7"
                )
                text = "10.0.0.7" if option.name == "forwarded-allow-ips" else text
                text = "/7" if option.name == "warm-up" else text
                variable = f"GRACEFUL_{option.name.replace('-', '_').upper()}"
                [(name, chosen)] = from_environment({variable: text, "PORT": "1"}).items()
                self.assertEqual(name, option.name)
                self.assertEqual(chosen.source, f"the environment variable {variable}")
                value = option.kind.parse(text)
                self.assertEqual(chosen.value, (value,) if option.repeatable else value)

    def test_repeatable(self) -> None:
        """Several values are separated by commas or white space."""
        for text in ("1,localhost:2", "1 localhost:2", "1,\n  localhost:2\n", " 1 , localhost:2,"):
            with self.subTest(text=text):
                chosen = from_environment({"GRACEFUL_PORT": text})["port"]
                self.assertEqual(chosen.value, (Address("", 1), Address("localhost", 2)))

    def test_commas_of_one_value(self) -> None:
        """A value that has commas of its own is not split."""
        chosen = from_environment({"GRACEFUL_FORWARDED_ALLOW_IPS": "10.0.0.1,10.0.0.2"})
        self.assertEqual(chosen["forwarded-allow-ips"].value, "10.0.0.1,10.0.0.2")

    def test_empty(self) -> None:
        """A variable that is empty, or blank, counts as one that is not there."""
        for option in OPTIONS:
            for text in ("", " "):
                with self.subTest(option=option, text=text):
                    self.assertEqual(from_environment({option.variable: text}), {})

    def test_flags(self) -> None:
        """A flag is on or off in any of the usual words, and in no other."""
        for text, value in (("1", True), ("Yes", True), ("on", True), ("0", False), ("no", False)):
            with self.subTest(text=text, value=value):
                self.assertIs(from_environment({"GRACEFUL_WSGI": text})["wsgi"].value, value)
        said = self.refused(GRACEFUL_WSGI="maybe")
        self.assertIn("GRACEFUL_WSGI: 'maybe' is not accepted; it must be true or false", said)

    def test_a_wrong_value(self) -> None:
        """A wrong value is refused with the variable, the value, and what is accepted."""
        for said in (
            self.refused(GRACEFUL_READ_TIMEOUT="soon"),
            self.refused(GRACEFUL_READ_TIMEOUT="-1"),
        ):
            with self.subTest(said=said):
                self.assertIn("the environment variable GRACEFUL_READ_TIMEOUT: '", said)
                self.assertIn("a number of seconds, 0 or more", said)
        said = self.refused(GRACEFUL_FORWARDED_ALLOW_IPS="example.com")
        self.assertIn("'example.com'", said.partition("must be")[2])

    def test_unknown_variables(self) -> None:
        """A variable with our prefix that is no option of ours is named, and what was meant."""
        environ = {"GRACEFUL_PROT": "1", "GRACEFUL_CONFIG": "x", "GRACEFUL_PORT": "1", "HOME": "/"}
        [said] = unknown_variables(environ)
        self.assertIn("GRACEFUL_PROT is no option", said)
        self.assertIn("did you mean GRACEFUL_PORT?", said)

    def test_a_prefix_makes_no_names_alike(self) -> None:
        """What has nothing but our prefix in common with an option was not meant."""
        [said] = unknown_variables({"GRACEFUL_NONSENSE": "1"})
        self.assertEqual(said, "the environment variable GRACEFUL_NONSENSE is no option of ours")


class FileTests(SynchronousTestCase):
    """TOML."""

    def refused(self, text: str) -> str:
        """What is said of a file that is wrong."""
        said = str(self.assertRaises(ConfigError, from_file, text, "app.toml"))
        self.assertTrue(said.startswith("app.toml: "), said)
        return said

    def values(self, text: str) -> dict[str, object]:
        """What a file says."""
        return {name: each.value for name, each in from_file(text, "app.toml").items()}

    def test_both_tables(self) -> None:
        """Our keys are in [graceful] or in [tool.graceful], beside those of others."""
        for table in ("graceful", "tool.graceful"):
            with self.subTest(table=table):
                text = f"[tool.ruff]\nx = 1\n[{table}]\nidle-grace = 1\n"
                [chosen] = from_file(text, "app.toml").values()
                self.assertEqual((chosen.value, chosen.source), (1, "app.toml"))

    def test_one_table(self) -> None:
        """A file with none of them, or with both, or with no table of the name is refused."""
        for text in ("", "[graceful]\n[tool.graceful]\n", "graceful = 1", "[tool]\ngraceful = []"):
            with self.subTest(text=text):
                self.assertIn("one table, [graceful] or [tool.graceful]", self.refused(text))

    def test_names(self) -> None:
        """Keys are names of options, with hyphens or underscores, but not both of one."""
        for key in ("read-timeout", "read_timeout"):
            with self.subTest(key=key):
                self.assertEqual(self.values(f"[graceful]\n{key} = 1"), {"read-timeout": 1})
        both = "[graceful]\nread-timeout = 1\nread_timeout = 1"
        self.assertIn("[graceful] read_timeout: it is there twice", self.refused(both))

    def test_values(self) -> None:
        """Numbers and truth values stand for themselves; any text is as on the command line."""
        text = """
            [graceful]
            port = [8080, "localhost:1"]
            app = "mod.resource"
            wsgi = true
            proxy-headers = "off"
            max-body-size = "3 MiB"
            backlog = 7
            idle-grace = 1.5
            read-timeout = "2"
        """
        self.assertEqual(
            self.values(text),
            {
                "port": (Address("", 8080), Address("localhost", 1)),
                "app": ("mod.resource",),
                "wsgi": True,
                "proxy-headers": False,
                "max-body-size": 3 << 20,
                "backlog": 7,
                "idle-grace": 1.5,
                "read-timeout": 2,
            },
        )

    def test_an_empty_list_is_the_default(self) -> None:
        """No ports and no applications is what is the case when nobody names any."""
        for option in OPTIONS:
            with self.subTest(option=option):
                if option.repeatable:
                    text = f"[graceful]\n{option.name} = []"
                    self.assertEqual(self.values(text), {option.name: option.default})

    def test_wrong_values(self) -> None:
        """A value that no option takes is refused with file, table, key and what is accepted."""
        for line, accepted in (
            ("idle-grace = true", "a number of seconds"),
            ("idle-grace = 2026-01-01", "a number of seconds"),
            ("idle-grace = [1]", "a number of seconds"),
            ("idle-grace = nan", "a number of seconds"),
            ("backlog = 1.5", "a whole number of connections"),
            ("wsgi = 2", "true or false"),
            ("access-log-format = 'xml'", "combined or json"),
            ("port = [1, 70000]", "0 to 65535"),
            ("port = [[1]]", "8080, :8080"),
            ("app = {}", "a text, name"),
            ("admin-host = 'app:9000'", "without port"),
            ("admin-host = '*'", "without port"),
        ):
            with self.subTest(line=line, accepted=accepted):
                said = self.refused(f"[graceful]\n{line}")
                self.assertIn(f"app.toml: [graceful] {line.partition(' ')[0]}: ", said)
                self.assertIn(accepted, said)

    def test_an_unknown_key(self) -> None:
        """A key that is no option is refused, and what was meant is named."""
        said = self.refused("[tool.graceful]\nidle_graze = 1")
        self.assertIn("[tool.graceful] idle_graze: there is no such option", said)
        self.assertIn("did you mean idle-grace?", said)
        self.assertNotIn("mean", self.refused("[graceful]\nzzz = 1"))

    def test_no_toml(self) -> None:
        """What is no TOML is refused with the place."""
        self.assertIn("line 2", self.refused("[graceful]\nport = \n"))


class EffectiveTests(SynchronousTestCase):
    """All sources together."""

    def test_each_value_has_the_first_source_that_has_it(self) -> None:
        """The first source that has an option decides it; else it is the default."""
        chosen = effective(
            from_command_line({"backlog": 1}),
            from_environment({"GRACEFUL_BACKLOG": "2", "GRACEFUL_MAX_HEADERS": "2"}),
            from_file("[graceful]\nbacklog=3\nmax-headers=3\nwsgi-threads=3", "app.toml"),
        )
        for name, value, source in (
            ("backlog", 1, "the command line"),
            ("max-headers", 2, "the environment variable GRACEFUL_MAX_HEADERS"),
            ("wsgi-threads", 3, "app.toml"),
            ("drain-timeout", 30, "the default"),
        ):
            with self.subTest(name=name, value=value):
                self.assertEqual((chosen[name].value, chosen[name].source), (value, source))
        self.assertEqual(list(chosen), [option.name for option in OPTIONS])

    def test_defaults_for_development(self) -> None:
        """With --reload a drain is short and there is no probation, if nobody says otherwise."""
        chosen = effective(from_command_line({"probation": 1}), options.for_development())
        for name, value, source in (
            ("drain-timeout", 5, "--reload"),
            ("probation", 1, "the command line"),
            ("idle-grace", 2, "the default"),
        ):
            with self.subTest(name=name, value=value):
                self.assertEqual((chosen[name].value, chosen[name].source), (value, source))
        self.assertEqual(effective(options.for_development())["probation"].value, 0)

    def test_printed_defaults(self) -> None:
        """What is printed says of each option its help, its source and its value."""
        printed = to_toml(effective())
        for option in OPTIONS:
            with self.subTest(option=option):
                self.assertIn(f"# From the default.\n{option.name} = ", printed)
                said = " ".join(printed.replace("# ", "").split())
                self.assertIn(" ".join(option.description.split()), said)

    @given(st.data())
    @examples
    def test_what_is_printed_can_be_read(self, data: st.DataObject) -> None:
        """Whatever is configured, the file that is printed configures the same."""
        texts = st.text(st.characters(exclude_categories=["Cs"]))
        ports = st.builds(Address, st.sampled_from(["", "::1", "localhost"]), st.integers(0, 65535))
        values = {
            "port": tuple(data.draw(st.lists(ports, min_size=1))),
            "app": tuple(data.draw(st.lists(texts))),
            "wsgi": data.draw(st.booleans()),
            "access-log": data.draw(texts),
            "idle-grace": data.draw(st.floats(0, 2**31 - 1)),
            "backlog": data.draw(st.integers(1, 2**31 - 1)),
        }
        chosen = effective(from_command_line(values))
        again = effective(from_file(to_toml(chosen), "app.toml"))
        for name, each in chosen.items():
            self.assertEqual(again[name].value, each.value, name)
        self.assertEqual(_keys(to_toml(again)), _keys(to_toml(chosen)))

    def test_a_number_is_no_text(self) -> None:
        """What is a name, a path or the like is written as a text, and not as a number."""
        for key in ("app", "access-log", "admin-allow", "warm-up", "unix-mode"):
            for value in ("3", "true", "1.5"):
                with self.subTest(key=key, value=value):
                    with self.assertRaises(ConfigError) as caught:
                        from_file(f"[graceful]\n{key} = {value}\n", "app.toml")
                    self.assertIn(f"app.toml: [graceful] {key}: ", str(caught.exception))

    @given(st.text())
    @examples
    def test_any_file_is_read_or_refused(self, text: str) -> None:
        """No text of a file is anything but read or refused."""
        try:
            from_file("[graceful]\n" + text, "app.toml")
        except GracefulError as error:
            self.assertIsInstance(error, options.ConfigError)


def _keys(printed: str) -> list[str]:
    """A printed file without its comments, which name the sources."""
    return [line for line in printed.splitlines() if not line.startswith("#")]
