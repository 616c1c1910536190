"""What is told of clients, and when it is enough."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent

from twisted_graceful.http.log.client_log import ClientLog

from ..case import SynchronousTestCase

CLIENT = IPv4Address("TCP", "192.0.2.1", 1234)
TEXT = "The client {peer} is {what}"
LINE = "The client 192.0.2.1:1234 is slow"


class ComplaintsTests(SynchronousTestCase):
    """The log of one site."""

    def setUp(self) -> None:
        """Nothing has been told."""
        self.clock = Clock()
        self.client_log = ClientLog(self.clock)

    def told(self, times: int, text: str = TEXT, client: IAddress = CLIENT) -> list[str]:
        """What is in the log when something was told so often."""
        with capturedLogs() as events:
            for _ in range(times):
                self.client_log.write(client, text, what="slow")
        return [formatEvent(event) for event in events]

    def test_client(self) -> None:
        """A client is named as people write addresses."""
        addresses = (CLIENT, IPv6Address("TCP", "2001:db8::1", 1234), UNIXAddress("/a"))
        names = [self.told(1, "{peer}", each)[0] for each in addresses]
        self.assertEqual(names[:2], ["192.0.2.1:1234", "[2001:db8::1]:1234"])
        self.assertIn("/a", names[2])

    def test_enough(self) -> None:
        """After ten lines of a kind there is no more, which the tenth says."""
        self.assertEqual(self.told(9), [LINE] * 9)
        self.clock.advance(20.01)
        (last,) = self.told(1000)
        self.assertTrue(last.startswith(LINE))
        self.assertIn("more of this kind; they are not told for 40 s", last)

    def test_other_kinds(self) -> None:
        """What is enough of one kind says nothing of another."""
        self.told(20)
        self.assertEqual(self.told(1, "other"), ["other"])

    def test_again(self) -> None:
        """After a minute it is told again."""
        self.told(1000)
        self.clock.advance(60)
        self.assertEqual(len(self.told(1000)), 10)
