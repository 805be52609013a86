"""What must be true of a job request before it is planned, and what is read of its study: no tables, only git and disk."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from jobrunner_cli.engine.archive import refuse_absent
from jobrunner_cli.engine.errors import (
    GitFileNotFoundError,
    GithubValidationError,
    GitRepoNotReachableError,
    GitUnknownRefError,
    JobRequestError,
    ReusableActionError,
)
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.study.access import is_url
from jobrunner_cli.engine.study.git import GitUnansweredError
from jobrunner_cli.engine.study.pipeline import RUN_ALL, Pipeline
from jobrunner_cli.engine.study.problems import shown
from jobrunner_cli.engine.study.provenance import check_commit, check_repo_url
from jobrunner_cli.engine.study.repository import Repositories, is_commit
from jobrunner_cli.engine.study.reusable_actions import is_reusable, meant_image, parse_reference
from jobrunner_cli.engine.work import JobRequest

_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,200}")


def read_study(settings: Settings, repositories: Repositories, request: JobRequest) -> Pipeline:
    """Validate the request (section 3, step 2), and read its pipeline at its commit, without a checkout.

    Raises RequestError, of the kind that the user is told.
    """
    _validate(settings, request)
    restricted = settings.allowed_github_orgs is not None
    check_commit(repositories, request.repo_url, request.commit, request.branch, restricted=restricted)
    return repositories.pipeline(request.repo_url, request.commit)


def workspace_problem(name: str) -> str | None:
    """Why no jobs may run in a workspace of this name; None if they may."""
    if _WORKSPACE.fullmatch(name):
        return None
    return f"workspace {shown(name)} is not a name of letters, digits, `-` and `_` (200 at most)"


def _validate(settings: Settings, request: JobRequest) -> None:
    """What can be said without git. Raises GithubValidationError or JobRequestError."""
    check_repo_url(request.repo_url, allowed_orgs=settings.allowed_github_orgs)
    if not is_url(request.repo_url) and not Path(request.repo_url).is_absolute():
        msg = f"{shown(request.repo_url)} is neither the https URL of a repository nor an absolute path"
        raise GithubValidationError(msg)
    if not is_commit(request.commit):
        msg = f"commit {shown(request.commit)} is not a full SHA of 40 lower-case hexadecimal digits"
        raise JobRequestError(msg)
    if not request.requested_actions:
        msg = f"the request names no action; name at least one, or {RUN_ALL} for every action of the file"
        raise JobRequestError(msg)
    if problem := workspace_problem(request.workspace):
        raise JobRequestError(problem)
    configured = settings.database_urls
    if not settings.using_dummy_data_backend and request.database_name not in configured:
        names = ", ".join(configured) or "none"
        msg = f"database {shown(request.database_name)} is not configured on {settings.backend} (configured: {names})"
        raise JobRequestError(msg, hint="jobrunner add-job --database NAME says which")
    refuse_absent(settings, request.workspace)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReusableCode:
    """The code of a reusable action at its tag."""

    repo_url: str
    commit: str
    #: the content of its action.yaml
    definition: bytes


def reference_of(command: str) -> str | None:
    """The `name:tag` of the reusable action that a command runs; None if it runs in an image."""
    first = shlex.split(command)[0]
    return first if is_reusable(first) else None


def fetch_reusable_action(repositories: Repositories, base_url: str, action: str, reference: str) -> ReusableCode:
    """Find the commit of the tag, check that it was merged to `main`, and read its definition (section 7).

    `base_url` is where the repositories of reusable actions are, `action` the study's action that uses this one.
    Raises ReusableActionError, or another GitError if the repository cannot be asked.
    """
    name, tag = parse_reference(reference)
    repo_url = f"{base_url.rstrip('/')}/{name}"
    where = f"action {shown(action)} runs {shown(reference)}, which is no image that may be used but a reusable action"
    image = meant_image(name)
    meant = None if image is None else f"did you mean the image {shown(image)}?"
    try:
        commit = repositories.resolve(repo_url, f"refs/tags/{tag}")
        merged = repositories.is_reachable(repo_url, commit, "main")
        definition = repositories.read_file(repo_url, commit, "action.yaml")
    except GitUnknownRefError as error:
        msg = f"{where}: {error.message.replace(f'refs/tags/{tag}', tag)}"
        raise ReusableActionError(msg, hint=meant) from error
    except (GitRepoNotReachableError, GitFileNotFoundError) as error:
        msg = f"{where}: {error.message}"
        raise ReusableActionError(msg, hint=meant or error.hint) from error
    except GitUnansweredError as error:
        if meant is None:
            raise
        raise GitUnansweredError(error.message, hint=meant) from error
    if not merged:
        msg = f"{where}, and its tag {tag} is not on branch main of {repo_url}"
        raise ReusableActionError(msg)
    return ReusableCode(repo_url=repo_url, commit=commit, definition=definition)
