"""`jobs ls` with filters, again and again, and in a form of one's own; `why`, `outputs`, `wait` and logs of several jobs."""

from __future__ import annotations

import calendar
import contextlib
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.mapper import insert
from support.runners import WorkDirectory
from support.store import make_job, new_database
from support.studies import action, make_study
from support.terminal import jobrunner, on_terminal

pytestmark = pytest.mark.slow

HOUR = 3600


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    monkeypatch.setenv("EXECUTOR", "process")
    now = int(time.time())
    conn = new_database(
        tmp_path,
        make_job("running", StatusCode.EXECUTING, created_at=now - HOUR, started_at=now - HOUR, requires_db=True,
                 database_name="default", status_code_updated_at=(now - HOUR) * 10**9),
        make_job("paused", StatusCode.WAITING_PAUSED, created_at=now - 2 * HOUR, action="other"),
        make_job("failed", StatusCode.NONZERO_EXIT, created_at=now - 3 * HOUR, job_request_id="req2",
                 started_at=now - 3 * HOUR, completed_at=now - 3 * HOUR + 90),
        make_job("killed", StatusCode.KILLED_BY_ADMIN, created_at=now - 4 * HOUR, workspace="elsewhere"),
        make_job("done", StatusCode.SUCCEEDED, created_at=now - 50 * HOUR,
                 started_at=now - 50 * HOUR, completed_at=now - 50 * HOUR + 5400),
    )  # fmt: skip
    yield conn
    conn.close()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "running paused failed killed done"),
        (["--failed"], "failed killed"),
        (["--active"], "running paused"),
        (["--failed", "--active"], "running paused failed killed"),
        (["--state", "executing"], "running"),
        (["--state", "pending", "--state", "killed_by_admin"], "paused killed"),
        (["--state", "FAILED", "--workspace", "elsewhere"], "killed"),
        (["--action", "other"], "paused"),
        (["--request", "req2"], "failed"),
        (["--since", "150m"], "running paused"),
        (["--since", "2d"], "running paused failed killed"),
        (["--since", "2001-01-01", "--limit", "3"], "running paused failed"),
        (["--all", "--limit", "1"], "running paused failed killed done"),
    ],
    ids=str,
)
def test_listing_is_filtered(table: Connection, words: list[str], expected: str):
    assert jobrunner("jobs", "ls", *words, "--format", "{id}").stdout.split() == expected.split()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--state", "bad"], "there is no state 'bad'"),
        (["--since", "yesterday"], "'yesterday' is neither an age"),
        (["--format", "{nope}"], "--format knows no {nope}"),
        (["--format", "{id.__class__}"], "--format knows no {id.__class__}"),
        (["--format", "{id!r}"], "--format knows no {id!r}"),
        (["--format", "{"], "--format '{' cannot be read"),
    ],
    ids=str,
)
def test_words_that_mean_nothing_are_refused(table: Connection, words: list[str], said: str):
    assert said in jobrunner("jobs", "ls", *words, code=2).stderr


def test_columns_appear_when_some_row_needs_them(table: Connection):
    assert jobrunner("jobs", "ls").stdout.splitlines()[0].endswith(" DB")
    assert " DB" not in jobrunner("jobs", "ls", "--failed").stdout.splitlines()[0]
    exact = jobrunner("jobs", "ls", "--utc").stdout.splitlines()
    assert exact[0].split()[:7] == ["ID", "WORKSPACE", "ACTION", "STATE", "CREATED", "STARTED", "ENDED"]
    assert exact[-1].count("Z") == 3


def test_form_of_ones_own_is_filled_in(table: Connection):
    form = r"{{{id}}}\t{requires_db}|{completed_at}|{needs}"
    assert jobrunner("jobs", "ls", "--active", "--format", form).stdout == "{running}\ttrue||\n{paused}\tfalse||\n"


