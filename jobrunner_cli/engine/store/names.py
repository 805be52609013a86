"""Names of what is in the tables, for those who type them: few columns of few rows, through an index.

This imports no stored class: somebody waits at a key, and they take longer than the answers.
"""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from jobrunner_cli.engine.store.indexes import UNFINISHED

#: Greater than every character that an id may have.
_LAST = "\U0010ffff"
_COLUMNS = "id, workspace, action, coalesce(status_code, state)"
_NEWEST = "ORDER BY created_at DESC, rowid DESC LIMIT ?"


class NamedJob(NamedTuple):
    """What names a job, and how it stands."""

    id: str
    workspace: str
    action: str
    #: its code, or, in rows of older versions that have none, its state
    code: str


def open_for_names(path: Path, *, patience: float) -> sqlite3.Connection:
    """A connection that is good for the questions below. Raises sqlite3.Error, also where there is no database."""
    conn = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=patience, isolation_level=None)
    conn.row_factory = sqlite3.Row
    try:
        conn.execute("PRAGMA query_only = ON")
    except BaseException:
        conn.close()
        raise
    return conn


def jobs_beginning_with(
    conn: sqlite3.Connection, text: str, *, limit: int, active_only: bool = False
) -> list[NamedJob]:
    """The jobs whose ids begin with a text, unfinished ones first, then the newest, at most `limit` of them."""
    if text:
        return _beginning_with(conn, text, limit=limit, active_only=active_only)
    select = f"SELECT {_COLUMNS} FROM job WHERE "
    found = conn.execute(f"{select}{UNFINISHED} {_NEWEST}", (limit,)).fetchall()
    if not active_only:
        # The newest of each state: all that the newest of both can be among, each in the order of an index.
        ended = [
            row
            for state in ("succeeded", "failed")
            for row in conn.execute(
                f"SELECT created_at, rowid, {_COLUMNS} FROM job WHERE state = ? {_NEWEST}", (state, limit)
            ).fetchall()
        ]
        ended.sort(key=lambda row: (row[0] or 0, row[1]), reverse=True)
        found += [tuple(row)[2:] for row in ended]
    return [_named(row) for row in found[:limit]]


def _beginning_with(conn: sqlite3.Connection, text: str, *, limit: int, active_only: bool) -> list[NamedJob]:
    scope = f"AND {UNFINISHED}" if active_only else ""
    # The plus keeps SQLite from going through all jobs in the order of their times.
    order = f"ORDER BY {UNFINISHED} DESC, +created_at DESC, rowid DESC LIMIT ?"
    query = f"SELECT {_COLUMNS} FROM job WHERE id >= ? AND id < ? {scope} {order}"
    return [_named(row) for row in conn.execute(query, (text, text + _LAST, limit)).fetchall()]


def _named(row: Iterable[str | None]) -> NamedJob:
    return NamedJob(*(value or "" for value in row))


def outputs_of(conn: sqlite3.Connection, text: str) -> str:
    """The outputs of the job that a text means, part of an id or `workspace/action`, as they are stored: JSON.

    Empty where no job has any, and where several jobs may be meant.
    """
    workspace, slash, action = text.partition("/")
    if slash:
        query = "WHERE workspace = ? AND action = ? ORDER BY run_command IS NULL, created_at DESC, rowid DESC LIMIT 1"
        rows = conn.execute(f"SELECT outputs FROM job {query}", (workspace, action)).fetchall()
    else:
        part = text.lower()
        rows = conn.execute("SELECT outputs FROM job WHERE id = ?", (part,)).fetchall()
        rows = rows or conn.execute("SELECT outputs FROM job WHERE instr(id, ?) > 0 LIMIT 2", (part,)).fetchall()
    return (rows[0]["outputs"] or "") if len(rows) == 1 else ""


def newest_time(conn: sqlite3.Connection) -> int | None:
    """When the newest job was made, in whole UNIX seconds by the clock of then; looks at all rows."""
    ((newest,),) = conn.execute("SELECT max(created_at) FROM job").fetchall()
    return None if newest is None else int(newest)


def newest_requests(conn: sqlite3.Connection, *, newest: int) -> list[tuple[str, str, int]]:
    """The requests of so many of the newest jobs, the last one first: id, workspace, how many of these jobs it has."""
    among = "SELECT rowid AS row, job_request_id, workspace FROM job ORDER BY rowid DESC LIMIT ?"
    query = (
        f"SELECT job_request_id, max(workspace), count(*) FROM ({among}) "
        "WHERE job_request_id IS NOT NULL GROUP BY job_request_id ORDER BY max(row) DESC"
    )
    return [(row[0], row[1] or "", row[2]) for row in conn.execute(query, (newest,)).fetchall()]


def newest_commit(conn: sqlite3.Connection, repo_url: str) -> str | None:
    """The commit of the newest job of a repository; looks at all rows."""
    query = (
        'SELECT "commit" AS sha FROM job WHERE repo_url = ? AND "commit" IS NOT NULL ORDER BY created_at DESC LIMIT 1'
    )
    rows = conn.execute(query, (repo_url,)).fetchall()
    return rows[0]["sha"] if rows else None


def actions_of_repository(conn: sqlite3.Connection, repo_url: str) -> list[str]:
    """The names of the actions of a repository that ever had a job, sorted; looks at all rows."""
    rows = conn.execute("SELECT DISTINCT action FROM job WHERE repo_url = ? ORDER BY action", (repo_url,)).fetchall()
    return [row["action"] for row in rows if row["action"]]


def images_of_jobs(conn: sqlite3.Connection, *, newest: int) -> list[str]:
    """The first words of the commands of so many of the newest jobs, sorted."""
    query = "SELECT run_command FROM job WHERE run_command IS NOT NULL ORDER BY rowid DESC LIMIT ?"
    rows = conn.execute(query, (newest,)).fetchall()
    return sorted({row["run_command"].split(maxsplit=1)[0] for row in rows if row["run_command"].strip()})


def distinct(conn: sqlite3.Connection, column: str, scope: str, parameters: Sequence[object]) -> list[str]:
    """The distinct values of a column, hopping from one to the next through an index."""
    query = f"""
        WITH RECURSIVE hop(value) AS (
            SELECT min({column}) FROM job WHERE {scope}
            UNION ALL
            SELECT (SELECT min({column}) FROM job WHERE {scope} AND {column} > hop.value)
            FROM hop WHERE hop.value IS NOT NULL
        )
        SELECT value FROM hop WHERE typeof(value) = 'text'
    """
    return [row["value"] for row in conn.execute(query, (*parameters, *parameters)).fetchall()]


def known_workspaces(conn: sqlite3.Connection) -> list[str]:
    """The names of all workspaces that ever had a job, sorted."""
    return distinct(conn, "workspace", "TRUE", ())


def known_actions(conn: sqlite3.Connection, workspace: str) -> list[str]:
    """The names of all actions that ever had a job in a workspace, sorted."""
    return distinct(conn, "action", "workspace = ?", (workspace,))


def images_of_unfinished_jobs(conn: sqlite3.Connection) -> set[str]:
    """The images of the platform that unfinished jobs are to run in, as their commands name them."""
    query = f"SELECT DISTINCT run_command FROM job WHERE {UNFINISHED} AND run_command IS NOT NULL"
    words = (row["run_command"].split(maxsplit=1) for row in conn.execute(query).fetchall())
    return {found[0] for found in words if found and "/" not in found[0]}
