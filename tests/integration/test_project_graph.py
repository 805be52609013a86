"""`jobrunner project graph`: whose project.yaml is drawn, in which form, and what it says of a workspace's jobs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from jobrunner_cli.engine.states import StatusCode
from support.graphs import edges_of, edges_seen, family
from support.repositories import StudyRepository
from support.store import make_job, new_database
from support.studies import action, change_study, make_study
from support.terminal import jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.slow

NEEDS = {"extract": [], "count": ["extract"], "listing": ["extract"], "report": ["count", "listing", "extract"]}


def actions_of(needs: dict[str, list[str]]) -> dict[str, object]:
    return {name: action(f"python:v2 {name}", f"out/{name}.csv", needs=wanted) for name, wanted in needs.items()}


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return make_study(tmp_path / "study", actions_of(NEEDS))  # type: ignore[arg-type]


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs of workspace `test`: two of `count`, of which the first succeeded and the other one was cancelled."""
    monkeypatch.setenv("WORKDIR", str(tmp_path / "workdir"))
    at = 1_700_000_000
    new_database(
        tmp_path / "workdir",
        make_job("extract000000000", StatusCode.SUCCEEDED, action="extract", workspace="test"),
        make_job("count00000000000", StatusCode.SUCCEEDED, action="count", workspace="test", created_at=at),
        make_job(
            "count00000000001", StatusCode.CANCELLED_BY_USER, action="count", workspace="test", created_at=at + 9,
            cancelled=True,
        ),
        make_job("listing000000000", StatusCode.WAITING_PAUSED, action="listing", workspace="test"),
        make_job("report0000000000", StatusCode.EXECUTING, action="report", workspace="other"),
        make_job("reporting0000000", StatusCode.SUCCEEDED, action="report", workspace="test", run_command=None),
    ).close()  # fmt: skip


# Whose project.yaml.


