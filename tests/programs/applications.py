"""The table of programs that other people wrote, and what their clients do.

Each has a folder in ``applications/``: its own files, a ``Procfile`` that says how it is started,
and ``graceful.diff``, which is what a user changes to serve it with this server.
"""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from .visitor import Visit, VisitFailed, Visitor

FILE = b"0123456789" * 20_000
ALICE = {"Authorization": "Basic " + base64.b64encode(b"alice:secret").decode()}
ADD = b"""<?xml version="1.0"?><methodCall><methodName>add</methodName><params>
<param><value><int>2</int></value></param><param><value><int>3</int></value></param>
</params></methodCall>"""
EVENT = """BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//test//EN\r
BEGIN:VEVENT\r
UID:{uid}\r
DTSTAMP:20300101T000000Z\r
DTSTART:20300101T000000Z\r
SUMMARY:New Year\r
END:VEVENT\r
END:VCALENDAR\r
"""


def klein(visitor: Visitor) -> None:
    """A form, an upload, and a response that takes its time."""
    visitor.ask("/", text="<form")
    visitor.form("/", {"text": "twelve chars"}, text="Thank you for 12 characters")
    visitor.upload("/files", {}, FILE, text=f"{len(FILE)} bytes")
    visitor.ask("/slow/50", text="done")


def flask(visitor: Visitor) -> None:
    """A login by a form, whose session all processes know; an upload; a streamed response."""
    visitor.cookies.clear()
    visitor.ask("/", text="Hello stranger")
    visitor.form("/login", {"name": "Alice"}, status=302)
    visitor.ask("/", text="Hello Alice")
    visitor.upload("/files", {"note": "a note"}, FILE, text=f'"bytes":{len(FILE)}')
    visitor.ask("/report", text="line 9\n")


def django(visitor: Visitor) -> None:
    """A login to the admin site, an object that is added and removed there; upload; streaming."""
    if "sessionid" not in visitor.cookies:
        token = visitor.ask("/admin/login/").find('name="csrfmiddlewaretoken" value="([^"]+)')
        login = {"username": "alice", "password": "secret", "csrfmiddlewaretoken": token}
        visitor.form("/admin/login/?next=/admin/", login, status=302)
    visitor.ask("/admin/", text="Site administration")
    page = visitor.ask("/admin/auth/group/add/")
    token = page.find('name="csrfmiddlewaretoken" value="([^"]+)')
    group = {"name": uuid.uuid4().hex, "csrfmiddlewaretoken": token, "_continue": "1"}
    added = visitor.form("/admin/auth/group/add/", group, status=302)
    visitor.ask(added.headers["Location"], text=group["name"])
    visitor.upload("/upload", {}, FILE, text=f'"bytes": {len(FILE)}')
    visitor.ask("/export", text="9,81\n")


def twisted_web(visitor: Visitor) -> None:
    """Every kind of resource of twisted.web that is not only a page."""
    visitor.ask("/numbers.txt", text="0123456789")
    part = {"Range": "bytes=10-19"}
    visitor.ask("/numbers.txt", headers=part, status=206, text="0123456789")
    visitor.ask("/missing", status=404)
    visitor.ask("/", headers={"Host": "other.example"}, text="another host")
    visitor.ask("/guarded", status=401)
    visitor.ask("/guarded", headers=ALICE, text="Hello alice")
    xml = {"Content-Type": "text/xml"}
    visitor.ask("/RPC2", "POST", body=ADD, headers=xml, text="<int>5</int>")
    visitor.ask("/proxied/x", text="proxied GET")
    visitor.ask("/proxied/x", "POST", body=FILE, text="proxied POST 0123456789")
    visitor.ask("/distributed/x", text="distributed GET")
    visitor.ask("/distributed/x", "POST", body=b"body", text="distributed POST body")


def autobahn(visitor: Visitor) -> None:
    """A message that comes back, over a connection that stays open."""
    message = uuid.uuid4().hex
    try:
        visitor.send("/ws", message)
        if (echo := visitor.receive("/ws")) != message:
            raise VisitFailed(f"the echo of {message} is {echo}")
    except ConnectionResetError:
        pass  # the next visit connects to the new process
    visitor.pause(0.01)  # a drain takes a second, and the load is to be small


def scrapyd(visitor: Visitor) -> None:
    """The pages, and the calls that need no spider."""
    visitor.ask("/", text="Scrapyd")
    visitor.ask("/jobs", text="Jobs")
    visitor.ask("/daemonstatus.json", text='"status": "ok"')
    visitor.ask("/listprojects.json", text='"projects": []')
    visitor.form("/delproject.json", {"project": "none"}, text='"status": "error"')


