"""Which jobs a command touches: chosen by name or filter, named before it is done, and never guessed without asking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.commands.waiting import wait_for_answers
from jobrunner_cli.engine.settings import load
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.locks import RunnerLock
from jobrunner_cli.engine.store.mapper import insert
from jobrunner_cli.engine.work import IntentKind
from support.runners import until
from support.store import make_job, new_database
from support.terminal import jobrunner, on_terminal, without_colours

pytestmark = pytest.mark.slow

ONE, TWO, DONE, OTHER = "one0000000000000", "two0000000000000", "done000000000000", "other00000000000"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    monkeypatch.setenv("WORKDIR", str(tmp_path))
    monkeypatch.setenv("EXECUTOR", "process")
    conn = new_database(
        tmp_path,
        make_job(ONE, action="one"),
        make_job(TWO, StatusCode.WAITING_ON_DEPENDENCIES, action="two", wait_for_job_ids=(ONE,)),
        make_job(DONE, StatusCode.SUCCEEDED, action="done", completed_at=1_700_000_000),
        make_job(OTHER, action="one", workspace="elsewhere", job_request_id="req2"),
    )
    yield conn
    conn.close()


def codes(conn: Connection) -> dict[str, str]:
    return {job_id: code.value for job_id, code in queries.codes_of(conn, [ONE, TWO, DONE, OTHER]).items()}


def paused(conn: Connection) -> set[tuple[str, str]]:
    return {(pause.scope, pause.name) for pause in queries.pauses(conn)}


def told(*words: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(jobrunner(*words, "--json").stdout)
    return found


@pytest.mark.parametrize("words", [["two"], ["ws/two"], ["--workspace", "ws"], ["--request", "req"]], ids=" ".join)
@pytest.mark.parametrize("verb", ["cancel", "kill"])
def test_what_is_not_named_by_its_whole_id_is_never_ended_unasked(table: Connection, verb: str, words: list[str]):
    before = codes(table)
    done = jobrunner("jobs", verb, *words, code=2)
    assert f"{TWO}  ws/two  waiting: end it before it starts" in done.stderr.splitlines()
    assert "nobody can be asked here" in done.stderr
    assert done.stderr.splitlines()[-1] == "  hint: --yes goes on without asking"
    assert codes(table) == before


def test_dry_run_says_what_would_be_touched_and_what_fails_with_it(table: Connection):
    before = codes(table)
    done = jobrunner("jobs", "cancel", "ws/one", "ws/done", "--dry-run")
    assert done.stdout.splitlines() == [
        f"{ONE}  ws/one  created: end it before it starts",
        f"{DONE}  ws/done  succeeded: nothing: it has ended (succeeded)",
        f"What waits for them fails with them: ws/two ({TWO})",
    ]
    assert done.stderr == "cancel would touch 1 job; nothing was done.\n"
    assert codes(table) == before


def test_dry_run_is_told_as_json_too(table: Connection):
    assert told("jobs", "kill", "ws/one", "ws/done", "--dry-run") == [
        {"id": ONE, "workspace": "ws", "action": "one", "outcome": "end it before it starts",
         "touches": True, "done": False},
        {"id": DONE, "workspace": "ws", "action": "done", "outcome": "nothing: it has ended (succeeded)",
         "touches": False, "done": False},
    ]  # fmt: skip


@pytest.mark.parametrize(("answer", "ended"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_terminal_is_asked(table: Connection, answer: str, ended: bool):
    words = ("jobs", "kill", "--workspace", "elsewhere")
    said = without_colours(on_terminal(*words, columns=120, answer=answer, code=0 if ended else 1))
    assert f"{OTHER}  elsewhere/one  created: end it before it starts" in said
    assert "kill 1 job?" in said
    assert codes(table)[OTHER] == ("killed_by_admin" if ended else "created")
    assert codes(table)[ONE] == "created"


@pytest.mark.parametrize(("answer", "paused"), [("y\n", True), ("n\n", False)])
def test_terminal_is_asked_before_everything_is_paused(table: Connection, answer: str, paused: bool):
    said = without_colours(on_terminal("jobs", "pause", columns=120, answer=answer, code=0 if paused else 1))
    assert "pause the backend (3 waiting, 0 running)?" in said
    assert json.loads(jobrunner("jobs", "resume", "--json").stdout)["changed"] is paused


def test_filter_ends_only_what_it_lets_through(table: Connection):
    assert [entry["id"] for entry in told("jobs", "cancel", "--workspace", "ws", "--yes")] == [TWO, ONE]
    assert codes(table) == {
        ONE: "cancelled_by_user", TWO: "cancelled_by_user", DONE: "succeeded", OTHER: "created",
    }  # fmt: skip


def test_states_choose_what_is_ended(table: Connection):
    done = told("jobs", "kill", "--state", "waiting_on_dependencies", "--state", "succeeded", "--yes")
    assert [entry["id"] for entry in done] == [TWO]


def test_jobs_chosen_by_options_are_paused_and_resumed_once_that_is_confirmed(table: Connection):
    assert f"{OTHER}  elsewhere/one" in jobrunner("jobs", "pause", "--action", "one", code=2).stderr
    assert paused(table) == set()
    assert [entry["id"] for entry in told("jobs", "pause", "--workspace", "ws", "--action", "one", "--yes")] == [ONE]
    assert paused(table) == {("job", ONE)}
    assert [entry["id"] for entry in told("jobs", "resume", "--state", "pending", "--yes")] == [ONE]
    assert paused(table) == set()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["resume", "--state", "pending"], "3 jobs are like that, and none of them is paused"),
        (["resume", "--workspace", "elsewhere", "--action", "one"], "one job is like that, and it is not paused"),
        (["pause", "--request", "req2"], "one job is like that, and it is paused already"),
        (
            ["kill", "--cleanup", "--state", "failed"],
            "2 jobs are like that, and all of them have ended and left nothing",
        ),
        (["retry", "--failed"], "2 jobs are like that, and each has a newer job of its action"),
    ],
    ids=str,
)
@pytest.mark.parametrize("how", ["--yes", "--dry-run"])
def test_options_that_choose_nothing_to_be_done_are_no_success(
    table: Connection, words: list[str], said: str, how: str
):
    for job_id, action in (("old1000000000000", "one"), ("old2000000000000", "done")):
        insert(table, make_job(job_id, StatusCode.KILLED_BY_ADMIN, action=action, created_at=1_600_000_000))
    if words[0] == "pause":
        jobrunner("jobs", *words, "--yes")
    done = jobrunner("jobs", *words, how, code=4)
    assert done.stderr.startswith(f"jobrunner: {said}")
    assert done.stdout == ""


def test_resume_by_options_points_at_the_pause_of_the_workspace_or_the_backend(table: Connection):
    jobrunner("jobs", "pause", "--workspace", "ws")
    said = jobrunner("jobs", "resume", "--workspace", "ws", "--state", "pending", code=4).stderr.splitlines()
    assert said[1] == "  hint: workspace ws is paused as a whole: jobrunner jobs resume --workspace ws"
    assert told("jobs", "resume", ONE)[0]["outcome"] == "nothing: it is not paused itself, its workspace is"
    assert paused(table) == {("workspace", "ws")}
    jobrunner("jobs", "resume", "--workspace", "ws")
    jobrunner("jobs", "pause")
    said = jobrunner("jobs", "resume", "--action", "one", code=4).stderr.splitlines()
    assert said[1] == "  hint: the backend is paused: jobrunner jobs resume"
    assert told("jobs", "resume", ONE)[0]["outcome"] == "nothing: it is not paused itself, the backend is"


def test_wish_outlives_the_waiting_for_a_runner_that_does_not_answer(table: Connection):
    with RunnerLock(Path(os.environ["WORKDIR"], "runner.lock")):
        command = subprocess.Popen([sys.executable, "-m", "jobrunner_cli", "jobs", "cancel", OTHER])
        until(lambda: OTHER in intents.open_intents(table), "the wish")
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 130
    assert list(intents.open_intents(table)) == [OTHER]


def test_runner_that_does_not_answer_is_named(table: Connection, capfd: pytest.CaptureFixture[str]):
    asked = {OTHER: (intents.append(table, IntentKind.CANCEL, OTHER, "somebody", 1_795_000_000),)}
    said = ""

    def hears() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return said.endswith("\n")

    with RunnerLock(Path(os.environ["WORKDIR"], "runner.lock")), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(wait_for_answers, load(), asked, silence=0.0)
        try:
            until(hears, "what is said of the runner")
        finally:
            intents.answer(table, asked[OTHER][0], "done", 1_795_000_001)
        assert waiting.result(60) == {OTHER: "done"}
    assert said == f"Process {os.getpid()} was asked and has not answered yet; Ctrl-C ends the waiting, not the wish.\n"


def test_whole_id_needs_no_question(table: Connection):
    assert jobrunner("jobs", "cancel", OTHER, DONE).stdout.splitlines() == [
        f"{OTHER}  elsewhere/one  done",
        f"{DONE}  ws/done  already finished",
    ]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ([], 2, "no job is named"),
        (["--workspace", "nowhere"], 4, "no job is like that"),
        (["--state", "succeeded"], 4, "all jobs that are like that have ended"),
        (["nosuch"], 4, "there is no job 'nosuch'"),
        (["0000000", "--yes"], 4, "'0000000' may be any of 4 jobs:"),
    ],
    ids=str,
)
def test_what_names_no_job_is_refused(table: Connection, words: list[str], code: int, said: str):
    before = codes(table)
    assert said in jobrunner("jobs", "cancel", *words, code=code).stderr
    assert codes(table) == before


@pytest.mark.parametrize("verb", ["cancel", "kill", "pause", "resume", "retry"])
@pytest.mark.parametrize("options", [["--workspace", "ws"], ["--action", "one"]], ids=" ".join)
def test_names_and_options_together_are_refused(table: Connection, verb: str, options: list[str]):
    said = jobrunner("jobs", verb, "one", *options, code=2).stderr
    assert said.startswith("jobrunner: jobs are either named or chosen by options, not both\n")


def test_pausing_and_resuming_jobs(table: Connection):
    assert told("jobs", "pause", "ws/one", "done")[0]["outcome"] == "paused"
    assert paused(table) == {("job", ONE)}
    assert told("jobs", "pause", ONE)[0]["outcome"] == "nothing: it is paused already"
    assert told("jobs", "resume", TWO, ONE) == [
        {"id": TWO, "workspace": "ws", "action": "two", "outcome": "nothing: it is not paused"},
        {"id": ONE, "workspace": "ws", "action": "one", "outcome": "resumed"},
    ]
    assert paused(table) == set()


def test_pausing_and_resuming_a_workspace(table: Connection):
    assert jobrunner("jobs", "pause", "--workspace", "ws", "--dry-run").stdout == (
        "workspace ws would be paused (2 waiting, 0 running).\n"
    )
    assert paused(table) == set()
    jobrunner("jobs", "pause", "--workspace", "ws")
    assert paused(table) == {("workspace", "ws")}
    assert jobrunner("jobs", "pause", "--workspace", "ws").stdout == "workspace ws is paused already.\n"
    assert jobrunner("jobs", "resume").stdout == "the backend is not paused.\n"
    assert paused(table) == {("workspace", "ws")}
    jobrunner("jobs", "resume", "--workspace", "ws")
    assert paused(table) == set()


def test_pausing_and_resuming_the_backend(table: Connection):
    assert jobrunner("jobs", "pause").stdout == "the backend is paused (3 waiting, 0 running).\n"
    flag = queries.backend_paused(table)
    assert flag is not None
    why = told_why(TWO)
    assert why[0]["text"].startswith("no runner is at work on ")
    assert why[1]["text"].startswith("the backend is paused since ")
    assert why[1]["change"] == "jobrunner jobs resume ends that"
    jobrunner("jobs", "pause")
    assert queries.backend_paused(table) == flag
    jobrunner("jobs", "resume")
    assert queries.backend_paused(table) is None


def told_why(job: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(jobrunner("jobs", "why", job, "--json").stdout)["reasons"]
    return found
