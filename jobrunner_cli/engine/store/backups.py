"""Copies of the database: made while it is in use, checked before they count, and put back in its place."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from jobrunner_cli.engine.errors import ConfigurationError, JobrunnerError, NotFoundError, UsageError
from jobrunner_cli.engine.store.database import RESTORE_IT, Connection, open_file, require_file, too_new, translated
from jobrunner_cli.engine.store.files import force_to_disk, free_name
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.models import NEWEST_LEVEL

#: Seconds that another process's write lock is waited for.
_PATIENCE = 30.0
#: Seconds that `restore` waits for another process that is at work on the directory.
_LOCK_PATIENCE = 5.0
#: Pages that are copied at a time: writers get their turn in between.
_PAGES = 1000
#: What helps where a backup is damaged; it has not taken the place of anything.
_TAKE_ANOTHER = "take another backup; the database is as it was"
#: Files that SQLite keeps beside a database in use.
_BESIDE = ("-wal", "-shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupReport:
    """A copy that was made and checked."""

    path: Path
    level: int
    jobs: int
    #: bytes
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreReport:
    """A database that was put in the place of another one."""

    path: Path
    level: int
    jobs: int
    #: the replaced database; None if there was none
    aside: Path | None

    @property
    def is_old(self) -> bool:
        """Whether it has to be migrated before anything can use it."""
        return self.level < NEWEST_LEVEL


def back_up(database: Path, target: Path) -> BackupReport:
    """Copy the database to a new file while others use it. The copy has its name only when it is whole, checked and on disk.

    Only its owner may read it. Raises UsageError if the file exists, DatabaseNotMigratedError, ConfigurationError for a
    database that is damaged or none of ours, DatabaseBusyError.
    """
    require_file(database)
    if target.exists() or target.is_symlink():
        msg = f"{target} exists already"
        raise UsageError(msg, hint="name another file, or remove this one")
    with _draft(target) as draft:
        with translated(database), closing(open_file(database, patience=_PATIENCE, may_create=False)) as conn:
            _copy(conn, draft)
        level, jobs = _checked(draft, database, RESTORE_IT)
        size = draft.stat().st_size
        # Unlike a rename, a link never takes the place of what somebody has made meanwhile.
        os.link(draft, target)
    force_to_disk(target.parent)
    return BackupReport(path=target, level=level, jobs=jobs, size=size)


def restore(
    database: Path, source: Path, locks: tuple[Path, ...], *, patience: float = _LOCK_PATIENCE
) -> RestoreReport:
    """Put a copy in the place of the database, and keep the replaced one beside it.

    `locks` are held meanwhile: those of whoever writes for a long time, who is waited for `patience` seconds. Raises
    NotFoundError without the copy, RunnerActiveError if one of the locks is held, DatabaseNotMigratedError for a copy
    from a newer version, ConfigurationError for one that is damaged or no database of jobrunner's.
    """
    if not source.is_file():
        msg = f"there is no file {source}"
        raise NotFoundError(msg)
    with ExitStack() as held:
        for path in locks:
            lock = RunnerLock(path)
            lock.acquire(patience)
            held.callback(lock.release)
        if database.exists() and database.samefile(source):
            msg = f"{source} is the database itself"
            raise UsageError(msg, hint="name a backup of it")
        with _draft(database) as draft:
            reading = translated(source, cure=_TAKE_ANOTHER)
            with reading, closing(open_file(source, patience=_PATIENCE, may_create=False)) as conn:
                _copy(conn, draft)
            level, jobs = _checked(draft, source, _TAKE_ANOTHER)
            aside = _replace(database, draft) if database.exists() else None
            if not database.exists():
                _place(draft, database)
        force_to_disk(database.parent)
    return RestoreReport(path=database, level=level, jobs=jobs, aside=aside)


def _copy(conn: Connection, draft: Path) -> None:
    with closing(open_file(draft, patience=0, may_create=False)) as copy:
        conn.backup(copy, pages=_PAGES, sleep=0.01)
        # One file, whatever the original is.
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
    force_to_disk(draft)


def _checked(path: Path, original: Path, cure: str) -> tuple[int, int]:
    """The level of a copy, and how many jobs are in it; `cure` helps where it is damaged. Raises ConfigurationError if it is no good."""
    with translated(original, cure=cure), closing(open_file(path, patience=0, may_create=False)) as conn:
        conn.execute("PRAGMA query_only = ON")
        found = [str(row[0]) for row in conn.execute("PRAGMA integrity_check(3)").fetchall()]
        if found != ["ok"]:
            msg = f"{original} is damaged: {'; '.join(found)}"
            raise ConfigurationError(msg, hint=cure)
        level = conn.level()
        if level > NEWEST_LEVEL:
            raise too_new(original, level)
        if not (conn.has_table("job") and conn.has_table("job_request")):
            msg = f"{original} is a SQLite database, but not one of jobrunner's"
            raise ConfigurationError(msg)
        ((jobs,),) = conn.execute("SELECT count(*) FROM job").fetchall()
        return level, int(jobs)


def _replace(database: Path, draft: Path) -> Path:
    """Keep the database under another name, and give its place to the draft."""
    aside = free_name(database.with_name(f"{database.name}.replaced.{datetime.now(UTC):%Y%m%dT%H%M%S}Z"))
    try:
        with closing(open_file(database, patience=_PATIENCE, may_create=False)) as conn:
            with _draft(aside) as kept:
                _copy(conn, kept)
                os.link(kept, aside)
            force_to_disk(aside.parent)
            # Through SQLite, all at once or not at all, and seen by whoever has the database open at the moment.
            with closing(open_file(draft, patience=0, may_create=False)) as copy:
                copy.backup(conn)
            conn.execute("PRAGMA journal_mode = WAL").fetchall()
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            with translated(database):
                raise
        # What SQLite cannot read, nobody can have in use.
        for suffix in ("", *_BESIDE):
            with suppress(FileNotFoundError):
                database.with_name(database.name + suffix).rename(aside.with_name(aside.name + suffix))
    return aside


def _place(draft: Path, database: Path) -> None:
    """Make the draft the database, where there is none."""
    for suffix in _BESIDE:
        # They would belong to a database that is gone.
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    draft.rename(database)
    with translated(database), closing(open_file(database, patience=_PATIENCE, may_create=False)) as conn:
        conn.execute("PRAGMA journal_mode = WAL").fetchall()


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """An empty file beside the target that is gone afterwards, if it was not renamed."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.unfinished")
    try:
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        msg = f"{target} cannot be made: {error.strerror}"
        raise ConfigurationError(msg, hint="its directory must be there, writable and with space") from error
    try:
        yield draft
    except OSError as error:
        if isinstance(error, FileExistsError):
            msg = f"{target} exists already"
            raise UsageError(msg) from error
        msg = f"{target} cannot be made: {error.strerror}"
        raise JobrunnerError(msg) from error
    finally:
        for suffix in ("", "-journal", *_BESIDE):
            draft.with_name(draft.name + suffix).unlink(missing_ok=True)
