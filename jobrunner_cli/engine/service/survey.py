"""How an installation is, at any moment and from outside: who is at work, what waits, what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeVar

from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running.session import make_executor
from jobrunner_cli.engine.running.space import Room, rooms
from jobrunner_cli.engine.service.parts import SyncPart, seconds_of, sync_line, sync_problem
from jobrunner_cli.engine.service.status import SyncReport, read_status
from jobrunner_cli.engine.service.vitals import Vitals, age, read_vitals
from jobrunner_cli.engine.states import State, state_of
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Database, ensure_migrated
from jobrunner_cli.engine.store.locks import holder_pid
from jobrunner_cli.engine.weights import load_weights

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Flag, Job

T = TypeVar("T")

#: Seconds that an engine, a disk or the database gets to answer.
_PATIENCE = 5.0
#: Seconds after which a loop that has not looked at the table hangs; several of its own waits fit into that.
_LOOP_HANGS_AFTER = 60.0
#: Seconds after which a service that has not renewed its file hangs as a whole.
_SERVICE_HANGS_AFTER = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """Worker units."""

    used: Fraction
    total: int

    @property
    def free(self) -> Fraction:
        """Never less than none: fewer may be allowed now than when they were taken."""
        return max(self.total - self.used, Fraction(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """How an installation is. Times are UNIX seconds."""

    version: str
    backend: str
    workdir: str
    #: the process that runs jobs here; None if none does
    pid: int | None
    #: what it says of itself, if it is a service
    vitals: Vitals | None
    running: int
    waiting: int
    workers: Slots
    database_workers: Slots
    #: the one that waits longest
    oldest_waiting: Job | None
    #: those that are set
    flags: tuple[Flag, ...]
    #: the process that speaks to the job-server; None if none does
    sync_pid: int | None
    #: what was last said with the job-server; None if nothing ever was
    sync: SyncReport | None
    #: a line about the engine, or what it does not do
    engine: str
    engine_answers: bool
    rooms: tuple[Room, ...]
    #: what an operator should look at, a sentence each
    problems: tuple[str, ...]

    @property
    def sync_text(self) -> str:
        """How the conversation with the job-server goes."""
        return "never in step with a job-server" if self.sync is None else sync_line(self.sync)

    @property
    def synced_at(self) -> float | None:
        """When the job-server last answered well."""
        if self.sync is None or self.sync.asked is None or self.sync.asked.well_at is None:
            return None
        return seconds_of(self.sync.asked.well_at)


def survey(settings: Settings) -> Survey:
    """Look at everything. Takes as long as an engine or a disk that hangs is waited for, some seconds.

    Raises DatabaseNotMigratedError, ConfigurationError, DatabaseBusyError.
    """
    ensure_migrated(settings.database_path, patience=_PATIENCE)
    engine = _soon(lambda: _engine(settings))
    space = _soon(lambda: rooms(settings))
    pid = holder_pid(settings.runner_lock_path)
    vitals = read_vitals(settings.workdir, pid)
    sync_pid = holder_pid(settings.sync_lock_path)
    report = read_status(settings.sync_status_path)
    weights = load_weights(settings.job_resource_weights)
    damaged: list[str] = []
    with Database(settings.database_path, readonly=True, patience=_PATIENCE) as database:
        jobs = queries.active_jobs(database.connection, damaged=damaged)
        flags = tuple(flag for flag in queries.flags(database.connection) if flag.value is not None)
    running = [job for job in jobs if state_of(job.status_code) is State.RUNNING]
    waiting = [job for job in jobs if state_of(job.status_code) is State.PENDING]
    costs = {job.id: weights.weight(job.workspace, job.action) for job in running}
    answers, said = engine() or (False, f"the engine does not answer within {_PATIENCE:g} s")
    found = space()
    limits = vitals or settings
    return Survey(
        version=settings.version_text,
        backend=settings.backend,
        workdir=str(settings.workdir),
        pid=pid,
        vitals=vitals,
        running=len(running),
        waiting=len(waiting),
        workers=Slots(used=sum(costs.values(), Fraction(0)), total=limits.max_workers),
        database_workers=Slots(
            used=sum((costs[job.id] for job in running if job.requires_db), Fraction(0)), total=limits.max_db_workers
        ),
        oldest_waiting=min(waiting, key=lambda job: job.created_at, default=None),
        flags=flags,
        sync_pid=sync_pid,
        sync=report,
        engine=said,
        engine_answers=answers,
        rooms=found or (),
        # What a part says of itself, and what it has left in a file, may be the same.
        problems=tuple(
            dict.fromkeys(
                [
                    *_problems_of_runner(pid, vitals),
                    *([] if answers else [f"engine: {said}"]),
                    *_problems_of_sync(settings, sync_pid, report),
                    *_problems_of_disks(found),
                    *damaged,
                ]
            )
        ),
    )


def _soon(look: Callable[[], T]) -> Callable[[], T | None]:
    """Begin to look at what may hang; returns what waits for the answer, which is None if none comes in time."""
    answers: SimpleQueue[T] = SimpleQueue()
    deadline = time.monotonic() + _PATIENCE
    Thread(target=lambda: answers.put(look()), daemon=True).start()

    def answer() -> T | None:
        try:
            return answers.get(timeout=max(deadline - time.monotonic(), 0.001))
        except Empty:
            return None

    return answer


def _engine(settings: Settings) -> tuple[bool, str]:
    try:
        return True, make_executor(settings).check()
    except JobrunnerError as error:
        return False, str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, the rest of the survey stands)
        return False, f"{type(error).__name__}: {error}"


def _problems_of_runner(pid: int | None, vitals: Vitals | None) -> list[str]:
    if pid is None:
        return ["nobody runs jobs here"]
    if vitals is None:
        return []
    found = []
    if age(vitals.told_at) > _SERVICE_HANGS_AFTER:
        found.append(f"the service (process {pid}) has given no sign of life for {age(vitals.told_at):.0f} s")
    # Before its first look a loop waits for an engine elsewhere, and that is told of anyway.
    elif vitals.looked_at is not None and age(vitals.looked_at) > _LOOP_HANGS_AFTER:
        found.append(f"the loop has not looked at its jobs for {age(vitals.looked_at):.0f} s")
    if vitals.loop_problem:
        found.append(f"loop: {vitals.loop_problem}")
    if vitals.engine_problem:
        found.append(f"the service does not reach the engine: {vitals.engine_problem}")
    found += [f"{name}: {part.problem}" for name, part in vitals.parts.items() if part.problem]
    return found


def _problems_of_sync(settings: Settings, pid: int | None, report: SyncReport | None) -> list[str]:
    if pid is None:
        return ["nobody speaks to the job-server"] if settings.job_server_token else []
    if report is None:
        return []
    problem = sync_problem(report)
    refused = [f"the job-server refuses request {name}: {why}" for name, why in (report.refused or {}).items()]
    return [*([f"{SyncPart.name}: {problem}"] if problem else []), *refused]


def _problems_of_disks(found: tuple[Room, ...] | None) -> list[str]:
    if found is None:
        return [f"a disk does not say within {_PATIENCE:g} s how much of it is free"]
    return [
        f"{room.place} ({room.path}) has {room.free // 2**20} MiB free, less than the floor of {room.floor // 2**20} MiB"
        for room in found
        if room.is_short
    ]