class Watching:
    """`jobs ls --watch` with its output in a pipe."""

    def __init__(self, *words: str) -> None:
        command = [sys.executable, "-m", "jobrunner_cli", "jobs", "ls", "--watch", *words]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def next(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def end(self) -> int:
        self.process.send_signal(2)
        self.process.communicate()
        return self.process.returncode


def test_watching_in_a_pipe_is_a_line_for_each_change(table: Connection):
    watching = Watching("--active")
    assert [watching.next()["id"] for _ in range(2)] == ["paused", "running"]
    running = make_job("running", StatusCode.EXECUTING)
    # A sign of life is no change.
    table.execute("UPDATE job SET updated_at = updated_at + 60 WHERE id = 'running'")
    changes.advance(
        table, running, (StatusCode.KILLED_BY_ADMIN,), now_ns=time.time_ns(), message="Killed", cause="kill"
    )
    ended = watching.next()
    assert (ended["id"], ended["state"], ended["status_message"]) == ("running", "failed", "Killed")
    assert watching.end() == 130


def test_watching_for_a_request_by_part_of_its_id_finds_it_when_it_comes(table: Connection):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobrunner_cli", "jobs", "ls", "--watch", "--request", "cx4"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""

    def until_seen(what: bytes) -> None:
        nonlocal seen
        while what not in seen:
            seen += os.read(ours, 65536)

    until_seen(b"no job is like that")
    with table.transaction():
        table.execute("INSERT INTO job_request (id, original) VALUES ('abcx4yz', '{}')")
        insert(table, make_job("latecomer", job_request_id="abcx4yz"))
    until_seen(b"latecome")
    process.send_signal(2)
    with contextlib.suppress(OSError):  # nobody has the other end any more
        while os.read(ours, 65536):
            pass
    os.close(ours)
    assert process.wait(30) == 130


def test_watching_on_a_terminal_repaints_and_gives_the_screen_back(table: Connection):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "jobrunner_cli", "jobs", "ls", "--watch"]
    process = subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    seen = b""
    while seen.count(b"running") < 3:  # the table, twice at least: its clocks go on
        seen += os.read(ours, 65536)
    process.send_signal(2)
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # nobody has the other end any more
        pass
    os.close(ours)
    assert process.wait(30) == 130
    assert seen.startswith(b"\x1b[?1049h")
    assert seen.endswith(b"\x1b[?1049l")


def test_why_tells_what_a_running_job_does_and_why_an_ended_one_ended(table: Connection):
    running = jobrunner("jobs", "why", "running").stdout
    assert "it runs: the command runs, for 1h 00m; going by its last runs, about 29m" in running
    assert "no runner is at work" in running
    failed = json.loads(jobrunner("jobs", "why", "failed", "--json").stdout)
    assert failed["reasons"][0]["text"] == "it ended: the command exited with an error"
    assert "jobrunner jobs retry failed runs it anew" in failed["reasons"][0]["change"]
    assert (failed["cause"], failed["place"], failed["expected_start"]) == (None, None, None)


def test_why_tells_the_place_in_the_queue_and_about_when_it_starts(table: Connection, tmp_path: Path):
    now = time.time_ns()
    table.execute("UPDATE job SET status_code_updated_at = ? WHERE id = 'running'", (now - 1800 * 10**9,))
    for number in (1, 2):
        insert(
            table, make_job(f"queued{number}", StatusCode.WAITING_ON_WORKERS, created_at=now // 10**9 - 60 // number)
        )
    lock = RunnerLock(tmp_path / "runner.lock")
    lock.acquire(0.0)
    told = [
        json.loads(jobrunner("jobs", "why", f"queued{number}", "--json", MAX_WORKERS="1").stdout) for number in (1, 2)
    ]
    lock.release()
    assert [(why["place"], why["waiting"]) for why in told] == [(1, 2), (2, 2)]
    assert told[0]["cause"] == "running"
    assert "1 of 1 worker slots, and 1 is used by ws/describe" in told[0]["reasons"][0]["text"]
    # The last success took 90 minutes, and the one that runs has had 30 of them.
    for why, minutes in zip(told, (60, 150), strict=True):
        begins = calendar.timegm(time.strptime(why["expected_start"], "%Y-%m-%dT%H:%M:%SZ"))
        assert abs(begins - (now / 1e9 + minutes * 60)) < 60


def test_resources_that_were_sampled_are_shown(table: Connection, tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "metrics.sqlite")) as metrics, metrics:
        metrics.execute("CREATE TABLE jobs (id TEXT PRIMARY KEY, metrics TEXT)")
        samples = {"cpu_mean": 51.6, "cpu_peak": 99, "mem_mb_mean": 10.2, "mem_mb_peak": 20}
        metrics.execute("INSERT INTO jobs VALUES ('done', ?), ('failed', 'no json')", (json.dumps(samples),))
    shown = jobrunner("jobs", "show", "done").stdout
    assert "CPU: 52 % on average, 99 % at most" in shown
    assert "memory: 10 MiB on average, 20 MiB at most" in shown
    assert json.loads(jobrunner("jobs", "show", "failed", "--json").stdout)["resources"] is None


