"""Controls a server through its admin endpoints, by HTTP over a UNIX socket or TCP."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse

from ..address import Address, ListenAddress, UnixAddress
from ..event_names import EventName
from ..json_object import JsonObject
from .events import Event, decode, name_of
from .follow import follow
from .outcome import CtlError, Exit

_STATUSES = {
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_SUPPORTED,
    405: Exit.NOT_SUPPORTED,
    421: Exit.NOT_ALLOWED,
    501: Exit.NOT_SUPPORTED,
}
"""What an answer means; any other that is no success is a failure."""


class _AdminConnection(HTTPConnection):
    def __init__(self, address: ListenAddress, timeout: float) -> None:
        if isinstance(address, Address):
            super().__init__(address.host or "localhost", address.port, timeout=timeout)
        else:
            super().__init__("localhost", timeout=timeout)
        self._address = address

    def connect(self) -> None:
        if isinstance(self._address, UnixAddress):
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.sockaddr)
        else:
            super().connect()


class AdminClient:
    """A server with an admin address.

    Args:
        address: its admin address.
        timeout: seconds that a command may take.
    """

    def __init__(self, address: ListenAddress, timeout: float) -> None:
        self._address = address
        self._timeout = timeout

    def status(self) -> JsonObject:
        """What ``GET /status`` says."""
        return self._get_json("GET", "/status")

    def pid(self) -> int:
        """The process that serves, by its status."""
        status = self.status()
        generations = status.get("generations")
        if isinstance(generations, list) and generations and isinstance(generations[0], dict):
            status = generations[0]  # who answers is the first
        pid = status.get("pid")
        if not isinstance(pid, int):
            raise CtlError(Exit.NOT_SUPPORTED, f"{self._address} does not say which process it is")
        return pid

    def upgrade(self) -> Iterator[Event]:
        """``POST /upgrade``, and what the answer tells."""
        return self._followed("/upgrade", is_rolling=False)

    def reload(self) -> Iterator[Event]:
        """``POST /reload``, and what the answer tells."""
        return self._followed("/reload", is_rolling=None)

    def _followed(self, path: str, is_rolling: bool | None) -> Iterator[Event]:
        deadline = time.monotonic() + self._timeout
        return follow(
            lambda: self._events("POST", path, deadline), self.pid, str(self._address), is_rolling
        )

    def stop(self) -> Iterator[Event]:
        """``POST /stop``, and what the answer tells until the server is gone."""
        deadline = time.monotonic() + self._timeout
        for event in self._events("POST", "/stop", deadline):
            yield event
            if name_of(event) == EventName.STOPPED:
                return
        while self._is_listening():
            if time.monotonic() > deadline:
                raise self._too_late()
            time.sleep(0.05)
        yield {"event": EventName.STOPPED, "report": "nobody listens there any more"}

    def workers(self, count: int) -> Iterator[Event]:
        """``POST /workers``."""
        deadline = time.monotonic() + self._timeout
        return self._events("POST", "/workers", deadline, {"workers": count})

    def last_upgrade(self) -> Iterator[Event]:
        """``GET /upgrade``."""
        return self._events("GET", "/upgrade", time.monotonic() + self._timeout)

    def _is_listening(self) -> bool:
        connection = _AdminConnection(self._address, self._timeout)
        try:
            connection.connect()
        except OSError:
            return False
        finally:
            connection.close()
        return True

    def _get_json(self, method: str, path: str) -> JsonObject:
        connection, response = self._ask(method, path)
        try:
            return decode(response.read())
        except TimeoutError:
            raise self._no_answer() from None
        except (OSError, HTTPException) as error:
            raise self._broken(error) from None
        finally:
            connection.close()

    def _events(
        self, method: str, path: str, deadline: float, body: object = None
    ) -> Iterator[Event]:
        connection, response = self._ask(method, path, body)
        wire = connection.sock
        try:
            while True:
                if wire is not None:
                    # One that is slow to tell is not given the whole time for each word.
                    wire.settimeout(max(0.01, deadline - time.monotonic()))
                line = response.readline()
                if not line:
                    return
                if line.strip():
                    yield decode(line)
        except TimeoutError:
            raise self._too_late() from None
        except (OSError, HTTPException) as error:
            raise self._broken(error) from None
        finally:
            connection.close()

    def _ask(
        self, method: str, path: str, body: object = None
    ) -> tuple[HTTPConnection, HTTPResponse]:
        connection = _AdminConnection(self._address, self._timeout)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            raise self._unreachable(error) from None
        try:
            content = None if body is None else json.dumps(body)
            # What no form on a page of a browser can send.
            headers = {"Content-Type": "application/json"} if method == "POST" else {}
            connection.request(method, path, content, headers)
            response = connection.getresponse()
            if response.status not in range(200, 300):
                raise self._refused(response, method, path)
        except TimeoutError:
            connection.close()
            raise (self._no_answer() if method == "GET" else self._too_late()) from None
        except (OSError, HTTPException) as error:
            connection.close()
            raise self._broken(error) from None
        except CtlError:
            connection.close()
            raise
        return connection, response

    def _refused(self, response: HTTPResponse, method: str, path: str) -> CtlError:
        text = response.read(4096).decode("utf-8", "replace").strip()
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):  # of another version, or no server of ours
            text = f"{response.status} {response.reason}" + (f": {text}" if text else "")
        status = _STATUSES.get(response.status, Exit.FAILED)
        hint = ""
        if response.status in (404, 405):
            hint = "; it may be an older version, or not the admin address"
        return CtlError(status, f"{self._address} refuses {method} {path}: {text}{hint}")

    def _unreachable(self, error: OSError) -> CtlError:
        if isinstance(error, PermissionError):
            return CtlError(
                Exit.NOT_ALLOWED,
                f"{self._address} may not be opened by this user: run this as the server's user, "
                "or as root",
            )
        if isinstance(error, (TimeoutError, BlockingIOError)):  # a full backlog is reported as this
            return self._no_answer()
        return CtlError(
            Exit.NOT_RUNNING, f"no server is at {self._address}: {error.strerror or error}"
        )

    def _too_late(self) -> CtlError:
        return CtlError(
            Exit.UNKNOWN,
            f"{self._address} has not said within {self._timeout:g} s (--timeout) how it ended; "
            "what was begun goes on",
        )

    def _no_answer(self) -> CtlError:
        return CtlError(
            Exit.NO_ANSWER,
            f"the server at {self._address} did not respond within {self._timeout:g} s "
            "(--timeout): it is blocked, suspended or overloaded",
        )

    def _broken(self, error: Exception) -> CtlError:
        return CtlError(
            Exit.UNKNOWN,
            f"{self._address} broke off ({error or type(error).__name__}): "
            "`gracefulctl status` says who serves",
        )
