"""Migrations beside others: runners, other programs, a second migration, and a kill in the middle."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.errors import DatabaseBusyError, RunnerActiveError
from jobrunner_cli.engine.store.database import ensure_migrated
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import NEWEST_LEVEL
from support.odd_rows import job_rows, odd_rows
from support.store import columns_at, older_database


def test_migrate_does_nothing_on_an_up_to_date_database_even_while_a_runner_works(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    migrate(path)
    before = path.read_bytes()

    with RunnerLock(tmp_path / "runner.lock"):
        report = migrate(path)

    assert not report.changed
    assert not report.created
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.backup"))


@pytest.mark.parametrize("lock", ["runner.lock", "sync.lock"])
def test_a_runner_or_a_sync_keeps_migrate_away(tmp_path: Path, lock: str) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, [])
    with RunnerLock(tmp_path / lock), pytest.raises(RunnerActiveError, match=str(os.getpid())):
        migrate(path, patience=0)
    assert migrate(path).from_level == 3


def test_a_database_that_another_program_keeps_locked_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    older_database(path, 3, odd_rows(3, 3))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(DatabaseBusyError, match="locked by another process"):
            migrate(path, patience=0.1)
        other.execute("ROLLBACK")
    assert migrate(path).to_level == NEWEST_LEVEL


MIGRATE = "import sys; from pathlib import Path; from jobrunner_cli.engine.store.migrating import migrate; "


def start_migrating(path: Path) -> subprocess.Popen[bytes]:
    # The line is written when everything is imported, so that what follows is the migration itself.
    code = f"{MIGRATE}print('go', flush=True); print(migrate(Path(sys.argv[1])))"
    return subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE)


def test_two_migrations_at_once_both_end_well_and_make_one_backup(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    rows = odd_rows(1, 500)
    older_database(path, 1, rows)

    processes = [start_migrating(path) for _ in range(4)]

    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0, 0]
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    assert len(list(tmp_path.glob("*.backup"))) == 1
    ensure_migrated(path)
    assert [{name: row[name] for name in columns_at(1)} for row in job_rows(path)] == rows


def seconds_to_migrate(directory: Path, rows: list[dict[str, Any]]) -> float:
    directory.mkdir()
    older_database(directory / "db.sqlite", 0, rows)
    process = start_migrating(directory / "db.sqlite")
    assert process.stdout is not None
    process.stdout.readline()
    begin = time.monotonic()
    assert process.wait(timeout=60) == 0
    process.stdout.close()
    return time.monotonic() - begin


@pytest.mark.slow
def test_kill_in_the_middle_of_migrate_leaves_the_old_or_the_new(tmp_path: Path) -> None:
    chance = random.Random(1)
    rows = odd_rows(0, 2000)
    undisturbed = seconds_to_migrate(tmp_path / "undisturbed", rows)
    seen = set()
    for attempt in range(12):
        directory = tmp_path / str(attempt)
        directory.mkdir()
        path = directory / "db.sqlite"
        older_database(path, 0, rows)
        process = start_migrating(path)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=chance.uniform(0.0, 1.5 * undisturbed))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=60)
        process.stdout.close()

        with closing(sqlite3.connect(path)) as conn:
            ((level,),) = conn.execute("PRAGMA user_version").fetchall()
            assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            names = {name for (name,) in conn.execute("SELECT name FROM pragma_table_info('job')")}
        seen.add(level)
        assert names == set(columns_at(min(level, 3))) | ({"restarts"} if level == NEWEST_LEVEL else set())
        assert migrate(path).to_level == NEWEST_LEVEL
        assert [{name: row[name] for name in columns_at(0)} for row in job_rows(path)] == rows
        assert not list(directory.glob(".*unfinished*"))
        for backup in directory.glob("*.backup"):
            assert len(job_rows(backup)) == len(rows)
    assert len(seen) > 1, "no kill came before the end"


def test_a_kill_while_a_new_database_is_made_leaves_one_that_can_be_made(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    path.touch()
    with closing(sqlite3.connect(path)) as conn:
        conn.execute("PRAGMA journal_mode = WAL")
    assert migrate(path).created
    ensure_migrated(path)
