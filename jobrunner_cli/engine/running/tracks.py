"""What the loop remembers of a job besides its row: the effect in flight, and what the last ones left to know.

Nothing here is truth: a fresh runner begins with empty tracks and finds every job where it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from threading import Event
from typing import TYPE_CHECKING

from jobrunner_cli.engine.jobfiles.tally import Tally
from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import State, state_of
from jobrunner_cli.engine.work import ActiveJob, ContainerState, EffectKind, Intent, Outcome, RecordedOutputs
from jobrunner_cli.engine.world import Snapshot

if TYPE_CHECKING:
    from jobrunner_cli.engine.store.models import Job


_COPYING = frozenset({EffectKind.PREPARE, EffectKind.FINALIZE, EffectKind.PUBLISH})
#: Seconds between two messages about how far an effect is, and before the first: each is a write to the table.
_PROGRESS_INTERVAL = 2.0
#: Seconds for which what was provisioned is taken to be as it would be made now.
_PROVISIONED_FOR = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectDone:
    """An effect has ended, one way or the other."""

    job_id: str
    kind: EffectKind
    #: monotonic seconds
    ended_at: float
    #: what it found out; None where there is nothing to say
    value: object = None
    #: what it raised
    error: Exception | None = None


@dataclass(slots=True, kw_only=True)
class Track:
    """The loop's memory of one job."""

    #: its place among the rows
    number: int = 0
    #: UNIX seconds since which capacity holds it up, where it has been under both codes of that
    held_up_since: float | None = None
    in_flight: EffectKind | None = None
    #: set to have the effect in flight broken off
    stop: Event = field(default_factory=Event)
    #: why the effect in flight was begun
    cause: str = ""
    #: monotonic seconds at which the last effect began and ended
    effect_began_at: float = 0.0
    effect_ended_at: float | None = None
    #: monotonic seconds at which this process began to start the container, the last time
    start_began_at: float | None = None
    #: monotonic seconds before which nothing is tried again, and how often it was tried already
    not_before: float | None = None
    attempts: int = 0
    #: when its code was laid out and its container created, by this process, ahead of its turn; in monotonic seconds
    provisioned_at: float | None = None
    #: a waiting job has a directory or a container, in whatever state
    has_leftovers: bool = False
    #: how far the effect in flight is, counted by its thread; and when, in monotonic seconds, that was last told
    tally: Tally = field(default_factory=Tally)
    progress_told_at: float = 0.0
    #: why it is to be ended: it takes up more disk than it may
    overuse: str | None = None
    #: the end of its command was believed before, whatever the engine has done since
    had_ended: bool = False
    #: the stored verdict
    outcome: Outcome | None = None
    #: what the action's last success stored, and, if the manifest has to be completed, what all jobs of the workspace did
    last_outputs: RecordedOutputs | None = None
    history_wanted: bool = False
    history: tuple[RecordedOutputs, ...] | None = None

    def begin(self, kind: EffectKind, cause: str, now: float) -> None:
        """Remember the effect that is begun at a monotonic time."""
        self.in_flight, self.cause, self.effect_began_at = kind, cause, now
        if kind is EffectKind.START:
            self.start_began_at = now
        self.tally = Tally()
        self.stop.clear()

    def move(self, before: Job, after: Job) -> None:
        """Remember what a step does not tell afterwards: both codes of a lack of capacity are one wait."""
        if not {before.status_code, after.status_code} <= WAITS_FOR_CAPACITY:
            self.held_up_since = None
        elif self.held_up_since is None:
            self.held_up_since = before.status_code_updated_at / 1e9
        if state_of(after.status_code) is State.PENDING:
            self.outcome, self.overuse = None, None

    def state(self) -> tuple[object, ...]:
        """What the scheduler's view depends on."""
        return (
            self.held_up_since,
            self.in_flight,
            self.effect_ended_at,
            self.start_began_at,
            self.not_before,
            self.provisioned_at,
            self.has_leftovers,
            self.outcome is None,
            self.overuse,
        )


def progress_of(track: Track, now: float) -> str | None:
    """How far the effect in flight is, for people; None while it is short, or if it was told a moment ago."""
    if track.in_flight not in _COPYING or now - max(track.effect_began_at, track.progress_told_at) < _PROGRESS_INTERVAL:
        return None
    track.progress_told_at = now
    return track.tally.text()


def was_asked_too_early(snapshot: Snapshot, executing: Mapping[str, Track]) -> bool:
    """Whether a snapshot was asked for while a container was being started, and shows its end already.

    It says nothing of that container then, and yet it is what the hint of its end may have led to.
    """
    return any(
        track.in_flight is None
        and track.effect_ended_at is not None
        and track.effect_began_at <= snapshot.asked_at <= track.effect_ended_at
        for job_id, track in executing.items()
        if snapshot.containers.get(job_id) in {None, ContainerState.EXITED}
    )


def is_as_made(provisioned_at: float | None, now: float) -> bool:
    """Whether what was made ahead of its turn was made a moment ago (monotonic times), so that nothing has changed since.

    Images are fetched anew and hosts move while a job waits: what is older has to be looked at again.
    """
    return provisioned_at is not None and now - provisioned_at < _PROVISIONED_FOR


def active_job(
    job: Job,
    track: Track,
    intents: tuple[Intent, ...],
    weight: Fraction,
    uses_real_database: bool,
    time_limit: float | None = None,
) -> ActiveJob:
    """The scheduler's view of a row and its track."""
    return ActiveJob(
        id=job.id,
        workspace=job.workspace,
        action=job.action,
        code=job.status_code,
        requires_db=bool(job.requires_db),
        uses_real_database=uses_real_database,
        wait_for=tuple(job.wait_for_job_ids or ()),
        needs=tuple(job.requires_outputs_from or ()),
        created_at=job.created_at,
        number=track.number,
        code_since=job.status_code_updated_at / 1e9 if track.held_up_since is None else track.held_up_since,
        weight=weight,
        restarts=job.restarts,
        intents=intents,
        verdict_stored=track.outcome is not None,
        in_flight=track.in_flight,
        effect_ended_at=track.effect_ended_at,
        start_began_at=track.start_began_at,
        not_before=track.not_before,
        provisioned=track.provisioned_at is not None or track.has_leftovers,
        overuse=track.overuse,
        time_limit=time_limit,
        message=job.status_message,
    )
