"""Whose project.yaml a command is about: the one of a working tree, as it lies there, or the one of a commit."""

from __future__ import annotations

from collections.abc import Callable
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


#: What stands for the standard input.
STDIN = "-"


def read_project(what: str, commit: str | None) -> tuple[str, bytes]:
    """The name for messages of a project.yaml, and what is in it, cut off where it is too large to be read.

    `what` is a study's directory, a file, or STDIN; with a commit, a directory or a URL. Raises NotFoundError if there
    is no such file, repository or commit, UsageError for words that do not fit together, and GitError if git fails
    otherwise.
    """
    from jobrunner_cli.engine.study.access import is_url, refuse_other_urls

    if commit is not None:
        if what == STDIN or _is(what, Path.is_file):
            msg = "--commit is about a repository, not about a file"
            raise UsageError(msg, hint="name the directory of the study, or leave --commit out")
        return f"{commit}:{PROJECT_FILE}", _committed(what, commit)
    if is_url(what):
        msg = f"{what} is no directory of this machine"
        raise UsageError(msg, hint="name a branch, tag or commit of it with --commit")
    if what == STDIN:
        return "stdin", _read("stdin", 0)
    refuse_other_urls(what)
    path = Path(what)
    if _is(what, Path.is_dir):
        path /= PROJECT_FILE
    return str(path), _read(str(path), path)


def _is(what: str, kind: Callable[[Path], bool]) -> bool:
    try:
        return kind(Path(what))
    except OSError:
        # A name that no file can have.
        return False


def _read(name: str, place: Path | int) -> bytes:
    """As much of a file as is needed to see that it is too large."""
    from jobrunner_cli.engine.study.source import MAX_BYTES

    try:
        with open(place, "rb", closefd=place != 0) as file:
            return file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        raise NotFoundError(f"there is no file {name}", hint="name a study's directory, or its project.yaml") from None
    except OSError as error:
        raise NotFoundError(f"{name} cannot be read: {(error.strerror or str(error)).lower()}") from None


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
