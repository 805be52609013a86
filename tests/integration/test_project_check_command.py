"""`jobrunner project check` and `project schema`: where the file is read from, what is written, and the exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobrunner_cli.output import display_width
from support.repositories import StudyRepository
from support.terminal import PATIENCE, jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.slow

SOUND = """\
version: "5.0"
actions:
  count:
    run: python:v2 python count.py
    outputs:
      moderately_sensitive:
        counts: output/counts.csv
"""
DOUBTFUL = SOUND.replace('"5.0"', "4")
BROKEN = """\
version: 4
actions:
  generate_dataset:
    run: ehrql:v1 generate-dataset d.py --output output/a.csv
    outputs:
      highly_sensitve:
        a: output/a.csv
  describe:
    run: python:v2 python describe.py
    needs: [generate_datset]
    outputs:
      moderately_sensitive:
        table: output/table.csv
"""
PROBLEMS = [
    (
        'project.yaml:6:7: error: action generate_dataset, outputs: the key "highly_sensitve" is not known here'
        ' (did you mean "highly_sensitive"?)'
    ),
    (
        'project.yaml:10:13: error: action describe, needs: "generate_datset" is not an action'
        ' (did you mean "generate_dataset"?)'
    ),
]
OLD = "project.yaml:1:10: warning: version: version 4 is old; 5 is current"


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyRepository:
    """A repository in the current directory: a broken file on branch `trial`, then one that is accepted on `main`."""
    repository = StudyRepository(tmp_path / "study")
    repository.project(BROKEN)
    repository.commit()
    repository.git("branch", "trial")
    repository.project(SOUND)
    repository.commit()
    monkeypatch.chdir(repository.path)
    return repository


def piped(content: bytes, *words: str, code: int) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner_cli", "project", "check", *words],
        input=content,
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == code, done.stderr
    return done.stdout.decode()


def test_the_working_tree_is_checked_committed_or_not(study: StudyRepository):
    assert jobrunner("project", "check").stdout == "accepted: 1 action\n"
    study.project(BROKEN)
    done = jobrunner("project", "check", code=1)
    assert done.stdout.splitlines() == [*PROBLEMS, OLD, "2 problems, 1 warning"]
    assert done.stderr == ""


def test_nothing_else_is_needed_to_check_a_file(study: StudyRepository):
    jobrunner("project", "check")
    assert sorted(path.name for path in study.path.iterdir()) == [".git", "project.yaml"]


def test_a_directory_and_a_file_go_by_their_names(study: StudyRepository, monkeypatch: pytest.MonkeyPatch):
    study.write({"other.yml": BROKEN})
    monkeypatch.chdir(study.path.parent)
    assert jobrunner("project", "check", "study").stdout == "accepted: 1 action\n"
    lines = jobrunner("project", "check", "study/other.yml", code=1).stdout.splitlines()
    assert lines[0] == PROBLEMS[0].replace("project.yaml", "study/other.yml")


@pytest.mark.parametrize("name", ["trial", "HEAD~1", "sha"])
def test_a_commit_goes_by_any_name_that_git_knows(study: StudyRepository, name: str):
    commit = study.git("rev-parse", "trial") if name == "sha" else name
    lines = jobrunner("project", "check", ".", "--commit", commit, code=1, WORKDIR="../work").stdout.splitlines()
    assert lines[0] == f"{commit}:{PROBLEMS[0]}"
    assert jobrunner("project", "check", "--commit", "main", WORKDIR="../work").stdout == "accepted: 1 action\n"


def test_warnings_leave_the_exit_code_alone(study: StudyRepository):
    study.project(DOUBTFUL)
    assert jobrunner("project", "check").stdout.splitlines() == [OLD, "accepted: 1 action, 1 warning"]


def test_standard_input():
    assert piped(SOUND.encode(), "-", code=0) == "accepted: 1 action\n"
    assert piped(BROKEN.encode(), "-", code=1).startswith("stdin:6:7: error: action generate_dataset")
    assert piped(b"", "-", code=1) == "stdin: error: the file is empty\n1 problem\n"
    assert "more than 1,048,576 bytes" in piped(b"#" * 5_000_000, "-", code=1)


def test_json_has_every_part(study: StudyRepository):
    study.project(BROKEN)
    found = json.loads(jobrunner("project", "check", "--json", code=1).stdout)
    assert found == {
        "file": "project.yaml",
        "ok": False,
        "version": None,
        "actions": None,
        "problems": [
            {
                "line": 6,
                "column": 7,
                "action": "generate_dataset",
                "key": "outputs",
                "value": '"highly_sensitve"',
                "message": 'the key "highly_sensitve" is not known here',
                "suggestion": "highly_sensitive",
            },
            {
                "line": 10,
                "column": 13,
                "action": "describe",
                "key": "needs",
                "value": '"generate_datset"',
                "message": '"generate_datset" is not an action',
                "suggestion": "generate_dataset",
            },
        ],
        "warnings": [
            {
                "line": 1,
                "column": 10,
                "action": None,
                "key": "version",
                "value": "4",
                "message": "version 4 is old; 5 is current",
                "suggestion": None,
            }
        ],
    }
    study.project(SOUND)
    found = json.loads(jobrunner("project", "check", "--format", "json").stdout)
    assert (found["ok"], found["version"], found["actions"]) == (True, 5.0, ["count"])
    assert found["problems"] == found["warnings"] == []


def test_annotations_for_code_hosts(study: StudyRepository):
    study.project(BROKEN)
    lines = jobrunner("project", "check", "--format", "github", code=1).stdout.splitlines()
    assert lines == [
        *(
            f"::error file=project.yaml,line={line},col={column}::{problem.partition('error: ')[2]}"
            for problem, line, column in zip(PROBLEMS, (6, 10), (7, 13), strict=True)
        ),
        "::warning file=project.yaml,line=1,col=10::version: version 4 is old; 5 is current",
    ]
    study.write({"a,b%.yaml": SOUND.replace("output/counts.csv", "output/100%/counts")})
    (line,) = jobrunner("project", "check", "a,b%.yaml", "--format", "github", code=1).stdout.splitlines()
    assert line.startswith("::error file=a%2Cb%25.yaml,line=7,col=17::action count")
    assert '"output/100%25/counts" must end' in line


def test_annotations_name_the_file_from_the_top_of_its_repository(
    study: StudyRepository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    study.write({"deep/er/multi.yaml": BROKEN})
    (tmp_path / "link").symlink_to(study.path / "deep")
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "multi.yaml").write_text(BROKEN)

    def named(what: str) -> str:
        lines = jobrunner("project", "check", what, "--format", "github", code=1).stdout.splitlines()
        return lines[0].partition("file=")[2].partition(",")[0]

    assert named(str(study.path / "deep/er/multi.yaml")) == "deep/er/multi.yaml"
    assert named(str(tmp_path / "link/er/multi.yaml")) == "deep/er/multi.yaml"
    assert named("deep/er/multi.yaml") == "deep/er/multi.yaml"
    monkeypatch.chdir(study.path / "deep")
    assert named("er/multi.yaml") == "deep/er/multi.yaml"
    study.project(BROKEN)
    assert named("..") == "project.yaml"
    assert named(str(plain / "multi.yaml")) == str(plain / "multi.yaml")


def test_annotations_of_what_is_no_file_are_about_project_yaml():
    line, _ = piped(BROKEN.encode(), "-", "--format", "github", code=1).split("\n", 1)
    assert line.startswith("::error file=project.yaml,line=6,col=7::")


def test_a_terminal_shows_the_lines(study: StudyRepository):
    study.project(BROKEN.replace("describe.py", "describe.py " + "x" * 200).replace("python:v2", "python:2"))
    lines = without_colours(on_terminal("project", "check", columns=60, code=1)).splitlines()
    assert lines[1:3] == ["    6 |       highly_sensitve:", "      |       ^"]
    at = next(number for number, line in enumerate(lines) if line.startswith("    9 | "))
    assert lines[at].startswith("    9 |     run: python:2 python describe.py xxx")
    assert len(lines[at]) == 60
    assert lines[at + 1] == "      |          ^"


def test_a_long_line_is_shown_where_the_problem_is(study: StudyRepository):
    study.project('{"version": 5, "actions": {"count": {"run": "python:v2 ' + "x" * 300 + '", "needs": [nothing]}}}')
    lines = without_colours(on_terminal("project", "check", columns=60, code=1)).splitlines()
    shown = next(number for number, line in enumerate(lines) if "nothing" in line and line.startswith("    1 | "))
    assert len(lines[shown]) <= 60
    assert lines[shown].index("nothing") == lines[shown + 1].index("^")


@pytest.mark.parametrize("filling", ["漢" * 100, "x" * 90_000, "漢" * 90_000])
def test_what_is_shown_of_a_line_has_the_problem_in_it(study: StudyRepository, filling: str):
    command = f'"run": "python:v2 {filling}"'
    study.project(
        f'{{"version": 5, "actions": {{"count": {{{command}, "needs": [nothing], "config": ["{filling}"]}}}}}}'
    )
    lines = without_colours(on_terminal("project", "check", columns=60, code=1)).splitlines()
    shown = next(number for number, line in enumerate(lines) if "nothing" in line and line.startswith("    1 | "))
    before = lines[shown].partition("nothing")[0]
    assert display_width(lines[shown]) <= 60
    assert lines[shown + 1] == "      | " + " " * (display_width(before) - len("    1 | ")) + "^"


def test_what_a_file_holds_cannot_reach_the_terminal(study: StudyRepository):
    study.project(SOUND.replace("output/counts.csv", '"output/\\e[31m" # \x9b31m'))
    written = on_terminal("project", "check", columns=100, code=1)
    assert "\x9b" not in written
    assert "\x1b[31m" not in written.replace("\x1b[1;31m", "")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["nowhere"], 4, "there is no file nowhere"),
        (["empty"], 4, "there is no file empty/project.yaml"),
        (["x" * 300], 4, "cannot be read: file name too long"),
        (["x" * 300, "--commit", "main"], 4, "There is no directory "),
        (["file:///tmp/study"], 2, "file:///tmp/study is neither a directory nor the https URL of a repository"),
        (["git@github.com:x/y", "--commit", "main"], 2, "this is neither a directory nor the https URL"),
        ([".", "--commit", "no-such-branch"], 4, "has no branch, tag or commit no-such-branch"),
        (["--commit", "bare"], 4, "There is no file project.yaml in commit"),
        (["project.yaml", "--commit", "main"], 2, "--commit is about a repository, not about a file"),
        (["-", "--commit", "main"], 2, "--commit is about a repository, not about a file"),
        (["https://github.com/opensafely/a-study"], 2, "is no directory of this machine"),
        (["--json", "--format", "github"], 2, "--json and --format github are two forms"),
        (["--format", "xml"], 2, "'xml' is not one of"),
    ],
)
def test_what_cannot_be_checked(study: StudyRepository, words: list[str], code: int, message: str):
    (study.path / "empty").mkdir()
    study.git("switch", "--quiet", "--orphan", "bare")
    study.git("commit", "--quiet", "--allow-empty", "--message", "Nothing")
    study.git("switch", "--quiet", "main")
    done = jobrunner("project", "check", *words, code=code, WORKDIR="../work")
    assert message in done.stderr
    assert done.stdout == ""


def test_the_error_of_a_request_names_the_command(study: StudyRepository):
    study.project(BROKEN)
    study.commit()
    jobrunner("migrate", WORKDIR="../work")
    done = jobrunner("add-job", ".", "run_all", code=1, WORKDIR="../work")
    assert "jobrunner project check" in done.stderr


def test_the_schema_is_printed():
    from jobrunner_cli.engine.study.schema import project_schema

    assert json.loads(jobrunner("project", "schema").stdout) == project_schema()
