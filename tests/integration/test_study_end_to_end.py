"""One study from the request to released outputs, through the command line, as a researcher and an operator see it."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.studies import Action, action, change_study, make_study, shell

pytestmark = [pytest.mark.slow]

PATIENTS = "patient_id,age\n1,34\n2,58\n3,71\n"


def diamond(workdir: WorkDirectory) -> dict[str, Action]:
    """Patients, two looks at them, and a report; one of the tables may not be released."""
    dataset = "output/dataset.csv"
    extract = workdir.command(f"mkdir -p output && cat analysis/dummy.csv > {dataset}")
    if workdir.executor == "docker":
        extract = (
            "ehrql:v1 generate-dataset analysis/dataset_definition.py "
            f"--output {dataset} --dummy-data-file analysis/dummy.csv"
        )
    return {
        "extract": action(extract, high=[dataset]),
        "count": action(
            workdir.command(f"mkdir -p output/tables && echo n,$(grep -c , {dataset}) > output/tables/count.csv"),
            "output/tables/*.csv",
            needs=["extract"],
        ),
        "listing": action(
            workdir.command(f"echo looking && cp {dataset} output/listing.csv"), "output/listing.csv", needs=["extract"]
        ),
        "report": action(
            workdir.command("cat output/tables/count.csv output/listing.csv > output/report.txt"),
            high=["output/report.txt"],
            needs=["count", "listing"],
        ),
    }


@pytest.fixture
def study(workdir: WorkDirectory, tmp_path: Path) -> StudyRepository:
    files = {"analysis/dummy.csv": PATIENTS, "analysis/dataset_definition.py": "", "output/.gitkeep": ""}
    return make_study(tmp_path / "study", diamond(workdir), files)


def test_diamond_ends_with_every_output_where_it_belongs(workdir: WorkDirectory, study: StudyRepository):
    commit = study.git("rev-parse", "HEAD")
    plan = json.loads(workdir.cli("add-job", str(study.path), "run_all", "--dry-run", "--json").stdout)
    assert [job["action"] for job in plan["run"]] == ["extract", "count", "listing", "report"]
    assert workdir.codes() == {}
    jobs = workdir.add(study, "run_all")
    assert set(workdir.codes().values()) == {"created"}
    workdir.run()
    assert workdir.codes() == dict.fromkeys(["extract", "count", "listing", "report"], "succeeded")

    count = b"n,4\n"
    assert workdir.outputs(workdir.high) == {
        "output/dataset.csv": PATIENTS.encode(),
        "output/tables/count.csv": count,
        "output/listing.csv": PATIENTS.encode(),
        "output/report.txt": count + PATIENTS.encode(),
    }
    # What has a patient's number in it is held back, with a note in its stead.
    released = workdir.outputs(workdir.medium)
    assert set(released) == {"output/tables/count.csv", "output/listing.csv.txt"}
    assert released["output/tables/count.csv"] == count
    assert b"patient_id" in released["output/listing.csv.txt"]
    assert "1 file was held back" in workdir.messages()["listing"]
    assert workdir.messages()["count"] == "Completed successfully"

    manifest = workdir.manifest()
    assert set(manifest) == {"output/dataset.csv", "output/tables/count.csv", "output/listing.csv", "output/report.txt"}
    assert {entry["commit"] for entry in manifest.values()} == {commit}
    assert manifest["output/dataset.csv"]["level"] == "highly_sensitive"
    listing = manifest["output/listing.csv"]
    assert (listing["job_id"], listing["action"], listing["excluded"]) == (jobs["listing"], "listing", True)
    assert (listing["row_count"], listing["col_count"], listing["size"]) == (3, 2, len(PATIENTS))

    log = (workdir.high / "workspaces/test/metadata/listing.log").read_text()
    assert re.search(r"^\d{4}-\d\d-\d\dT[\d:.]+Z looking$", log, re.MULTILINE)
    assert f"job_definition_id: {jobs['listing']}\n" in log
    assert "Invalid moderately_sensitive outputs:\n  output/listing.csv  - " in log
    assert (workdir.medium / "workspaces/test/metadata/listing.log").read_text() == log
    [kept] = workdir.high.glob(f"logs/*/os-job-{jobs['listing']}/logs.txt")
    assert kept.read_text() == log
    assert json.loads(kept.with_name("metadata.json").read_text())["exit_code"] == "0"
    said = workdir.cli("jobs", "logs", "test/listing").stdout
    assert said.splitlines()[0] == "looking"

    # Each step was taken, in its order, and nothing was left behind.
    steps = ["preparing", "prepared", "executing", "executed", "finalizing", "finalized", "succeeded"]
    for job_id in jobs.values():
        history = workdir.history(job_id)
        assert [code for code in history if code in steps] == steps
    assert workdir.leftovers() == []


def test_second_request_runs_only_what_it_has_to(workdir: WorkDirectory, study: StudyRepository):
    jobs = workdir.add(study, "run_all")
    workdir.run()
    again = workdir.cli("add-job", str(study.path), "run_all")
    assert "succeeded" in again.stdout
    assert len(workdir.ask("SELECT id FROM job WHERE run_command IS NOT NULL")) == 4

    # Asked for by name it runs again, alone; its needs have succeeded.
    rerun = workdir.add(study, "count")
    assert set(rerun) == {"count"}
    workdir.run()
    assert workdir.show(rerun["count"])["status_code"] == "succeeded"
    assert workdir.manifest()["output/tables/count.csv"]["job_id"] == rerun["count"]
    assert workdir.manifest()["output/listing.csv"]["job_id"] == jobs["listing"]

    # With the outputs of one gone, only that one runs again.
    (workdir.high / "workspaces/test/output/listing.csv").unlink()
    assert set(workdir.add(study, "run_all")) == {"listing"}
    workdir.run()
    assert (workdir.high / "workspaces/test/output/listing.csv").exists()

    everything = workdir.add(study, "report", "--force-run-dependencies")
    assert set(everything) == {"extract", "count", "listing", "report"}
    workdir.run()
    expected = Counter({"count": 3, "listing": 3, "extract": 2, "report": 2})
    made = workdir.ask("SELECT action FROM job WHERE run_command IS NOT NULL")
    assert Counter(action for (action,) in made) == expected
    counted = workdir.starts()
    per_action = Counter(
        {action: sum(counted[row[0]] for row in workdir.ask("SELECT id FROM job WHERE action = ?", action))
         for action in expected}
    )  # fmt: skip
    assert per_action == expected
    assert workdir.leftovers() == []


def test_what_an_action_no_longer_makes_is_removed_once_it_succeeds(workdir: WorkDirectory, tmp_path: Path):
    def tables(script: str) -> dict[str, Action]:
        return {"tables": action(workdir.command(f"mkdir -p out && {script}"), "out/*.csv")}

    study = make_study(tmp_path / "study", tables("echo a > out/a.csv; echo patient_id > out/b.csv"))
    workdir.add(study, "run_all")
    workdir.run()
    assert set(workdir.outputs(workdir.medium)) == {"out/a.csv", "out/b.csv.txt"}

    # A run that fails removes nothing, but brings what it made.
    change_study(study, tables("echo new > out/c.csv; exit 3"))
    workdir.add(study, "tables")
    workdir.run(code=1)
    assert set(workdir.outputs(workdir.high)) == {"out/a.csv", "out/b.csv", "out/c.csv"}

    change_study(study, tables("echo n > out/b.csv; echo d > out/d.csv"))
    workdir.add(study, "tables")
    workdir.run()
    assert workdir.outputs(workdir.high) == {"out/b.csv": b"n\n", "out/d.csv": b"d\n"}
    assert workdir.outputs(workdir.medium) == {"out/b.csv": b"n\n", "out/d.csv": b"d\n"}
    assert set(workdir.manifest()) == {"out/b.csv", "out/d.csv"}


def test_each_failure_says_what_to_do_and_touches_no_other_job(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {
            "good": action(workdir.command("echo 1 > good.txt"), "good.txt"),
            "failing": action(workdir.command("echo half > half.txt; echo oh no; exit 7"), "half.txt", "other.txt"),
            "after_failing": action(workdir.command("true"), "a.txt", needs=["failing"]),
            "after_that": action(workdir.command("echo later"), "b.txt", needs=["after_failing", "good"]),
            "nothing_made": action(workdir.command("echo 1 > result.csv"), "results.csv", "table*.csv"),
            "no_command": action("python:v2 no-such-program --fast", "c.txt"),
            "after_good": action(workdir.command("cat good.txt > after.txt"), "after.txt", needs=["good"]),
        },
    )
    jobs = workdir.add(study, "run_all")
    said = workdir.run(code=1).stderr
    assert workdir.codes() == {
        "good": "succeeded",
        "failing": "nonzero_exit",
        "after_failing": "dependency_failed",
        "after_that": "dependency_failed",
        "nothing_made": "unmatched_patterns",
        "no_command": "nonzero_exit",
        "after_good": "succeeded",
    }
    messages = workdir.messages()
    assert messages["failing"] == "Job exited with an error: exit code 7"
    assert messages["after_that"] == "Not starting as dependency failed"
    assert messages["nothing_made"] == "No outputs found matching patterns: results.csv, table*.csv"
    assert "Traceback" not in said

    # What failed is stored for debugging; the hints say where to look.
    assert workdir.outputs(workdir.high)["half.txt"] == b"half\n"
    failing = workdir.show(jobs["failing"])
    assert f"jobrunner jobs logs {jobs['failing']}" in failing["hint"]
    log = workdir.cli("jobs", "logs", jobs["failing"]).stdout
    assert log.startswith("oh no\n")
    # A reader of the log is not sent to the log.
    assert "hint: " not in log
    unmatched = workdir.show(jobs["nothing_made"])
    assert unmatched["unmatched_outputs"] == ["result.csv"]
    assert "result.csv" in unmatched["hint"]
    no_command = workdir.show(jobs["no_command"])
    logged = workdir.cli("jobs", "logs", jobs["no_command"]).stdout
    assert "no-such-program" in messages["no_command"] + logged
    assert no_command["exit_code"] == 127
    assert workdir.leftovers() == []

    # A failed action is run again by the next request for it, and so is what waits for it.
    again = workdir.add(study, "after_that")
    assert set(again) == {"failing", "after_failing", "after_that"}


@pytest.mark.engine
def test_out_of_memory_says_so_with_the_limit(make_workdir, docker_engine, tmp_path: Path):
    workdir = make_workdir("docker", {"DEFAULT_JOB_MEMORY_LIMIT": "24m"})
    eat = "python:v2 python3 -c \"x = b'x' * 200_000_000; open('out.txt', 'w')\""
    study = make_study(
        tmp_path / "study",
        {"eat": action(eat, "out.txt"), "small": action(shell("echo 1 > s.txt"), "s.txt")},
    )
    jobs = workdir.add(study, "run_all")
    workdir.run(code=1)
    assert workdir.codes() == {"eat": "nonzero_exit", "small": "succeeded"}
    assert "DEFAULT_JOB_MEMORY_LIMIT" in workdir.show(jobs["eat"])["hint"]
    assert workdir.messages()["eat"] == "Job exited with an error: ran out of memory (limit 24 MiB)"


@pytest.mark.engine
def test_missing_image_names_the_command_that_fetches_it(make_workdir, docker_engine, tmp_path: Path):
    workdir = make_workdir("docker")
    study = make_study(
        tmp_path / "study",
        {
            "absent": action("r:v99 analysis/model.R", "out.txt"),
            "after": action(shell("true"), "a.txt", needs=["absent"]),
            "present": action(shell("echo 1 > p.txt"), "p.txt"),
        },
    )
    absent = workdir.add(study, "run_all")["absent"]
    workdir.run(code=1)
    assert workdir.codes() == {"absent": "internal_error", "after": "dependency_failed", "present": "succeeded"}
    message = workdir.messages()["absent"]
    assert message.startswith("Internal error: ")
    assert "ghcr.io/opensafely-core/r:v99" in message
    assert "jobrunner images pull r:v99" in message

    # Nothing of it ran, so that there is neither a log to read nor an output to store.
    why = workdir.cli("jobs", "why", absent).stdout
    assert f"jobs retry {absent} runs it anew" in why
    assert "jobs logs" not in why
    assert "it ended before it started" in workdir.cli("jobs", "logs", absent, code=4).stderr


def test_mistakes_in_a_request_are_refused_with_what_was_meant(make_workdir, tmp_path: Path):
    workdir = make_workdir("process")
    good = {"prepare": action(shell("true"), "a.txt"), "model": action(shell("true"), "b.txt", needs=["prepare"])}
    study = make_study(tmp_path / "study", {**good, "plot": action(shell("true"), "c.txt", needs=["modle"])})
    refused = workdir.cli("add-job", str(study.path), "run_all", code=1)
    assert refused.stdout == ""
    assert "modle" in refused.stderr
    assert "model" in refused.stderr.replace("modle", "")
    assert "Traceback" not in refused.stderr

    change_study(study, good)
    unknown = workdir.cli("add-job", str(study.path), "prepaer", code=1)
    assert "prepare" in unknown.stderr
    nowhere = workdir.cli("add-job", str(tmp_path / "nowhere"), "run_all", code=1)
    assert str(tmp_path / "nowhere") in nowhere.stderr
    branch = workdir.cli("add-job", str(study.path), "run_all", "--branch", "mian", code=1)
    assert "main" in branch.stderr.replace("mian", "")
    assert all(code == "internal_error" for code in workdir.codes().values())
    assert workdir.run().stdout == ""


def test_exit_codes_are_the_documented_ones(make_workdir, tmp_path: Path):
    workdir = make_workdir("process")
    study = make_study(
        tmp_path / "study", {"bad": action(shell("exit 1"), "a.txt"), "good": action(shell("echo 1 > b.txt"), "b.txt")}
    )
    assert workdir.cli("add-job", str(study.path), "good", "--wait").returncode == 0
    workdir.cli("add-job", str(study.path), "bad", "--wait", code=1)
    workdir.cli("add-job", code=2)
    workdir.cli("run", "--no-such-option", code=2)
    missing = workdir.cli("run", "--until-idle", code=3, WORKDIR=str(tmp_path / "empty"))
    assert "jobrunner migrate" in missing.stderr
    workdir.cli("run", code=3, MAX_WORKERS="many")
    workdir.cli("jobs", "show", "nosuchjob", code=4)
    workdir.cli("jobs", "cancel", "nosuchjob", code=4)
    nobody = workdir.cli("run", "--until-idle", code=5, EXECUTOR="docker", DOCKER_HOST="unix:///nobody/here.sock")
    assert "DOCKER_HOST" in nobody.stderr
    assert workdir.run().returncode == 0
