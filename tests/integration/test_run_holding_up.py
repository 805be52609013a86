"""What holds jobs up, puts them back or refuses them while `jobrunner run` is at work: pauses, slow ends, maintenance, databases."""

from __future__ import annotations

import secrets
import shlex
import signal
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.database import Database
from support.held import held, quick
from support.runners import WorkDirectory, engine_client
from support.store import set_flag
from support.studies import action, make_study, shell

pytestmark = [pytest.mark.slow]

#: Settings of a backend with a database of real data.
REAL_DATA = {
    "BACKEND": "tpp",
    "USING_DUMMY_DATA_BACKEND": "false",
    "DEFAULT_DATABASE_URL": "mssql://user:s3cret-word@192.0.2.1/db",
    "DATABASE_ACCESS_NETWORK": "bridge",
    "ALLOWED_GITHUB_ORGS": "*",
}


def test_paused_backend_starts_nothing_and_lets_running_jobs_finish(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"long": held(workdir, "long"), "next": quick(workdir, "next", needs=["long"]), "a": quick(workdir, "a")},
    )
    long = workdir.add(study, "long")["long"]
    runner = workdir.start("run")
    workdir.wait_for_file(long, "busy")
    set_flag(workdir, "paused", "True")
    jobs = workdir.add(study, "a", "next")
    for name in ("a", "next"):
        workdir.wait_for(jobs[name], "paused")
    assert "paused since" in " ".join(workdir.show(jobs["a"])["why"])
    workdir.let_go(long)
    workdir.wait_for(long, "succeeded")
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    # A runner that is to stop when nothing can move says what it leaves, and why.
    idle = workdir.run()
    assert "test/a" in idle.stderr
    assert "paused since" in idle.stderr
    assert workdir.codes() == {"long": "succeeded", "a": "paused", "next": "paused"}
    runner = workdir.start("run")
    set_flag(workdir, "paused", None)
    workdir.wait_until_ended(jobs.values())
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    assert workdir.starts() == dict.fromkeys([long, *jobs.values()], 1)


def test_whoever_waits_beside_a_paused_runner_is_told_what_for(make_workdir, tmp_path: Path):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"a": quick(workdir, "a")})
    set_flag(workdir, "paused", "true")
    runner = workdir.start("run")
    workdir.wait_for_holder(runner)
    waiting = workdir.start("add-job", str(study.path), "a", "--wait")
    waiting.says("waits for an operator: Paused since")
    set_flag(workdir, "paused", None)
    assert waiting.ends() == 0
    assert set(workdir.codes().values()) == {"succeeded"}
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0


def test_paused_workspace_and_paused_job_hold_only_themselves(make_workdir, tmp_path: Path):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"a": quick(workdir, "a"), "b": quick(workdir, "b")})
    mine = workdir.add(study, "run_all")
    theirs = workdir.add(study, "run_all", "--workspace", "theirs")
    with Database(workdir.path / "db.sqlite") as database:
        changes.pause(database.connection, "workspace", "theirs", time.time())
        changes.pause(database.connection, "job", mine["a"], time.time())
    workdir.run()
    codes = dict(workdir.ask("SELECT id, status_code FROM job"))
    assert codes == {
        mine["a"]: "paused",
        mine["b"]: "succeeded",
        theirs["a"]: "paused",
        theirs["b"]: "paused",
    }
    with Database(workdir.path / "db.sqlite") as database:
        changes.resume(database.connection, "workspace", "theirs")
        changes.resume(database.connection, "job", mine["a"])
    workdir.run()
    assert set(dict(workdir.ask("SELECT id, status_code FROM job")).values()) == {"succeeded"}


def test_jobs_that_take_their_time_to_end_hold_up_neither_others_nor_each_other(make_workdir, tmp_path: Path):
    workdir = make_workdir("process", {"MAX_WORKERS": "7", "JOB_STOP_GRACE": "600"})
    names = [f"stubborn{number}" for number in range(6)]
    deaf = "trap 'touch asked' TERM; touch began; until [ -e go ]; do sleep 0.05; done"
    actions = {name: action(workdir.command(f"{deaf}; : {name}"), f"{name}.txt") for name in names}
    study = make_study(tmp_path / "study", {**actions, "quick": action(shell("echo 1 > quick.txt"), "quick.txt")})
    jobs = workdir.add(study, *names)
    runner = workdir.start("run", "--until-idle")
    for job_id in jobs.values():
        workdir.wait_for_file(job_id, "began")
    cancelling = workdir.start("jobs", "cancel", *jobs.values())
    for job_id in jobs.values():
        workdir.wait_for_file(job_id, "asked")
    quick = workdir.add(study, "quick")["quick"]
    workdir.wait_for(quick, "succeeded")
    assert {workdir.codes()[name] for name in names} == {"executing"}

    workdir.let_go(*jobs.values())
    assert cancelling.ends() == 0
    assert runner.ends() == 1
    assert {workdir.codes()[name] for name in names} == {"cancelled_by_user"}
    assert workdir.leftovers() == []


@pytest.mark.engine
def test_maintenance_means_nothing_to_dummy_data(make_workdir, tmp_path: Path):
    workdir = make_workdir("docker")
    extract = action("ehrql:v1 generate-dataset d.py --output data.csv", high=["data.csv"])
    study = make_study(tmp_path / "study", {"extract": extract}, {"d.py": ""})
    workdir.add(study, "run_all")
    set_flag(workdir, "mode", "db-maintenance")
    workdir.run()
    assert workdir.codes() == {"extract": "succeeded"}


