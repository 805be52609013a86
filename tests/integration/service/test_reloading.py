"""SIGHUP: a service takes over what may change while it is at work, and says so."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from support.job_server import JobServer
from support.runners import WorkDirectory, until
from support.serving import HELD, MakeService, ask, job_of, start_service

pytestmark = pytest.mark.slow


def configure(text: str) -> None:
    """The file with settings that the service reads below its environment."""
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "jobrunner/config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def make_configured(make_service: MakeService, text: str) -> WorkDirectory:
    workdir = make_service()
    # What the environment has, no file can change.
    del workdir.settings["MAX_WORKERS"]
    configure(text)
    return workdir


def test_more_workers_start_a_waiting_job(server: JobServer, make_service: MakeService):
    workdir = make_configured(make_service, "max_workers = 1\n")
    service = start_service(workdir)
    for request_id in ("r1", "r2"):
        ask(server, workdir, request_id, HELD)
    first, second = job_of(server, "r1"), job_of(server, "r2")
    running = until(
        lambda: [one for one in (first, second) if (workdir.working_copy(one) / "busy").exists()], "a start"
    )
    (waiting,) = {first, second} - set(running)
    workdir.wait_for(waiting, "waiting_on_workers")
    configure('max_workers = 2\npoll_interval = 3\nloglevel = "DEBUG"\n')
    service.signal(signal.SIGHUP)
    service.says("MAX_WORKERS 1 -> 2")
    assert "MAX_DB_WORKERS 1 -> 2" in service.said()
    assert "LOGLEVEL INFO -> DEBUG" in service.said()
    assert "Only a restart takes over" not in service.said(), "POLL_INTERVAL comes from the environment"
    workdir.wait_for_file(waiting, "busy")
    workdir.let_go(first, second)
    for request_id in ("r1", "r2"):
        server.until(lambda name=request_id: server.statuses(name) == {"one": "succeeded"}, "the end of the jobs")


def test_weights_count_from_the_next_look_on(server: JobServer, make_service: MakeService, tmp_path: Path):
    weights = tmp_path / "weights.ini"
    weights.write_text("[ws-r2]\none = 2\n")
    workdir = make_configured(make_service, f"max_workers = 2\njob_resource_weights = '{weights}'\n")
    service = start_service(workdir)
    ask(server, workdir, "r1", HELD)
    first = job_of(server, "r1")
    workdir.wait_for_file(first, "busy")
    ask(server, workdir, "r2", HELD)
    second = job_of(server, "r2")
    workdir.wait_for(second, "waiting_on_workers")
    weights.write_text("[ws-r2]\none = 1\n")
    service.signal(signal.SIGHUP)
    service.says("the weights of jobs (1 rule in ")
    workdir.wait_for_file(second, "busy")
    workdir.let_go(first, second)


def test_malformed_settings_change_nothing(server: JobServer, make_service: MakeService):
    workdir = make_configured(make_service, "max_workers = 1\n")
    service = start_service(workdir)
    configure('max_workers = "many"\nloglevel = "DEBUG"\n')
    service.signal(signal.SIGHUP)
    service.says("Nothing is taken over")
    assert "MAX_WORKERS (from config.toml): 'many' is not" in service.said()
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of a job")


def test_what_waits_for_a_restart_is_named(server: JobServer, make_service: MakeService):
    workdir = make_configured(make_service, "max_workers = 1\n")
    service = start_service(workdir)
    configure("max_workers = 1\nstats_poll_interval = 3\n")
    service.signal(signal.SIGHUP)
    service.says("Only a restart takes over: STATS_POLL_INTERVAL")
    assert "nothing has changed" in service.said()
