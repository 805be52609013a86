"""Asking the job-server: which requests are active there, which of them are new here, and which actions are cancelled."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import JobrunnerError
from jobrunner_cli.engine.running.session import make_repositories
from jobrunner_cli.engine.service.jobserver import JobServerError
from jobrunner_cli.engine.service.pacing import Backoff, Pace
from jobrunner_cli.engine.service.wire import Incoming, flags_header, read_listing
from jobrunner_cli.engine.store import queries, told

if TYPE_CHECKING:
    from jobrunner_cli.engine.service.intake import Intake
    from jobrunner_cli.engine.service.jobserver import JobServer
    from jobrunner_cli.engine.service.status import SyncStatus
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database

log = logging.getLogger(__name__)

#: Lines about one list that are logged.
_MOST_COMPLAINTS = 20

#: Called with the listed requests that have jobs here, when they were asked for (monotonic seconds), and whether the
#: server had been away before.
Heard = Callable[[Collection[str], float, bool], None]


class Asking:
    """Asks for the active job requests, again and again; for one thread."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        server: JobServer,
        intake: Intake,
        status: SyncStatus,
        pace: Pace,
        heard: Heard,
    ) -> None:
        self._settings = settings
        self._database = database
        self._server = server
        self._intake = intake
        self._status = status
        self._heard = heard
        self._repositories = make_repositories(settings)
        self._backoff = Backoff(settings.poll_interval, pace.longest_wait)
        self._complaints: frozenset[str] = frozenset()
        #: what could not be done for entries of the last listing, a sentence each
        self.failures: list[str] = []

    def run(self, stop: threading.Event) -> None:
        """Ask every POLL_INTERVAL until told to stop; after a failure, after growing waits."""
        while not stop.is_set():
            began = time.monotonic()
            wait = self._turn()
            if not self._backoff.failures:
                wait -= time.monotonic() - began
            stop.wait(max(wait, 0.0))

    def _turn(self) -> float:
        """Ask once; returns the seconds until the next time."""
        try:
            self.ask()
        except JobrunnerError as error:
            wait = self._backoff.failed()
            log.warning("%s; asking again in %.0f s", error.told, wait)
        except Exception:
            wait = self._backoff.failed()
            log.exception("The job-server cannot be asked; asking again in %.0f s", wait)
        else:
            if self._backoff.failures:
                log.info("The job-server answers again")
            self._backoff.succeeded()
            wait = self._settings.poll_interval
        return wait

    def ask(self) -> None:
        """Ask for the list, pass on what is new and what is cancelled.

        What was read before a failure is passed on, too. Raises JobServerError.
        """
        asked_at = time.monotonic()
        entries, problem = self._entries()
        listing = read_listing(entries, self._settings.backend)
        self._complain((*listing.unusable, *listing.foreign))
        conn = self._database.connection
        new = told.requests_without_jobs(conn, (incoming.request.id for incoming in listing.incoming))
        known = [incoming for incoming in listing.incoming if incoming.request.id not in new]
        self.failures = list(listing.unusable)
        self._cancel(known)
        self._intake.submit(
            (incoming for incoming in listing.incoming if incoming.request.id in new), complete=problem is None
        )
        self._status.asked(len(listing.incoming), None if problem is None else problem.told)
        if problem is not None:
            raise problem
        self._heard({incoming.request.id for incoming in known}, asked_at, self._backoff.failures > 0)

    def _entries(self) -> tuple[list[Any], JobServerError | None]:
        """The entries of all pages that could be read, and why the rest could not."""
        entries: list[Any] = []
        try:
            for page in self._server.job_requests(flags_header(queries.flags(self._database.connection))):
                entries += page
        except JobServerError as error:
            return entries, error
        return entries, None

    def _complain(self, complaints: Sequence[str]) -> None:
        """Log what is wrong with the list, once for as long as it stays wrong."""
        fresh = [text for text in complaints if text not in self._complaints]
        for text in fresh[:_MOST_COMPLAINTS]:
            log.warning("%s", text)
        if len(fresh) > _MOST_COMPLAINTS:
            log.warning("and %d more like these", len(fresh) - _MOST_COMPLAINTS)
        self._complaints = frozenset(complaints)

    def _cancel(self, known: Sequence[Incoming]) -> None:
        """Ask for the end of unfinished jobs whose actions are cancelled."""
        wanting = {incoming.request.id: incoming.request for incoming in known if incoming.request.cancelled_actions}
        unfinished = told.unfinished_actions(self._database.connection, wanting) if wanting else {}
        for request_id, actions in unfinished.items():
            if actions.isdisjoint(wanting[request_id].cancelled_actions):
                continue
            try:
                # A request that has its jobs is not made again: only its cancelled actions are taken over.
                requests.create_jobs(self._settings, self._repositories, self._database, wanting[request_id])
            except Exception as error:
                self.failures.append(f"The cancelled actions of job request {request_id} cannot be taken over: {error}")
                log.exception("The cancelled actions of job request %s cannot be taken over", request_id)
