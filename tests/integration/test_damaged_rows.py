"""Commands about all unfinished jobs, when the row of one cannot be read: they name it and do the rest."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from support.engine import Engine
from support.listing import jobs, workdir
from support.store import make_job, new_database
from support.terminal import jobrunner

__all__ = ["jobs", "workdir"]

pytestmark = pytest.mark.slow


def damage(base: Path, job_id: str) -> str:
    """Have the row of a job be one that cannot be read; returns how that is told."""
    with closing(sqlite3.connect(base / "db.sqlite")) as conn:
        conn.execute("UPDATE job SET outputs = '{' WHERE id = ?", (job_id,))
        conn.commit()
    return f"the database has a damaged row in job, {job_id}: column outputs"


def test_backend_and_workspaces_are_paused_and_resumed(jobs: Path):
    told = f"Not counted: {damage(jobs, 'waiting000000000')}"
    for words in ([], ["--workspace", "ws"]):
        for verb, outcome in (("pause", "is paused (0 waiting, 1 running"), ("resume", "is resumed (0 waiting")):
            done = jobrunner("jobs", verb, *words)
            assert done.stderr.startswith(told)
            assert outcome in done.stdout


def test_what_runs_is_put_back_before_a_restart_and_the_code_tells_that_not_all_is(jobs: Path):
    told = f"Left as it is: {damage(jobs, 'waiting000000000')}"
    planned = jobrunner("prepare-for-reboot", "--dry-run", "--json")
    assert planned.stderr.startswith(told)
    assert json.loads(planned.stdout) == [{"id": "running000000000", "outcome": "would be put back"}]
    done = jobrunner("prepare-for-reboot", "--yes", code=1)
    assert told in done.stderr
    assert done.stdout == "running000000000  ws/run  put back\n"
    with Database(jobs / "db.sqlite", readonly=True) as database:
        assert queries.codes_of(database.connection, ["running000000000"]) == {
            "running000000000": StatusCode.WAITING_ON_REBOOT
        }
    again = jobrunner("prepare-for-reboot", "--yes", code=1)
    assert again.stderr.splitlines()[1:] == ["No job that can be read runs and would have to be put back."]


@pytest.mark.engine
def test_images_of_the_other_jobs_are_looked_for(docker_engine: Engine, tmp_path: Path):
    registry, _, name = Engine.busybox.rpartition("/")
    base = tmp_path / "work"
    base.mkdir()
    new_database(base, make_job("a", run_command=f"{name} true"), make_job("b", run_command="nothing:v9 true")).close()
    told = damage(base, "b")
    done = jobrunner(
        "images", "pull", WORKDIR=str(base), DOCKER_REGISTRY=registry, DOCKER_HOST=os.environ["DOCKER_HOST"]
    )
    left_out, nothing = done.stderr.splitlines()[-2:]
    assert left_out.startswith(f"Left out: {told}")
    assert nothing == "Nothing to fetch: every image that the other unfinished jobs need is here."
