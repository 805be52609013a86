"""Job requests that somebody makes on this machine: which commit is meant, and what stands in for a job-server's data."""

from __future__ import annotations

import base64
import getpass
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

from jobrunner_cli.engine.errors import GitUnknownRefError, UsageError
from jobrunner_cli.engine.settings import Settings
from jobrunner_cli.engine.study.access import canonical_repo_url, is_url, refuse_other_urls
from jobrunner_cli.engine.study.git import Git, printable
from jobrunner_cli.engine.study.provenance import check_repo_url
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.study.working_tree import look_at
from jobrunner_cli.engine.vetting import workspace_problem
from jobrunner_cli.engine.work import JobRequest, quote_names

#: The `origin` in the saved original of a request that no job-server knows of.
LOCAL_ORIGIN = "add-job"

_FULL_COMMIT = re.compile(r"[0-9a-fA-F]{40}")
_MOST_BRANCHES = 10


def local_request(
    settings: Settings,
    repositories: Repositories,
    repo: str,
    actions: Sequence[str],
    *,
    commit: str | None = None,
    branch: str | None = "main",
    workspace: str = "test",
    database: str = "dummy",
    force_run_dependencies: bool = False,
) -> JobRequest:
    """A request for these actions under a new random id.

    `repo` is a URL or a path. Without a `commit` the branch's newest is meant; a commit of a local repository may be
    given in any way that git understands. Without a `branch` it is the one that a local repository is on, else `main`.
    Raises UsageError, also for a workspace's name that is none, GithubValidationError, GitUnknownRefError (which names
    the branches that a local repository has) or another GitError.
    """
    check_workspace_name(workspace)
    repo_url = _url_or_path(repo)
    check_repo_url(repo_url, allowed_orgs=settings.allowed_github_orgs)
    local = None if is_url(repo_url) else _LocalRepository(settings, Path(repo_url))
    on_branch = branch or ("main" if local is None else local.current_branch())
    # With a commit, the branch matters only where commits must be on it.
    head = None
    if commit is None or (local is not None and settings.allowed_github_orgs is not None):
        head = _head_of(repositories, repo_url, on_branch, local)
    sha = head if commit is None else _commit_of(repositories, repo_url, commit, local)
    assert sha is not None
    return compose(
        repo_url,
        sha,
        actions,
        branch=on_branch,
        workspace=workspace,
        database=database,
        force_run_dependencies=force_run_dependencies,
    )


def compose(
    repo_url: str,
    commit: str,
    actions: Sequence[str],
    *,
    branch: str,
    workspace: str,
    database: str,
    force_run_dependencies: bool = False,
    codelists_ok: bool = True,
    retry_of: Sequence[str] = (),
) -> JobRequest:
    """A request under a new random id, for a URL or an absolute path and a full SHA.

    `retry_of` are the ids of the failed jobs that it repeats.
    """
    identifier = base64.b32encode(secrets.token_bytes(10)).decode("ascii").lower()
    original = {
        "origin": LOCAL_ORIGIN,
        "identifier": identifier,
        "sha": commit,
        "requested_actions": list(actions),
        "cancelled_actions": [],
        "force_run_dependencies": force_run_dependencies,
        "workspace": {"name": workspace, "repo": repo_url, "branch": branch},
        "database_name": database,
        "codelists_ok": codelists_ok,
        "created_by": _user(),
        **({"retry_of": list(retry_of)} if retry_of else {}),
    }
    return JobRequest(
        id=identifier,
        repo_url=repo_url,
        commit=commit,
        branch=branch,
        requested_actions=tuple(actions),
        cancelled_actions=(),
        workspace=workspace,
        codelists_ok=codelists_ok,
        database_name=database,
        force_run_dependencies=force_run_dependencies,
        original=original,
    )


def find_commit(settings: Settings, repositories: Repositories, repo: str, text: str) -> tuple[str, str]:
    """The repository, a URL or an absolute path, and the full SHA of the commit that a text means there.

    It may be any name that git knows for it, or, in a local repository, anything that git understands. Raises
    GitUnknownRefError, GitRepoNotReachableError or another GitError, and UsageError for a URL of another kind.
    """
    repo_url = _url_or_path(repo)
    local = None if is_url(repo_url) else _LocalRepository(settings, Path(repo_url))
    return repo_url, _commit_of(repositories, repo_url, text, local)


