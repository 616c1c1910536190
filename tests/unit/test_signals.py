"""Signal handlers: installed, called in the reactor's time, and given back."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from twisted_graceful.process.host.signals import SignalHandlers

from ..case import SynchronousTestCase


class FakeReactor:
    """It keeps what it is to call."""

    def __init__(self) -> None:
        self.due: list[Callable[[], None]] = []

    def callFromThread(self, call: Callable[[], None]) -> None:
        """Keep it."""
        self.due.append(call)

    def turn(self) -> None:
        """Call what is due."""
        due, self.due = self.due, []
        for call in due:
            call()


def before(number: int, frame: FrameType | None) -> None:
    """A handler that was there first."""


def other(number: int, frame: FrameType | None) -> None:
    """A handler that somebody else installs later."""


class SignalTests(SynchronousTestCase):
    """Two signals that no test runner uses."""

    def setUp(self) -> None:
        """Put a known handler in place, and bring the real ones back in the end."""
        for number in (signal.SIGUSR2, signal.SIGHUP):
            self.addCleanup(signal.signal, number, signal.signal(number, before))
        self.reactor = FakeReactor()
        self.called: list[str] = []
        self.handlers = SignalHandlers(
            self.reactor,  # type: ignore[arg-type]
            {
                signal.SIGUSR2: lambda: self.called.append("USR2"),
                signal.SIGHUP: lambda: self.called.append("HUP"),
            },
        )

    def assert_handler(self, handler: object) -> None:
        """Both signals have this handler."""
        for number in (signal.SIGUSR2, signal.SIGHUP):
            self.assertIs(signal.getsignal(number), handler)

    def test_nothing_is_installed_unasked(self) -> None:
        """Before `install` the process's handlers are as they were."""
        self.assert_handler(before)

    def test_an_action_runs_in_the_reactor_and_not_in_the_handler(self) -> None:
        """A signal makes the reactor call the action; the handler itself does nothing."""
        self.handlers.install()
        signal.raise_signal(signal.SIGUSR2)
        self.assertEqual(self.called, [])
        self.reactor.turn()
        self.assertEqual(self.called, ["USR2"])

    def test_each_signal_has_its_action(self) -> None:
        """Signals are acted on in the order in which they came, each with its own action."""
        self.handlers.install()
        for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGHUP):
            signal.raise_signal(number)
        self.reactor.turn()
        self.assertEqual(self.called, ["HUP", "USR2", "HUP"])

    def test_shared(self) -> None:
        """Of a shared signal whoever handled it before learns too, at once; of no other."""
        seen: list[int] = []
        handlers = SignalHandlers(
            self.reactor,  # type: ignore[arg-type]
            dict.fromkeys((signal.SIGUSR2, signal.SIGHUP), lambda: self.called.append("ours")),
            shared={signal.SIGUSR2},
        )
        for number in (signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, lambda number, frame: seen.append(number))
        handlers.install()
        handlers.install()
        for number in (signal.SIGUSR2, signal.SIGHUP):
            signal.raise_signal(number)
        self.assertEqual(seen, [signal.SIGUSR2])
        self.reactor.turn()
        self.assertEqual(self.called, ["ours", "ours"])

    def test_shared_with_nobody(self) -> None:
        """A shared signal that nobody handled before is ours alone."""
        handlers = SignalHandlers(
            self.reactor,  # type: ignore[arg-type]
            {signal.SIGUSR2: lambda: self.called.append("ours")},
            shared={signal.SIGUSR2},
        )
        for nobody in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGUSR2, nobody)
            handlers.install()
            signal.raise_signal(signal.SIGUSR2)
        self.reactor.turn()
        self.assertEqual(self.called, ["ours", "ours"])

    def test_ignorable(self) -> None:
        """A signal that nohup has set to be ignored stays ignored; others are handled."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
        handlers = SignalHandlers(
            self.reactor,  # type: ignore[arg-type]
            dict.fromkeys((signal.SIGUSR2, signal.SIGHUP), lambda: self.called.append("ours")),
            ignorable={signal.SIGHUP},
        )
        handlers.install()
        for number in (signal.SIGUSR2, signal.SIGHUP):
            signal.raise_signal(number)
        self.reactor.turn()
        self.assertEqual(self.called, ["ours"])
        self.assertEqual(handlers.ignored, {signal.SIGHUP})
        handlers.restore()
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_restore_gives_the_signals_back(self) -> None:
        """After `restore` the handlers that were there before are there again."""
        self.handlers.install()
        self.handlers.restore()
        self.assert_handler(before)

    def test_installing_twice_is_installing_once(self) -> None:
        """A second `install` changes nothing: `restore` still gives back the first handlers."""
        self.handlers.install()
        self.handlers.install()
        self.handlers.restore()
        self.assert_handler(before)

    def test_installing_again_takes_the_signals_back(self) -> None:
        """A second `install` takes the signals from whoever took them in between."""
        self.handlers.install()
        signal.signal(signal.SIGUSR2, other)
        self.handlers.install()
        signal.raise_signal(signal.SIGUSR2)
        self.reactor.turn()
        self.assertEqual(self.called, ["USR2"])

    def test_what_somebody_else_installed_stays(self) -> None:
        """`restore` leaves a handler alone that is not ours."""
        self.handlers.install()
        signal.signal(signal.SIGUSR2, other)
        self.handlers.restore()
        self.assertIs(signal.getsignal(signal.SIGUSR2), other)
        self.assertIs(signal.getsignal(signal.SIGHUP), before)

    def test_it_can_be_used_again(self) -> None:
        """After `restore`, `install` and `restore` work again."""
        self.handlers.install()
        self.handlers.restore()
        for number in (signal.SIGUSR2, signal.SIGHUP):
            signal.signal(number, other)
        self.handlers.install()
        self.handlers.restore()
        self.assert_handler(other)

    def test_restore_without_install_does_nothing(self) -> None:
        """`restore` changes nothing if nothing was installed."""
        self.handlers.restore()
        self.assert_handler(before)

    def test_a_stop_is_noticed_at_once(self) -> None:
        """What stops the process is told within the handler, while no reactor runs, and once more
        if that is wanted."""
        told: list[int] = []
        handlers = SignalHandlers(
            self.reactor,  # type: ignore[arg-type]
            dict.fromkeys((signal.SIGUSR2, signal.SIGHUP), lambda: self.called.append("ours")),
            stops=lambda number: told.append(number) is None,
            stopping={signal.SIGHUP},
        )
        handlers.install()
        for number in (signal.SIGUSR2, signal.SIGHUP, signal.SIGHUP):
            signal.raise_signal(number)
        self.assertEqual((told, self.called), ([signal.SIGHUP] * 2, []))
        self.reactor.turn()
        self.assertEqual(self.called, ["ours"] * 3)

    def test_restore_to_the_program(self) -> None:
        """Signals that the reactor took in between can be given back to the program instead."""
        for original, handler in ((False, other), (True, before)):
            with self.subTest(original=original, handler=handler):
                self.handlers.install()
                for number in (signal.SIGUSR2, signal.SIGHUP):
                    signal.signal(number, other)
                self.handlers.install()
                self.handlers.restore(original=original)
                self.assert_handler(handler)
                for number in (signal.SIGUSR2, signal.SIGHUP):
                    signal.signal(number, before)