@pytest.fixture
def database_image(docker_engine: str) -> Iterator[str]:
    """An image whose actions count as database actions, and that runs any command."""
    with closing(engine_client()) as client:
        tag = f"v{secrets.randbelow(10**9)}"
        client.tag("ghcr.io/opensafely-core/python:v2", "ghcr.io/opensafely-core/sqlrunner", tag)
        yield f"sqlrunner:{tag}"
        client.remove_image(f"ghcr.io/opensafely-core/sqlrunner:{tag}", force=True)


@pytest.mark.engine
def test_maintenance_puts_database_jobs_back_and_no_others(make_workdir, database_image: str, tmp_path: Path):
    workdir = make_workdir("docker", REAL_DATA)
    script = 'touch busy; test -n "$DATABASE_URL" || exit 9; while [ ! -e go ]; do sleep 0.05; done; echo 1 > data.csv'
    study = make_study(
        tmp_path / "study",
        {
            "extract": action(f"{database_image} sh -c {shlex.quote(script)}", high=["data.csv"]),
            "other": held(workdir, "other"),
        },
    )
    jobs = workdir.add(study, "run_all", "--database", "default")
    runner = workdir.start("run")
    for job_id in jobs.values():
        workdir.wait_for_file(job_id, "busy")
        workdir.wait_for(job_id, "executing")
    set_flag(workdir, "manual-db-maintenance", "on")
    workdir.wait_for(jobs["extract"], "waiting_db_maintenance")
    assert not workdir.working_copy(jobs["extract"]).exists()
    assert list(workdir.containers()) == [f"os-job-{jobs['other']}"]
    assert workdir.ask("SELECT started_at FROM job WHERE id = ?", jobs["extract"]) == [(None,)]
    assert "maintenance" in " ".join(workdir.show(jobs["extract"])["why"])

    set_flag(workdir, "manual-db-maintenance", None)
    workdir.wait_for_file(jobs["extract"], "busy")
    assert workdir.codes()["other"] == "executing"
    workdir.let_go(*jobs.values())
    workdir.wait_until_ended(jobs.values())
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    assert workdir.codes() == {"extract": "succeeded", "other": "succeeded"}
    assert workdir.starts() == {jobs["extract"]: 2, jobs["other"]: 1}
    # Maintenance is nobody's fault: it does not count among the few times that a lost job is started over.
    assert workdir.ask("SELECT restarts FROM job WHERE id = ?", jobs["extract"]) == [(0,)]
    kept = [path for path in [*workdir.high.rglob("*"), *workdir.medium.rglob("*")] if path.is_file()]
    assert not [path for path in kept if b"s3cret-word" in path.read_bytes()]
    assert "s3cret-word" not in runner.said()
    assert workdir.leftovers() == []


@pytest.mark.engine
def test_database_job_is_killed_even_when_its_database_is_not_configured_any_more(
    make_workdir, database_image: str, tmp_path: Path
):
    workdir = make_workdir("docker", REAL_DATA)
    script = "touch busy; while [ ! -e go ]; do sleep 0.05; done"
    study = make_study(
        tmp_path / "study",
        {"extract": action(f"{database_image} sh -c {shlex.quote(script)}", high=["data.csv"])},
    )
    job_id = workdir.add(study, "extract", "--database", "default")["extract"]
    runner = workdir.start("run")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    runner.signal(signal.SIGTERM)
    assert runner.ends() == 0
    workdir.settings["DEFAULT_DATABASE_URL"] = ""
    assert "done" in workdir.cli("jobs", "kill", "--cleanup", job_id).stdout
    assert workdir.codes() == {"extract": "killed_by_admin"}
    assert workdir.leftovers() == []


def test_process_executor_is_refused_where_there_is_real_data(make_workdir):
    workdir = make_workdir("process", {"BACKEND": "tpp", "USING_DUMMY_DATA_BACKEND": "false"})
    refused = workdir.cli("run", "--until-idle", code=3)
    assert "EXECUTOR=docker" in refused.stderr


def test_a_file_that_database_jobs_are_to_get_is_missed_at_the_start(make_workdir):
    files = {"PRESTO_TLS_CERT_PATH": "/no/cert", "PRESTO_TLS_KEY_PATH": "/no/key"}
    workdir = make_workdir("process", {"BACKEND": "tpp", "EXECUTOR": "docker", **files})
    refused = workdir.cli("run", "--until-idle", code=3)
    assert "PRESTO_TLS_CERT_PATH names /no/cert" in refused.stderr


def test_secrets_of_the_runner_do_not_reach_jobs(workdir: WorkDirectory, tmp_path: Path):
    script = "env > environment.txt"
    study = make_study(tmp_path / "study", {"env": action(shell(script), high=["environment.txt"])})
    workdir.add(study, "run_all")
    workdir.run(PRIVATE_REPO_ACCESS_TOKEN="ghp_not_for_jobs", JOB_SERVER_TOKEN="also_not_for_jobs")
    environment = workdir.outputs(workdir.high)["environment.txt"].decode()
    assert "not_for_jobs" not in environment
    assert "OPENSAFELY_BACKEND=expectations" in environment
