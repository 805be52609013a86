"""How many connections to an engine there are, however many containers it is asked about."""

from __future__ import annotations

import os
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from contract.bench import PATIENCE, REGISTRY, Bench, open_gate

from jobrunner_cli.engine.errors import ExecutorUnavailableError
from jobrunner_cli.engine.executors.docker import DockerExecutor
from jobrunner_cli.engine.executors.docker_connection import EngineConnection
from jobrunner_cli.engine.executors.docker_logs import DockerLog
from jobrunner_cli.engine.executors.docker_streams import StreamWatch
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


def test_a_silent_engine_costs_no_call_the_connection_that_was_a_followers_before(
    bench: Bench, docker_engine: Engine
) -> None:
    followed, awaited = bench.shell("read x < gate"), bench.shell("read x < gate; exit 5")
    gates = [bench.gate(spec) for spec in (followed, awaited)]
    for spec in (followed, awaited):
        bench.launch(spec)
    asked, answered = threading.Event(), threading.Event()

    def ask() -> None:
        asked.set()
        answered.wait(PATIENCE)
        raise ExecutorUnavailableError("no answer")

    codes: list[int] = []

    def wait() -> None:
        with engine.calling("wait for a container", timeout=PATIENCE) as client:
            codes.append(client.wait(f"os-job-{awaited.job_id}")["StatusCode"])

    engine = EngineConnection(docker_engine.url, timeout=PATIENCE)
    watch = StreamWatch(ask, interval=0.05)
    log = DockerLog(engine, watch, f"os-job-{followed.job_id}", follow=True, timeout=PATIENCE)
    assert asked.wait(PATIENCE)
    open_gate(gates[0])
    assert list(log) == []
    # As many as have been used for the log.
    callers = [threading.Thread(target=wait, daemon=True) for _ in range(2)]
    for caller in callers:
        caller.start()
    # The engine tells nobody that somebody waits.
    callers[0].join(0.3)
    answered.set()
    callers[0].join(0.3)
    open_gate(gates[1])
    for caller in callers:
        caller.join(PATIENCE)
    assert codes == [5, 5]
    engine.forget()
