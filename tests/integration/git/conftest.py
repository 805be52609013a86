"""Repositories on a real HTTPS server and on this machine's disk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobrunner_cli.engine.study.repository import GitAccess, Repositories
from support.git_places import TOKEN, trust
from support.git_server import GitServer, SourceRepository, git_server


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[GitServer]:
    """A server whose certificate git accepts."""
    with git_server(tmp_path / "server") as running:
        trust(monkeypatch, running)
        yield running


@pytest.fixture
def study(tmp_path: Path) -> SourceRepository:
    return SourceRepository(tmp_path / "study")


@pytest.fixture
def access(tmp_path: Path, server: GitServer) -> GitAccess:
    """The server stands in for GitHub; nothing listens where the proxy would be."""
    return GitAccess(
        repos_dir=tmp_path / "repos",
        backend="tpp",
        token=TOKEN,
        first_wait=0.01,
        github_host=server.host,
        proxy_host="127.0.0.1:1",
    )


@pytest.fixture
def local_access(tmp_path: Path) -> GitAccess:
    return GitAccess(repos_dir=tmp_path / "repos", backend="test")


@pytest.fixture
def repositories(local_access: GitAccess) -> Repositories:
    return Repositories(local_access)
