"""`jobrunner flags`: values with the time since which they are so, and what they do to jobs."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.runners import WorkDirectory
from support.store import new_database
from support.studies import action, make_study
from support.terminal import jobrunner

pytestmark = pytest.mark.slow


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    new_database(tmp_path).close()
    return tmp_path


def rows(place: Path) -> dict[str, tuple[str | None, float]]:
    with closing(sqlite3.connect(place / "db.sqlite")) as conn:
        return {name: (value, at) for name, value, at in conn.execute("SELECT id, value, timestamp FROM flags")}


def flags(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(jobrunner("flags", *words, "--json").stdout)
    return found


def test_flag_is_shown_with_the_time_it_was_set(place: Path):
    done = jobrunner("flags", "set", "paused=true")
    assert re.fullmatch(r"paused=true \(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\)\n", done.stdout)
    assert done.stderr == ""
    assert jobrunner("flags", "get").stdout == done.stdout
    assert jobrunner("flags", "get", "paused", "mode").stdout == f"{done.stdout}mode= (never set)\n"
    assert [(flag["name"], flag["value"]) for flag in flags("get", "mode", "paused")] == [
        ("mode", None),
        ("paused", "true"),
    ]


def test_same_value_again_changes_nothing(place: Path):
    jobrunner("flags", "set", "mode=db-maintenance")
    before = rows(place)
    jobrunner("flags", "set", "mode=db-maintenance")
    assert rows(place) == before
    jobrunner("flags", "set", "mode=")
    unset = rows(place)
    assert unset["mode"][0] is None
    assert unset["mode"][1] > before["mode"][1]
    jobrunner("flags", "set", "mode=")
    assert rows(place) == unset


def test_unsetting_what_was_never_set_leaves_no_trace(place: Path):
    assert jobrunner("flags", "set", "paused=").stdout == "paused= (never set)\n"
    assert rows(place) == {}
    assert flags("get") == []
    assert jobrunner("flags", "get").stderr == "No flag was ever set.\n"


def test_maintenance_by_hand_is_also_what_the_job_server_reads(place: Path):
    jobrunner("flags", "set", "manual-db-maintenance=on")
    assert rows(place)["mode"][0] == "db-maintenance"
    jobrunner("flags", "set", "manual-db-maintenance=")
    assert [value for value, _ in rows(place).values()] == [None, None]


def test_detection_says_itself_when_maintenance_is_over(place: Path):
    jobrunner("flags", "set", "manual-db-maintenance=on")
    jobrunner("flags", "set", "manual-db-maintenance=", ENABLE_MAINTENANCE_MODE_THREAD="true")
    assert rows(place)["mode"][0] == "db-maintenance"


@pytest.mark.parametrize("words", ["paused", "=true", "a b=1", "paused=\x1b[2J", "-x=1", f"note={'x' * 201}"])
def test_what_is_no_assignment_is_refused(place: Path, words: str):
    said = jobrunner("flags", "set", "mode=db-maintenance", "--", words, code=2).stderr
    assert said.startswith("jobrunner: ")
    assert "\x1b" not in said
    assert rows(place) == {}


@pytest.mark.parametrize("words", ["pausd=true", "paused=yes", "mode=maintenance"])
def test_what_nothing_reads_is_set_and_doubted(place: Path, words: str):
    assert jobrunner("flags", "set", words).stderr.count("\n") == 1
    assert len(rows(place)) == 1


def test_paused_backend_starts_nothing_until_it_is_resumed(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(tmp_path / "study", {"act": action(workdir.command("echo 1 > a.txt"), "a.txt")})
    job = workdir.add(study, "act")["act"]
    runner = workdir.start("run")
    workdir.wait_until_ended([job])
    workdir.cli("flags", "set", "paused=TRUE")
    job = workdir.add(study, "act")["act"]
    workdir.wait_for(job, "paused")
    workdir.cli("jobs", "resume")
    workdir.wait_for(job, "succeeded")
    runner.signal(15)
    assert runner.ends() == 0
