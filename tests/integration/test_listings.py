"""`jobs ls`, `jobs show` and `jobs logs`: what they list, and how on a terminal, in a pipe and as JSON."""

from __future__ import annotations

import json
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.states import TABLE, StatusCode
from jobrunner_cli.engine.store.changes import advance, record_verdict
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.queries import job_by_id
from support.listing import at, jobs, listed, workdir
from support.store import make_job, make_outcome, new_database
from support.terminal import jobrunner

__all__ = ["jobs", "workdir"]

pytestmark = pytest.mark.slow

#: The keys of a job, as scripts rely on them.
JOB_KEYS = {
    "id", "job_request_id", "workspace", "action", "state", "status_code", "status_message", "repo_url", "commit",
    "run_command", "requires_db", "database_name", "needs", "wait_for", "created_at", "started_at", "completed_at",
    "updated_at",
}  # fmt: skip
MORE_KEYS = {
    "code_repo_url", "code_commit", "image_id", "restarts", "why", "hint", "exit_code", "dependencies", "outputs",
    "unmatched_patterns", "unmatched_outputs", "log", "kept", "outputs_directory", "history", "retry_of", "dependants",
    "resources", "asked",
}  # fmt: skip


# jobs ls.


def test_listing_in_a_pipe_is_plain_whole_and_without_trailing_blanks(jobs: Path):
    done = jobrunner("jobs", "ls")
    assert done.stderr == ""
    title, *lines = done.stdout.splitlines()
    assert title.split() == ["ID", "WORKSPACE", "ACTION", "STATE", "AGE", "TIME", "MESSAGE"]
    assert [line.split()[0] for line in lines] == [
        "running000000000", "waiting000000000", "failed0000000000", "succeeded0000000",
    ]  # fmt: skip
    assert all(line == line.rstrip() and "\x1b" not in line for line in [title, *lines])
    running, waiting, failed, succeeded = lines
    assert "waiting for a worker" in waiting
    assert "2h 01m  2h 00m" in running
    assert failed.endswith("is empty")
    assert succeeded.endswith("2h 01m  1m 15s")


def test_columns_that_no_job_fills_are_left_out(workdir: Path):
    new_database(workdir, make_job(status_message="Created")).close()
    assert jobrunner("jobs", "ls").stdout.splitlines()[0].split() == ["ID", "WORKSPACE", "ACTION", "STATE", "AGE"]


def test_json_of_a_listing_has_the_keys_that_scripts_rely_on(jobs: Path):
    found = listed()
    assert {frozenset(job) for job in found} == {frozenset(JOB_KEYS)}
    by_action = {job["action"]: job for job in found}
    assert by_action["run"]["state"] == "running"
    assert by_action["run"]["completed_at"] is None
    assert by_action["done"]["started_at"].endswith("Z")
    assert listed("--workspace", "nowhere") == []


def test_row_that_cannot_be_read_is_named_and_the_others_are_listed(jobs: Path):
    whole = listed()
    with closing(sqlite3.connect(jobs / "db.sqlite")) as conn:
        conn.execute("UPDATE job SET outputs = '{' WHERE id = ?", (whole[1]["id"],))
        conn.commit()
    done = jobrunner("jobs", "ls", "--json")
    assert json.loads(done.stdout) == [whole[0], *whole[2:]]
    assert done.stderr.startswith(f"Left out: the database has a damaged row in job, {whole[1]['id']}: column outputs")


def test_row_that_cannot_be_read_keeps_nobody_from_looking_at_anything_else(jobs: Path):
    running, waiting, *_ = listed()
    with closing(sqlite3.connect(jobs / "db.sqlite")) as conn:
        conn.execute("UPDATE job SET outputs = '{' WHERE id = ?", (waiting["id"],))
        conn.commit()
    damage = f"the database has a damaged row in job, {waiting['id']}: column outputs"
    shown = json.loads(jobrunner("jobs", "show", running["id"], "--json").stdout)
    assert (shown["id"], shown["dependants"]) == (running["id"], [])
    (workspace,) = [
        each
        for each in json.loads(jobrunner("workspaces", "ls", "--json").stdout)
        if each["name"] == waiting["workspace"]
    ]
    assert workspace["problem"].startswith(damage)
    assert waiting["id"] not in {job["id"] for job in workspace["active_jobs"]}
    status = json.loads(jobrunner("status", "--json", code=1).stdout)
    assert any(problem.startswith(damage) for problem in status["problems"])
    assert jobrunner("jobs", "kill", running["id"], "--dry-run").stdout


