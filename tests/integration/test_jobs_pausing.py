"""`jobs pause` and `jobs resume` with a runner at work: what is paused does not start, and everything else does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.runners import WorkDirectory
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]


def test_paused_job_and_paused_workspace_hold_up_just_these(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {name: action(workdir.command(f"echo 1 > {name}.txt"), f"{name}.txt") for name in ("held", "free")},
    )
    jobs = workdir.add(study, "run_all")
    elsewhere = workdir.add(study, "free", "--workspace", "away")["free"]
    workdir.cli("jobs", "pause", jobs["held"])
    workdir.cli("jobs", "pause", "--workspace", "away")
    runner = workdir.start("run")
    workdir.wait_for(jobs["free"], "succeeded")
    for job in (jobs["held"], elsewhere):
        workdir.wait_for(job, "paused")
    told = json.loads(workdir.cli("jobs", "why", jobs["held"], "--json").stdout)
    assert told["reasons"][0]["text"].startswith(f"job {jobs['held']} is paused since ")
    assert told["reasons"][0]["change"] == f"jobrunner jobs resume {jobs['held']} ends that"

    workdir.cli("jobs", "resume", jobs["held"])
    workdir.wait_for(jobs["held"], "succeeded")
    assert workdir.history(elsewhere)[-1] == "paused"
    workdir.cli("jobs", "resume", "--workspace", "away")
    workdir.wait_for(elsewhere, "succeeded")
    runner.signal(15)
    assert runner.ends() == 0


def test_pausing_what_runs_lets_it_run_on(workdir: WorkDirectory, tmp_path: Path):
    busy = "touch busy; while [ ! -e go ]; do sleep 0.05; done; echo 1 > out.txt"
    study = make_study(
        tmp_path / "study",
        {"act": action(workdir.command(busy), "out.txt"),
         "next": action(workdir.command("cat out.txt > next.txt"), "next.txt", needs=["act"])},
    )  # fmt: skip
    jobs = workdir.add(study, "run_all")
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(jobs["act"], "busy")
    workdir.wait_for(jobs["act"], "executing")
    assert "paused; it runs on" in workdir.cli("jobs", "pause", jobs["act"]).stdout
    workdir.cli("jobs", "pause")
    workdir.let_go(jobs["act"])
    assert runner.ends() == 0
    assert workdir.codes() == {"act": "succeeded", "next": "paused"}
    workdir.cli("jobs", "resume")
    workdir.run()
    assert workdir.codes()["next"] == "succeeded"
