"""A Docker engine of a test's own, which may be stopped, killed and started again."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path

from support.runners import PATIENCE, engine_client, pause_process, until
from support.surroundings import ROOT


class PrivateEngine:
    """The engine of a checkout somewhere else: nothing is shared with the one that other tests use."""

    def __init__(self, path: Path) -> None:
        shutil.copytree(ROOT / "docker", path / "docker", ignore=shutil.ignore_patterns("__pycache__"))
        self._script = path / "docker/engine.py"
        self._say("start")
        self.url = self._say("env").strip().removeprefix("export DOCKER_HOST=")
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._run_dir = Path(self.url.removeprefix("unix://")).parent
        self._command = [os.fsdecode(word) for word in self._cmdline(self._pid()).split(b"\0") if word]

    def terminate(self) -> None:
        """Have it shut down, as when the machine goes down or the engine is upgraded: its containers are ended."""
        pid = self._pid()
        os.kill(pid, signal.SIGTERM)
        until(lambda: self._cmdline(pid) == b"", "the engine's end")

    def kill(self) -> None:
        """Kill the daemon, and so its containerd: containers are orphans until it comes back, and then ends them."""
        self._kill([self._pid()])
        until(lambda: not self._helpers("containerd"), "the end of containerd")

    def cut_power(self) -> None:
        """Kill everything at once: daemon, helpers and what is in the containers."""
        with closing(engine_client(self.url)) as client:
            inside = [client.inspect_container(container["Id"])["State"]["Pid"] for container in client.containers()]
        helpers = [*self._helpers("containerd"), *self._helpers("containerd-shim-runc-v2")]
        self._kill([self._pid(), *helpers, *inside])

    def hang(self) -> None:
        """Have it accept connections and answer none."""
        pause_process(self._pid())

    def wake(self) -> None:
        """Have it answer again."""
        os.kill(self._pid(), signal.SIGCONT)

    def start_again(self, *more: str) -> None:
        """Start the daemon with the data and the words that it had, and with more words this time."""
        # What was killed has left its number, which a process that nobody has reaped yet may still bear.
        for left in ("docker.pid", "exec/containerd/containerd.pid"):
            (self._run_dir / left).unlink(missing_ok=True)
        with (self._run_dir / "again.log").open("ab") as log:
            daemon = subprocess.Popen(
                [*self._command, *more],
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons.append(daemon)
        until(self._answers, "the engine's answer")

    def close(self) -> None:
        """End it and remove its data."""
        self._say("stop", "--purge")
        for daemon in self._daemons:
            daemon.wait(PATIENCE)

    def _answers(self) -> bool:
        with suppress(OSError), closing(socket.socket(socket.AF_UNIX)) as door:
            door.settimeout(5)
            door.connect(self.url.removeprefix("unix://"))
            door.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in door.recv(64)
        return False

    def _kill(self, pids: list[int]) -> None:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: all(self._cmdline(pid) == b"" for pid in pids), "the end of the killed processes")

    def _pid(self) -> int:
        return int((self._run_dir / "docker.pid").read_text())

    def _helpers(self, program: str) -> list[int]:
        """The processes of a program that serve this engine."""
        found = []
        for entry in Path("/proc").iterdir():
            words = self._cmdline(int(entry.name)).split(b"\0") if entry.name.isdigit() else []
            ours = any(os.fsencode(self._run_dir) + b"/" in word for word in words)
            if ours and words[0].rpartition(b"/")[2] == program.encode():
                found.append(int(entry.name))
        return found

    @staticmethod
    def _cmdline(pid: int) -> bytes:
        """The words of a process; nothing for one that is gone, or is gone but for its entry."""
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return b""

    def _say(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, self._script, *words],
            env={**os.environ, "DOCKER_HOST": "unix:///nobody/is/here.sock"},
            capture_output=True, text=True, timeout=2 * PATIENCE,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout
