"""What a service manager hears of a service, and what its signals do."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.job_server import JobServer
from support.runners import WorkDirectory, until
from support.serving import HELD, MakeService, ServiceManager, ask, job_of, start_service

pytestmark = pytest.mark.slow

WATCHDOG = "WATCHDOG=1"


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ServiceManager]:
    """A service manager that listens at a path, and one at an abstract name."""
    path = f"@jobrunner-test-{os.getpid()}-{tmp_path.name}" if request.param == "abstract" else str(tmp_path / "notify")
    with closing(ServiceManager(path)) as listening:
        yield listening


@pytest.fixture
def plain_manager(tmp_path: Path) -> Iterator[ServiceManager]:
    with closing(ServiceManager(str(tmp_path / "notify"))) as listening:
        yield listening


@contextmanager
def locked(workdir: WorkDirectory) -> Iterator[None]:
    """The table with a lock that keeps the loop from writing."""
    with closing(sqlite3.connect(workdir.path / "db.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA busy_timeout = 20000")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def test_it_hears_ready_status_watchdog_and_stopping(
    server: JobServer, make_service: MakeService, manager: ServiceManager
):
    workdir = make_service()
    service = start_service(workdir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="600000")
    manager.hear(lambda text: text == "READY=1", "READY")
    manager.hear(lambda text: text == WATCHDOG, "WATCHDOG")
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    manager.hear(lambda text: text.startswith("STATUS=1 running, 0 waiting, job-server ok "), "STATUS")
    workdir.wait_for_file(job_id, "busy")
    workdir.let_go(job_id)
    manager.hear(lambda text: text.startswith("STATUS=0 running, 0 waiting, "), "STATUS")
    service.signal(signal.SIGTERM)
    assert "EXTEND_TIMEOUT_USEC=" in manager.hear(lambda text: text.startswith("STOPPING=1"), "STOPPING")
    assert service.ends() == 0
    assert manager.heard.count("READY=1") == 1


def test_watchdog_is_fed_only_by_a_loop_that_moves(
    server: JobServer, make_service: MakeService, plain_manager: ServiceManager
):
    workdir = make_service()
    start_service(workdir, NOTIFY_SOCKET=plain_manager.address, WATCHDOG_USEC="600000")
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    with locked(workdir):
        # The loop is to write that the job has ended, and waits for the lock.
        workdir.let_go(job_id)
        until(lambda: plain_manager.hears_nothing(WATCHDOG, 2.0), "a loop that hangs")
    plain_manager.hear(lambda text: text == WATCHDOG, "a loop that moves again")
    workdir.wait_for(job_id, "succeeded")


def test_watchdog_of_another_process_is_not_fed(server: JobServer, make_service: MakeService, manager: ServiceManager):
    workdir = make_service()
    start_service(workdir, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="100000", WATCHDOG_PID="1")
    manager.hear(lambda text: text.startswith("STATUS=0 running, 0 waiting, job-server ok"), "a service at work")
    assert WATCHDOG not in manager.heard


def test_reload_is_over_when_it_hears_ready_again(make_service: MakeService, plain_manager: ServiceManager):
    service = start_service(make_service(), NOTIFY_SOCKET=plain_manager.address)
    plain_manager.hear(lambda text: text == "READY=1", "READY")
    service.signal(signal.SIGHUP)
    plain_manager.hear(lambda text: text.startswith("RELOADING=1\nMONOTONIC_USEC="), "RELOADING")
    plain_manager.hear(lambda text: text == "READY=1", "READY once more")
    assert "Settings were read again" in service.said()


def test_reload_that_fails_is_over_too(make_service: MakeService, plain_manager: ServiceManager):
    workdir = make_service()
    service = start_service(workdir, NOTIFY_SOCKET=plain_manager.address)
    plain_manager.hear(lambda text: text == "READY=1", "READY")
    # Where it reads `.env`, there is nothing any more.
    shutil.rmtree(workdir.base / "elsewhere")
    service.signal(signal.SIGHUP)
    plain_manager.hear(lambda text: text.startswith("RELOADING=1"), "RELOADING")
    plain_manager.hear(lambda text: text == "READY=1", "READY once more")
    assert "Nothing is taken over" in service.said()
    assert "Traceback" not in service.said()


def test_engine_elsewhere_that_does_not_answer_is_waited_for_by_a_service_that_is_ready(
    server: JobServer, make_service: MakeService, plain_manager: ServiceManager
):
    workdir = make_service()
    service = start_service(
        workdir,
        EXECUTOR="docker",
        DOCKER_HOST="tcp://127.0.0.1:9",
        ENABLE_MAINTENANCE_MODE_THREAD="on",
        DEFAULT_DATABASE_URL="mssql://user:password@127.0.0.1/name",
        NOTIFY_SOCKET=plain_manager.address,
        WATCHDOG_USEC="600000",
    )
    plain_manager.hear(lambda text: text == "READY=1", "READY")
    told = plain_manager.hear(lambda text: "trouble with maintenance" in text, "STATUS")
    assert told.count("does not answer") == 1
    assert "the engine does not answer" in told
    plain_manager.hear(lambda text: text == WATCHDOG, "WATCHDOG")
    # Requests become jobs meanwhile.
    ask(server, workdir, "r1")
    job_of(server, "r1")
    assert service.said().count("is waited for") == 1
    service.signal(signal.SIGTERM)
    assert service.ends() == 0


def test_service_manager_that_is_gone_holds_up_nothing(server: JobServer, make_service: MakeService, tmp_path: Path):
    workdir = make_service()
    service = start_service(workdir, NOTIFY_SOCKET=str(tmp_path / "nobody"), WATCHDOG_USEC="100000")
    ask(server, workdir, "r1")
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    assert service.said().count("The service manager cannot be told anything") == 1


def test_leaving_takes_no_longer_than_the_setting_allows(
    server: JobServer, make_service: MakeService, plain_manager: ServiceManager
):
    workdir = make_service(DRAIN_TIMEOUT="1")
    service = start_service(workdir, NOTIFY_SOCKET=plain_manager.address, WATCHDOG_USEC="600000")
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    with locked(workdir):
        workdir.let_go(job_id)
        until(lambda: plain_manager.hears_nothing(WATCHDOG, 2.0), "a loop that hangs")
        service.signal(signal.SIGTERM)
        assert service.ends(20) == 0
    assert "not done within 1 s" in service.said()
    start_service(workdir)
    server.until(lambda: server.statuses("r1") == {"one": "succeeded"}, "the end of the job")
    assert workdir.starts() == {job_id: 1}


def test_second_signal_leaves_at_once(server: JobServer, make_service: MakeService, plain_manager: ServiceManager):
    workdir = make_service()
    service = start_service(workdir, NOTIFY_SOCKET=plain_manager.address, WATCHDOG_USEC="600000")
    ask(server, workdir, "r1", HELD)
    job_id = job_of(server, "r1")
    workdir.wait_for_file(job_id, "busy")
    workdir.wait_for(job_id, "executing")
    with locked(workdir):
        # A loop that cannot write cannot leave either, until the lock is gone.
        workdir.let_go(job_id)
        until(lambda: plain_manager.hears_nothing(WATCHDOG, 2.0), "a loop that hangs")
        service.signal(signal.SIGTERM)
        service.says("Leaving as soon as")
    service.signal(signal.SIGTERM)
    # It may have left in the meantime.
    assert service.ends() in {130, 0}
