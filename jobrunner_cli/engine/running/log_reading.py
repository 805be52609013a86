"""Reading a job's log: from the executor while it runs, from the store afterwards; one log to the reader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store import queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job

#: Seconds between two looks at whether another process has committed.
_LOOK_INTERVAL = 0.1


def stored_log(settings: Settings, job: Job) -> Path | None:
    """Where the log of a job is stored; None as long as it is not.

    The month in its path is that in which the job was finalized: nearly always that of its end.
    """
    logs = settings.high_privacy_storage_base / "logs"
    name = f"os-job-{job.id}/logs.txt"
    if job.completed_at is not None:
        guess = logs / time.strftime("%Y-%m", time.gmtime(job.completed_at)) / name
        if guess.is_file():
            return guess
    return next(iter(sorted(logs.glob(f"*/{name}"), reverse=True)), None)


def read_log(
    settings: Settings, database: Database, executor: Callable[[], Executor], job: Job, *, follow: bool
) -> Iterator[bytes]:
    """The lines of a job's log without their line ends, each beginning with its timestamp.

    With `follow` until the job has ended, going over from the live log to the stored one without losing or
    repeating a line. `executor` is asked for only if the job has no stored log.
    """
    path = stored_log(settings, job)
    if path is not None and not _is_active(job):
        yield from _lines(path)
        return
    if not follow:
        if job.status_code in {
            StatusCode.EXECUTING,
            StatusCode.EXECUTED,
            StatusCode.FINALIZING,
            StatusCode.INTERNAL_ERROR,
        }:
            yield from executor().logs(job.id)
        return
    yield from _followed(settings, database, executor, job)


def _followed(settings: Settings, database: Database, executor: Callable[[], Executor], job: Job) -> Iterator[bytes]:
    seen, restarts = 0, job.restarts
    version = None
    current: Job | None = job
    while current is not None and _is_active(current):
        if current.restarts != restarts:
            # It was started over: what it prints begins anew.
            seen, restarts = 0, current.restarts
        if current.status_code is StatusCode.EXECUTING:
            for number, line in enumerate(executor().logs(job.id, follow=True)):
                if number >= seen:
                    seen += 1
                    yield line
        version = _await_commit(database, version)
        current = queries.job_by_id(database.connection, job.id)
    path = None if current is None else stored_log(settings, current)
    if path is not None:
        for number, line in enumerate(_lines(path)):
            if number >= seen:
                yield line


def _await_commit(database: Database, version: int | None) -> int:
    """Wait until somebody has committed since a version of the data; returns the new version."""
    while (now := database.connection.data_version()) == version:
        time.sleep(_LOOK_INTERVAL)
    return now


def _is_active(job: Job) -> bool:
    return state_of(job.status_code) in {State.PENDING, State.RUNNING}


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for line in stream:
            yield line.rstrip(b"\n")
