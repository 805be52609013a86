"""Connections to the database: how they are set up, one per thread, and what a transaction is.

Outside `transaction()` every statement stands alone. A transaction takes the write lock when it begins: one that took it
only at its first write could fail at once, whatever the time limit.
"""

from __future__ import annotations

import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobrunner_cli.engine.errors import (
    ConfigurationError,
    DatabaseBusyError,
    DatabaseNotMigratedError,
    DiskFullError,
    JobrunnerError,
)
from jobrunner_cli.engine.store.mapper import is_undecodable
from jobrunner_cli.engine.store.models import NEWEST_LEVEL, STORED

#: Seconds for which a connection waits for another process's write lock.
PATIENCE = 30.0
#: What helps where the database is damaged.
RESTORE_IT = "jobrunner restore FILE puts a backup in its place"


class Connection(sqlite3.Connection):
    """A connection of one thread, in autocommit mode, with rows that know their columns."""

    #: the database's file
    path: Path

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that happens inside is written together or not at all; one inside another is part of it.

        Raises DatabaseBusyError if another process holds the write lock for too long, DiskFullError without space.
        """
        if self.in_transaction:
            yield
            return
        with translated(self.path):
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                self._abandon()
                raise

    def _abandon(self) -> None:
        # Some errors (a full disk) have ended the transaction already.
        if self.in_transaction:
            self.execute("ROLLBACK")

    def data_version(self) -> int:
        """A number that differs from the last one after a commit of any other connection, and only then."""
        return self._pragma("data_version")

    def level(self) -> int:
        """The level of the schema; 0 is also that of an empty file."""
        return self._pragma("user_version")

    def has_table(self, name: str) -> bool:
        """Whether there is such a table."""
        rows = self.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchall()
        return bool(rows)

    def require_form(self) -> None:
        """Check that a database at the newest level has the tables of that level.

        Other programs count their levels, too, and a number says nothing of whose it is. Raises ConfigurationError.
        """
        rows = self.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        missing = {table.__tablename__ for table in STORED} - {row["name"] for row in rows}
        if missing:
            msg = (
                f"the database {self.path} says that it is at level {NEWEST_LEVEL}, but has not that level's form: "
                f"it has no table {', '.join(sorted(missing))}"
            )
            hint = "was it made by another program? A backup of it from level 3 or before can be upgraded"
            raise ConfigurationError(msg, hint=hint)

    def _pragma(self, name: str) -> int:
        ((value,),) = self.execute(f"PRAGMA {name}").fetchall()
        return int(value)


@contextmanager
def translated(path: Path, *, cure: str = RESTORE_IT) -> Iterator[None]:
    """Turn what SQLite says of a file into errors for people; `cure` is what helps where it is damaged."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        translation = _translate(path, error, cure)
        if translation is None:
            raise
        raise translation from error


def _translate(path: Path, error: sqlite3.DatabaseError, cure: str) -> JobrunnerError | None:
    # The low byte of an extended code is the kind of the trouble.
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return DatabaseBusyError(
            f"the database {path} is locked by another process", hint="try again when that process is done"
        )
    if code == sqlite3.SQLITE_FULL:
        return DiskFullError(f"no space is left for the database {path}", hint="free some space and try again")
    if code == sqlite3.SQLITE_NOTADB:
        return ConfigurationError(f"{path} is not a SQLite database", hint="is it the file that was meant?")
    if code == sqlite3.SQLITE_CORRUPT or is_undecodable(error):
        return ConfigurationError(f"the database {path} is damaged: {error}", hint=cure)
    if code == sqlite3.SQLITE_CANTOPEN:
        return ConfigurationError(f"the database {path} cannot be opened", hint="check who may read and write it")
    if code == sqlite3.SQLITE_READONLY:
        return ConfigurationError(
            f"this user may not write to the database {path}",
            hint=f"{_whose(path)}; where no runner is at work, reading takes that, too",
        )
    if code == sqlite3.SQLITE_IOERR:
        return JobrunnerError(f"the database {path} cannot be read or written: {error}")
    return None


def _whose(path: Path) -> str:
    """To whom a file belongs, in a few words."""
    try:
        return f"it belongs to {path.owner()}"
    except (KeyError, OSError):
        return "check to whom it and its directory belong"


