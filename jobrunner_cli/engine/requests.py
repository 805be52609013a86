"""Job requests become jobs: validate, read the study, plan, insert; what is wrong with a request becomes a job, too.

All git work comes first. Reading the workspace's state, planning and inserting are then one transaction that holds the
write lock, so that two requests at once never make two active jobs for one action of a workspace (section 3).
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from jobrunner_cli.engine import planning
from jobrunner_cli.engine.archive import refuse_absent
from jobrunner_cli.engine.drafting import Draft
from jobrunner_cli.engine.errors import (
    DiskFullError,
    GitError,
    GitFileNotFoundError,
    GithubValidationError,
    GitRepoNotReachableError,
    GitUnknownRefError,
    JobRequestError,
    JobrunnerError,
    ProjectValidationError,
    RequestError,
    ReusableActionError,
    StaleCodelistError,
    UnknownActionError,
    internal_error,
)
from jobrunner_cli.engine.local_requests import local_request
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.planning import Plan, PlannedJob
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.store.database import Connection, Database
from jobrunner_cli.engine.store.models import Job, SavedJobRequest
from jobrunner_cli.engine.study.git import GitInterruptedError
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.work import IntentKind, JobRequest

__all__ = ["ERROR_ACTION", "Submission", "create_jobs", "local_request", "plan_only", "refuse"]

log = logging.getLogger(__name__)

#: The action of the job that reports why a request has no others.
ERROR_ACTION = "__error__"

#: The names under which errors are reported (section 3).
_REPORTED = frozenset(
    {
        GitError,
        GitRepoNotReachableError,
        GitUnknownRefError,
        GitFileNotFoundError,
        GithubValidationError,
        ProjectValidationError,
        UnknownActionError,
        ReusableActionError,
        JobRequestError,
    }
)

#: Not the request's fault, and gone when it is made again: never reported as its failure.
_PASSING = (GitInterruptedError, DiskFullError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What became of a request."""

    #: its jobs as they are stored: new ones, those of before, or the one that reports
    jobs: tuple[Job, ...]
    #: how the jobs came about; None for an error, and for a request that had its jobs already
    plan: Plan | None = None
    #: why the request has no jobs but the one that reports this
    error: RequestError | None = None
    #: its jobs were there before
    existing: bool = False

    @property
    def runnable(self) -> tuple[Job, ...]:
        """Those of its jobs that run a command, and do not only report."""
        return tuple(job for job in self.jobs if job.run_command is not None)


def create_jobs(
    settings: Settings,
    repositories: Repositories,
    database: Database,
    request: JobRequest,
    *,
    now: float | None = None,
) -> Submission:
    """Make the jobs of a request, or, where it has some, take over its cancelled actions as intents.

    `now` is in UNIX seconds, by default the clock's. A request that cannot become jobs gets a single failed one that
    says why, and `Submission.error` has the error. Raises what says nothing about the request: a database that is
    locked or full, DiskFullError, GitInterruptedError; nothing is stored then, and the same call works later.
    """
    storable = _storable(request)
    conn = database.connection
    present = _take_over(conn, storable, now)
    if present is not None:
        return present
    try:
        draft = _begin(settings, repositories, request)
        return _insert_jobs(conn, draft, now)
    except _PASSING:
        raise
    except RequestError as error:
        return _report(conn, settings, storable, error, now)
    except (JobrunnerError, sqlite3.OperationalError):
        raise
    except Exception:
        log.exception("Job request %s could not be turned into jobs", storable.id)
        return _report(conn, settings, storable, internal_error(), now)


def refuse(settings: Settings, database: Database, request: JobRequest, error: RequestError) -> Submission:
    """Report a request that cannot even be understood, of which `request` has what could be read.

    One that has its jobs keeps them. Raises what says nothing about the request, as `create_jobs` does.
    """
    return _report(database.connection, settings, _storable(request), error, None)


def plan_only(settings: Settings, repositories: Repositories, database: Database, request: JobRequest) -> Plan:
    """What `create_jobs` would make of the request now. Writes nothing; raises the RequestError that it would report."""
    draft = _begin(settings, repositories, request)
    plan, _ = draft.plan(database.connection)
    draft.resolve(plan)
    draft.check_codelists(plan)
    return plan


def _begin(settings: Settings, repositories: Repositories, request: JobRequest) -> Draft:
    if _storable(request) != request:
        msg = "the request has characters in it that are not text"
        raise JobRequestError(msg)
    return Draft.begin(settings, repositories, request)


def _storable(request: JobRequest) -> JobRequest:
    """The request with everything in its texts replaced that cannot be stored: parts of characters, undecoded bytes."""
    values = {entry.name: getattr(request, entry.name) for entry in fields(request)}
    clean: dict[str, Any] = {name: _text(value) for name, value in values.items() if isinstance(value, str)}
    return replace(request, **clean)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


# Writing: only inserts, and intents.


