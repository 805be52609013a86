"""Whose project.yaml a command is about: the one of a working tree, as it lies there, or the one of a commit."""

from __future__ import annotations

from pathlib import Path

from jobrunner_cli.engine.errors import (
    GitFileNotFoundError,
    GitRepoNotReachableError,
    GitUnknownRefError,
    NotFoundError,
    UsageError,
)

#: The name of the file at the top of a study.
PROJECT_FILE = "project.yaml"


def read_project(repo: str, commit: str | None) -> bytes:
    """The content of a study's project.yaml: the file in a directory, or, with a commit, the one that is in the commit.

    `repo` is the study's directory, and with a commit also a URL. Raises NotFoundError if there is no such file,
    repository or commit, UsageError for a URL without a commit, and GitError if git fails otherwise.
    """
    from jobrunner_cli.engine.study.access import is_url

    if commit is not None:
        return _committed(repo, commit)
    if is_url(repo):
        msg = f"{repo} is no directory of this machine"
        raise UsageError(msg, hint="name a branch, tag or commit of it with --commit")
    path = Path(repo) / PROJECT_FILE
    if not path.is_file():
        msg = f"there is no {PROJECT_FILE} in {Path(repo).absolute()}"
        raise NotFoundError(msg, hint="name the directory of a study, or go there first")
    from jobrunner_cli.engine.study.source import MAX_BYTES

    # As much of the file as is needed to see that it is too large.
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def _committed(repo: str, commit: str) -> bytes:
    # git and the settings, which a file on the disk does not need.
    from jobrunner_cli.commands.loading import load_settings
    from jobrunner_cli.engine.local_requests import find_commit
    from jobrunner_cli.engine.running.session import make_repositories

    settings = load_settings()
    repositories = make_repositories(settings)
    try:
        repo_url, sha = find_commit(settings, repositories, repo, commit)
        return repositories.read_file(repo_url, sha, PROJECT_FILE)
    except (GitFileNotFoundError, GitRepoNotReachableError, GitUnknownRefError) as error:
        raise NotFoundError(error.message, hint=error.hint) from None
