"""Each private part of Twisted that we touch, in the real Twisted.

A failure here says that this Twisted has changed it; `twisted_graceful.twisted_internals`
says why we touch it.
"""

from __future__ import annotations

import gzip
import socket
import sys
from typing import Any

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock, Cooperator
from twisted.logger import Logger, LogPublisher, globalLogPublisher
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from twisted.web.resource import EncodingResourceWrapper
from twisted.web.server import GzipEncoderFactory

from twisted_graceful import twisted_internals
from twisted_graceful.testing import MemoryServer

from ..case import SynchronousTestCase
from .support import run_python
from .web import Echo


class CloseWithoutShutdownTests(SynchronousTestCase):
    """A real connection that the reactor has adopted."""

    def setUp(self) -> None:
        """Adopt one end of a pair, and keep a duplicate of it, as another process would."""
        from twisted.internet import reactor

        self.peer, adopted = socket.socketpair()
        self.addCleanup(self.peer.close)
        self.peer.setblocking(False)
        adopted.setblocking(False)
        self.duplicate = adopted.dup()
        self.addCleanup(self.duplicate.close)
        protocol = Protocol()
        with adopted:
            reactor.adoptStreamConnection(  # type: ignore[attr-defined]
                adopted.fileno(), socket.AF_UNIX, Factory.forProtocol(lambda: protocol)
            )
        self.transport: Any = protocol.transport

    def close(self) -> None:
        """Close the connection as the reactor does once all is written."""
        self.transport.connectionLost(Failure(ConnectionDone()))

    def test_the_other_descriptors_live_on(self) -> None:
        """After the close the peer sees no EOF, until the last descriptor is closed."""
        twisted_internals.close_without_shutdown(self.transport)
        self.close()
        self.assertRaises(BlockingIOError, self.peer.recv, 1)
        self.duplicate.sendall(b"x")
        self.assertEqual(self.peer.recv(1), b"x")
        self.duplicate.close()
        self.assertEqual(self.peer.recv(1), b"")

    def test_it_is_needed(self) -> None:
        """Without it Twisted ends the connection for every descriptor of the socket."""
        self.close()
        self.assertEqual(self.peer.recv(1), b"")

    def test_a_transport_without_the_switch_is_noticed(self) -> None:
        """If Twisted renames what we set, that is an error and not a connection cut later."""
        self.close()
        self.assertRaises(AttributeError, twisted_internals.close_without_shutdown, object())


class HeadersTests(SynchronousTestCase):
    """Header fields that are not checked again."""

    def test_they_are_what_twisted_makes(self) -> None:
        """Clean fields are the same as if they had gone through Twisted's checks."""
        fields = {b"Content-Type": [b"text/html"], b"X-Two": [b"1", b"2"]}
        checked = Headers({name.lower(): values for name, values in fields.items()})
        self.assertEqual(twisted_internals.headers(fields), checked)

    def test_names_are_found_in_any_case(self) -> None:
        """A field is found, replaced, added to and removed by its name in any case."""
        headers = twisted_internals.headers({b"Content-Type": [b"text/html"]})
        for name in ("content-type", b"CONTENT-TYPE"):
            with self.subTest(name=name):
                self.assertTrue(headers.hasHeader(name))
                self.assertEqual(headers.getRawHeaders(b"content-type"), [b"text/html"])
        headers.addRawHeader(b"content-type", b"text/plain")
        self.assertEqual(
            list(headers.getAllRawHeaders()), [(b"Content-Type", [b"text/html", b"text/plain"])]
        )
        headers.removeHeader(b"content-type")
        self.assertEqual(list(headers.getAllRawHeaders()), [])

    def test_two_messages_share_nothing(self) -> None:
        """A field of one message is in no other one."""
        twisted_internals.headers({}).setRawHeaders(b"X-One", [b"1"])
        self.assertFalse(twisted_internals.headers({}).hasHeader(b"X-One"))

    def test_they_can_be_read(self) -> None:
        """The fields of Twisted's own headers are found by their names in Twisted's spelling."""
        headers = Headers({b"user-agent": [b"a"]})
        headers.addRawHeader(b"REFERER", b"b")
        self.assertEqual(
            twisted_internals.raw_headers(headers), {b"User-Agent": [b"a"], b"Referer": [b"b"]}
        )


