"""`jobrunner run --daemon` from a request to what the job-server knows in the end, whatever happens in between."""

from __future__ import annotations

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from support.job_server import TOKEN, JobServer
from support.runners import until
from support.serving import HELD, MakeService, ask, job_of, start_service
from support.store import set_flag

pytestmark = pytest.mark.slow


def test_request_runs_and_the_server_knows_it_before_the_service_leaves(
    server: JobServer, make_service: MakeService, executor: str
):
    workdir = make_service(executor)
    service = start_service(workdir)
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    assert workdir.outputs(workdir.medium, "ws-r1") == {"one.txt": b"1\n"}
    service.signal(signal.SIGTERM)
    assert service.ends() == 0
    assert workdir.leftovers() == []
    assert not (workdir.path / "service-status.json").exists()
    assert TOKEN not in service.said()
    assert "Traceback" not in service.said()


def test_what_is_being_stored_when_it_is_told_to_leave_is_stored_and_told(server: JobServer, make_service: MakeService):
    workdir = make_service()
    service = start_service(workdir)
    ask(
        server,
        workdir,
        "r1",
        "mkdir d; n=0; while [ $n -lt 300 ]; do echo $n > d/$n; n=$((n+1)); done; echo 1 > one.txt",
    )
    workdir.wait_for(job_of(server, "r1"), "finalizing", "succeeded")
    service.signal(signal.SIGTERM)
    assert service.ends() == 0
    assert server.statuses("r1") == {"one": "succeeded"}


def test_user_cancels_what_runs(server: JobServer, make_service: MakeService):
    workdir = make_service()
    start_service(workdir)
    ask(server, workdir, "r1", "while true; do sleep 0.1; done")
    server.until(lambda: server.statuses("r1") == {"one": "running"}, "the running job")
    with server.guard:
        server.requests["r1"]["cancelled_actions"] = ["one"]
    server.until(lambda: server.statuses("r1") == {"one": "failed"}, "its end")


def test_pause_and_maintenance_are_heeded_and_told(server: JobServer, make_service: MakeService):
    workdir = make_service()
    set_flag(workdir, "paused", "true")
    set_flag(workdir, "mode", "db-maintenance")
    start_service(workdir)
    ask(server, workdir, "r1")
    job_id = job_of(server, "r1")
    workdir.wait_for(job_id, "paused")
    server.until(lambda: server.flags and "mode" in json.dumps(server.flags), "the flags")
    set_flag(workdir, "paused", None)
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")


def test_maintenance_that_an_operator_sets_reaches_the_server(server: JobServer, make_service: MakeService):
    workdir = make_service(MAINTENANCE_POLL_INTERVAL="0.1")
    start_service(workdir)
    server.until(server.gets, "the first poll")
    set_flag(workdir, "manual-db-maintenance", "on")
    server.until(lambda: '"mode"' in json.dumps(server.flags), "the flag that the server reads")
    set_flag(workdir, "manual-db-maintenance", None)
    until(lambda: not workdir.ask("SELECT 1 FROM flags WHERE id = 'mode' AND value IS NOT NULL"), "its end")


def test_what_jobs_use_is_sampled(server: JobServer, make_service: MakeService):
    workdir = make_service(STATS_POLL_INTERVAL="0.1")
    start_service(workdir)
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    metrics = workdir.path / "metrics.sqlite"

    def sampled() -> bool:
        with closing(sqlite3.connect(f"file:{metrics}?mode=ro", uri=True)) as connection:
            return bool(connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchall())

    until(metrics.exists, "the database of samples")
    until(lambda: metrics.stat().st_size > 0 and sampled(), "a sample of the job")
    workdir.let_go(job_id)


def test_final_state_arrives_after_a_kill_in_the_middle_and_an_end_that_nobody_saw(
    server: JobServer, make_service: MakeService, executor: str
):
    workdir = make_service(executor)
    service = start_service(workdir)
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    service.kill()
    workdir.let_go(job_id)
    start_service(workdir)
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    assert workdir.starts() == {job_id: 1}


