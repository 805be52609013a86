"""The runner is killed in the midst of its work, again and again; the next one finds every job where it was."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support.repositories import StudyRepository
from support.runners import WorkDirectory, until
from support.studies import Action, action, make_study

pytestmark = [pytest.mark.slow]

#: Kills at random moments, per executor and number of workers.
KILLS = 8

#: Every moment of a job's life in which a runner may die, and how it shows: by what stays, for on a busy machine the
#: moment may be over before it is seen.
MOMENTS: Mapping[str, Callable[[WorkDirectory, str], object]] = {
    "preparing": lambda workdir, job: workdir.wait_for_step(job, "preparing", 1),
    "prepared": lambda workdir, job: workdir.wait_for_step(job, "prepared", 1),
    "executing": lambda workdir, job: workdir.wait_for_step(job, "executing", 1),
    "finalizing": lambda workdir, job: workdir.wait_for_step(job, "finalizing", 1),
    "verdict": lambda workdir, job: workdir.wait_for_verdict(job),
    "cleanup": lambda workdir, job: workdir.wait_for_step(job, "succeeded", 1),
}


def busy_action(workdir: WorkDirectory, name: str, needs: list[str]) -> Action:
    """An action whose outputs are many enough for every phase to take a moment."""
    script = (
        f"echo {name}; cat {' '.join(f'{need}.txt' for need in needs)} /dev/null > {name}.txt; echo {name} >> {name}.txt; "
        f"mkdir -p {name}; n=0; while [ $n -lt 40 ]; do echo $n > {name}/$n.csv; n=$((n+1)); done; sleep 0.1"
    )
    return action(workdir.command(script), f"{name}.txt", needs=needs, high=[f"{name}/*.csv"])


def make(workdir: WorkDirectory, path: Path, shape: Mapping[str, list[str]]) -> StudyRepository:
    files: dict[str, str | bytes] = {f"data/{number}.txt": f"{number}" for number in range(150)}
    return make_study(path, {name: busy_action(workdir, name, needs) for name, needs in shape.items()}, files)


def result_of(workdir: WorkDirectory) -> tuple[Any, ...]:
    """Everything that a run leaves which does not depend on the moment and the ids."""
    manifest = {
        path: {key: entry[key] for key in ("level", "action", "commit", "size", "content_hash", "excluded")}
        for path, entry in workdir.manifest().items()
    }
    return workdir.outputs(workdir.high), workdir.outputs(workdir.medium), manifest, workdir.codes(), workdir.messages()


def check(workdir: WorkDirectory, jobs: Mapping[str, str], expected: tuple[Any, ...]) -> None:
    assert result_of(workdir) == expected
    # A command that was begun is neither begun again nor forgotten.
    until(lambda: workdir.starts() == dict.fromkeys(jobs.values(), 1), f"one start each, not {workdir.starts()}", 5)
    assert workdir.ask("SELECT id FROM job WHERE restarts > 0") == []
    assert workdir.leftovers() == []
    for name, job_id in jobs.items():
        lines = workdir.cli("jobs", "logs", job_id).stdout.splitlines()
        assert lines[0] == name


def undisturbed(make_workdir: Any, executor: str, path: Path, shape: Mapping[str, list[str]], commit: str) -> Any:
    """What comes of the same study when nothing happens, as if it were this commit."""
    workdir = make_workdir(executor)
    workdir.add(make(workdir, path, shape), "run_all")
    workdir.run()
    expected = result_of(workdir)
    for entry in expected[2].values():
        entry["commit"] = commit
    return expected


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_once_in_every_phase(make_workdir: Any, executor: str, workers: str, tmp_path: Path):
    workdir = make_workdir(executor, {"MAX_WORKERS": workers})
    names = list(MOMENTS)
    # One after the other, or each beside the one after it.
    distance = int(workers)
    shape = {name: [names[place - distance]] if place >= distance else [] for place, name in enumerate(names)}
    study = make(workdir, tmp_path / "study", shape)
    jobs = workdir.add(study, "run_all")
    for name, reached in MOMENTS.items():
        runner = workdir.start("run", "--until-idle")
        reached(workdir, jobs[name])
        runner.kill()
    workdir.run()
    check(workdir, jobs, undisturbed(make_workdir, executor, tmp_path / "calm", shape, study.git("rev-parse", "HEAD")))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_again_and_again(make_workdir: Any, executor: str, workers: str, tmp_path: Path):
    dice = random.Random(f"{executor} {workers}")
    shape: dict[str, list[str]] = {
        "a": [],
        "b": [],
        "c": ["a"],
        "d": ["a", "b"],
        "e": ["c", "d"],
        "f": ["b"],
        "g": ["e", "f"],
    }
    workdir = make_workdir(executor, {"MAX_WORKERS": workers})
    study = make(workdir, tmp_path / "study", shape)
    jobs = workdir.add(study, "run_all")
    for _ in range(KILLS):
        runner = workdir.start("run", "--until-idle")
        # Not before it has begun: starting up takes a while, and dying then is no feat.
        workdir.wait_for_holder(runner)
        with suppress(subprocess.TimeoutExpired):
            runner.process.wait(dice.uniform(0.0, 0.7))
        runner.kill()
    workdir.run()
    check(workdir, jobs, undisturbed(make_workdir, executor, tmp_path / "calm", shape, study.git("rev-parse", "HEAD")))


def test_machine_that_went_down_under_a_job_has_it_started_over(workdir: WorkDirectory, tmp_path: Path):
    held = "touch busy; while [ ! -e go ]; do sleep 0.05; done; echo 1 > one.txt"
    study = make_study(tmp_path / "study", {"one": action(workdir.command(held), "one.txt")})
    job_id = workdir.add(study, "one")["one"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    runner.kill()
    # What is on the disk was laid out before the machine last started.
    marker = workdir.working_copy(job_id).parent / "control/prepared"
    marker.write_text(json.dumps({**json.loads(marker.read_text()), "boot": "another"}))
    workdir.let_go(job_id)
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_step(job_id, "executing", 2)
    workdir.wait_for_file(job_id, "busy")
    workdir.let_go(job_id)
    assert runner.ends() == 0
    messages = [row[0] for row in workdir.ask("SELECT message FROM history WHERE to_code = 'waiting_on_reboot'")]
    assert messages == ["Waiting to be started over: the machine was restarted"]
    assert workdir.starts() == {job_id: 2}
    assert workdir.leftovers() == []
