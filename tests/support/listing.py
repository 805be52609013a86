"""Jobs to be listed, one in each of the states that a listing tells apart."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.states import StatusCode
from support.store import make_job, new_database
from support.terminal import jobrunner

_HOUR = 3600


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory without a database, where no engine is asked."""
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    monkeypatch.setenv("EXECUTOR", "process")
    return tmp_path


def at(seconds_ago: float) -> int:
    """The UNIX time so long ago."""
    return int(time.time() - seconds_ago)


@pytest.fixture
def jobs(workdir: Path) -> Path:
    """One job in each of the states that a listing tells apart."""
    started = {"created_at": at(2 * _HOUR + 60), "started_at": at(2 * _HOUR)}
    new_database(
        workdir,
        make_job("waiting000000000", StatusCode.WAITING_ON_WORKERS, action="wait", created_at=at(61)),
        make_job("running000000000", StatusCode.EXECUTING, action="run", status_message="Executing", **started),
        make_job(
            "succeeded0000000", StatusCode.SUCCEEDED, action="done", status_message="Completed successfully",
            completed_at=started["started_at"] + 75, **started,
        ),
        make_job(
            "failed0000000000", StatusCode.NONZERO_EXIT, action="a_rather_long_name_of_an_action", workspace="other",
            status_message="Job exited with an error: the file data.csv, which the command wanted to read, is empty\nmore",
            completed_at=started["started_at"] + 5, **started,
        ),
    ).close()  # fmt: skip
    return workdir


def listed(*words: str) -> list[dict[str, Any]]:
    """What `jobs ls` lists with these options."""
    found: list[dict[str, Any]] = json.loads(jobrunner("jobs", "ls", *words, "--json").stdout)
    return found