def test_file_is_read_as_it_lies_in_the_current_directory(study: StudyRepository, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(study.path)
    study.project("version: 4\nactions: {not_committed: {run: 'python:v2 x', outputs: {highly_sensitive: {a: b.csv}}}}")
    done = jobrunner("project", "graph")
    assert done.stderr == ""
    assert "│ not_committed │" in done.stdout
    assert "extract" not in done.stdout


def test_file_goes_by_its_name_and_by_stdin(study: StudyRepository, monkeypatch: pytest.MonkeyPatch):
    (study.path / "project.yaml").rename(study.path / "other.yml")
    named = jobrunner("project", "graph", str(study.path / "other.yml")).stdout
    assert edges_seen(named.splitlines(), list(NEEDS)) == edges_of(NEEDS)
    with (study.path / "other.yml").open("rb") as file:
        piped = subprocess.run(
            [sys.executable, "-m", "jobrunner_cli", "project", "graph", "-"],
            stdin=file,
            capture_output=True,
            check=True,
        )
    assert edges_seen(piped.stdout.decode().splitlines(), list(NEEDS)) == edges_of(NEEDS)


def test_directory_that_is_no_repository_will_do(tmp_path: Path, study: StudyRepository):
    (tmp_path / "plain").mkdir()
    (study.path / "project.yaml").rename(tmp_path / "plain/project.yaml")
    done = jobrunner("project", "graph", str(tmp_path / "plain"))
    assert edges_seen(done.stdout.splitlines(), list(NEEDS)) == edges_of(NEEDS)


def test_with_a_commit_the_file_of_that_commit_is_drawn(
    study: StudyRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORKDIR", str(tmp_path / "workdir"))
    first = study.git("rev-parse", "HEAD")
    change_study(study, actions_of({"other": []}))  # type: ignore[arg-type]
    (study.path / "project.yaml").unlink()
    for name in (first, first[:9], "HEAD~1"):
        assert "│ extract │" in jobrunner("project", "graph", str(study.path), "--commit", name).stdout
    assert "│ other │" in jobrunner("project", "graph", str(study.path), "--commit", "main").stdout
    done = jobrunner("project", "graph", str(study.path), "--commit", "absent", code=4)
    assert f"{study.path} has no branch, tag or commit absent" in done.stderr


def test_nothing_but_the_picture_is_made(study: StudyRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WORKDIR", str(tmp_path / "workdir"))
    jobrunner("project", "graph", str(study.path), "--format", "svg")
    assert not (tmp_path / "workdir").exists()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 4, "there is no file nowhere"),
        ([".git"], 4, "there is no file .git/project.yaml"),
        (["project.yaml", "--commit", "main"], 2, "--commit is about a repository, not about a file"),
        (["https://github.com/opensafely/study"], 2, "is no directory of this machine\n  hint: name a branch"),
        (["nowhere", "--commit", "main"], 4, "There is no directory "),
        ([".", "--format", "gif"], 2, "'gif' is not one of "),
        ([".", "--workspace", "test"], 3, "hint: "),
        ([".", "--workspace", "../up"], 2, 'workspace "../up" is not a name of letters'),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_line(
    study: StudyRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, message: str
):
    monkeypatch.setenv("WORKDIR", str(tmp_path / "workdir"))
    monkeypatch.chdir(study.path)
    done = jobrunner("project", "graph", *words, code=code)
    assert done.stdout == ""
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_file_with_mistakes_is_not_drawn_and_all_are_named(study: StudyRepository):
    study.project("version: 4\nactions:\n  a: {run: 'python:v2 x', outputs: {}, needs: [b]}\n  b: {needs: [a]}\n")
    done = jobrunner("project", "graph", str(study.path), code=1)
    assert done.stdout == ""
    assert "action a" in done.stderr
    assert "action b" in done.stderr


def test_study_without_actions_is_told_so(study: StudyRepository):
    study.project("version: 4\nactions: {}\n")
    for shape in ("text", "list", "svg", "dot", "mermaid"):
        assert "no actions yet" in jobrunner("project", "graph", str(study.path), "--format", shape).stderr


# On terminals and in pipes.


def test_drawing_fits_the_terminal_or_becomes_a_list(study: StudyRepository):
    for columns in (120, 80, 40, 27):
        text = without_colours(on_terminal("project", "graph", str(study.path), columns=columns))
        assert max(map(len, text.splitlines())) <= columns
        assert edges_seen(text.splitlines(), list(NEEDS)) == edges_of(NEEDS)
    text = without_colours(on_terminal("project", "graph", str(study.path), columns=20))
    assert text.splitlines() == ["extract", "├─ count", "│  └─ report  ← lis…", "└─ listing"]


def test_large_study_stays_readable_on_every_terminal(tmp_path: Path):
    needs = family()
    study = make_study(tmp_path / "large", actions_of(needs))  # type: ignore[arg-type]
    drawn = without_colours(on_terminal("project", "graph", str(study.path), columns=120)).splitlines()
    assert edges_seen(drawn, list(needs)) == edges_of(needs)
    for columns in (40, 30):
        listed = without_colours(on_terminal("project", "graph", str(study.path), columns=columns)).splitlines()
        assert len(listed) == len(needs)
        assert max(map(len, listed)) <= columns


def test_pipe_gets_no_colours_and_a_list_is_whole_there(study: StudyRepository, jobs: None):
    done = jobrunner("project", "graph", str(study.path), "--workspace", "test")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    narrow = jobrunner("project", "graph", str(study.path), COLUMNS="15").stdout
    assert narrow == jobrunner("project", "graph", str(study.path), "--format", "list").stdout
    assert "│  └─ report  ← listing, extract\n" in narrow


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
def test_terminal_without_colours_gets_none(study: StudyRepository, jobs: None, variable: str):
    words = ("project", "graph", str(study.path), "--workspace", "test")
    assert "\x1b[" in on_terminal(*words, columns=80)
    assert "\x1b[" not in on_terminal(*words, columns=80, **{variable: {"NO_COLOR": "1", "TERM": "dumb"}[variable]})


@pytest.mark.parametrize(
    "variables", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_ascii_is_enough_where_there_is_no_more(study: StudyRepository, jobs: None, variables: dict[str, str]):
    for shape in ("text", "list"):
        words = ("project", "graph", str(study.path), "--workspace", "test", "--format", shape)
        shown = jobrunner(*words, **variables).stdout
        assert shown.isascii()
        assert "\\u" not in shown
        assert "+ extract" in shown or "+ succeeded" in shown
    assert "+---------" in jobrunner("project", "graph", str(study.path), **variables).stdout


# The states of jobs.


def test_each_action_is_shown_with_the_state_of_its_latest_job(study: StudyRepository, jobs: None):
    shown = jobrunner("project", "graph", str(study.path), "--workspace", "test", "--format", "list").stdout
    assert shown.splitlines() == [
        "✔ extract  succeeded",
        "├─ ✘ count  cancelled by user",
        "│  └─ · report  no job yet  ← listing, extract",
        "└─ ◌ listing  paused",
    ]
    drawn = jobrunner("project", "graph", str(study.path), "--workspace", "test").stdout
    for text in ("✔ succeeded", "✘ cancelled by user", "◌ paused", "· no job yet"):
        assert f" {text} " in drawn
    coloured = on_terminal("project", "graph", str(study.path), "--workspace", "test", columns=80)
    for colour in ("32", "1;31", "33"):
        assert f"\x1b[{colour}m" in coloured


def test_workspace_without_jobs_is_told(study: StudyRepository, jobs: None):
    done = jobrunner("project", "graph", str(study.path), "--workspace", "tset")
    assert done.stderr == "Workspace tset has no jobs; jobrunner workspaces ls lists those that have.\n"
    assert "no job yet" in done.stdout
    assert jobrunner("project", "graph", str(study.path), "--workspace", "other").stderr == ""


def test_svg_has_the_colours_of_the_states(study: StudyRepository, jobs: None):
    picture = jobrunner("project", "graph", str(study.path), "--workspace", "test", "--format", "svg").stdout
    ElementTree.fromstring(picture)
    for colour in ("#00397a", "#b6093d", "#ffdf75"):
        assert f'fill="{colour}"' in picture


def test_json_has_stable_keys_with_and_without_a_workspace(study: StudyRepository, jobs: None):
    shown = json.loads(jobrunner("project", "graph", str(study.path), "--workspace", "test", "--format", "json").stdout)
    bare = json.loads(jobrunner("project", "graph", str(study.path), "--format", "json").stdout)
    assert set(shown) == set(bare) == {"workspace", "actions", "edges"}
    keys = {"action", "needs", "row", "run", "requires_db", "job", "state", "status_code"}
    assert all(set(entry) == keys for entry in (*shown["actions"], *bare["actions"]))
    assert {(edge["from"], edge["to"]) for edge in bare["edges"]} == edges_of(NEEDS)
    assert [(entry["action"], entry["row"], entry["job"], entry["state"]) for entry in shown["actions"]] == [
        ("extract", 0, "extract000000000", "succeeded"),
        ("count", 1, "count00000000001", "failed"),
        ("listing", 1, "listing000000000", "pending"),
        ("report", 2, None, None),
    ]
    assert {entry["status_code"] for entry in bare["actions"]} == {None}
