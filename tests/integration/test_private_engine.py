"""The engine that a checkout starts for itself: found again, and gone without a trace."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from support.engine import Engine
from support.surroundings import ROOT

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="only root can start an engine"),
]


class Checkout:
    """A checkout somewhere else, and so an engine of its own."""

    def __init__(self, path: Path) -> None:
        shutil.copytree(ROOT / "docker", path / "docker", ignore=shutil.ignore_patterns("__pycache__"))
        self.script = path / "docker/engine.py"

    def engine(self, *arguments: str, host: str = "unix:///nobody/is/here.sock") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, self.script, *arguments],
            env={**os.environ, "DOCKER_HOST": host}, capture_output=True, text=True, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    # A deep place: the path of a socket in it would be longer than the system allows.
    made = Checkout(tmp_path_factory.mktemp("private") / ("deep" * 20) / ("deeper" * 15))
    yield made
    made.engine("stop", "--purge")


def traces(word: str) -> list[str]:
    """Processes, mounts, links and directories that bear an engine's key."""
    processes = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            processes.append(entry.read_text(errors="replace").replace("\0", " "))
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    places = ("/sys/class/net", "/run", "/var/lib/jobrunner-engine")
    paths = [str(path) for place in places for path in Path(place).glob("*")]
    return [line for line in (*processes, *mounts, *paths) if word in line]


def test_private_engine_runs_images_and_leaves_no_trace(checkout: Checkout):
    started = checkout.engine()
    assert started.returncode == 0, started.stderr
    url = checkout.engine("env").stdout.strip().removeprefix("export DOCKER_HOST=")
    key = url.removeprefix("unix:///run/jobrunner-").removesuffix("/docker.sock")
    assert len(key) == 8

    with contextlib.closing(docker.DockerClient(base_url=url)) as client:
        said = client.containers.run(Engine.python, ["python", "-c", "print(6 * 7)"], network_mode="none", remove=True)
        assert said == b"42\n"
        again = checkout.engine("--quiet")
        assert (again.returncode, again.stderr) == (0, "")

        # Something that ignores the polite request to end, on a network of its own.
        network = client.networks.create("somewhere", driver="bridge")
        client.containers.run(Engine.busybox, ["sh", "-c", "trap '' TERM; sleep 600"], network="somewhere", detach=True)
    bridge = f"br-{network.id[:12]}"
    assert traces(bridge)

    stopped = checkout.engine("stop", "--purge")
    assert stopped.returncode == 0, stopped.stderr
    assert traces(key) == []
    assert traces(bridge) == []


def test_configured_engine_that_answers_is_the_one(checkout: Checkout, docker_engine: str):
    done = checkout.engine("env", host=docker_engine)
    assert done.stdout == f"export DOCKER_HOST={docker_engine}\n"


def test_stopping_what_does_not_run_is_no_error(checkout: Checkout):
    assert checkout.engine("stop").returncode == 0
