"""The admin endpoints of a server, and a client of them."""

from __future__ import annotations

import json
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from .client import Client
from .harness import Server

SOCKET = "admin.sock"
ADMIN = ("--admin", f"unix:{SOCKET}")


class Admin:
    """A client of the admin endpoints of a server."""

    def __init__(self, server: Server) -> None:
        self.server = server
        server.serving(0)
        self.path = str(server.directory / SOCKET)

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of an answer."""
        answer = self.server.get(path, self.path)
        return answer.status, answer.body

    def status(self) -> dict[str, Any]:
        """What /status says."""
        found: dict[str, Any] = json.loads(self.get("/status")[1])
        return found

    def metrics(self) -> dict[str, float]:
        """The samples of /metrics."""
        samples = {}
        for family in text_string_to_metric_families(self.get("/metrics")[1]):
            for each in family.samples:
                labels = ",".join(f"{name}={it}" for name, it in sorted(each.labels.items()))
                samples[f"{each.name}{{{labels}}}"] = each.value
        return samples

    def act(self, action: str) -> Client:
        """Ask for an action; the events are its body."""
        client = self.server.connect(self.path)
        client.send(
            f"POST /{action} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            "Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        )
        return client


def events(client: Client) -> list[dict[str, Any]]:
    """What an action told until it was over."""
    return [json.loads(line) for line in client.answer().body.splitlines()]


def names(told: list[dict[str, Any]]) -> list[str]:
    """The names of events, each once, but for what depends on how long a drain takes."""
    found = dict.fromkeys(each["event"] for each in told)
    found.pop("draining", None)
    return list(found)
