"""What a job-server is told of jobs, and questions about many job requests at once. Nothing here writes."""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.indexes import UNFINISHED
from jobrunner_cli.engine.store.mapper import find_where, id_list
from jobrunner_cli.engine.store.models import Job

_HAS_JOBS = "EXISTS (SELECT 1 FROM job WHERE job_request_id = asked.value)"
_HAS_ACTIVE_JOBS = f"EXISTS (SELECT 1 FROM job WHERE job_request_id = asked.value AND {UNFINISHED})"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldJob:
    """Those columns of a job that leave the house: a third of them, and thousands of jobs are told at a time."""

    __tablename__: ClassVar[str] = Job.__tablename__
    __tableschema__: ClassVar[str] = Job.__tableschema__
    __readers__: ClassVar[Mapping[str, Callable[[sqlite3.Row], Any]]] = Job.__readers__

    id: str
    job_request_id: str
    action: str
    run_command: str | None
    state: State
    status_code: StatusCode
    status_message: str | None
    #: whole UNIX seconds
    created_at: int
    updated_at: int
    started_at: int | None
    completed_at: int | None
    trace_context: Mapping[str, str] | None
    requires_db: bool


def told_jobs(conn: Connection, request_ids: Iterable[str]) -> dict[str, list[ToldJob]]:
    """Request -> all its jobs, as they were made; a request without jobs is absent.

    Raises ConfigurationError if one of the rows cannot be read.
    """
    clause = "WHERE job_request_id IN (SELECT value FROM json_each(?)) ORDER BY job_request_id, rowid"
    found: dict[str, list[ToldJob]] = {}
    for job in find_where(conn, ToldJob, clause, (id_list(request_ids),)):
        found.setdefault(job.job_request_id, []).append(job)
    return found


def requests_without_jobs(conn: Connection, request_ids: Iterable[str]) -> set[str]:
    """Those of these requests that have no jobs here."""
    return _those(conn, request_ids, f"NOT {_HAS_JOBS}")


def finished_requests(conn: Connection, request_ids: Iterable[str]) -> set[str]:
    """Those of these requests that have jobs here, all of them finished."""
    return _those(conn, request_ids, f"{_HAS_JOBS} AND NOT {_HAS_ACTIVE_JOBS}")


def requests_of_origin(conn: Connection, request_ids: Iterable[str], origin: str) -> set[str]:
    """Those of these requests whose saved original has this `origin`."""
    said = "CASE WHEN json_valid(original) THEN json_extract(original, '$.origin') END"
    query = f"EXISTS (SELECT 1 FROM job_request WHERE id = asked.value AND {said} = ?)"
    return _those(conn, request_ids, query, origin)


def unfinished_actions(conn: Connection, request_ids: Iterable[str]) -> dict[str, set[str]]:
    """Request -> the actions of its unfinished jobs; a request without any is absent."""
    query = f"SELECT job_request_id, action FROM job WHERE job_request_id IN (SELECT value FROM json_each(?)) AND {UNFINISHED}"
    found: dict[str, set[str]] = {}
    for row in conn.execute(query, (id_list(request_ids),)).fetchall():
        found.setdefault(row["job_request_id"], set()).add(row["action"])
    return found


def _those(conn: Connection, request_ids: Iterable[str], condition: str, *parameters: object) -> set[str]:
    query = f"SELECT asked.value AS id FROM json_each(?) AS asked WHERE {condition}"
    return {row["id"] for row in conn.execute(query, (id_list(request_ids), *parameters)).fetchall()}
