"""A service in trouble that is its own: it says so, goes on as far as it can, and is well again when that is over."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.service.vitals import read_vitals
from support.job_server import JobServer
from support.runners import PATIENCE, WorkDirectory, until
from support.serving import HELD, MakeService, ask, job_of, start_service
from support.studies import action, make_study

pytestmark = pytest.mark.slow


def execute(workdir: WorkDirectory, statement: str) -> None:
    with closing(sqlite3.connect(workdir.path / "db.sqlite", isolation_level=None, timeout=20)) as connection:
        connection.execute(statement)


def loop_problem(workdir: WorkDirectory) -> str | None:
    said = read_vitals(workdir.path, workdir.holder())
    return None if said is None else said.loop_problem


def test_loop_that_cannot_write_says_so_once_and_goes_on_afterwards(server: JobServer, make_service: MakeService):
    workdir = make_service()
    service = start_service(workdir)
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    execute(workdir, "CREATE TRIGGER strike BEFORE UPDATE ON job BEGIN SELECT RAISE(ABORT, 'on strike'); END")
    workdir.let_go(job_id)
    until(lambda: loop_problem(workdir), "what the service says of its loop")
    done = workdir.cli("status", code=1)
    assert f"PROBLEM  loop: the runner could not write {job_id} as finalizing: " in done.stdout
    assert "on strike" in done.stdout
    assert "jobrunner_loop_ok 0" in workdir.cli("status", "--format", "prometheus", code=1).stdout
    # It tries again every few seconds, and does not fill the log with that.
    assert service.said().count("on strike") <= 3
    execute(workdir, "DROP TRIGGER strike")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")


def test_status_of_a_database_that_stays_locked_is_an_alarm(make_service: MakeService):
    workdir = make_service()
    with closing(sqlite3.connect(workdir.path / "db.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("COMMIT")
        done = workdir.cli("status", "--format", "prometheus", code=5)
    assert "is locked by another process" in done.stderr
    assert "jobrunner_ok 0" in done.stdout.splitlines()


def test_status_without_a_database_is_an_alarm(make_service: MakeService, tmp_path: Path):
    workdir, nowhere = make_service(), str(tmp_path / "none")
    done = workdir.cli("status", "--format", "prometheus", code=3, WORKDIR=nowhere)
    assert "jobrunner_ok 0" in done.stdout.splitlines()
    said = json.loads(workdir.cli("status", "--json", code=3, WORKDIR=nowhere).stdout)
    assert said == {"ok": False, "problems": [f"there is no database {nowhere}/db.sqlite yet"]}


def test_debug_log_that_cannot_be_written_is_named_at_the_start(make_service: MakeService, tmp_path: Path):
    said = make_service(DEBUG_LOG_FILE=str(tmp_path / "none/debug.log")).cli("run", "--daemon", code=3).stderr
    assert said.startswith(f"jobrunner: DEBUG_LOG_FILE cannot be opened: {tmp_path}/none/debug.log: ")


def test_debug_log_on_a_full_disk_ends_nothing(server: JobServer, make_service: MakeService):
    # Whatever is written to it: no space left on device.
    workdir = make_service(DEBUG_LOG_FILE="/dev/full")
    service = start_service(workdir, "--log-format", "json")
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    messages = [json.loads(line)["message"] for line in service.said().splitlines()]
    assert messages.count("/dev/full cannot be written: No space left on device") == 1


def test_service_whose_log_nobody_reads_any_more_goes_on(server: JobServer, make_service: MakeService):
    workdir = make_service()
    reader, writer = os.pipe()
    service = subprocess.Popen(
        [sys.executable, "-m", "jobrunner_cli", "run", "--daemon"],
        env={**os.environ, **workdir.settings},
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
    )
    os.close(writer)
    os.close(reader)
    try:
        ask(server, workdir, "r1")
        server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
        service.send_signal(signal.SIGTERM)
        assert service.wait(PATIENCE) == 0
    finally:
        service.kill()
        service.wait()


@pytest.mark.parametrize("words", [["run"], ["run", "--daemon"], ["sync"]], ids=" ".join)
def test_settings_that_cannot_be_read_are_told_in_the_form_of_the_log(make_service: MakeService, words: list[str]):
    said = make_service().cli(*words, "--log-format", "json", code=3, MAX_WORKERS="many").stderr
    told = json.loads(said)
    assert told["level"] == "CRITICAL"
    assert "MAX_WORKERS" in told["message"]


def test_runner_speaks_in_the_form_of_its_log_alone(make_service: MakeService):
    workdir = make_service()
    workdir.cli("jobs", "pause")
    workdir.add(make_study(workdir.path / "study", {"one": action(workdir.command("true"), "one.txt")}), "one")
    lines = workdir.cli("run", "--until-idle", "--log-format", "json").stderr.splitlines()
    said = [told["message"] for told in map(json.loads, lines) if told["level"] == "WARNING"]
    assert said[0].startswith("The process executor isolates nothing")
    assert "waits: " in said[-1]


def test_start_that_fails_is_told_in_the_form_of_the_log(make_service: MakeService):
    workdir = make_service()
    start_service(workdir)
    said = workdir.cli("run", "--daemon", "--log-format", "json", code=3).stderr.splitlines()
    (told,) = [line for line in map(json.loads, said) if line["level"] == "CRITICAL"]
    assert f"process {workdir.holder()} is at work on {workdir.path}" in told["message"]
