"""`jobrunner status`: what it says and exits with, whoever is at work."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.service.status import read_status
from jobrunner_cli.engine.service.vitals import PartVitals, Vitals, VitalsFile
from jobrunner_cli.engine.store.locks import RunnerLock
from support.job_server import TOKEN, JobServer
from support.runners import WorkDirectory, until
from support.serving import HELD, MakeService, ask, job_of, start_service
from support.store import set_flag

pytestmark = pytest.mark.slow


def status(workdir: WorkDirectory, code: int = 0, **settings: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(workdir.cli("status", "--json", code=code, **settings).stdout)
    return found


def test_service_at_work_is_well(server: JobServer, make_service: MakeService):
    workdir = make_service(MAX_WORKERS="1")
    service = start_service(workdir)
    for request_id in ("r1", "r2"):
        ask(server, workdir, request_id, HELD)
        workdir.wait_for(job_of(server, request_id), "executing", "waiting_on_workers")
    until((workdir.path / "service-status.json").exists, "what the service says of itself")
    set_flag(workdir, "mode", "db-maintenance")
    # Limits are those of the service, not of whoever asks.
    found = status(workdir, MAX_WORKERS="7")
    assert found["ok"] is True
    assert found["problems"] == []
    assert found["pid"] == service.pid
    assert found["service"]["uptime_seconds"] >= 0
    assert found["service"]["leaving"] is False
    assert set(found["service"]["parts"]) >= {"sync", "metrics"}
    assert found["jobs"] == {"running": 1, "waiting": 1}
    assert found["workers"] == {"used": 1, "free": 0, "total": 1}
    assert found["oldest_waiting"]["status_code"] == "waiting_on_workers"
    assert found["flags"]["mode"]["value"] == "db-maintenance"
    assert found["job_server"]["pid"] == service.pid
    assert found["job_server"]["last_ok_at"]
    assert found["engine"]["answers"] is True
    assert {disk["place"] for disk in found["disks"]} >= {"the high privacy store", "the medium privacy store"}
    said = workdir.cli("status").stdout
    assert f"service, process {service.pid}" in said
    assert "1 running, 1 waiting" in said
    assert "All is well." in said
    assert TOKEN not in said


def test_prometheus_can_read_it(server: JobServer, make_service: MakeService):
    workdir = make_service()
    start_service(workdir)
    until((workdir.path / "service-status.json").exists, "what the service says of itself")
    server.until(server.gets, "the first poll")
    lines = workdir.cli("status", "--format", "prometheus").stdout.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert values["jobrunner_ok"] == "1"
    assert values["jobrunner_up"] == "1"
    assert values['jobrunner_jobs{state="running"}'] == "0"
    assert values['jobrunner_workers{kind="job"}'] == "2"
    assert float(values["jobrunner_sync_last_ok_timestamp_seconds"]) > 1e9
    # Each metric is declared once, before all of its samples.
    names = [line.split("{")[0].split()[0] for line in lines if not line.startswith("#")]
    declared = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert declared == list(dict.fromkeys(names))
    assert sorted(names, key=declared.index) == names


@pytest.mark.parametrize("form", ["text", "prometheus"])
def test_json_goes_with_no_other_form(make_service: MakeService, form: str):
    said = make_service().cli("status", "--json", "--format", form, code=2).stderr
    assert said.startswith(f"jobrunner: --json and --format {form} are two forms\n")


def test_nobody_at_work_is_a_problem(make_service: MakeService):
    found = status(make_service(), 1)
    assert found["pid"] is None
    assert found["problems"] == ["nobody runs jobs here", "nobody speaks to the job-server"]


def test_job_server_that_does_not_answer_is_named_once(server: JobServer, make_service: MakeService):
    workdir = make_service()
    server.fail(502, "GET", times=None)
    start_service(workdir)
    server.until(server.gets, "the first poll")
    until(lambda: (told := read_status(workdir.path / "sync-status.json")) and told.asked, "the trouble")
    until((workdir.path / "service-status.json").exists, "what the service says of itself")
    (problem,) = status(workdir, 1)["problems"]
    assert problem.startswith("sync: The job-server ")


def test_engine_that_does_not_answer_is_named(make_service: MakeService, tmp_path: Path):
    workdir = make_service()
    found = status(workdir, 1, EXECUTOR="docker", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert found["engine"]["answers"] is False
    assert any(problem.startswith("engine: ") for problem in found["problems"])


def test_too_little_space_is_named(make_service: MakeService):
    found = status(make_service(), 1, MEDIUM_PRIVACY_FREE_SPACE_FLOOR="1000000G")
    assert any("the medium privacy store" in problem for problem in found["problems"])


def vitals(**changed: Any) -> Vitals:
    now = time.time()
    known: dict[str, Any] = {
        "pid": os.getpid(),
        "version": "1",
        "started_at": now,
        "told_at": now,
        "looked_at": now,
        "leaving": False,
        "engine_problem": None,
        "max_workers": 2,
        "max_db_workers": 2,
    }
    return Vitals(**{**known, **changed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"looked_at": 0.0}, "the loop has not looked at its jobs for"),
        ({"told_at": 0.0}, "has given no sign of life"),
        ({"engine_problem": "it sleeps"}, "the service does not reach the engine: it sleeps"),
        ({"parts": {"metrics": PartVitals(at_work=False, failures=3, problem="full", says="")}}, "metrics: full"),
    ],
)
def test_what_hangs_or_fails_in_a_service_is_named(make_service: MakeService, changed: dict[str, Any], said: str):
    workdir = make_service(JOB_SERVER_TOKEN="")
    with closing_lock(workdir):
        VitalsFile(workdir.path).write(vitals(**changed))
        (problem,) = status(workdir, 1)["problems"]
    assert said in problem


def test_what_an_earlier_service_said_does_not_count(make_service: MakeService):
    workdir = make_service(JOB_SERVER_TOKEN="")
    VitalsFile(workdir.path).write(vitals(pid=1, looked_at=0.0))
    with closing_lock(workdir):
        found = status(workdir)
    assert found["pid"] == os.getpid()
    assert found["service"] is None


def closing_lock(workdir: WorkDirectory) -> RunnerLock:
    """The lock of a runner, held by the test while inside."""
    return RunnerLock(workdir.path / "runner.lock")


def test_without_a_database_it_names_the_command_that_helps(make_service: MakeService, tmp_path: Path):
    assert "jobrunner migrate" in make_service().cli("status", code=3, WORKDIR=str(tmp_path / "none")).stderr
