"""Every private or undocumented part of Twisted, h2 and hpack that this package uses.

`INTERNALS` lists them. `tests/unit/test_internals.py` compares the list with this package and
with the installed libraries: it fails when a part is used that is not listed, when a listed one
is no longer used, and when a library no longer has it.

The functions below the list use internals on behalf of several modules.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Literal, NamedTuple

from twisted.internet._producer_helpers import _PullToPush as PullToPush
from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LegacyLogObserverWrapper,
    LogPublisher,
    globalLogPublisher,
)
from twisted.python import log
from twisted.python.logfile import BaseLogFile
from twisted.web.http_headers import Headers
from twisted.web.resource import _IEncodingResource as IEncodingResource

__all__ = [
    "INTERNALS",
    "IEncodingResource",
    "Internal",
    "PullToPush",
    "close_without_shutdown",
    "headers",
    "is_log_file",
    "log_files",
    "log_observers",
    "logging_has_begun",
    "observe_first",
    "raw_headers",
    "replace_log_streams",
    "was_told_to_stop",
]


class Internal(NamedTuple):
    """Parts of one class or module that its library may change without notice.

    Attributes:
        owner: the class or module.
        names: its parts, separated by spaces. Those without an underscore are undocumented, or
            this package replaces them, which their library does not expect.
        kind: what each of them is. An attribute may be one of the class or of its instances.
        since: the first version that has all of them; "8.0" of Twisted is the oldest looked at.
        used_in: the modules of this package that use them.
        why: what for.
    """

    owner: str
    names: str
    kind: Literal["attribute", "class", "function", "method", "variable"]
    since: str
    used_in: str
    why: str


# fmt: off
INTERNALS = [
    # Transports and ports
    Internal("twisted.internet.abstract.FileDescriptor",
             "dataBuffer offset _tempDataBuffer _tempDataLen _writeDisconnected",
             "attribute", "8.0", "http.io.transport",
             "how much is unsent, and whether a write may go to the socket before the poll"),
    Internal("twisted.internet.abstract.FileDescriptor", "bufferSize",
             "attribute", "8.0", "http.io.transport",
             "how much is gathered before it is sent"),
    Internal("twisted.internet.tcp.Connection", "_closeWriteConnection",
             "method", "8.0", "http.io.tls",
             "send close_notify first"),
    Internal("twisted.internet.tcp._SocketCloser", "_shouldShutdown",
             "attribute", "14.0", "twisted_internals",
             "close a descriptor without shutdown(2), which ends the connection for every process"),
    Internal("twisted.internet.tcp.Port", "_preexistingSocket",
             "attribute", "12.1", "http.io.port process.listeners.reactor_listeners",
             "adopt a listener by a class of ours"),
    Internal("twisted.internet.tcp.Port", "_realPortNumber",
             "attribute", "12.1", "http.io.port http.io.unix_port",
             "start without Twisted's log message"),
    Internal("twisted.internet.tcp.Port", "_shouldShutdown",
             "attribute", "14.0", "http.io.port process.listeners.reactor_listeners",
             "close a listener without shutdown(2), which ends it for every process"),
    Internal("twisted.internet.udp.Port", "_preexistingSocket",
             "attribute", "12.1", "process.listeners.reactor_listeners",
             "adopt a socket by a class of ours"),
    Internal("twisted.internet.posixbase.PosixReactorBase", "listenTCP listenUNIX listenUDP",
             "method", "8.0", "process.listeners.reactor_listeners",
             "replaced on the instance: listeners that a successor inherits"),
    Internal("twisted.internet.tcp.Port", "_buildAddr",
             "method", "8.0", "http.io.port http.io.unix_port",
             "the address of a client, which is another one at a UNIX socket"),
    Internal("twisted.internet.tcp.Port", "_logConnectionLostMsg", "method", "10.2", "http.io.port",
             "log nothing when a port is closed"),
    Internal("twisted.internet.tcp.Port", "_type", "attribute", "11.1", "http.io.unix_port",
             "the name in messages of Twisted"),
    Internal("twisted.internet.tcp.Port", "numberAccepts sessionno",
             "attribute", "8.0", "http.io.port",
             "accept as many at once as Twisted would, and number them as Twisted does"),

    # The reactor
    Internal("twisted.internet.base.ReactorBase", "seconds", "attribute", "8.0", "clock",
             "replaced by a clock that nobody can set"),
    Internal("twisted.internet.base.DelayedCall", "seconds", "attribute", "8.0", "clock",
             "replaced in calls that were made before"),
    Internal("twisted.internet.base.ReactorBase", "_exitSignal",
             "attribute", "18.4", "twisted_internals",
             "whether a signal stopped the reactor"),
    Internal("twisted.internet.process", "reapProcessHandlers",
             "variable", "8.0", "process.host.reaper",
             "the children that the reactor waits for"),
    Internal("twisted.internet._producer_helpers", "_PullToPush",
             "class", "17.1", "twisted_internals",
             "let a pull producer produce by itself"),
    Internal("twisted.python.threadpool.ThreadPool", "threadFactory",
             "attribute", "8.0", "app.wsgi.threads",
             "threads that the interpreter does not wait for at exit"),

    # twisted.web: `Request` and `Channel` replace the ones of Twisted
    Internal("twisted.web.http.Request", "_disconnected", "attribute", "9.0", "http.request",
             "Twisted's methods ask whether the client is gone"),
    Internal("twisted.web.http.Request", "_forceSSL", "attribute", "8.0", "http.forwarded_request",
             "set by an application, it has priority over what a proxy says"),
    Internal("twisted.web.http.Request", "_log", "attribute", "18.4", "http.request",
             "methods of Twisted log with the id of the request"),
    Internal("twisted.web.server.Request", "_encoder", "attribute", "12.3", "http.request",
             "render with an encoder, as Twisted does"),
    Internal("twisted.web.server.Request", "_inFakeHead", "attribute", "11.0", "http.request",
             "Twisted's render sets and asks it"),
    Internal("twisted.web.server.Request", "_handleStar", "method", "17.9", "http.request",
             "answer OPTIONS *"),
    Internal("twisted.web.server.Request", "_log", "attribute", "18.4", "http.request",
             "as that of the base class"),
    Internal("twisted.web.http.HTTPChannel", "_protocolUpgradeForWebsockets",
             "method", "25.5", "http.http1.channel",
             "called by twisted.web.websocket"),
    Internal("twisted.python.components.Componentized", "_adapterCache",
             "attribute", "8.0", "http.request",
             "made only for requests that are adapted"),
    Internal("twisted.web.resource", "_IEncodingResource", "class", "12.3", "twisted_internals",
             "find an encoding resource as Twisted does"),
    Internal("twisted.web.http_headers.Headers", "_rawHeaders",
             "attribute", "8.2", "twisted_internals",
             "read and write fields that are known to be clean, without checking them again"),

    # The log
    Internal("twisted.logger._global.LogBeginner", "_temporaryObserver",
             "attribute", "15.2", "twisted_internals",
             "whether a program has begun to log"),
    Internal("twisted.logger._observer.LogPublisher", "_observers",
             "attribute", "15.2", "twisted_internals",
             "what writes the log now, and an observer before all others"),
    Internal("twisted.logger._filter.FilteringLogObserver", "_observer _negativeObserver",
             "attribute", "15.2", "twisted_internals",
             "find the streams that the log is written to"),
    Internal("twisted.logger._file.FileLogObserver", "_outFile",
             "attribute", "15.2", "twisted_internals",
             "replaced by a stream that never blocks"),
    Internal("twisted.logger._legacy.LegacyLogObserverWrapper", "legacyObserver",
             "attribute", "15.2", "twisted_internals",
             "find the streams that the log is written to"),
    Internal("twisted.python.log.FileLogObserver", "write flush",
             "attribute", "8.0", "twisted_internals",
             "replaced by those of a stream that never blocks"),
    Internal("twisted.python.logfile.BaseLogFile", "_openFile",
             "method", "8.0", "process.host.shared_log_files",
             "replaced: several processes append to one file"),
    Internal("twisted.python.logfile.BaseLogFile", "_file",
             "attribute", "8.0", "process.host.shared_log_files",
             "what is written to"),
    Internal("twisted.python.logfile.LogFile", "shouldRotate rotate",
             "method", "8.0", "process.host.shared_log_files",
             "replaced: one of several processes rotates"),

    # twistd
    Internal("twisted.scripts._twistd_unix", "UnixApplicationRunner",
             "class", "8.0", "process.host.twistd_files",
             "the runner of twistd, which a .tac file cannot choose"),
    Internal("twisted.scripts._twistd_unix.UnixApplicationRunner",
             "setupEnvironment shedPrivileges removePID",
             "method", "8.0", "process.host.twistd_files",
             "replaced: pid file and privileges with successors in mind"),
    Internal("twisted.application.app.AppLogger", "_getLogObserver",
             "method", "8.2", "process.host.twistd_files",
             "replaced: a log with an absolute path"),
    Internal("twisted.application.app.AppLogger", "_logfilename",
             "attribute", "8.2", "process.host.twistd_files",
             "the path of the log"),
    Internal("twisted.scripts._twistd_unix.UnixAppLogger", "_nodaemon",
             "attribute", "8.2", "process.host.twistd_files",
             "whether twistd is a daemon, which has a log"),

    # HTTP/2
    Internal("h2.connection.H2Connection", "MAX_CLOSED_STREAMS",
             "attribute", "3.1", "http.http2.h2_machine",
             "remember fewer closed streams"),
    Internal("h2.connection.H2Connection", "local_settings remote_settings encoder decoder",
             "attribute", "1.0", "http.http2.h2_machine",
             "settings of ours, a bounded table of the encoder, and a decoder of ours"),
    Internal("h2.connection.H2Connection", "highest_inbound_stream_id",
             "attribute", "2.0", "http.http2.connection http.http2.receiver",
             "the last stream that was served, for GOAWAY"),
    Internal("hpack.hpack.Encoder", "table_size_changes",
             "attribute", "2.0.1", "http.http2.h2_machine",
             "a client cannot make it grow"),
    Internal("hpack.hpack.Decoder", "header_table max_allowed_table_size",
             "attribute", "3.0", "http.http2.field_decoder",
             "the state that a decoder of ours keeps"),
    Internal("hpack.hpack", "decode_integer", "function", "1.0", "http.http2.field_decoder",
             "the parts of hpack's loop that ours keeps"),
    Internal("hpack.huffman_table", "decode_huffman", "function", "2.2", "http.http2.field_decoder",
             "likewise"),
    Internal("hpack.table", "HeaderTable", "class", "1.1", "http.http2.field_decoder",
             "the static and the dynamic table"),
    Internal("hpack.table.HeaderTable", "STATIC_TABLE",
             "attribute", "1.1", "http.http2.field_decoder",
             "the static table"),
    Internal("hpack.table.HeaderTable", "get_by_index add",
             "method", "1.1", "http.http2.field_decoder",
             "the dynamic table"),
]
# fmt: on


def close_without_shutdown(transport: Any) -> None:
    """Make a transport's close leave other descriptors of the same socket alone.

    Twisted calls shutdown(2) before close(2), which ends the connection for every
    process and every descriptor that shares it. There is no public switch.
    """
    assert transport._shouldShutdown in (True, False)
    transport._shouldShutdown = False


def is_log_file(stream: object) -> bool:
    """Whether a stream is one of Twisted's log files, which are shared."""
    return isinstance(stream, BaseLogFile)


