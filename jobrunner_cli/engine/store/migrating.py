"""Making a database, and bringing an older one up to date, with a backup first.

A crash at any point leaves a database at some level of `MIGRATIONS`, or an empty one; the next `migrate` goes on there.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jobrunner_cli.engine.errors import ConfigurationError, JobrunnerError
from jobrunner_cli.engine.store.database import Connection, open_file, too_new, translated
from jobrunner_cli.engine.store.files import force_to_disk, free_name
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.mapper import schema_of, statements
from jobrunner_cli.engine.store.models import MIGRATIONS, NEWEST_LEVEL, STORED

#: Seconds that `migrate` waits for another process that is at work on the same directory or file.
_PATIENCE = 10.0
#: Of those who write for a long time, a runner and a sync, and have to be of the new version afterwards.
_LOCKS = ("runner.lock", "sync.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationReport:
    """What `migrate` did."""

    path: Path
    #: the database was made anew
    created: bool
    #: None if it was made anew
    from_level: int | None
    to_level: int
    #: None if nothing needed a backup
    backup_path: Path | None

    @property
    def changed(self) -> bool:
        """Whether anything was done at all."""
        return self.from_level != self.to_level


def migrate(path: Path, *, patience: float = _PATIENCE) -> MigrationReport:
    """Make the database, or bring it to the newest level; one that is up to date is left alone.

    Works under the locks of the directory that the file is in. Raises RunnerActiveError if a runner or a sync holds one,
    DatabaseNotMigratedError for a database from a newer version, ConfigurationError for what is no database of
    jobrunner's, DatabaseBusyError if somebody else keeps it locked.
    """
    if path.is_dir():
        msg = f"{path} is a directory, not a database"
        raise ConfigurationError(msg)
    if path.exists():
        with translated(path), closing(open_file(path, patience=patience, may_create=False)) as conn:
            if conn.level() == NEWEST_LEVEL and conn.has_table("job"):
                conn.require_form()
                return _report(path, NEWEST_LEVEL)
            _require_ours(conn)
    with ExitStack() as held:
        for name in _LOCKS:
            lock = RunnerLock(path.parent / name)
            lock.acquire(timeout=patience)
            held.callback(lock.release)
        with translated(path), closing(open_file(path, patience=patience, may_create=True)) as conn:
            return _bring_up(conn)


def _report(path: Path, from_level: int | None, backup: Path | None = None) -> MigrationReport:
    return MigrationReport(
        path=path, created=from_level is None, from_level=from_level, to_level=NEWEST_LEVEL, backup_path=backup
    )


def _require_ours(conn: Connection) -> None:
    level = conn.level()
    if level > NEWEST_LEVEL:
        raise too_new(conn.path, level)
    tables = conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    if level < 0 or (tables and not (conn.has_table("job") and conn.has_table("job_request"))):
        msg = f"{conn.path} is a SQLite database, but not one of jobrunner's"
        raise ConfigurationError(msg, hint="name another file, or move this one away")


def _bring_up(conn: Connection) -> MigrationReport:
    _require_ours(conn)
    if not conn.has_table("job"):
        conn.execute("PRAGMA journal_mode = WAL").fetchall()
        _apply(conn, schema_of(STORED), NEWEST_LEVEL)
        return _report(conn.path, None)
    level = conn.level()
    if level == NEWEST_LEVEL:
        return _report(conn.path, level)
    backup = _back_up(conn, level)
    try:
        with translated(conn.path):
            _upgrade(conn, level)
    except BaseException as error:
        # Attempts that change nothing must not fill the disk with copies.
        with suppress(sqlite3.Error, OSError):
            if conn.level() == level:
                backup.unlink()
        if backup.exists():
            _name_backup(error, f"as it was before, at level {level}, it is in {backup}")
        raise
    return _report(conn.path, level, backup)


def _name_backup(error: BaseException, where: str) -> None:
    if isinstance(error, JobrunnerError):
        error.hint = where if error.hint is None else f"{error.hint}; {where}"
    else:
        error.add_note(f"The database: {where}")


def _upgrade(conn: Connection, level: int) -> None:
    conn.execute("PRAGMA journal_mode = WAL").fetchall()
    for following in range(level + 1, NEWEST_LEVEL + 1):
        try:
            _apply(conn, statements(MIGRATIONS[following]), following)
        except (sqlite3.OperationalError, sqlite3.IntegrityError) as error:
            # The latter is that of triggers and indexes which somebody has added.
            if error.sqlite_errorcode & 0xFF not in {sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT}:
                raise
            msg = f"{conn.path} says that it is at level {following - 1}, but has not that level's form: {error}"
            raise ConfigurationError(msg, hint="nothing of it was lost: every row is there, at that level") from error


def _apply(conn: Connection, script: list[str], level: int) -> None:
    """One transaction for the statements and the level they lead to."""
    with conn.transaction():
        for statement in script:
            conn.execute(statement)
        conn.execute(f"PRAGMA user_version = {level}")


def _back_up(conn: Connection, level: int) -> Path:
    """Copy the database beside itself; the copy has its name only when it is whole and on disk."""
    path = conn.path
    for leftover in path.parent.glob(f".{path.name}.*.unfinished*"):
        leftover.unlink()
    stem = f"{path.name}.level-{level}.{datetime.now(UTC):%Y%m%dT%H%M%S}"
    draft = path.with_name(f".{stem}.unfinished")
    try:
        # Readable by the same people as the database itself, from its first byte.
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, path.stat().st_mode & 0o777))
        with closing(open_file(draft, patience=0, may_create=False)) as copy:
            conn.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        force_to_disk(draft)
        finished = free_name(path.with_name(f"{stem}Z.backup"))
        draft.rename(finished)
        force_to_disk(path.parent)
    except OSError as error:
        msg = f"no backup of {path} can be made, so nothing was changed: {error.strerror}"
        raise ConfigurationError(msg, hint="the directory needs space for a copy, and must be writable") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return finished
