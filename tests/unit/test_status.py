"""Numbers of processes, over the channel and in sums."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from twisted_graceful.process.host.process_status import Status, StatusTotals, resident_size

from ..case import SynchronousTestCase
from .support import examples, temporary_directory

numbers = st.dictionaries(
    st.sampled_from(["answered", "connections", "rss"]), st.integers(0, 1 << 40)
)
statuses = st.builds(Status, counters=numbers, gauges=numbers)


class StatusTests(SynchronousTestCase):
    """One message."""

    @examples
    @given(statuses)
    def test_the_other_end_reads_it(self, status: Status) -> None:
        """What is encoded is decoded."""
        self.assertEqual(Status.decode(status.encode()), status)

    def test_what_is_unknown_does_no_harm(self) -> None:
        """Fields of another version, and what is no number, are ignored."""
        text = (
            '{"counters": {"answered": 2, "new": 3, "text": "x", "on": true, "n": NaN}, "more": []}'
        )
        self.assertEqual(Status.decode(text), Status({"answered": 2, "new": 3}))

    def test_nothing_is_a_status(self) -> None:
        """A process may have nothing to say."""
        self.assertEqual(Status.decode("{}"), Status())
        self.assertEqual(Status.decode('{"counters": [], "gauges": 7}'), Status())

    def test_what_is_none(self) -> None:
        """A text that is no status is an error."""
        for text in ("", "7", "[]", "{"):
            with self.subTest(text=text):
                self.assertRaises(ValueError, Status.decode, text)

    @examples
    @given(st.lists(statuses))
    def test_sums(self, several: list[Status]) -> None:
        """Each name has the sum of all that know it."""
        total = sum(several, Status())
        for names, parts in (
            (total.counters, [each.counters for each in several]),
            (total.gauges, [each.gauges for each in several]),
        ):
            known = {name for part in parts for name in part}
            self.assertEqual(
                names, {name: sum(part.get(name, 0) for part in parts) for name in known}
            )


class TallyTests(SynchronousTestCase):
    """Several processes that come and go."""

    def test_the_dead_still_count(self) -> None:
        """What a process had counted stays in the sum when it has ended; what it had does not."""
        tally = StatusTotals[int]()
        tally.update(1, Status({"answered": 5}, {"connections": 2}))
        tally.update(2, Status({"answered": 7}, {"connections": 3}))
        tally.ended(1)
        self.assertEqual(tally.total, Status({"answered": 12}, {"connections": 3}))
        self.assertEqual(list(tally.living), [2])

    def test_the_last_word_counts(self) -> None:
        """Of several messages of one process only the last is in the sum."""
        tally = StatusTotals[str]()
        tally.update("a", Status({"answered": 5}))
        tally.update("a", Status({"answered": 6}))
        self.assertEqual(tally.total, Status({"answered": 6}))

    def test_who_has_said_nothing(self) -> None:
        """A process that ends without a word changes nothing."""
        tally = StatusTotals[int]()
        tally.ended(1)
        self.assertEqual(tally.total, Status())

    @examples
    @given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.booleans())))
    def test_counters_never_fall(self, history: list[tuple[int, int, bool]]) -> None:
        """Whatever processes do and whenever they end, the sum of a counter only grows."""
        tally, answered, before = StatusTotals[int](), dict.fromkeys(range(4), 0), 0.0
        for process, more, ends in history:
            answered[process] += more
            tally.update(process, Status({"answered": answered[process]}))
            if ends:
                tally.ended(process)
                answered[process] = 0  # another process begins to count
            now = tally.total.counters["answered"]
            self.assertGreaterEqual(now, before)
            before = now


class ResidentSizeTests(SynchronousTestCase):
    """The memory of this process."""

    def test_it_follows_what_is_allocated(self) -> None:
        """64 MiB more are seen as about that."""
        before = resident_size()
        block = b"x" * (64 << 20)
        self.assertGreater(resident_size() - before, len(block) // 2)

    def test_without_proc(self) -> None:
        """Where there is no such file the most that the process ever had is told."""
        missing = os.path.join(temporary_directory(self), "statm")
        self.assertGreaterEqual(resident_size(missing), resident_size() // 2)
