"""The list of private parts of libraries, our source, and the installed libraries agree.

A failure after an update of a library says that it changed a part of `INTERNALS`, or that
`twisted.web` has a feature or a fix that our own requests and connections lack.
"""

from __future__ import annotations

import ast
import dis
import inspect
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import FunctionType, MethodType, ModuleType

from twisted.python.reflect import namedAny
from twisted.web import http, server
from zope.interface.interface import InterfaceClass

from twisted_graceful.http.http1.channel import Channel
from twisted_graceful.twisted_internals import INTERNALS, Internal

from ..case import SynchronousTestCase
from .modules import modules

LIBRARIES = {"twisted", "h2", "hpack", "hyperframe"}

HPACK_DOCUMENTS = {"hpack", "hpack.exceptions"}
"""The modules of hpack that its documentation has. (Twisted's private ones have underscores.)"""

OF_NAMED_TUPLES = {"_fields", "_replace"}
"""Public, in spite of their underscores."""

CALLED_AS: dict[type, type] = {Channel: http.HTTPChannel}
"""Classes whose methods Twisted calls as if they were those of its own, which is no base."""

REQUEST = """
    URLPath addAdapter addComponent addCookie appRootURL args channel childLink chunked client
    clientproto code code_message connectionLost content cookies defaultContentType etag finish
    finished getAllHeaders getClientAddress getClientIP getComponent getCookie getHeader getHost
    getPassword getRequestHostname getRootURL getSession getStateFor getStateToCopy
    getStateToCopyFor getTypeToCopy getTypeToCopyFor getUser gotLength handleContentChunk host
    isSecure jellyFor lastModified locateAdapterClass loseConnection method noLongerQueued
    notifications notifyFinish parseCookies password path persistenceVersion postpath prePathURL
    prepath process processUniqueID processingFailed producer queued received_cookies redirect
    registerProducer rememberRootURL removeComponent render requestHeaders requestReceived
    responseHeaders sentLength session setAdapter setComponent setETag setHeader setHost
    setLastModified setResponseCode sibLink site startedWriting streamingProducer transport
    unregisterProducer unsetComponent uri user view_addCookie view_finish view_registerProducer
    view_setETag view_setHeader view_setLastModified view_setResponseCode
    view_unregisterProducer view_write write
"""
"""The public parts of `twisted.web.server.Request`, up to Twisted 26.10."""

CHANNEL = """
    MAX_LENGTH abortTimeout allContentReceived allHeadersReceived callLater checkPersistence
    clearLineBuffer connected connectionLost connectionMade dataReceived delimiter factory
    forceAbortClient getHost getPeer headerReceived isSecure length lineLengthExceeded
    lineReceived line_mode logPrefix loseConnection makeConnection maxHeaders pauseProducing
    paused persistent rawDataReceived registerProducer requestDone requestFactory requests
    resetTimeout resumeProducing sendLine setLineMode setRawMode setTimeout stopProducing
    timeOut timeoutConnection totalHeadersSize transport unregisterProducer write writeHeaders
    writeSequence
"""
"""Those of `twisted.web.http.HTTPChannel`."""


def is_private(name: str) -> bool:
    """Whether a name, also a dotted one, is private by its spelling."""
    parts = set(name.split(".")) - OF_NAMED_TUPLES
    return any(part.startswith("_") and not part.startswith("__") for part in parts)


def attributes(owner: type) -> set[str]:
    """What a class and its bases have, and what their methods assign to instances."""
    found = set()
    for each in owner.__mro__[:-1]:
        found |= vars(each).keys()
        for value in vars(each).values():
            function = inspect.unwrap(getattr(value, "__func__", value))
            if isinstance(function, FunctionType):
                code = dis.get_instructions(function)
                found |= {step.argval for step in code if step.opname == "STORE_ATTR"}
    return found


