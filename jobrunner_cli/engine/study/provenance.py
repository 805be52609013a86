"""Where code may come from: which repositories may run here, and which of their commits (section 3, step 2)."""

from __future__ import annotations

import re
from typing import Protocol

from jobrunner_cli.engine.errors import GithubValidationError, GitUnknownRefError
from jobrunner_cli.engine.study.git import printable

_GITHUB_REPOSITORY = re.compile(r"https://github\.com/([A-Za-z0-9_-]+)/([A-Za-z0-9._-]+)/?")

_FORM = "https://github.com/{organisation}/{name}"


class KnowsBranches(Protocol):
    """What is asked of repositories here."""

    def is_reachable(self, repo_url: str, commit: str, branch: str) -> bool:
        """Whether the commit is on the branch. Raises GitUnknownRefError if there is no such branch."""
        ...


def check_repo_url(repo_url: str, *, allowed_orgs: frozenset[str] | None) -> None:
    """Check that the repository may run here; paths of local repositories always may.

    `allowed_orgs` are the organisations of ALLOWED_GITHUB_ORGS (section 10): None is no restriction, none at all
    means no repository on the network. Organisations count as they are spelled there. Raises GithubValidationError.
    """
    if not repo_url.lower().startswith("http") or allowed_orgs is None:
        return
    if not allowed_orgs:
        raise GithubValidationError(
            "No repository on the network may run here, only local ones",
            hint="ALLOWED_GITHUB_ORGS is `none`; name the organisations that are allowed.",
        )
    match = _GITHUB_REPOSITORY.fullmatch(repo_url)
    if match is None:
        # What stands before an `@` may be a password.
        shown = "The repository's URL" if "@" in repo_url else printable(repo_url)
        raise GithubValidationError(f"{shown} is not of the form {_FORM}", hint=_hint(repo_url))
    organisation, name = match.groups()
    if organisation not in allowed_orgs:
        raise GithubValidationError(
            f"{repo_url} does not belong to an organisation that is allowed here: {', '.join(sorted(allowed_orgs))}",
            hint="ALLOWED_GITHUB_ORGS has the organisations that are allowed, spelled as in the URL.",
        )
    if name.endswith(".git") or set(name) == {"."}:
        raise GithubValidationError(f"{repo_url} is not of the form {_FORM}", hint=_hint(repo_url))


def check_commit(repositories: KnowsBranches, repo_url: str, commit: str, branch: str, *, restricted: bool) -> None:
    """Check that the commit was merged: that it is reachable from the repository's branch of that name.

    Only where organisations are `restricted`, and then for local repositories, too. Raises GithubValidationError,
    or a GitError if the repository cannot be asked.
    """
    if not restricted:
        return
    shown = f"commit {printable(commit)} of {printable(repo_url)}"
    try:
        reachable = repositories.is_reachable(repo_url, commit, branch)
    except GitUnknownRefError as error:
        raise GithubValidationError(f"Cannot run {shown}: {error.message}", hint=error.hint) from error
    if not reachable:
        raise GithubValidationError(
            f"Cannot run {shown}: it is not on branch {printable(branch)}",
            hint="Merge it into the branch first; a commit of a pull request is not enough.",
        )


def _hint(repo_url: str) -> str | None:
    if repo_url.rstrip("/").endswith(".git"):
        return "Leave out `.git` at the end."
    return None
