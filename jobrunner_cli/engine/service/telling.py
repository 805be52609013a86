"""Telling the job-server the states of jobs: what changed since it last confirmed, and now and then everything.

What it has confirmed is in the table (`acknowledgement`), so a final state is told at least once whatever fails in
between. Rows are read right before they are sent, by one thread, so that nothing stale follows something newer.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ConfigurationError, JobrunnerError
from jobrunner_cli.engine.local_requests import LOCAL_ORIGIN
from jobrunner_cli.engine.service.jobserver import JobServerError, JobsRefusedError
from jobrunner_cli.engine.service.pacing import Backoff, Pace
from jobrunner_cli.engine.service.usage import recorded_usage
from jobrunner_cli.engine.service.wire import flags_header, job_rows
from jobrunner_cli.engine.store import changes, queries, told
from jobrunner_cli.engine.store.told import ToldJob

if TYPE_CHECKING:
    from collections.abc import Callable

    from jobrunner_cli.engine.service.jobserver import JobServer
    from jobrunner_cli.engine.service.status import SyncStatus
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Database

log = logging.getLogger(__name__)

#: Requests whose jobs are read at a time, and bytes of one body; a request is never divided.
_READ_AT_ONCE = 50
_BODY_SIZE = 2 * 2**20
#: Refused bodies in one round after which it is the server, not a request, that is in trouble.
_MOST_REFUSALS = 24


@dataclass(slots=True, kw_only=True)
class Round:
    """What one round of telling came to."""

    #: requests whose jobs were confirmed, and how many jobs these were
    confirmed: set[str] = field(default_factory=set)
    jobs: int = 0
    posts: int = 0
    #: request -> why its jobs were refused, or could not be read
    refused: dict[str, str] = field(default_factory=dict)
    #: bodies that were refused
    refusals: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Telling:
    """All jobs of one request, as they go into a body."""

    request_id: str
    #: the `changed_at` that was read before the jobs; None if it was never noted
    changed_at: int | None
    #: how many rows, and the rows with commas between
    rows: int
    text: bytes


class _Refusal:
    """A request whose jobs the server refuses: why, and when it may be told again."""

    def __init__(self, backoff: Backoff) -> None:
        self.backoff = backoff
        self.reason = ""
        #: it was the request, not the server: the server said so, or refused it again when it took others
        self.proven = False


class Teller:
    """Tells one job-server; for one thread, but for `hear`."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        server: JobServer,
        status: SyncStatus,
        pace: Pace,
        mask: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._database = database
        self._server = server
        self._status = status
        self._pace = pace
        self._mask = mask
        self._backoff = Backoff(settings.poll_interval, pace.longest_wait)
        self._not_before = 0.0
        self._full_at = 0.0
        self._version: int | None = None
        self._refused: dict[str, _Refusal] = {}
        self._guard = threading.Lock()
        self._listed: tuple[Collection[str], float] | None = None
        self._was_away = False
        #: the last listing that was looked at
        self._active_there: Collection[str] = ()
        #: request -> when its jobs were last confirmed, and how often it was told again because the server had it as active
        self._confirmed_at: dict[str, float] = {}
        self._repeats: dict[str, Backoff] = {}

    def hear(self, request_ids: Collection[str], asked_at: float, was_away: bool) -> None:
        """Take note of the requests that are active on the server and have jobs here; from any thread.

        If the server `was_away` before, everything is told at once.
        """
        with self._guard:
            self._listed = (request_ids, asked_at)
            self._was_away |= was_away

    def run(self, stop: threading.Event) -> None:
        """Tell what changes, soon after it does, until told to stop; then once more what is still untold."""
        while not stop.wait(self._pace.look):
            self._turn()
        try:
            if not self._backoff.failures and queries.untold_requests(self._database.connection):
                self.tell(Round(), full=False)
        except Exception as error:  # noqa: BLE001 (it is told at the next start)
            log.warning("The last changes could not be told: %s", error)

    def _turn(self) -> None:
        """Look for something to tell, and tell it."""
        with self._guard:
            is_back, self._was_away = self._was_away, False
        if is_back:
            self._try_everything_now()
        now = time.monotonic()
        if now < max(self._not_before, self._backoff.due_at):
            return
        full = now >= self._full_at
        done = Round()
        try:
            version = self._database.connection.data_version()
            if not (full or version != self._version or self._listed or self._is_retry_due()):
                return
            self._version = version
            self.tell(done, full=full)
        except Exception as error:  # noqa: BLE001 (whatever it is, it is tried again)
            self._recover(error)
            return
        if done.posts:
            self._not_before = time.monotonic() + self._pace.gap
            if self._backoff.failures:
                log.info("The job-server takes the states of jobs again")
            self._backoff.succeeded()

    def _recover(self, error: Exception) -> None:
        wait = self._backoff.failed()
        # When it is back, one round restores the truth.
        self._version, self._full_at = None, 0.0
        if isinstance(error, JobrunnerError):
            log.warning("%s; telling again in %.0f s", error.told, wait)
        else:
            log.error("The states of jobs could not be told; trying again in %.0f s", wait, exc_info=error)

    def _try_everything_now(self) -> None:
        self._full_at = self._not_before = self._backoff.due_at = 0.0
        for refusal in self._refused.values():
            refusal.backoff.due_at = 0.0

    def _is_retry_due(self) -> bool:
        return any(refusal.backoff.is_due for refusal in self._refused.values())

    # One round.

    def tell(self, done: Round, *, full: bool) -> None:
        """Tell what changed since it was last confirmed; if `full`, also everything active here or there.

        What comes of it is noted in `done`. Raises JobServerError if the server is in trouble.
        """
        conn = self._database.connection
        untold = queries.untold_requests(conn)
        wanted = dict.fromkeys([*untold, *self._disagreed(untold)])
        if full:
            wanted |= dict.fromkeys([*queries.active_requests(conn), *self._active_there])
        local = told.requests_of_origin(conn, wanted, LOCAL_ORIGIN)
        if heard := {request_id: untold[request_id] for request_id in local if request_id in untold}:
            # Nobody waits to be told of these: they would be looked at in every round.
            changes.acknowledge(conn, heard)
        good = [one for one in wanted if one not in local and one not in self._refused]
        doubtful = [one for one, refusal in self._refused.items() if refusal.backoff.is_due]
        try:
            for start in range(0, len(good), _READ_AT_ONCE):
                self._send(good[start : start + _READ_AT_ONCE], done)
            # Each alone, after the others: what was refused once holds up nobody.
            for request_id in doubtful:
                self._send([request_id], done)
        except JobServerError as error:
            self._report(done, error.told)
            raise
        if full:
            self._full_at = time.monotonic() + self._pace.full
        if done.posts or done.refused:
            self._report(done, None)

    def _report(self, done: Round, problem: str | None) -> None:
        if done.posts:
            log.debug("Told of %d jobs of %d requests in %d posts", done.jobs, len(done.confirmed), done.posts)
        reasons = {request_id: refusal.reason for request_id, refusal in self._refused.items()}
        self._status.told(len(done.confirmed), problem, reasons)

    def _disagreed(self, untold: Collection[str]) -> list[str]:
        """Requests that the server has as active although it had confirmed, before it was asked, that they are finished.

        It may have been restored from a backup, or have worked off something late.
        """
        with self._guard:
            listed, self._listed = self._listed, None
        if listed is None:
            return []
        self._active_there, asked_at = listed
        there = set(self._active_there)
        self._confirmed_at = {key: at for key, at in self._confirmed_at.items() if key in there or at > asked_at}
        self._repeats = {key: repeat for key, repeat in self._repeats.items() if key in there}
        found = []
        for request_id in told.finished_requests(self._database.connection, there) - set(untold):
            if self._confirmed_at.get(request_id, 0.0) > asked_at:
                continue
            repeat = self._repeats.setdefault(request_id, Backoff(self._settings.poll_interval, self._pace.full))
            if repeat.is_due:
                repeat.failed()
                found.append(request_id)
        return found

    def _send(self, request_ids: Sequence[str], done: Round) -> None:
        """Tell all jobs of these requests, in as many bodies as their size needs."""
        body: list[_Telling] = []
        size = 0
        for telling in self._read(request_ids, done):
            if body and size + len(telling.text) > _BODY_SIZE:
                self._post(body, done)
                body, size = [], 0
            body.append(telling)
            size += len(telling.text) + 1
        if body:
            self._post(body, done)

    def _post(self, body: Sequence[_Telling], done: Round) -> None:
        """Tell one body; if it is refused, find out because of which requests, and tell the others."""
        conn = self._database.connection
        text = b"[" + b",".join(telling.text for telling in body) + b"]"
        done.posts += 1
        try:
            self._server.post_jobs(text, flags_header(queries.flags(conn)))
        except JobsRefusedError as error:
            self._sort_out(body, error, done)
            return
        noted = {one.request_id: one.changed_at for one in body if one.changed_at is not None}
        changes.acknowledge(conn, noted)
        now = time.monotonic()
        for telling in body:
            done.confirmed.add(telling.request_id)
            done.jobs += telling.rows
            self._confirmed_at[telling.request_id] = now
            if self._refused.pop(telling.request_id, None) is not None:
                log.info("The job-server takes the jobs of request %s again", telling.request_id)
        for refusal in self._refused.values():
            if not refusal.proven:
                # Perhaps the server was in trouble: each is tried once more now that it is not.
                refusal.proven, refusal.backoff.due_at = True, 0.0

    def _sort_out(self, body: Sequence[_Telling], error: JobsRefusedError, done: Round) -> None:
        """Note which requests are refused, if that can be told, and tell the others."""
        bad = _requests_of_rows(body, error.rows)
        proven = bool(bad)
        if not bad and len(body) == 1:
            bad = {body[0].request_id: error.message}
        for request_id, why in bad.items():
            self._note_refusal(request_id, why, done, proven=proven)
        done.refusals += 1
        if done.refusals > _MOST_REFUSALS:
            raise JobServerError(error.message) from error
        rest = [telling.request_id for telling in body if telling.request_id not in bad]
        if bad:
            if rest:
                self._send(rest, done)
            return
        # It does not say which: half of them may be right.
        middle = len(rest) // 2
        self._send(rest[:middle], done)
        self._send(rest[middle:], done)

    def _note_refusal(self, request_id: str, why: str, done: Round, *, proven: bool = True) -> None:
        first = Backoff(self._settings.poll_interval, self._pace.longest_wait)
        refusal = self._refused.setdefault(request_id, _Refusal(first))
        done.refused[request_id] = refusal.reason = why
        refusal.proven |= proven
        wait = refusal.backoff.failed()
        log.warning("The jobs of request %s cannot be told: %s; trying again in %.0f s", request_id, why, wait)

    # Reading.

    def _read(self, request_ids: Sequence[str], done: Round) -> Iterator[_Telling]:
        """The jobs of these requests as they are now; a request with a row that cannot be read is left out."""
        conn = self._database.connection
        noted = queries.changes_of_requests(conn, request_ids)
        found = self._jobs(request_ids, done)
        usage = recorded_usage(self._settings.metrics_path, [job.id for jobs in found.values() for job in jobs])
        for request_id, jobs in found.items():
            try:
                rows = job_rows(jobs, usage, self._mask)
                text = json.dumps(rows, separators=(",", ":"), allow_nan=False)[1:-1].encode("ascii")
            except (ValueError, TypeError) as error:
                self._note_refusal(request_id, f"what is stored of them cannot be sent: {error}", done)
                continue
            yield _Telling(request_id=request_id, changed_at=noted.get(request_id), rows=len(jobs), text=text)

    def _jobs(self, request_ids: Sequence[str], done: Round) -> Mapping[str, list[ToldJob]]:
        conn = self._database.connection
        try:
            return told.told_jobs(conn, request_ids)
        except ConfigurationError as error:
            if len(request_ids) == 1:
                self._note_refusal(request_ids[0], error.message, done)
                return {}
        found: dict[str, list[ToldJob]] = {}
        for request_id in request_ids:
            found |= self._jobs([request_id], done)
        return found


def _requests_of_rows(body: Sequence[_Telling], rows: Mapping[int, str]) -> dict[str, str]:
    """Request -> what is wrong with the first of its rows that are refused."""
    found: dict[str, str] = {}
    start = 0
    for telling in body:
        wrong = [rows[row] for row in range(start, start + telling.rows) if row in rows]
        if wrong:
            found[telling.request_id] = wrong[0]
        start += telling.rows
    return found
