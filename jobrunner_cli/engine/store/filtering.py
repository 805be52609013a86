"""Which jobs a filter means: by workspace, action, request, code and age; running ones first, then waiting ones."""

# ruff: noqa: S608 - what is put into the statements are the constants of this file; values are parameters.

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.indexes import UNFINISHED
from jobrunner_cli.engine.store.mapper import id_list
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.engine.store.queries import jobs_by_ids

#: How many jobs are read at once: memory stays small, however many there are.
_BATCH = 500
_FINISHED_STATES = (State.SUCCEEDED, State.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """What is asked of jobs; a field that is None asks nothing."""

    workspace: str | None = None
    action: str | None = None
    #: the id of a job request
    request: str | None = None
    codes: frozenset[StatusCode] | None = None
    #: whole UNIX seconds: made at that time or later
    since: int | None = None

    def narrowed(self, codes: Collection[StatusCode]) -> JobFilter:
        """The same filter for those of its codes that are among these."""
        kept = frozenset(codes) if self.codes is None else self.codes.intersection(codes)
        return JobFilter(
            workspace=self.workspace, action=self.action, request=self.request, codes=kept, since=self.since
        )

    @property
    def is_empty(self) -> bool:
        """Whether it lets every job through."""
        return self == JobFilter()


def filtered_jobs(
    conn: Connection, wanted: JobFilter, *, limit: int | None = None, damaged: list[str] | None = None
) -> list[Job]:
    """The jobs that a filter lets through: running ones, waiting ones, then finished ones, each newest first.

    What is wrong with a row that cannot be read goes to `damaged`; without it, it is raised as ConfigurationError.
    """
    return list(jobs_in_order(conn, filtered_ids(conn, wanted, limit=limit), damaged=damaged))


def jobs_in_order(conn: Connection, ids: Sequence[str], *, damaged: list[str] | None = None) -> Iterator[Job]:
    """Those of these jobs that exist, in this order, read a few at a time; `damaged` as for `filtered_jobs`."""
    for start in range(0, len(ids), _BATCH):
        some = ids[start : start + _BATCH]
        found = jobs_by_ids(conn, some, damaged=damaged)
        yield from (found[job_id] for job_id in some if job_id in found)


def filtered_ids(conn: Connection, wanted: JobFilter, *, limit: int | None = None) -> list[str]:
    """The ids of what `filtered_jobs` gives, in its order, at most `limit` of them."""
    condition, parameters = _condition(wanted)
    columns, newest = "id, state, created_at, rowid", "created_at DESC, rowid DESC LIMIT ?"
    most = -1 if limit is None else limit
    codes = frozenset(TABLE) if wanted.codes is None else wanted.codes
    ids: list[str] = []
    if codes & ACTIVE_CODES:
        running = f"state = '{State.RUNNING.value}' DESC"
        query = f"SELECT {columns} FROM job WHERE {UNFINISHED} AND {condition} ORDER BY {running}, {newest}"
        ids = [row["id"] for row in conn.execute(query, (*parameters, most)).fetchall()]
    finished: list[tuple[int, int, str]] = []
    if len(ids) < most or most < 0:
        # One state at a time, so that each is read from an index in order.
        for state in _FINISHED_STATES:
            if any(state_of(code) is state for code in codes):
                query = f"SELECT {columns} FROM job WHERE state = ? AND {condition} ORDER BY {newest}"
                rows = conn.execute(query, (state.value, *parameters, most)).fetchall()
                finished += ((row["created_at"] or 0, row["rowid"], row["id"]) for row in rows)
    finished.sort(reverse=True)
    return [*ids, *(entry[2] for entry in finished)][:limit]


def _condition(wanted: JobFilter) -> tuple[str, tuple[str | int, ...]]:
    conditions: list[str] = ["TRUE"]
    parameters: list[str | int] = []
    if wanted.request is not None:
        conditions.append("job_request_id = ?")
        parameters.append(wanted.request)
    if wanted.workspace is not None:
        conditions.append("workspace = ?")
        parameters.append(wanted.workspace)
    if wanted.action is not None:
        conditions.append("action = ?")
        parameters.append(wanted.action)
    if wanted.since is not None:
        conditions.append("created_at >= ?")
        parameters.append(wanted.since)
    if wanted.codes is not None and not _is_whole_states(wanted.codes):
        conditions.append("status_code IN (SELECT value FROM json_each(?))")
        parameters.append(id_list(code.value for code in wanted.codes))
    return " AND ".join(conditions), tuple(parameters)


def _is_whole_states(codes: frozenset[StatusCode]) -> bool:
    """Whether the codes are all those of the unfinished states, of success, of failure: old rows may lack a code."""
    groups = [ACTIVE_CODES, *(frozenset(c for c in TABLE if state_of(c) is state) for state in _FINISHED_STATES)]
    return all(group <= codes or not group & codes for group in groups)
