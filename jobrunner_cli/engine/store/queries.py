"""Every named question that the program asks of the tables. Nothing here writes.

Hot questions touch unfinished jobs only, or go through an index: finished jobs accumulate for years.
"""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.indexes import UNFINISHED
from jobrunner_cli.engine.store.mapper import find_one, find_where, id_list
from jobrunner_cli.engine.store.models import (
    Acknowledgement,
    Flag,
    HistoryEntry,
    Job,
    Pause,
    Result,
    SavedJobRequest,
    read_code,
)
from jobrunner_cli.engine.store.names import known_actions as known_actions  # noqa: PLC0414 - named here for all who ask the tables
from jobrunner_cli.engine.store.names import known_workspaces as known_workspaces  # noqa: PLC0414 - the same

if TYPE_CHECKING:
    from jobrunner_cli.engine.work import Outcome, RecordedOutputs

_AMONG = "IN (SELECT value FROM json_each(?))"
#: The codes of a job whose command was begun.
_WITH_COMMAND = frozenset(
    {StatusCode.EXECUTING, StatusCode.EXECUTED, StatusCode.FINALIZING, StatusCode.FINALIZED, StatusCode.SUCCEEDED}
)


def active_jobs(conn: Connection, *, damaged: list[str] | None = None) -> list[Job]:
    """All unfinished jobs, oldest first; `damaged` as for `jobs_by_ids`."""
    try:
        return find_where(conn, Job, f"WHERE {UNFINISHED} ORDER BY created_at, rowid")
    except ConfigurationError:
        if damaged is None:
            raise
    ids = active_ids(conn)
    found = jobs_by_ids(conn, ids, damaged=damaged)
    return [found[job_id] for job_id in ids if job_id in found]


def active_ids(conn: Connection) -> list[str]:
    """The ids of all unfinished jobs, oldest first."""
    rows = conn.execute(f"SELECT id FROM job WHERE {UNFINISHED} ORDER BY created_at, rowid").fetchall()
    return [row["id"] for row in rows]


def executing_since(conn: Connection) -> dict[str, float]:
    """The jobs whose command runs, each with when that began, in UNIX seconds."""
    query = f"SELECT id, status_code_updated_at FROM job WHERE {UNFINISHED} AND status_code = ?"
    rows = conn.execute(query, (StatusCode.EXECUTING.value,)).fetchall()
    return {row["id"]: (row["status_code_updated_at"] or 0) / 1e9 for row in rows}


def job_by_id(conn: Connection, job_id: str) -> Job | None:
    """The job with exactly this id."""
    return find_one(conn, Job, "WHERE id = ?", (job_id,))


def jobs_by_ids(conn: Connection, ids: Iterable[str], *, damaged: list[str] | None = None) -> dict[str, Job]:
    """Those of these jobs that exist, by id.

    What is wrong with a row that cannot be read goes to `damaged`, a sentence each; without it, it is raised as
    ConfigurationError.
    """
    wanted = list(ids)
    try:
        return {job.id: job for job in find_where(conn, Job, f"WHERE id {_AMONG}", (id_list(wanted),))}
    except ConfigurationError:
        if damaged is None:
            raise
    found: dict[str, Job] = {}
    for job_id in wanted:
        try:
            job = job_by_id(conn, job_id)
        except ConfigurationError as error:
            # What is not even text is told without the row that it is in.
            damaged.append(error.message if job_id in error.message else f"{error.message} (job {job_id})")
        else:
            found |= {} if job is None else {job_id: job}
    return found


