"""Time limits: a real job that runs for too long is ended, and what it made is stored."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]


def test_a_job_that_runs_too_long_is_ended_and_what_it_made_is_stored(
    make_workdir: MakeWorkDirectory, executor: str, tmp_path: Path
):
    limits = tmp_path / "limits.ini"
    limits.write_text("[test]\nslow_.* = 2s\n[other]\n.* = 1s\n")
    workdir = make_workdir(executor, {"JOB_TIME_LIMIT": "1d", "JOB_TIME_LIMITS": str(limits)})
    endless = "trap 'exit 0' TERM; echo 1 > a.csv; echo hello; while true; do sleep 0.1; done"
    study = make_study(
        tmp_path / "study",
        {"slow_one": action(workdir.command(endless), high=["a.csv"]),
         "after": action(workdir.command("cat a.csv > b.csv"), "b.csv", needs=["slow_one"]),
         "unhurried": action(workdir.command("sleep 4; echo 1 > m.csv"), "m.csv")},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1)
    assert workdir.codes() == {"slow_one": "nonzero_exit", "after": "dependency_failed", "unhurried": "succeeded"}
    assert workdir.messages()["slow_one"] == "Job was ended: it ran for more than 2s, its time limit"
    assert workdir.history(jobs["slow_one"])[-5:] == [
        "executing",
        "executed",
        "finalizing",
        "finalized",
        "nonzero_exit",
    ]
    assert workdir.outputs(workdir.high)["a.csv"] == b"1\n"
    assert "hello" in workdir.cli("jobs", "logs", jobs["slow_one"]).stdout
    assert workdir.leftovers() == []


def test_the_time_of_a_job_goes_on_while_no_runner_is_at_work(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process", {"JOB_TIME_LIMIT": "3s"})
    study = make_study(tmp_path / "study", {"a": action(workdir.command("sleep 600; echo 1 > a.csv"), "a.csv")})
    (job,) = workdir.add(study, "a").values()
    runner = workdir.start("run")
    workdir.wait_for(job, "executing")
    runner.kill()
    workdir.run(code=1)
    assert workdir.codes() == {"a": "nonzero_exit"}
    assert workdir.starts()[job] == 1


def test_a_file_of_limits_that_cannot_be_read_is_told_at_the_start(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process", {"JOB_TIME_LIMITS": str(tmp_path / "limits.ini")})
    (tmp_path / "limits.ini").write_text("[test]\na = soon\n")
    said = workdir.cli("run", "--until-idle", code=3).stderr
    assert f"{tmp_path}/limits.ini, line 2, section [test]: key a: soon is not a duration" in said
