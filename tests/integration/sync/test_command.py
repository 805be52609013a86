"""`jobrunner sync`: exit codes, signals, one at a time, and the whole way from a request to its outputs."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.job_server import BACKEND, TOKEN, JobServer, serving
from support.runners import WorkDirectory, until
from support.studies import action, make_study

pytestmark = [pytest.mark.slow]


def settings_for(server: JobServer, **more: str) -> dict[str, str]:
    return {
        "BACKEND": BACKEND,
        "USING_DUMMY_DATA_BACKEND": "true",
        "GITHUB_PROXY": "false",
        "ALLOWED_GITHUB_ORGS": "*",
        "JOB_SERVER_ENDPOINT": server.endpoint,
        "JOB_SERVER_TOKEN": TOKEN,
        "POLL_INTERVAL": "0.1",
        **more,
    }


@pytest.fixture
def workdir(tmp_path: Path, server: JobServer) -> Iterator[WorkDirectory]:
    made = WorkDirectory(tmp_path, "process", settings_for(server))
    yield made
    made.close()


def ask(
    server: JobServer, workdir: WorkDirectory, request_id: str, path: Path, script: str = "echo 1 > one.txt"
) -> None:
    study = make_study(path, {"one": action(workdir.command(script), "one.txt")})
    server.add(request_id, str(study.path), study.git("rev-parse", "HEAD"), ["one"])


def test_request_runs_and_the_server_sees_how_it_ends(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    syncing = workdir.start("sync")
    running = workdir.start("run")
    ask(server, workdir, "r1", tmp_path / "study")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    (row,) = server.jobs["r1"].values()
    assert row["status_message"].startswith("Completed successfully")
    assert row["started_at"] is not None
    assert row["completed_at"] is not None
    assert workdir.outputs(workdir.medium, "ws-one") == {"one.txt": b"1\n"}
    syncing.signal(signal.SIGTERM)
    running.signal(signal.SIGTERM)
    assert syncing.ends() == 0
    assert running.ends() == 0
    assert TOKEN not in syncing.said() + running.said()


def test_user_can_cancel_what_runs(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    workdir.start("sync")
    workdir.start("run")
    ask(server, workdir, "r1", tmp_path / "study", "while true; do sleep 0.1; done")
    server.until(lambda: server.statuses("r1") == {"one": "running"}, "the running job")
    with server.guard:
        server.requests["r1"]["cancelled_actions"] = ["one"]
    server.until(lambda: server.statuses("r1") == {"one": "failed"}, "its end")
    (row,) = server.jobs["r1"].values()
    assert row["status_code"] == "cancelled_by_user"


def test_final_state_is_told_after_the_sync_was_killed(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    syncing = workdir.start("sync")
    ask(server, workdir, "r1", tmp_path / "study")
    server.until(lambda: server.statuses("r1"), "the job")
    syncing.kill()
    workdir.run()
    assert server.statuses("r1") == {"one": "pending"}
    workdir.cli("sync", "--once")
    assert server.statuses("r1") == {"one": "succeeded"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_signal_ends_it(server: JobServer, workdir: WorkDirectory, number: signal.Signals, code: int):
    syncing = workdir.start("sync")
    server.until(server.gets, "the first poll")
    syncing.signal(number)
    assert syncing.ends() == code
    assert "Traceback" not in syncing.said()


def test_signal_ends_it_while_the_server_hangs(server: JobServer, workdir: WorkDirectory):
    fault = server.fail("hold", "GET", times=None)
    syncing = workdir.start("sync")
    assert fault.struck.wait(30)
    syncing.signal(signal.SIGTERM)
    assert syncing.ends() == 0


def test_log_can_be_written_for_machines(server: JobServer, workdir: WorkDirectory):
    syncing = workdir.start("sync", "--log-format", "json")
    server.until(server.gets, "the first poll")
    syncing.signal(signal.SIGTERM)
    assert syncing.ends() == 0
    lines = [json.loads(line) for line in syncing.said().splitlines()]
    assert lines[0].keys() == {"time", "level", "thread", "message"}
    assert server.endpoint in lines[0]["message"]
    refused = json.loads(workdir.cli("sync", "--log-format", "json", code=3, JOB_SERVER_TOKEN="").stderr)
    assert refused["message"].startswith("JOB_SERVER_TOKEN is not set")
    # Nothing listens at the port that nobody can have.
    failed = workdir.cli(
        "sync", "--once", "--log-format", "json", code=5, JOB_SERVER_ENDPOINT="http://127.0.0.1:1/api/v2/"
    )
    messages = [json.loads(line)["message"] for line in failed.stderr.splitlines()]
    assert "127.0.0.1:1" in messages[-1]
    assert not messages[-1].startswith("jobrunner")
    workdir.cli("sync", "--log-format", "xml", code=2)


def test_second_one_names_the_first(server: JobServer, workdir: WorkDirectory):
    first = workdir.start("sync")
    server.until(server.gets, "the first poll")
    for words in (["sync"], ["sync", "--once"]):
        said = workdir.cli(*words, code=3).stderr
        assert f"process {first.pid} already syncs" in said
        assert "hint: " in said


def test_without_a_token_it_says_which_setting_is_missing(workdir: WorkDirectory):
    said = workdir.cli("sync", code=3, JOB_SERVER_TOKEN="").stderr
    assert said.splitlines()[0].startswith("jobrunner: JOB_SERVER_TOKEN is not set")


def test_without_a_database_it_names_the_command_that_helps(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    said = workdir.cli("sync", code=3, WORKDIR=str(tmp_path / "none")).stderr
    assert "jobrunner migrate" in said
    assert server.seen == []


def test_once_says_what_it_did(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    ask(server, workdir, "r1", tmp_path / "study")
    done = workdir.cli("sync", "--once")
    assert done.stdout == "1 job request listed, 1 taken; told of 1 job of 1 request.\n"
    assert len(server.gets()) == len(server.posts()) == 1


def test_once_exits_with_1_when_a_request_could_not_be_told(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    ask(server, workdir, "r1", tmp_path / "study")
    server.validate = lambda row: {"action": ["Too odd."]}
    done = workdir.cli("sync", "--once", code=1)
    assert "request r1 cannot be told" in done.stderr
    assert "Too odd." in done.stderr


@pytest.mark.parametrize("how", ["json:403", 502, "html", "http://elsewhere.example/"])
def test_once_exits_with_5_when_the_server_is_in_trouble(server: JobServer, workdir: WorkDirectory, how: int | str):
    server.fail(how, "GET", times=None)
    done = workdir.cli("sync", "--once", code=5)
    assert "jobrunner: The job-server" in done.stderr
    assert ("JOB_SERVER_TOKEN" in done.stderr) == (how == "json:403")
    assert TOKEN not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_once_exits_with_5_when_there_is_no_server(tmp_path: Path):
    with serving() as gone:
        settings = settings_for(gone)
    workdir = WorkDirectory(tmp_path, "process", settings)
    done = workdir.cli("sync", "--once", code=5)
    assert "cannot be reached: Connection refused" in done.stderr
    workdir.close()


def test_token_is_seen_nowhere(server: JobServer, workdir: WorkDirectory, tmp_path: Path):
    ask(server, workdir, "r1", tmp_path / "study")
    ask(server, workdir, "r2", tmp_path / "bad")
    server.requests["r2"]["sha"] = TOKEN
    server.fail("json:403", "POST", times=3)
    syncing = workdir.start("sync", LOGLEVEL="DEBUG", DEBUG_LOG_FILE=str(tmp_path / "debug.log"))
    server.until(lambda: server.statuses("r1"), "the jobs")
    until(lambda: "403" in syncing.said(), "the trouble in the log")
    command_line = Path(f"/proc/{syncing.pid}/cmdline").read_bytes()
    syncing.signal(signal.SIGTERM)
    assert syncing.ends() == 0
    status = (workdir.path / "sync-status.json").read_text()
    assert json.loads(status)["pid"] == syncing.pid
    said = syncing.said() + status + (tmp_path / "debug.log").read_text() + command_line.decode()
    assert TOKEN not in said
