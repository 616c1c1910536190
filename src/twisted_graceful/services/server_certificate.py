"""The certificate of a server: which addresses need it, and warnings about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ..address import Address, ListenAddress
from ..clock import time_of_day
from ..config.server_settings import ServerSettings
from ..errors import CertificateError

if TYPE_CHECKING:
    import ssl

    from ..http.io.certificates import CertificateFacts


class ServerCertificate:
    """The certificate and key of a server.

    Args:
        settings: the paths of both.
        addresses: where the server listens.
        clock: says what time it is.
        log: of the server.

    Attributes:
        context: what TLS connections are made with; None if it was not read, or is not needed.
    """

    def __init__(
        self,
        settings: ServerSettings,
        addresses: Sequence[ListenAddress],
        clock: IReactorTime,
        log: Logger,
    ) -> None:
        self._path = settings.tls_cert
        self._key = settings.tls_key
        self._addresses = [each for each in addresses if self.is_needed_at(each)]
        self._clock = clock
        self._log = log
        self.context: ssl.SSLContext | None = None
        self._facts: CertificateFacts | None = None

    def is_needed_at(self, address: ListenAddress) -> bool:
        """Whether TLS is spoken at an address."""
        return address.scheme == "https" or (not address.scheme and bool(self._path))

    def read(self) -> None:
        """Read the certificate and its key, if an address needs them.

        Raises:
            CertificateError: there is none that can be used.
        """
        if not self._addresses:
            return
        if not self._path:
            raise CertificateError(
                f"{str(self._addresses[0])!r} needs a certificate: name its file with tls_cert "
                "(--tls-cert)"
            )
        try:
            from ..http.io import certificates
        except ImportError as error:
            raise CertificateError(
                f"this Python was built without OpenSSL, and cannot speak TLS: {error}"
            ) from error
        self.context = certificates.load(self._path, self._key)
        self._facts = None

    @property
    def facts(self) -> CertificateFacts | None:
        """What the certificate says; None if it was not read."""
        if self.context is not None and self._facts is None:
            from ..http.io import certificates

            hosts = {
                each.domain for each in self._addresses if isinstance(each, Address) and each.domain
            }
            try:
                self._facts = certificates.facts(self.context, self._path, tuple(sorted(hosts)))
            except (OSError, ValueError) as error:  # OpenSSL can use it, which is what counts
                self._facts = certificates.CertificateFacts(
                    None, None, faults=(f"it could not be examined: {error}",)
                )
        return self._facts

    @property
    def ends(self) -> dict[str, float]:
        """When it expires, in seconds since the epoch, by the names of listeners."""
        facts = self.facts
        if facts is None or facts.ends is None:
            return {}
        return {each.name: facts.ends for each in self._addresses}

    @property
    def warnings(self) -> list[str]:
        """What an operator should do something about; each sentence names the file."""
        facts = self.facts
        if facts is None:
            return []
        found = facts.warnings(time_of_day(self._clock)())
        return [f"The certificate in {self._path!r}: {each}" for each in found]

    def log_warnings(self) -> None:
        """Log these warnings."""
        for warning in self.warnings:
            self._log.warn("{warning}", warning=warning)