def log_files() -> list[str]:
    """The paths of the files that Twisted logs to."""
    found = []

    def note(stream: Any) -> Any:
        if is_log_file(stream):
            found.append(stream.path)
        return stream

    replace_log_streams(note)
    return found


def replace_log_streams(
    replaced: Callable[[Any], Any], observer: ILogObserver | None = None
) -> None:
    """Let the observers of the log, however they are nested, write to other streams.

    An observer gets its stream when it is made, by twistd, twist or the program, depending on their
    options; so it is replaced afterwards.

    Args:
        replaced: returns what to write to instead of a stream, or the same stream.
        observer: an observer that has not been added yet; None for all that have.
    """
    pending: list[ILogObserver] = [observer or globalLogPublisher]
    while pending:
        each = pending.pop()
        if isinstance(each, LogPublisher):
            pending += each._observers
        elif isinstance(each, FilteringLogObserver):
            pending += [each._observer, each._negativeObserver]
        elif isinstance(each, FileLogObserver):
            each._outFile = replaced(each._outFile)
        elif isinstance(each, LegacyLogObserverWrapper):
            old = getattr(each.legacyObserver, "__self__", None)
            stream = getattr(getattr(old, "write", None), "__self__", None)
            if isinstance(old, log.FileLogObserver) and stream is not None:
                new = replaced(stream)
                old.write, old.flush = new.write, new.flush