@pytest.fixture
def ended(workdir: WorkDirectory, tmp_path: Path) -> WorkDirectory:
    """Two jobs that have ended, the second one badly."""
    study = make_study(
        tmp_path / "study",
        {"good": action(workdir.command("echo one; echo 1 > a.csv; mkdir -p sub; echo 2 > sub/b.csv"), "*.csv",
                        high=["sub/*.csv"]),
         "bad": action(workdir.command("echo two; exit 3"), "bad.csv", needs=["good"]),
         "late": action(workdir.command("echo three"), "late.csv", needs=["bad"])},
    )  # fmt: skip
    workdir.add(study, "run_all")
    workdir.run(code=1)
    return workdir


def test_why_shows_what_a_job_printed_last_that_failed(ended: WorkDirectory, tmp_path: Path):
    lines = ended.cli("jobs", "why", "test/bad").stdout.splitlines()
    assert lines[0].startswith("✘ test/bad: nonzero exit, ")
    assert lines[0].endswith(" ago")
    assert lines[-2:] == ["  its log ends with", "    | two"]
    assert ended.cli("jobs", "why", "test/late").stdout.splitlines()[-2:] == ["  the log of bad ends with", "    | two"]
    assert "ends with" not in ended.cli("jobs", "why", "test/good").stdout
    command = ended.command("seq 1 9; head -c 400 /dev/zero | tr '\\0' x; echo; printf '\\033[2J\\twide\\n'; exit 1")
    study = make_study(tmp_path / "talkative", {"talkative": action(command, "none.csv")})
    ended.add(study, "talkative")
    ended.run(code=1)
    told = json.loads(ended.cli("jobs", "why", "test/talkative", "--json").stdout)["printed_last"]
    assert told[:3] == ["7", "8", "9"]
    assert told[3:] == [f"{'x' * 299}…", r"\x1b[2J wide"]


@pytest.mark.parametrize("follow", [[], ["-f"]], ids=["stored", "followed"])
def test_logs_of_several_jobs_are_one(ended: WorkDirectory, follow: list[str]):
    lines = ended.cli("jobs", "logs", *follow, "test/bad", "test/good").stdout.splitlines()
    assert {line[:6] for line in lines} == {"bad  |", "good |"}
    assert {"good | one", "bad  | two"} <= set(lines)
    if not follow:
        assert lines.index("good | one") < lines.index("bad  | two")


@pytest.mark.parametrize("follow", [[], ["-f"]], ids=["stored", "followed"])
def test_logs_as_json_say_of_each_line_whose_it_is_and_when_it_was_printed(ended: WorkDirectory, follow: list[str]):
    words = ("jobs", "logs", *follow, "--tail", "1", "--json")
    rows = [json.loads(line) for line in ended.cli(*words, "test/bad", "test/good").stdout.splitlines()]
    assert {frozenset(row) for row in rows} == {frozenset({"id", "workspace", "action", "at", "text"})}
    printed = [(row["action"], row["text"]) for row in rows if row["at"]]
    assert sorted(printed) == [("bad", "two"), ("good", "one")]
    assert all(re.fullmatch(r"[-0-9]{10}T[:0-9]{8}\.[0-9]+Z", row["at"]) for row in rows if row["at"])
    assert "exit_code: 3" in [row["text"] for row in rows if row["action"] == "bad" and row["at"] is None]


