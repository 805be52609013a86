"""Before the machine is restarted: every running job is put back, and its container and files are removed (section 9)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.jobfiles import layout, publish
from jobrunner_cli.engine.jobfiles.layout import JobDirectory
from jobrunner_cli.engine.jobfiles.stores import WorkspaceStores
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, queries

if TYPE_CHECKING:
    from jobrunner_cli.engine.executors.protocol import Executor
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection, Database
    from jobrunner_cli.engine.store.models import Job

log = logging.getLogger(__name__)

MESSAGE = "Waiting to be started over: put back before a restart of the machine"
#: Containers that are ended at once: each may take its whole time to end.
_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What becomes of the running jobs."""

    put_back: tuple[Job, ...]
    #: the verdict on these is stored: the next runner puts their outputs in place, which needs no container
    left: tuple[Job, ...]
    #: what is wrong with the rows of unfinished jobs that cannot be read, a sentence each; these stay as they are
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PutBack:
    """What became of one job."""

    job: Job
    #: why it could not be put back
    error: str | None = None


def plan(conn: Connection) -> Plan:
    """Which jobs run, and what would become of them."""
    damaged: list[str] = []
    active = queries.active_jobs(conn, damaged=damaged)
    running = [job for job in active if state_of(job.status_code) is State.RUNNING]
    decided = queries.results_for(conn, [job.id for job in running])
    return Plan(
        put_back=tuple(job for job in running if job.id not in decided),
        left=tuple(job for job in running if job.id in decided),
        damaged=tuple(damaged),
    )


def put_back(settings: Settings, database: Database, executor: Executor, jobs: Sequence[Job]) -> list[PutBack]:
    """End and remove the containers of these jobs, remove their files, and have them wait to be started over.

    To be called with the runner lock held. What cannot be done for one job keeps none of the others; it stays as it is,
    and the same can be done again. Raises ExecutorUnavailableError if the executor does not answer at all.
    """
    executor.check()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        errors = list(pool.map(lambda job: _remove(settings, executor, job), jobs))
    done = []
    for job, error in zip(jobs, errors, strict=True):
        if error is None:
            with database.transaction() as conn:
                changes.advance(
                    conn,
                    job,
                    (StatusCode.WAITING_ON_REBOOT,),
                    now_ns=time.time_ns(),
                    message=MESSAGE,
                    cause="prepare-for-reboot",
                )
        done.append(PutBack(job=job, error=error))
    return done


def _remove(settings: Settings, executor: Executor, job: Job) -> str | None:
    """Remove what a job has, outside the table; returns why that is not possible."""
    stores = WorkspaceStores(
        workspace=job.workspace,
        high=settings.high_workspace(job.workspace),
        medium=settings.medium_workspace(job.workspace),
    )
    try:
        executor.stop(job.id, grace=settings.job_stop_grace)
        executor.remove(job.id)
        publish.discard_staging(stores, job.id)
        layout.remove(JobDirectory.of(settings.high_privacy_volume_dir, job.id))
    except (JobrunnerError, OSError) as error:
        log.warning("What job %s has cannot be removed: %s", job.id, error)
        return str(error)
    return None
