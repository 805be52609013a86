"""What all commands have in common: help, mistakes, exit codes, streams, and what a start imports."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.main import get_command

from jobrunner_cli.cli import app
from support.store import make_job, new_database, older_database
from support.terminal import PATIENCE, jobrunner, on_terminal

pytestmark = pytest.mark.slow


def paths(command: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command, and of every group."""
    below = getattr(command, "commands", {})
    return [path, *(found for name, child in below.items() for found in paths(child, (*path, name)))]


PATHS = paths(get_command(app))
EVERY = pytest.mark.parametrize("path", PATHS, ids=lambda path: " ".join(path) or "jobrunner")


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A work directory without a database."""
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    monkeypatch.setenv("EXECUTOR", "process")
    return tmp_path


# Help.


@EVERY
def test_help_has_examples_of_what_there_is(path: tuple[str, ...]):
    done = jobrunner(*path, "--help")
    assert done.stderr == ""
    assert done.stdout.startswith(f"Usage: jobrunner {' '.join(path)}".strip())
    examples = [
        shlex.split(line.partition("  ")[0].partition(" | ")[0])
        for line in map(str.strip, done.stdout.partition("Examples:")[2].partition("\n\n")[0].splitlines())
        if line
    ]
    assert examples
    for words in examples:
        called = words[words.index("jobrunner") + 1 :]
        names = max((known for known in PATHS if tuple(called[: len(known)]) == known), key=len)
        assert names[: len(path)] == path
        help_text = jobrunner(*names, "--help").stdout
        assert [word for word in called if word.startswith("-") and f"{word} " not in help_text] == []


@EVERY
def test_help_fits_a_narrow_terminal_and_cuts_no_word(path: tuple[str, ...]):
    text = on_terminal(*path, "-h", columns=60)
    commands = text.partition("\nCommands:")[2]
    assert "..." not in commands
    prose = text.partition("Examples:")[0].splitlines()
    assert max(map(len, prose)) <= 60


@pytest.mark.parametrize("path", [(), ("jobs",), ("images",)], ids=str)
def test_group_without_a_command_shows_its_help_as_a_mistake(path: tuple[str, ...]):
    done = jobrunner(*path, code=2)
    assert done.stdout == ""
    assert done.stderr == jobrunner(*path, "--help").stdout


def test_version_is_that_of_the_package():
    assert jobrunner("--version").stdout == f"jobrunner {version('jobrunner-cli')}\n"


# Mistakes.


@pytest.mark.parametrize(
    ("words", "wrong", "help_of"),
    [
        (["jbos"], "no such command 'jbos'. Did you mean 'jobs'?", "jobrunner"),
        (["jobs", "lst"], "no such command 'lst'. Did you mean 'ls'?", "jobrunner jobs"),
        (["nonsense"], "no such command 'nonsense'", "jobrunner"),
        (["--nonsense"], "no such option: --nonsense", "jobrunner"),
        (["jobs", "ls", "--jsn"], "no such option: --jsn (Possible options: --json, --since)", "jobrunner jobs ls"),
        (["jobs", "show"], "missing argument 'JOB'", "jobrunner jobs show"),
        (["add-job"], "missing argument 'REPO'", "jobrunner add-job"),
        (["add-job", "study"], "missing argument 'ACTION…'", "jobrunner add-job"),
        (["run", "surplus"], "got unexpected extra argument(s) (surplus)", "jobrunner run"),
        (["jobs", "ls", "--workspace"], "option '--workspace' requires an argument", "jobrunner jobs ls"),
        (["jobs", "ls", "--limit", "many"], "'many' is not a whole number from 1 to 999999999", "jobrunner jobs ls"),
        (["jobs", "ls", "--limit", "0"], "'0' is not a whole number from 1 to 999999999", "jobrunner jobs ls"),
        (["jobs", "ls", "--limit=-1"], "'-1' is not a whole number from 1 to 999999999", "jobrunner jobs ls"),
        (["jobs", "ls", "--limit", "²"], "'²' is not a whole number from 1 to 999999999", "jobrunner jobs ls"),
        (["jobs", "ls", "--limit", "9" * 30], "is not a whole number from 1 to 999999999", "jobrunner jobs ls"),
        (["migrate", "--dbpath"], "option '--dbpath' requires an argument", "jobrunner migrate"),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, list) else "",
)
def test_mistake_is_one_line_and_a_hint(words: list[str], wrong: str, help_of: str, workdir: Path):
    done = jobrunner(*words, code=2)
    assert done.stdout == ""
    said, hint = done.stderr.splitlines()
    assert said.startswith("jobrunner: ")
    assert wrong in said
    assert hint == f"  hint: {help_of} --help shows how it is used"


NEEDING_A_DATABASE = [
    ["add-job", "study", "run_all"],
    ["add-job", "study", "run_all", "--dry-run"],
    ["run"],
    ["run", "--until-idle"],
    ["jobs", "ls"],
    ["jobs", "ls", "--json"],
    ["jobs", "show", "a"],
    ["jobs", "logs", "a"],
    ["jobs", "cancel", "a"],
    ["jobs", "kill", "a"],
]


@pytest.mark.parametrize("words", NEEDING_A_DATABASE, ids=" ".join)
def test_without_a_database_the_command_that_makes_it_is_named(words: list[str], workdir: Path):
    done = jobrunner(*words, code=3)
    assert done.stdout == ""
    assert done.stderr.splitlines()[-2:] == [
        f"jobrunner: there is no database {workdir / 'db.sqlite'} yet",
        "  hint: make it with: jobrunner migrate",
    ]
    assert not (workdir / "db.sqlite").exists()


@pytest.mark.parametrize("words", NEEDING_A_DATABASE, ids=" ".join)
def test_older_database_is_left_alone_and_the_upgrade_is_named(words: list[str], workdir: Path):
    older_database(workdir / "db.sqlite", 3, [])
    done = jobrunner(*words, code=3)
    assert "is at level 3" in done.stderr
    assert done.stderr.splitlines()[-1] == "  hint: upgrade it with: jobrunner migrate"


def test_migrate_makes_the_database_upgrades_it_and_leaves_a_good_one_alone(workdir: Path):
    assert jobrunner("migrate").stdout.startswith(f"Made the database {workdir / 'db.sqlite'} at level ")
    assert "is up to date" in jobrunner("migrate").stdout
    other = workdir / "other" / "jobs.sqlite"
    other.parent.mkdir()
    older_database(other, 2, [])
    told = json.loads(jobrunner("migrate", "--dbpath", str(other), "--json").stdout)
    assert set(told) == {"database", "created", "from_level", "to_level", "backup"}
    assert (told["created"], told["from_level"]) == (False, 2)
    assert Path(told["backup"]).is_file()
    with closing(sqlite3.connect(other)) as conn:
        assert conn.execute("PRAGMA user_version").fetchone() == (told["to_level"],)


@pytest.mark.parametrize("words", [*NEEDING_A_DATABASE, ["migrate"], ["config"], ["images", "ls"]], ids=" ".join)
def test_malformed_settings_are_all_named_before_anything_happens(words: list[str], workdir: Path):
    done = jobrunner(*words, code=3, MAX_WORKERS="many", EXECUTOR="magic")
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "jobrunner: MAX_WORKERS (from environment): 'many' is not a whole number, 1 or more",
        "EXECUTOR (from environment): 'magic' is not one of docker, process",
        "  hint: an empty value means the default",
    ]
    assert list(workdir.iterdir()) == []


@pytest.mark.parametrize("line", ["jobs show x", "jobs show x/y", "workspaces show x", "jobs ls --workspace x"])
def test_name_that_is_not_text_is_a_mistake(line: str, workdir: Path):
    jobrunner("migrate")
    told = jobrunner(*f"{line}\udcff".split(), code=2).stderr.splitlines()
    assert told[0].endswith("\\udcff' is not text")
    assert told[1].startswith("  hint: ")


@pytest.mark.parametrize(
    "words",
    [["images", "ls"], ["images", "pull", "python:v2"], ["run"], ["run", "--until-idle"], ["jobs", "logs", "job1"]],
    ids=" ".join,
)
def test_engine_that_does_not_answer_has_an_exit_code_of_its_own(words: list[str], workdir: Path):
    from jobrunner_cli.engine.states import StatusCode

    new_database(workdir, make_job("job1", StatusCode.EXECUTING, started_at=1_700_000_000)).close()
    done = jobrunner(*words, code=5, EXECUTOR="docker", DOCKER_HOST=f"unix://{workdir}/no.sock")
    said, hint = done.stderr.splitlines()
    assert said == f"jobrunner: Docker at unix://{workdir}/no.sock does not answer: no such file or directory"
    assert "DOCKER_HOST" in hint


def test_traceback_is_for_those_who_ask(workdir: Path):
    assert "Traceback" not in jobrunner("jobs", "ls", code=3).stderr
    assert "Traceback" in jobrunner("jobs", "ls", code=1, JOBRUNNER_TRACEBACK="1").stderr


def test_work_directory_that_cannot_be_made_is_named(workdir: Path):
    (workdir / "file").touch()
    done = jobrunner("migrate", code=3, WORKDIR=str(workdir / "file" / "below"))
    assert str(workdir / "file" / "below") in done.stderr
    assert "Traceback" not in done.stderr


# Streams.


@pytest.fixture
def many_jobs(workdir: Path) -> Path:
    new_database(workdir, *(make_job(f"job{number:05}", status_message="ä" * 200) for number in range(1000))).close()
    return workdir


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_reader_that_has_seen_enough_ends_a_listing_quietly(many_jobs: Path, form: list[str]):
    command = [sys.executable, "-m", "jobrunner_cli", "jobs", "ls", "--limit", "1000", *form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE) == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_nothing_to_stumble_over(many_jobs: Path, closed: str):
    command = f"{shlex.quote(sys.executable)} -m jobrunner_cli jobs ls {closed}"
    assert subprocess.run(["sh", "-c", command], capture_output=True).returncode == 0


def test_full_disk_under_the_output_is_said(many_jobs: Path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "jobrunner_cli", "jobs", "ls", "--limit", "1000"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "jobrunner: no space left on device"


def test_streams_that_are_not_unicode_get_escapes(workdir: Path):
    new_database(workdir, make_job(workspace="wörk")).close()
    assert "w\\xf6rk" in jobrunner("jobs", "ls", PYTHONIOENCODING="ascii").stdout


def test_ctrl_c_ends_a_command_that_waits_with_its_exit_code(workdir: Path):
    new_database(workdir, make_job("job1")).close()
    command = [sys.executable, "-m", "jobrunner_cli", "jobs", "logs", "-f", "job1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "No runner is at work" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        assert process.stderr.read() == ""


# Starting.

HEAVY = {"rich", "textual", "docker", "requests", "urllib3", "yaml", "pydantic", "asyncio", "dotenv"}

RUNNER = """
import atexit, json, sys
def report():
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules} | set(sys.modules))), file=sys.stderr)
atexit.register(report)
sys.argv = ["jobrunner", *sys.argv[1:]]
from jobrunner_cli.cli import main
main()
"""


def imported_by(*words: str, **environment: str) -> tuple[set[str], str]:
    """Every module that a command has imported at its end, and what it wrote."""
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, *words], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.splitlines()[-1])), done.stdout


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--version"], ["jobs", "--help"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]):
    modules, _ = imported_by(*words)
    assert modules & (HEAVY | {"sqlite3", "platformdirs"}) == set()
    own = {name for name in modules if name.startswith("jobrunner_cli.")}
    assert own <= {
        "jobrunner_cli.cli",
        "jobrunner_cli.diagnostics",
        "jobrunner_cli.commands",
        "jobrunner_cli.commands.groups",
        "jobrunner_cli.commands.jobs",
        "jobrunner_cli.engine",
        "jobrunner_cli.engine.errors",
    }


@pytest.mark.parametrize("path", [path for path in PATHS if path], ids=" ".join)
def test_help_of_a_command_imports_nothing_heavy(path: tuple[str, ...]):
    modules, _ = imported_by(*path, "--help")
    assert modules & (HEAVY | {"sqlite3"}) == set()


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["text", "json"])
def test_listing_jobs_imports_neither_terminal_nor_engine_libraries(form: list[str], workdir: Path):
    new_database(workdir, make_job("job1", status_message="ä")).close()
    modules, written = imported_by("jobs", "ls", *form)
    assert "job1" in written
    assert "sqlite3" in modules
    assert modules & HEAVY == set()
    assert "jobrunner_cli.engine.work" not in modules
