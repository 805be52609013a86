"""Sync: the conversation with a job-server, which brings requests and is told of jobs, in two threads and an intake.

One thread asks, one tells, and new requests are planned beside both: none of them waits for another one.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ConfigurationError, RunnerActiveError
from jobrunner_cli.engine.masking import Masker
from jobrunner_cli.engine.service.asking import Asking
from jobrunner_cli.engine.service.intake import Intake
from jobrunner_cli.engine.service.jobserver import JobServer, JobServerError, Limits
from jobrunner_cli.engine.service.pacing import Pace
from jobrunner_cli.engine.service.status import SyncReport, SyncStatus
from jobrunner_cli.engine.service.telling import Round, Teller
from jobrunner_cli.engine.store.database import Database, ensure_migrated
from jobrunner_cli.engine.store.locks import RunnerLock, holder_pid

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings

log = logging.getLogger(__name__)

#: Seconds for which those are waited for at the end who have nothing to finish.
_PATIENCE = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceReport:
    """What one exchange came to."""

    #: job requests that the server lists
    listed: int
    #: requests that became jobs, or a report of what is wrong with them
    taken: int
    #: requests and jobs whose states were confirmed
    told_requests: int
    told_jobs: int
    #: a sentence for each request that could not be taken or told
    failures: tuple[str, ...]
    #: why the server could not be asked or told
    problems: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    intake: Intake
    asking: Asking
    teller: Teller
    #: those that are at work, and how many seconds each is waited for at the end
    threads: list[tuple[threading.Thread, float]]


class Sync:
    """Keeps the table of a work directory and a job-server in step."""

    def __init__(self, settings: Settings, *, pace: Pace | None = None, limits: Limits | None = None) -> None:
        """Raises ConfigurationError if there is no token, or one that cannot be sent."""
        if not settings.job_server_token:
            msg = "JOB_SERVER_TOKEN is not set, and the job-server talks to nobody without it"
            raise ConfigurationError(msg, hint="set it in the environment or in .env")
        self._settings = settings
        self._token = settings.job_server_token
        self._pace = pace or Pace()
        self._limits = limits
        self._mask = Masker(settings.secrets()).mask
        self._status = SyncStatus(settings.sync_status_path, settings.job_server_endpoint)
        # Refuses a token that cannot be sent.
        self._server().close()

    @property
    def report(self) -> SyncReport:
        """What was done so far; from any thread. `{WORKDIR}/sync-status.json` has the same."""
        return self._status.report

    def run(self, stop: threading.Event) -> None:
        """Ask and tell until told to stop, whatever goes wrong in between; then tell what is still untold, if that is quick.

        Raises RunnerActiveError if another process does it already, DatabaseNotMigratedError, and ConfigurationError.
        """
        leaving = threading.Event()
        with self._parts(leaving) as parts:
            threads = [
                threading.Thread(target=_surviving(parts.teller.run), args=(leaving,), name="telling", daemon=True),
                threading.Thread(target=_surviving(parts.asking.run), args=(leaving,), name="asking", daemon=True),
            ]
            log.info("In step with %s from now on", self._settings.job_server_endpoint)
            for thread in threads:
                thread.start()
            parts.threads.extend(zip(threads, (self._pace.farewell, _PATIENCE), strict=True))
            stop.wait()

    def once(self, stop: threading.Event | None = None) -> OnceReport:
        """Ask once, take everything that is new, tell once. Raises what `run` raises.

        Once `stop` is set, what is not taken yet is left to the next time.
        """
        problems: list[str] = []
        done = Round()
        with self._parts(stop or threading.Event()) as parts:
            try:
                parts.asking.ask()
            except JobServerError as error:
                problems.append(error.told)
            parts.intake.wait()
            try:
                parts.teller.tell(done, full=True)
            except JobServerError as error:
                problems.append(error.told)
            failures = [
                *parts.asking.failures,
                *(f"Job request {name} cannot be taken: {why}" for name, why in parts.intake.failed.items()),
                *(f"The jobs of request {name} cannot be told: {why}" for name, why in done.refused.items()),
            ]
            asked = self.report.asked
            return OnceReport(
                listed=0 if asked is None else asked.requests,
                taken=parts.intake.taken,
                told_requests=len(done.confirmed),
                told_jobs=done.jobs,
                failures=tuple(failures),
                problems=tuple(dict.fromkeys(problems)),
            )

    def _server(self) -> JobServer:
        return JobServer(
            endpoint=self._settings.job_server_endpoint,
            token=self._token,
            backend=self._settings.backend,
            mask=self._mask,
            user_agent=f"jobrunner/{self._settings.version_text}",
            limits=self._limits,
        )

    @contextmanager
    def _parts(self, leaving: threading.Event) -> Iterator[_Parts]:
        """Everything put together, while holding the lock."""
        settings = self._settings
        ensure_migrated(settings.database_path)
        lock = RunnerLock(settings.sync_lock_path)
        try:
            lock.acquire()
        except RunnerActiveError as error:
            pid = holder_pid(settings.sync_lock_path)
            who = f"process {pid}" if pid else "another process"
            msg = f"{who} already syncs {settings.workdir} with its job-server"
            raise RunnerActiveError(msg, hint="stop it first, or give this one another WORKDIR") from error
        servers = [self._server(), self._server()]
        database = Database(settings.database_path)
        teller = Teller(
            settings=settings,
            database=database,
            server=servers[0],
            status=self._status,
            pace=self._pace,
            mask=self._mask,
        )
        intake = Intake(settings, database, self._pace, leaving)
        asking = Asking(
            settings=settings,
            database=database,
            server=servers[1],
            intake=intake,
            status=self._status,
            pace=self._pace,
            heard=teller.hear,
        )
        parts = _Parts(intake=intake, asking=asking, teller=teller, threads=[])
        try:
            yield parts
        finally:
            leaving.set()
            deadline = time.monotonic() + self._pace.farewell
            for thread, patience in parts.threads:
                thread.join(min(patience, max(deadline - time.monotonic(), 0.0)))
            done = intake.close(max(min(_PATIENCE, deadline - time.monotonic()), 0.0))
            # What is still at work ends with the process; it must not find its connection closed.
            if done and not any(thread.is_alive() for thread, _ in parts.threads):
                database.close()
                for server in servers:
                    server.close()
            lock.release()


def _surviving(run: Callable[[threading.Event], None]) -> Callable[[threading.Event], None]:
    """A thread's body that is begun again if it ends in an error that nobody thought of."""

    def body(leaving: threading.Event) -> None:
        while not leaving.is_set():
            try:
                run(leaving)
            except Exception:
                log.exception("This part of sync failed and is begun again")
                leaving.wait(1.0)

    return body
