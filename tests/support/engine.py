"""The Docker engine that tests run on: the configured one, or one that is started for them."""

from __future__ import annotations

import subprocess
import sys

from support.surroundings import ROOT, STARTED_WITH

REGISTRY = "ghcr.io/opensafely-core"


class Engine(str):
    """The engine's address, and the images that it is sure to have."""

    __slots__ = ()

    busybox = f"{REGISTRY}/busybox:v1"
    python = f"{REGISTRY}/python:v2"

    @property
    def url(self) -> str:
        """The address as DOCKER_HOST has it."""
        return str(self)


class NoEngineError(Exception):
    """No engine answers and none can be started; says why."""


def find() -> Engine:
    """The engine that answers, started if need be. Raises NoEngineError."""
    done = subprocess.run(
        [sys.executable, ROOT / "docker/engine.py", "env"],
        env=STARTED_WITH,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise NoEngineError(said[0] if said else f"docker/engine.py ended with exit code {done.returncode}")
    return Engine(done.stdout.strip().rpartition("DOCKER_HOST=")[2])