class Source:
    """A module of ours.

    Attributes:
        private: the private names of libraries that it uses, without what they belong to.
        mentioned: all names that it uses.
    """

    def __init__(self, name: str, path: Path) -> None:
        self._module: ModuleType = namedAny(f"twisted_graceful.{name}")
        tree = ast.parse(path.read_text())
        nodes = list(ast.walk(tree))
        classes = [each for each in nodes if isinstance(each, ast.ClassDef)]
        self._own = set().union(*map(self._defined, classes))
        self._own |= {each.id for each in nodes if isinstance(each, ast.Name)}
        self._own |= {each.name for each in nodes if isinstance(each, ast.FunctionDef)}
        self._in_classes = {each for owner in classes for each in ast.walk(owner)}
        self.private = {name for each in nodes for name in self._used(each)}
        self.mentioned = self._own | self.private
        self.mentioned |= {each.attr for each in nodes if isinstance(each, ast.Attribute)}
        self.mentioned |= {each.name for each in nodes if isinstance(each, ast.alias)}
        if name != "twisted_internals":  # where the names of the list are strings
            self.mentioned |= {each.value for each in nodes if isinstance(each, ast.Constant)}

    def _defined(self, tree: ast.ClassDef) -> set[str]:
        """What a class of ours defines, and what it assigns to its instances."""
        found = {each.name for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
                found |= {node.attr} if self._is_self(node.value) else set()
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
        return found | {*vars(getattr(self._module, tree.name, object)).get("__slots__", ())}

    @staticmethod
    def _is_self(node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and node.id in {"self", "cls"}

    def _used(self, node: ast.AST) -> Iterator[str]:
        """The private names of libraries that an expression or statement uses."""
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            source = node.module or ""
            is_undocumented = source.startswith("hpack") and source not in HPACK_DOCUMENTS
            for each in node.names:
                if is_undocumented or is_private(f"{source}.{each.name}"):
                    yield each.name
        elif isinstance(node, ast.Attribute) and is_private(node.attr):
            if not self._is_ours(node.value, node.attr, node in self._in_classes):
                yield node.attr
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in {"getattr", "attrgetter"}:
            given = [each.value for each in node.args if isinstance(each, ast.Constant)]
            for name in filter(is_private, (each for each in given if isinstance(each, str))):
                if not self._is_ours(node.args[0], name, node in self._in_classes):
                    yield name
        elif isinstance(node, ast.ClassDef):
            yield from self._inherited(node)

    def _is_ours(self, value: ast.expr, name: str, in_class: bool) -> bool:
        """Whether an attribute of a value is our own, or the standard library's."""
        if self._is_self(value) and in_class:
            return True  # or `_inherited` finds it
        of = getattr(self._module, value.id, None) if isinstance(value, ast.Name) else None
        return isinstance(of, ModuleType) or name in self._own

    def _inherited(self, node: ast.ClassDef) -> Iterator[str]:
        """The private names that a class of ours shares with a library's."""
        owner = getattr(self._module, node.name, None)
        if not isinstance(owner, type):
            return
        theirs: set[str] = set()
        for base in owner.__mro__:
            if base.__module__.split(".")[0] in LIBRARIES:
                theirs |= attributes(base)
        if owner in CALLED_AS:
            methods = vars(CALLED_AS[owner]).items()
            theirs |= {name for name, value in methods if isinstance(value, FunctionType)}
        used = self._defined(node)
        used |= {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
        yield from filter(is_private, used & theirs)


def kind(entry: Internal, name: str) -> str:
    """What a part of an installed library is; empty if there is none."""
    owner = namedAny(entry.owner)
    value = getattr(owner, name, None)
    if isinstance(owner, ModuleType):
        kinds = {type: "class", InterfaceClass: "class", FunctionType: "function"}
        found = (word for each, word in kinds.items() if isinstance(value, each))
        return next(found, "variable") if hasattr(owner, name) else ""
    if isinstance(value, (FunctionType, MethodType)):
        return "method"
    return "attribute" if name in attributes(owner) else ""


def has_since(entry: Internal) -> bool:
    """Whether the installed library is as new as a part of it."""
    library = entry.owner.split(".")[0]
    installed, since = (
        [int(each) for each in version.split(".")[:2]]
        for version in (metadata.version(library), entry.since)
    )
    return installed >= since


class ListTests(SynchronousTestCase):
    """`INTERNALS`."""

    def test_installed_libraries_have_them(self) -> None:
        """Each part exists in the installed libraries, if it did not come later, as its kind."""
        for entry in filter(has_since, INTERNALS):
            for name in entry.names.split():
                with self.subTest(owner=entry.owner, name=name):
                    self.assertEqual(kind(entry, name), entry.kind)

    def test_used_as_listed(self) -> None:
        """All private parts that a module uses are listed with it, and it uses all of these."""
        listed: dict[str, set[str]] = defaultdict(set)
        for entry in INTERNALS:
            for module in entry.used_in.split():
                listed[module].update(entry.names.split())
        for name, path in modules():
            if name == "__init__":
                continue
            with self.subTest(module=name):
                source = Source(name, path)
                self.assertEqual(source.private - listed[name], set(), "not listed")
                self.assertEqual(listed[name] - source.mentioned, set(), "not used")
                del listed[name]
        self.assertEqual(list(listed), [], "no such module")


class GainedTests(SynchronousTestCase):
    """What we have written anew of `twisted.web`."""

    def gained(self, owner: type, known: str) -> list[str]:
        """The public parts of a class that are not known."""
        return sorted(
            name for name in attributes(owner) - {*known.split()} if not name.startswith("_")
        )

    def test_requests(self) -> None:
        """Twisted's requests have no public part that was not there when ours were written."""
        self.assertEqual(self.gained(server.Request, REQUEST), [])

    def test_channels(self) -> None:
        """Twisted's connections have no public part that was not there when ours were written."""
        self.assertEqual(self.gained(http.HTTPChannel, CHANNEL), [])
