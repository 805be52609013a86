"""All jobs in brief, kept up to date cheaply: after the first reading, a look touches only what can have changed."""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.indexes import UNFINISHED
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
_COLUMNS = (
    "rowid, id, job_request_id, workspace, action, state, status_code, requires_db, created_at, started_at, "
    f"completed_at, substr(status_message, 1, {_MESSAGE}) AS message"
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
        #: those of them that have not ended
        self.active: dict[str, Brief] = {}
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
        # Two questions, each through an index; one with OR goes through the whole table.
        rows = conn.execute(f"SELECT {_COLUMNS} FROM job WHERE rowid > ?", (self._newest_row,)).fetchall()
        rows += conn.execute(f"SELECT {_COLUMNS} FROM job WHERE {UNFINISHED}").fetchall()
        seen = {row["id"] for row in rows}
        before = [job_id for job_id in self.active if job_id not in seen]
        if before:
            query = f"SELECT {_COLUMNS} FROM job WHERE id IN (SELECT value FROM json_each(?))"
            ended = conn.execute(query, (id_list(before),)).fetchall()
            for gone in set(before).difference(row["id"] for row in ended):
                del self.jobs[gone], self.active[gone]
            rows += ended
        changed = set()
        for row in rows:
            brief = _brief(row, self._places)
            self._newest_row = max(self._newest_row, brief.row)
            if self.jobs.get(brief.id) != brief:
                self._keep(brief)
                changed.add(brief.id)
        return changed | {job_id for job_id in before if job_id not in self.jobs}

    def _keep(self, brief: Brief) -> None:
        self.jobs[brief.id] = brief
        if brief.place in _ACTIVE_PLACES:
            self.active[brief.id] = brief
        else:
            self.active.pop(brief.id, None)

    def _read_all(self, conn: Connection) -> set[str]:
        rows = conn.execute(f"SELECT {_COLUMNS} FROM job WHERE {UNFINISHED}").fetchall()
        # From the newest row on, until there are enough: through the index of states, all would be sorted first.
        ended = "NOT INDEXED WHERE state IN ('failed', 'succeeded') ORDER BY rowid DESC LIMIT ?"
        rows += conn.execute(f"SELECT {_COLUMNS} FROM job {ended}", (self.most_finished,)).fetchall()
        ((count, newest),) = conn.execute("SELECT count(*), max(rowid) FROM job").fetchall()
        self.jobs = {row["id"]: _brief(row, self._places) for row in rows}
        self.active = {brief.id: brief for brief in self.jobs.values() if brief.place in _ACTIVE_PLACES}
        self.older = max(0, count - len(self.jobs))
        self._newest_row = newest or 0
        return set(self.jobs)


def _brief(row: sqlite3.Row, places: dict[tuple[object, object], int]) -> Brief:
    # By place: there may be a hundred thousand, and looking up names takes longer than all the rest.
    row_id, job_id, request, workspace, action, state, code, requires_db, created, started, completed, message = row
    place = places.get((state, code))
    if place is None:
        place = places[state, code] = _PLACES[read_code(row)]
    return Brief(
        job_id,
        request or "",
        workspace or "",
        action or "",
        place,
        bool(requires_db),
        created or 0,
        started,
        completed,
        message or "",
        row_id,
    )
