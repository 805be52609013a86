"""For tests of sync: a work directory with its database, a study, and a job-server that listens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine.service.jobserver import Limits
from jobrunner_cli.engine.service.pacing import Pace
from jobrunner_cli.engine.service.sync import Sync
from jobrunner_cli.engine.settings import Settings, load
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import Job, SavedJobRequest
from support.job_server import BACKEND, TOKEN, JobServer, serving
from support.repositories import StudyRepository
from support.store import make_job

#: Quick enough for a test, and slow enough to be told apart.
PACE = Pace(look=0.01, gap=0.05, full=300.0, longest_wait=0.5, farewell=5.0)
LIMITS = Limits(connect=2.0, silence=2.0, call=3.0)

PROJECT = """
    version: 4
    actions:
      extract:
        run: ehrql:v1 generate-dataset analysis/dataset.py --output output/extract.csv
        outputs: {highly_sensitive: {table: output/extract.csv}}
      clean:
        run: python:v2 python analysis/clean.py
        needs: [extract]
        outputs: {highly_sensitive: {table: output/clean.csv}}
      report:
        run: r:v2 analysis/report.R
        needs: [clean]
        outputs: {moderately_sensitive: {page: output/report.html}}
    """

C = StatusCode


class Place:
    """A work directory whose settings name a job-server."""

    def __init__(self, base: Path, server: JobServer, **variables: str) -> None:
        self.server = server
        self.study = StudyRepository(base / "study")
        self.study.project(PROJECT)
        self.head = self.study.commit()
        self.environment = {
            "WORKDIR": str(base / "work"),
            "BACKEND": BACKEND,
            "USING_DUMMY_DATA_BACKEND": "true",
            "GITHUB_PROXY": "false",
            "ALLOWED_GITHUB_ORGS": "*",
            "JOB_SERVER_ENDPOINT": server.endpoint,
            "JOB_SERVER_TOKEN": TOKEN,
            "POLL_INTERVAL": "0.05",
            **variables,
        }
        self.settings: Settings = load(self.environment, cwd=base, config_dir=base)
        migrate(self.settings.database_path)
        self.database = Database(self.settings.database_path)

    def sync(self, pace: Pace = PACE, limits: Limits = LIMITS) -> Sync:
        return Sync(self.settings, pace=pace, limits=limits)

    @contextmanager
    def syncing(self, pace: Pace = PACE, limits: Limits = LIMITS) -> Iterator[Sync]:
        """A sync that is at work while inside."""
        stop, sync = threading.Event(), self.sync(pace, limits)
        thread = threading.Thread(target=sync.run, args=(stop,))
        thread.start()
        try:
            yield sync
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive()

    def ask_for(self, identifier: str, /, *actions: str, **fields: Any) -> dict[str, Any]:
        """A new job request on the server."""
        return self.server.add(identifier, str(self.study.path), self.head, actions or ("run_all",), **fields)

    def add_jobs(
        self, request_id: str, count: int = 2, *, there: bool = True, origin: str | None = None, **fields: Any
    ) -> list[Job]:
        """Jobs as an earlier sync has made them; `there` says that the server knows of the request."""
        if there:
            self.ask_for(request_id)
        jobs = [
            make_job(f"{request_id}-{number}", job_request_id=request_id, action=f"action{number}", **fields)
            for number in range(count)
        ]
        original = {"identifier": request_id} | ({"origin": origin} if origin else {})
        changes.insert_request_and_jobs(
            self.database.connection, SavedJobRequest(id=request_id, original=original), jobs
        )
        return jobs

    def move(self, job: Job, *path: StatusCode, message: str | None = None) -> Job:
        """Take a job along this path, as the loop would."""
        now = time.time_ns()
        return changes.advance(self.database.connection, job, path, now_ns=now, message=message, cause="test")

    def finish(self, job: Job) -> Job:
        return self.move(job, C.PREPARING, C.EXECUTING, C.FINALIZING, C.SUCCEEDED, message="Completed successfully")

    def jobs(self, request_id: str) -> list[Job]:
        return queries.jobs_of_request(self.database.connection, request_id)

    def untold(self) -> set[str]:
        return set(queries.untold_requests(self.database.connection))


MakePlace = Callable[..., Place]


@pytest.fixture
def server() -> Iterator[JobServer]:
    with serving() as listening:
        yield listening


@pytest.fixture
def make_place(tmp_path: Path, server: JobServer) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(**variables: str) -> Place:
        made.append(Place(tmp_path, server, **variables))
        return made[-1]

    yield make
    for place in made:
        place.database.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place()


def actions_of(jobs: Sequence[Job]) -> list[str]:
    return [job.action for job in jobs]
