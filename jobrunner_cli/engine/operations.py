"""What operators and users do to jobs: cancel, kill, pause, resume, retry; told before it is done, and done.

Both faces share it. Ending and finalizing again are wishes (intents), which the loop answers; pauses are rows that the loop
reads; a new run of a failed job is a request of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from jobrunner_cli.engine.running.second_chances import has_left_files, is_likely
from jobrunner_cli.engine.states import ACTIVE_CODES, TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.work import IntentKind

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.retrying import Retried
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection, Database
    from jobrunner_cli.engine.store.models import Flag, Job
    from jobrunner_cli.engine.study.repository import Repositories

#: What becomes of a wish that nobody can carry out now.
NOTED = "What was asked for is noted: the next runner does it."
#: Codes from which the outputs and the log are already being put in place: a wish to end comes too late, or nearly so.
_STORING = frozenset({StatusCode.FINALIZING, StatusCode.FINALIZED})


class Operation(StrEnum):
    """What can be done to a job."""

    CANCEL = "cancel"
    KILL = "kill"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What an operation would do to one job, or why it would do nothing to it."""

    job: Job
    #: a few words for people, such as "end its container, keep its log, store no outputs"
    what: str
    #: whether anything would happen at all
    touches: bool = True


def outline(
    settings: Settings, database: Database, operation: Operation, jobs: Sequence[Job], *, cleanup: bool = False
) -> list[Step]:
    """What would happen to each of these jobs, in their order. Reads the table and the disk, asks no engine."""
    conn = database.connection
    match operation:
        case Operation.CANCEL | Operation.KILL:
            return [_outline_end(settings, job, operation, cleanup=cleanup) for job in jobs]
        case Operation.PAUSE | Operation.RESUME:
            pauses = {(pause.scope, pause.name) for pause in queries.pauses(conn)}
            backend = queries.backend_paused(conn) is not None
            return [_outline_pause(job, operation, pauses, backend_paused=backend) for job in jobs]
        case Operation.RETRY:
            return [_outline_retry(settings, conn, job) for job in jobs]


def dependants(conn: Connection, jobs: Iterable[Job]) -> list[Job]:
    """The waiting jobs that would fail with these, because they wait for them, directly or not; oldest first."""
    lost = {job.id for job in jobs}
    found: dict[str, Job] = {}
    # A row that is damaged waits for an operator, and must not keep one from ending other jobs.
    waiting = [job for job in queries.active_jobs(conn, damaged=[]) if job.id not in lost]
    grown = True
    while grown:
        fresh = [job for job in waiting if job.id not in found and lost.intersection(job.wait_for_job_ids)]
        found.update((job.id, job) for job in fresh)
        lost.update(job.id for job in fresh)
        grown = bool(fresh)
    return sorted(found.values(), key=lambda job: (job.created_at, job.id))


# Ending.


def _outline_end(settings: Settings, job: Job, operation: Operation, *, cleanup: bool) -> Step:
    removes = cleanup and operation is Operation.KILL
    match state_of(job.status_code):
        case State.PENDING:
            return Step(job=job, what="end it before it starts")
        case State.RUNNING if job.status_code in _STORING:
            return Step(job=job, what="end it, unless its outputs are being put in place already")
        case State.RUNNING if operation is Operation.CANCEL or removes:
            return Step(job=job, what="end its container, keep its log, store no outputs, remove container and files")
        case State.RUNNING:
            return Step(job=job, what="end its container, keep its log, store no outputs, leave container and files")
        case _ if removes and has_left_files(settings, job):
            return Step(job=job, what="remove the container and the files that it left")
        case _ if removes and job.status_code in {StatusCode.INTERNAL_ERROR, StatusCode.KILLED_BY_ADMIN}:
            return Step(job=job, what="remove its container, if there still is one")
        case _:
            return Step(job=job, what=f"nothing: it has ended ({TABLE[job.status_code].word})", touches=False)


