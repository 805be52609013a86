"""How many connections to an engine there are, however many containers it is asked about."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from pathlib import Path

import pytest
from contract.bench import REGISTRY, Bench

from jobrunner_cli.engine.executors.docker import DockerExecutor
from support.engine import Engine

pytestmark = pytest.mark.engine


def sockets() -> set[str]:
    """Names of the sockets that this process has open; each has its own."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(os.readlink(entry))
    return {name for name in found if name.startswith("socket:")}


def test_one_connection_serves_whatever_is_asked_of_one_container_after_the_other(docker_engine: Engine) -> None:
    executor = DockerExecutor(host=docker_engine.url, registry=REGISTRY)
    executor.inspect("absent")
    before = sockets()
    for number in range(50):
        assert executor.inspect(f"absent{number}") is None
        assert list(executor.logs(f"absent{number}")) == []
    assert sockets() <= before


def test_logs_leave_no_connection_behind_whether_they_are_read_to_their_end_or_not(bench: Bench) -> None:
    spec = bench.shell("for n in 1 2 3; do echo $n; done")
    bench.run(spec)
    before = sockets()
    for _ in range(40):
        assert [line[-1:] for line in bench.executor.logs(spec.job_id)] == [b"1", b"2", b"3"]
        with closing(bench.executor.logs(spec.job_id)) as log:
            assert next(log).endswith(b" 1")
    assert bench.executor.inspect(spec.job_id) is not None
    assert len(sockets()) <= len(before) + 1
