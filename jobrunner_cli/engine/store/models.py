"""The stored classes: what each table holds, its schema, and the migrations that bring older databases up to it.

`__tableschema__` is what a new database gets; `migration(n, …)` is what an existing one goes through. Both end in the
same schema. The columns of `job`, `job_request` and `flags` up to level 3 are those of existing installations
(section 8) and keep their names, order and meaning.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, ClassVar

from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store.indexes import OF_JOBS

_END_OF_TIME = 253_402_300_800  # the year 10000, which has no form in ISO 8601

_CODE_OF_STATE = {
    State.PENDING: StatusCode.CREATED,
    State.RUNNING: StatusCode.EXECUTING,
    State.SUCCEEDED: StatusCode.SUCCEEDED,
    State.FAILED: StatusCode.NONZERO_EXIT,
}


def read_state(row: sqlite3.Row) -> State:
    """The state of a row of `job`; where an old row has none, the one that its code belongs to."""
    try:
        return State(row["state"])
    except ValueError:
        pass
    try:
        return state_of(StatusCode(row["status_code"]))
    except ValueError:
        return State.FAILED


def read_code(row: sqlite3.Row) -> StatusCode:
    """The status code of a row of `job`; the state decides where an old row has none, or one that contradicts it."""
    state = read_state(row)
    try:
        code = StatusCode(row["status_code"])
    except ValueError:
        return _CODE_OF_STATE[state]
    return code if state_of(code) is state else _CODE_OF_STATE[state]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One action of one job request (sections 1 and 8)."""

    __tablename__: ClassVar[str] = "job"
    __tableschema__: ClassVar[str] = f"""
        CREATE TABLE job (
            id TEXT PRIMARY KEY,
            job_request_id TEXT,
            state TEXT,
            repo_url TEXT,
            "commit" TEXT,
            workspace TEXT,
            database_name TEXT,
            action TEXT,
            action_repo_url TEXT,
            action_commit TEXT,
            requires_outputs_from TEXT,
            wait_for_job_ids TEXT,
            run_command TEXT,
            image_id TEXT,
            output_spec TEXT,
            outputs TEXT,
            unmatched_outputs TEXT,
            status_message TEXT,
            status_code TEXT,
            cancelled BOOLEAN,
            created_at INT,
            updated_at INT,
            started_at INT,
            completed_at INT,
            trace_context TEXT,
            status_code_updated_at INT,
            level4_excluded_files TEXT,
            requires_db BOOLEAN,
            restarts INTEGER NOT NULL DEFAULT 0
        );
        {OF_JOBS}
    """
    #: columns whose reading needs the whole row
    __readers__: ClassVar[Mapping[str, Callable[[sqlite3.Row], Any]]] = {
        "state": read_state,
        "status_code": read_code,
    }

    id: str
    job_request_id: str
    state: State = State.PENDING
    #: the study's repository and commit
    repo_url: str
    commit: str
    workspace: str
    database_name: str | None = None
    action: str
    #: those of a reusable action; None where the study's own code runs
    action_repo_url: str | None = None
    action_commit: str | None = None
    #: the actions whose outputs are inputs
    requires_outputs_from: tuple[str, ...] = ()
    wait_for_job_ids: tuple[str, ...] = ()
    #: None on rows that only report
    run_command: str | None = None
    image_id: str | None = None
    #: privacy level -> output id -> pattern
    output_spec: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    #: path -> privacy level
    outputs: Mapping[str, str] = field(default_factory=dict)
    unmatched_outputs: tuple[str, ...] = ()
    status_message: str | None = None
    status_code: StatusCode = StatusCode.CREATED
    cancelled: bool = False
    #: whole UNIX seconds
    created_at: int
    updated_at: int
    started_at: int | None = None
    completed_at: int | None = None
    #: the trace's carrier; None before there is one
    trace_context: Mapping[str, str] | None = None
    #: nanoseconds of UNIX time
    status_code_updated_at: int
    #: path -> why it was held back from level 4
    level4_excluded_files: Mapping[str, str] = field(default_factory=dict)
    requires_db: bool = False
    #: how often it was started over because its container was lost
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedJobRequest:
    """A job request as it was received."""

    __tablename__: ClassVar[str] = "job_request"
    __tableschema__: ClassVar[str] = "CREATE TABLE job_request (id TEXT PRIMARY KEY, original TEXT);"

    id: str
    original: Mapping[str, Any]


def _read_value(row: sqlite3.Row) -> str | None:
    """The value of a flag as text, whatever somebody has put there by hand."""
    found = row["value"]
    return found.decode(errors="replace") if isinstance(found, bytes) else None if found is None else str(found)


