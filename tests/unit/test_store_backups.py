"""Copies of the database are whole, checked and put back without losing what they replace."""

from __future__ import annotations

import shutil
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.errors import (
    ConfigurationError,
    DatabaseNotMigratedError,
    NotFoundError,
    RunnerActiveError,
    UsageError,
)
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.backups import back_up, restore
from jobrunner_cli.engine.store.database import Connection, connect, ensure_migrated
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import NEWEST_LEVEL, SavedJobRequest
from support.store import make_job, older_database

pytestmark = pytest.mark.slow


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "work/db.sqlite"
    path.parent.mkdir()
    migrate(path)
    with closing(connect(path)) as conn:
        add(conn, "first")
    return path


def add(conn: Connection, job_id: str) -> None:
    request = SavedJobRequest(id=f"r-{job_id}", original={})
    changes.insert_request_and_jobs(conn, request, [make_job(job_id, job_request_id=request.id)])


def ids(path: Path) -> list[str]:
    with closing(connect(path, readonly=True)) as conn:
        return sorted(queries.active_ids(conn))


def locks(database: Path) -> tuple[Path, ...]:
    return database.with_name("runner.lock"), database.with_name("sync.lock")


def leftovers(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if ".unfinished" in path.name]


def test_copy_is_whole_while_others_write(database: Path, tmp_path: Path):
    stop = threading.Event()
    written: list[str] = []

    def write() -> None:
        with closing(connect(database)) as conn:
            while not stop.is_set() and len(written) < 500:
                add(conn, f"job{len(written):05}")
                written.append(f"job{len(written):05}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        report = back_up(database, tmp_path / "copy")
    finally:
        stop.set()
        writer.join()
    assert report.level == NEWEST_LEVEL
    assert "first" in ids(tmp_path / "copy")
    assert len(ids(tmp_path / "copy")) == report.jobs
    with closing(sqlite3.connect(tmp_path / "copy")) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert leftovers(tmp_path) == []


def test_copy_has_what_is_only_in_the_write_ahead_log_and_is_one_private_file(database: Path, tmp_path: Path):
    with closing(connect(database)) as conn:
        add(conn, "second")
        assert database.with_name("db.sqlite-wal").stat().st_size > 0
        back_up(database, tmp_path / "copy")
    assert ids(tmp_path / "copy") == ["first", "second"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "work"]
    assert stat.S_IMODE((tmp_path / "copy").stat().st_mode) == 0o600


def test_nothing_is_overwritten_by_a_copy(database: Path, tmp_path: Path):
    (tmp_path / "copy").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        back_up(database, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "mine"


def test_copy_of_what_is_no_database_is_refused(tmp_path: Path):
    with pytest.raises(DatabaseNotMigratedError):
        back_up(tmp_path / "none", tmp_path / "copy")
    (tmp_path / "text").write_text("no database at all, and long enough to be none" * 100)
    with pytest.raises(ConfigurationError, match="not a SQLite database"):
        back_up(tmp_path / "text", tmp_path / "copy")
    with pytest.raises(ConfigurationError, match="cannot be made"):
        back_up(tmp_path / "text", tmp_path / "no/such/directory/copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text"]


def test_restored_database_is_the_copy_and_the_replaced_one_is_kept(database: Path, tmp_path: Path):
    back_up(database, tmp_path / "copy")
    with closing(connect(database)) as watcher:
        add(watcher, "second")
        before = watcher.data_version()
        report = restore(database, tmp_path / "copy", locks(database))
        # Whoever has it open sees the change, and can go on.
        assert watcher.data_version() != before
        assert queries.active_ids(watcher) == ["first"]
        add(watcher, "third")
    assert ids(database) == ["first", "third"]
    assert report.aside is not None
    assert ids(report.aside) == ["first", "second"]
    assert report.jobs == 1
    assert not report.is_old
    with closing(sqlite3.connect(database)) as conn:
        assert conn.execute("PRAGMA journal_mode").fetchall() == [("wal",)]
    assert leftovers(database.parent) == []


def test_database_that_is_gone_is_restored(database: Path, tmp_path: Path):
    back_up(database, tmp_path / "copy")
    shutil.rmtree(database.parent)
    database.parent.mkdir()
    report = restore(database, tmp_path / "copy", locks(database))
    assert report.aside is None
    assert ids(database) == ["first"]
    ensure_migrated(database)


def test_database_that_cannot_be_read_is_restored_and_kept_as_it_is(database: Path, tmp_path: Path):
    back_up(database, tmp_path / "copy")
    rubbish = b"what a bad disk has left of it" * 1000
    database.write_bytes(rubbish)
    report = restore(database, tmp_path / "copy", locks(database))
    assert ids(database) == ["first"]
    assert report.aside is not None
    assert report.aside.read_bytes() == rubbish


def test_damaged_copy_is_refused_and_nothing_changes(database: Path, tmp_path: Path):
    with closing(connect(database)) as conn:
        for number in range(200):
            add(conn, f"job{number}")
    back_up(database, tmp_path / "copy")
    content = bytearray((tmp_path / "copy").read_bytes())
    # Beyond the first page, which says what the file is.
    for at in range(8192, len(content), 512):
        content[at : at + 64] = b"\xff" * 64
    (tmp_path / "copy").write_bytes(content)
    before = ids(database)
    with pytest.raises(ConfigurationError, match="damaged"):
        restore(database, tmp_path / "copy", locks(database))
    assert ids(database) == before
    assert [path.name for path in database.parent.glob("*replaced*")] == []
    assert leftovers(database.parent) == []


@pytest.mark.parametrize("lock", [0, 1])
def test_nothing_is_restored_while_somebody_is_at_work(database: Path, tmp_path: Path, lock: int):
    back_up(database, tmp_path / "copy")
    with RunnerLock(locks(database)[lock]), pytest.raises(RunnerActiveError):
        restore(database, tmp_path / "copy", locks(database), patience=0.1)
    assert list(database.parent.glob("*replaced*")) == []


def test_copies_of_other_versions(database: Path, tmp_path: Path):
    older_database(tmp_path / "old", 3, [])
    assert restore(database, tmp_path / "old", locks(database)).is_old
    with pytest.raises(DatabaseNotMigratedError):
        ensure_migrated(database)
    back_up(database, tmp_path / "newer")
    with closing(sqlite3.connect(tmp_path / "newer")) as conn:
        conn.execute(f"PRAGMA user_version = {NEWEST_LEVEL + 1}")
    with pytest.raises(DatabaseNotMigratedError, match="newer version"):
        restore(database, tmp_path / "newer", locks(database))


def test_what_is_no_copy_is_refused(database: Path, tmp_path: Path):
    with pytest.raises(NotFoundError):
        restore(database, tmp_path / "none", locks(database))
    with pytest.raises(UsageError, match="the database itself"):
        restore(database, database, locks(database))
    with closing(sqlite3.connect(tmp_path / "other")) as conn:
        conn.execute("CREATE TABLE job_of_somebody_else (id)")
    with pytest.raises(ConfigurationError, match="not one of jobrunner's"):
        restore(database, tmp_path / "other", locks(database))
    assert ids(database) == ["first"]
