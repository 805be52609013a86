"""All jobs in brief, kept up to date cheaply: after the first reading, a look touches only what can have changed."""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.mapper import id_list
from jobrunner_cli.engine.store.models import read_code

#: Finished jobs beyond these, the oldest ones, are counted and not read.
MOST_FINISHED = 100_000
#: Characters of a message that are worth having for a list.
_MESSAGE = 200
#: Every code, in the order of the table.
CODES = tuple(TABLE)
_PLACES = {code: place for place, code in enumerate(CODES)}
_ACTIVE_PLACES = frozenset(_PLACES[code] for code in ACTIVE_CODES)
_ACTIVE = "state NOT IN ('failed', 'succeeded')"
_COLUMNS = (
    "rowid, id, job_request_id, workspace, action, state, status_code, requires_db, created_at, started_at, "
    f"completed_at, updated_at, substr(status_message, 1, {_MESSAGE}) AS message"
)


class Brief(NamedTuple):
    """A job in brief. A tuple, because there may be a hundred thousand. Times are whole UNIX seconds."""

    id: str
    request: str
    workspace: str
    action: str
    #: the place of its code in the table of codes: comparing a hundred thousand codes takes longer
    place: int
    requires_db: bool
    created_at: int
    started_at: int | None
    completed_at: int | None
    #: the beginning of its status message
    message: str
    #: counts up in the order in which rows were made
    row: int

    @property
    def code(self) -> StatusCode:
        """Where it is, precisely."""
        return CODES[self.place]

    @property
    def state(self) -> State:
        """The coarse state."""
        return state_of(CODES[self.place])


class Overview:
    """Every job in brief, by id, as the last look found it."""

    def __init__(self, most_finished: int = MOST_FINISHED) -> None:
        #: the most finished jobs that are read at first
        self.most_finished = most_finished
        self.jobs: dict[str, Brief] = {}
        #: jobs that are too old to be here
        self.older = 0
        self._newest_row = -1
        #: state and code as they are stored -> place of the code
        self._places: dict[tuple[object, object], int] = {}

    def look(self, conn: Connection) -> set[str]:
        """Read what is new or may have changed since the last look; returns the ids whose brief is another one.

        What has ended stays as it is until it is retried, and then it is active. Raises sqlite3.DatabaseError.
        """
        if self._newest_row < 0:
            return self._read_all(conn)
        rows = conn.execute(f"SELECT {_COLUMNS} FROM job WHERE {_ACTIVE} OR rowid > ?", (self._newest_row,)).fetchall()
        seen = {row["id"] for row in rows}
        before = [brief.id for brief in self.jobs.values() if brief.place in _ACTIVE_PLACES and brief.id not in seen]
        if before:
            query = f"SELECT {_COLUMNS} FROM job WHERE id IN (SELECT value FROM json_each(?))"
            ended = conn.execute(query, (id_list(before),)).fetchall()
            for gone in set(before).difference(row["id"] for row in ended):
                del self.jobs[gone]
            rows += ended
        changed = set()
        for row in rows:
            brief = _brief(row, self._places)
            self._newest_row = max(self._newest_row, brief.row)
            if self.jobs.get(brief.id) != brief:
                self.jobs[brief.id] = brief
                changed.add(brief.id)
        return changed | {job_id for job_id in before if job_id not in self.jobs}

    def _read_all(self, conn: Connection) -> set[str]:
        rows = conn.execute(f"SELECT {_COLUMNS} FROM job WHERE {_ACTIVE}").fetchall()
        finished = f"SELECT {_COLUMNS} FROM job WHERE state IN ('failed', 'succeeded') ORDER BY rowid DESC LIMIT ?"
        rows += conn.execute(finished, (self.most_finished,)).fetchall()
        ((count, newest),) = conn.execute("SELECT count(*), max(rowid) FROM job").fetchall()
        self.jobs = {row["id"]: _brief(row, self._places) for row in rows}
        self.older = max(0, count - len(self.jobs))
        self._newest_row = newest or 0
        return set(self.jobs)


def _brief(row: sqlite3.Row, places: dict[tuple[object, object], int]) -> Brief:
    kind = row["state"], row["status_code"]
    place = places.get(kind)
    if place is None:
        place = places[kind] = _PLACES[read_code(row)]
    return Brief(
        id=row["id"],
        request=row["job_request_id"] or "",
        workspace=row["workspace"] or "",
        action=row["action"] or "",
        place=place,
        requires_db=bool(row["requires_db"]),
        created_at=row["created_at"] or 0,
        started_at=row["started_at"],
        completed_at=row["completed_at"],
        message=row["message"] or "",
        row=row["rowid"],
    )
