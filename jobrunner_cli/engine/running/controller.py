"""The loop: it looks at the table, has the pure function decide, writes what was decided and has it done.

It is the only writer of existing job rows. It wakes on the end of an effect, a snapshot of the observer, a commit of
another process, or a timer, and never waits for an engine or a file.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from jobrunner_cli.engine.errors import DatabaseBusyError
from jobrunner_cli.engine.running import settling
from jobrunner_cli.engine.running.board import Board
from jobrunner_cli.engine.running.complaints import Complaints, log_failure, steps_of
from jobrunner_cli.engine.running.leftovers import ended_with_leftovers, leftovers
from jobrunner_cli.engine.running.limits import NewLimits
from jobrunner_cli.engine.running.observer import Ended
from jobrunner_cli.engine.running.settling import TryAgain
from jobrunner_cli.engine.running.space import SpaceSeen
from jobrunner_cli.engine.running.tracks import EffectDone
from jobrunner_cli.engine.running.usage import Overuse
from jobrunner_cli.engine.scheduling import decide, stop_wanted
from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.tracing import Tracing
from jobrunner_cli.engine.work import ActiveJob, Decision, EffectKind, HistoryWanted, Lost, Outcome
from jobrunner_cli.engine.world import Snapshot

if TYPE_CHECKING:
    from jobrunner_cli.engine.running.disks import Disks
    from jobrunner_cli.engine.running.hands import Hands
    from jobrunner_cli.engine.running.listener import Listener
    from jobrunner_cli.engine.running.observer import Observer
    from jobrunner_cli.engine.settings import Settings
    from jobrunner_cli.engine.store.models import Job

log = logging.getLogger(__name__)

#: How often another process's commits are looked for, in seconds; a look costs about 30 microseconds.
_LOOK_INTERVAL = 0.05
#: Looks in a row after which something must be wrong with the decisions.
_MOST_LOOKS = 50
#: Seconds before a table that could not be read is read again.
_AFTER_A_FAILED_LOOK = 2.0
#: Seconds before a job whose decision could not be written is looked at again.
_AFTER_A_BUG = 5.0


#: What the loop is woken with.
Message = EffectDone | Snapshot | Ended | SpaceSeen | Overuse | NewLimits


class Controller:
    """One loop over one table."""

    def __init__(
        self,
        *,
        settings: Settings,
        board: Board,
        listener: Listener,
        elsewhere: Collection[str] = (),
        pulse: Callable[[], None] = lambda: None,
        tracing: Tracing | None = None,
    ) -> None:
        """`elsewhere` are the jobs that had files at an engine on another machine when the runner started.

        `pulse` is called after each look, and so several times a second unless the loop hangs; it must not raise.
        """
        self._settings = settings
        self._pulse = pulse
        self._tracing = tracing or Tracing()
        self._complaints = Complaints()
        self._elsewhere = elsewhere
        self._board = board
        self._listener = listener
        self._messages: SimpleQueue[Message | str | None] = SimpleQueue()
        self._snapshot: Snapshot | None = None
        self._draining = False
        self._collected = False
        self._happened = True
        self._looked_at = 0.0
        self._table_read = False
        self._hands: Hands
        self._observer: Observer
        self._disks: Disks
        #: monotonic seconds of the last look at the stores, and of the end of the last effect
        self._space_seen_at = 0.0
        self._effect_ended_at = 0.0

    def attach(self, hands: Hands, observer: Observer, disks: Disks) -> None:
        """Give the loop its hands and its eyes, which post back to it."""
        self._hands = hands
        self._observer = observer
        self._disks = disks

    def post(self, message: Message) -> None:
        """Wake the loop with what has happened; from any thread."""
        self._messages.put(message)

    def trouble(self, reason: str | None) -> None:
        """Tell the loop that the executor went away (why) or is back (None); from any thread."""
        self._messages.put(reason or "")

    @property
    def problem(self) -> str | None:
        """What it could not do within the last minute, though it goes on; from any thread."""
        return self._complaints.recent

    def drain(self) -> None:
        """Stop starting, finish publishing, and return from `run`; safe in a signal handler."""
        self._draining = True
        self._messages.put(None)

    def run(self, *, until_idle: bool) -> None:
        """Run until drained or, if wanted, until nothing can move without an operator."""
        self._observer.start()
        try:
            self._see_space(self._disks.start())
            while True:
                self._look()
                self._pulse()
                if self._draining and not self._board.effects_in_flight():
                    return
                if until_idle and self._is_idle():
                    return
                self._take_messages()
        finally:
            # The order to leave may have come in the midst of the last look.
            while not self._messages.empty():
                if self._messages.get_nowait() is None:
                    self._listener.leaving()
            self._observer.stop()
            self._disks.stop()
            self._hands.close()

    def _is_idle(self) -> bool:
        is_at_work = self._board.effects_in_flight() or self._board.chores.are_waiting
        if is_at_work or not (self._collected and self._table_read):
            return False
        jobs = self._board.jobs.values()
        waits_out_trouble = any((self._board.track(job.id).not_before or 0) > self._looked_at for job in jobs)
        if waits_out_trouble or any(state_of(job.status_code) is not State.PENDING for job in jobs):
            return False
        if self._board.shortages and self._space_seen_at < self._effect_ended_at:
            # What ended last may have left room.
            self._disks.ask_for_space()
            return False
        return True

    # Looking and deciding.

    def _look(self) -> None:
        """Look at everything and decide, if anything has happened or some time has passed since the last look."""
        due = time.monotonic() - self._looked_at >= self._settings.job_loop_interval
        self._table_read = False
        with self._passing("look at the table"):
            if self._board.refresh():
                self._happened = True
                for job in self._board.jobs.values():
                    self._listener.job_changed(job)
            self._table_read = True
        if not self._happened and not due:
            return
        self._looked_at, self._happened = time.monotonic(), False
        with self._passing("decide"):
            self._decide()
        with self._passing("tell how far the jobs are"):
            for job in self._board.note_progress(self._looked_at):
                self._listener.job_changed(job)
        self._tracing.tick(self._board.jobs)
        self._disks.watch(self._board.jobs.values())
        for job_id in self._board.take_cleanups():
            self._begin(job_id, EffectKind.CLEANUP, "wanted by an operator")
        if self._board.needs_snapshot(self._snapshot):
            self._observer.ask()

    def _decide(self) -> None:
        self._board.retry_ended(self._snapshot)
        decisions: list[Decision] = []
        for _ in range(_MOST_LOOKS):
            views = self._board.views()
            world = self._board.world(self._snapshot, draining=self._draining)
            for view in views:
                if stop_wanted(view, draining=self._draining):
                    self._board.track(view.id).stop.set()
            decisions = decide(views, world)
            # What could not be written would be tried again at once; what has been begun makes room for nothing yet.
            if not decisions or not self._carry_out(decisions) or all(each.effect for each in decisions):
                break
        else:
            log.error("The decisions do not come to rest: %s", decisions)

    @contextmanager
    def _passing(self, doing: str, job_id: str | None = None) -> Iterator[None]:
        """Keep the loop alive whatever happens inside: it is logged, and done again later from row, executor and disk."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 (whatever it is, the loop goes on)
            self._recover(doing, [] if job_id is None else [job_id], error)

    def _recover(self, doing: str, job_ids: Collection[str], error: Exception) -> None:
        self._complaints.note(doing, error)
        for job_id in job_ids:
            self._board.track(job_id).not_before = time.monotonic() + _AFTER_A_BUG
        self._board.forget()
        # A locked database is waited for at every step that comes to it; the watchdog would take some such waits in a
        # row for a loop that hangs.
        self._pulse()

    def _carry_out(self, decisions: Sequence[Decision]) -> bool:
        """Write decisions in one transaction and have them done; if one cannot be written, the others are.

        Returns whether all were written.
        """
        began_at = time.time_ns()
        try:
            changed = self._board.write(decisions)
        except Exception as error:  # noqa: BLE001 (whatever it is, the loop goes on)
            # A database that is locked is so for all of them.
            if len(decisions) > 1 and not isinstance(error, DatabaseBusyError):
                written = [self._carry_out([decision]) for decision in decisions]
                return all(written)
            log.debug("Not written: %s", decisions)
            self._recover(f"write {steps_of(decisions)}", [decision.job_id for decision in decisions], error)
            return False
        self._tracing.looked(began_at, changed)
        for job in changed:
            self._report(job)
        for decision in decisions:
            if decision.effect is not None:
                self._begin(decision.job_id, decision.effect, decision.cause)
            else:
                self._board.drop_track(decision.job_id)
        return True

    def _report(self, job: Job) -> None:
        log.info("%s", job.status_message, extra={"job": job})
        self._listener.job_changed(job)

    # Effects.

    def _begin(self, job_id: str, kind: EffectKind, cause: str, *, job: Job | None = None) -> None:
        """Begin an effect; `job` is the row of one that has ended, where it is at hand."""
        with self._passing(f"begin to {kind.value} {job_id}", job_id):
            job = job or self._board.jobs.get(job_id) or self._board.rows.known(job_id)
            track = self._board.track(job_id)
            inputs = self._board.rows.inputs_of(job) if job is not None and kind is EffectKind.PREPARE else ()
            if job is not None and kind is EffectKind.PUBLISH:
                self._board.rows.recall(job, track)
            if job is not None and kind is EffectKind.FINALIZE:
                track.had_ended = self._board.rows.had_ended(job)
            track.begin(kind, cause, time.monotonic())
            if kind is EffectKind.HALT:
                # Wanted until it is done, however often that fails.
                track.overuse = cause
            try:
                if job is not None:
                    self._hands.begin(job, kind, track, inputs)
                else:
                    self._hands.remove_unknown(job_id)
            except RuntimeError:
                # Not a single thread is to be had: nobody does it.
                track.in_flight = None
                raise

    def _take_messages(self) -> None:
        patience = min(_LOOK_INTERVAL, self._settings.job_loop_interval) if self._table_read else _AFTER_A_FAILED_LOOK
        try:
            message = self._messages.get(timeout=patience)
        except Empty:
            return
        self._happened = True
        while True:
            self._take(message)
            try:
                message = self._messages.get_nowait()
            except Empty:
                return

    def _take(self, message: Message | str | None) -> None:
        match message:
            case EffectDone():
                with self._passing(f"settle {message.kind.value} of {message.job_id}", message.job_id):
                    self._settle(message)
            case Snapshot():
                self._snapshot = message.after(self._snapshot)
                if not self._collected:
                    with self._passing("collect what earlier runners left"):
                        self._collect(message)
            case Ended(at=at) if self._snapshot is not None:
                self._snapshot = self._snapshot.with_ended(at)
            case Ended():
                # The first list is under way, and may have been asked for before.
                self._observer.ask()
            case SpaceSeen():
                self._see_space(message)
            case Overuse(job_id=job_id, reason=reason):
                job = self._board.jobs.get(job_id)
                # One that was started over since is another run, with files of its own.
                if job is not None and job.status_code is StatusCode.EXECUTING:
                    self._board.track(job_id).overuse = reason
            case NewLimits(settings=settings, weights=weights):
                self._board.set_limits(settings, weights)
                self._hands.grow(settings.max_workers)
            case str():
                with self._passing("tell of the executor"):
                    if not message:
                        self._board.wait_no_longer()
                    self._listener.trouble(message or None)
            case None:
                self._listener.leaving()

    def _see_space(self, seen: SpaceSeen) -> None:
        self._space_seen_at = seen.at
        self._board.set_shortages(seen.shortages)

    def _collect(self, snapshot: Snapshot) -> None:
        """Once, at the start: what earlier runners left of ended jobs, and of jobs that the table does not know."""
        self._collected = True
        found = {*leftovers(self._settings), *self._elsewhere, *snapshot.containers}
        for job in ended_with_leftovers(self._board, found):
            self._begin(job.id, EffectKind.CLEANUP, "left by an earlier runner")
        for job_id in self._board.rows.without({*snapshot.containers, *self._elsewhere}):
            # It bears this work directory's label, and no container is made before its job's row.
            log.warning("What the executor has of job %s, which is not in the table, is removed", job_id)
            self._begin(job_id, EffectKind.CLEANUP, "belongs to no job")

    # What came out of effects.

    def _settle(self, done: EffectDone) -> None:
        track = self._board.track(done.job_id)
        track.in_flight = None
        track.effect_ended_at = self._effect_ended_at = done.ended_at
        job = self._board.view(done.job_id)
        if job is None and done.kind is EffectKind.PROVISION:
            # The job was ended meanwhile, and what has been made for it, wholly or in part, is nobody's.
            self._begin(done.job_id, EffectKind.CLEANUP, "ended while it waited")
            return
        if done.error is not None:
            self._settle_failure(done, done.error, job)
            return
        track.attempts, track.not_before = 0, None
        if job is None:
            self._board.cleaned_up(done.job_id, "removed what it left")
            return
        if done.kind is EffectKind.PROVISION:
            track.provisioned_at = done.ended_at
        elif isinstance(done.value, Lost):
            self._carry_out([settling.after_loss(job, done.value)])
        elif isinstance(done.value, Outcome):
            self._board.record_verdict(done.job_id, done.value)
        elif isinstance(done.value, HistoryWanted):
            track.history_wanted = True
        elif done.kind is EffectKind.PUBLISH:
            self._conclude(done.job_id)
        elif (decision := settling.after_success(job, done.kind, track.cause)) is not None:
            self._board.forget_container(done)
            self._carry_out([decision])

    def _conclude(self, job_id: str) -> None:
        job = self._board.conclude(job_id)
        self._report(job)
        self._begin(job_id, EffectKind.CLEANUP, "done", job=job)

    def _settle_failure(self, done: EffectDone, error: Exception, job: ActiveJob | None) -> None:
        track = self._board.track(done.job_id)
        if track.stop.is_set():
            # Somebody wants the job ended, or the runner leaves: whatever went wrong, the next look does that.
            log_failure(done, error, logging.DEBUG)
            return
        track.attempts += 1
        log_failure(done, error, logging.WARNING)
        if job is None:
            self._settle_failed_cleanup(done, error)
            return
        match settling.after_failure(job, done.kind, error, track.attempts):
            case TryAgain(seconds=seconds, message=message):
                track.not_before = time.monotonic() + seconds
                self._board.note(done.job_id, message)
            case Decision() as decision:
                self._carry_out([decision])
            case None:
                track.has_leftovers = True

    def _settle_failed_cleanup(self, done: EffectDone, error: Exception) -> None:
        """An ended job whose leftovers cannot be removed now: again later if it may pass, else at the next start."""
        track = self._board.track(done.job_id)
        follows = settling.after_failure_of_cleanup(error, track.attempts)
        if follows is None:
            self._board.cleaned_up(done.job_id, settling.not_removed(error))
        elif self._draining:
            self._board.drop_track(done.job_id)
        else:
            self._board.chores.remove(done.job_id, time.monotonic() + follows.seconds)