def find_jobs(conn: Connection, text: str) -> list[Job]:
    """The jobs that a user may mean by this text, newest first; several mean that it is ambiguous.

    The text is any part of an id (the whole of one is never ambiguous), or `workspace/action`, which is the latest of
    those jobs, and one that ran before one that only reports.
    """
    text = text.strip()
    workspace, slash, action = text.partition("/")
    if slash:
        rank = "ORDER BY run_command IS NULL, created_at DESC, rowid DESC LIMIT 1"
        return find_where(conn, Job, f"WHERE workspace = ? AND action = ? {rank}", (workspace, action))
    if not text:
        return []
    exact = job_by_id(conn, text.lower())
    if exact is not None:
        return [exact]
    rows = conn.execute("SELECT id FROM job WHERE instr(id, ?) > 0", (text.lower(),)).fetchall()
    return sorted(jobs_by_ids(conn, (row["id"] for row in rows)).values(), key=lambda job: -job.created_at)


def find_requests(conn: Connection, text: str, *, most: int) -> list[str]:
    """The ids of the job requests that a user may mean by part of one, newest first; the whole of one means it alone."""
    text = text.strip()
    if not text:
        return []
    if conn.execute("SELECT 1 FROM job_request WHERE id = ?", (text,)).fetchall():
        return [text]
    query = "SELECT id FROM job_request WHERE instr(lower(id), ?) > 0 ORDER BY rowid DESC LIMIT ?"
    return [row["id"] for row in conn.execute(query, (text.lower(), most)).fetchall()]


def latest_jobs(
    conn: Connection, workspace: str, actions: Iterable[str], *, besides: Collection[str] = ()
) -> dict[str, Job]:
    """Action -> its most recent job in the workspace that was not cancelled and does not only report (section 3).

    `besides` are ids of jobs that are to be passed over.
    """
    condition = "cancelled IS NOT 1 AND status_code IS NOT 'cancelled_by_user'"
    if besides:
        condition += f" AND id NOT {_AMONG}"
        return _latest(conn, workspace, actions, condition, id_list(besides))
    return _latest(conn, workspace, actions, condition)


def newest_jobs(
    conn: Connection, workspace: str, actions: Iterable[str], *, damaged: list[str] | None = None
) -> dict[str, Job]:
    """Action -> its most recent job in the workspace, cancelled or not, that does not only report.

    `damaged` as for `jobs_by_ids`.
    """
    return _latest(conn, workspace, actions, "TRUE", damaged=damaged)


def latest_succeeded(
    conn: Connection, workspace: str, actions: Iterable[str], *, damaged: list[str] | None = None
) -> dict[str, Job]:
    """Action -> its most recent job in the workspace that ran and succeeded: what recorded the outputs now there.

    `damaged` as for `jobs_by_ids`.
    """
    return _latest(conn, workspace, actions, "state = 'succeeded'", damaged=damaged)


def recorded_outputs(conn: Connection, workspace: str) -> list[RecordedOutputs]:
    """What the ended jobs of a workspace stored, the last one first; rows that cannot be read are left out.

    Failed commands count: what they made was stored, too (section 5).
    """
    ended = "(state = 'succeeded' OR status_code IN ('nonzero_exit', 'unmatched_patterns'))"
    order = "ORDER BY coalesce(completed_at, updated_at, created_at) DESC, rowid DESC"
    return _recorded(conn, f"WHERE workspace = ? AND {ended} {order}", (workspace,))


def last_recorded_outputs(conn: Connection, workspace: str, action: str) -> RecordedOutputs | None:
    """What the most recent job of an action that succeeded stored; None if there is none, or its row is damaged."""
    order = "ORDER BY created_at DESC, rowid DESC LIMIT 1"
    clause = f"WHERE workspace = ? AND action = ? AND state = 'succeeded' AND run_command IS NOT NULL {order}"
    return next(iter(_recorded(conn, clause, (workspace, action))), None)


def _recorded(conn: Connection, clause: str, parameters: Sequence[object]) -> list[RecordedOutputs]:
    columns = (
        'id, job_request_id, action, repo_url, "commit", action_repo_url, action_commit, outputs, level4_excluded_files'
    )
    rows = conn.execute(f"SELECT {columns} FROM job {clause}", parameters).fetchall()
    return [recorded for row in rows if (recorded := _read_recorded(row)) is not None]


