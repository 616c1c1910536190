"""The requests of gunicorn's suite: ``tests/requests``, with verdicts in Python beside them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .corpus import Case, CorpusTestCase, Expected, directory

_LIMIT = "its limit is lower than ours"
_FRAMED = "a coding that nobody undoes is refused (RFC 9112 section 6.1)"
_ORIGIN = "an absolute target is shown in origin form, with its authority as Host"
_TUNNEL = "we are no tunnel"
_TRAILER = "a trailer field is dropped, whatever it is called (RFC 9112 section 7.1.2)"

DEVIATIONS = {
    "invalid/003c": "a method is any token (RFC 9110 section 9.1)",
    "invalid/006": _LIMIT,
    "invalid/007": _LIMIT,
    "invalid/008": _LIMIT,
    "invalid/017": _LIMIT,
    "invalid/041": "two values of Content-Type are the application's affair",
    "invalid/rfc9110_trailer_forbidden_cl_01": _TRAILER,
    "invalid/rfc9110_trailer_forbidden_host_01": _TRAILER,
    "invalid/rfc9110_trailer_forbidden_te_01": _TRAILER,
    "invalid/rfc9112_leading_crlf_02": "any number of empty lines is ignored, for a bounded time",
    "valid/005": "a fragment is no part of a target (RFC 9110 section 7.1)",
    "valid/020": "to what looks like a request in its body a Host is added too",
    "valid/025": _FRAMED,
    "valid/025_line": _FRAMED,
    "valid/029": _FRAMED,
    "valid/030": _FRAMED,
    "valid/040": "a name with an underscore is one as any other; it is WSGI that confuses it",
    "valid/099": "its body is not whole",
    "valid/rfc9112_smuggle_gzip_chunked_01": _FRAMED,
    "valid/rfc9112_smuggle_te_identity_chunked_01": _FRAMED,
    "valid/rfc9112_target_absolute_01": _ORIGIN,
    "valid/rfc9112_target_absolute_https_01": _ORIGIN,
    "valid/rfc9112_target_absolute_ipv6_01": _ORIGIN,
    "valid/rfc9112_target_absolute_userinfo_01": "userinfo is refused (RFC 9110 section 4.2.4)",
    "valid/rfc9112_target_asterisk_options_01": "`OPTIONS *` is answered for the server",
    "valid/rfc9112_target_authority_connect_01": _TUNNEL,
    "valid/rfc9112_target_authority_ipv6_01": _TUNNEL,
}
"""Where our verdict is another one, and why."""

_ESCAPES = {b"\\r\\n": b"\r\n", b"\\0": b"\0", b"\\n": b"\n", b"\\t": b"\t"}


class GunicornTests(CorpusTestCase):
    """gunicorn and we agree."""

    def test_requests(self) -> None:
        """What it accepts we accept, with the same content; what it refuses we refuse."""
        self.check(cases(directory("gunicorn-*/tests/requests")), DEVIATIONS, at_least=100)


def cases(requests: Path) -> Iterator[Case]:
    """Those that need no option of gunicorn."""
    for file in sorted(requests.glob("*valid/*.http")):
        verdict = file.with_suffix(".py").read_text()
        if "cfg.set" in verdict:
            continue
        name = f"{file.parent.name}/{file.stem}"
        stream = unescaped(file.read_bytes())
        if file.parent.name == "valid":
            yield Case(name, stream, tuple(map(expected, requests_in(verdict))), False)
        else:
            yield Case(name, stream, (), True)


def unescaped(text: bytes) -> bytes:
    """The bytes that a file stands for: its own line ends mean nothing."""
    text = text.replace(b"\n", b"")
    for escape, meant in _ESCAPES.items():
        text = text.replace(escape, meant)
    return re.sub(rb"\\x([0-9A-Fa-f]{2})", lambda match: bytes.fromhex(match[1].decode()), text)


def requests_in(verdict: str) -> list[dict[str, Any]]:
    """The value of ``request``, read and not run."""
    values: dict[str, Any] = {}
    for statement in ast.parse(verdict).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            values[statement.targets[0].id] = value_of(statement.value, values)
    request = values["request"]
    return request if isinstance(request, list) else [request]


def value_of(node: ast.expr, values: dict[str, Any]) -> Any:
    """The value of an expression in which ``uri(x)`` means x."""
    if isinstance(node, ast.Name):
        return values[node.id]
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Attribute):
            text = value_of(node.func.value, values)  # encoded or decoded
            return text.encode() if isinstance(text, str) else text
        return value_of(node.args[0], values) if node.args else None
    if isinstance(node, ast.Dict):
        keys = (value_of(key, values) for key in node.keys if key is not None)
        return dict(zip(keys, (value_of(each, values) for each in node.values), strict=True))
    if isinstance(node, (ast.List, ast.Tuple)):
        return [value_of(each, values) for each in node.elts]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return value_of(node.left, values) * value_of(node.right, values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return value_of(node.left, values) + value_of(node.right, values)
    return ast.literal_eval(node)


def expected(request: dict[str, Any]) -> Expected:
    """A request as gunicorn shows it."""
    headers = tuple(
        (n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in request["headers"]
    )
    return Expected(
        request["method"].encode(), request["uri"].encode("latin-1"), request["body"], headers
    )
