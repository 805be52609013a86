"""`jobrunner prune`: what may go is shown and removed, with and without a runner at work; nothing else goes."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.studies import action, make_study, shell
from support.terminal import on_terminal

pytestmark = [pytest.mark.slow]

_DAY = 86400


def held_study(workdir: WorkDirectory, path: Path, *names: str) -> StudyRepository:
    script = "touch busy; while [ ! -e go ]; do sleep 0.05; done; echo > {}.csv"
    return make_study(path, {name: action(workdir.command(script.format(name)), f"{name}.csv") for name in names})


def kill_one(workdir: WorkDirectory, tmp_path: Path) -> str:
    """The id of a job that was killed, whose container and directory stand."""
    study = held_study(workdir, tmp_path / "killed", "long")
    job_id = workdir.add(study, "long", "--workspace", "killed")["long"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    workdir.cli("jobs", "kill", job_id)
    runner.ends()
    assert workdir.working_copy(job_id).exists()
    return job_id


def change(workdir: WorkDirectory, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(workdir.path / "db.sqlite")) as conn, conn:
        conn.execute(statement, parameters)


def prune(workdir: WorkDirectory, *words: str, code: int = 0) -> list[dict]:
    return json.loads(workdir.cli("prune", *words, "--json", code=code).stdout)


@pytest.mark.parametrize("runner_at_work", [False, True])
def test_what_a_killed_job_left_goes_when_it_is_old_enough(
    workdir: WorkDirectory, runner_at_work: bool, tmp_path: Path
):
    job_id = kill_one(workdir, tmp_path)
    assert prune(workdir, "--yes") == []
    change(workdir, "UPDATE job SET completed_at = ? WHERE id = ?", int(time.time()) - 40 * _DAY, job_id)
    command = workdir.start("run") if runner_at_work else None
    if command is not None:
        workdir.wait_for_holder(command)
    (shown,) = prune(workdir, "--dry-run")
    assert (shown["kind"], shown["name"], shown["removed"]) == ("kept", job_id, False)
    assert shown["what"] == "killed/long killed by admin"
    assert shown["path"] == str(workdir.working_copy(job_id).parent)
    assert workdir.working_copy(job_id).exists()
    (gone,) = prune(workdir, "--yes")
    assert gone["removed"]
    assert workdir.leftovers() == []
    assert workdir.codes() == {"long": "killed_by_admin"}
    assert prune(workdir, "--yes") == []


def test_without_a_terminal_it_refuses_and_on_one_it_asks(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process")
    job_id = kill_one(workdir, tmp_path)
    refused = workdir.cli("prune", "--older-than", "0d", code=2)
    assert "--yes" in refused.stderr
    assert job_id in refused.stdout
    assert workdir.working_copy(job_id).exists()
    written = on_terminal("prune", "--older-than", "0d", columns=120, answer="n\n", code=1, **workdir.settings)
    assert "Remove this" in written
    assert "Nothing was done" in written
    assert workdir.working_copy(job_id).exists()
    written = on_terminal("prune", "--older-than", "0d", columns=120, answer="\x04", code=130, **workdir.settings)
    assert written.endswith("\nNothing was done.\n")
    assert workdir.working_copy(job_id).exists()
    on_terminal("prune", "--older-than", "0d", columns=120, answer="y\n", **workdir.settings)
    assert workdir.leftovers() == []
    assert "nothing that may go" in workdir.cli("prune", "--older-than", "0d").stderr
    for age in ("soon", "3", "-1d", "d"):
        workdir.cli("prune", "--older-than", age, code=2)


def test_a_container_without_a_row_goes_when_a_runner_starts(workdir: WorkDirectory, tmp_path: Path):
    job_id = kill_one(workdir, tmp_path)
    change(workdir, "DELETE FROM job WHERE id = ?", job_id)
    workdir.run()
    assert workdir.leftovers() == []


def test_a_container_without_a_row_is_shown_and_goes_with_the_lock_alone(workdir: WorkDirectory, tmp_path: Path):
    study = held_study(workdir, tmp_path / "held", "other")
    job_id = kill_one(workdir, tmp_path)
    other = workdir.add(study, "other")["other"]
    runner = workdir.start("run", "--until-idle")
    workdir.wait_for_file(other, "busy")
    change(workdir, "DELETE FROM job WHERE id = ?", job_id)
    (stays,) = prune(workdir, "--older-than", "0d", "--yes", code=1)
    assert (stays["kind"], stays["name"], stays["removed"]) == ("unknown", job_id, False)
    assert "when the next one starts" in stays["problem"]
    workdir.let_go(other)
    assert runner.ends() == 0
    (gone,) = prune(workdir, "--older-than", "0d", "--yes")
    assert gone["removed"]
    assert workdir.leftovers() == []


def test_logs_go_by_whole_months(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process")
    study = make_study(tmp_path / "study", {"a": action(shell("echo > a.csv"), "a.csv")})
    workdir.add(study, "a")
    workdir.run()
    logs = workdir.high / "logs"
    (now,) = os.listdir(logs)
    for month in ("2020-01", "2020-02", "notes"):
        (logs / month / "os-job-x").mkdir(parents=True)
        (logs / month / "os-job-x/logs.txt").write_text("log\n")
    assert prune(workdir, "--dry-run") == []
    assert prune(workdir, "--logs", "--older-than", "9999w", "--yes") == []
    shown = prune(workdir, "--logs", "--older-than", "0d", "--dry-run")
    assert [(item["name"], item["what"]) for item in shown] == [
        ("2020-01", "the log of 1 job"),
        ("2020-02", "the log of 1 job"),
    ]
    prune(workdir, "--logs", "--yes")
    assert sorted(os.listdir(logs)) == sorted([now, "notes"])


def test_mirrors_go_unless_something_needs_them(make_workdir: MakeWorkDirectory, tmp_path: Path):
    workdir = make_workdir("process")
    old = make_study(tmp_path / "old", {"a": action(shell("echo > a.csv"), "a.csv")})
    needed = make_study(tmp_path / "needed", {"a": action(shell("echo > a.csv"), "a.csv")})
    fresh = make_study(tmp_path / "fresh", {"a": action(shell("echo > a.csv"), "a.csv")})
    for study in (old, fresh):
        workdir.add(study, "a", "--workspace", study.path.name)
    workdir.run()
    workdir.add(needed, "a", "--workspace", "needed")
    past = time.time() - 40 * _DAY
    change(workdir, "UPDATE job SET created_at = ? WHERE workspace <> 'fresh'", int(past))
    for path in (workdir.path / "repos").rglob("*"):
        os.utime(path, (past, past))
    shown = prune(workdir, "--mirrors", "--dry-run")
    assert [item["what"] for item in shown] == [str(old.path)]
    assert shown[0]["size"] > 0
    (gone,) = prune(workdir, "--mirrors", "--yes")
    assert gone["removed"]
    assert not Path(gone["path"]).exists()
    workdir.add(old, "a", "--workspace", "old", "-f")
    workdir.run()
    assert len(list((workdir.path / "repos").glob("*.git"))) == 3
    assert set(workdir.codes().values()) == {"succeeded"}
