"""Builders for tests of the store: jobs, new databases, and databases as older versions left them."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.states import StatusCode, state_of
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.database import Connection, Database, connect
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.engine.work import Outcome, StoredOutput

if TYPE_CHECKING:
    import pytest

    from support.runners import WorkDirectory

#: A moment in 2026, in seconds and nanoseconds of UNIX time.
NOW = 1_795_000_000
NOW_NS = NOW * 10**9

#: The columns of `job` in an existing installation, before its level 1, with their types (section 8).
FIRST_COLUMNS = {
    "id": "TEXT PRIMARY KEY",
    "job_request_id": "TEXT",
    "state": "TEXT",
    "repo_url": "TEXT",
    "commit": "TEXT",
    "workspace": "TEXT",
    "database_name": "TEXT",
    "action": "TEXT",
    "action_repo_url": "TEXT",
    "action_commit": "TEXT",
    "requires_outputs_from": "TEXT",
    "wait_for_job_ids": "TEXT",
    "run_command": "TEXT",
    "image_id": "TEXT",
    "output_spec": "TEXT",
    "outputs": "TEXT",
    "unmatched_outputs": "TEXT",
    "status_message": "TEXT",
    "status_code": "TEXT",
    "cancelled": "BOOLEAN",
    "created_at": "INT",
    "updated_at": "INT",
    "started_at": "INT",
    "completed_at": "INT",
}
#: What each of its levels added.
ADDED_COLUMNS = {
    1: {"trace_context": "TEXT", "status_code_updated_at": "INT"},
    2: {"level4_excluded_files": "TEXT"},
    3: {"requires_db": "BOOLEAN"},
}


def work_directory_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *jobs: Job) -> Path:
    """A work directory with these jobs, which commands take from now on, and where no engine is asked."""
    base = tmp_path / "work"
    base.mkdir()
    monkeypatch.setenv("WORKDIR", str(base))
    monkeypatch.setenv("EXECUTOR", "process")
    new_database(base, *jobs).close()
    return base


def columns_at(level: int) -> dict[str, str]:
    """The columns of `job` in an existing installation at this level."""
    columns = dict(FIRST_COLUMNS)
    for step in range(1, level + 1):
        columns |= ADDED_COLUMNS[step]
    return columns


def older_database(path: Path, level: int, rows: list[dict[str, Any]]) -> None:
    """A database as an existing installation at this level has it."""
    columns = columns_at(level)
    with closing(sqlite3.connect(path, isolation_level=None)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
        listed = ", ".join(f'"{name}" {kind}' for name, kind in columns.items())
        conn.execute(f"CREATE TABLE job ({listed})")
        conn.execute("CREATE INDEX idx_job__job_request_id ON job (job_request_id)")
        conn.execute("CREATE INDEX idx_job__state ON job (state) WHERE state NOT IN ('succeeded', 'failed')")
        conn.execute("CREATE TABLE job_request (id TEXT PRIMARY KEY, original TEXT)")
        conn.execute("CREATE TABLE flags (id TEXT PRIMARY KEY, value TEXT, timestamp)")
        conn.execute("BEGIN")
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            conn.execute(f"INSERT INTO job ({names}) VALUES ({', '.join('?' * len(row))})", list(row.values()))
        conn.execute("INSERT INTO job_request VALUES ('req', ?)", (json.dumps({"identifier": "req", "ünknown": [1]}),))
        conn.execute("INSERT INTO flags VALUES ('mode', NULL, 1700000000.25), ('paused', 'True', '1700000001')")
        conn.execute(f"PRAGMA user_version = {level}")
        conn.execute("COMMIT")


def make_job(job_id: str = "job1", code: StatusCode = StatusCode.CREATED, **fields: Any) -> Job:
    """A job with this code, and otherwise likely values."""
    values: dict[str, Any] = {
        "job_request_id": "req",
        "repo_url": "https://github.com/opensafely/study",
        "commit": "a" * 40,
        "workspace": "ws",
        "action": "describe",
        "run_command": "python:v2 analysis/describe.py",
        "created_at": NOW,
        "updated_at": NOW,
        "status_code_updated_at": NOW_NS,
    }
    return Job(id=job_id, status_code=code, state=state_of(code), **(values | fields))


def new_database(directory: Path, *jobs: Job) -> Connection:
    """A connection to a new database with these jobs."""
    path = directory / "db.sqlite"
    migrate(path)
    conn = connect(path)
    with conn.transaction():
        insert(conn, *jobs)
    return conn


def make_outcome(**fields: Any) -> Outcome:
    """A verdict of success, with one odd file name."""
    values: dict[str, Any] = {
        "code": StatusCode.SUCCEEDED,
        "message": "Completed successfully",
        "advice": None,
        "pointer": None,
        "exit_code": 0,
        "image_id": "sha256:1",
        "outputs": (
            StoredOutput(
                path="out/a\udce9\n.csv", level="moderately_sensitive", size=3, timestamp=1.5, content_hash="ab"
            ),
            StoredOutput(
                path="out/b.csv",
                level="moderately_sensitive",
                size=3,
                timestamp=2.5,
                content_hash="cd",
                excluded=True,
                message="too large",
                row_count=0,
                col_count=0,
            ),
        ),
        "unmatched_patterns": ("out/c*.csv",),
        "unmatched_outputs": ("x.txt",),
        "refused": {"evil": "a link to the outside"},
        "finalized_at": NOW,
        "container_metadata": {"Config": {"Env": ["A=xxxx-REDACTED-xxxx"]}},
    }
    return Outcome(**(values | fields))


def set_flag(workdir: WorkDirectory, name: str, value: str | None) -> None:
    """Set a flag as another program would, beside whatever is at work."""
    with Database(workdir.path / "db.sqlite") as database:
        changes.set_flag(database.connection, name, value, time.time())
