"""Loads a certificate and its key from files."""

from __future__ import annotations

import codecs
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeAlias

from ...errors import CertificateError

# What RFC 9325 recommends for TLS 1.2, and HTTP/2 does not forbid (RFC 9113 section 9.2.2):
# forward secrecy and authenticated encryption. Those of TLS 1.3 are all of this kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_CERTIFICATE = re.compile(r"^-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----", re.MULTILINE)
_BLOCK = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_KEY = re.compile(r"^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----", re.MULTILINE)

_Decoded: TypeAlias = dict[str, Any]
"""A certificate as `ssl.SSLSocket.getpeercert` returns it."""

_DAY = 86400.0

_SOON = 14 * _DAY
"""Seconds before its end when a certificate should have been renewed."""

_NO_AUTHORITY = {"subject": None, "issuer": None, "notAfter": "Dec 31 23:59:59 9999 GMT"}
"""Python does not decode a certificate that may not sign others."""

_NO_CHECK_TIME = 0x200000
"""X509_V_FLAG_NO_CHECK_TIME of OpenSSL, which Python has no name for."""


@dataclass(frozen=True)
class CertificateFacts:
    """What a certificate says.

    Attributes:
        begins: when its validity begins, in seconds since the epoch; None if that is unknown.
        ends: when its validity ends.
        names: the hosts that it is for.
        faults: what is wrong with it at any time, in words.
        chain_ends: when the validity of those that follow it in its file ends, in their order.
    """

    begins: float | None
    ends: float | None
    names: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    chain_ends: tuple[float, ...] = ()

    def warnings(self, now: float) -> list[str]:
        """What an operator should do something about.

        Args:
            now: seconds since the epoch.
        """
        when: list[str] = []
        if self.begins is not None and now < self.begins:
            when = [f"it is not valid before {_date(self.begins)}: clients refuse it"]
        if self.ends is not None and now >= self.ends:
            when = [f"it expired at {_date(self.ends)}: clients refuse it"]
        elif self.ends is not None and now > self.ends - _SOON:
            when.append(f"it expires in {_span(self.ends - now)}, at {_date(self.ends)}")
        when += (
            f"certificate {place} of its file expired at {_date(ends)}: clients may refuse it"
            for place, ends in enumerate(self.chain_ends, 2)
            if now >= ends
        )
        return [*when, *self.faults]


def load(certificate: str, key: str = "") -> ssl.SSLContext:
    """What a server needs to speak TLS 1.2 and later.

    Args:
        certificate: the path of a PEM file: the server's certificate, then those that sign it.
        key: the path of a PEM file; empty if the key is in the file of the certificate.

    Raises:
        CertificateError: a file cannot be read, is of another kind, or they do not match.
    """
    key_file = key or certificate
    if not _CERTIFICATE.search(_read(certificate, "tls_cert")):
        raise CertificateError(
            f"tls_cert: {certificate!r} holds no certificate in PEM format; one in DER is "
            f"converted by `openssl x509 -inform DER -in {certificate} -out cert.pem`"
        )
    if not _KEY.search(_read(key_file, "tls_key")):
        raise CertificateError(
            f"tls_key: {key_file!r} holds no private key in PEM format"
            + ("" if key else "; name the file that does with tls_key (--tls-key)")
        )

    def encrypted() -> str:
        raise CertificateError(
            f"tls_key: the key in {key_file!r} is encrypted, and there is nobody to type its "
            f"password; `openssl pkey -in {key_file} -out key.pem` writes one that is not"
        )

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    # A client could make us work for nothing with it; TLS 1.3 has none.
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key_file, encrypted)
    except ssl.SSLError as error:
        raise CertificateError(_explain(error, certificate, key_file)) from error
    return context