def test_listing_is_narrowed_by_workspace_state_and_number(jobs: Path):
    assert {job["workspace"] for job in listed("--workspace", "other")} == {"other"}
    assert [job["action"] for job in listed("--active")] == ["run", "wait"]
    assert [job["action"] for job in listed("--limit", "3")] == ["run", "wait", "a_rather_long_name_of_an_action"]


def test_listing_that_leaves_jobs_out_says_so_beside_it(jobs: Path):
    notice = "There are more jobs than these 2; --limit and --all show more of them.\n"
    for form in ([], ["--json"]):
        assert jobrunner("jobs", "ls", "--limit", "2", *form).stderr == notice
        assert jobrunner("jobs", "ls", "--limit", "4", *form).stderr == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "No jobs yet; jobrunner add-job asks for some."),
        (["--workspace", "ws1"], "No jobs in workspace ws1 yet; jobrunner add-job asks for some."),
        (["--active"], "No job is active."),
        (["--active", "--workspace", "ws1"], "No job in workspace ws1 is active."),
    ],
    ids=" ".join,
)
def test_empty_listing_is_said_beside_nothing(workdir: Path, words: list[str], said: str):
    new_database(workdir).close()
    done = jobrunner("jobs", "ls", *words)
    assert (done.stdout, done.stderr) == ("", said + "\n")
    assert jobrunner("jobs", "ls", *words, "--json").stdout == "[]\n"


def test_what_a_message_holds_cannot_steer_the_terminal(workdir: Path):
    message = "Internal error: \x1b[2J\x1b]0;title\x07gone\r\u202e"
    new_database(workdir, make_job(code=StatusCode.INTERNAL_ERROR, status_message=message, completed_at=at(5))).close()
    for words in (["ls"], ["show", "job1"]):
        done = jobrunner("jobs", *words)
        assert "gone" in done.stdout
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(done.stdout)


# Naming a job.


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "kill"])
def test_unknown_job_is_not_found(jobs: Path, command: str):
    done = jobrunner("jobs", command, "nowhere/nothing", code=4)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        "jobrunner: there is no job 'nowhere/nothing'",
        "  hint: jobrunner jobs ls lists them; name one by part of its id or as workspace/action",
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("done", "ws/done"),
        ("ws/dnoe", "ws/done"),
        ("done/ws", None),
        ("a_rather_long_name_of_an_action", "other/a_rather_long_name_of_an_action"),
    ],
)
def test_unknown_job_is_answered_with_the_one_that_was_meant(jobs: Path, name: str, meant: str | None):
    hint = jobrunner("jobs", "cancel", name, code=4).stderr.splitlines()[1]
    assert (f"did you mean {meant}?" in hint) is (meant is not None), hint


@pytest.mark.parametrize("command", ["show", "logs", "cancel", "kill"])
def test_ambiguous_name_lists_the_candidates_and_does_nothing(jobs: Path, command: str):
    before = listed()
    first, *candidates, hint = jobrunner("jobs", command, "0000000", code=4).stderr.splitlines()
    assert first == "jobrunner: '0000000' may be any of 4 jobs:"
    assert {line.split()[1] for line in candidates} == {
        "ws/wait", "ws/run", "ws/done", "other/a_rather_long_name_of_an_action",
    }  # fmt: skip
    assert hint == "  hint: give more of its id"
    assert listed() == before


@pytest.mark.parametrize("name", ["succeeded0000000", "succ", "SUCCEEDED", "cceeded", "ws/done"])
def test_job_is_named_by_part_of_its_id_or_by_its_action(jobs: Path, name: str):
    assert json.loads(jobrunner("jobs", "show", name, "--json").stdout)["id"] == "succeeded0000000"


# jobs show.


@pytest.fixture
def judged(workdir: Path) -> Connection:
    """A job on which there is a verdict, with a file that was held back."""
    job = make_job(
        "held000000000000", StatusCode.FINALIZING, created_at=at(100), started_at=at(90), requires_outputs_from=("make",),
        outputs={"out/a.csv": "highly_sensitive", "out/report.html": "moderately_sensitive"},
        level4_excluded_files={"out/report.html": "it is too large"}, unmatched_outputs=("out/stray.txt",),
        status_message="Completed successfully, but 1 file was held back", restarts=2,
    )  # fmt: skip
    conn = new_database(workdir, job)
    assert record_verdict(conn, job, make_outcome(advice=None, pointer="the log says why", exit_code=0), time.time_ns())
    return conn


def test_show_tells_everything_about_a_job(judged: Connection):
    judged.close()
    text = jobrunner("jobs", "show", "held").stdout
    shown = {line[:12].strip(): line[14:] for line in text.splitlines() if line[:1].isalpha()}
    assert text.splitlines()[0] == "● ws/describe: finalizing"
    assert shown["hint"] == "the log says why"
    assert shown["needs"] == "make"
    assert shown["restarts"] == "2"
    assert shown["no match for"] == "out/c*.csv"
    assert shown["not declared"] == "out/stray.txt"
    assert "  out/report.html    moderately_sensitive  held back: it is too large" in text.splitlines()
    assert all(line == line.rstrip() for line in text.splitlines())