def test_outputs_are_listed_and_one_is_copied(ended: WorkDirectory, tmp_path: Path):
    rows = json.loads(ended.cli("jobs", "outputs", "test/good", "--json").stdout)
    assert [(row["path"], row["level"], row["size"], row["exists"]) for row in rows] == [
        ("a.csv", "moderately_sensitive", 2, True), ("sub/b.csv", "highly_sensitive", 2, True),
    ]  # fmt: skip
    assert rows[0]["released_file"] == str(ended.medium / "workspaces/test/a.csv")
    assert rows[1]["released_file"] is None
    place = ended.cli("jobs", "outputs", "test/good", "b.csv").stdout.strip()
    assert place == str(ended.high / "workspaces/test/sub/b.csv")

    copies = tmp_path / "copies"
    copies.mkdir()
    ended.cli("jobs", "outputs", "test/good", "b.csv", "--copy", str(copies))
    assert [path.name for path in copies.iterdir()] == ["b.csv"]
    assert (copies / "b.csv").read_text() == "2\n"
    assert (copies / "b.csv").stat().st_mode & 0o077 == 0
    (copies / "b.csv").write_text("mine")
    assert "exists" in ended.cli("jobs", "outputs", "test/good", "b.csv", "--copy", str(copies), code=2).stderr
    absent = ended.cli("jobs", "outputs", "test/good", "b.csv", "--copy", f"{copies}/absent/", code=2)
    assert "there is no directory" in absent.stderr
    assert (copies / "b.csv").read_text() == "mine"
    assert "no output 'c.csv'" in ended.cli("jobs", "outputs", "test/good", "c.csv", code=4).stderr
    assert "--copy and --open are for one" in ended.cli("jobs", "outputs", "test/good", "--open", code=2).stderr
    Path(place).unlink()
    assert "gone" in ended.cli("jobs", "outputs", "test/good", "b.csv", code=4).stderr


def test_an_output_is_opened_in_the_pager_on_a_terminal(ended: WorkDirectory):
    words = ("jobs", "outputs", "test/good", "b.csv", "--open")
    assert on_terminal(*words, columns=100, **{**ended.settings, "PAGER": "cat -n"}).split() == ["1", "2"]
    for pager, says in (("no-such-pager", "there is no program no-such-pager"), ("'", "PAGER is not a command")):
        assert says in on_terminal(*words, columns=100, code=2, **{**ended.settings, "PAGER": pager})


def test_waiting_tells_by_its_exit_code_how_the_jobs_ended(ended: WorkDirectory, tmp_path: Path):
    assert ended.cli("jobs", "wait", "test/good").stdout.endswith("test/good  succeeded\n")
    assert ended.cli("jobs", "wait", "test/good", "test/bad", code=1).stdout.count("\n") == 2
    study = make_study(tmp_path / "other", {"quick": action(ended.command("echo 1 > q.txt"), "q.txt")})
    job = ended.add(study, "quick")["quick"]
    assert json.loads(ended.cli("jobs", "wait", job, "--json").stdout)[0]["state"] == "succeeded"


def test_waiting_that_takes_too_long_names_what_is_awaited_and_why(workdir: WorkDirectory, tmp_path: Path):
    study = make_study(
        tmp_path / "study",
        {"long": action(workdir.command("while [ ! -e go ]; do sleep 0.2; done; echo 1 > a.txt"), "a.txt"),
         "after": action(workdir.command("cat a.txt > b.txt"), "b.txt", needs=["long"])},
    )  # fmt: skip
    ids = workdir.add(study, "run_all")
    # No runner is at work: this command is one until it is too late, and what it has started goes on.
    waited = workdir.cli("jobs", "wait", ids["long"], "--timeout", "5s", code=124)
    (line,) = [line for line in waited.stderr.splitlines() if line.startswith("Not over after 5s:")]
    assert f"test/long ({ids['long']}): it runs" in line
    assert workdir.codes()["long"] == "executing"
    command = workdir.start("run")
    workdir.wait_for_holder(command)
    waited = workdir.cli("jobs", "wait", "test/long", "test/after", "--timeout", "0.5", "--json", code=124)
    (line,) = [line for line in waited.stderr.splitlines() if line.startswith("Not over after 0.5s:")]
    assert f"test/after ({ids['after']}): it needs long ({ids['long']}), which is executing" in line
    assert [job["state"] for job in json.loads(waited.stdout)] == ["running", "pending"]
    workdir.let_go(ids["long"])
    workdir.cli("jobs", "wait", "test/after", "--timeout", "10m")


@pytest.mark.parametrize("text", ["0", "-3s", "soon", "3 weeks"])
def test_a_time_that_is_none_is_not_waited_for(ended: WorkDirectory, text: str):
    assert "a duration such as" in ended.cli("jobs", "wait", "test/good", f"--timeout={text}", code=2).stderr
