"""The WSGI environ of a request (PEP 3333, RFC 3875)."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO
from wsgiref.util import FileWrapper

from twisted.logger import Logger

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_application_log = Logger(namespace="wsgi")

_NOT_FROM_FIELDS = {
    # They have variables of their own.
    b"content-type",
    b"content-length",
    # The application reads the decoded body (RFC 3875 section 4.2); CONTENT_LENGTH says how long
    # that is, and the two together would contradict each other.
    b"transfer-encoding",
}


class EnvironFactory:
    """Makes the environ of each request of a server.

    Args:
        extra: variables beside those of PEP 3333.
        multithread: whether several threads may be in the application at the same time.
        multiprocess: whether other processes run the same application; asked for each request.
    """

    def __init__(
        self, extra: Mapping[str, object], *, multithread: bool, multiprocess: Callable[[], bool]
    ) -> None:
        self._multiprocess = multiprocess
        self._constant = {
            "wsgi.version": (1, 0),
            "wsgi.multithread": multithread,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": FileWrapper,
            # The body is complete before the application is called, so its end is an end of file.
            # This is what Werkzeug asks for, and `CONTENT_LENGTH` what Django does.
            "wsgi.input_terminated": True,
            **extra,
        }

    def make(self, request: Any, body: BinaryIO) -> WSGIEnvironment:
        """The environ of a request.

        Args:
            request: a `twisted.web.server.Request`.
            body: its content, a binary file; it is read from the start.
        """
        client, host = request.getClientAddress(), request.getHost()
        path, script = request.postpath, request.prepath
        target = _text(request.uri)
        length = body.seek(0, io.SEEK_END)
        body.seek(0)
        environ = {
            **self._constant,
            "REQUEST_METHOD": _text(request.method),
            "SCRIPT_NAME": "".join("/" + _text(each) for each in script),
            "PATH_INFO": "".join("/" + _text(each) for each in path),
            "QUERY_STRING": target.partition("?")[2],
            # Not percent-decoded; the names that mod_wsgi and gunicorn have for it.
            "REQUEST_URI": target,
            "RAW_URI": target,
            "REMOTE_ADDR": client.host,
            "REMOTE_PORT": str(client.port),
            "SERVER_NAME": _text(request.getRequestHostname()) or host.host,
            "SERVER_PORT": str(host.port),
            "SERVER_PROTOCOL": _text(request.clientproto),
            "wsgi.url_scheme": "https" if request.isSecure() else "http",
            "wsgi.multiprocess": self._multiprocess(),
            "wsgi.input": body,
            "wsgi.errors": ErrorStream(),
        }
        fields = request.requestHeaders
        if length or fields.hasHeader(b"content-length"):
            environ["CONTENT_LENGTH"] = str(length)
        for name, values in fields.getAllRawHeaders():
            lowered = name.lower()
            # X_Y would have the variable of X-Y, and a client could write what only its proxy
            # may. So names with an underscore are dropped, as by nginx and gunicorn.
            if b"_" in lowered or lowered in _NOT_FROM_FIELDS:
                continue
            # Cookies have a separator of their own (RFC 6265 section 4.2.1, RFC 9113 8.2.3).
            joined = (b"; " if lowered == b"cookie" else b",").join(values)
            environ["HTTP_" + _text(lowered).upper().replace("-", "_")] = _text(joined)
        content_type = fields.getRawHeaders(b"content-type")
        if content_type:
            environ["CONTENT_TYPE"] = _text(content_type[0])
        return environ


def _text(data: bytes) -> str:
    """Bytes as native strings of PEP 3333."""
    return data.decode("latin-1")


class ErrorStream(io.TextIOBase):
    """The text file `wsgi.errors`, whose lines are logged."""

    encoding = "utf-8"

    def __init__(self) -> None:
        super().__init__()
        self._line = ""

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that are complete, together: most often they are one traceback.

        Raises:
            TypeError: this is not text.
        """
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        lines, newline, self._line = (self._line + text).rpartition("\n")
        if newline:
            _application_log.error("{lines}", lines=lines)
        return len(text)

    def flush(self) -> None:
        """Log what was written of a line."""
        line, self._line = self._line, ""
        if line:
            _application_log.error("{lines}", lines=line)