def _read_recorded(row: sqlite3.Row) -> RecordedOutputs | None:
    from jobrunner_cli.engine.work import RecordedOutputs

    try:
        levels, held_back = (json.loads(row[name] or "{}") or {} for name in ("outputs", "level4_excluded_files"))
    except ValueError:
        return None
    if not levels or not isinstance(levels, dict) or not isinstance(held_back, dict):
        return None
    return RecordedOutputs(
        job_id=row["id"],
        job_request_id=row["job_request_id"] or "",
        action=row["action"] or "",
        repo=row["action_repo_url"] or row["repo_url"] or "",
        commit=row["action_commit"] or row["commit"] or "",
        levels=levels,
        held_back=held_back,
    )


def _latest(
    conn: Connection,
    workspace: str,
    actions: Iterable[str],
    condition: str,
    *parameters: object,
    damaged: list[str] | None = None,
) -> dict[str, Job]:
    clause = (
        f"WHERE workspace = ? AND action = ? AND action <> '__error__' AND run_command IS NOT NULL AND {condition} "
        "ORDER BY created_at DESC, rowid DESC"
    )
    found: dict[str, Job] = {}
    for action in actions:
        try:
            job = find_one(conn, Job, clause, (workspace, action, *parameters))
        except ConfigurationError as error:
            if damaged is None:
                raise
            damaged.append(error.message)
        else:
            found |= {} if job is None else {action: job}
    return found


def codes_of(conn: Connection, ids: Iterable[str]) -> dict[str, StatusCode]:
    """The codes of those of these jobs that exist."""
    rows = conn.execute(f"SELECT id, state, status_code FROM job WHERE id {_AMONG}", (id_list(ids),)).fetchall()
    return {row["id"]: read_code(row) for row in rows}


def jobs_of_request(conn: Connection, request_id: str, *, damaged: list[str] | None = None) -> list[Job]:
    """The jobs of a request, as they were made; `damaged` as for `jobs_by_ids`."""
    clause = "WHERE job_request_id = ? ORDER BY rowid"
    try:
        return find_where(conn, Job, clause, (request_id,))
    except ConfigurationError:
        if damaged is None:
            raise
    ids = [row["id"] for row in conn.execute(f"SELECT id FROM job {clause}", (request_id,)).fetchall()]
    return list(jobs_by_ids(conn, ids, damaged=damaged).values())


def active_counts(conn: Connection) -> dict[State, int]:
    """How many unfinished jobs there are, pending and running; a state without any is absent."""
    rows = conn.execute(f"SELECT state, count(*) AS jobs FROM job WHERE {UNFINISHED} GROUP BY state").fetchall()
    return {State(row["state"]): row["jobs"] for row in rows if row["state"] in set(State)}


def active_requests(conn: Connection) -> set[str]:
    """The requests with unfinished jobs."""
    # Not DISTINCT: for its sake SQLite would walk through the index of all requests.
    rows = conn.execute(f"SELECT job_request_id FROM job WHERE {UNFINISHED}").fetchall()
    return {row["job_request_id"] for row in rows}


def saved_request(conn: Connection, request_id: str) -> SavedJobRequest | None:
    """A request as it was received."""
    return find_one(conn, SavedJobRequest, "WHERE id = ?", (request_id,))


def saved_requests(conn: Connection, request_ids: Iterable[str]) -> dict[str, SavedJobRequest]:
    """Those of these requests that were saved, by id."""
    found = find_where(conn, SavedJobRequest, f"WHERE id {_AMONG}", (id_list(request_ids),))
    return {request.id: request for request in found}


def untold_requests(conn: Connection) -> dict[str, int]:
    """Request -> its `changed_at`, where the job-server has not confirmed the latest change of its jobs."""
    clause = "WHERE acknowledged_at IS NULL OR acknowledged_at < changed_at"
    return {row.job_request_id: row.changed_at for row in find_where(conn, Acknowledgement, clause)}


