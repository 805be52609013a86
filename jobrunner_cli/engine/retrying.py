"""New runs of failed jobs: local requests for the same commits and actions, linked to the jobs that they repeat."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from jobrunner_cli.engine.errors import JobRequestError
from jobrunner_cli.engine.local_requests import compose
from jobrunner_cli.engine.requests import ERROR_ACTION, Submission, create_jobs
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.work import IntentKind

if TYPE_CHECKING:
    from jobrunner_cli.engine.errors import JobrunnerError
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection, Database
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.study.repository import Repositories


@dataclass(frozen=True, slots=True, kw_only=True)
class Retried:
    """What became of the wish to have a failed job run again."""

    #: the failed job
    job: Job
    #: the wish to finalize it again, which the loop answers; None if it runs as a new job
    intent: int | None = None
    #: the request that was made for it, and the job of this action there, new or already under way
    request_id: str | None = None
    new_job_id: str | None = None
    #: why it cannot run anew
    error: JobrunnerError | None = None


class _Kind(NamedTuple):
    """What jobs have in common that one request can repeat."""

    repo_url: str
    commit: str
    workspace: str
    database: str
    branch: str
    codelists_ok: bool


def run_anew(
    settings: Settings,
    database: Database,
    repositories: Repositories,
    jobs: Sequence[Job],
    *,
    origin: str,
    now: float | None = None,
) -> list[Retried]:
    """Make local requests for these failed jobs, one for all that a request can have together.

    Each of the jobs gets a note of what it runs as. A job that cannot run any more has its error. Raises what says
    nothing about the jobs: a database that is locked, DiskFullError.
    """
    saved = queries.saved_requests(database.connection, {job.job_request_id for job in jobs})
    originals = {request_id: request.original for request_id, request in saved.items()}
    groups: dict[_Kind, list[Job]] = {}
    for job in jobs:
        groups.setdefault(_kind(job, originals.get(job.job_request_id, {})), []).append(job)
    done: list[Retried] = []
    for kind, group in groups.items():
        try:
            done += _request(settings, database, repositories, kind, group, originals, origin=origin, now=now)
        except JobRequestError as error:
            done += [Retried(job=job, error=error) for job in group]
    return done


def _request(
    settings: Settings,
    database: Database,
    repositories: Repositories,
    kind: _Kind,
    jobs: Sequence[Job],
    originals: Mapping[str, Mapping[str, Any]],
    *,
    origin: str,
    now: float | None,
) -> list[Retried]:
    actions = dict.fromkeys(action for job in jobs for action in _actions(job, originals.get(job.job_request_id, {})))
    request = compose(
        kind.repo_url,
        kind.commit,
        list(actions),
        branch=kind.branch,
        workspace=kind.workspace,
        database=kind.database,
        codelists_ok=kind.codelists_ok,
        retry_of=[job.id for job in jobs],
    )
    submission = create_jobs(settings, repositories, database, request, now=now)
    runs_as = _runs_as(submission)
    done = [
        Retried(job=job, request_id=request.id, new_job_id=runs_as.get(job.action), error=submission.error)
        for job in jobs
    ]
    if submission.error is None:
        with database.transaction() as conn:
            for each in done:
                _note(conn, each, origin, time.time() if now is None else now)
    return done


def _runs_as(submission: Submission) -> dict[str, str]:
    """Action -> the job that runs it: a new one, or one that was under way."""
    skipped = () if submission.plan is None else submission.plan.skipped
    return {**{each.action: each.job_id for each in skipped}, **{job.action: job.id for job in submission.runnable}}


def _note(conn: Connection, retried: Retried, origin: str, now: float) -> None:
    """Leave the link at the failed job, as a wish that is answered already."""
    wish = intents.append(conn, IntentKind.RETRY, retried.job.id, origin, now)
    what = f"job {retried.new_job_id}" if retried.new_job_id else f"request {retried.request_id}"
    intents.answer(conn, wish, f"runs anew as {what}", now)


def _kind(job: Job, original: Mapping[str, Any]) -> _Kind:
    workspace = original.get("workspace")
    branch = workspace.get("branch") if isinstance(workspace, dict) else None
    return _Kind(
        repo_url=job.repo_url,
        commit=job.commit,
        workspace=job.workspace,
        database=job.database_name or "dummy",
        branch=branch if isinstance(branch, str) and branch else "main",
        codelists_ok=original.get("codelists_ok") is not False,
    )


def _actions(job: Job, original: Mapping[str, Any]) -> Iterable[str]:
    """The action of a job; of a row that only reports what was wrong with its request, all that this asked for."""
    if job.action != ERROR_ACTION:
        return [job.action]
    asked = original.get("requested_actions")
    if not isinstance(asked, list) or not all(isinstance(action, str) for action in asked):
        msg = f"what request {job.job_request_id} asked for is not known any more"
        raise JobRequestError(msg, hint="ask for the actions with jobrunner add-job")
    return asked