def was_told_to_stop(reactor: object) -> bool:
    """Whether it was a signal that stopped a reactor whose signals are its own.

    An application that stops its reactor is a fault of new code; a signal is somebody's wish.
    """
    return getattr(reactor, "_exitSignal", None) is not None


def logging_has_begun() -> bool:
    """Whether somebody has told twisted.logger where to log to; it cannot be asked."""
    from twisted.logger import globalLogBeginner

    return globalLogBeginner._temporaryObserver is None


def log_observers() -> tuple[ILogObserver, ...]:
    """The observers of the log now.

    twistd removes its own before the interpreter has ended; they still write to the log then.
    """
    return tuple(globalLogPublisher._observers)


def observe_first(observer: ILogObserver, publisher: LogPublisher) -> None:
    """Add an observer before those that a publisher has already.

    A program may have begun to log before it makes a service, and `addObserver` appends: what the
    observer adds to an event would not be seen by those that write it.
    """
    publisher._observers.insert(0, observer)


def headers(values: dict[bytes, list[bytes]]) -> Headers:
    """Header fields whose names and values are known to be clean; the dictionary is taken over.

    Twisted's way in checks each name and value again, which takes as long as all of the rest
    of the parsing.
    """
    made = Headers.__new__(Headers)
    made._rawHeaders = values
    return made


raw_headers: Callable[[Headers], dict[bytes, list[bytes]]] = attrgetter("_rawHeaders")
"""The values of header fields by name, in Twisted's spelling; what is put in is sent as it is.

To ask Twisted for one field costs as much as to make half a line of the access log.
"""