def left_behind(settings: Settings, request: JobRequest, *, is_commit_named: bool) -> str | None:
    """What somebody may miss in a request's commit: what only the working tree of a local repository has. A sentence.

    With `is_commit_named` the commit was asked for, so that only changes on top of it are news. None if there is
    nothing to say, or the tree cannot be looked at.
    """
    if is_url(request.repo_url):
        return None
    ours = (settings.workdir, settings.high_privacy_storage_base, settings.medium_privacy_storage_base)
    tree = look_at(Git(home=settings.repos_dir.absolute()), Path(request.repo_url), besides=ours)
    is_head = tree is not None and tree.head == request.commit
    if tree is None or (is_commit_named and not is_head):
        return None
    said = ["has uncommitted changes"] if tree.is_changed else []
    if not is_head and tree.branch != request.branch:
        said.append("has no branch" if tree.branch is None else f"has branch {printable(tree.branch)}")
        said[-1] += " checked out"
    if not said:
        return None
    of = "" if is_commit_named else f" of {printable(request.branch)}"
    what = f"Running {request.commit[:7]}{of}"
    return f"{what}; the working tree of {printable(request.repo_url)} {', and '.join(said)}."


def check_workspace_name(name: str) -> None:
    """Raise UsageError for what is no name of a workspace that jobs may run in."""
    if problem := workspace_problem(name):
        raise UsageError(problem)


def _url_or_path(repo: str) -> str:
    """The repository's URL, or its absolute path."""
    refuse_other_urls(repo)
    return repo if is_url(repo) else canonical_repo_url(repo)


class _LocalRepository:
    """A repository on this machine's disk, asked directly for what only its owner would ask."""

    def __init__(self, settings: Settings, path: Path) -> None:
        self.path = path
        self._git = Git(home=settings.repos_dir.absolute())
        # Unlike a path's own method this says False for a name that is too long for a file.
        self._git_dir = path / ".git" if os.path.exists(path / ".git") else path  # noqa: PTH110
        settings.repos_dir.mkdir(mode=0o700, parents=True, exist_ok=True)

    def current_branch(self) -> str:
        """The branch that is checked out; `main` if there is no repository to ask. Raises UsageError if none is."""
        if self._ask("rev-parse", "--git-dir") is None:
            return "main"
        name = self._ask("symbolic-ref", "--quiet", "--short", "HEAD")
        if name is None:
            msg = f"{printable(str(self.path))} is not on a branch"
            raise UsageError(msg, hint="name one with --branch")
        return name

    def branches(self) -> list[str]:
        """The names of its branches, the one with the newest commit first."""
        listed = self._ask("for-each-ref", "--sort=-committerdate", "--format=%(refname:lstrip=2)", "refs/heads")
        return (listed or "").splitlines()

    def commit(self, text: str) -> str | None:
        """The commit that git takes this for, a part of a SHA or `HEAD~1`, say; None if it is not just one."""
        if text.startswith("-") or "\0" in text:
            return None
        return self._ask("rev-parse", "--verify", "--quiet", f"{text}^{{commit}}")

    def _ask(self, *args: str) -> str | None:
        result = self._git.run(*args, git_dir=self._git_dir)
        return os.fsdecode(result.stdout).strip() or None if result.returncode == 0 else None


def _head_of(repositories: Repositories, repo_url: str, branch: str, local: _LocalRepository | None) -> str:
    """The newest commit of the branch."""
    try:
        return repositories.resolve(repo_url, f"refs/heads/{branch}")
    except GitUnknownRefError:
        names = local.branches() if local is not None else []
        what = f"{printable(repo_url)} has no branch {printable(branch)}"
        if names:
            msg = f"{what}; it has: {quote_names(names, _MOST_BRANCHES)}"
            raise GitUnknownRefError(msg, hint=f"name the branch, such as: --branch {names[0]}") from None
        if local is not None:
            msg = f"{what}: nothing is committed to it yet"
            raise GitUnknownRefError(msg, hint="commit the study's files first") from None
        raise GitUnknownRefError(what, hint="name the branch with --branch") from None


def _commit_of(repositories: Repositories, repo_url: str, text: str, local: _LocalRepository | None) -> str:
    """The full SHA that a `--commit` means."""
    wanted = text.lower() if _FULL_COMMIT.fullmatch(text) else text
    try:
        return repositories.resolve(repo_url, wanted)
    except GitUnknownRefError:
        found = local.commit(wanted) if local is not None else None
        if found is None:
            raise
        return found


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an id without an account, as in many containers
        return str(os.getuid())