def changes_of_requests(conn: Connection, request_ids: Iterable[str]) -> dict[str, int]:
    """Request -> its `changed_at`; to be read before the jobs that are sent, and confirmed after."""
    found = find_where(conn, Acknowledgement, f"WHERE job_request_id {_AMONG}", (id_list(request_ids),))
    return {row.job_request_id: row.changed_at for row in found}


def flags(conn: Connection) -> list[Flag]:
    """All flags that were ever set, by name."""
    return find_where(conn, Flag, "ORDER BY id")


def flag(conn: Connection, name: str) -> Flag | None:
    """One flag, if it was ever set."""
    return find_one(conn, Flag, "WHERE id = ?", (name,))


def backend_paused(conn: Connection) -> Flag | None:
    """The flag that pauses the whole backend, if it does (section 9)."""
    found = flag(conn, "paused")
    return found if found is not None and (found.value or "").lower() == "true" else None


def in_maintenance(conn: Connection) -> Flag | None:
    """The flag by which the database is under maintenance, if it is (section 9)."""
    mode, by_hand = flag(conn, "mode"), flag(conn, "manual-db-maintenance")
    if mode is not None and mode.value == "db-maintenance":
        return mode
    return by_hand if by_hand is not None and by_hand.value is not None else None


def pauses(conn: Connection) -> list[Pause]:
    """The paused workspaces and jobs."""
    return find_where(conn, Pause, "ORDER BY scope, name")


def history_of(conn: Connection, job_id: str) -> list[HistoryEntry]:
    """The steps of a job, the first one first."""
    return find_where(conn, HistoryEntry, "WHERE job_id = ? ORDER BY id", (job_id,))


def last_left(conn: Connection, job_id: str, code: StatusCode) -> int | None:
    """When a job last left a code, in nanoseconds; None if it never did."""
    query = "SELECT max(at) FROM history WHERE job_id = ? AND from_code = ?"
    ((at,),) = conn.execute(query, (job_id, code.value)).fetchall()
    return None if at is None else int(at)


def command_ran(conn: Connection, job: Job) -> bool:
    """Whether the command of an ended job was begun in its last run, so that it may have printed something."""
    if job.started_at is None:
        return False
    for step in reversed(history_of(conn, job.id)):
        if step.from_code in _WITH_COMMAND or step.to_code in _WITH_COMMAND:
            return True
        if step.to_code is StatusCode.PREPARING:
            return False
    # A row of an older program, which kept no history.
    return True


def result_of(conn: Connection, job_id: str) -> Outcome | None:
    """The stored verdict on a job; once its files are published, without the container's metadata."""
    # Listing jobs needs none of what is passed around at run time, and is to start fast.
    from jobrunner_cli.engine.store.outcomes import outcome_from_json

    found = find_one(conn, Result, "WHERE job_id = ?", (job_id,))
    return None if found is None else outcome_from_json(found.outcome)


def results_for(conn: Connection, ids: Iterable[str]) -> set[str]:
    """Those of these jobs on which a verdict is stored."""
    rows = conn.execute(f"SELECT job_id FROM result WHERE job_id {_AMONG}", (id_list(ids),)).fetchall()
    return {row["job_id"] for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryUse:
    """A repository that jobs took their code or their study from."""

    repo_url: str
    #: whole UNIX seconds at which the newest of these jobs was made
    newest_at: int
    #: one of them is unfinished
    active: bool


def repository_uses(conn: Connection) -> list[RepositoryUse]:
    """Every repository that any job has, studies' and reusable actions'; looks at all rows."""
    query = f"""
        SELECT url, max(created_at) AS newest, max({UNFINISHED}) AS active FROM (
            SELECT repo_url AS url, created_at, state FROM job
            UNION ALL SELECT action_repo_url, created_at, state FROM job
        ) WHERE url IS NOT NULL GROUP BY url
    """
    rows = conn.execute(query).fetchall()
    return [
        RepositoryUse(repo_url=row["url"], newest_at=row["newest"] or 0, active=bool(row["active"])) for row in rows
    ]