def test_json_of_one_job_has_the_keys_that_scripts_rely_on(judged: Connection):
    judged.close()
    view = json.loads(jobrunner("jobs", "show", "held", "--json").stdout)
    assert set(view) == JOB_KEYS | MORE_KEYS
    assert {frozenset(entry) for entry in view["outputs"]} == {frozenset({"path", "level", "size", "held_back"})}
    assert [entry["held_back"] for entry in view["outputs"]] == [None, "it is too large"]


def test_names_of_files_need_not_be_text(workdir: Path):
    outputs = {"out/\udce9.csv": "highly_sensitive"}
    new_database(workdir, make_job(code=StatusCode.SUCCEEDED, completed_at=at(1), outputs=outputs)).close()
    assert "out/\\udce9.csv" in jobrunner("jobs", "show", "job1").stdout
    assert json.loads(jobrunner("jobs", "show", "job1", "--json").stdout)["outputs"][0]["path"] == "out/\udce9.csv"


def test_waiting_job_says_why_and_that_nobody_is_at_work(workdir: Path):
    new_database(
        workdir,
        make_job("first00000000000", action="first"),
        make_job("second0000000000", StatusCode.WAITING_ON_DEPENDENCIES, action="second", wait_for_job_ids=("first00000000000",)),
    ).close()  # fmt: skip
    view = json.loads(jobrunner("jobs", "show", "ws/second", "--json").stdout)
    assert view["dependencies"] == [{"id": "first00000000000", "action": "first", "status_code": "created"}]
    assert view["why"] == [
        f"no runner is at work on {workdir}: jobrunner run starts one",
        "it needs first (first00000000000), which waits: nothing has looked at it yet",
    ]


def test_show_and_why_give_the_same_reasons_in_the_same_order(workdir: Path):
    new_database(
        workdir,
        make_job("first00000000000", action="first"),
        make_job("second0000000000", StatusCode.EXECUTING, action="second"),
        make_job("third00000000000", StatusCode.WAITING_ON_DEPENDENCIES, action="third", wait_for_job_ids=("second0000000000",)),
    ).close()  # fmt: skip
    for name in ("first", "third"):
        shown = json.loads(jobrunner("jobs", "show", f"ws/{name}", "--json").stdout)["why"]
        told = json.loads(jobrunner("jobs", "why", f"ws/{name}", "--json").stdout)["reasons"]
        assert len(shown) == 2
        assert shown[0] == told[0]["text"]
        # It may be a second later.
        assert re.sub(r"for \d.*", "", shown[1]) == re.sub(r"for \d.*", "", told[1]["text"])


@pytest.mark.parametrize("code", list(TABLE), ids=lambda code: code.value)
def test_every_code_is_shown_by_glyph_and_word(workdir: Path, code: StatusCode):
    new_database(workdir, make_job(code=code, workspace="../odd", run_command=None)).close()
    assert jobrunner("jobs", "show", "job1").stdout.splitlines()[0].partition(" ")[2].startswith("../odd/describe: ")
    assert listed()[0]["status_code"] == code.value


@pytest.mark.parametrize(
    "words",
    [["jobs", "outputs", "job1"], ["jobs", "show", "job1"], ["workspaces", "ls"], ["workspaces", "show", "ws"]],
    ids=" ".join,
)
def test_state_is_told_in_words_wherever_people_read_it(workdir: Path, words: list[str]):
    with new_database(workdir, make_job(code=StatusCode.EXECUTED, started_at=at(9))) as conn:
        job = job_by_id(conn, "job1")
        assert job is not None
        path = (StatusCode.FINALIZING, StatusCode.FINALIZED, StatusCode.NONZERO_EXIT)
        advance(conn, job, path, now_ns=time.time_ns(), message="exit code 3", cause="test")
    done = jobrunner(*words)
    assert "nonzero exit" in done.stdout + done.stderr
    assert "nonzero_exit" not in done.stdout + done.stderr


# jobs logs.

NAME = "ws/describe"