def end(
    database: Database,
    operation: Operation,
    jobs: Iterable[Job],
    *,
    origin: str,
    cleanup: bool = False,
    now: float | None = None,
) -> dict[str, tuple[int, ...]]:
    """Ask for the end of these jobs (CANCEL or KILL, the latter also with the removal of what they leave).

    Returns job id -> the ids of the intents, which the loop answers; all are written in one transaction. `origin` says
    who asks; `now` is in UNIX seconds. Raises NotFoundError if a job is gone, and then asks for nothing.
    """
    kinds = [IntentKind.CANCEL if operation is Operation.CANCEL else IntentKind.KILL]
    if cleanup and operation is Operation.KILL:
        kinds.append(IntentKind.CLEANUP)
    at = _clock(now)
    with database.transaction() as conn:
        return {job.id: tuple(intents.append(conn, kind, job.id, origin, at) for kind in kinds) for job in jobs}


def answers(conn: Connection, asked: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Job id -> what was answered, for those jobs of which all intents are answered."""
    found: dict[str, str] = {}
    for job_id, wishes in asked.items():
        rows = [intents.intent_by_id(conn, wish) for wish in wishes]
        texts = [row.answer or "" for row in rows if row is not None and row.answered_at is not None]
        if len(texts) == len(wishes):
            found[job_id] = "; ".join(dict.fromkeys(texts))
    return found


# Pausing.


def _outline_pause(
    job: Job, operation: Operation, pauses: Collection[tuple[str, str]], *, backend_paused: bool
) -> Step:
    paused = ("job", job.id) in pauses
    if job.status_code not in ACTIVE_CODES:
        return Step(job=job, what=f"nothing: it has ended ({TABLE[job.status_code].word})", touches=False)
    if paused is (operation is Operation.PAUSE):
        if paused:
            state = "it is paused already"
        elif ("workspace", job.workspace) in pauses:
            state = "it is not paused itself, its workspace is"
        else:
            state = "it is not paused itself, the backend is" if backend_paused else "it is not paused"
        return Step(job=job, what=f"nothing: {state}", touches=False)
    if operation is Operation.RESUME:
        return Step(job=job, what="let it start when its turn has come")
    if state_of(job.status_code) is State.RUNNING:
        return Step(job=job, what="let it run on; it would wait only if it had to be started over")
    return Step(job=job, what="do not start it until it is resumed")


def outline_workspace(conn: Connection, operation: Operation, workspace: str) -> list[Step]:
    """What a pause of a workspace (PAUSE), or its end (RESUME), means for each of its active jobs: first those that wait."""
    found = []
    for job in queries.active_jobs(conn, damaged=[]):
        if job.workspace != workspace:
            continue
        if state_of(job.status_code) is State.RUNNING:
            found.append(Step(job=job, what="it runs on", touches=False))
        elif operation is Operation.RESUME:
            found.append(Step(job=job, what="let it start when its turn has come"))
        else:
            found.append(Step(job=job, what="do not start it until the workspace is resumed"))
    return sorted(found, key=lambda step: (not step.touches, step.job.created_at, step.job.id))


def pause_jobs(database: Database, jobs: Iterable[Job], *, now: float | None = None) -> list[str]:
    """Pause these jobs, running ones carry on; returns the ids of those that were not paused before."""
    at = _clock(now)
    with database.transaction() as conn:
        return [job.id for job in jobs if job.status_code in ACTIVE_CODES and changes.pause(conn, "job", job.id, at)]


def resume_jobs(database: Database, jobs: Iterable[Job]) -> list[str]:
    """End the pauses of these jobs; returns the ids of those that were paused."""
    with database.transaction() as conn:
        return [job.id for job in jobs if changes.resume(conn, "job", job.id)]


def pause_workspace(database: Database, workspace: str, *, now: float | None = None) -> bool:
    """Pause a workspace, jobs that come later included. False if it was paused already."""
    with database.transaction() as conn:
        return changes.pause(conn, "workspace", workspace, _clock(now))


def resume_workspace(database: Database, workspace: str) -> bool:
    """End the pause of a workspace. False if it was not paused."""
    with database.transaction() as conn:
        return changes.resume(conn, "workspace", workspace)


def pause_backend(database: Database, *, now: float | None = None) -> Flag:
    """Pause the backend: no waiting job starts. Returns the flag, with the time since when it is so."""
    return changes.set_flag(database.connection, "paused", "true", _clock(now))


def resume_backend(database: Database, *, now: float | None = None) -> bool:
    """End the pause of the backend. False if it was not paused."""
    with database.transaction() as conn:
        if queries.backend_paused(conn) is None:
            return False
        changes.set_flag(conn, "paused", None, _clock(now))
        return True


# Running again.


def _outline_retry(settings: Settings, conn: Connection, job: Job) -> Step:
    if state_of(job.status_code) is not State.FAILED:
        says = (
            "it succeeded"
            if job.status_code is StatusCode.SUCCEEDED
            else f"it has not ended ({TABLE[job.status_code].word})"
        )
        return Step(job=job, what=f"nothing: {says}", touches=False)
    if is_likely(settings, conn, job):
        return Step(job=job, what="store its outputs again, if its container still stands; else run it anew")
    newer = queries.newest_jobs(conn, job.workspace, [job.action]).get(job.action)
    if newer is not None and newer.id != job.id and newer.status_code in ACTIVE_CODES:
        return Step(
            job=job,
            what=f"nothing: the action is under way as {newer.id} ({TABLE[newer.status_code].word})",
            touches=False,
        )
    if newer is not None and newer.id != job.id:
        return Step(
            job=job, what=f"run it anew; a newer job of the action, {newer.id}, is {TABLE[newer.status_code].word}"
        )
    return Step(job=job, what="run it anew, as a request of its own for the same commit")


def superseded(conn: Connection, jobs: Iterable[Job]) -> set[str]:
    """The ids of those of these jobs of whose action the workspace has a newer job: running them again is nobody's wish."""
    by_workspace: dict[str, list[Job]] = {}
    for job in jobs:
        by_workspace.setdefault(job.workspace, []).append(job)
    found: set[str] = set()
    for workspace, group in by_workspace.items():
        newest = queries.newest_jobs(conn, workspace, {job.action for job in group})
        found.update(job.id for job in group if job.action in newest and newest[job.action].id != job.id)
    return found


def retry(
    settings: Settings,
    database: Database,
    repositories: Repositories,
    make_executor: Callable[[], Executor],
    jobs: Sequence[Job],
    *,
    origin: str,
    anew: bool = False,
    now: float | None = None,
) -> list[Retried]:
    """Have failed jobs run again; those that have not failed are left out.

    One that ended as INTERNAL_ERROR and whose container still stands is to be finalized again: an intent, for the loop to
    answer. The others, and with `anew` all, get new local requests for the same commits and actions (one for all jobs
    of the same commit and workspace), linked to them by `retry_of`. Raises ExecutorUnavailableError if the executor is
    needed and does not answer, and what says nothing about the jobs, as create_jobs does.
    """
    from jobrunner_cli.engine.retrying import Retried, run_anew

    failed = [job for job in jobs if state_of(job.status_code) is State.FAILED]
    likely = [] if anew else [job for job in failed if is_likely(settings, database.connection, job)]
    standing = _standing(make_executor, likely)
    done: list[Retried] = []
    with database.transaction() as conn:
        for job in failed:
            if job.id in standing:
                wish = intents.append(conn, IntentKind.RETRY, job.id, origin, _clock(now))
                done.append(Retried(job=job, intent=wish))
    rest = [job for job in failed if job.id not in standing]
    if rest:
        done += run_anew(settings, database, repositories, rest, origin=origin, now=now)
    order = {job.id: n for n, job in enumerate(jobs)}
    return sorted(done, key=lambda each: order[each.job.id])


def _standing(make_executor: Callable[[], Executor], jobs: Collection[Job]) -> set[str]:
    """Those of the jobs whose container has ended and still stands."""
    from jobrunner_cli.engine.work import ContainerState

    if not jobs:
        return set()
    executor = make_executor()
    found = {job.id: executor.inspect(job.id) for job in jobs}
    return {job_id for job_id, detail in found.items() if detail is not None and detail.state is ContainerState.EXITED}


def _clock(now: float | None) -> float:
    return time.time() if now is None else now
