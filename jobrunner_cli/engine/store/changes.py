"""Every change of the tables, except intents: jobs are inserted here, moved here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from jobrunner_cli.engine.errors import StaleRowError
from jobrunner_cli.engine.states import State, StatusCode, require_legal, state_of, time_effects
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.mapper import assignments, find_one, insert
from jobrunner_cli.engine.store.models import Flag, HistoryEntry, Job, Pause, Result, SavedJobRequest
from jobrunner_cli.engine.store.outcomes import outcome_to_json
from jobrunner_cli.engine.work import Outcome

_NS = 1_000_000_000
#: Seconds after which the `updated_at` of an unchanged job is touched.
_TOUCH_AFTER = 60
#: What follows from a step and so cannot be changed beside it.
_FOLLOWS = frozenset(
    {
        "id",
        "state",
        "status_code",
        "status_message",
        "created_at",
        "updated_at",
        "started_at",
        "completed_at",
        "status_code_updated_at",
    }
)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def insert_request_and_jobs(conn: Connection, request: SavedJobRequest, jobs: Sequence[Job]) -> None:
    """Store a request and all its jobs in one transaction; a request that is saved already is left as it is.

    Raises sqlite3.IntegrityError, and stores nothing, if one of the jobs exists.
    """
    with conn.transaction():
        insert(conn, request, leave_existing=True)
        insert(conn, *jobs)
        for job in jobs:
            _record_step(conn, job.id, None, job.status_code, job.status_code_updated_at, job.status_message, "made")
        for request_id, at in {job.job_request_id: job.status_code_updated_at for job in jobs}.items():
            _note_change(conn, request_id, at)


def advance(
    conn: Connection,
    job: Job,
    path: Sequence[StatusCode],
    *,
    now_ns: int,
    message: str | None,
    cause: str,
    changes: Mapping[str, Any] = _NOTHING,
) -> Job:
    """Move a job along a path of legal edges (its present code left out) and write all that follows, in one transaction.

    `message` is the new status message, None leaves it; `changes` are other fields; `cause` goes to the history with
    each step. An empty path changes only message and fields, and where nothing differs touches `updated_at` at most once
    a minute. Returns the job as it is now. Raises IllegalTransitionError, and StaleRowError if the row is not at the
    code that `job` has: neither writes anything.
    """
    if forbidden := _FOLLOWS.intersection(changes):
        msg = f"not to be changed beside a step: {', '.join(sorted(forbidden))}"
        raise ValueError(msg)
    codes = (job.status_code, *path)
    require_legal(codes)
    wanted = dict(changes) if message is None else {**changes, "status_message": message}
    differing = {name: value for name, value in wanted.items() if getattr(job, name) != value}
    if not path and not differing and now_ns // _NS - job.updated_at < _TOUCH_AFTER:
        return job
    stamp = max(now_ns, job.status_code_updated_at)
    if path:
        differing |= _consequences(job, codes, stamp)
    differing["updated_at"] = max(job.updated_at, now_ns // _NS)
    moved = replace(job, **differing)
    with conn.transaction():
        _update(conn, job, differing)
        for before, after in pairwise(codes):
            _record_step(conn, job.id, before, after, stamp, moved.status_message, cause)
        if path or "status_message" in differing:
            _note_change(conn, job.job_request_id, now_ns)
        if path:
            _shorten_verdict(conn, moved)
    return moved


def _consequences(job: Job, codes: Sequence[StatusCode], stamp: int) -> dict[str, Any]:
    """The fields that the steps set: code, state and times. Seconds follow the stamp, so that they do not go back."""
    seconds = stamp // _NS
    started, completed = job.started_at, job.completed_at
    for before, after in pairwise(codes):
        effects = time_effects(before, after)
        if effects.sets_started:
            started = seconds
        if effects.clears_started:
            started = None
        if effects.sets_completed:
            completed = seconds
        if effects.clears_completed:
            completed = None
    return {
        "status_code": codes[-1],
        "state": state_of(codes[-1]),
        "started_at": started,
        "completed_at": completed,
        "status_code_updated_at": stamp,
    }


def _update(conn: Connection, job: Job, changed: Mapping[str, Any]) -> None:
    listed, parameters = assignments(Job, changed)
    statement = f"UPDATE job SET {listed} WHERE id = ? AND status_code = ?"  # noqa: S608
    touched = conn.execute(statement, (*parameters, job.id, job.status_code.value)).rowcount
    if touched != 1:
        msg = f"job {job.id} is not at {job.status_code.value} any more"
        raise StaleRowError(msg)


def _record_step(
    conn: Connection,
    job_id: str,
    before: StatusCode | None,
    after: StatusCode,
    at: int,
    message: str | None,
    cause: str,
) -> None:
    values = {"job_id": job_id, "from_code": before, "to_code": after, "at": at, "message": message, "cause": cause}
    conn.execute(
        "INSERT INTO history (job_id, from_code, to_code, at, message, cause) VALUES (?, ?, ?, ?, ?, ?)",
        assignments(HistoryEntry, values)[1],
    )


def _note_change(conn: Connection, request_id: str, at: int) -> None:
    """Note that the job-server is to be told; the number differs from the last one even when the clock stands still."""
    conn.execute(
        "INSERT INTO acknowledgement (job_request_id, changed_at) VALUES (?, ?) "
        "ON CONFLICT (job_request_id) DO UPDATE SET changed_at = max(changed_at + 1, excluded.changed_at)",
        (request_id, at),
    )


def _shorten_verdict(conn: Connection, job: Job) -> None:
    """Once everything is published, the container's description is in the job's log directory and need not be here."""
    if job.status_code in {StatusCode.SUCCEEDED, StatusCode.NONZERO_EXIT, StatusCode.UNMATCHED_PATTERNS}:
        conn.execute(
            "UPDATE result SET outcome = json_set(outcome, '$.container_metadata', json('{}')) WHERE job_id = ?",
            (job.id,),
        )


def record_verdict(conn: Connection, job: Job, outcome: Outcome, now_ns: int) -> bool:
    """Store the verdict on a job: the one commit point of publishing. True if it stands, now or from before.

    False, and nothing is stored, if a cancellation or a kill is open or was acted upon, or the job runs no more.
    """
    with conn.transaction():
        if conn.execute("SELECT 1 FROM result WHERE job_id = ?", (job.id,)).fetchall():
            return True
        runs = "SELECT 1 FROM job WHERE id = ? AND state = ? AND NOT coalesce(cancelled, FALSE)"
        if not conn.execute(runs, (job.id, State.RUNNING.value)).fetchall():
            return False
        query = "SELECT 1 FROM intent WHERE job_id = ? AND kind IN ('cancel', 'kill') AND answered_at IS NULL"
        if conn.execute(query, (job.id,)).fetchall():
            return False
        insert(conn, Result(job_id=job.id, outcome=outcome_to_json(outcome), recorded_at=now_ns))
        return True


def discard_verdict(conn: Connection, job_id: str) -> None:
    """Forget the verdict on a job whose finalization starts anew."""
    conn.execute("DELETE FROM result WHERE job_id = ?", (job_id,))


def acknowledge(conn: Connection, confirmed: Mapping[str, int]) -> None:
    """Note what the job-server has confirmed: request -> the `changed_at` that was read before its jobs were."""
    with conn.transaction():
        conn.executemany(
            "UPDATE acknowledgement SET acknowledged_at = ? WHERE job_request_id = ?",
            [(changed_at, request_id) for request_id, changed_at in confirmed.items()],
        )


def set_flag(conn: Connection, name: str, value: str | None, now: float) -> Flag:
    """Set a flag, or unset it with None or an empty value; setting the value that it has changes nothing.

    `now` is in UNIX seconds. Returns the flag as it is.
    """
    with conn.transaction():
        present = find_one(conn, Flag, "WHERE id = ?", (name,))
        if present is not None and present.value == (value or None):
            return present
        wanted = Flag(id=name, value=value or None, timestamp=now)
        conn.execute(
            "INSERT INTO flags (id, value, timestamp) VALUES (?, ?, ?) "
            "ON CONFLICT (id) DO UPDATE SET value = excluded.value, timestamp = excluded.timestamp",
            (wanted.id, wanted.value, wanted.timestamp),
        )
        return wanted


def pause(conn: Connection, scope: str, name: str, now: float) -> bool:
    """Pause a `workspace` or a `job`. False if it was paused already; it then keeps its time."""
    if scope not in {"workspace", "job"}:
        msg = f"{scope} cannot be paused"
        raise ValueError(msg)
    with conn.transaction():
        if find_one(conn, Pause, "WHERE scope = ? AND name = ?", (scope, name)) is not None:
            return False
        insert(conn, Pause(scope=scope, name=name, since=int(now)))
        return True


def resume(conn: Connection, scope: str, name: str) -> bool:
    """End the pause of a `workspace` or a `job`. False if it was not paused."""
    return conn.execute("DELETE FROM pause WHERE scope = ? AND name = ?", (scope, name)).rowcount > 0
