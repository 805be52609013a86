"""A dockerd that one test module has for itself: started plainly, at a socket and at a port, and told what becomes of it."""

from __future__ import annotations

import signal
import socket
import subprocess
from contextlib import suppress
from pathlib import Path

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from support.runners import PATIENCE, pause_process, until


class EngineWithPort:
    """A dockerd of this test's own, which listens on a Unix socket and on a port."""

    def __init__(self, place: Path) -> None:
        self._place = place
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.tcp = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.url = f"unix://{place}/docker.sock"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        key = self._place.name.encode().hex()
        # The containerd of a killed dockerd dies with it, but stays a zombie where nobody collects orphans.
        (self._place / "exec/containerd/containerd.pid").unlink(missing_ok=True)
        with (self._place / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    "dockerd", "--host", self.url, "--host", self.tcp, "--tls=false",
                    "--data-root", self._place / "data", "--exec-root", self._place / "exec",
                    "--pidfile", self._place / "pid", "--bridge", "none", "--iptables=false",
                    "--containerd-namespace", key, "--containerd-plugins-namespace", f"{key}-plugins",
                    "--shutdown-timeout", "3",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        until(self.answers, f"an answer of dockerd, whose log is {self._place / 'log'}")

    def answers(self) -> bool:
        with suppress(ExecutorUnavailableError):
            return bool(DockerExecutor(host=self.url, registry="registry.example").check())
        return False

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def hang(self) -> None:
        assert self._process is not None
        pause_process(self._process.pid)

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ended(self) -> None:
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None

    def stop(self) -> None:
        if self._process is not None:
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
            self.ended()
