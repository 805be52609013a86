"""What the form for new jobs asks of the engine: the actions of a study, the plan, and the jobs themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.local_requests import local_request
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.vetting import read_study

if TYPE_CHECKING:
    from jobrunner_cli.engine.planning import Plan
    from jobrunner_cli.engine.requests import Submission
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.work import JobRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the form says."""

    repo: str
    branch: str
    #: None is the newest of the branch
    commit: str | None
    workspace: str
    database: str
    force: bool
    actions: tuple[str, ...] = ()


def actions_of(settings: Settings, draft: Draft) -> tuple[str, dict[str, str]]:
    """The commit that the draft means, and what each action of its study runs.

    Raises RequestError, GitError or UsageError.
    """
    request = _request(settings, draft)
    pipeline = read_study(settings, make_repositories(settings), request)
    return request.commit, {name: action.run for name, action in pipeline.actions.items()}


def plan_of(settings: Settings, draft: Draft) -> tuple[JobRequest, Plan]:
    """The request that the draft amounts to, and what it would make. Raises RequestError, GitError or UsageError."""
    request = _request(settings, draft)
    with Database(settings.database_path, readonly=True) as database:
        return request, requests.plan_only(settings, make_repositories(settings), database, request)


def submit(settings: Settings, request: JobRequest) -> Submission:
    """Make its jobs. Raises the error that the request ends in."""
    with Database(settings.database_path) as database:
        submission = requests.create_jobs(settings, make_repositories(settings), database, request)
    if submission.error is not None:
        raise submission.error
    return submission


def _request(settings: Settings, draft: Draft) -> JobRequest:
    return local_request(
        settings,
        make_repositories(settings),
        draft.repo,
        draft.actions or ("run_all",),
        commit=draft.commit,
        branch=draft.branch,
        workspace=draft.workspace,
        database=draft.database,
        force_run_dependencies=draft.force,
    )