def facts(context: ssl.SSLContext, certificate: str, hosts: tuple[str, ...]) -> CertificateFacts:
    """What the certificate of a server says, and what its clients would find wrong with it.

    Python decodes only certificates that it has verified, so this is what a client that trusts this
    very certificate, at any time, finds in a handshake with us.

    Args:
        context: what `load` has returned.
        certificate: the file that it was loaded from.
        hosts: names under which the server is reached, as far as they are known.
    """
    faults: list[str] = []
    try:
        own: bytes = _handshake(context, ssl.CERT_NONE).getpeercert(binary_form=True)
        decoded = _handshake(context, ssl.CERT_REQUIRED, own).getpeercert()
    except ssl.SSLError as error:
        # Such as one for clients or for e-mail, or one that is too weak.
        reason = getattr(error, "verify_message", "") or error.reason or error
        return CertificateFacts(None, None, faults=(f"clients refuse it: {reason}",))
    names = tuple(name for _, name in decoded.get("subjectAltName", ()))
    if not names:
        faults.append("it has no subjectAltName, and clients look nowhere else for the host")
    for host in hosts:
        with suppress(ssl.SSLCertVerificationError):
            _handshake(context, ssl.CERT_REQUIRED, own, host)
            continue
        faults.append(f"it is not for {host!r}, but for {', '.join(names) or 'nobody'}")
    chain = list(_chain(certificate, own))
    faults += _faults_of_chain(decoded, chain)
    chain_ends = tuple(ssl.cert_time_to_seconds(each["notAfter"]) for each in chain)
    begins, ends = (ssl.cert_time_to_seconds(decoded[each]) for each in ("notBefore", "notAfter"))
    return CertificateFacts(begins, ends, names, tuple(faults), chain_ends)


def _handshake(
    context: ssl.SSLContext, mode: ssl.VerifyMode, trusted: bytes = b"", host: str = ""
) -> Any:
    """The client's side of a handshake with a server in memory."""
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname = bool(host)
    ours.verify_mode = mode
    ours.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    if trusted:
        ours.load_verify_locations(cadata=trusted)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ours.wrap_bio(back, there, server_hostname=host or None)
    server = context.wrap_bio(there, back, server_side=True)
    for _ in range(2):  # which are its round trips
        with suppress(ssl.SSLWantReadError):
            client.do_handshake()
        with suppress(ssl.SSLWantReadError):
            server.do_handshake()
    return client


def _chain(certificate: str, own: bytes) -> Iterator[_Decoded]:
    """The certificates in a file, without the server's own."""
    for block in _BLOCK.findall(_read(certificate, "tls_cert")):
        der = ssl.PEM_cert_to_DER_cert(block)
        if der != own:
            store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            store.load_verify_locations(cadata=der)
            # One that may not sign is not listed.
            yield next(iter(store.get_ca_certs()), _NO_AUTHORITY)


def _faults_of_chain(own: _Decoded, chain: Iterable[_Decoded]) -> Iterator[str]:
    below = own
    for place, above in enumerate(chain, 2):
        if below["issuer"] != above["subject"]:
            yield (
                f"certificate {place} of its file is not the one that has signed certificate "
                f"{place - 1}: clients may not be able to verify it"
            )
            return
        below = above


def _date(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")


def _span(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours // 24:.0f} days" if hours >= 48 else f"{hours:.1f} hours"


def _read(path: str, setting: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise CertificateError(
            f"{setting}: {path!r} cannot be read: {error.strerror}; it must be a PEM file that "
            "this process, and each that takes its place in an upgrade, can read"
        ) from error
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise CertificateError(
            f"{setting}: {path!r} begins with a byte order mark, which OpenSSL cannot read: "
            "save it as ASCII"
        )
    return data.decode("latin-1")


def _explain(error: ssl.SSLError, certificate: str, key: str) -> str:
    if "MISMATCH" in (error.reason or ""):
        return (
            f"tls_key: the key in {key!r} is not that of the first certificate in {certificate!r}; "
            "the server's own certificate comes first, those that sign it after it"
        )
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return f"tls_cert, tls_key: OpenSSL cannot use {certificate!r} with {key!r}: {reason}"