class PullToPushTests(SynchronousTestCase):
    """A producer that is asked for each piece, as one that goes on by itself."""

    def setUp(self) -> None:
        """Wrap a producer that counts, on a clock."""
        self.clock = Clock()
        cooperator = Cooperator(scheduler=lambda call: self.clock.callLater(1, call))
        # The global one would need the reactor to run.
        self.patch(
            sys.modules[twisted_internals.PullToPush.__module__], "cooperate", cooperator.cooperate
        )
        self.pieces = 0
        self.fails = False
        self.streaming = twisted_internals.PullToPush(self, self)
        self.streaming.startStreaming()

    def resumeProducing(self) -> None:
        """Make a piece, as the producer."""
        if self.fails:
            raise ValueError("nothing left")
        self.pieces += 1

    def unregisterProducer(self) -> None:
        """Stop, as the consumer."""
        self.streaming.stopStreaming()

    def made(self) -> bool:
        """Whether anything is made as time goes on."""
        before = self.pieces
        self.clock.advance(1)
        return self.pieces > before

    def test_it_goes_on_by_itself(self) -> None:
        """Pieces are made one after the other, without being asked for."""
        self.assertTrue(self.made())
        self.assertTrue(self.made())

    def test_it_pauses_and_resumes(self) -> None:
        """Nothing is made while the consumer has no room."""
        self.streaming.pauseProducing()
        self.assertFalse(self.made())
        self.streaming.resumeProducing()
        self.assertTrue(self.made())

    def test_it_stops(self) -> None:
        """Nothing is made after the end, and a second end does no harm."""
        self.streaming.stopStreaming()
        self.streaming.stopStreaming()
        self.assertFalse(self.made())

    def test_a_producer_that_fails(self) -> None:
        """A producer that raises is logged and unregistered, which is the end."""
        self.fails = True
        self.made()
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.fails = False
        self.assertFalse(self.made())


class EncodingResourceTests(SynchronousTestCase):
    """Resources that encode their answers."""

    def test_a_gzipped_answer(self) -> None:
        """A resource that Twisted's wrapper encodes is encoded for a client that accepts it."""
        wrapped = EncodingResourceWrapper(Echo(), [GzipEncoderFactory()])
        response = MemoryServer(wrapped).request("GET", "/", {"Accept-Encoding": "gzip"})
        self.assertEqual(gzip.decompress(response.body), b"GET / ")


class LoggingTests(SynchronousTestCase):
    """What is asked of a process as a whole, in fresh ones."""

    def test_whether_logging_has_begun(self) -> None:
        """It is told apart whether somebody has said where to log to."""
        done = run_python(
            "-c",
            "from twisted.logger import globalLogBeginner\n"
            "from twisted_graceful import twisted_internals\n"
            "print(twisted_internals.logging_has_begun())\n"
            "globalLogBeginner.beginLoggingTo([lambda event: None], redirectStandardIO=False)\n"
            "print(twisted_internals.logging_has_begun())\n",
        )
        self.assertEqual(done.stdout, "False\nTrue\n")

    def test_log_observers(self) -> None:
        """Observers that were kept can still log when twistd has removed them."""
        told: list[Any] = []
        globalLogPublisher.addObserver(told.append)
        kept = twisted_internals.log_observers()
        globalLogPublisher.removeObserver(told.append)
        Logger(observer=LogPublisher(*kept)).info("after the end")
        self.assertEqual([each["log_format"] for each in told], ["after the end"])


class StopSignalTests(SynchronousTestCase):
    """A real reactor, in a process of its own."""

    def stopped(self, how: str) -> str:
        """What is said of a reactor that was stopped in some way."""
        code = (
            "import os, signal; from twisted.internet import reactor\n"
            # In the background of a script it is ignored, and Twisted leaves it so.
            "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
            "from twisted_graceful.twisted_internals import was_told_to_stop\n"
            f"reactor.callWhenRunning({how})\n"
            "told = lambda: print(was_told_to_stop(reactor))\n"
            "reactor.addSystemEventTrigger('before', 'shutdown', told)\n"
            "reactor.run()\n"
        )
        return run_python("-c", code).stdout.strip()

    def test_a_signal(self) -> None:
        """After TERM or INT the reactor knows that it was a signal."""
        for number in (15, 2):
            with self.subTest(number=number):
                self.assertEqual(self.stopped(f"os.kill, os.getpid(), {number}"), "True")

    def test_an_application(self) -> None:
        """A reactor that the application has stopped was not told to."""
        self.assertEqual(self.stopped("reactor.stop"), "False")