def test_jobs_go_on_while_the_server_is_down_and_it_is_told_afterwards(server: JobServer, make_service: MakeService):
    workdir = make_service()
    service = start_service(workdir)
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    for method in ("GET", "POST"):
        server.fail("reset", method, times=None)
    workdir.let_go(job_id)
    workdir.wait_for(job_id, "succeeded")
    assert server.statuses("r1") != {"one": "succeeded"}
    server.mend()
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the news")
    service.signal(signal.SIGTERM)
    assert service.ends() == 0


def test_containers_run_on_for_the_next_service(server: JobServer, make_service: MakeService, executor: str):
    workdir = make_service(executor)
    first = start_service(workdir)
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    first.signal(signal.SIGTERM)
    assert first.ends() == 0
    assert workdir.codes() == {"one": "executing"}
    start_service(workdir)
    workdir.let_go(job_id)
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    assert workdir.starts() == {job_id: 1}


def test_second_service_and_a_second_sync_name_the_first(server: JobServer, make_service: MakeService):
    workdir = make_service()
    first = start_service(workdir)
    server.until(server.gets, "the first poll")
    assert f"process {first.pid} is at work" in workdir.cli("run", "--daemon", code=3).stderr
    assert f"process {first.pid} already syncs" in workdir.cli("sync", code=3).stderr
    assert first.process.poll() is None


def test_sync_of_another_process_holds_up_only_this_part(server: JobServer, make_service: MakeService):
    workdir = make_service()
    other = workdir.start("sync")
    server.until(server.gets, "the first poll")
    service = start_service(workdir)
    service.says("sync failed")
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    other.signal(signal.SIGTERM)
    assert other.ends() == 0
    until(lambda: service.said().count("In step with") >= 1, "sync, begun again")


@pytest.mark.engine
def test_engine_that_comes_up_after_the_service_is_waited_for(
    server: JobServer, make_service: MakeService, docker_engine: str, tmp_path: Path
):
    if not docker_engine.startswith("unix://"):
        pytest.skip("the engine is at no socket")
    socket = tmp_path / "engine.sock"
    workdir = make_service("docker")
    service = start_service(workdir, DOCKER_HOST=f"unix://{socket}")
    ask(server, workdir, "r1")
    job_of(server, "r1")
    service.says("does not answer")
    socket.symlink_to(docker_engine.removeprefix("unix://"))
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job", 60)


def test_log_has_the_job_in_each_line_and_no_secret(server: JobServer, make_service: MakeService, tmp_path: Path):
    debug = tmp_path / "debug.log"
    workdir = make_service(DEBUG_LOG_FILE=str(debug))
    service = start_service(workdir, "--log-format", "json")
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    service.signal(signal.SIGTERM)
    assert service.ends() == 0
    lines = [json.loads(line) for line in service.said().splitlines()]
    (job_id,) = {line["id"] for line in lines if "id" in line}
    (last,) = [line for line in lines if line.get("status") == "succeeded"]
    assert last["id"] == job_id
    assert (last["workspace"], last["action"], last["req"]) == ("ws-r1", "one", "r1")
    assert last["time"].endswith("Z")
    assert last["level"] == "INFO"
    said = service.said() + debug.read_text() + (workdir.path / "sync-status.json").read_text()
    assert TOKEN not in said
    assert json.dumps(TOKEN)[1:-1] not in said


def test_without_a_token_it_says_which_setting_is_missing(make_service: MakeService):
    said = make_service(JOB_SERVER_TOKEN="").cli("run", "--daemon", code=3).stderr
    assert said.startswith("jobrunner: JOB_SERVER_TOKEN is not set")


def test_options_that_contradict_each_other_are_refused(make_service: MakeService):
    workdir = make_service()
    workdir.cli("run", "--daemon", "--until-idle", code=2)
    workdir.cli("run", "--log-format", "xml", code=2)
