"""`jobs cancel` and `jobs kill`, in every state of a job, with a runner at work and without one."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from support.repositories import StudyRepository
from support.runners import Command, WorkDirectory, pause_process, until
from support.studies import Action, action, make_study

pytestmark = [pytest.mark.slow]

#: Prints something, says that it runs, makes half of its output and waits; asked to end, it hurries to succeed.
BUSY = "trap 'exit 0' TERM; echo at work; echo half > out.txt; touch busy; while [ ! -e go ]; do sleep 0.05; done"

VERBS = {"cancelled": ["cancel"], "killed": ["kill"], "removed": ["kill", "--cleanup"]}
CODES = {"cancelled": "cancelled_by_user", "killed": "killed_by_admin", "removed": "killed_by_admin"}


@pytest.fixture(params=["with_runner", "without_runner"])
def runner_at_work(request: pytest.FixtureRequest) -> bool:
    return request.param == "with_runner"


def busy(workdir: WorkDirectory, name: str, **more: object) -> Action:
    script = BUSY.replace("out.txt", f"{name}.txt")
    return action(workdir.command(script), f"{name}.txt", **more)  # type: ignore[arg-type]


def end(workdir: WorkDirectory, name: str, job_id: str) -> str:
    verb, *options = VERBS[name]
    return workdir.cli("jobs", verb, job_id, *options).stdout


def log_of(workdir: WorkDirectory, job_id: str) -> str:
    [log] = workdir.high.glob(f"logs/*/os-job-{job_id}/logs.txt")
    return log.read_text()


def test_jobs_that_wait_end_at_once(workdir: WorkDirectory, runner_at_work: bool, tmp_path: Path):
    workdir.settings["MAX_WORKERS"] = "1"
    waiting = {f"{kind}_{name}": kind for name in VERBS for kind in ("queued", "needy")}
    study = make_study(
        tmp_path / "study",
        {
            "first": busy(workdir, "first"),
            **{
                name: busy(workdir, name, needs=["first"] if kind == "needy" else [])
                for name, kind in waiting.items()
            },
            "dependant": busy(workdir, "dependant", needs=["queued_cancelled"]),
        },
    )  # fmt: skip
    jobs = workdir.add(study, "first")
    runner = None
    if runner_at_work:
        runner = workdir.start("run", "--until-idle")
        workdir.wait_for_file(jobs["first"], "busy")
    jobs |= workdir.add(study, "run_all")
    if runner_at_work:
        for name, kind in waiting.items():
            workdir.wait_for(jobs[name], "waiting_on_workers" if kind == "queued" else "waiting_on_dependencies")
    for name in waiting:
        how = name.partition("_")[2]
        assert "  done" in end(workdir, how, jobs[name]), name
        assert workdir.codes()[name] == CODES[how]
    assert workdir.wait_for(jobs["dependant"], "dependency_failed", "created")
    marked = {action for (action,) in workdir.ask("SELECT action FROM job WHERE cancelled")}
    assert marked == {"queued_cancelled", "needy_cancelled"}
    assert workdir.messages()["needy_cancelled"] == "Cancelled by user"

    # Nothing else was touched.
    assert workdir.codes()["first"] == ("executing" if runner else "created")
    if runner is None:
        runner = workdir.start("run", "--until-idle")
        workdir.wait_for_file(jobs["first"], "busy")
    workdir.let_go(jobs["first"])
    assert runner.ends() in {0, 1}
    assert workdir.codes()["first"] == "succeeded"
    assert workdir.codes()["dependant"] == "dependency_failed"
    assert set(workdir.starts()) == {jobs["first"]}
    assert workdir.leftovers() == []


def test_jobs_that_execute_are_ended_and_only_their_log_is_kept(
    workdir: WorkDirectory, runner_at_work: bool, tmp_path: Path
):
    workdir.settings["MAX_WORKERS"] = "4"
    names = [*VERBS, "other"]
    study = make_study(
        tmp_path / "study",
        {name: busy(workdir, name) for name in names}
        | {"dependant": action(workdir.command("true"), "d.txt", needs=["cancelled"])},
    )
    jobs = workdir.add(study, "run_all")
    runner: Command | None = workdir.start("run", "--until-idle")
    for name in names:
        workdir.wait_for_file(jobs[name], "busy")
        workdir.wait_for(jobs[name], "executing")
    if not runner_at_work:
        assert runner is not None
        runner.kill()
        runner = None
    for name in VERBS:
        assert "done" in end(workdir, name, jobs[name])
        shown = workdir.show(jobs[name])
        assert shown["status_code"] == CODES[name]
        assert shown["completed_at"] is not None
        assert log_of(workdir, jobs[name]).splitlines()[0].endswith(" at work")
        assert f"status_message: {shown['status_message']}\n" in log_of(workdir, jobs[name])
        assert workdir.working_copy(jobs[name]).exists() is (name == "killed")
        assert (f"os-job-{jobs[name]}" in workdir.containers()) is (name == "killed" and workdir.executor == "docker")
    assert "running" not in [workdir.containers().get(f"os-job-{jobs[name]}") for name in VERBS]

    # The other one carries on.
    assert workdir.codes()["other"] == "executing"
    workdir.let_go(jobs["other"])
    runner = runner or workdir.start("run", "--until-idle")
    assert runner.ends() in {0, 1}
    assert workdir.codes()["other"] == "succeeded"
    assert workdir.codes()["dependant"] == "dependency_failed"
    assert set(workdir.outputs(workdir.high)) == set(workdir.outputs(workdir.medium)) == {"other.txt"}
    assert {path.name for path in (workdir.high / "workspaces/test/metadata").glob("*.log")} == {"other.log"}

    # What the operator had kept can be removed later.
    assert workdir.cli("jobs", "kill", jobs["killed"], "--cleanup").returncode == 0
    assert workdir.leftovers() == []
    assert workdir.show(jobs["killed"])["status_code"] == "killed_by_admin"


def many_files(workdir: WorkDirectory, path: Path) -> StudyRepository:
    """A study whose one action takes a while to be prepared and to be finalized."""
    script = "mkdir -p many; n=0; while [ $n -lt 500 ]; do echo $n > many/$n.csv; n=$((n+1)); done; touch out.txt"
    return make_study(
        path,
        {"heavy": action(workdir.command(script), "many/*.csv", "out.txt"),
         "after": action(workdir.command("cat out.txt > after.txt"), "after.txt", needs=["heavy"])},
        {f"data/{number}.txt": f"{number}" for number in range(800)},
    )  # fmt: skip


def freeze(workdir: WorkDirectory, runner: Command, job_id: str, code: str, *, verdict: bool = False) -> None:
    """Stop the runner, as a busy machine might, when a job is in the midst of a phase."""
    workdir.wait_for(job_id, code)
    if verdict:
        workdir.wait_for_verdict(job_id)
    pause_process(runner.process.pid)
    assert workdir.history(job_id)[-1] == code, "the phase was over before it could be caught"


@pytest.mark.parametrize(("phase", "name"), [("preparing", "cancelled"), ("finalizing", "killed")])
def test_jobs_that_are_prepared_or_finalized_end_without_outputs(
    workdir: WorkDirectory, runner_at_work: bool, phase: str, name: str, tmp_path: Path
):
    jobs = workdir.add(many_files(workdir, tmp_path / "study"), "run_all")
    runner = workdir.start("run", "--until-idle")
    freeze(workdir, runner, jobs["heavy"], phase)
    if runner_at_work:
        ending = workdir.start("jobs", *VERBS[name], jobs["heavy"])
        until(lambda: workdir.ask("SELECT 1 FROM intent"), "the wish to end it")
        runner.signal(signal.SIGCONT)
        assert ending.ends() == 0
        assert "done" in ending.said()
    else:
        runner.kill()
        assert "done" in end(workdir, name, jobs["heavy"])
    assert workdir.codes()["heavy"] == CODES[name]
    if not runner_at_work:
        workdir.run(code=1)
    else:
        assert runner.ends() == 1
    assert workdir.codes()["after"] == "dependency_failed"
    assert workdir.outputs(workdir.high) == {}
    assert not (workdir.high / "workspaces/test/metadata/heavy.log").exists()
    assert workdir.starts()[jobs["heavy"]] == (1 if phase == "finalizing" else 0)
    workdir.cli("jobs", "kill", jobs["heavy"], "--cleanup")
    assert workdir.leftovers() == []


def test_after_the_verdict_it_is_too_late(workdir: WorkDirectory, runner_at_work: bool, tmp_path: Path):
    name = "cancelled" if runner_at_work else "killed"
    jobs = workdir.add(many_files(workdir, tmp_path / "study"), "run_all")
    runner = workdir.start("run", "--until-idle")
    freeze(workdir, runner, jobs["heavy"], "finalizing", verdict=True)
    if runner_at_work:
        ending = workdir.start("jobs", *VERBS[name], jobs["heavy"])
        until(lambda: workdir.ask("SELECT 1 FROM intent"), "the wish to end it")
        runner.signal(signal.SIGCONT)
        assert ending.ends() == 0
        assert "already finished" in ending.said()
        assert runner.ends() == 0
    else:
        runner.kill()
        assert "already finished" in end(workdir, name, jobs["heavy"])
        assert workdir.codes()["heavy"] == "succeeded"
        workdir.run()
    assert workdir.codes() == {"heavy": "succeeded", "after": "succeeded"}
    assert len(workdir.outputs(workdir.high)) == 502
    assert workdir.starts()[jobs["heavy"]] == 1
    assert not workdir.ask("SELECT 1 FROM job WHERE cancelled")
    assert workdir.leftovers() == []


def test_ending_a_finished_job_changes_nothing(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"one": action(workdir.command("echo 1 > one.txt"), "one.txt")})
    jobs = workdir.add(study, "run_all")
    workdir.run()
    before = workdir.ask("SELECT * FROM job"), workdir.outputs(workdir.high)
    for name in VERBS:
        end(workdir, name, jobs["one"])
    assert "already finished" in end(workdir, "cancelled", jobs["one"])
    assert (workdir.ask("SELECT * FROM job"), workdir.outputs(workdir.high)) == before
    assert workdir.leftovers() == []


def test_running_again_after_a_cancellation_starts_a_new_job(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"one": busy(workdir, "one")})
    first = workdir.add(study, "one")["one"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(first, "busy")
    workdir.wait_for(first, "executing")
    end(workdir, "cancelled", first)
    assert runner.ends() == 1
    second = workdir.add(study, "run_all")["one"]
    assert second != first
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(second, "busy")
    workdir.let_go(second)
    assert runner.ends() == 0
    assert workdir.codes() == {"one": "succeeded"}


def test_waiting_job_ends_while_another_process_only_runs_what_it_waits_for(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"mine": busy(workdir, "mine"), "theirs": busy(workdir, "theirs")})
    theirs = workdir.add(study, "theirs")["theirs"]
    waiting = workdir.start("add-job", str(study.path), "mine", "--wait")
    [mine] = until(lambda: [row[0] for row in workdir.ask("SELECT id FROM job WHERE action = 'mine'")], "the job")
    workdir.wait_for_file(mine, "busy")
    assert "done" in end(workdir, "cancelled", theirs)
    assert workdir.codes() == {"theirs": "cancelled_by_user", "mine": "executing"}
    workdir.let_go(mine)
    assert waiting.ends() == 0
    assert workdir.starts() == {mine: 1}
    assert workdir.leftovers() == []


def test_cancellation_without_runner_and_engine_is_kept_for_the_next_runner(
    make_workdir: Callable[..., WorkDirectory], tmp_path: Path
):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"one": busy(workdir, "one")})
    job_id = workdir.add(study, "one")["one"]
    nobody = {"EXECUTOR": "docker", "DOCKER_HOST": "unix:///nobody/here.sock"}
    said = workdir.cli("jobs", "cancel", job_id, code=5, **nobody).stderr
    assert "the next runner does it" in said
    workdir.run(code=1)
    assert workdir.codes() == {"one": "cancelled_by_user"}
    assert not workdir.starts()
