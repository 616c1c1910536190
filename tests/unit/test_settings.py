"""The settings: defaults, ranges and the texts of their errors."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from twisted_graceful.config.option_types import MAXIMUM, Number, Size, Text, parse
from twisted_graceful.config.process_settings import ProcessSettings
from twisted_graceful.config.setting_fields import kind_of
from twisted_graceful.config.settings import Settings
from twisted_graceful.errors import GracefulError, SettingsError

from ..case import SynchronousTestCase
from .support import examples

ALL = fields(Settings)
KINDS = {each.name: kind_of(each) for each in ALL}
NUMBERED = {name: kind for name, kind in KINDS.items() if isinstance(kind, Number)}
"""The kinds of the settings that are numbers."""
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans())


def from_text(name: str, text: str) -> Any:
    """The value of a setting, from text."""
    return parse(name, KINDS[name], text)


class SettingsTests(SynchronousTestCase):
    """Every setting alike."""

    def test_every_setting_is_described(self) -> None:
        """Each setting has a kind, which says what it accepts, and a sentence of help."""
        for each in ALL:
            with self.subTest(each=each):
                self.assertEqual(set(each.metadata), {"kind", "help"}, each.name)
                said = (kind_of(each).unit, str(kind_of(each)), each.metadata["help"])
                self.assertTrue(all(said), each.name)

    def test_the_documented_defaults(self) -> None:
        """The defaults that the documentation promises are the defaults."""
        self.assertEqual(Settings().backlog, 2048)
        self.assertEqual(Settings().drain_timeout, 30)
        self.assertEqual(Settings().upgrade_timeout, 60)

    def test_a_default_can_be_written_as_text(self) -> None:
        """The default of each setting, as the help shows it, is an accepted value."""
        for each in ALL:
            with self.subTest(each=each):
                several = isinstance(each.default, tuple)
                text = " ".join(each.default) if several else str(each.default)
                self.assertEqual(from_text(each.name, text), each.default)

    def test_a_minimum_is_accepted_and_less_is_refused(self) -> None:
        """The minimum is the first value in range, from code and from text."""
        for name, kind in NUMBERED.items():
            with self.subTest(name=name, kind=kind):
                minimum = kind.minimum
                less = minimum - 1 if kind.whole else minimum - 0.001
                self.assertEqual(getattr(Settings(**{name: minimum}), name), minimum)
                self.assertEqual(from_text(name, str(minimum)), minimum)
                self.assertRaises(SettingsError, Settings, **{name: less})
                self.assertRaises(SettingsError, from_text, name, str(less))

    def test_what_is_no_number_is_refused(self) -> None:
        """No number is a text, None, a truth value, NaN or infinity in code."""
        wrong: list[Any] = ["30", None, True, False, float("nan"), float("inf"), [1]]
        for name in NUMBERED:
            for value in wrong:
                with self.subTest(name=name, value=value):
                    self.assertRaises(SettingsError, Settings, **{name: value})

    def test_what_is_no_number_is_refused_as_text(self) -> None:
        """No number is a text that is no finite number in range."""
        for name in NUMBERED:
            for text in ("", "soon", "-1", "nan", "inf", "1e999", "30s", "1,5", "0x10"):
                with self.subTest(name=name, text=text):
                    self.assertRaises(SettingsError, from_text, name, text)

    def test_a_size_has_prefixes(self) -> None:
        """A size is bytes, or a number of KiB, MiB or GiB, whatever the spelling."""
        for text, size in (
            ("1000", 1000),
            ("2KiB", 2048),
            ("2 kib", 2048),
            ("1MiB", 1 << 20),
            ("1M", 1 << 20),
            ("1GiB", 1 << 30),
        ):
            with self.subTest(text=text, size=size):
                self.assertEqual(from_text("max_body_size", text), size)
        for text in ("1.5MiB", "KiB", "1 T", "2GiB", "1 MiBs", "1 i"):
            with self.subTest(text=text):
                self.assertRaises(SettingsError, from_text, "max_body_size", text)

    def test_every_size_is_one(self) -> None:
        """All settings in bytes take prefixes, and only they."""
        for each in ALL:
            with self.subTest(each=each):
                self.assertEqual(kind_of(each).unit == "bytes", isinstance(kind_of(each), Size))

    def test_a_choice(self) -> None:
        """A text that has choices is one of them, and the error names them all."""
        kind = Text("colour", ("red", "green"))
        self.assertEqual([kind.accepts(each) for each in ("red", "blue", 1)], [True, False, False])
        self.assertEqual(str(kind), "red or green")

    def test_a_count_is_a_whole_number(self) -> None:
        """A setting that counts things takes no fraction."""
        self.assertRaises(SettingsError, Settings, backlog=1.5)
        self.assertRaises(SettingsError, from_text, "backlog", "1.5")

    def test_a_number_that_the_system_cannot_take_is_refused(self) -> None:
        """A number that does not fit listen(2) is refused, and the largest one is named."""
        Settings(backlog=MAXIMUM)
        error = self.assertRaises(SettingsError, Settings, backlog=MAXIMUM + 1)
        self.assertIn(str(MAXIMUM), error.accepted)

    @examples
    @given(st.sampled_from(list(NUMBERED)), NUMBERS)
    def test_any_number_is_kept_or_refused(self, name: str, value: float) -> None:
        """Whatever number is given, it is either kept as it is or a `SettingsError`."""
        try:
            settings = Settings(**{name: value})
        except SettingsError:
            return
        self.assertEqual(getattr(settings, name), value)
        self.assertGreaterEqual(value, NUMBERED[name].minimum)


class CombinedTests(SynchronousTestCase):
    """The settings of a process with several servers."""

    def test_combined(self) -> None:
        """The caller decides, then the servers: of values other than the default the smallest."""
        name = "max_requests"
        for caller, servers, expected in (
            ({}, [], 0),
            ({}, [{}, {}], 0),
            ({}, [{}, {name: 5}], 5),
            ({}, [{name: 7}, {name: 5}], 5),
            ({name: None}, [{name: 7}], 7),
            ({name: 9}, [{name: 7}], 9),
            ({name: 0}, [{name: 7}], 0),
        ):
            with self.subTest(caller=caller, servers=servers):
                settings = [Settings(**each) for each in servers]
                combined = ProcessSettings.combined(caller, settings)
                self.assertEqual(combined, ProcessSettings(max_requests=expected))

    def test_no_limit(self) -> None:
        """A server that turns off what is on by default turns it off for the process."""
        combined = ProcessSettings.combined({}, [Settings(), Settings(probation=0)])
        self.assertEqual(combined, ProcessSettings(probation=0))

    def test_auto_is_more_than_any_number(self) -> None:
        """Where one server has a number of workers and another says auto, the number counts."""
        asked = [Settings(workers="auto"), Settings(workers=2)]
        self.assertEqual(ProcessSettings.combined({}, asked).workers, 2)
        self.assertEqual(ProcessSettings.combined({}, asked[:1]).workers, "auto")

    def test_a_setting_of_a_server(self) -> None:
        """A setting that is not one of the process is refused."""
        self.assertRaises(SettingsError, ProcessSettings.combined, {"idle_timeout": 3}, [])


class ErrorTests(SynchronousTestCase):
    """What a user reads."""

    def test_it_names_the_setting_the_value_and_the_range(self) -> None:
        """An error says which setting, what was given and what is accepted."""
        for wrong in (
            self.assertRaises(SettingsError, Settings, drain_timeout=-5),
            self.assertRaises(SettingsError, from_text, "drain_timeout", "-5"),
        ):
            with self.subTest(wrong=wrong):
                self.assertIn("drain_timeout", str(wrong))
                self.assertIn("-5", str(wrong))
                self.assertIn("a number of seconds, 0 or more", str(wrong))

    def test_its_parts_can_be_read(self) -> None:
        """Code can tell which setting was wrong, and how, without parsing the text."""
        error = self.assertRaises(SettingsError, Settings, backlog=0)
        self.assertEqual((error.name, error.given), ("backlog", 0))
        self.assertEqual(
            error.accepted, f"a whole number of connections, 1 or more, and {MAXIMUM} at most"
        )

    def test_a_setting_that_does_not_exist(self) -> None:
        """A misspelt name is refused, with the name that was meant; any other with all names."""
        self.assertEqual(Settings.of({"drain_timeout": 3}), Settings(drain_timeout=3))
        error = self.assertRaises(SettingsError, Settings.of, {"drain_timout": 3})
        self.assertIn("did you mean drain_timeout?", str(error))
        error = self.assertRaises(SettingsError, Settings.of, {"colour": 3})
        self.assertIn("one of " + ", ".join(KINDS), str(error))

    def test_every_range_is_told_in_words(self) -> None:
        """The accepted values of each setting name its unit and its minimum."""
        for kind in NUMBERED.values():
            with self.subTest(kind=kind):
                self.assertIn(kind.unit, str(kind))
                self.assertIn(f"{kind.minimum:g} or more", str(kind))

    def test_it_is_a_value_error(self) -> None:
        """Callers may catch it as `ValueError`, or with all errors of this package."""
        self.assertTrue(issubclass(SettingsError, ValueError))
        self.assertTrue(issubclass(SettingsError, GracefulError))

    def test_settings_cannot_change(self) -> None:
        """Settings that were checked stay as they were checked."""
        with self.assertRaises(FrozenInstanceError):
            Settings().backlog = 0  # type: ignore[misc]
