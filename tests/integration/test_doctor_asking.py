"""What `jobrunner doctor` asks others: the engine, disks that hang, and the job-server."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.doctoring import examined, only, workdir
from support.engine_at_port import EngineAtPort
from support.job_server import BACKEND, TOKEN, JobServer
from support.silent_engine import silent_engine
from support.store import make_job, new_database
from support.syncing import server
from support.terminal import jobrunner

__all__ = ["server", "workdir"]

pytestmark = pytest.mark.slow


# The engine.


@pytest.mark.engine
def test_engine_says_what_it_is_and_which_images_it_has(workdir: Path):
    found = examined(EXECUTOR="docker")
    assert os.environ["DOCKER_HOST"] in only(found["engine"], "ok")["text"]
    # The first of its names: other tests may add images meanwhile, and only some are named.
    assert "busybox:v1" in found["images"][0]["text"]


@pytest.mark.engine
def test_network_of_the_database_that_is_missing_is_told(workdir: Path):
    found = examined(code=1, EXECUTOR="docker", BACKEND="tpp", DATABASE_ACCESS_NETWORK="no-such-network")
    assert only(found["network"], "problem")["help"] == "docker network create no-such-network"
    there = examined(EXECUTOR="docker", BACKEND="tpp", DATABASE_ACCESS_NETWORK="bridge")
    assert "bridge is there" in only(there["network"], "ok")["text"]


@pytest.mark.engine
def test_image_that_a_job_waits_for_is_told_with_what_fetches_it(workdir: Path):
    (workdir / "db.sqlite").unlink()
    new_database(workdir, make_job("job1", run_command="nosuch:v9 x.py")).close()
    one = only(examined(code=1, EXECUTOR="docker")["images"], "problem")
    assert one["help"] == "jobrunner images pull nosuch:v9"


@pytest.mark.engine
def test_engine_at_a_port_is_told_to_be_open_and_to_see_no_files_of_this_machine(workdir: Path):
    port = EngineAtPort(os.environ["DOCKER_HOST"])
    try:
        found = examined(EXECUTOR="docker", DOCKER_HOST=port.url)
        real = examined(
            code=1, EXECUTOR="docker", DOCKER_HOST=port.url, BACKEND="tpp", DATABASE_ACCESS_NETWORK="bridge"
        )
    finally:
        port.close()
    (told,) = [one for one in found["engine"] if "open to everybody on the network" in one["text"]]
    assert told["verdict"] == "warning"
    assert "DOCKER_TLS_VERIFY" in told["help"]
    assert [one for one in found["engine"] if "are sent to it and back" in one["text"]]
    assert "open to everybody" in only(real["engine"], "problem")["text"]


def test_engine_that_is_not_there_is_told_once(workdir: Path):
    found = examined(code=1, EXECUTOR="docker", DOCKER_HOST=f"unix://{workdir}/no.sock")
    assert "does not answer: no such file or directory" in only(found["engine"], "problem")["text"]
    assert only(found["engine"], "problem")["help"] == "start the engine at that address, or correct DOCKER_HOST"
    assert only(found["images"], "warning")["text"] == "not looked at: the engine does not answer"


@pytest.fixture
def silent(workdir: Path) -> Iterator[str]:
    """The address of an engine that never says a word."""
    with silent_engine(workdir / "s") as (url, _):
        yield url


def test_engine_that_never_answers_holds_up_nothing_else(workdir: Path, silent: str):
    found = examined(code=1, EXECUTOR="docker", DOCKER_HOST=silent)
    assert "no answer" in only(found["engine"], "problem")["text"]
    assert only(found["database"], "ok")


def test_disk_that_hangs_is_told_and_holds_up_nothing_else(workdir: Path, tmp_path: Path):
    # A FIFO in place of a file: whoever opens it waits for a writer that never comes.
    os.mkfifo(tmp_path / "weights.ini")
    found = examined(code=1, JOB_RESOURCE_WEIGHTS=str(tmp_path / "weights.ini"))
    assert only(found["settings"], "problem")["text"] == "no answer within 10 s"
    assert only(found["database"], "ok")


# The job-server.


def test_job_server_that_takes_the_token(workdir: Path, server: JobServer):
    found = examined(
        JOB_SERVER_ENDPOINT=server.endpoint, JOB_SERVER_TOKEN=TOKEN, BACKEND=BACKEND, USING_DUMMY_DATA_BACKEND="true"
    )
    assert f"{server.endpoint} answers" in only(found["job-server"], "ok")["text"]


@pytest.mark.parametrize("how", [403, 500, "reset", "html"])
def test_job_server_that_does_not_answer_as_it_should(how: int | str, workdir: Path, server: JobServer):
    server.fail(how, "GET", times=None)
    wanted = {"JOB_SERVER_ENDPOINT": server.endpoint, "JOB_SERVER_TOKEN": TOKEN}
    done = jobrunner("doctor", "--json", code=1, BACKEND=BACKEND, USING_DUMMY_DATA_BACKEND="true", **wanted)
    (one,) = [one for one in json.loads(done.stdout) if one["check"] == "job-server"]
    assert one["verdict"] == "problem"
    assert one["help"]
    assert TOKEN not in done.stdout


def test_token_that_is_not_the_servers_is_told_and_not_shown(workdir: Path, server: JobServer):
    wanted = {"JOB_SERVER_ENDPOINT": server.endpoint, "JOB_SERVER_TOKEN": "an0ther-t0ken"}
    done = jobrunner("doctor", code=1, BACKEND=BACKEND, USING_DUMMY_DATA_BACKEND="true", **wanted)
    assert "problem  job-server" in done.stdout
    assert "an0ther-t0ken" not in done.stdout


def test_job_server_is_not_told_of_no_flags_where_the_database_is_missing(workdir: Path, server: JobServer):
    (workdir / "db.sqlite").unlink()
    found = examined(
        code=1,
        JOB_SERVER_ENDPOINT=server.endpoint,
        JOB_SERVER_TOKEN=TOKEN,
        BACKEND=BACKEND,
        USING_DUMMY_DATA_BACKEND="true",
    )
    assert found["job-server"][0]["verdict"] == "problem"
    assert server.seen == []