def _clock(now: float | None) -> float:
    """The time given, or the clock's, which is looked at when a row is made: git may have taken minutes before."""
    return time.time() if now is None else now


def _take_over(conn: Connection, request: JobRequest, now: float | None) -> Submission | None:
    """For a request that has its jobs: note which of them are to be cancelled. None if it has none yet."""
    jobs = queries.jobs_of_request(conn, request.id)
    if not jobs:
        return None
    _cancel(conn, request, jobs, now)
    return Submission(jobs=tuple(jobs), existing=True)


def _cancel(conn: Connection, request: JobRequest, jobs: Sequence[Job], now: float | None) -> None:
    """Ask for the end of the request's cancelled jobs, once: a job-server repeats itself with every answer."""
    for job in jobs:
        if job.action not in request.cancelled_actions or job.state not in {State.PENDING, State.RUNNING}:
            continue
        asked = any(intent.kind == IntentKind.CANCEL.value for intent in intents.intents_of(conn, job.id))
        if not asked and not job.cancelled:
            intents.append(conn, IntentKind.CANCEL, job.id, "job request", _clock(now))


def _insert_jobs(conn: Connection, draft: Draft, now: float | None) -> Submission:
    """Plan and insert in one transaction; git work that a plan turns out to need is done between attempts."""
    request = draft.request
    plan, _ = draft.plan(conn)
    while True:
        # Also looks at the files on disk, so that the transaction need not do it again.
        draft.resolve(plan)
        with conn.transaction():
            present = _take_over(conn, request, now)
            if present is not None:
                return present
            plan, newest = draft.plan(conn)
            if all(draft.is_resolved(job) for job in plan.new):
                draft.check_codelists(plan)
                refuse_absent(draft.settings, request.workspace)
                # What was made last is known by its time, so that must not go back, whatever the clock does.
                jobs = _rows(draft, plan, max(_clock(now), newest))
                changes.insert_request_and_jobs(conn, _saved(request), jobs)
                _cancel(conn, request, jobs, now)
                return Submission(jobs=tuple(jobs), plan=plan)


def _rows(draft: Draft, plan: Plan, now: float) -> list[Job]:
    """The rows of a plan; where there is nothing to do, the one that says so."""
    request = draft.request
    if plan.nothing_to_do is None:
        return [_row(draft, job, now) for job in plan.new]
    return [_finished(request, request.requested_actions[0], StatusCode.SUCCEEDED, plan.nothing_to_do, now)]


def _row(draft: Draft, job: PlannedJob, now: float) -> Job:
    """The row of a planned job."""
    resolved = draft.resolved.get(job.action)
    return replace(
        _blank(draft.request, job.action, now),
        action_repo_url=None if resolved is None else resolved.repo_url,
        action_commit=None if resolved is None else resolved.commit,
        requires_outputs_from=job.needs,
        wait_for_job_ids=job.wait_for,
        run_command=job.command if resolved is None else resolved.command,
        output_spec=job.outputs,
        requires_db=job.requires_db,
        status_message=TABLE[StatusCode.CREATED].message,
    )


def _blank(request: JobRequest, action: str, now: float) -> Job:
    """A row with what all jobs of a request share."""
    return Job(
        id=planning.job_id(request.id, action),
        job_request_id=request.id,
        repo_url=request.repo_url,
        commit=request.commit,
        workspace=request.workspace,
        database_name=request.database_name,
        action=action,
        created_at=int(now),
        updated_at=int(now),
        status_code_updated_at=int(now * 1_000_000_000),
    )


def _finished(request: JobRequest, action: str, code: StatusCode, message: str, now: float) -> Job:
    """A row that only reports: it has no command and never runs."""
    return replace(
        _blank(request, action, now),
        state=state_of(code),
        status_code=code,
        status_message=message,
        completed_at=int(now),
    )


def _report(
    conn: Connection, settings: Settings, request: JobRequest, error: RequestError, now: float | None
) -> Submission:
    """Store the single failed job that tells the user what is wrong."""
    stale = isinstance(error, StaleCodelistError)
    code = StatusCode.STALE_CODELISTS if stale else StatusCode.INTERNAL_ERROR
    name = "" if stale else f"{_reported_name(error)}: "
    message = Masker(settings.secrets()).mask(f"{name}{error.message}")
    job = _finished(request, ERROR_ACTION, code, _text(message), _clock(now))
    with conn.transaction():
        present = _take_over(conn, request, now)
        if present is not None:
            return present
        changes.insert_request_and_jobs(conn, _saved(request), [job])
    log.info("Job request %s: %s", request.id, message)
    return Submission(jobs=(job,), error=error)


def _reported_name(error: RequestError) -> str:
    """The name under which section 3 reports an error: its class's, or that of the nearest one with a name there."""
    return next((kind for kind in type(error).__mro__ if kind in _REPORTED), JobRequestError).__name__


def _saved(request: JobRequest) -> SavedJobRequest:
    return SavedJobRequest(id=request.id, original=request.original)
