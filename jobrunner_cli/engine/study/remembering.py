"""Repositories that are asked the same question once, for many job requests that are looked at together."""

from __future__ import annotations

import threading

from jobrunner_cli.engine.study.access import GitAccess
from jobrunner_cli.engine.study.pipeline import Pipeline
from jobrunner_cli.engine.study.repository import Repositories


class RememberingRepositories(Repositories):
    """Remembers what it was told of branches, tags, files and pipelines for as long as it lives, which should not be long.

    For one thread. What failed is asked again.
    """

    def __init__(self, access: GitAccess, *, stop: threading.Event | None = None) -> None:
        super().__init__(access, stop=stop)
        self._resolved: dict[tuple[str, str], str] = {}
        self._reachable: dict[tuple[str, str, str], bool] = {}
        self._files: dict[tuple[str, str, str], bytes] = {}
        self._pipelines: dict[tuple[str, str], Pipeline] = {}

    def resolve(self, repo_url: str, ref: str) -> str:
        """As Repositories says, once."""
        question = (repo_url, ref)
        if question not in self._resolved:
            self._resolved[question] = super().resolve(repo_url, ref)
        return self._resolved[question]

    def is_reachable(self, repo_url: str, commit: str, branch: str) -> bool:
        """As Repositories says, once."""
        question = (repo_url, commit, branch)
        if question not in self._reachable:
            self._reachable[question] = super().is_reachable(repo_url, commit, branch)
        return self._reachable[question]

    def read_file(self, repo_url: str, commit: str, path: str) -> bytes:
        """As Repositories says, once."""
        question = (repo_url, commit, path)
        if question not in self._files:
            self._files[question] = super().read_file(repo_url, commit, path)
        return self._files[question]

    def pipeline(self, repo_url: str, commit: str) -> Pipeline:
        """As Repositories says, once."""
        question = (repo_url, commit)
        if question not in self._pipelines:
            self._pipelines[question] = super().pipeline(repo_url, commit)
        return self._pipelines[question]
