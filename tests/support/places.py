"""Fixtures: work directories for tests that use the command line, each in turn with each executor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from support.runners import WorkDirectory

MakeWorkDirectory = Callable[..., WorkDirectory]


@pytest.fixture
def make_workdir(tmp_path: Path) -> Iterator[MakeWorkDirectory]:
    """Makes work directories; what is at work on them ends with the test."""
    made: list[WorkDirectory] = []

    def make(executor: str, settings: Mapping[str, str] | None = None) -> WorkDirectory:
        base = tmp_path / f"place{len(made)}"
        base.mkdir()
        made.append(WorkDirectory(base, executor, settings))
        return made[-1]

    yield make
    for workdir in made:
        workdir.close()


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.engine)])
def executor(request: pytest.FixtureRequest) -> str:
    """The name of each executor in turn."""
    return str(request.param)


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory, executor: str) -> WorkDirectory:
    """A migrated work directory for each executor."""
    return make_workdir(executor)
