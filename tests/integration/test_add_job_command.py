"""`jobrunner add-job`: what it adds, what it says of it, what it refuses, and what a dry run leaves alone."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.places import MakeWorkDirectory
from support.repositories import StudyRepository
from support.runners import WorkDirectory
from support.studies import action, change_study, make_study, shell
from support.terminal import on_terminal, without_colours

pytestmark = pytest.mark.slow

MAKE, USE = shell("echo made > made.txt"), shell("cat made.txt > used.txt")
FAIL = shell("echo no good; exit 3")
ACTIONS = {
    "make": action(MAKE, "made.txt"),
    "use": action(USE, "used.txt", needs=["make"]),
    "fail": action(FAIL, "never.txt"),
}


@pytest.fixture
def workdir(make_workdir: MakeWorkDirectory) -> WorkDirectory:
    return make_workdir("process")


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return make_study(tmp_path / "study", ACTIONS)


def everything(workdir: WorkDirectory) -> list[str]:
    """All that the database holds."""
    with closing(sqlite3.connect(workdir.path / "db.sqlite")) as conn:
        return list(conn.iterdump())


# What is added.


def test_new_jobs_are_listed_with_their_ids_and_that_no_runner_is_there(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "use")
    rows = workdir.ask('SELECT id, workspace, action, database_name, repo_url, "commit" FROM job ORDER BY rowid')
    assert done.stdout.splitlines() == [f"{row[0]}  {row[1]}/{row[2]}" for row in rows]
    assert [row[1:] for row in rows] == [
        ("test", name, "dummy", str(study.path), study.git("rev-parse", "HEAD")) for name in ("make", "use")
    ]
    assert done.stderr == f"No runner is at work on {workdir.path}; start one with: jobrunner run\n"


def test_runner_at_work_is_not_missed(workdir: WorkDirectory, study: StudyRepository):
    runner = workdir.start("run")
    runner.says("isolates nothing")
    workdir.wait_for(workdir.add(study, "make")["make"], "succeeded")
    assert workdir.cli("add-job", str(study.path), "fail").stderr == ""


def test_json_is_the_jobs_as_the_listing_has_them(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "use", "--json")
    listed = json.loads(workdir.cli("jobs", "ls", "--json").stdout)
    by_id = {job["id"]: job for job in listed}
    assert json.loads(done.stdout) == [by_id[job["id"]] for job in json.loads(done.stdout)]
    assert [job["action"] for job in json.loads(done.stdout)] == ["make", "use"]


def test_options_reach_the_jobs(workdir: WorkDirectory, study: StudyRepository):
    first = study.git("rev-parse", "HEAD")
    study.git("checkout", "--quiet", "-b", "trial")
    second = change_study(study, {**ACTIONS, "more": action(shell("echo more > more.txt"), "more.txt")})
    done = workdir.cli(
        "add-job", str(study.path), "more", "make", "--branch", "trial", "--workspace", "ws-2", "--database", "other",
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 2
    columns = 'DISTINCT workspace, database_name, "commit"'
    assert workdir.ask(f"SELECT {columns} FROM job") == [("ws-2", "other", second)]
    workdir.cli("add-job", str(study.path), "make", "--branch", "trial", "--commit", first[:10])
    assert workdir.ask(f"SELECT {columns} FROM job WHERE workspace = 'test'") == [("test", "dummy", first)]


def test_dependencies_run_again_only_when_forced(workdir: WorkDirectory, study: StudyRepository):
    workdir.cli("add-job", str(study.path), "use", "--wait")
    assert list(workdir.add(study, "use")) == ["use"]
    workdir.run()
    assert list(workdir.add(study, "use", "-f")) == ["make", "use"]


def test_nothing_to_do_is_an_answer(workdir: WorkDirectory, study: StudyRepository):
    change_study(study, {"make": ACTIONS["make"]})
    workdir.cli("add-job", str(study.path), "run_all", "--wait")
    said = "Nothing to do: every action has already succeeded.\n"
    done = workdir.cli("add-job", str(study.path), "run_all")
    assert (done.stdout, done.stderr) == (said, "")
    done = workdir.cli("add-job", str(study.path), "run_all", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["action"], row["state"], f"{row['status_message']}.\n") == ("run_all", "succeeded", said)
    assert done.stderr == said
    assert workdir.cli("add-job", str(study.path), "run_all", "--wait").stdout == said
    assert workdir.ask("SELECT action FROM job WHERE run_command IS NOT NULL") == [("make",)]
    assert workdir.ask("SELECT DISTINCT action, state FROM job WHERE run_command IS NULL") == [("run_all", "succeeded")]


def test_jobs_under_way_are_not_doubled_and_somebody_has_to_run_them(workdir: WorkDirectory, study: StudyRepository):
    workdir.add(study, "use")
    done = workdir.cli("add-job", str(study.path), "use")
    assert done.stdout == "Nothing to do: everything requested is already under way.\n"
    assert "No runner is at work" in done.stderr
    assert len(workdir.ask("SELECT id FROM job WHERE state = 'pending'")) == 2


# Dry runs.


def test_dry_run_says_what_would_run_and_why_and_writes_nothing(workdir: WorkDirectory, study: StudyRepository):
    before = everything(workdir)
    done = workdir.cli("add-job", str(study.path), "use", "--dry-run")
    assert done.stderr == ""
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()] == [
        ["WOULD", "ACTION", "BECAUSE"],
        ["run", "make", "needed by use, not succeeded in this workspace yet"],
        ["run", "use", "requested by name"],
    ]
    assert everything(workdir) == before


def test_dry_run_names_what_is_left_alone(workdir: WorkDirectory, study: StudyRepository):
    workdir.cli("add-job", str(study.path), "make", "--wait")
    done = workdir.cli("add-job", str(study.path), "use", "--dry-run")
    assert [line.split(maxsplit=2) for line in done.stdout.splitlines()[1:]] == [
        ["run", "use", "requested by name"],
        ["leave", "make", "has succeeded, and its outputs are there"],
    ]
    (workdir.high / "workspaces/test/made.txt").unlink()
    again = workdir.cli("add-job", str(study.path), "use", "--dry-run").stdout.splitlines()
    assert "made.txt" in again[1]
    assert again[1].split()[:2] == ["run", "make"]


def test_dry_run_as_json_has_the_keys_that_scripts_rely_on(workdir: WorkDirectory, study: StudyRepository):
    workdir.cli("add-job", str(study.path), "make", "--wait")
    before = everything(workdir)
    plan: dict[str, Any] = json.loads(workdir.cli("add-job", str(study.path), "use", "--dry-run", "--json").stdout)
    assert plan == {
        "run": [{"action": "use", "reason": "requested by name", "needs": ["make"]}],
        "leave": [{"action": "make", "reason": "has succeeded, and its outputs are there"}],
        "nothing_to_do": None,
    }
    change_study(study, {"make": ACTIONS["make"]})
    plan = json.loads(workdir.cli("add-job", str(study.path), "run_all", "--dry-run", "--json").stdout)
    assert plan["run"] == []
    assert plan["nothing_to_do"] == "Nothing to do: every action has already succeeded"
    assert everything(workdir) == before


def test_dry_run_reports_mistakes_without_keeping_them(workdir: WorkDirectory, study: StudyRepository):
    before = everything(workdir)
    done = workdir.cli("add-job", str(study.path), "yuse", "--dry-run", code=1)
    assert "did you mean 'use'?" in done.stderr
    assert everything(workdir) == before


def test_dry_run_has_nothing_to_wait_for(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "use", "--dry-run", "--wait", code=2)
    assert done.stderr.splitlines()[0] == "jobrunner: --dry-run adds nothing that --wait could wait for"


# What is refused.


def test_unknown_action_is_told_with_what_was_meant_and_reported_once(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "yuse", code=1)
    assert done.stdout == ""
    said, hint = done.stderr.splitlines()
    assert said == (
        "jobrunner: project.yaml has no action 'yuse'; did you mean 'use'? Valid actions are: run_all, make, use, fail"
    )
    assert hint == "  hint: project.yaml is read as it is in the commit: is the action committed?"
    [(action_name, state, message)] = workdir.ask("SELECT action, state, status_message FROM job")
    assert (action_name, state) == ("__error__", "failed")
    assert message.endswith(said.removeprefix("jobrunner: "))


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["nowhere", "make"], "nowhere"),
        (["{study}", "make", "--branch", "trail"], "has no branch trail; it has: main"),
        (["{study}", "make", "--commit", "0" * 40], "0" * 40),
        (["{study}", "make", "--commit", "--upload-pack=x"], "--upload-pack=x"),
        (["{study}", ""], "no action ''"),
        (["https://github.com/nobody-else/study", "make"], "nobody-else"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_request_that_makes_no_sense_is_one_line(
    workdir: WorkDirectory, study: StudyRepository, words: list[str], wrong: str
):
    done = workdir.cli("add-job", *(word.format(study=study.path) for word in words), code=1)
    assert done.stdout == ""
    assert done.stderr.startswith("jobrunner: ")
    assert wrong in done.stderr.splitlines()[0]
    assert "Traceback" not in done.stderr
    assert [row for row in workdir.ask("SELECT action FROM job") if row != ("__error__",)] == []


@pytest.mark.parametrize("name", ["../up", "a b", "", "x" * 201])
def test_impossible_workspace_is_refused_and_leaves_nothing(workdir: WorkDirectory, study: StudyRepository, name: str):
    before = everything(workdir)
    done = workdir.cli("add-job", str(study.path), "make", "--workspace", name, code=2)
    assert "is not a name of letters, digits" in done.stderr
    assert everything(workdir) == before


@pytest.mark.parametrize("word", ["make,use", "make use", "use, fail"])
def test_names_in_one_word_are_to_be_separated(workdir: WorkDirectory, study: StudyRepository, word: str):
    done = workdir.cli("add-job", str(study.path), word, "--dry-run", code=1)
    assert done.stderr.splitlines()[1] == "  hint: separate the names of actions with spaces, each a word of its own"
    done = workdir.cli("add-job", str(study.path), "make,yuse", "--dry-run", code=1)
    assert "is the action committed?" in done.stderr


def test_part_of_a_sha_that_no_commit_has_is_told_so(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "make", "--commit", "0123456", code=1)
    assert (
        done.stderr.splitlines()[1]
        == "  hint: A commit is given with --commit, by as many digits of its SHA as no other begins with."
    )


def test_database_that_is_none_is_told(workdir: WorkDirectory, study: StudyRepository):
    done = workdir.cli("add-job", str(study.path), "make", "--dry-run", "--database", "nope")
    assert done.stderr == (
        "Database 'nope' is not one of default, dummy, include_t1oo; here all data are made up, and no database is used.\n"
    )
    for name in ("default", "dummy", "include_t1oo"):
        assert workdir.cli("add-job", str(study.path), "make", "--dry-run", "--database", name).stderr == ""


def test_where_data_are_real_the_database_has_to_be_named(workdir: WorkDirectory, study: StudyRepository):
    real = {"BACKEND": "tpp", "EXECUTOR": "docker", "DEFAULT_DATABASE_URL": "mssql://user:password@127.0.0.1/name"}
    words = ("add-job", str(study.path), "make", "--dry-run")
    said, hint = workdir.cli(*words, code=1, **real).stderr.splitlines()
    assert said == 'jobrunner: database "dummy" is not configured on tpp (configured: default)'
    assert "--database NAME" in hint
    workdir.cli(*words, "--database", "default", **real)


@pytest.mark.parametrize("repo", ["file:///tmp/study", "git@github.com:x/y", "ssh://git@github.com/x/y"])
def test_url_of_another_kind_is_refused(workdir: WorkDirectory, repo: str):
    done = workdir.cli("add-job", repo, "make", code=2)
    assert "is neither a directory nor the https URL of a repository" in done.stderr
    assert "git@" not in done.stderr


def test_every_problem_of_project_yaml_is_told(workdir: WorkDirectory, tmp_path: Path):
    study = StudyRepository(tmp_path / "broken")
    study.project(
        "version: '4.0'\nactions:\n  one:\n    run: python:v2\n  two:\n    needs: [three]\n    run: python:v2\n"
    )
    study.commit()
    done = workdir.cli("add-job", str(study.path), "run_all", code=1)
    assert done.stderr.count("one") >= 1
    assert "three" in done.stderr
    assert "Traceback" not in done.stderr


# Waiting.


def test_waiting_ends_with_the_jobs_and_fails_with_one_of_them(workdir: WorkDirectory, study: StudyRepository):
    assert "succeeded" in workdir.cli("add-job", str(study.path), "use", "--wait").stderr
    assert workdir.codes() == {"make": "succeeded", "use": "succeeded"}
    done = workdir.cli("add-job", str(study.path), "fail", "--wait", code=1)
    assert "nonzero_exit" in done.stderr


def test_waiting_with_json_shows_the_jobs_as_they_ended(workdir: WorkDirectory, study: StudyRepository):
    ended = json.loads(workdir.cli("add-job", str(study.path), "run_all", "--wait", "--json", code=1).stdout)
    assert {job["action"]: job["status_code"] for job in ended} == {
        "make": "succeeded",
        "use": "succeeded",
        "fail": "nonzero_exit",
    }


def test_waiting_with_json_shows_jobs_that_were_under_way_as_they_ended(workdir: WorkDirectory, study: StudyRepository):
    under_way = workdir.add(study, "make", "fail")
    said = workdir.cli("add-job", str(study.path), "fail", "use", "--wait", "--json", code=1).stdout
    ended = {job["action"]: (job["id"], job["status_code"]) for job in json.loads(said)}
    assert ended.pop("use")[1] == "succeeded"
    assert ended == {"make": (under_way["make"], "succeeded"), "fail": (under_way["fail"], "nonzero_exit")}


def test_jobs_that_nothing_changes_are_shown_from_the_start(
    workdir: WorkDirectory, study: StudyRepository, monkeypatch: pytest.MonkeyPatch
):
    workdir.cli("flags", "set", "paused=true")
    workdir.add(study, "use")
    workdir.run()
    for name, value in workdir.settings.items():
        monkeypatch.setenv(name, value)
    written = without_colours(on_terminal("run", "--until-idle", columns=80))
    picture, shown, _ = written.partition("2 pending")
    assert shown
    assert "test/make" in picture
    assert "test/use" in picture


def test_waiting_on_a_narrow_terminal_shows_each_job_on_one_line(
    workdir: WorkDirectory, study: StudyRepository, monkeypatch: pytest.MonkeyPatch
):
    for name, value in workdir.settings.items():
        monkeypatch.setenv(name, value)
    written = without_colours(on_terminal("add-job", str(study.path), "run_all", "--wait", columns=60, code=1))
    picture = written.rpartition("ACTION")[2].splitlines()[1:]
    shown = {line.split()[1]: line for line in picture if line[:1] in {"✔", "✘"}}
    assert set(shown) == {"test/make", "test/use", "test/fail"}
    assert max(map(len, picture)) <= 60
    assert "nonzero exit" in shown["test/fail"]
    assert "1 failed" in picture[len(shown)]
    # The log is for those who have no picture.
    assert "status=" not in written
