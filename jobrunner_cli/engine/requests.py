"""Job requests become jobs: validate, read the study, plan, insert; what is wrong with a request becomes a job, too.

All git work comes first. Reading the workspace's state, planning and inserting are then one transaction that holds the
write lock, so that two requests at once never make two active jobs for one action of a workspace (section 3).
"""

from __future__ import annotations

import logging
import shlex
import sqlite3
import stat
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from jobrunner_cli.engine import planning
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
)
from jobrunner_cli.engine.local_requests import LOCAL_ORIGIN, local_request
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.planning import LatestJob, Plan, PlannedJob
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.store.database import Connection, Database
from jobrunner_cli.engine.store.models import Job, SavedJobRequest
from jobrunner_cli.engine.study import reusable_actions
from jobrunner_cli.engine.study.git import GitInterruptedError
from jobrunner_cli.engine.study.pipeline import Pipeline
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.vetting import ReusableCode, fetch_reusable_action, read_study, reference_of
from jobrunner_cli.engine.work import IntentKind, JobRequest, quote_names

__all__ = ["ACTIONS_BASE_URL", "ERROR_ACTION", "Submission", "create_jobs", "local_request", "plan_only"]

log = logging.getLogger(__name__)

#: The action of the job that reports why a request has no others.
ERROR_ACTION = "__error__"

#: Where the code of reusable actions is (section 7): a repository for each, below this.
ACTIONS_BASE_URL = "https://github.com/opensafely-actions"

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Resolved:
    """What runs in the place of a reusable action's name."""

    repo_url: str
    commit: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drafting:
    """Everything about one request that its plans are made from, and what was learned while making them."""

    settings: Settings
    repositories: Repositories
    request: JobRequest
    actions_base_url: str
    pipeline: Pipeline
    #: `name:tag` -> the code of that reusable action
    codes: dict[str, ReusableCode] = field(default_factory=dict)
    #: action of the study -> what runs for it, for those that run a reusable action
    resolved: dict[str, _Resolved] = field(default_factory=dict)
    #: id of a succeeded job -> which of its recorded outputs are gone
    missing: dict[str, tuple[str, ...]] = field(default_factory=dict)