@pytest.mark.parametrize(
    ("code", "started", "said"),
    [
        (StatusCode.CREATED, None, f"jobrunner: {NAME} has no log yet: it has not started"),
        (StatusCode.WAITING_ON_DEPENDENCIES, None, f"jobrunner: {NAME} has no log yet: it has not started"),
        (StatusCode.DEPENDENCY_FAILED, None, f"jobrunner: {NAME} has no log: it ended before it started"),
        (StatusCode.INTERNAL_ERROR, None, f"jobrunner: {NAME} has no log: it ended before it started"),
        (StatusCode.SUCCEEDED, 1_700_000_000, f"jobrunner: the log of {NAME} (job1) is gone"),
        (StatusCode.NONZERO_EXIT, 1_700_000_000, f"jobrunner: the log of {NAME} (job1) is gone"),
        (StatusCode.INTERNAL_ERROR, 1_700_000_000, f"jobrunner: the log of {NAME} (job1) is gone"),
    ],
)
def test_missing_log_is_explained(workdir: Path, code: StatusCode, started: int | None, said: str):
    ended = None if code in {StatusCode.CREATED, StatusCode.WAITING_ON_DEPENDENCIES} else 1_700_000_100
    new_database(workdir, make_job(code=code, started_at=started, completed_at=ended)).close()
    done = jobrunner("jobs", "logs", "job1", code=4)
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == said


@pytest.mark.parametrize("words", [[], ["-f"], ["--json"], ["-f", "--json"]], ids=str)
def test_log_that_is_gone_is_no_success_in_whatever_form_it_is_wanted(workdir: Path, words: list[str]):
    times = {"started_at": 1_700_000_000, "completed_at": 1_700_000_100}
    new_database(workdir, make_job(code=StatusCode.SUCCEEDED, **times)).close()
    done = jobrunner("jobs", "logs", "job1", *words, code=4)
    assert done.stdout == ""
    assert done.stderr.startswith(f"jobrunner: the log of {NAME} (job1) is gone\n  hint: ")


@pytest.mark.parametrize("words", [[], ["-f"], ["--json"]], ids=str)
def test_several_logs_are_no_success_if_all_are_gone(workdir: Path, words: list[str]):
    times = {"started_at": 1_700_000_000, "completed_at": 1_700_000_100}
    jobs = [make_job(f"job{n}", StatusCode.SUCCEEDED, action=f"act{n}", **times) for n in (1, 2)]
    new_database(workdir, *jobs, make_job("job3", StatusCode.PREPARING, action="act3", started_at=at(1))).close()
    done = jobrunner("jobs", "logs", "job1", "job2", *words, code=4)
    assert done.stdout == ""
    *notices, said, hint = done.stderr.splitlines()
    assert sorted(notices) == [f"the log of ws/act{n} (job{n}) is gone." for n in (1, 2)]
    assert said == "jobrunner: none of these 2 jobs has a log"
    assert hint.startswith("  hint: it was stored below ")
    if "-f" not in words:
        # Of one that runs there will be one.
        assert jobrunner("jobs", "logs", "job1", "job3", *words).stderr.startswith(
            "the log of ws/act1 (job1) is gone.\n"
        )


def test_json_and_timestamps_are_two_forms(workdir: Path):
    assert "two forms" in jobrunner("jobs", "logs", "job1", "--json", "--timestamps", code=2).stderr


def test_job_that_is_being_laid_out_has_printed_nothing_yet(workdir: Path):
    new_database(workdir, make_job(code=StatusCode.PREPARING, started_at=at(1))).close()
    done = jobrunner("jobs", "logs", "job1")
    assert (done.stdout, done.stderr) == ("", f"{NAME} has printed nothing yet: it is preparing.\n")


@pytest.fixture
def logged(workdir: Path) -> Path:
    """An ended job whose log is stored."""
    ended = 1_700_000_100
    new_database(workdir, make_job(code=StatusCode.SUCCEEDED, started_at=ended - 9, completed_at=ended)).close()
    month = time.strftime("%Y-%m", time.gmtime(ended))
    log = workdir / "high_privacy/logs" / month / "os-job-job1/logs.txt"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"2023-11-14T22:14:51.000000001Z first \xe9\n2023-11-14T22:14:52.5Z\n\nstate: succeeded\n")
    return log


@pytest.mark.parametrize("words", [[], ["-f"], ["--follow"]], ids=str)
def test_stored_log_is_printed_without_timestamps_and_byte_by_byte(logged: Path, words: list[str]):
    done = subprocess.run(
        [sys.executable, "-m", "jobrunner_cli", "jobs", "logs", "job1", *words], capture_output=True, check=True
    )
    assert done.stdout == b"first \xe9\n\n\nstate: succeeded\n"
    assert done.stderr == b""


def test_timestamps_are_kept_for_those_who_ask(logged: Path):
    logged.write_text("2023-11-14T22:14:51.000000001Z first\nstate: succeeded\n")
    assert jobrunner("jobs", "logs", "job1", "--timestamps").stdout == logged.read_text()
