"""A Podman service of a test's own, with the small images, which speaks to its clients as Docker does."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from support.runners import PATIENCE, until
from support.surroundings import ROOT, STARTED_WITH

#: A machine on which root may not raise the limits of processes refuses those that Podman gives each container.
_RUNTIME = """#!{python}
import json, os, sys
if "--bundle" in sys.argv:
    path = os.path.join(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    with open(path) as stream:
        config = json.load(stream)
    config["process"].pop("rlimits", None)
    with open(path, "w") as stream:
        json.dump(config, stream)
os.execvp("runc", ["runc", *sys.argv[1:]])
"""
_MAKE_IMAGES = """
import sys, docker
sys.path.insert(0, sys.argv[1])
import images
images.make(docker.APIClient(base_url=sys.argv[2]))
"""
_CONFIGURATION = """[engine]
runtime = "here"
cgroup_manager = "cgroupfs"
events_logger = "file"
[engine.runtimes]
here = ["{runtime}"]
"""


class PodmanService:
    """A service with its containers and images below a directory, whose path has to be short."""

    def __init__(self, path: Path) -> None:
        self._path = path
        runtime = path / "runtime"
        runtime.write_text(_RUNTIME.format(python=sys.executable))
        runtime.chmod(0o755)
        (path / "containers.conf").write_text(_CONFIGURATION.format(runtime=runtime))
        self._environment = {**STARTED_WITH, "CONTAINERS_CONF": str(path / "containers.conf")}
        places = ["--root", path / "root", "--runroot", path / "run", "--tmpdir", path / "tmp"]
        self._podman = ["podman", *map(str, places)]
        self.url = f"unix://{path}/podman.sock"
        self._log = (path / "log").open("wb")
        self._service = self._start()
        words = [sys.executable, "-c", _MAKE_IMAGES, str(ROOT / "docker"), self.url]
        subprocess.run(words, cwd="/", env=self._environment, check=True, timeout=PATIENCE)

    def _start(self) -> subprocess.Popen[bytes]:
        service = subprocess.Popen(
            [*self._podman, "system", "service", "--time", "0", self.url],
            cwd="/",
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        until(lambda: self._answers() or service.poll() is not None, "an answer of Podman")
        return service

    def start_again(self) -> None:
        """End the service, which ends no container, and start it again."""
        self._service.terminate()
        self._service.wait(PATIENCE)
        self._service = self._start()

    def close(self) -> None:
        """End it and remove what it has mounted."""
        self._service.terminate()
        self._service.wait(PATIENCE)
        subprocess.run(
            [*self._podman, "system", "reset", "--force"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            timeout=PATIENCE,
            check=False,
        )
        self._log.close()

    def _answers(self) -> bool:
        with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as door:
            door.settimeout(5)
            door.connect(self.url.removeprefix("unix://"))
            door.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in door.recv(64)
        return False
