"""A Docker engine that others use, too: strangers, other work directories, and many threads at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import docker
import pytest
from contract.bench import IMAGE, Bench, open_gate
from docker.errors import NotFound

from jobrunner_cli.engine.errors import (
    ExecutorError,
)
from jobrunner_cli.engine.work import ContainerSpec, ContainerState

pytestmark = pytest.mark.engine


def described(engine: docker.APIClient, spec: ContainerSpec) -> dict[str, Any]:
    found: dict[str, Any] = engine.inspect_container(f"os-job-{spec.job_id}")
    return found


def printed(bench: Bench, spec: ContainerSpec) -> list[bytes]:
    bench.run(spec)
    return [line.partition(b" ")[2] for line in bench.executor.logs(spec.job_id)]


def test_list_leaves_out_strangers(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("exit 0")
    bench.executor.create(spec)
    labels = {"jobrunner-owner": bench.owner}
    strange = engine.create_container(IMAGE, ["true"], name=f"mine-os-job-{bench.owner}", labels=labels)["Id"]
    other = bench.shell("exit 0", owner="somebody-else")
    bench.executor.create(other)
    try:
        assert bench.executor.list(bench.owner) == {spec.job_id: ContainerState.CREATED}
    finally:
        engine.remove_container(strange)


def test_running_container_of_another_work_directory_is_not_taken(bench: Bench) -> None:
    spec = bench.shell("read x < gate")
    gate = bench.gate(spec)
    bench.launch(replace(spec, owner="somebody-else"))
    with pytest.raises(ExecutorError, match="another work directory") as caught:
        bench.executor.create(spec)

    assert caught.value.hint == f"if nothing needs it any more: docker rm -f os-job-{spec.job_id}"
    assert bench.executor.list("somebody-else")[spec.job_id] is ContainerState.RUNNING
    open_gate(gate)


def test_container_without_an_owner_is_replaced(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("echo new")
    engine.create_container(IMAGE, ["echo", "old"], name=f"os-job-{spec.job_id}")
    assert printed(bench, spec) == [b"new"]


def test_image_that_moved_makes_the_container_anew(
    bench: Bench, engine: docker.APIClient, derived: Callable[[str, str], str]
) -> None:
    spec = bench.shell("exit 0", image=derived("moving", "LABEL version=1"))
    bench.executor.create(spec)
    before = described(engine, spec)
    derived("moving", "LABEL version=2")
    bench.fresh().create(spec)
    after = described(engine, spec)

    assert before["Id"] != after["Id"]
    assert before["Image"] != after["Image"]


def test_two_creates_and_two_removes_at_once_agree(bench: Bench, engine: docker.APIClient) -> None:
    for _ in range(5):
        spec = bench.shell("exit 0")
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(bench.executor.create, [spec] * 4))
            assert bench.state(spec.job_id) is ContainerState.CREATED
            list(pool.map(bench.executor.remove, [spec.job_id] * 4))
        with pytest.raises(NotFound):
            described(engine, spec)


def test_two_starts_at_once_run_it_once(bench: Bench) -> None:
    spec = bench.shell("echo ran >> ran")
    bench.executor.create(spec)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(bench.executor.start, [spec.job_id] * 4))
    assert bench.exited(spec.job_id).exit_code == 0
    assert (Path(spec.work_dir) / "ran").read_text() == "ran\n"


def test_threads_share_an_executor(bench: Bench) -> None:
    specs = [bench.shell(f"exit {number}") for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        details = list(pool.map(bench.run, specs))
    assert [detail.exit_code for detail in details] == list(range(6))


def test_paused_container_can_be_stopped(bench: Bench, engine: docker.APIClient) -> None:
    spec = bench.shell("echo ready; read x < gate")
    bench.gate(spec)
    bench.launch(spec)
    bench.printed(spec.job_id, b"ready")
    engine.pause(f"os-job-{spec.job_id}")

    assert bench.state(spec.job_id) is ContainerState.RUNNING
    bench.executor.stop(spec.job_id, grace=0)
    assert bench.state(spec.job_id) is ContainerState.EXITED


def test_volumes_of_the_image_go_with_the_container(
    bench: Bench, engine: docker.APIClient, derived: Callable[[str, str], str]
) -> None:
    spec = bench.shell("exit 0", image=derived("volume", "VOLUME /data"))
    bench.executor.create(spec)
    (volume,) = [mount["Name"] for mount in described(engine, spec)["Mounts"] if mount["Type"] == "volume"]
    bench.executor.remove(spec.job_id)
    with pytest.raises(NotFound):
        engine.inspect_volume(volume)


def test_stop_and_remove_of_nothing_are_fine(bench: Bench) -> None:
    bench.executor.stop("absentabsentabse", grace=1)
    bench.executor.remove("absentabsentabse")
    assert bench.executor.inspect("absentabsentabse") is None
    assert list(bench.executor.logs("absentabsentabse", follow=True)) == []
