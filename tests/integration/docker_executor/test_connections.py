"""How many connections to an engine stay open, however many containers it is asked about."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from contract.bench import REGISTRY

from jobrunner_cli.engine.executors.docker import DockerExecutor
from support.engine import Engine

pytestmark = pytest.mark.engine


def sockets() -> int:
    """Sockets that this process has open."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found += os.readlink(entry).startswith("socket:")
    return found


def test_connections_do_not_grow_with_the_containers(docker_engine: Engine) -> None:
    executor = DockerExecutor(host=docker_engine.url, registry=REGISTRY)
    executor.inspect("absent")
    before = sockets()
    for number in range(50):
        assert executor.inspect(f"absent{number}") is None
    assert sockets() <= before + 1
