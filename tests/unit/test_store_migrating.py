"""Databases are made, and older ones carried forward with nothing lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.errors import ConfigurationError, DatabaseNotMigratedError
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import connect, ensure_migrated
from jobrunner_cli.engine.store.filtering import JobFilter, filtered_jobs
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import NEWEST_LEVEL
from support.odd_rows import job_rows, odd_rows
from support.store import NOW, columns_at, older_database


def schema(path: Path) -> dict[str, Any]:
    with closing(sqlite3.connect(path)) as conn:
        tables = [name for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {name: list(conn.execute(f"SELECT * FROM pragma_table_info('{name}')")) for name in tables}
        indexes = {
            name: " ".join((sql or "").split())
            for name, sql in conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'")
        }
        return {"columns": columns, "indexes": indexes}


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_every_row_of_an_older_database_is_carried_forward_intact(tmp_path: Path, level: int) -> None:
    path = tmp_path / "db.sqlite"
    rows = odd_rows(level, 500)
    older_database(path, level, rows)

    report = migrate(path)

    assert (report.created, report.from_level, report.to_level) == (False, level, NEWEST_LEVEL)
    carried = [{name: row[name] for name in columns_at(level)} for row in job_rows(path)]
    assert carried == rows
    with closing(connect(path)) as conn:
        jobs = filtered_jobs(conn, JobFilter())
        assert {job.id for job in jobs} == {row["id"] for row in rows}
        assert queries.saved_request(conn, "req").original == {"identifier": "req", "ünknown": [1]}
        assert [(flag.id, flag.value, flag.timestamp) for flag in queries.flags(conn)] == [
            ("mode", None, 1700000000.25),
            ("paused", "True", 1700000001.0),
        ]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_migrated_database_has_the_schema_of_a_new_one(tmp_path: Path, level: int) -> None:
    older_database(tmp_path / "old.sqlite", level, [])
    migrate(tmp_path / "old.sqlite")
    migrate(tmp_path / "new.sqlite")

    assert schema(tmp_path / "old.sqlite") == schema(tmp_path / "new.sqlite")


def test_a_new_database_is_made_with_its_directories_and_in_wal_mode(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "db.sqlite"

    report = migrate(path)

    assert (report.created, report.backup_path, report.changed) == (True, None, True)
    ensure_migrated(path)
    with closing(connect(path)) as conn:
        assert conn.execute("PRAGMA journal_mode").fetchall()[0][0] == "wal"
        assert conn.execute("PRAGMA synchronous").fetchall()[0][0] == 2


def test_the_backup_is_the_database_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    rows = odd_rows(3, 50)
    older_database(path, 3, rows)
    path.chmod(0o640)

    report = migrate(path)

    backup = report.backup_path
    assert backup is not None
    assert backup.parent == tmp_path
    assert "level-3" in backup.name
    assert backup.stat().st_mode & 0o777 == 0o640
    assert job_rows(backup) == rows
    with closing(sqlite3.connect(backup)) as conn:
        assert conn.execute("PRAGMA user_version").fetchall() == [(3,)]
    assert sorted(file.name for file in tmp_path.iterdir() if "unfinished" in file.name) == []


def test_a_backup_that_is_put_back_can_be_migrated_again(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 2, odd_rows(2, 20))
    first = migrate(path)
    assert first.backup_path is not None

    for leftover in tmp_path.glob("db.sqlite-*"):
        leftover.unlink()
    path.write_bytes(first.backup_path.read_bytes())
    second = migrate(path)

    assert second.from_level == 2
    assert second.backup_path != first.backup_path
    assert len(list(tmp_path.glob("*.backup*"))) == 2


def test_gaps_of_unfinished_jobs_are_filled(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    unclear = {"job_request_id": "req", "workspace": "ws", "action": "a", "created_at": NOW, "updated_at": NOW + 5}
    older_database(
        path,
        0,
        [
            unclear | {"id": "a", "state": "pending", "run_command": "ehrql:v1 generate-dataset x.py"},
            unclear | {"id": "b", "state": "running", "status_code": "of_another_time", "run_command": "sqlrunner:v1"},
            unclear
            | {"id": "c", "state": "running", "run_command": "python:v2 generate-dataset ehrql:v1 sqlrunner:v1"},
            unclear | {"id": "d", "state": "pending", "run_command": "cohortextractor:latest generate_cohort"},
            unclear | {"id": "e", "state": "succeeded", "run_command": "sqlrunner:v1 x"},
            unclear | {"id": "f", "state": "failed", "run_command": None},
            unclear | {"id": "g", "state": "pending", "run_command": "ehrql:v1 assure x generate-dataset "},
        ],
    )
    migrate(path)

    with closing(connect(path)) as conn:
        jobs = queries.jobs_by_ids(conn, "abcdefg")
    assert {job.id: job.status_code for job in jobs.values()} == {
        "a": StatusCode.CREATED,
        "b": StatusCode.EXECUTING,
        "c": StatusCode.EXECUTING,
        "d": StatusCode.CREATED,
        "e": StatusCode.SUCCEEDED,
        "f": StatusCode.NONZERO_EXIT,
        "g": StatusCode.CREATED,
    }
    assert {job.id for job in jobs.values() if job.requires_db} == {"a", "b", "d"}
    assert {job.status_code_updated_at for job in jobs.values()} == {(NOW + 5) * 10**9}


def test_a_finished_row_with_an_unknown_code_keeps_it_and_reads_by_its_state(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, [{"id": "a", "state": "failed", "status_code": "of_another_time"}])
    migrate(path)

    assert job_rows(path)[0]["status_code"] == "of_another_time"
    with closing(connect(path)) as conn:
        job = queries.job_by_id(conn, "a")
        assert job is not None
        assert (job.state, job.status_code) == (State.FAILED, StatusCode.NONZERO_EXIT)


def test_missing_empty_and_older_databases_are_refused_with_the_command_that_helps(tmp_path: Path) -> None:
    (tmp_path / "empty.sqlite").touch()
    older_database(tmp_path / "old.sqlite", 3, [])
    for name in ("absent.sqlite", "empty.sqlite", "old.sqlite"):
        with pytest.raises(DatabaseNotMigratedError) as caught:
            ensure_migrated(tmp_path / name)
        assert "jobrunner migrate" in (caught.value.hint or "")
    assert not (tmp_path / "absent.sqlite").exists()
    assert migrate(tmp_path / "empty.sqlite").created


def test_a_database_from_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, [])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA user_version = 99")
    before = path.read_bytes()

    for attempt in (ensure_migrated, migrate):
        with pytest.raises(DatabaseNotMigratedError, match="99"):
            attempt(path)
    assert path.read_bytes() == before


def test_what_is_no_database_of_jobrunners_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not a database, but longer than a header of one hundred bytes " * 20)
    (tmp_path / "directory").mkdir()
    with closing(sqlite3.connect(tmp_path / "foreign")) as conn:
        conn.execute("CREATE TABLE recipes (name TEXT)")
    for name in ("text", "directory", "foreign"):
        with pytest.raises(ConfigurationError) as caught:
            migrate(tmp_path / name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
        with pytest.raises(ConfigurationError):
            ensure_migrated(tmp_path / name)


def test_a_database_that_is_not_what_its_level_says_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 2, [])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA user_version = 0")
    with pytest.raises(ConfigurationError, match=r"db\.sqlite says that it is at level 0.*trace_context"):
        migrate(path)
    assert not list(tmp_path.glob("*.backup")), "attempts that change nothing leave no copies behind"


def test_a_database_to_which_somebody_has_added_rules_of_his_own_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, [{"id": "a", "state": "pending"}])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TRIGGER keep BEFORE UPDATE ON job BEGIN SELECT RAISE(ABORT, 'nothing changes'); END")
    before = job_rows(path)
    with pytest.raises(ConfigurationError, match="nothing changes"):
        migrate(path)
    assert job_rows(path) == before
    assert not list(tmp_path.glob("*.backup"))


def test_an_upgrade_that_ends_half_way_names_the_backup(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 2, [{"id": "a", "state": "pending"}])
    before = job_rows(path)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("CREATE TRIGGER keep BEFORE UPDATE ON job BEGIN SELECT RAISE(ABORT, 'nothing changes'); END")
    with pytest.raises(ConfigurationError, match=r"at level 3.*nothing changes") as caught:
        migrate(path)
    (backup,) = tmp_path.glob("*.backup")
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f"at level 2, it is in {backup}")
    assert job_rows(backup) == before
    # Another attempt changes nothing: no second copy, and none is named.
    with pytest.raises(ConfigurationError, match=r"at level 3.*nothing changes") as again:
        migrate(path)
    assert ".backup" not in (again.value.hint or "")
    assert list(tmp_path.glob("*.backup")) == [backup]


def test_a_level_that_another_program_counts_is_not_taken_for_ours(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, [])
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("ALTER TABLE job ADD COLUMN theirs TEXT")
        conn.execute(f"PRAGMA user_version = {NEWEST_LEVEL}")
    for attempt in (ensure_migrated, migrate):
        with pytest.raises(ConfigurationError, match=f"level {NEWEST_LEVEL}.* no table .*history"):
            attempt(path)
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA user_version = -1")
    with pytest.raises(ConfigurationError, match="not one of jobrunner's"):
        migrate(path)
