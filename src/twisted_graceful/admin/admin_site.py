"""The resources of the admin endpoints."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from importlib import resources
from importlib.metadata import version
from typing import Any, TypeAlias

from twisted.python.failure import Failure
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from ..event_names import EventName
from ..networks import Networks
from .guard import RequestSource, why_action_refused, why_refused
from .metrics import MISSING, exposition
from .overview import Event, Overview
from .page import page

Rendered: TypeAlias = bytes | int
"""What a method ``render`` returns: the body, or `NOT_DONE_YET`."""

JSON = "application/json"
LINES = "application/x-ndjson"
TEXT = "text/plain; charset=utf-8"

_HEADERS = {
    # Nothing that a client has sent can run, nothing comes from or goes to elsewhere, and no
    # other site can show us in a frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _answer(request: Request, status: int, kind: str, body: bytes) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", kind)
    return body


def _json(request: Request, status: int, value: object) -> bytes:
    return _answer(request, status, JSON, json.dumps(value, indent=1).encode() + b"\n")


def _finish(request: Request, body: bytes) -> None:
    if request.channel is not None:  # else the client has gone
        request.write(body)
        request.finish()


_STOPS = (409, "this process is stopping")


class GetResource(Resource):
    """A resource that responds to GET and HEAD.

    Args:
        answer: makes it.
    """

    isLeaf = True

    def __init__(self, answer: Callable[[Request], Rendered]) -> None:
        super().__init__()
        self._answer = answer

    def render_GET(self, request: Request) -> Rendered:
        """Answer."""
        return self._answer(request)


class AdminAction(Resource, ABC):
    """An action, on POST, for clients that may act.

    Args:
        overview: tells what happens.
    """

    isLeaf = True

    def __init__(self, overview: Overview) -> None:
        super().__init__()
        self._overview = overview

    def render_GET(self, request: Request) -> bytes:
        """Say how it is done."""
        request.setHeader("Allow", "POST")
        return _json(request, 405, {"error": "an action is asked for with POST"})

    def render_POST(self, request: Request) -> Rendered:
        """Do it."""
        reason = why_action_refused(request)
        if reason:
            return _json(request, 403, {"error": reason})
        kind = (request.getHeader("content-type") or "").partition(";")[0].strip().lower()
        if kind != JSON:  # which no form of another site can send
            return _json(request, 415, {"error": f"an action has the Content-Type {JSON}"})
        return self._act(request)

    @abstractmethod
    def _act(self, request: Request) -> Rendered:
        """Do it, and answer as a ``render`` method does."""


class FollowedAction(AdminAction):
    """An action whose response reports its events, as lines of JSON, until it is over.

    The response to an upgrade comes from the predecessor, and is complete when that ends. An
    upgrade and a rolling restart can begin during each other, and a client sees the events of the
    one that it asked for.

    Args:
        overview: passes on the events.
        begin: begins it.
        refusal: the status and the reason if it cannot be done at all.
        is_rolling: whether it begins a rolling restart now.
    """

    def __init__(
        self,
        overview: Overview,
        begin: Callable[[], None],
        refusal: Callable[[], tuple[int, str] | None] = lambda: None,
        is_rolling: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__(overview)
        self._begin = begin
        self._refusal = refusal
        self._is_rolling = is_rolling

    def _act(self, request: Request) -> Rendered:
        refused = self._refusal()
        if refused:
            status, reason = refused
            return _json(request, status, {"error": reason})
        request.setHeader("Content-Type", LINES)
        is_over, is_rolling = False, self._is_rolling()

        def send(event: Event) -> None:
            nonlocal is_over
            # New workers below this process are of no more use then.
            ends_it = is_rolling and event.name in (EventName.READY, EventName.STOPPED)
            if is_over or not (event.is_rolling_restart == is_rolling or ends_it):
                return
            request.write(event.encode())
            if event.is_last or ends_it:
                is_over = True
                self._overview.remove_observer(send)
                request.finish()

        def client_gone(reason: Failure) -> None:
            nonlocal is_over
            is_over = True
            self._overview.remove_observer(send)

        request.notifyFinish().addErrback(client_gone)
        self._overview.add_observer(send)
        self._begin()
        return NOT_DONE_YET


class UpgradeAction(FollowedAction):
    """An upgrade; GET reports the last one."""

    def render_GET(self, request: Request) -> bytes:
        """The events of the last upgrade, as lines of JSON."""
        lines = [json.dumps(each).encode() + b"\n" for each in self._overview.last_upgrade]
        return _answer(request, 200, LINES, b"".join(lines))


_MOST = 1000
"""Workers; more is a slip of the pen that no machine bears."""


class WorkersAction(AdminAction):
    """Changes the number of workers to that in the body: ``{"workers": 4}``."""

    def _act(self, request: Any) -> bytes:
        service = self._overview.service
        if service.pool is None:
            return _json(request, 501, {"error": "this is a single process, without workers"})
        if service.is_stopping:
            status, reason = _STOPS
            return _json(request, status, {"error": reason})
        try:
            count = json.loads(request.content.read())["workers"]
        except (ValueError, KeyError, TypeError):
            count = None
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST:
            accepted = f'the body must be {{"workers": N}}, with N from 1 to {_MOST}'
            return _json(request, 400, {"error": accepted})
        service.pool.resize(count - service.pool.size)
        return _answer(request, 200, LINES, Event(EventName.RESIZED, {"workers": count}).encode())


class Root(Resource):
    """The root of the admin endpoints, which checks who may ask.

    Args:
        overview: what is known.
        allowed: whose clients may ask, beside those of this machine.
        names: hosts that we go by, as for `why_refused`.
    """

    def __init__(
        self, overview: Overview, *, allowed: Networks, names: Collection[str] = ()
    ) -> None:
        super().__init__()
        self._overview = overview
        self._allowed = allowed
        self._names = names
        service = overview.service
        for path, answer in {
            b"": self._page,
            b"healthz": lambda request: _answer(request, 200, TEXT, b"alive\n"),
            b"readyz": self._ready,
            b"metrics": self._metrics,
            b"status": lambda request: _json(request, 200, self.status()),
            b"page.js": _file("page.js", "text/javascript"),
            b"page.css": _file("page.css", "text/css"),
        }.items():
            self.putChild(path, GetResource(answer))
        self.putChild(b"upgrade", UpgradeAction(overview, service.upgrade, self._why_no_upgrade))
        self.putChild(
            b"reload",
            FollowedAction(
                overview,
                service.reload,
                self._why_no_upgrade,
                lambda: service.reloads_workers,
            ),
        )
        self.putChild(b"stop", FollowedAction(overview, self._stop))
        self.putChild(b"workers", WorkersAction(overview))

    def getChildWithDefault(self, path: bytes, request: Request) -> IResource:
        """The resource of a path, if the client may ask for it."""
        for name, value in _HEADERS.items():
            request.setHeader(name, value)
        reason = why_refused(RequestSource.of(request), self._allowed, self._names)
        if reason:
            return ErrorPage(403, reason)
        if path not in self.children or request.postpath:
            return ErrorPage(404, "there is no such page")
        child: IResource = self.children[path]
        return child

    def _stop(self) -> None:
        """Stop, unless a stop has begun already: a second one would cut what is left."""
        if not self._overview.service.is_stopping:
            self._overview.service.stop()

    def _why_no_upgrade(self) -> tuple[int, str] | None:
        service = self._overview.service
        if not service.upgradable:
            return 501, (
                "this program has been started without upgrades; `listen_and_serve_forever` has "
                "them, and `wait_group` with upgrade=True"
            )
        return _STOPS if service.is_stopping else None

    def _ready(self, request: Request) -> bytes:
        service = self._overview.service
        ready = service.is_ready
        checks = {
            # A master loads no server itself: each is as ready as its workers are.
            ", ".join(map(str, each.addresses)): ready if service.pool else each.is_ready
            for each in service.servers
        }
        return _json(
            request,
            200 if ready else 503,
            {
                "ready": ready,
                "checks": {name: "ready" if it else "not ready" for name, it in checks.items()},
            },
        )

    def _metrics(self, request: Request) -> Rendered:
        overview = self._overview
        try:
            text, kind = exposition(overview.total, overview.serving)
        except ImportError:
            return _json(request, 501, {"error": MISSING})
        # Whoever would serve again, should this process die, knows first what was shown.
        overview.service.send_report().addCallback(
            lambda _: _finish(request, _answer(request, 200, kind, text))
        )
        return NOT_DONE_YET

    def status(self) -> dict[str, object]:
        """All that is known."""
        overview = self._overview
        total = overview.total
        return {
            "version": version("twisted-graceful"),
            "ready": overview.service.is_ready,
            "listeners": [
                {"address": name, "bound": bound} for name, bound in overview.service.listening
            ],
            "generations": overview.generations,
            "counters": dict(total.counters),
            "gauges": dict(total.gauges),
        }

    def _page(self, request: Request) -> bytes:
        overview = self._overview
        text = page(self.status(), overview.history, overview.last_upgrade)
        return _answer(request, 200, "text/html; charset=utf-8", text.encode())


class ErrorPage(GetResource):
    """An error response, whatever the method.

    Args:
        status: of the answer.
        reason: what it says.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(lambda request: _json(request, status, {"error": reason}))

    def render(self, request: Request) -> Rendered:
        """Refuse."""
        return self._answer(request)


def _file(name: str, kind: str) -> Callable[[Request], bytes]:
    content = resources.files(__package__).joinpath(name).read_bytes()
    return lambda request: _answer(request, 200, f"{kind}; charset=utf-8", content)
