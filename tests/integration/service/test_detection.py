"""Database maintenance as the whole service finds it: detected in a container, written, told to the job-server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from uuid import uuid4

import pytest

from support.job_server import JobServer
from support.runners import engine_client, until
from support.serving import MakeService, start_service

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture
def network(docker_engine: str) -> Iterator[str]:
    name = f"jobrunner-test-{uuid4().hex[:8]}"
    with closing(engine_client()) as client:
        client.create_network(name, driver="bridge", internal=True)
        yield name
        client.remove_network(name)


def test_detected_maintenance_reaches_the_server_and_leaves_no_container(
    server: JobServer, make_service: MakeService, network: str
):
    workdir = make_service(
        "docker",
        ENABLE_MAINTENANCE_MODE_THREAD="on",
        MAINTENANCE_POLL_INTERVAL="600",
        DEFAULT_DATABASE_URL="mssql://user:secret-password@127.0.0.1/maintenance",
        DATABASE_ACCESS_NETWORK=network,
    )
    service = start_service(workdir)
    server.until(lambda: "db-maintenance" in json.dumps(server.flags), "the flag that the server reads")
    until(lambda: workdir.containers() == {}, "the end of the check")
    assert workdir.ask("SELECT value FROM flags WHERE id = 'mode'") == [("db-maintenance",)]
    assert "secret-password" not in service.said()
