"""The files for containers: what they say is run, and what they promise is held against options."""

from __future__ import annotations

import json
import re
import signal
import sys
from pathlib import Path
from typing import Any
from unittest import SkipTest

import yaml

from twisted_graceful import Settings

from ..case import SynchronousTestCase
from . import proc
from .harness import PATIENCE, TWISTD, Server
from .programs import CONTAINER, run

REPOSITORY = Path(__file__).parents[2]
MOD = (REPOSITORY / "examples" / "mod.py").read_text()


def server(*command: str) -> Server:
    """A server of an application without probes, where the files have one of their own."""
    here = "127.0.0.1:0"
    for place in ("8080", here), ("127.0.0.1:9000", here), ("=:9000", f"={here}"):
        command = tuple(each.replace(*place) for each in command)
    made = Server(command=[*command, *PATIENCE])
    made.write("app.py", MOD)
    return made


def admin_port(server: Server) -> int:
    """Where its probes are asked."""
    return int(server.said(r"AdminServer.*Listening on http://127\.0\.0\.1:(\d+)")[1])


class DockerfileTests(SynchronousTestCase):
    """The image."""

    def setUp(self) -> None:
        """Read the last stage."""
        self.text = text = (REPOSITORY / "deploy" / "Dockerfile").read_text().replace("\\\n", "")
        stage = text.rpartition("\nFROM ")[2]
        self.said = dict(re.findall(r"^([A-Z]+) +(.*)$", stage, re.MULTILINE))

    def words(self, instruction: str) -> list[str]:
        """The command of an instruction, in its exec form."""
        words = json.loads(re.sub(r"^.*?CMD (?=\[)", "", self.said[instruction]))
        bin = "/srv/app/venv/bin"
        places = {f"{bin}/twistd": TWISTD, f"{bin}/python": sys.executable}
        return [places.get(each, each) for each in words]

    def test_process_1(self) -> None:
        """Its command serves as process 1, is healthy until it ends, and ends at the signal."""
        if run(*CONTAINER, "true").returncode:
            raise SkipTest("no container can be made here")
        command = [*CONTAINER, *self.words("ENTRYPOINT"), *self.words("CMD")]
        with server(*command) as container:
            self.assertEqual(container.serving(0), 1)
            port = admin_port(container)
            check = [each.replace("9000", str(port)) for each in self.words("HEALTHCHECK")]
            (pid,) = proc.children(container.launched)
            self.assertEqual(run(*check).returncode, 0)
            container.kill(signal.Signals[self.said["STOPSIGNAL"]], pid)
            container.said("is not ready any more; it accepts for another 10 seconds")
            self.assertEqual(container.get("/readyz", port).status, 503)
            self.assertEqual(run(*check).returncode, 0)
            container.kill(signal.SIGTERM, pid)
            container.exit_status()
            self.assertNotEqual(run(*check).returncode, 0)

    def test_times(self) -> None:
        """The grace that it asks to be started with is longer than a stop takes."""
        command = self.words("CMD")
        delay = float(command[command.index("--shutdown-delay") + 1])
        stop = delay + Settings().drain_timeout
        graces = re.findall(r"--stop-timeout (\d+)", self.text)
        self.assertEqual(len(graces), 1)
        self.assertLess(stop, float(graces[0]))

    def test_user(self) -> None:
        """It runs as a user that is a number, and not root."""
        self.assertRegex(self.said["USER"], "^[1-9][0-9]+:[1-9][0-9]+$")


class KubernetesTests(SynchronousTestCase):
    """The manifests."""

    def setUp(self) -> None:
        """Read them."""
        text = (REPOSITORY / "deploy" / "kubernetes.yaml").read_text()
        self.found: dict[str, Any] = {each["kind"]: each for each in yaml.safe_load_all(text)}
        self.pod = self.found["Deployment"]["spec"]["template"]["spec"]
        [self.container] = self.pod["containers"]
        self.options = dict(each[2:].split("=") for each in self.container["args"])

    def probe(self, name: str) -> str:
        """The path that a probe asks for."""
        asked = self.container[f"{name}Probe"]["httpGet"]
        self.assertEqual(self.port(asked["port"]), self.options["admin"].lstrip(":"))
        path: str = asked["path"]
        return path

    def port(self, name: str) -> str:
        """The port of the container that has a name."""
        ports = {each["name"]: str(each["containerPort"]) for each in self.container["ports"]}
        return ports[name]

    def test_probes(self) -> None:
        """All succeed when it serves; when it stops, only that of readiness fails."""
        names = ("startup", "liveness", "readiness")
        with server(TWISTD, "-n", "--pidfile=", "graceful", *self.container["args"]) as pod:
            pod.serving(0)
            port = admin_port(pod)

            def told() -> list[int]:
                return [pod.get(self.probe(each), port).status for each in names]

            self.assertEqual(told(), [200] * 3)
            pod.kill(signal.SIGTERM)
            pod.said("is not ready any more")
            self.assertEqual(told(), [200, 200, 503])

    def test_times(self) -> None:
        """The delay is longer than its notice takes, and the grace than a whole stop."""
        probe = self.container["readinessProbe"]
        notice = probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
        delay, drain = (float(self.options[each]) for each in ("shutdown-delay", "drain-timeout"))
        self.assertLess(notice, delay)
        self.assertLess(delay + drain, self.pod["terminationGracePeriodSeconds"])
        self.assertEqual(drain, Settings().drain_timeout)
        start = self.container["startupProbe"]
        self.assertGreaterEqual(
            start["periodSeconds"] * start["failureThreshold"], Settings().upgrade_timeout
        )
        self.assertGreaterEqual(
            self.found["Deployment"]["spec"]["minReadySeconds"], Settings().probation
        )

    def test_selectors(self) -> None:
        """What selects pods selects these, and the service reaches the port that is served."""
        labels = self.found["Deployment"]["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "PodDisruptionBudget"):
            with self.subTest(kind=kind):
                self.assertEqual(self.found[kind]["spec"]["selector"]["matchLabels"], labels)
        service = self.found["Service"]["spec"]
        self.assertEqual(service["selector"], labels)
        self.assertEqual(self.port(service["ports"][0]["targetPort"]), self.options["port"])
