"""`jobrunner prepare-for-reboot`: running jobs are put back, and nothing of them is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]

BUSY = "echo half > out.txt; touch busy; while [ ! -e go ]; do sleep 0.05; done"


def test_running_jobs_are_put_back_and_start_over(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"act": action(workdir.command(BUSY), "out.txt"),
         "later": action(workdir.command("cat out.txt > later.txt"), "later.txt", needs=["act"])},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run")
    workdir.wait_for_file(jobs["act"], "busy")
    workdir.wait_for(jobs["act"], "executing")

    refused = workdir.cli("prepare-for-reboot", "--yes", code=3)
    assert str(runner.pid) in refused.stderr
    runner.kill()

    refused = workdir.cli("prepare-for-reboot", code=2)
    assert f"{jobs['act']}  test/act  executing: end it, remove container and files" in refused.stderr
    assert "end and put back 1 running job?" in refused.stderr
    assert json.loads(workdir.cli("prepare-for-reboot", "--dry-run", "--json").stdout) == [
        {"id": jobs["act"], "outcome": "would be put back"}
    ]
    assert workdir.codes()["act"] == "executing"

    assert "put back" in workdir.cli("prepare-for-reboot", "--yes").stdout
    shown = workdir.show(jobs["act"])
    assert (shown["status_code"], shown["started_at"]) == ("waiting_on_reboot", None)
    # What is made ahead for the other, which waits, outlasts a restart.
    assert [left for left in workdir.leftovers() if jobs["act"] in left] == []
    assert "No job runs" in workdir.cli("prepare-for-reboot", "--yes").stderr

    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["act"], "busy")
    workdir.let_go(jobs["act"])
    assert runner.ends() == 0
    assert workdir.starts() == {jobs["act"]: 2, jobs["later"]: 1}


def test_job_on_which_there_is_a_verdict_is_left_to_the_next_runner(workdir: WorkDirectory, tmp_path: Path):
    script = "n=0; while [ $n -lt 600 ]; do echo $n > $n.csv; n=$((n+1)); done"
    study = make_study(tmp_path / "study", {"act": action(workdir.command(script), "*.csv")})
    job = workdir.add(study, "act")["act"]
    runner = workdir.start("run")
    workdir.wait_for_verdict(job)
    runner.kill()
    if workdir.codes()["act"] == "succeeded":
        pytest.fail("the runner was too fast to be killed between the verdict and the end; make the job larger")
    workdir.cli("prepare-for-reboot", "--yes")
    assert workdir.codes()["act"] == "finalizing"
    workdir.run()
    assert workdir.codes()["act"] == "succeeded"
    assert workdir.starts() == {job: 1}