@dataclass
class Side:
    """One of the two clients of a mailbox, each of which reconnects when the server goes away."""

    visitor: Visitor
    name: str
    mailbox: str
    phases: set[str] = field(default_factory=set)
    connected: bool = False

    def say(self, kind: str, **fields: str) -> None:
        """Send a message."""
        message = json.dumps({"type": kind, "id": uuid.uuid4().hex[:8], **fields})
        self.visitor.send("/v1", message, self.name)

    def add(self, phase: str) -> None:
        """Put a message into the mailbox, and wait until it is there."""
        while phase not in self.phases:
            try:
                self.open()
                if phase not in self.phases:
                    self.say("add", phase=phase, body="00")
                    self.wait(phase)
            except ConnectionResetError:
                self.connected = False

    def get(self, phase: str) -> None:
        """Wait until the message of the other side arrives."""
        while phase not in self.phases:
            try:
                self.open()
                self.wait(phase)
            except ConnectionResetError:
                self.connected = False

    def open(self) -> None:
        """Connect, if that is necessary, and ask for the mailbox."""
        if not self.connected:
            self.say("bind", appid="test", side=self.name)
            self.say("open", mailbox=self.mailbox)
            self.say("ping", ping="1")
            self.connected = True

    def wait(self, phase: str) -> None:
        """Read until a message is there."""
        while phase not in self.phases:
            try:
                received = json.loads(self.visitor.receive("/v1", self.name, 5))
            except TimeoutError:
                raise VisitFailed(f"{self.name} has no message {phase}") from None
            if received["type"] == "error":
                raise VisitFailed(str(received))
            if received["type"] == "message":
                self.phases.add(received["phase"])


def mailbox(visitor: Visitor) -> None:
    """Two sides that take turns with messages, long enough to be open when an upgrade begins."""
    visitor.ask("/", text="Wormhole Relay")
    shared = uuid.uuid4().hex
    sides = [Side(visitor, name, shared) for name in ("a", "b")]
    for sender, receiver, phase in ((n % 2, 1 - n % 2, str(n)) for n in range(20)):
        sides[sender].add(phase)
        sides[receiver].get(phase)
        visitor.pause(0.02)
    for side in sides:
        visitor.hang_up("/v1", side.name)


def radicale(visitor: Visitor) -> None:
    """A calendar that is made, an event that is put into it and read, and its removal."""
    user = {"Authorization": "Basic " + base64.b64encode(b"alice:").decode()}
    calendar, uid = f"/alice/{uuid.uuid4().hex}", uuid.uuid4().hex
    visitor.ask(calendar, "MKCALENDAR", headers=user, status=201)
    event = EVENT.format(uid=uid).encode()
    kind = {**user, "Content-Type": "text/calendar"}
    visitor.ask(f"{calendar}/{uid}.ics", "PUT", body=event, headers=kind, status=201)
    visitor.ask(f"{calendar}/{uid}.ics", headers=user, text="SUMMARY:New Year")
    visitor.ask(f"{calendar}/", "PROPFIND", headers={**user, "Depth": "1"}, status=207, text=uid)
    visitor.ask(f"{calendar}/", "DELETE", headers=user)


def pypiserver(visitor: Visitor) -> None:
    """A package that is uploaded, listed and downloaded."""
    package = f"package{uuid.uuid4().hex}"
    file = f"{package}-1.0.tar.gz"
    visitor.upload("/", {":action": "file_upload"}, FILE, field="content", name=file)
    visitor.ask(f"/simple/{package}/", text=file)
    visitor.ask(f"/packages/{file}", text="0123456789")
    visitor.ask("/health", text="Ok")


@dataclass(frozen=True)
class Program:
    """A program.

    Attributes:
        visit: what a client does.
        port: the port that its files name, as ``:PORT``; a free one is put in its place.
        prepare: commands that are run before it is started, beside the Procfile's ``release``.
        environment: variables of these.
        files: files that it needs, by name.
        edits: what is shorter in the test than for users, so that it does not wait.
        beside: a command that runs beside it; ``{port}`` is a free port, which takes the place of
            8081 in its files.
    """

    visit: Visit
    port: int = 8080
    prepare: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    edits: Mapping[str, str] = field(default_factory=dict)
    beside: str = ""


PROGRAMS = {
    "autobahn": Program(
        autobahn, edits={'8080", root)': '8080", root, probation=0, drain_timeout=2)'}
    ),
    "django": Program(
        django,
        prepare=(
            "python mysite.py createsuperuser --noinput --username alice --email a@b.example",
        ),
        environment={"DJANGO_SUPERUSER_PASSWORD": "secret"},
    ),
    "flask": Program(flask),
    "klein": Program(klein),
    "mailbox": Program(
        mailbox,
        port=4000,
        edits={"drain_timeout=10": "drain_timeout=2", "signals=True": "signals=True, probation=0"},
    ),
    "pypiserver": Program(pypiserver, files={"packages/README": b""}),
    "radicale": Program(radicale),
    "scrapyd": Program(scrapyd, port=6800, edits={"signals=True": "signals=True, probation=0"}),
    "twisted_web": Program(
        twisted_web,
        files={"files/numbers.txt": FILE},
        edits={"signals=True": "signals=True, probation=0"},
        beside="python backend.py {port}",
    ),
}
