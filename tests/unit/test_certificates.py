"""Certificates and keys: what is accepted, what is refused, and how it is said."""

from __future__ import annotations

import os
import ssl
from base64 import b64decode
from dataclasses import replace
from typing import Any
from unittest import SkipTest, mock

from twisted.application.service import MultiService
from twisted.internet.task import Clock
from twisted.logger import LogLevel, formatEvent, globalLogPublisher

from tests.certificates import (
    EXPIRED,
    FOR_CLIENTS,
    INTERMEDIATE,
    ONE,
    ONE_KEY,
    ONE_KEY_ENCRYPTED,
    ROOT,
    SIGNED,
    TWO,
    TWO_KEY,
    WITHOUT_NAMES,
)
from tests.unit.secure import certificate_file
from tests.unit.support import run_python, temporary_directory
from tests.unit.web import Echo
from twisted_graceful import CertificateError, GracefulService, Settings, SettingsError, new
from twisted_graceful.http.io.certificates import CertificateFacts, facts, load
from twisted_graceful.http.io.connection_limit import ConnectionLimit
from twisted_graceful.process.host.log_file import LogFiles
from twisted_graceful.process.listeners.listener_registry import ListenerRegistry
from twisted_graceful.services.server import Server
from twisted_graceful.services.shared_resources import SharedResources

from ..case import SynchronousTestCase

NONSENSE = "-----BEGIN {0}-----\nbm9uc2Vuc2U=\n-----END {0}-----\n"


class LoadTests(SynchronousTestCase):
    """Files of all kinds."""

    def file(self, *parts: str) -> str:
        """A file that holds these."""
        return certificate_file(self, *parts)

    def refused(self, certificate: str, key: str = "") -> str:
        """Why they are refused."""
        return str(self.assertRaises(CertificateError, load, certificate, key))

    def test_accepted(self) -> None:
        """The key may be in a file of its own, or in that of the certificate; a chain follows."""
        load(self.file(ONE), self.file(ONE_KEY))
        load(self.file(ONE, ONE_KEY))
        load(self.file(ONE_KEY, ONE))
        load(self.file("A comment\n", ONE, TWO), self.file(ONE_KEY))

    def test_what_is_spoken(self) -> None:
        """It is TLS 1.2 and later, with ciphers that keep secrets if the key is lost."""
        context = load(self.file(ONE, ONE_KEY))
        self.assertIs(context.minimum_version, ssl.TLSVersion.TLSv1_2)
        for cipher in context.get_ciphers():
            self.assertTrue(cipher["aead"], cipher)
            self.assertTrue(cipher["name"].startswith(("TLS_", "ECDHE-")), cipher)
        self.assertTrue(context.options & ssl.OP_NO_RENEGOTIATION)

    def test_no_file(self) -> None:
        """What cannot be opened is named, with the setting and the system's reason."""
        nowhere = os.path.join(temporary_directory(self), "nowhere.pem")
        for text, setting in (
            (self.refused(nowhere), "tls_cert"),
            (self.refused(self.file(ONE), nowhere), "tls_key"),
        ):
            with self.subTest(text=text, setting=setting):
                self.assertTrue(text.startswith(f"{setting}: {nowhere!r} cannot be read: No such"))
        self.assertIn("Is a directory", self.refused(os.path.dirname(nowhere)))

    def test_unreadable(self) -> None:
        """So is what this user may not read."""
        if os.geteuid() == 0:
            raise SkipTest("root may read everything")
        path = self.file(ONE, ONE_KEY)
        os.chmod(path, 0)
        self.assertIn("Permission denied", self.refused(path))

    def test_no_pem(self) -> None:
        """What is no PEM is named, with a way to convert it."""
        path = self.file()
        with open(path, "wb") as file:
            file.write(b64decode("".join(ONE.splitlines()[1:-1])))
        self.assertIn(f"openssl x509 -inform DER -in {path} -out", self.refused(path))
        self.assertIn("holds no certificate", self.refused(self.file(ONE_KEY)))

    def test_byte_order_mark(self) -> None:
        """What a Windows editor puts before it is named, for OpenSSL would find nothing."""
        path = self.file()
        for encoding in ("utf-8-sig", "utf-16"):
            with self.subTest(encoding=encoding):
                with open(path, "w", encoding=encoding) as file:
                    file.write(ONE + ONE_KEY)
                self.assertIn("begins with a byte order mark", self.refused(path))
                self.assertIn("tls_key", self.refused(self.file(ONE), path))

    def test_no_key(self) -> None:
        """A missing key is a reason of its own; where none was named, how to name one."""
        text = self.refused(self.file(ONE))
        self.assertIn("holds no private key", text)
        self.assertIn("--tls-key", text)
        text = self.refused(self.file(ONE), self.file(ONE))
        self.assertIn("holds no private key", text)
        self.assertNotIn("--tls-key", text)

    def test_encrypted(self) -> None:
        """An encrypted key is refused, with a way to decrypt it; nobody is asked a password."""
        path = self.file(ONE_KEY_ENCRYPTED)
        text = self.refused(self.file(ONE), path)
        self.assertIn("is encrypted", text)
        self.assertIn(f"openssl pkey -in {path} -out", text)

    def test_of_another(self) -> None:
        """A key that is not that of the first certificate is refused, with both files."""
        for parts in ((ONE,), (TWO, ONE)):
            with self.subTest(parts=parts):
                certificate = self.file(*parts)
                key = self.file(TWO_KEY if parts == (ONE,) else ONE_KEY)
                text = self.refused(certificate, key)
                self.assertIn("is not that of the first certificate", text)
                self.assertIn(repr(certificate), text)
                self.assertIn(repr(key), text)

    def test_nonsense(self) -> None:
        """PEM that holds nonsense is refused with what OpenSSL says."""
        text = self.refused(self.file(NONSENSE.format("CERTIFICATE")), self.file(ONE_KEY))
        self.assertIn("OpenSSL cannot use", text)
        text = self.refused(self.file(ONE), self.file(NONSENSE.format("PRIVATE KEY")))
        self.assertIn("OpenSSL cannot use", text)


