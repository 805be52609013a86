"""The loop's picture of the table: the active rows, their tracks, open intents and flags; and the one way to change rows.

Kept in memory between looks and read anew when another process has committed. All of it belongs to the loop's thread.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jobrunner_cli.engine.endings import ALREADY_FINISHED, STOPS
from jobrunner_cli.engine.running.chores import Chores
from jobrunner_cli.engine.running.definitions import uses_real_database
from jobrunner_cli.engine.running.holds import Holds
from jobrunner_cli.engine.running.rows import Rows
from jobrunner_cli.engine.running.second_chances import finalize_again
from jobrunner_cli.engine.running.tracks import EffectDone, Track, active_job, progress_of, was_asked_too_early
from jobrunner_cli.engine.states import ACTIVE_CODES, State, StatusCode, state_of
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.time_limits import TimeLimits
from jobrunner_cli.engine.tracing import Tracing
from jobrunner_cli.engine.work import ActiveJob, Decision, EffectKind, Intent, IntentKind, Outcome
from jobrunner_cli.engine.world import Shortage, Snapshot, World

if TYPE_CHECKING:
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.database import Connection, Database
    from jobrunner_cli.engine.store.models import Job
    from jobrunner_cli.engine.weights import Weights

log = logging.getLogger(__name__)

#: Seconds after which the row of a job that has not moved is touched, as a sign of life.
_TOUCH_INTERVAL = 60.0


class Board:
    """The active jobs of one table, or of some job requests in it."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        weights: Weights,
        *,
        time_limits: TimeLimits | None = None,
        tracing: Tracing | None = None,
        mask: Callable[[str], str] = str,
        only: Callable[[Sequence[Job]], Collection[str]] | None = None,
    ) -> None:
        """`mask` takes secrets out of what is written; `only` names, by their ids, the active jobs that are to move.

        Of the others, waiting ones that somebody wants ended are ended all the same.
        """
        self._database = database
        #: the same table, read job by job
        self.rows = Rows(database)
        self._settings = settings
        self._weights = weights
        self._time_limits = time_limits or TimeLimits()
        self._tracing = tracing or Tracing()
        self._mask = mask
        self._only = only
        self._named: frozenset[str] | None = None
        self.jobs: dict[str, Job] = {}
        #: jobs that this runner has seen to their end
        self.ended: dict[str, StatusCode] = {}
        #: places where nothing new may start for want of space
        self.shortages: tuple[Shortage, ...] = ()
        self._tracks: dict[str, Track] = {}
        self._numbers = itertools.count()
        self._views: dict[str, tuple[object, ActiveJob]] = {}
        self._ended_codes: dict[str, StatusCode] = {}
        self._intents: Mapping[str, tuple[Intent, ...]] = {}
        self._holds = Holds()
        self._version: int | None = None
        self._touched_at = time.monotonic()
        #: what is still to be done for ended jobs
        self.chores = Chores()

    # Reading.

    def refresh(self) -> bool:
        """Read everything anew if another process has committed, or if it was forgotten; touch what lives.

        Returns whether it was read.
        """
        version = self._database.connection.data_version()
        changed = version != self._version
        if changed:
            self._version = version
            self.look()
            self._heed_intents_on_ended()
        if time.monotonic() - self._touched_at >= _TOUCH_INTERVAL:
            self._touched_at = time.monotonic()
            self._touch()
        return changed

    def forget(self) -> None:
        """Have the table read anew at the next look."""
        self._version = None

    def look(self) -> None:
        """Read the table, and write nothing: enough for somebody who only wants the picture."""
        conn = self._database.connection
        rows = self.rows.active()
        known, self._intents = self._intents, self.rows.wishes(rows)
        if self._only is not None:
            self._named = frozenset(self._only(rows))
        self.jobs = {job.id: job for job in rows if self._concerns(job)}
        awaited = {needed for job in self.jobs.values() for needed in job.wait_for_job_ids} - set(self.jobs)
        self._ended_codes = dict(queries.codes_of(conn, awaited))
        self._holds = Holds.read(conn)
        for job_id, job in list(self.jobs.items()):
            # Tracks are numbered as they are made, and the rows come in the order in which they were.
            track = self.track(job_id)
            unread = job.status_code is StatusCode.FINALIZING and track.outcome is None
            if unread and not self.rows.read_verdict(job_id, track):
                del self.jobs[job_id]
            if self._intents.get(job_id, ()) != known.get(job_id, ()):
                # What was to be tried again is not what is wanted of it now.
                track.not_before = None

    def _may_move(self, job_id: str) -> bool:
        return self._named is None or job_id in self._named

    def _concerns(self, job: Job) -> bool:
        if self._may_move(job.id):
            return True
        return state_of(job.status_code) is State.PENDING and job.id in self._intents

    def _heed_intents_on_ended(self) -> None:
        """Answer what comes too late; what an ended job left is removed if that is wanted, and answered then."""
        for job_id, wishes in self._intents.items():
            job = None if job_id in self.jobs else self.rows.one(job_id)
            if job is None or state_of(job.status_code) in {State.PENDING, State.RUNNING}:
                continue
            if any(wish.kind is IntentKind.CLEANUP for wish in wishes) and self.track(job_id).in_flight is None:
                self.chores.remove(job_id)
            if any(wish.kind is IntentKind.RETRY for wish in wishes) and self._may_move(job_id):
                self.chores.finalize_again(job_id)
            self._answer(job_id, ALREADY_FINISHED, cleanup=False)

    def _answer(self, job_id: str, answer: str, *, cleanup: bool) -> None:
        """Answer the open clean-ups of a job, or its other open wishes."""
        wishes = self._intents.get(job_id, ())
        kinds = {IntentKind.CLEANUP} if cleanup else STOPS
        answered = [wish for wish in wishes if wish.kind in kinds]
        if answered:
            with self._database.transaction() as conn:
                for wish in answered:
                    intents.answer(conn, wish.id, self._mask(answer), time.time())
            self._intents = {**self._intents, job_id: tuple(wish for wish in wishes if wish not in answered)}

    def track(self, job_id: str) -> Track:
        """What is remembered of a job."""
        track = self._tracks.get(job_id)
        if track is None:
            track = self._tracks[job_id] = Track(number=next(self._numbers))
        return track

    def wait_no_longer(self) -> None:
        """What stood in the way is gone: try everything again that is to be tried again."""
        for track in self._tracks.values():
            track.not_before, track.attempts = None, 0
        self.chores.wait_no_longer()

    def drop_track(self, job_id: str) -> None:
        """Nothing needs to be remembered of an ended job any more, unless something is being done for it."""
        if job_id not in self.jobs and self.track(job_id).in_flight is None:
            self._tracks.pop(job_id, None)

    def effects_in_flight(self) -> bool:
        """Whether anything is being done, for an active or an ended job."""
        return any(track.in_flight is not None for track in self._tracks.values())

    def view(self, job_id: str) -> ActiveJob | None:
        """The scheduler's view of one job; None if it is not active."""
        job = self.jobs.get(job_id)
        if job is None:
            return None
        track, wishes = self.track(job_id), self._intents.get(job_id, ())
        # Most jobs stay as they are from look to look, and there may be thousands.
        basis = (job, track.state(), wishes)
        known = self._views.get(job_id)
        if known is not None and known[0] == basis:
            return known[1]
        weight = self._weights.weight(job.workspace, job.action)
        limit = self._time_limits.limit(job.workspace, job.action)
        view = active_job(job, track, wishes, weight, uses_real_database(job, self._settings), limit)
        if self._named is not None and job_id not in self._named:
            view = replace(view, not_before=math.inf)
        self._views[job_id] = (basis, view)
        return view

    def views(self) -> list[ActiveJob]:
        """The scheduler's view of every active job."""
        return [view for job_id in self.jobs if (view := self.view(job_id)) is not None]

    def world(self, snapshot: Snapshot | None, *, draining: bool) -> World:
        """Everything else that a decision depends on."""
        return World(
            now=time.time(),
            monotonic=time.monotonic(),
            max_workers=self._settings.max_workers,
            max_db_workers=self._settings.max_db_workers,
            paused_since=self._holds.paused_since,
            paused_workspaces=self._holds.paused_workspaces,
            paused_jobs=self._holds.paused_jobs,
            maintenance_since=self._holds.maintenance_since,
            ended=self._ended_codes,
            draining=draining,
            shortages=self.shortages,
            starvation_seconds=self._settings.starvation_seconds,
            provision_ahead=self._settings.max_workers,
            snapshot=snapshot,
        )

    def needs_snapshot(self, last: Snapshot | None) -> bool:
        """Whether something waits for the executor to be asked once more."""
        if last is None:
            return False
        executing = {
            job.id: self.track(job.id) for job in self.jobs.values() if job.status_code is StatusCode.EXECUTING
        }
        return self.chores.were_asked_too_early(last.asked_at) or was_asked_too_early(last, executing)

    def set_shortages(self, found: Sequence[Shortage]) -> None:
        """Take note of where there is too little space; nothing starts while there is such a place."""
        self.shortages = tuple(replace(shortage, path=self._mask(shortage.path)) for shortage in found)

    def set_limits(self, settings: Settings, weights: Weights) -> None:
        """Go by other numbers of workers and other weights from now on."""
        self._settings, self._weights = settings, weights
        self._views.clear()

    # Writing.

    def write(self, decisions: Sequence[Decision]) -> list[Job]:
        """Write the rows, histories and answers of these decisions in one transaction; returns the changed rows.

        Raises whatever one of them raises, and then none is written.
        """
        decisions = [each for each in decisions if each.path or each.message is not None or each.answered]
        if not decisions:
            return []
        changed: list[Job] = []
        now_ns = time.time_ns()
        with self._database.transaction() as conn:
            for decision in decisions:
                for intent_id, answer in decision.answered.items():
                    intents.answer(conn, intent_id, answer, now_ns // 10**9)
                if decision.path or decision.message is not None:
                    changed.append(self._advance(conn, decision, now_ns))
        for decision in decisions:
            if decision.answered:
                wishes = self._intents.get(decision.job_id, ())
                left = tuple(wish for wish in wishes if wish.id not in decision.answered)
                self._intents = {**self._intents, decision.job_id: left}
        paths = {decision.job_id: decision.path for decision in decisions}
        for job in changed:
            before = self.jobs[job.id]
            self._take_over(job)
            self._tracing.moved(before, paths[job.id], job)
        return changed

    def _advance(self, conn: Connection, decision: Decision, now_ns: int) -> Job:
        job = self.jobs[decision.job_id]
        beside = self._trace_context(job)
        if decision.cancelled:
            beside["cancelled"] = True
        if decision.counts_restart:
            beside["restarts"] = job.restarts + 1
        message = None if decision.message is None else self._mask(decision.message)
        return changes.advance(
            conn, job, decision.path, now_ns=now_ns, message=message, cause=self._mask(decision.cause), changes=beside
        )

    def _trace_context(self, job: Job) -> dict[str, Any]:
        """What is to be written into the row of a job that has no trace yet."""
        context = self._tracing.new_context() if not job.trace_context else None
        return {} if context is None else {"trace_context": context}

    def _take_over(self, job: Job) -> None:
        if job.status_code in ACTIVE_CODES:
            self.track(job.id).move(self.jobs[job.id], job)
            self.jobs[job.id] = job
            return
        self.jobs.pop(job.id, None)
        self._views.pop(job.id, None)
        self.ended[job.id] = job.status_code
        if self._intents.get(job.id):
            # What is still wanted of it is to be answered, and an own commit wakes nobody.
            self.forget()
        self._ended_codes[job.id] = job.status_code

    def note(self, job_id: str, message: str | None) -> None:
        """Change only the message of an active job; None leaves it."""
        job, message = self.jobs[job_id], None if message is None else self._mask(message)
        if message in {None, job.status_message}:
            return
        with self._database.transaction() as conn:
            self.jobs[job_id] = changes.advance(conn, job, (), now_ns=time.time_ns(), message=message, cause="")

    def note_progress(self, now: float) -> list[Job]:
        """Say of what takes long, at this monotonic time, how far it is; the jobs that it was said of."""
        told = {job_id: text for job_id in self.jobs if (text := progress_of(self.track(job_id), now)) is not None}
        for job_id, text in told.items():
            self.note(job_id, text)
        return [self.jobs[job_id] for job_id in told]

    def record_verdict(self, job_id: str, outcome: Outcome) -> None:
        """Store the verdict, unless somebody wants the job ended: then the next look ends it."""
        conn = self._database.connection
        stands = changes.record_verdict(conn, self.jobs[job_id], outcome, time.time_ns())
        # What is published is what is stored, as after a crash.
        if not (stands and self.rows.read_verdict(job_id, self.track(job_id))):
            self.forget()

    def conclude(self, job_id: str) -> Job:
        """The final row of a job whose outputs are in place."""
        outcome = self.track(job_id).outcome
        if outcome is None:
            msg = f"job {job_id} has no verdict"
            raise AssertionError(msg)
        results = {
            "outputs": outcome.levels,
            "unmatched_outputs": outcome.unmatched_outputs,
            "level4_excluded_files": outcome.held_back,
            "image_id": outcome.image_id,
            **self._trace_context(self.jobs[job_id]),
        }
        before, path = self.jobs[job_id], (StatusCode.FINALIZED, outcome.code)
        with self._database.transaction() as conn:
            job = changes.advance(
                conn,
                before,
                path,
                now_ns=time.time_ns(),
                message=outcome.message,
                cause=f"exit code {outcome.exit_code}",
                changes=results,
            )
        self._take_over(job)
        self._tracing.moved(before, path, job, outcome)
        return job

    def _touch(self) -> None:
        with self._database.transaction() as conn:
            for job in list(self.jobs.values()):
                self.jobs[job.id] = changes.advance(conn, job, (), now_ns=time.time_ns(), message=None, cause="")

    # What ended jobs leave.

    def cleaned_up(self, job_id: str, answer: str) -> None:
        """The removal of what an ended job left is over, one way or the other."""
        self._answer(job_id, answer, cleanup=True)
        self.drop_track(job_id)

    def retry_ended(self, snapshot: Snapshot | None) -> None:
        """Put ended jobs that are to be finalized again back among the active ones, once the executor was heard."""
        if snapshot is None:
            return
        for job_id in self.chores.take_retries(snapshot.asked_at, self._rests):
            wishes = [wish for wish in self._intents.get(job_id, ()) if wish.kind is IntentKind.RETRY]
            if finalize_again(self._database, job_id, wishes, snapshot.containers.get(job_id)):
                self._tracks.pop(job_id, None)
                self.ended.pop(job_id, None)
            self.look()

    def take_cleanups(self) -> list[str]:
        """The ended jobs whose things are to be removed now."""
        return self.chores.take_removals(time.monotonic(), self._rests)

    def _rests(self, job_id: str) -> bool:
        return self.track(job_id).in_flight is None

    def forget_container(self, done: EffectDone) -> None:
        """An effect has removed what was provisioned."""
        if done.kind in {EffectKind.RESET, EffectKind.TERMINATE}:
            track = self.track(done.job_id)
            track.provisioned_at, track.has_leftovers = None, False
