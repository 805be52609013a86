"""`jobs retry`: outputs stored again after an internal error, and failed jobs run anew, with a runner at work or not."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from jobrunner_cli.engine.store import intents
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.work import IntentKind
from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.studies import action, change_study, make_study

pytestmark = [pytest.mark.slow]

#: Runs until it is let go.
BUSY = "echo at work; echo result > out.txt; touch busy; while [ ! -e go ]; do sleep 0.05; done"


def broken_off(workdir: WorkDirectory, tmp_path: Path, *, runner_stays: bool) -> str:
    """A job that ended by an internal error after its command had succeeded: its workspace was away at that time."""
    study = make_study(tmp_path / "study", {"act": action(workdir.command(BUSY), "out.txt")})
    job = workdir.add(study, "act")["act"]
    runner = workdir.start("run") if runner_stays else workdir.start("run", "--until-idle")
    workdir.wait_for_file(job, "busy")
    archive = workdir.high / "archives/test.tar.gz"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(b"")
    workdir.let_go(job)
    workdir.wait_for(job, "internal_error")
    if not runner_stays:
        assert runner.ends() == 1
    archive.unlink()
    return job


@pytest.mark.parametrize("runner_stays", [True, False], ids=["with_runner", "without_runner"])
def test_outputs_are_stored_again_after_an_internal_error(workdir: WorkDirectory, tmp_path: Path, runner_stays: bool):
    job = broken_off(workdir, tmp_path, runner_stays=runner_stays)
    before = workdir.show(job)
    assert before["completed_at"] is not None
    told = workdir.ask("SELECT changed_at FROM acknowledgement")

    assert "store its outputs again" in workdir.cli("jobs", "retry", job, "--dry-run").stdout
    assert workdir.codes()["act"] == "internal_error"
    done = workdir.cli("jobs", "retry", job, "--wait", "--json")
    assert json.loads(done.stdout)[0]["outcome"] == "its outputs are being stored again"

    after = workdir.show(job)
    assert after["status_code"] == "succeeded"
    assert workdir.outputs(workdir.high) == {"out.txt": b"result\n"}
    # The command was not run again, and the job-server has to be told.
    assert workdir.starts() == {job: 1}
    assert workdir.history(job)[-4:] == ["executed", "finalizing", "finalized", "succeeded"]
    assert workdir.ask("SELECT changed_at FROM acknowledgement") > told
    assert [(wish["what"], wish["answer"]) for wish in after["asked"]] == [
        ("retry", "its outputs are being stored again")
    ]
    if not runner_stays:
        assert workdir.leftovers() == []


def test_internal_error_without_its_container_runs_anew(workdir: WorkDirectory, tmp_path: Path):
    job = broken_off(workdir, tmp_path, runner_stays=False)
    workdir.cli("jobs", "kill", job, "--cleanup")
    done = json.loads(workdir.cli("jobs", "retry", job, "--json").stdout)[0]
    assert done["new_job_id"] not in {None, job}
    assert workdir.show(job)["status_code"] == "internal_error"
    assert workdir.show(done["new_job_id"])["retry_of"] == [job]


def failing(workdir: WorkDirectory, path: Path) -> tuple[StudyRepository, dict[str, str]]:
    """A chain whose second action has failed; it succeeds when there is a file `mended` beside the study."""
    study = make_study(
        path,
        {
            "first": action(workdir.command("echo 1 > first.txt"), "first.txt"),
            "second": action(workdir.command("false"), "second.txt", needs=["first"]),
            "third": action(workdir.command("cat second.txt > third.txt"), "third.txt", needs=["second"]),
        },
    )
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1)
    assert workdir.codes() == {"first": "succeeded", "second": "nonzero_exit", "third": "dependency_failed"}
    return study, jobs


def test_failed_jobs_run_anew_together_at_the_same_commit(workdir: WorkDirectory, tmp_path: Path):
    study, jobs = failing(workdir, tmp_path / "study")
    commit = workdir.show(jobs["second"])["commit"]
    change_study(study, {"first": action(workdir.command("true"), "first.txt")})

    refused = workdir.cli("jobs", "retry", "--workspace", "test", "--failed", code=2)
    assert "retry 2 jobs?" in refused.stderr
    assert len(workdir.ask("SELECT id FROM job")) == 3
    done = json.loads(workdir.cli("jobs", "retry", "--workspace", "test", "--failed", "--yes", "--json").stdout)
    assert {entry["action"] for entry in done} == {"second", "third"}
    assert len({entry["job_request_id"] for entry in done}) == 1
    new = {entry["action"]: workdir.show(entry["new_job_id"]) for entry in done}
    assert {job["commit"] for job in new.values()} == {commit}
    assert new["third"]["wait_for"] == [new["second"]["id"]]
    assert new["second"]["retry_of"] == [jobs["second"]]
    assert workdir.show(jobs["second"])["asked"][0]["answer"] == f"runs anew as job {new['second']['id']}"

    # What runs again already, or was replaced, is not asked for twice.
    assert "under way" in workdir.cli("jobs", "retry", jobs["second"]).stdout
    workdir.run(code=1)
    again = json.loads(
        workdir.cli("jobs", "retry", "--workspace", "test", "--action", "second", "--yes", "--json").stdout
    )
    assert [entry["id"] for entry in again] == [new["second"]["id"]]


def test_what_has_not_failed_is_left_alone(workdir: WorkDirectory, tmp_path: Path):
    _, jobs = failing(workdir, tmp_path / "study")
    assert "nothing: it succeeded" in workdir.cli("jobs", "retry", jobs["first"]).stdout
    assert len(workdir.ask("SELECT id FROM job")) == 3


def test_what_cannot_run_again_says_why(workdir: WorkDirectory, tmp_path: Path):
    study, jobs = failing(workdir, tmp_path / "study")
    study.path.rename(tmp_path / "elsewhere")
    # The commit is in the mirror, so that only a restricted runner has to look at the repository.
    said = workdir.cli("jobs", "retry", jobs["second"], code=1, ALLOWED_GITHUB_ORGS="opensafely")
    assert "cannot run again: " in said.stdout


def wish(workdir: WorkDirectory, job: str) -> int:
    """Ask for a job's outputs to be stored again, as somebody does whose picture of it is old."""
    with Database(workdir.path / "db.sqlite") as database:
        return intents.append(database.connection, IntentKind.RETRY, job, "test", time.time())


