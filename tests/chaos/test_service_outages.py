"""A service from its first start on: everything it depends on fails in turn, and every final state reaches the job-server once."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database
from support.job_server import TOKEN, JobServer
from support.private_engine import PrivateEngine
from support.runners import Command, WorkDirectory, engine_client
from support.serving import HELD, MakeService, ask, make_service, server, start_service
from support.studies import action, make_study

__all__ = ["make_service", "server"]

pytestmark = [
    pytest.mark.engine,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("dockerd"), reason="only root can start an engine"),
]

PASSWORD = "s3cret-of-the-database"
#: An image whose actions use the database.
DATABASE_IMAGE = "sqlrunner:v1"


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PrivateEngine]:
    """An engine of the test's own, which everything in the test uses."""
    engine = PrivateEngine(tmp_path / "checkout")
    monkeypatch.setenv("DOCKER_HOST", engine.url)
    with closing(engine_client(engine.url)) as client:
        client.tag("ghcr.io/opensafely-core/python:v2", "ghcr.io/opensafely-core/sqlrunner", "v1")
    yield engine
    engine.close()


@pytest.fixture
def workdir(engine: PrivateEngine, make_service: MakeService) -> WorkDirectory:
    return make_service(
        "docker",
        MAX_WORKERS="4",
        USING_DUMMY_DATA_BACKEND="false",
        DEFAULT_DATABASE_URL=f"mssql://user:{PASSWORD}@192.0.2.1/db",
        DATABASE_ACCESS_NETWORK="bridge",
    )


def ask_for_database_job(server: JobServer, workdir: WorkDirectory, request_id: str, script: str) -> None:
    run = f"{DATABASE_IMAGE} sh -c {shlex.quote(script)}"
    study = make_study(workdir.base / f"study-{request_id}", {"one": action(run, high=["one.txt"])})
    head = study.git("rev-parse", "HEAD")
    server.add(request_id, str(study.path), head, ["one"], workspace={"name": f"ws-{request_id}"})


def code(server: JobServer, request_id: str) -> str | None:
    """The code of a request's one job, as the server has it."""
    return next((row["status_code"] for row in server.jobs.get(request_id, {}).values()), None)


def wait(server: JobServer, request_id: str, *codes: str) -> str:
    """Wait until the server knows the job of a request with one of these codes; its id."""
    server.until(lambda: code(server, request_id) in codes, f"{request_id} at {codes}", 90)
    return next(iter(server.jobs[request_id]))


def leave(service: Command) -> None:
    service.signal(signal.SIGTERM)
    assert service.ends() == 0


def test_every_final_state_arrives_once_whatever_fails(
    engine: PrivateEngine, server: JobServer, workdir: WorkDirectory
):
    services = [start_service(workdir)]
    ask(server, workdir, "quick")
    wait(server, "quick", "succeeded")

    # A user cancels, an operator says that the database is under maintenance, and pauses.
    ask(server, workdir, "long", HELD)
    ask(server, workdir, "unwanted", HELD)
    ask_for_database_job(server, workdir, "reading", HELD)
    long, _, reading = (wait(server, name, "executing") for name in ("long", "unwanted", "reading"))
    with server.guard:
        server.requests["unwanted"]["cancelled_actions"] = ["one"]
    wait(server, "unwanted", "cancelled_by_user")
    workdir.cli("flags", "set", "manual-db-maintenance=on")
    wait(server, "reading", "waiting_db_maintenance")
    assert code(server, "long") == "executing"
    workdir.cli("flags", "set", "manual-db-maintenance=")
    wait(server, "reading", "executing")
    workdir.cli("jobs", "pause")
    ask(server, workdir, "later")
    wait(server, "later", "paused")
    workdir.cli("jobs", "resume")
    wait(server, "later", "succeeded")

    # The server goes, then the engine, which takes its containers with it, then the service; and each comes back.
    server.go_down()
    engine.terminate()
    services[-1].says("does not answer")
    engine.start_again()
    for job_id, times in ((long, 2), (reading, 3)):
        workdir.wait_for_step(job_id, "executing", times)
        workdir.wait_for_file(job_id, "busy")
    services[-1].kill()
    workdir.let_go(long)
    services.append(start_service(workdir))
    workdir.wait_for(long, "succeeded")
    leave(services[-1])
    assert code(server, "long") == "executing"
    services.append(start_service(workdir))
    server.come_up()
    wait(server, "long", "succeeded")
    wait(server, "reading", "executing")

    # The machine is restarted.
    leave(services[-1])
    assert "put back" in workdir.cli("prepare-for-reboot", "--yes").stdout
    assert workdir.containers() == {}
    engine.cut_power()
    engine.start_again()
    services.append(start_service(workdir))
    workdir.wait_for_step(reading, "executing", 4)
    workdir.wait_for_file(reading, "busy")
    wait(server, "reading", "executing")
    workdir.let_go(reading)
    wait(server, "reading", "succeeded")
    leave(services[-1])

    ends = {
        "quick": "succeeded",
        "long": "succeeded",
        "unwanted": "failed",
        "reading": "succeeded",
        "later": "succeeded",
    }
    assert {name: server.statuses(name)["one"] for name in ends} == ends
    # The server writes to users whenever a job comes to an end: it was told of no end that was none.
    jobs = {name: next(iter(server.jobs[name])) for name in ends}
    assert sorted(server.mails) == sorted((jobs[name], end) for name, end in ends.items())
    with Database(workdir.path / "db.sqlite") as database:
        assert not queries.untold_requests(database.connection)
    assert workdir.outputs(workdir.medium, "ws-long") == {"one.txt": b"1\n"}
    assert workdir.outputs(workdir.high, "ws-reading") == {"one.txt": b"1\n"}
    assert workdir.leftovers() == []
    said = "".join(service.said() for service in services)
    assert "Traceback" not in said
    assert TOKEN not in said
    assert PASSWORD not in said
