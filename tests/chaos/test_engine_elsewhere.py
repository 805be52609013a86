"""Studies on an engine at a port, which mounts nothing of this machine: the same outputs, whatever is killed when."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from chaos.test_killed_runner import check, result_of

from support.engine import Engine
from support.engine_at_port import EngineAtPort
from support.repositories import StudyRepository
from support.runners import WorkDirectory, engine_client, until
from support.studies import Action, action, make_study, shell

pytestmark = [pytest.mark.engine, pytest.mark.slow]

#: Bytes of code: more than goes into the buffers on the way.
CODE = 3_000_000
KILLS = 6


@pytest.fixture
def port(docker_engine: Engine) -> Iterator[EngineAtPort]:
    port = EngineAtPort(docker_engine.url)
    yield port
    port.close()


@pytest.fixture
def workdir(port: EngineAtPort, make_workdir: Any, monkeypatch: pytest.MonkeyPatch) -> WorkDirectory:
    """A work directory whose engine is elsewhere."""
    monkeypatch.setenv("DOCKER_HOST", port.url)
    made = make_workdir("docker")
    assert isinstance(made, WorkDirectory)
    return made


def step(name: str, *needs: str) -> Action:
    """An action that reads code and inputs, and makes outputs of two levels, a link among them, and what nobody wants."""
    script = (
        f"echo {name}; mkdir -p {name}; cat data/in.txt {' '.join(f'{need}/all.csv' for need in needs)} > {name}/all.csv; "
        f"head -c 2000000 /dev/urandom > {name}/scratch; cat data/code > {name}/code.bin; "
        f"ln -s {name}/hidden.txt {name}.txt; echo behind {name} > {name}/hidden.txt"
    )
    return action(shell(script), f"{name}/*.csv", f"{name}.txt", high=[f"{name}/*.bin"], needs=needs)


def make(path: Path) -> StudyRepository:
    actions = {"a": step("a"), "b": step("b", "a"), "c": step("c", "a"), "d": step("d", "b", "c")}
    code = random.Random("code").randbytes(CODE)
    return make_study(path, actions, {"data/in.txt": "in\n", "data/code": code, "data/deep/er/file": ""})


@pytest.fixture
def expected(known: dict[str, Any], docker_engine: Engine, make_workdir: Any, tmp_path: Path) -> Any:
    """What comes of the study on this machine's own engine; found out once."""
    if not known:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DOCKER_HOST", docker_engine.url)
            near = make_workdir("docker")
            near.add(make(tmp_path / "near"), "run_all")
            near.run()
            known["result"] = without_commit(result_of(near))
    return known["result"]


@pytest.fixture(scope="module")
def known() -> dict[str, Any]:
    """What is known of the study, once for all tests."""
    return {}


def without_commit(result: Any) -> Any:
    for entry in result[2].values():
        del entry["commit"]
    return result


def compare(workdir: WorkDirectory, jobs: dict[str, str], expected: Any) -> None:
    result = result_of(workdir)
    check(workdir, jobs, result)
    assert without_commit(result) == expected


def test_study_has_the_outputs_that_it_has_here(workdir: WorkDirectory, expected: Any, tmp_path: Path):
    jobs = workdir.add(make(tmp_path / "study"), "run_all")
    workdir.run()
    compare(workdir, jobs, expected)
    assert workdir.outputs(workdir.medium)["d.txt"] == b"behind d\n"
    assert workdir.outputs(workdir.high)["d/code.bin"] == random.Random("code").randbytes(CODE)


@pytest.mark.parametrize("method", ["PUT", "GET"])
@pytest.mark.parametrize("after", [200_000, 2_900_000])
def test_runner_killed_in_the_midst_of_a_transfer(
    workdir: WorkDirectory, port: EngineAtPort, expected: Any, method: str, after: int, tmp_path: Path
):
    jobs = workdir.add(make(tmp_path / "study"), "run_all")
    port.halt_transfer(method, after)
    runner = workdir.start("run", "--until-idle")
    port.wait_for_halt()
    runner.kill()
    port.let_go_on()
    workdir.run()
    compare(workdir, jobs, expected)


def test_runner_killed_again_and_again(workdir: WorkDirectory, expected: Any, tmp_path: Path):
    dice = random.Random("elsewhere")
    jobs = workdir.add(make(tmp_path / "study"), "run_all")
    for _ in range(KILLS):
        runner = workdir.start("run", "--until-idle")
        workdir.wait_for_holder(runner)
        with suppress(subprocess.TimeoutExpired):
            runner.process.wait(dice.uniform(0.2, 1.5))
        runner.kill()
    workdir.run()
    compare(workdir, jobs, expected)


@pytest.mark.parametrize("method", ["PUT", "GET"])
def test_connection_that_breaks_in_the_midst_of_a_transfer_is_waited_out(
    workdir: WorkDirectory, port: EngineAtPort, expected: Any, method: str, tmp_path: Path
):
    jobs = workdir.add(make(tmp_path / "study"), "run_all")
    port.halt_transfer(method, 500_000)
    runner = workdir.start("run", "--until-idle")
    port.wait_for_halt()
    port.cut()
    assert runner.ends() == 0
    compare(workdir, jobs, expected)


def test_job_cancelled_while_its_files_are_sent_leaves_nothing(
    workdir: WorkDirectory, port: EngineAtPort, tmp_path: Path
):
    job = workdir.add(make(tmp_path / "study"), "a")["a"]
    port.halt_transfer("PUT", 200_000)
    runner = workdir.start("run", "--until-idle")
    port.wait_for_halt()
    wish = workdir.start("jobs", "cancel", job)
    until(lambda: workdir.ask("SELECT 1 FROM intent WHERE job_id = ?", job), "the wish")
    port.let_go_on()
    assert wish.ends() == 0
    runner.ends()
    assert workdir.codes() == {"a": "cancelled_by_user"}
    assert workdir.leftovers() == []


def test_volumes_of_ended_and_of_unknown_jobs_are_collected_at_the_next_start(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"one": action(shell("echo 1 > one.txt"), "one.txt")})
    job = workdir.add(study, "one")["one"]
    workdir.run()
    with closing(engine_client()) as client:
        for job_id, owner in ((job, workdir.owner), ("unknown", workdir.owner), ("stranger", "somebody-else")):
            client.create_volume(f"os-job-{job_id}-work", labels={"jobrunner-owner": owner})
        workdir.run()
        assert workdir.leftovers() == []
        client.remove_volume("os-job-stranger-work")
