"""What `jobrunner` answers to a Tab: from the tree of the commands and the real data, quickly, and never with a mistake."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.repositories import StudyRepository
from support.store import make_job, new_database, older_database
from support.terminal import jobrunner

pytestmark = pytest.mark.slow

HEAVY = {"typer", "click", "rich", "textual", "docker", "requests", "urllib3", "yaml", "asyncio"}
RUNNER = """
import atexit, json, sys
atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))
sys.argv = ["jobrunner", *sys.argv[1:]]
from jobrunner_cli.__main__ import main
main()
"""


def answers(*words: str, **environment: str) -> dict[str, str]:
    """The suggestions for the last of the words, with their descriptions."""
    done = jobrunner("__complete", "zsh", *words, **environment)
    assert done.stderr == ""
    kind, *lines = done.stdout.splitlines()
    assert kind == "words"
    return dict(line.split("\t", 1) for line in lines)


def imported_by(*words: str) -> set[str]:
    """What an answer imports."""
    command = [sys.executable, "-c", RUNNER, "__complete", "zsh", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("words\n")
    return set(json.loads(done.stderr.splitlines()[-1]))


# The tree.


def test_every_command_is_offered_with_what_its_help_says(workdir: Path):
    listed = re.findall(r"^  (\S+) ", jobrunner("--help").stdout.partition("\nCommands:\n")[2], re.MULTILINE)
    offered = answers("")
    assert list(offered) == listed
    assert offered["migrate"] == "Make the database, or upgrade it."


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["jobs", "l"], ["ls", "logs"]),
        (["project", "graph", "--format", ""], ["text", "list", "mermaid", "dot", "svg", "json"]),
        (["project", "graph", "--format=d"], ["--format=dot"]),
        (["completion", "install", "f"], ["fish"]),
        (["jobs", "ls", "--json", "--js"], []),
        (["manifests", "backfill", "--workspace", "mine", "--work"], ["--workspace"]),
        (["run", "--until-idle", "--", "-"], []),
        (["no-such-command", ""], []),
        (["jobs", "ls", "--no-such-option", "--activ"], ["--active"]),
        (["jobs", "ls", "--limit", ""], []),
    ],
    ids=" ".join,
)
def test_words_of_the_tree(words: list[str], offered: list[str], workdir: Path):
    assert list(answers(*words)) == offered


def test_where_nothing_but_an_option_can_follow_options_are_offered(workdir: Path):
    assert {"--until-idle", "--help"} <= set(answers("run", ""))


# The data.


def test_jobs_are_offered_by_id_unfinished_first_then_newest(workdir: Path):
    assert answers("jobs", "show", "") == {
        "abcdef": "mine/describe, executing",
        "abxyz2": "mine/model_all, succeeded",
        "zzz222": "yours/describe, nonzero_exit",
    }
    assert list(answers("jobs", "show", "z")) == ["zzz222"]
    assert list(answers("jobs", "show", "mi")) == ["mine/describe", "mine/model_all"]
    assert list(answers("jobs", "cancel", "")) == ["abcdef"]


def test_outputs_are_those_of_the_job_on_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    outputs = {"output/table.csv": "moderately_sensitive", "output/rows.csv": "highly_sensitive"}
    jobs = (make_job("abcdef", action="fit", outputs=outputs), make_job("abxyz2", action="draw", outputs={}))
    new_database(tmp_path, *jobs).close()
    for job in ("abcdef", "bcd", f"{jobs[0].workspace}/fit"):
        assert answers("jobs", "outputs", job, "") == {
            "output/rows.csv": "highly sensitive",
            "output/table.csv": "moderately sensitive",
        }
    assert answers("jobs", "outputs", "abcdef", "ta") == {"table.csv": "output/table.csv"}
    for several_none_or_unknown in ("ab", "abxyz2", "nobody"):
        assert answers("jobs", "outputs", several_none_or_unknown, "") == {}


def test_only_as_many_jobs_as_somebody_can_choose_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    new_database(tmp_path, *(make_job(f"job{number:05}", created_at=number) for number in range(500))).close()
    offered = list(answers("jobs", "show", ""))
    assert len(offered) == 100
    assert offered[0] == "job00499"


def test_workspaces_are_those_with_jobs_and_those_with_files(workdir: Path):
    (workdir / "high_privacy" / "workspaces" / "from-before").mkdir(parents=True)
    assert list(answers("workspaces", "show", "")) == ["from-before", "mine", "yours"]
    assert list(answers("workspaces", "archive", "mine", "")) == ["from-before", "yours"]


def test_archived_workspaces_are_offered_to_be_brought_back(workdir: Path):
    archives = workdir / "high_privacy" / "archives"
    archives.mkdir(parents=True)
    for name in ("old.tar.gz", "older.tar.zstd", ".old.moving", "notes.txt"):
        (archives / name).touch()
    assert list(answers("workspaces", "unarchive", "")) == ["old", "older"]


def test_actions_are_those_of_the_repository_at_the_commit_on_the_line(workdir: Path, study: StudyRepository):
    repo = str(study.path)
    assert list(answers("add-job", repo, "")) == ["run_all", "summarise", "model_all"]
    assert answers("add-job", repo, "mo") == {"model_all": "python:v2 python model.py"}
    for words in (["--commit", "first"], ["--commit=first"], ["--branch", "trial"], ["--commit", "HEAD~1"]):
        assert "describe" in answers("add-job", *words, repo, "summarise", "")
    assert list(answers("add-job", repo, "summarise", "s")) == []


def test_uncommitted_actions_are_not_offered(workdir: Path, study: StudyRepository):
    study.project("version: '4'\nactions:\n  draft:\n    run: python:v2 x\n")
    assert "draft" not in answers("add-job", str(study.path), "")


def test_branches_and_tags_of_the_repository_are_offered(workdir: Path, study: StudyRepository):
    assert set(answers("add-job", str(study.path), "run_all", "--commit", "")) == {"main", "trial", "first"}
    assert set(answers("add-job", str(study.path), "run_all", "--branch", "")) == {"main", "trial"}


def test_nothing_that_a_repository_configures_is_run(workdir: Path, study: StudyRepository, tmp_path: Path):
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{tmp_path}/sprung'\n")
    trap.chmod(0o755)
    for name in ("core.fsmonitor", "core.pager", "core.sshCommand", "alias.cat-file"):
        study.git("config", name, str(trap))
    assert "summarise" in answers("add-job", str(study.path), "")
    assert not (tmp_path / "sprung").exists()


def test_actions_of_a_repository_elsewhere_are_those_that_ran_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    url = "https://localhost:9/a-study"
    new_database(
        tmp_path, make_job("job1", repo_url=url, action="one"), make_job("job2", repo_url="/else", action="two")
    ).close()
    assert list(answers("add-job", f"{url}/", "")) == ["run_all", "one"]


def test_images_are_those_that_jobs_ran_in_where_no_engine_answers(workdir: Path):
    host = f"unix://{workdir}/no.sock"
    assert list(answers("images", "pull", "pyth", EXECUTOR="docker", DOCKER_HOST=host)) == ["python:v2"]


@pytest.mark.engine
def test_images_of_the_engine_are_offered(workdir: Path):
    here = {image["name"] for image in json.loads(jobrunner("images", "ls", "--json", EXECUTOR="docker").stdout)}
    offered = answers("images", "pull", "", EXECUTOR="docker")
    assert here <= {f"ghcr.io/opensafely-core/{name}" for name, text in offered.items() if text == "on this machine"}


def test_requests_and_databases_are_offered(workdir: Path):
    (request,) = answers("jobs", "ls", "--request", "")
    assert request
    offered = answers("add-job", ".", "x", "--database", "", DEFAULT_DATABASE_URL="mssql://u:secret@host/db")
    assert list(offered) == ["dummy", "default"]
    assert "secret" not in "".join(offered.values())


# Nothing to say.

ASKING = [
    ["jobs", "show", ""],
    ["workspaces", "show", ""],
    ["workspaces", "unarchive", ""],
    ["jobs", "ls", "--request", ""],
    ["add-job", "https://example.org/x", "y"],
    ["add-job", "/no/such/place", "y"],
    ["add-job", "\x00", "y"],
]


@pytest.mark.parametrize("words", ASKING[:-1], ids=" ".join)
def test_without_a_database_there_is_no_answer_and_nothing_is_made(words: list[str], tmp_path: Path):
    assert answers(*words, WORKDIR=str(tmp_path / "work"), EXECUTOR="process") == {}
    assert list(tmp_path.iterdir()) == []


def test_malformed_settings_and_what_is_no_database_give_no_answer(workdir: Path):
    assert answers("jobs", "show", "", MAX_WORKERS="many") == {}
    (workdir / "db.sqlite").write_bytes(b"no database at all" * 1000)
    assert answers("jobs", "show", "") == {}


def test_database_of_an_older_version_answers_and_stays_as_it_is(tmp_path: Path):
    path = tmp_path / "db.sqlite"
    older_database(path, 1, [{"id": "old1", "state": "succeeded", "workspace": "w", "action": "a", "created_at": 1}])
    assert answers("jobs", "show", "", WORKDIR=str(tmp_path)) == {"old1": "w/a, succeeded"}
    with closing(sqlite3.connect(path)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (1,)


def test_names_that_would_break_the_line_are_left_out(tmp_path: Path):
    jobs = [make_job("job1", workspace="a\nb"), make_job("job2", workspace="c\x1b[31m", action="d\te")]
    new_database(tmp_path, *jobs).close()
    assert answers("workspaces", "show", "", WORKDIR=str(tmp_path)) == {}
    assert answers("jobs", "show", "job2", WORKDIR=str(tmp_path)) == {"job2": "c [31m/d e, created"}


@pytest.mark.parametrize("words", [[], ["bash"], ["bash", "x"], ["zsh"], ["no-shell", "x"], ["bash", "x 'y", "", "9"]])
def test_scripts_that_ask_wrongly_get_no_mistake_to_show(words: list[str], workdir: Path):
    done = jobrunner("__complete", *words)
    assert done.stderr == ""


# bash.


@pytest.mark.parametrize(
    ("line", "kind", "replies"),
    [
        ("jobrunner jobs show abc", "9", ["abcdef"]),
        ("jobrunner jobs show ab", "9", ["abcdef", "abxyz2"]),
        ("jobrunner jobs show ab", "63", ["abcdef  (mine/describe, executing)", "abxyz2  (mine/model_all, succeeded)"]),
        ("jobrunner images pull python:v", "9", ["v2"]),
        ("jobrunner images pull 'python:v", "9", ["python:v2"]),
        ("jobrunner jobs ls --workspace=m", "9", ["mine"]),
        ("jobrunner workspaces show two", "9", ["two\\ words"]),
        ("jobrunner workspaces show two\\ w", "9", ["two\\ words"]),
        ('jobrunner workspaces show "two w', "9", ["two words"]),
    ],
)
def test_bash_gets_what_it_puts_into_the_line(line: str, kind: str, replies: list[str], workdir: Path):
    (workdir / "high_privacy" / "workspaces" / "two words").mkdir(parents=True)
    done = jobrunner("__complete", "bash", line, " \t\n\"'@><=;|&(:", kind)
    assert done.stdout.splitlines() == ["words", *replies]


# Starting.


@pytest.mark.parametrize("words", [[""], ["jobs", "ls", "--"], ["run", ""]], ids=" ".join)
def test_answers_from_the_tree_import_next_to_nothing(words: list[str], workdir: Path):
    modules = imported_by(*words)
    assert modules & (HEAVY | {"sqlite3", "dataclasses", "pathlib", "subprocess"}) == set()
    assert {name for name in modules if name.startswith("jobrunner_cli.")} == {
        "jobrunner_cli.completion",
        "jobrunner_cli.completion_scripts",
        "jobrunner_cli.__main__",
    }


def test_answers_from_the_data_import_nothing_heavy(workdir: Path, study: StudyRepository):
    for words in (["jobs", "show", ""], ["workspaces", "show", ""], ["add-job", str(study.path), ""]):
        modules = imported_by(*words)
        assert modules & (HEAVY | {"jobrunner_cli.engine.store.models", "jobrunner_cli.engine.work"}) == set()