DAY = 86400


class FactsTests(SynchronousTestCase):
    """What a certificate says of itself, and what is wrong with it."""

    def facts(self, *parts: str, hosts: tuple[str, ...] = ()) -> CertificateFacts:
        """Those of the first of these."""
        path = certificate_file(self, *parts, ONE_KEY)
        return facts(load(path), path, hosts)

    def test_time(self) -> None:
        """It must have begun, and must not end within two weeks."""
        known = self.facts(ONE)
        begins, ends = known.begins, known.ends
        assert begins is not None
        assert ends is not None
        self.assertEqual((begins, ends), (1795529855, 4949129855))
        for now, warning in (
            (begins - 1, "it is not valid before 2026-11-24 14:17 UTC: clients refuse it"),
            (begins, ""),
            (ends - 14 * DAY, ""),
            (ends - 13.6 * DAY, "it expires in 13 days, at 2126-10-31 14:17 UTC"),
            (ends - DAY, "it expires in 24.0 hours, at 2126-10-31 14:17 UTC"),
            (ends, "it expired at 2126-10-31 14:17 UTC: clients refuse it"),
        ):
            with self.subTest(now=now, warning=warning):
                self.assertEqual(known.warnings(now), [warning] if warning else [])
        known = self.facts(EXPIRED)
        self.assertEqual(known.ends, 1609459200)

    def test_names(self) -> None:
        """It has names, and among them those under which the server is known to be reached."""
        self.assertEqual(self.facts(ONE).names, ("localhost", "127.0.0.1"))
        known = self.facts(
            SIGNED, hosts=("example.com", "a.example.org", "b.a.example.org", "b.eu")
        )
        names = "but for example.com, *.example.org"
        self.assertEqual(
            known.faults,
            (f"it is not for 'b.a.example.org', {names}", f"it is not for 'b.eu', {names}"),
        )
        [fault] = self.facts(WITHOUT_NAMES).faults
        self.assertIn("no subjectAltName", fault)

    def test_chain(self) -> None:
        """Those that sign it follow it, each before the one that has signed it."""
        for more, wrong in (
            ((), None),
            ((INTERMEDIATE,), None),
            ((INTERMEDIATE, ROOT), None),
            ((ROOT, INTERMEDIATE), 2),
            ((INTERMEDIATE, TWO), 3),
            ((ONE,), 2),
        ):
            with self.subTest(more=more, wrong=wrong):
                faults = self.facts(SIGNED, *more).faults
                self.assertEqual(len(faults), 1 if wrong else 0)
                if wrong:
                    self.assertIn(f"certificate {wrong} of its file is not the one", faults[0])

    def test_chain_expires(self) -> None:
        """One that follows it may expire earlier, and is named then."""
        known = replace(self.facts(SIGNED, INTERMEDIATE, ROOT), ends=None)
        [_, ends] = known.chain_ends
        self.assertEqual(known.warnings(ends - 1), [])
        at = "expired at 2126-10-31 00:00 UTC: clients may refuse it"
        self.assertEqual(
            known.warnings(ends),
            [f"certificate 2 of its file {at}", f"certificate 3 of its file {at}"],
        )
        self.assertEqual(len(self.facts(SIGNED, EXPIRED).chain_ends), 1)

    def test_purpose(self) -> None:
        """One that clients refuse for another reason has that for a fault."""
        known = self.facts(FOR_CLIENTS)
        [fault] = known.warnings(0)
        self.assertRegex(fault, "clients refuse it: unsu.* certificate purpose")


