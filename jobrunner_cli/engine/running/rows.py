"""What the loop reads of single jobs: rows and verdicts, and what earlier jobs of a workspace have stored.

A row or a verdict that cannot be read is reported once, and must not hold up the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import ConfigurationError
from jobrunner_cli.engine.states import ACTIVE_CODES, StatusCode
from jobrunner_cli.engine.store import intents, queries
from jobrunner_cli.engine.work import InputFile, Intent, IntentKind

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.tracks import Track
    from jobrunner_cli.engine.store.database import Database
    from jobrunner_cli.engine.store.models import Job

log = logging.getLogger(__name__)


class Rows:
    """The jobs of one table. Belongs to the loop's thread, as the database does."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._damaged: set[str] = set()

    def active(self) -> list[Job]:
        """The active rows that can be read, and whose state is one of those that there are."""
        conn = self._database.connection
        try:
            found = queries.active_jobs(conn)
        except ConfigurationError:
            found = [job for job_id in queries.active_ids(conn) if (job := self.one(job_id)) is not None]
        for job in found:
            if job.status_code not in ACTIVE_CODES:
                self._report_damage(job.id, ValueError("neither its state nor its status code is known"))
        return [job for job in found if job.status_code in ACTIVE_CODES]

    def wishes(self, active: Iterable[Job]) -> dict[str, tuple[Intent, ...]]:
        """Job id -> what is wanted of it: the open intents, and the end of active jobs that are marked as cancelled.

        The mark is that of an older program, which ended such a job at its next look. It has no number to be answered.
        """
        found = intents.open_intents(self._database.connection)
        for job in active:
            if job.cancelled:
                marked = Intent(id=0, kind=IntentKind.CANCEL, job_id=job.id)
                found[job.id] = (marked, *found.get(job.id, ()))
        return found

    def one(self, job_id: str) -> Job | None:
        """A row, if there is one and it can be read."""
        try:
            return self.known(job_id)
        except ConfigurationError as error:
            self._report_damage(job_id, error)
            return None

    def known(self, job_id: str) -> Job | None:
        """A row, if there is one. Raises ConfigurationError if it cannot be read."""
        return queries.job_by_id(self._database.connection, job_id)

    def without(self, job_ids: Iterable[str]) -> list[str]:
        """Those ids that no job of the table has."""
        return sorted(set(job_ids) - queries.codes_of(self._database.connection, job_ids).keys())

    def read_verdict(self, job_id: str, track: Track) -> bool:
        """Remember the stored verdict, if there is one; false if it cannot be read."""
        try:
            track.outcome = queries.result_of(self._database.connection, job_id)
        except (ConfigurationError, KeyError, ValueError, TypeError) as error:
            self._report_damage(job_id, error)
            return False
        return True

    def inputs_of(self, job: Job) -> tuple[InputFile, ...]:
        """Every output that the latest succeeded jobs of the needed actions recorded."""
        needs = job.requires_outputs_from
        latest = queries.latest_succeeded(self._database.connection, job.workspace, needs) if needs else {}
        return tuple(
            InputFile(path=path, action=action) for action, source in latest.items() for path in sorted(source.outputs)
        )

    def had_ended(self, job: Job) -> bool:
        """Whether the end of this run was believed before: an operator has it stored again after an internal error."""
        again_at = queries.last_left(self._database.connection, job.id, StatusCode.INTERNAL_ERROR)
        return again_at is not None and again_at // 10**9 >= (job.started_at or 0)

    def recall(self, job: Job, track: Track) -> None:
        """Have at hand what the last success of a job's action stored; if the manifest has to be completed, also what
        all jobs of its workspace did, the last first."""
        conn = self._database.connection
        track.last_outputs = queries.last_recorded_outputs(conn, job.workspace, job.action)
        if track.history_wanted:
            track.history = tuple(queries.recorded_outputs(conn, job.workspace))

    def _report_damage(self, job_id: str, error: Exception) -> None:
        if job_id not in self._damaged:
            self._damaged.add(job_id)
            log.error("Job %s cannot be moved, because what is stored of it cannot be read: %s", job_id, error)