def create_jobs(
    settings: Settings,
    repositories: Repositories,
    database: Database,
    request: JobRequest,
    *,
    now: float | None = None,
    actions_base_url: str = ACTIONS_BASE_URL,
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
        drafting = _begin_drafting(settings, repositories, request, actions_base_url)
        return _insert_jobs(conn, drafting, now)
    except _PASSING:
        raise
    except RequestError as error:
        return _report(conn, settings, storable, error, now)
    except (JobrunnerError, sqlite3.OperationalError):
        raise
    except Exception:
        log.exception("Job request %s could not be turned into jobs", storable.id)
        bug = JobRequestError("Internal error", hint="this is a fault of jobrunner; its log has the details")
        return _report(conn, settings, storable, bug, now)


def plan_only(
    settings: Settings,
    repositories: Repositories,
    database: Database,
    request: JobRequest,
    *,
    actions_base_url: str = ACTIONS_BASE_URL,
) -> Plan:
    """What `create_jobs` would make of the request now. Writes nothing; raises the RequestError that it would report."""
    drafting = _begin_drafting(settings, repositories, request, actions_base_url)
    plan, _ = _plan(database.connection, drafting)
    _resolve_reusable_actions(drafting, plan)
    _check_codelists(request, plan)
    return plan


def _begin_drafting(
    settings: Settings, repositories: Repositories, request: JobRequest, actions_base_url: str
) -> _Drafting:
    """Validate the request and read its study. Raises RequestError."""
    if _storable(request) != request:
        msg = "the request has characters in it that are not text"
        raise JobRequestError(msg)
    return _Drafting(
        settings=settings,
        repositories=repositories,
        request=request,
        actions_base_url=actions_base_url,
        pipeline=read_study(settings, repositories, request),
    )


def _storable(request: JobRequest) -> JobRequest:
    """The request with everything in its texts replaced that cannot be stored: parts of characters, undecoded bytes."""
    values = {entry.name: getattr(request, entry.name) for entry in fields(request)}
    clean: dict[str, Any] = {name: _text(value) for name, value in values.items() if isinstance(value, str)}
    return replace(request, **clean)


def _text(value: str) -> str:
    return value.encode("utf-8", "replace").decode()


# Planning against the table.


def _plan(conn: Connection, drafting: _Drafting) -> tuple[Plan, int]:
    """The plan as the workspace stands now, and when the latest of the jobs that it looked at was made."""
    request = drafting.request
    found = queries.latest_jobs(conn, request.workspace, drafting.pipeline.actions)
    looked_at = list(found.values())
    cancelled: set[str] = set()
    while passed_over := _being_cancelled(conn, found.values()):
        cancelled |= passed_over
        found = queries.latest_jobs(conn, request.workspace, drafting.pipeline.actions, besides=cancelled)
    latest = {
        action: LatestJob(id=job.id, action=action, state=job.state, missing_outputs=_missing_outputs(drafting, job))
        for action, job in found.items()
    }
    dummy_data = drafting.settings.using_dummy_data_backend
    plan = planning.plan(request, drafting.pipeline, latest, dummy_data=dummy_data)
    return plan, max((job.created_at for job in looked_at), default=0)


def _being_cancelled(conn: Connection, jobs: Collection[Job]) -> set[str]:
    """Those that somebody has cancelled and nobody has ended yet: whoever asks anew must not be made to wait for them.

    Once the verdict on a job is stored, a cancellation comes too late, and the job counts.
    """
    active = [job.id for job in jobs if job.state in {State.PENDING, State.RUNNING}]
    asked = {
        job_id
        for job_id, wishes in intents.open_intents(conn, active).items()
        if any(wish.kind is IntentKind.CANCEL for wish in wishes)
    }
    return asked - queries.results_for(conn, asked) if asked else asked


def _missing_outputs(drafting: _Drafting, job: Job) -> tuple[str, ...]:
    """The recorded outputs of a succeeded job that are gone; each job is looked up once."""
    if job.state is not State.SUCCEEDED:
        return ()
    if job.id not in drafting.missing:
        directory = drafting.settings.high_workspace(job.workspace)
        drafting.missing[job.id] = tuple(path for path in job.outputs if not _is_file(directory / path))
    return drafting.missing[job.id]


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def _resolve_reusable_actions(drafting: _Drafting, plan: Plan) -> None:
    """Have what runs for every reusable action of the plan. Raises ReusableActionError or another GitError."""
    for job in plan.new:
        reference = reference_of(job.command)
        if reference is None or job.action in drafting.resolved:
            continue
        if reference not in drafting.codes:
            drafting.codes[reference] = fetch_reusable_action(
                drafting.repositories, drafting.actions_base_url, job.action, reference
            )
        code = drafting.codes[reference]
        command = reusable_actions.resolve(job.action, shlex.split(job.command), code.definition)
        drafting.resolved[job.action] = _Resolved(repo_url=code.repo_url, commit=code.commit, command=command)


def _is_resolved(drafting: _Drafting, job: PlannedJob) -> bool:
    return job.action in drafting.resolved or reference_of(job.command) is None


def _check_codelists(request: JobRequest, plan: Plan) -> None:
    """Raises StaleCodelistError if a database action would run with codelists that are out of date."""
    using = [job.action for job in plan.new if job.requires_db]
    if using and not request.codelists_ok:
        msg = f"The study's codelists are out of date, and {quote_names(using)} would read the database with them"
        raise StaleCodelistError(msg, hint="update the codelists, commit them and make the request again")


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


def _insert_jobs(conn: Connection, drafting: _Drafting, now: float | None) -> Submission:
    """Plan and insert in one transaction; git work that a plan turns out to need is done between attempts."""
    request = drafting.request
    plan, _ = _plan(conn, drafting)
    while True:
        # Also looks at the files on disk, so that the transaction need not do it again.
        _resolve_reusable_actions(drafting, plan)
        with conn.transaction():
            present = _take_over(conn, request, now)
            if present is not None:
                return present
            plan, newest = _plan(conn, drafting)
            if all(_is_resolved(drafting, job) for job in plan.new):
                _check_codelists(request, plan)
                # What was made last is known by its time, so that must not go back, whatever the clock does.
                jobs = _rows(drafting, plan, max(_clock(now), newest))
                changes.insert_request_and_jobs(conn, _saved(request), jobs)
                _cancel(conn, request, jobs, now)
                return Submission(jobs=tuple(jobs), plan=plan)


def _rows(drafting: _Drafting, plan: Plan, now: float) -> list[Job]:
    """The rows of a plan; where there is nothing to do, the one that tells a job-server so."""
    request = drafting.request
    if plan.nothing_to_do is None:
        return [_row(drafting, job, now) for job in plan.new]
    if request.original.get("origin") == LOCAL_ORIGIN:
        return []
    return [_finished(request, request.requested_actions[0], StatusCode.SUCCEEDED, plan.nothing_to_do, now)]


def _row(drafting: _Drafting, job: PlannedJob, now: float) -> Job:
    """The row of a planned job."""
    resolved = drafting.resolved.get(job.action)
    return replace(
        _blank(drafting.request, job.action, now),
        action_repo_url=None if resolved is None else resolved.repo_url,
        action_commit=None if resolved is None else resolved.commit,
        requires_outputs_from=job.needs,
        wait_for_job_ids=job.wait_for,
        run_command=job.command if resolved is None else resolved.command,
        output_spec=job.outputs,
        requires_db=job.requires_db,
        status_message="Created",
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
