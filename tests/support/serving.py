"""A service at work: work directories with a job-server, and a service manager that listens."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.job_server import BACKEND, TOKEN, JobServer, serving
from support.runners import Command, WorkDirectory
from support.studies import action, make_study

MakeService = Callable[..., WorkDirectory]

HELD = "touch busy; while [ ! -e go ]; do sleep 0.05; done; echo 1 > one.txt"


@pytest.fixture
def server() -> Iterator[JobServer]:
    with serving() as listening:
        yield listening


@pytest.fixture
def make_service(tmp_path: Path, server: JobServer) -> Iterator[MakeService]:
    """Makes work directories whose settings name the job-server."""
    made: list[WorkDirectory] = []

    def make(executor: str = "process", **settings: str) -> WorkDirectory:
        base = tmp_path / f"place{len(made)}"
        base.mkdir()
        known = {
            "BACKEND": BACKEND,
            "USING_DUMMY_DATA_BACKEND": "true",
            "GITHUB_PROXY": "false",
            "ALLOWED_GITHUB_ORGS": "*",
            "JOB_SERVER_ENDPOINT": server.endpoint,
            "JOB_SERVER_TOKEN": TOKEN,
            "POLL_INTERVAL": "0.1",
            **settings,
        }
        made.append(WorkDirectory(base, executor, known))
        return made[-1]

    yield make
    for workdir in made:
        workdir.close()


def ask(server: JobServer, workdir: WorkDirectory, request_id: str, script: str = "echo 1 > one.txt") -> None:
    """A job request for one action that runs this script."""
    study = make_study(workdir.base / f"study-{request_id}", {"one": action(workdir.command(script), "one.txt")})
    fields = {"workspace": {"name": f"ws-{request_id}"}}
    server.add(request_id, str(study.path), study.git("rev-parse", "HEAD"), ["one"], **fields)


def job_of(server: JobServer, request_id: str) -> str:
    """The id of a request's one job, once the server knows it."""
    server.until(lambda: server.statuses(request_id), f"the job of {request_id}")
    with server.guard:
        return str(next(iter(server.jobs[request_id])))


class ServiceManager:
    """Listens where NOTIFY_SOCKET points, as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.heard: list[str] = []

    def hear(self, wanted: Callable[[str], bool], doing: str, seconds: float = 30.0) -> str:
        """Wait for a datagram."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self.heard.append(self._socket.recv(4096).decode())
            except TimeoutError:
                break
            if wanted(self.heard[-1]):
                return self.heard[-1]
        raise AssertionError(f"waited {seconds:g} s in vain for {doing}; heard {self.heard[-10:]}")

    def hears_nothing(self, unwanted: str, seconds: float) -> bool:
        """Whether none of these datagrams comes for so long, whatever else does."""
        try:
            self.hear(lambda text: text == unwanted, unwanted, seconds)
        except AssertionError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


def start_service(workdir: WorkDirectory, *words: str, **settings: str) -> Command:
    """A service that holds its work directory."""
    command = workdir.start("run", "--daemon", *words, **settings)
    workdir.wait_for_holder(command)
    return command