class ServerTests(SynchronousTestCase):
    """Servers whose addresses need a certificate, or do not."""

    def test_nothing_is_bound(self) -> None:
        """A certificate that cannot be used is refused before any address is bound."""
        bad = certificate_file(self, "nonsense")
        bound: list[Server] = []

        class Watched(Server):
            """Notes that it binds."""

            def open(self) -> None:
                """Bind."""
                bound.append(self)
                super().open()

        servers = [
            Watched("127.0.0.1:0", Echo(), reactor=Clock()),
            Watched("127.0.0.1:0", Echo(), settings=Settings(tls_cert=bad), reactor=Clock()),
        ]
        service = GracefulService(*servers, reactor=Clock())
        self.assertRaises(CertificateError, service.open)
        self.assertEqual(bound, [])
        service = MultiService()
        servers[1].setServiceParent(service)
        self.assertRaises(CertificateError, service.privilegedStartService)
        self.assertEqual(servers[1].bound, [])

    def test_https_without_a_certificate(self) -> None:
        """An address of https is refused without one, by its name and with what to do."""
        server = new(["127.0.0.1:0", "https:127.0.0.1:0"], Echo(), reactor=Clock())
        text = str(self.assertRaises(CertificateError, server.open))
        self.assertIn("'https:127.0.0.1:0' needs a certificate", text)
        self.assertIn("--tls-cert", text)
        self.assertEqual(server.bound, [])

    def test_who_speaks_tls(self) -> None:
        """With a certificate an address speaks TLS, unless its scheme is http."""
        path = certificate_file(self, ONE, ONE_KEY)
        places = ["127.0.0.1:0", "http:127.0.0.1:0", "https:127.0.0.1:0"]
        for certificate, count, schemes in (
            ({"tls_cert": path}, 3, ["https", "http", "https"]),
            ({}, 2, ["http", "http"]),
        ):
            with self.subTest(certificate=certificate, count=count):
                server = new(places[:count], Echo(), reactor=Clock(), **certificate)
                server.open()
                self.addCleanup(server.close)
                self.assertEqual([each.partition(":")[0] for each in server.urls], schemes)

    def test_what_is_wrong_is_logged(self) -> None:
        """At its start a server says once what is wrong with its certificate; a worker does not."""
        logged: list[str] = []

        def observe(event: Any) -> None:
            if event["log_level"] is LogLevel.warn:
                logged.append(formatEvent(event))

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)
        path = certificate_file(self, EXPIRED, ONE_KEY)
        clock = Clock()
        clock.advance(1609459200 + DAY)
        places = ["http:127.0.0.1:0", "https:localhost:0"]
        for balance, count in (None, 1), (mock.Mock(), 0):
            with self.subTest(balance=balance, count=count):
                logged.clear()
                server = new(places, Echo(), reactor=clock, tls_cert=path)
                limit = ConnectionLimit(clock, balance=balance)
                server.join(SharedResources(ListenerRegistry(), LogFiles(clock), limit))
                service = server if balance else GracefulService(server, reactor=clock)
                service.open()
                self.addCleanup(server.close)
                expired = f"The certificate in {path!r}: it expired at 2021-01-01 00:00 UTC"
                self.assertEqual(
                    [each.partition(": clients")[0] for each in logged], [expired] * count
                )
        self.assertEqual(server.certificate.ends, {"localhost:0": 1609459200})

    def test_python_without_openssl(self) -> None:
        """Where Python has no TLS everything else works, and a certificate is refused by that."""
        done = run_python(
            "-c",
            "import sys\n"
            "sys.modules['ssl'] = sys.modules['_ssl'] = None\n"
            "from twisted.internet.task import Clock\n"
            "from twisted.web.resource import Resource\n"
            "from twisted_graceful import CertificateError, new\n"
            "new('127.0.0.1:0', Resource(), reactor=Clock()).open()\n"
            "try:\n"
            "    new('127.0.0.1:0', Resource(), reactor=Clock(), tls_cert='c.pem').open()\n"
            "except CertificateError as error:\n"
            "    print(error)\n",
        )
        self.assertIn("built without OpenSSL", done.stdout, done.stderr)

    def test_only_http(self) -> None:
        """What no address needs is not read."""
        server = new("http:127.0.0.1:0", Echo(), reactor=Clock(), tls_cert="/nowhere")
        server.open()
        server.close()

    def test_key_without_certificate(self) -> None:
        """A key alone would leave the port plain, and is refused."""
        error = self.assertRaises(SettingsError, Settings, tls_key="key.pem")
        self.assertIn("together with tls_cert", str(error))
