"""Databases of an existing installation at work: what its rows say about unfinished jobs is heeded."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.store import older_database
from support.studies import action, make_study, shell

pytestmark = pytest.mark.slow

CREATED = int(time.time()) - 3600


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return make_study(tmp_path / "study", {"make": action(shell("echo made > made.txt"), "made.txt")})


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory) -> WorkDirectory:
    return make_workdir("process")


def take_over(workdir: WorkDirectory, study: StudyRepository, **rows: dict[str, Any]) -> None:
    """Give the work directory a database of the newest level that others have made, with these jobs, by id."""
    common = {
        "job_request_id": "req",
        "state": "pending",
        "status_code": "created",
        "repo_url": str(study.path),
        "commit": study.git("rev-parse", "HEAD"),
        "workspace": "test",
        "database_name": "default",
        "run_command": workdir.command("echo made > made.txt"),
        "output_spec": '{"moderately_sensitive": {"made": "made.txt"}}',
        "cancelled": 0,
        "created_at": CREATED,
        "updated_at": CREATED,
        "status_code_updated_at": CREATED * 10**9,
    }
    for path in workdir.path.glob("db.sqlite*"):
        path.unlink()
    values = [{"id": job_id, "action": job_id, **common, **row} for job_id, row in rows.items()]
    older_database(workdir.path / "db.sqlite", 3, values)
    workdir.cli("migrate")
    workdir.cli("flags", "set", "paused=")


def change(workdir: WorkDirectory, statement: str) -> None:
    """Write into the database past the program."""
    with closing(sqlite3.connect(workdir.path / "db.sqlite", isolation_level=None)) as conn:
        conn.execute(statement)


def test_jobs_that_are_marked_as_cancelled_are_ended_whatever_they_were_doing(
    workdir: WorkDirectory, study: StudyRepository
):
    take_over(
        workdir,
        study,
        waits={"cancelled": 1},
        needs={"wait_for_job_ids": '["waits"]'},
        prepares={"cancelled": 1, "state": "running", "status_code": "preparing", "started_at": CREATED},
        executes={"cancelled": 1, "state": "running", "status_code": "executing", "started_at": CREATED},
        stores={"cancelled": 1, "state": "running", "status_code": "finalizing", "started_at": CREATED},
        other={},
    )
    workdir.run(code=1)
    assert workdir.codes() == {
        **dict.fromkeys(("waits", "prepares", "executes", "stores"), "cancelled_by_user"),
        "needs": "dependency_failed",
        "other": "succeeded",
    }
    assert workdir.messages()["executes"] == "Cancelled by user"
    assert workdir.ask("SELECT count(*) FROM job WHERE completed_at IS NULL") == [(0,)]
    assert list(workdir.starts()) == ["other"]
    assert workdir.leftovers() == []


def test_a_row_in_a_state_that_does_not_exist_is_left_alone_and_holds_up_nothing(
    workdir: WorkDirectory, study: StudyRepository
):
    take_over(workdir, study, odd={"state": "sleeping", "status_code": "dreaming"}, other={})
    said = workdir.run().stderr
    assert workdir.codes() == {"odd": "dreaming", "other": "succeeded"}
    assert said.count("Job odd cannot be moved") == 1


def test_number_that_is_no_time_stands_in_nobodys_way(workdir: WorkDirectory, study: StudyRepository):
    ended = {"state": "succeeded", "status_code": "succeeded"}
    take_over(workdir, study, far={**ended, "created_at": 2**62, "completed_at": 1e300}, other={})
    change(workdir, "UPDATE flags SET value = 'db-maintenance', timestamp = 1e300 WHERE id = 'mode'")
    workdir.run()
    jobs = {job["id"]: job for job in json.loads(workdir.cli("jobs", "ls", "--json").stdout)}
    assert jobs["far"]["created_at"] is jobs["far"]["completed_at"] is None
    assert jobs["other"]["status_code"] == "succeeded"
    assert "far" in workdir.cli("jobs", "ls").stdout
    assert "succeeded" in workdir.cli("jobs", "show", "far").stdout


@pytest.mark.parametrize("words", [("jobs", "show", "odd"), ("jobs", "cancel", "odd", "--yes")])
def test_text_that_is_none_is_damage_and_no_internal_error(
    workdir: WorkDirectory, study: StudyRepository, words: tuple[str, ...]
):
    take_over(workdir, study, odd={})
    change(workdir, "UPDATE job SET status_message = CAST(x'ff41' AS TEXT)")
    said = workdir.cli(*words, code=3).stderr
    assert said.startswith("jobrunner: the database ")
    assert "damaged" in said
    assert "status_message" in said


def test_row_whose_text_is_none_holds_up_no_other(workdir: WorkDirectory, study: StudyRepository):
    take_over(workdir, study, odd={}, other={})
    change(workdir, "UPDATE job SET status_message = CAST(x'ff41' AS TEXT) WHERE id = 'odd'")
    assert workdir.run().stderr.count("Job odd cannot be moved") == 1
    assert workdir.ask("SELECT id, status_code FROM job ORDER BY id") == [("odd", "created"), ("other", "succeeded")]
    listed = workdir.cli("jobs", "ls")
    assert "other" in listed.stdout
    assert "Left out" in listed.stderr
