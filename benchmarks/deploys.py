"""The deploys of the soak: what is put in place, what is killed, and what must come of it."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from random import Random

GOOD = """\
from twisted.web.static import Data
from upgrade_app import Root


def resource():
    root = Root()
    root.putChild(b"version", Data(b"{version}", "text/plain"))
    root.putChild(b"warm-up", Data(b"warm", "text/plain"))
    return root
"""

COLD = """\


class Cold(Data):
    def render_GET(self, request):
        request.setResponseCode(500)
        return b"deploy {version} does not get warm"


def cold():
    root = resource_that_is_good()
    root.putChild(b"warm-up", Cold(b"", "text/plain"))
    return root


resource_that_is_good, resource = resource, cold
"""

DIES = """\


import os
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.task import LoopingCall


def die():
    Path("died").write_text(str(time.monotonic()))
    os._exit(3)


def look():
    if Path("{pid_file}").read_text() == str(os.getpid()):
        looking.stop()
        reactor.callLater({delay}, die)


looking = LoopingCall(look)
looking.start(0.01)
"""
"""Dies so many seconds after it is ready, and leaves a note when exactly that was."""


@dataclass(frozen=True)
class Deploy:
    """A kind of deploy.

    Attributes:
        name: as the report has it.
        source: of the application.
        succeeds: whether it serves in the end, or what served before.
        share: how often it comes, in relation to the others.
        kills: who is killed (``kill -9``) at a random moment: ``successor``,
            ``predecessor`` or nobody.
        says: what the log must say when it has not succeeded.
        twice: whether a good one follows while it is still under way.
        needs: the option without which it is not one.
    """

    name: str
    source: str
    succeeds: bool
    share: int = 1
    kills: str = ""
    says: str = ""
    twice: bool = False
    needs: str = ""


DEPLOYS = (
    Deploy("good", GOOD, succeeds=True, share=4),
    Deploy("twice", GOOD, succeeds=True, twice=True),
    Deploy("no-import", "import not_there\n", succeeds=False, says="No module named 'not_there'"),
    Deploy(
        "raises",
        'def resource():\n    raise RuntimeError("version {version} is not good")\n',
        succeeds=False,
        says="is not good",
    ),
    Deploy(
        "never-ready",
        "from twisted.internet.defer import Deferred\n\nresource = Deferred\n",
        succeeds=False,
        says="it was not ready within",
    ),
    Deploy("cold", GOOD + COLD, succeeds=False, says="does not get warm", needs="--warm-up"),
    Deploy("dies", GOOD + DIES, succeeds=False, share=2, says="exited with status 3"),
    Deploy(
        "kill-successor", GOOD, succeeds=False, share=2, kills="successor", says="killed by SIGKILL"
    ),
    Deploy("kill-predecessor", GOOD, succeeds=True, share=2, kills="predecessor"),
)


def endless(random: Random, names: Container[str]) -> Iterator[Deploy]:
    """These deploys in random order, each as often as its share says."""
    bag: Sequence[Deploy] = [each for each in DEPLOYS for _ in range(each.share)]
    bag = [each for each in bag if each.name in names]
    while bag:
        yield from random.sample(bag, len(bag))
