"""Job requests for tests: a work directory with its database and a study, and what is asked of them without a runner."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.requests import Submission
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.settings import Settings, load
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store import changes, queries
from jobrunner_cli.engine.store.database import Database
from jobrunner_cli.engine.store.migrating import migrate
from jobrunner_cli.engine.store.models import Job
from jobrunner_cli.engine.study.repository import Repositories
from jobrunner_cli.engine.work import JobRequest
from support.repositories import StudyRepository

#: When every request is made.
NOW = 1_795_000_000

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


@dataclass
class Place:
    """A work directory with its database, and a study."""

    settings: Settings
    repositories: Repositories
    database: Database
    study: StudyRepository
    head: str
    #: where the repositories of reusable actions are
    actions: Path

    def request(self, *actions: str, **fields: Any) -> JobRequest:
        request = JobRequest(
            id="request1",
            repo_url=str(self.study.path),
            commit=self.head,
            branch="main",
            requested_actions=actions,
            cancelled_actions=(),
            workspace="test",
            codelists_ok=True,
            database_name="default",
            force_run_dependencies=False,
            original={"identifier": "request1", "unknown": [1, "ü"]},
        )
        return replace(request, **fields)

    def create(self, request: JobRequest, now: float | None = NOW) -> Submission:
        return requests.create_jobs(self.settings, self.repositories, self.database, request, now=now)

    def submit(self, *actions: str, **fields: Any) -> Submission:
        return self.create(self.request(*actions, **fields))

    def local(self, *actions: str, **options: Any) -> JobRequest:
        return requests.local_request(self.settings, self.repositories, str(self.study.path), actions, **options)

    def move(self, job: Job, *path: StatusCode, **fields: Any) -> Job:
        """Take a job along this path, as the loop would."""
        now_ns = (NOW + 60) * 10**9
        return changes.advance(
            self.database.connection, job, path, now_ns=now_ns, message=None, cause="test", changes=fields
        )

    def succeed(self, job: Job) -> Job:
        """Let a job succeed with one output, which is really there."""
        path = next(iter(next(iter(job.output_spec.values())).values()))
        file = self.settings.high_workspace(job.workspace) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")
        c = StatusCode
        return self.move(job, c.PREPARING, c.EXECUTING, c.FINALIZING, c.SUCCEEDED, outputs={path: "highly_sensitive"})

    def succeed_all(self, jobs: tuple[Job, ...]) -> None:
        for job in jobs:
            self.succeed(job)

    def stored(self, request_id: str = "request1") -> list[Job]:
        return queries.jobs_of_request(self.database.connection, request_id)


MakePlace = Callable[..., Place]


@pytest.fixture
def make_place(tmp_path: Path) -> Iterator[MakePlace]:
    made: list[Place] = []

    def make(project: str = PROJECT, **variables: str) -> Place:
        study = StudyRepository(tmp_path / "study")
        study.project(project)
        environment: Mapping[str, str] = {
            "WORKDIR": str(tmp_path / "work"),
            "REUSABLE_ACTIONS_URL": str(tmp_path / "actions"),
            **variables,
        }
        settings = load(environment, cwd=tmp_path, config_dir=tmp_path)
        migrate(settings.database_path)
        place = Place(
            settings=settings,
            repositories=make_repositories(settings),
            database=Database(settings.database_path),
            study=study,
            head=study.commit(),
            actions=tmp_path / "actions",
        )
        made.append(place)
        return place

    yield make
    for place in made:
        place.database.close()


@pytest.fixture
def place(make_place: MakePlace) -> Place:
    return make_place()


def actions_of(submission: Submission) -> list[str]:
    return [job.action for job in submission.jobs]


def reported(submission: Submission) -> Job:
    """The one job that reports an error."""
    (job,) = submission.jobs
    assert job.action == "__error__"
    assert job.state is State.FAILED
    assert job.run_command is None
    assert job.completed_at == NOW
    assert submission.error is not None
    assert submission.plan is None
    return job


def submit_while(place: Place, request: JobRequest, change: Callable[[], object]) -> Submission:
    """Submit a request whose first plan is made before the change, and whose transaction comes after it."""
    waits_for_the_lock = threading.Event()
    submissions: list[Submission] = []

    def submit() -> None:
        def watch(statement: str) -> None:
            if statement.startswith("BEGIN"):
                waits_for_the_lock.set()

        place.database.connection.set_trace_callback(watch)
        submissions.append(place.create(request))

    with place.database.transaction():
        change()
        thread = threading.Thread(target=submit)
        thread.start()
        assert waits_for_the_lock.wait(60)
    thread.join()
    (submission,) = submissions
    return submission