def require_file(path: Path) -> None:
    """Raises DatabaseNotMigratedError if there is no such file, ConfigurationError if it is something else."""
    if path.is_dir():
        msg = f"{path} is a directory, not a database"
        raise ConfigurationError(msg)
    if not path.exists():
        msg = f"there is no database {path} yet"
        raise DatabaseNotMigratedError(msg, hint="make it with: jobrunner migrate")


def connect(path: Path, *, readonly: bool = False, patience: float = PATIENCE) -> Connection:
    """Open an existing database for the thread that asks; with `readonly`, every write through it is refused.

    `patience` is in seconds. Raises DatabaseNotMigratedError if there is no file, ConfigurationError if it is not a
    database, DatabaseBusyError if it stays locked. Looks at no level: that is what `ensure_migrated` is for.
    """
    require_file(path)
    with translated(path):
        conn = open_file(path, patience=patience, may_create=False)
        try:
            if readonly:
                conn.execute("PRAGMA query_only = ON")
            conn.level()
        except BaseException:
            conn.close()
            raise
    return conn


def open_file(path: Path, *, patience: float, may_create: bool) -> Connection:
    """A connection with this program's settings. Raises sqlite3.DatabaseError."""
    mode = "rwc" if may_create else "rw"
    # Which thread may use it is seen to by Database, which also closes the connections of other threads at the end.
    conn: Connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=patience,
        isolation_level=None,
        factory=Connection,
        check_same_thread=False,
    )
    conn.path = path
    conn.row_factory = sqlite3.Row
    try:
        # A power cut must not undo a success whose container is gone already.
        conn.execute("PRAGMA synchronous = FULL")
    except BaseException:
        conn.close()
        raise
    return conn


class Database:
    """One database for all threads of a process: each gets a connection of its own when it first asks.

    As a context it closes them all, and turns what SQLite says of the file into errors for people.
    """

    def __init__(self, path: Path, *, readonly: bool = False, patience: float = PATIENCE) -> None:
        self.path = path
        self.readonly = readonly
        self._patience = patience
        self._own = threading.local()
        self._all: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._guard = threading.Lock()

    @property
    def connection(self) -> Connection:
        """This thread's connection. Raises what `connect` raises."""
        conn: Connection | None = getattr(self._own, "connection", None)
        if conn is None:
            conn = connect(self.path, readonly=self.readonly, patience=self._patience)
            self._own.connection = conn
            with self._guard:
                self._all.add(conn)
        return conn

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction on this thread's connection, which it yields."""
        conn = self.connection
        with conn.transaction():
            yield conn

    def close(self) -> None:
        """Close every thread's connection; none may be in use. The object can be used again."""
        with self._guard:
            for conn in list(self._all):
                conn.close()
            self._all.clear()
            self._own = threading.local()

    def __enter__(self) -> Database:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Close it; what SQLite has said of the file becomes an error for people, as `translated` has them."""
        self.close()
        if isinstance(error, sqlite3.DatabaseError):
            with translated(self.path):
                raise error


def ensure_migrated(path: Path, *, patience: float = PATIENCE) -> None:
    """Check that a database is there and at the level of this program.

    `patience` is in seconds. Raises DatabaseNotMigratedError, naming the command that helps, and what `connect` raises.
    """
    conn = connect(path, readonly=True, patience=patience)
    try:
        with translated(path):
            level, made = conn.level(), conn.has_table("job")
            if made and level == NEWEST_LEVEL:
                conn.require_form()
    finally:
        conn.close()
    if level > NEWEST_LEVEL:
        raise too_new(path, level)
    if not made:
        msg = f"the database {path} has no tables yet"
        raise DatabaseNotMigratedError(msg, hint="make them with: jobrunner migrate")
    if level < NEWEST_LEVEL:
        msg = f"the database {path} is at level {level}, this version needs level {NEWEST_LEVEL}"
        raise DatabaseNotMigratedError(msg, hint="upgrade it with: jobrunner migrate")


def too_new(path: Path, level: int) -> DatabaseNotMigratedError:
    """The refusal of a database that a newer version has made."""
    return DatabaseNotMigratedError(
        f"the database {path} is at level {level}, made by a newer version (this one knows level {NEWEST_LEVEL})",
        hint="install the newer version of jobrunner, or restore the backup that its migrate made",
    )
