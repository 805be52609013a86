"""What others than the loop want of jobs: appended by commands and sync, answered by the loop."""

from __future__ import annotations

from collections.abc import Iterable

from jobrunner_cli.engine.errors import NotFoundError
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.mapper import find_one, find_where
from jobrunner_cli.engine.store.models import IntentRow
from jobrunner_cli.engine.store.queries import job_by_id
from jobrunner_cli.engine.work import Intent, IntentKind

_KINDS = frozenset(kind.value for kind in IntentKind)


def append(conn: Connection, kind: IntentKind, job_id: str, origin: str, now: float) -> int:
    """Ask for something; the same wish that is still open is not doubled. Returns the intent's id.

    `origin` says who asks; `now` is in UNIX seconds. Raises NotFoundError if there is no such job.
    """
    with conn.transaction():
        if job_by_id(conn, job_id) is None:
            msg = f"there is no job {job_id}"
            raise NotFoundError(msg)
        present = find_one(
            conn, IntentRow, "WHERE job_id = ? AND kind = ? AND answered_at IS NULL", (job_id, kind.value)
        )
        if present is not None:
            return present.id
        cursor = conn.execute(
            "INSERT INTO intent (kind, job_id, origin, created_at) VALUES (?, ?, ?, ?)",
            (kind.value, job_id, origin, int(now)),
        )
        # An insert that succeeded has a row id.
        return int(cursor.lastrowid or 0)


def open_intents(conn: Connection, job_ids: Iterable[str] | None = None) -> dict[str, tuple[Intent, ...]]:
    """Job id -> its open intents, the oldest first; of all jobs, finished ones too, or only of these."""
    rows = find_where(conn, IntentRow, "WHERE answered_at IS NULL ORDER BY id")
    wanted = None if job_ids is None else set(job_ids)
    found: dict[str, tuple[Intent, ...]] = {}
    for row in rows:
        # A newer version may have written wishes that this one does not know.
        if row.kind in _KINDS and (wanted is None or row.job_id in wanted):
            intent = Intent(id=row.id, kind=IntentKind(row.kind), job_id=row.job_id)
            found[row.job_id] = (*found.get(row.job_id, ()), intent)
    return found


def intent_by_id(conn: Connection, intent_id: int) -> IntentRow | None:
    """One intent; who appended it reads its answer here."""
    return find_one(conn, IntentRow, "WHERE id = ?", (intent_id,))


def intents_of(conn: Connection, job_id: str) -> list[IntentRow]:
    """Everything that was ever asked for a job, the oldest first."""
    return find_where(conn, IntentRow, "WHERE job_id = ? ORDER BY id", (job_id,))


def answer(conn: Connection, intent_id: int, text: str, now: float) -> bool:
    """Close an intent with an answer for people. False if it was closed already: the first answer stands."""
    statement = "UPDATE intent SET answered_at = ?, answer = ? WHERE id = ? AND answered_at IS NULL"
    return conn.execute(statement, (int(now), text, intent_id)).rowcount == 1
