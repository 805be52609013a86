"""A place with something in it that can be completed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobrunner_cli.engine.states import StatusCode
from support.repositories import StudyRepository
from support.store import make_job, work_directory_with

PROJECT = """\
version: "4"
expectations:
  population_size: 10
actions:
  describe:
    run: python:v2 python describe.py
    outputs:
      moderately_sensitive:
        table: output/table.csv
  model_all:  # the long one
    run: python:v2 python model.py
    needs: [describe]
    outputs:
      moderately_sensitive:
        figure: output/figure.png
"""


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    """A study whose newest commit has another action than the one before, which is tagged `first`."""
    made = StudyRepository(tmp_path / "study")
    made.project(PROJECT)
    made.commit()
    made.git("tag", "first")
    made.git("branch", "trial")
    made.project(PROJECT.replace("describe:", "summarise:").replace("[describe]", "[summarise]"))
    made.commit()
    return made


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory with jobs in two workspaces."""
    return work_directory_with(
        tmp_path,
        monkeypatch,
        make_job("abcdef", StatusCode.EXECUTING, workspace="mine", action="describe", created_at=30),
        make_job("abxyz2", StatusCode.SUCCEEDED, workspace="mine", action="model_all", created_at=20),
        make_job("zzz222", StatusCode.NONZERO_EXIT, workspace="yours", action="describe", created_at=10),
    )
