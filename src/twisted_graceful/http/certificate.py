"""A certificate and its key, from files to what TLS needs."""

from __future__ import annotations

import re
import ssl

from ..errors import CertificateError

# What RFC 9325 recommends for TLS 1.2, and HTTP/2 does not forbid (RFC 9113 section 9.2.2):
# forward secrecy and authenticated encryption. Those of TLS 1.3 are all of this kind.
_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"

_CERTIFICATE = re.compile(r"^-----BEGIN (TRUSTED |X509 )?CERTIFICATE-----", re.MULTILINE)
_KEY = re.compile(r"^-----BEGIN ([A-Z0-9]+ )*PRIVATE KEY-----", re.MULTILINE)


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


def _read(path: str, setting: str) -> str:
    try:
        with open(path, encoding="latin-1") as file:
            return file.read()
    except OSError as error:
        raise CertificateError(
            f"{setting}: {path!r} cannot be read: {error.strerror}; it must be a PEM file that "
            "this process, and each that takes its place in an upgrade, can read"
        ) from error


def _explain(error: ssl.SSLError, certificate: str, key: str) -> str:
    if "MISMATCH" in (error.reason or ""):
        return (
            f"tls_key: the key in {key!r} is not that of the first certificate in {certificate!r}; "
            "the server's own certificate comes first, those that sign it after it"
        )
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return f"tls_cert, tls_key: OpenSSL cannot use {certificate!r} with {key!r}: {reason}"