def _read_timestamp(row: sqlite3.Row) -> float:
    """The time of a flag; a text, as SQLite's CURRENT_TIMESTAMP writes it into older tables, is in UTC.

    What is no time reads as 0: the loop tells since when something is paused, and must not end with that.
    """
    value = row["timestamp"]
    try:
        return float(value) if 0 <= float(value) < _END_OF_TIME else 0.0
    except (TypeError, ValueError):
        pass
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return 0.0
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A named value that operators set (section 9)."""

    __tablename__: ClassVar[str] = "flags"
    __tableschema__: ClassVar[str] = "CREATE TABLE flags (id TEXT PRIMARY KEY, value TEXT, timestamp);"
    __readers__: ClassVar[Mapping[str, Callable[[sqlite3.Row], Any]]] = {
        "value": _read_value,
        "timestamp": _read_timestamp,
    }

    #: its name
    id: str
    #: None is unset
    value: str | None
    #: UNIX seconds at which it got this value
    timestamp: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """A wish of somebody other than the loop, and what became of it."""

    __tablename__: ClassVar[str] = "intent"
    __tableschema__: ClassVar[str] = """
        CREATE TABLE intent (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            kind TEXT NOT NULL,
            job_id TEXT NOT NULL,
            origin TEXT NOT NULL,
            created_at INT NOT NULL,
            answered_at INT,
            answer TEXT
        );
        CREATE UNIQUE INDEX idx_intent__open ON intent (job_id, kind) WHERE answered_at IS NULL;
        CREATE INDEX idx_intent__job_id ON intent (job_id);
    """

    id: int
    #: a value of work.IntentKind
    kind: str
    job_id: str
    #: who wants it: a command, a job-server's user
    origin: str
    #: whole UNIX seconds
    created_at: int
    #: None while it is open
    answered_at: int | None
    answer: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One step of a job from code to code."""

    __tablename__: ClassVar[str] = "history"
    __tableschema__: ClassVar[str] = """
        CREATE TABLE history (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id TEXT NOT NULL,
            from_code TEXT,
            to_code TEXT NOT NULL,
            at INT NOT NULL,
            message TEXT,
            cause TEXT NOT NULL
        );
        CREATE INDEX idx_history__job_id ON history (job_id);
    """

    id: int
    job_id: str
    #: None for the making of the job
    from_code: StatusCode | None
    to_code: StatusCode
    #: nanoseconds of UNIX time
    at: int
    #: the status message after the step
    message: str | None
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The verdict on a job, stored before anything is published."""

    __tablename__: ClassVar[str] = "result"
    __tableschema__: ClassVar[str] = """
        CREATE TABLE result (job_id TEXT PRIMARY KEY, outcome TEXT NOT NULL, recorded_at INT NOT NULL);
    """

    job_id: str
    #: a work.Outcome, as outcomes.py writes it
    outcome: Mapping[str, Any] = field(repr=False)
    #: nanoseconds of UNIX time
    recorded_at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """A paused workspace or job; the backend as a whole is paused by a flag."""

    __tablename__: ClassVar[str] = "pause"
    __tableschema__: ClassVar[str] = """
        CREATE TABLE pause (scope TEXT NOT NULL, name TEXT NOT NULL, since INT NOT NULL, PRIMARY KEY (scope, name));
    """

    #: `workspace` or `job`
    scope: str
    #: the workspace's name, the job's id
    name: str
    #: whole UNIX seconds
    since: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """How far the job-server has confirmed what it was told of the jobs of a request."""

    __tablename__: ClassVar[str] = "acknowledgement"
    __tableschema__: ClassVar[str] = """
        CREATE TABLE acknowledgement (job_request_id TEXT PRIMARY KEY, changed_at INT NOT NULL, acknowledged_at INT);
        CREATE INDEX idx_acknowledgement__open ON acknowledgement (job_request_id)
            WHERE acknowledged_at IS NULL OR acknowledged_at < changed_at;
    """

    job_request_id: str
    #: nanoseconds of UNIX time of the last change of any of its jobs, made to differ from the one before
    changed_at: int
    #: the `changed_at` that the server has confirmed
    acknowledged_at: int | None


#: Every stored class, in the order in which a new database gets its tables.
STORED = (Job, SavedJobRequest, Flag, IntentRow, HistoryEntry, Result, Pause, Acknowledgement)

#: Level -> statements that lead to it from the level below.
MIGRATIONS: dict[int, str] = {}


def migration(level: int, statements: str) -> None:
    """State what leads an existing database from the level below to this one, in one transaction."""
    if level != len(MIGRATIONS) + 1:
        msg = f"migration {level} follows on {len(MIGRATIONS)}"
        raise ValueError(msg)
    MIGRATIONS[level] = statements


migration(
    1,
    """
    ALTER TABLE job ADD COLUMN trace_context TEXT;
    ALTER TABLE job ADD COLUMN status_code_updated_at INT;
    """,
)

migration(2, "ALTER TABLE job ADD COLUMN level4_excluded_files TEXT;")

migration(3, "ALTER TABLE job ADD COLUMN requires_db BOOLEAN;")

# The indexes are made anew, because SQLite uses a partial index only for a query that repeats its very condition.
# Of existing rows, only gaps are filled: a code that says nothing about an unfinished job (the state decides where it is
# taken up), whether an unfinished job from before level 3 uses the database, and times from before level 1.
migration(
    4,
    """
    ALTER TABLE job ADD COLUMN restarts INTEGER NOT NULL DEFAULT 0;
    CREATE TABLE IF NOT EXISTS flags (id TEXT PRIMARY KEY, value TEXT, timestamp);

    DROP INDEX IF EXISTS idx_job__job_request_id;
    DROP INDEX IF EXISTS idx_job__state;
    CREATE INDEX idx_job__job_request_id ON job (job_request_id);
    CREATE INDEX idx_job__state ON job (state) WHERE state NOT IN ('failed', 'succeeded');
    CREATE INDEX idx_job__workspace_action ON job (workspace, action, created_at);
    CREATE INDEX idx_job__state_created_at ON job (state, created_at);
    CREATE INDEX idx_job__workspace_state ON job (workspace, state, created_at);

    CREATE TABLE intent (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        job_id TEXT NOT NULL,
        origin TEXT NOT NULL,
        created_at INT NOT NULL,
        answered_at INT,
        answer TEXT
    );
    CREATE UNIQUE INDEX idx_intent__open ON intent (job_id, kind) WHERE answered_at IS NULL;
    CREATE INDEX idx_intent__job_id ON intent (job_id);
    CREATE TABLE history (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL,
        from_code TEXT,
        to_code TEXT NOT NULL,
        at INT NOT NULL,
        message TEXT,
        cause TEXT NOT NULL
    );
    CREATE INDEX idx_history__job_id ON history (job_id);
    CREATE TABLE result (job_id TEXT PRIMARY KEY, outcome TEXT NOT NULL, recorded_at INT NOT NULL);
    CREATE TABLE pause (scope TEXT NOT NULL, name TEXT NOT NULL, since INT NOT NULL, PRIMARY KEY (scope, name));
    CREATE TABLE acknowledgement (job_request_id TEXT PRIMARY KEY, changed_at INT NOT NULL, acknowledged_at INT);
    CREATE INDEX idx_acknowledgement__open ON acknowledgement (job_request_id)
        WHERE acknowledged_at IS NULL OR acknowledged_at < changed_at;

    UPDATE job SET status_code = 'created'
        WHERE state = 'pending' AND coalesce(status_code, '') NOT IN ('created', 'waiting_on_dependencies',
            'waiting_on_workers', 'waiting_on_db_workers', 'waiting_on_reboot', 'waiting_db_maintenance', 'paused');
    UPDATE job SET status_code = 'executing'
        WHERE state = 'running' AND coalesce(status_code, '') NOT IN
            ('preparing', 'prepared', 'executing', 'executed', 'finalizing', 'finalized');
    UPDATE job SET requires_db = EXISTS (
            SELECT 1 FROM (
                SELECT 'sqlrunner *' AS shape UNION ALL SELECT 'ehrql generate-dataset *'
                UNION ALL SELECT 'ehrql generate-measures *' UNION ALL SELECT 'databuilder generate[-_]dataset *'
                UNION ALL SELECT 'cohortextractor generate_cohort *'
                UNION ALL SELECT 'cohortextractor generate_codelist_report *'
            ) WHERE substr(run_command, 1, instr(run_command, ':') - 1)
                || substr(run_command || ' ', instr(run_command || ' ', ' ')) || ' ' GLOB shape
        )
        WHERE requires_db IS NULL AND state NOT IN ('failed', 'succeeded');
    UPDATE job SET status_code_updated_at = coalesce(updated_at, created_at, 0) * 1000000000
        WHERE status_code_updated_at IS NULL;
    """,
)

#: The level of a database that this program works with.
NEWEST_LEVEL = len(MIGRATIONS)