def test_wish_that_comes_too_late_is_answered(workdir: WorkDirectory, tmp_path: Path):
    gone = broken_off(workdir, tmp_path, runner_stays=False)
    workdir.cli("jobs", "kill", gone, "--cleanup")
    failed = workdir.add(make_study(tmp_path / "other", {"fail": action(workdir.command("false"), "f.txt")}), "fail")
    workdir.run(code=1)
    for job in (failed["fail"], gone):
        wish(workdir, job)
    workdir.run()
    answers = [workdir.show(job)["asked"][-1]["answer"] for job in (failed["fail"], gone)]
    assert answers == ["it did not end by an internal error (nonzero exit)", "its container is gone; retry it anew"]
    assert workdir.codes()["act"] == "internal_error"


def test_wish_for_a_job_that_is_being_stored_again_already_does_no_harm(workdir: WorkDirectory, tmp_path: Path):
    job = broken_off(workdir, tmp_path, runner_stays=False)
    wish(workdir, job)
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for(job, "executed", "finalizing", "finalized", "succeeded")
    runner.kill()
    wish(workdir, job)
    workdir.run()
    assert workdir.codes()["act"] == "succeeded"
    assert workdir.starts() == {job: 1}
    assert None not in [asked["answer"] for asked in workdir.show(job)["asked"]]
    assert workdir.outputs(workdir.high) == {"out.txt": b"result\n"}
