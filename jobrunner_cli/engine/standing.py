"""How an installation stands: who is at work, which slots are used, what holds jobs up, what the job-server said last."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from jobrunner_cli.engine.service.status import read_status
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.locks import holder_pid
from jobrunner_cli.engine.weights import load_weights

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection
    from jobrunner_cli.engine.store.models import Flag
    from jobrunner_cli.engine.store.overview import Brief


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """What the sync with the job-server last did."""

    #: ISO 8601 in UTC at which it last went well; None if it never did
    well_at: str | None
    #: what went wrong the last time; None if nothing did
    problem: str | None
    #: the process that speaks to the job-server now; None if none does
    pid: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How an installation stands."""

    backend: str
    #: the process that runs jobs here; None if none does
    runner_pid: int | None
    #: worker units in use, and how many there are
    used: Fraction
    workers: int
    used_db: Fraction
    db_workers: int
    #: the flag by which the backend is paused, and by which the database is under maintenance
    paused: Flag | None
    maintenance: Flag | None
    #: names of the workspaces, ids of the jobs that are paused
    paused_workspaces: frozenset[str]
    paused_jobs: frozenset[str]
    #: None where no sync was ever at work
    job_server: Exchange | None


def standing(settings: Settings, conn: Connection, jobs: Iterable[Brief]) -> Standing:
    """How things stand now; `jobs` are to include all that run.

    Raises ConfigurationError for a file of weights that cannot be read, and what the database raises.
    """
    weights = load_weights(settings.job_resource_weights)
    running = [(job, weights.weight(job.workspace, job.action)) for job in jobs if job.state is State.RUNNING]
    paused = queries.pauses(conn)
    report = read_status(settings.sync_status_path)
    told = None
    if report is not None:
        last = [exchange for exchange in (report.asked, report.told) if exchange is not None]
        told = Exchange(
            well_at=max((exchange.well_at for exchange in last if exchange.well_at), default=None),
            problem=next((exchange.problem for exchange in last if exchange.problem), None),
            pid=holder_pid(settings.sync_lock_path),
        )
    return Standing(
        backend=settings.backend,
        runner_pid=holder_pid(settings.runner_lock_path),
        used=sum((weight for _, weight in running), Fraction(0)),
        workers=settings.max_workers,
        used_db=sum((weight for job, weight in running if job.requires_db), Fraction(0)),
        db_workers=settings.max_db_workers,
        paused=queries.backend_paused(conn),
        maintenance=queries.in_maintenance(conn),
        paused_workspaces=frozenset(pause.name for pause in paused if pause.scope == "workspace"),
        paused_jobs=frozenset(pause.name for pause in paused if pause.scope == "job"),
        job_server=told,
    )
