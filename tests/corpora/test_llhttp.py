"""The requests of llhttp's suite, which aiohttp's source distribution has: Markdown with logs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from .corpus import Case, CorpusTestCase, Expected, directory

_ORIGIN = "an absolute target is shown in origin form, with its authority as Host"
_TUNNEL = "we are no tunnel"
_FRAGMENT = "a fragment is no part of a target (RFC 9110 section 7.1)"
_OTHER = "another protocol"

DEVIATIONS = {
    "connection/No restart when keep-alive is off (1.0)": "what comes after the last is not read",
    "connection/CRLF between requests, explicit `close`": "likewise",
    "connection/CRLF between requests, explicit `close` followed by tab": "likewise",
    "invalid/HTTP protocol and ANNOUNCE method": "a method is any token (RFC 9110 section 9.1)",
    "invalid/Invalid method": "a method is any token (RFC 9110 section 9.1)",
    "method/CONNECT request": _TUNNEL,
    "method/CONNECT request with CAPS": _TUNNEL,
    "method/CONNECT with body": _TUNNEL,
    "method/M-SEARCH request": "the asterisk form is for OPTIONS (RFC 9112 section 3.2.4)",
    "method/SOURCE request with ICE": _OTHER,
    "method/OPTIONS request with RTSP": _OTHER,
    "method/ANNOUNCE request with RTSP": _OTHER,
    "sample/No HTTP version": "HTTP/0.9",
    "transfer-encoding/POST with `chunked` as last transfer-encoding": _FRAGMENT,
    "transfer-encoding/POST with `chunked` as last transfer-encoding (multiple headers)": _FRAGMENT,
    "uri/Host terminated by a query string": _ORIGIN,
    "uri/`host:port` terminated by a query string": _ORIGIN,
    "uri/`host:port` terminated by a space": _ORIGIN,
    "uri/Fragment in URI": _FRAGMENT,
    "uri/Underscore in hostname": _TUNNEL,
    "uri/`host:port` and basic auth": "userinfo is refused (RFC 9110 section 4.2.4)",
}
"""Where our verdict is another one, and why."""

_CASE = re.compile(
    r"^#+ (?P<title>[^\n]+)\n(?:(?!^#|^```)[^\n]*\n)*?"
    r"<!-- meta=(?P<meta>{[^\n]*}) -->\n```http\n(?P<input>.*?)\n```\n[^`]*```log\n(?P<log>.*?)```",
    re.MULTILINE | re.DOTALL,
)
_SPAN = re.compile(r'len=\d+ span\[(method|url|body)\]="(.*)"')


class LlhttpTests(CorpusTestCase):
    """llhttp, when it is strict, and we agree."""

    def test_requests(self) -> None:
        """What it accepts we accept, with the same content; what it refuses we refuse."""
        files = directory("aiohttp-*/vendor/llhttp/test/request")
        self.check(cases(files), DEVIATIONS, at_least=100)


def cases(files: Path) -> Iterator[Case]:
    """Those of requests, without a mode of llhttp's own."""
    for file in sorted(files.glob("*.md")):
        for match in _CASE.finditer(file.read_text()):
            meta = json.loads(match["meta"])
            if meta["type"] == "request" and not {"pause", "skipBody"} & set(meta):
                yield case(f"{file.stem}/{match['title']}", match["input"], match["log"])


def case(name: str, text: str, log: str) -> Case:
    """A case from its text and its log."""
    accepted: list[Expected] = []
    found: dict[str, str] = {}
    for line in log.splitlines():
        if line.endswith(" message begin"):
            found = {"method": "", "url": "", "body": ""}
        elif line.endswith(" message complete"):
            accepted.append(Expected(*(unescaped(each) for each in found.values())))
            found = {}
        elif span := _SPAN.search(line):
            found[span[1]] += span[2]
    refused = "error code=" in log or bool(found)
    return Case(
        name, unescaped(re.sub(r"\r\n|\r|\n", "\r\n", joined(text))), tuple(accepted), refused
    )


def joined(text: str) -> str:
    """The text without line ends that a backslash takes back."""
    return re.sub(r"\\(\r\n|\r|\n)", "", text)


def unescaped(text: str) -> bytes:
    """The bytes that a text stands for."""
    for escape, meant in (("\\r", "\r"), ("\\n", "\n"), ("\\t", "\t"), ("\\f", "\f")):
        text = text.replace(escape, meant)
    text = re.sub(r"\\x([0-9a-fA-F]+)", lambda match: chr(int(match[1], 16)), text)
    text = re.sub(r"\\([0-7]{1,3})", lambda match: chr(int(match[1], 8)), text)
    return text.encode("latin-1", "replace")
