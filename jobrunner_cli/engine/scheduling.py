"""Which job moves next: a pure function from the active jobs and the world to decisions (section 2).

No I/O and no clock. Everything that a rule between jobs needs (capacity, fair shares, who publishes while who lays
out) is decided here, in one look over all of them, and not by locks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from jobrunner_cli.engine.endings import ALREADY_FINISHED, STOPS, ended_by
from jobrunner_cli.engine.forms import format_duration
from jobrunner_cli.engine.states import TABLE, State, StatusCode, state_of
from jobrunner_cli.engine.work import ActiveJob, ContainerState, Decision, EffectKind, IntentKind
from jobrunner_cli.engine.world import World

#: The codes of jobs that nothing but capacity holds up.
WAITS_FOR_CAPACITY = frozenset({StatusCode.WAITING_ON_WORKERS, StatusCode.WAITING_ON_DB_WORKERS})
_EFFECTS_ON_INPUTS = frozenset({EffectKind.PREPARE})

#: The answers to what can only be done for a job that has ended.
_TOO_EARLY = {
    IntentKind.CLEANUP: "the job is not finished; kill it with --cleanup",
    IntentKind.RETRY: "the job is not finished",
}
_NO_SPACE = "Waiting for disk space: "


def decide(jobs: Sequence[ActiveJob], world: World) -> list[Decision]:
    """What happens next to each job that moves; jobs that stay as they are have no decision.

    Every path is legal, the sum of the weights of running jobs stays within the workers, and no decision touches
    a job for which an effect is in flight, but for a waiting one that ends: what is being made ahead of its turn is
    removed when it is done.
    """
    return _Look(jobs, world).decisions()


def stop_wanted(job: ActiveJob, *, draining: bool) -> bool:
    """Whether what is in flight for a job should be broken off: the job is to be ended, or the runner is leaving."""
    if draining and job.in_flight in {EffectKind.PROVISION, EffectKind.PREPARE}:
        return True
    interruptible = {EffectKind.PROVISION, EffectKind.PREPARE, EffectKind.FINALIZE}
    return job.in_flight in interruptible and any(intent.kind in STOPS for intent in job.intents)


class _Look:
    """One look at all active jobs. Decisions are taken in order, and each sees those before it."""

    def __init__(self, jobs: Sequence[ActiveJob], world: World) -> None:
        self._world = world
        self._jobs = {job.id: job for job in jobs}
        self._codes: dict[str, StatusCode] = {**world.ended, **{job.id: job.code for job in jobs}}
        self._effects = {job.id: job.in_flight for job in jobs if job.in_flight is not None}
        self._decided: dict[str, Decision] = {}
        running = [job for job in jobs if job.state is State.RUNNING]
        self._used = sum((job.weight for job in running), Fraction(0))
        self._used_db = sum((job.weight for job in running if job.requires_db), Fraction(0))
        self._kept_free = Fraction(0)
        self._database_reserved = False
        # Exact sums are slow, and in a burst hundreds of jobs meet a machine that is full anyway.
        self._full = self._used >= world.max_workers
        self._running_in: dict[str, int] = {}
        for job in running:
            self._running_in[job.workspace] = self._running_in.get(job.workspace, 0) + 1

    def decisions(self) -> list[Decision]:
        """All decisions of this look."""
        for job in self._jobs.values():
            self._heed_intents(job)
        self._propagate_failures()
        for job in self._jobs.values():
            if job.state is State.RUNNING and self._is_free(job):
                self._follow(job)
        waiting = [job for job in self._jobs.values() if job.state is State.PENDING and self._is_free(job)]
        candidates = [job for job in waiting if not self._must_wait(job)]
        if self._world.shortages:
            for job in candidates:
                self._wait_for_space(job)
            return list(self._decided.values())
        self._start(candidates)
        if not self._world.draining:
            self._provision_ahead(waiting)
        return list(self._decided.values())

    # What each decision does to the picture that later ones see.

    def _decide(self, job: ActiveJob, decision: Decision) -> None:
        self._decided[job.id] = decision
        if decision.path:
            self._codes[job.id] = decision.path[-1]
        if decision.effect is not None:
            self._effects[job.id] = decision.effect

    def _is_free(self, job: ActiveJob) -> bool:
        """Nothing was decided, nothing is in flight, and no waiting time after a trouble is running."""
        later = job.not_before is not None and self._world.monotonic < job.not_before
        return job.in_flight is None and job.id not in self._decided and not later

    # 1. Cancelled and killed jobs, before anything else.

    def _heed_intents(self, job: ActiveJob) -> None:
        if not job.intents:
            return
        if job.verdict_stored:
            answers = {intent.id: ALREADY_FINISHED for intent in job.intents}
            self._decide(job, Decision(job_id=job.id, answered=answers, cause="too late to stop"))
            return
        if job.in_flight is not None and not _may_end(job):
            return
        wish = next((intent for intent in job.intents if intent.kind in STOPS), None)
        if wish is None:
            answers = {intent.id: _TOO_EARLY[intent.kind] for intent in job.intents}
            self._decide(job, Decision(job_id=job.id, answered=answers))
        elif job.state is State.PENDING:
            decision = ended_by(job, wish, effect=EffectKind.CLEANUP)
            self._decide(job, decision if job.in_flight is None else replace(decision, effect=None))
        elif self._is_free(job):
            clean = wish.kind is IntentKind.CANCEL or any(i.kind is IntentKind.CLEANUP for i in job.intents)
            effect = EffectKind.TERMINATE if clean else EffectKind.STOP
            self._decide(job, Decision(job_id=job.id, effect=effect, cause=wish.kind.value))

    # 2. Failure travels down a chain at once.

    def _propagate_failures(self) -> None:
        dependants: dict[str, list[ActiveJob]] = {}
        for job in self._jobs.values():
            for needed in job.wait_for:
                dependants.setdefault(needed, []).append(job)
        failed = [job_id for job_id in dependants if self._has_failed(job_id)]
        while failed:
            for job in dependants.get(failed.pop(), ()):
                if _may_end(job) and not self._has_failed(job.id):
                    self._decide(
                        job,
                        Decision(
                            job_id=job.id,
                            path=(StatusCode.DEPENDENCY_FAILED,),
                            message=TABLE[StatusCode.DEPENDENCY_FAILED].message,
                            cause="a job it needs failed",
                            effect=EffectKind.CLEANUP if job.provisioned and job.in_flight is None else None,
                        ),
                    )
                    failed.append(job.id)

    def _has_failed(self, job_id: str) -> bool:
        # A row that is not there any more can never succeed.
        code = self._codes.get(job_id)
        return code is None or state_of(code) is State.FAILED

    # 3. Running jobs.

    def _follow(self, job: ActiveJob) -> None:
        if self._interrupted_by_maintenance(job):
            self._decide(job, Decision(job_id=job.id, effect=EffectKind.RESET, cause="database maintenance"))
            return
        match job.code:
            case StatusCode.PREPARING if not self._world.draining and not self._inputs_are_moving(job):
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.PREPARE))
            case StatusCode.PREPARED if not self._world.draining:
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.START))
            case StatusCode.EXECUTING:
                self._follow_container(job)
            case StatusCode.EXECUTED if not self._world.draining:
                self._decide(
                    job,
                    Decision(
                        job_id=job.id,
                        path=(StatusCode.FINALIZING,),
                        message="Storing outputs",
                        cause="the command has ended",
                        effect=EffectKind.FINALIZE,
                    ),
                )
            case StatusCode.FINALIZING if job.verdict_stored:
                if not self._outputs_are_being_read(job):
                    self._decide(job, Decision(job_id=job.id, effect=EffectKind.PUBLISH))
            case StatusCode.FINALIZING if not self._world.draining:
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.FINALIZE))
            case StatusCode.FINALIZED:
                # Only a row of an older program rests here: without a verdict nothing tells what it stored.
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.RESET, cause="no recorded verdict"))
            case _:
                pass

    def _follow_container(self, job: ActiveJob) -> None:
        snapshot = self._world.snapshot
        if snapshot is None:
            return
        exited = snapshot.has_exited(job.id, job.start_began_at)
        if not exited and job.effect_ended_at is not None and snapshot.asked_at <= job.effect_ended_at:
            return
        match ContainerState.EXITED if exited else snapshot.containers.get(job.id):
            case ContainerState.RUNNING:
                excess = job.overuse or self._overrun(job)
                if excess is not None:
                    self._decide(job, Decision(job_id=job.id, effect=EffectKind.HALT, cause=excess))
            case ContainerState.EXITED:
                if not self._world.draining:
                    self._decide(
                        job,
                        Decision(
                            job_id=job.id,
                            path=(StatusCode.EXECUTED, StatusCode.FINALIZING),
                            message="Storing outputs",
                            cause="the container exited",
                            effect=EffectKind.FINALIZE,
                        ),
                    )
            case ContainerState.CREATED:
                # The start was confirmed, so the engine has forgotten it: it went down hard.
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.RESET, cause="its start was lost"))
            case None:
                self._decide(job, Decision(job_id=job.id, effect=EffectKind.RESET, cause="the container disappeared"))

    def _overrun(self, job: ActiveJob) -> str | None:
        """Why a job that executes has to be ended, if it has done so for too long."""
        if job.time_limit is None:
            return None
        if job.effect_ended_at is not None:
            # This runner has started it, and nobody sets the clock that it has counted on since.
            executed = self._world.monotonic - job.effect_ended_at
        else:
            executed = self._world.now - job.code_since
        if executed <= job.time_limit:
            return None
        return f"it ran for more than {format_duration(job.time_limit)}, its time limit"

    def _interrupted_by_maintenance(self, job: ActiveJob) -> bool:
        # A command that has ended does not touch the database any more; its outputs may as well be kept.
        before_its_end = {StatusCode.PREPARING, StatusCode.PREPARED, StatusCode.EXECUTING}
        return self._world.maintenance_since is not None and job.uses_real_database and job.code in before_its_end

    def _inputs_are_moving(self, job: ActiveJob) -> bool:
        """A job of this workspace that publishes what this one needs has its verdict, but is not done."""
        return any(
            other.verdict_stored
            and other.action in job.needs
            and other.workspace == job.workspace
            and other.id != job.id
            for other in self._jobs.values()
        )

    def _outputs_are_being_read(self, job: ActiveJob) -> bool:
        """Another job of this workspace lays out the outputs of this one's action right now."""
        return any(
            effect in _EFFECTS_ON_INPUTS
            and self._jobs[job_id].workspace == job.workspace
            and job.action in self._jobs[job_id].needs
            for job_id, effect in self._effects.items()
            if job_id in self._jobs
        )

    # 4. Pending jobs: those that must wait whatever the capacity is.

    def _must_wait(self, job: ActiveJob) -> bool:
        world = self._world
        paused = world.paused_since or world.paused_workspaces.get(job.workspace) or world.paused_jobs.get(job.id)
        if paused:
            self._wait(job, StatusCode.WAITING_PAUSED, f"Paused since {paused}")
        elif world.maintenance_since is not None and job.uses_real_database:
            self._wait(job, StatusCode.WAITING_DB_MAINTENANCE)
        elif any(state_of(self._codes[needed]) is not State.SUCCEEDED for needed in job.wait_for):
            self._wait(job, StatusCode.WAITING_ON_DEPENDENCIES)
        else:
            return False
        return True

    def _wait(self, job: ActiveJob, code: StatusCode, message: str | None = None) -> None:
        message = message or TABLE[code].message
        if job.code is not code:
            self._decide(job, Decision(job_id=job.id, path=(code,), message=message, cause=message))
        elif job.message != message and _NO_SPACE in {(job.message or "")[: len(_NO_SPACE)], message[: len(_NO_SPACE)]}:
            # Space has no code of its own, so that only the message tells that it is, or was, what is waited for.
            self._decide(job, Decision(job_id=job.id, message=message))

    def _wait_for_space(self, job: ActiveJob) -> None:
        message = _NO_SPACE + "; ".join(map(str, self._world.shortages))
        self._wait(job, job.code if job.code in WAITS_FOR_CAPACITY else StatusCode.WAITING_ON_WORKERS, message)

    # 5. Pending jobs that only capacity can hold up.

    def _start(self, candidates: list[ActiveJob]) -> None:
        if self._full:
            # No rank and no reservation changes anything then, and this is what most looks of a busy machine meet.
            for job in candidates:
                self._hold(job, StatusCode.WAITING_ON_WORKERS)
            return
        reserved = False
        by_workspace: dict[str, list[ActiveJob]] = {}
        for job in sorted(candidates, key=self._rank_in_workspace):
            by_workspace.setdefault(job.workspace, []).append(job)
        queues = {workspace: iter(queue) for workspace, queue in by_workspace.items()}
        heads = {workspace: next(queue) for workspace, queue in queues.items()}
        # Ranks change with every start, but only between workspaces: the heads of the queues are all that can be next.
        while heads:
            workspace = min(
                heads, key=lambda name: (self._running_in.get(name, 0), *self._rank_in_workspace(heads[name]))
            )
            job = heads[workspace]
            following = next(queues[workspace], None)
            if following is None:
                del heads[workspace]
            else:
                heads[workspace] = following
            lacking = StatusCode.WAITING_ON_WORKERS if reserved else self._lacking(job)
            if lacking is None:
                self._start_one(job)
                continue
            self._hold(job, lacking)
            if not self._is_starved(job):
                continue
            if lacking is StatusCode.WAITING_ON_WORKERS:
                reserved = True
            elif self._world.max_db_workers:
                # What it waits for is a database slot: others may use the workers that it will not need then.
                self._reserve_database(job)

    def _rank_in_workspace(self, job: ActiveJob) -> tuple[bool, bool, int, int, str]:
        starved_heavy = job.weight > 1 and self._is_starved(job)
        return (not starved_heavy, not job.requires_db, job.created_at, job.number, job.id)

    def _is_starved(self, job: ActiveJob) -> bool:
        waited = self._world.now - job.code_since
        return job.code in WAITS_FOR_CAPACITY and waited >= self._world.starvation_seconds

    def _lacking(self, job: ActiveJob) -> StatusCode | None:
        """The capacity that is not there; a job that no empty machine could hold fits an empty one."""
        taken = self._used + self._kept_free
        if self._full or (self._used and taken + job.weight > self._world.max_workers):
            return StatusCode.WAITING_ON_WORKERS
        if not job.requires_db:
            return None
        most = self._world.max_db_workers
        # Without any slot, none ever starts.
        if self._database_reserved or not most or (self._used_db and self._used_db + job.weight > most):
            return StatusCode.WAITING_ON_DB_WORKERS
        return None

    def _reserve_database(self, job: ActiveJob) -> None:
        self._database_reserved = True
        self._kept_free += job.weight
        self._full = self._used + self._kept_free >= self._world.max_workers

    def _hold(self, job: ActiveJob, code: StatusCode) -> None:
        if self._is_starved(job):
            # Another code would begin its waiting anew.
            code = job.code
        self._wait(job, code)

    def _start_one(self, job: ActiveJob) -> None:
        if self._world.draining:
            return
        self._used += job.weight
        self._full = self._used + self._kept_free >= self._world.max_workers
        self._used_db += job.weight if job.requires_db else 0
        self._running_in[job.workspace] = self._running_in.get(job.workspace, 0) + 1
        effect = None if self._inputs_are_moving(job) else EffectKind.PREPARE
        self._decide(
            job,
            Decision(
                job_id=job.id,
                path=(StatusCode.PREPARING,),
                message=TABLE[StatusCode.PREPARING].message,
                cause="its turn",
                effect=effect,
            ),
        )

    # 6. Time hidden where it can be: the next ones get their code and their container while they wait.

    def _provision_ahead(self, waiting: list[ActiveJob]) -> None:
        room = self._world.provision_ahead
        made = (job.id for job in self._jobs.values() if job.provisioned)
        room -= sum(1 for job_id in made if state_of(self._codes[job_id]) is State.PENDING)
        room -= sum(1 for effect in self._effects.values() if effect is EffectKind.PROVISION)
        for job in sorted(waiting, key=lambda job: (job.created_at, job.number, job.id)):
            if room <= 0:
                return
            if job.provisioned or not self._is_next(job):
                continue
            decision = self._decided.get(job.id, Decision(job_id=job.id))
            self._decide(job, replace(decision, effect=EffectKind.PROVISION))
            room -= 1

    def _is_next(self, job: ActiveJob) -> bool:
        """It waits for workers, or for nothing but jobs that are under way."""
        if job.intents or self._codes[job.id] not in {*WAITS_FOR_CAPACITY, StatusCode.WAITING_ON_DEPENDENCIES}:
            return False
        under_way = {State.RUNNING, State.SUCCEEDED}
        return all(state_of(self._codes[needed]) in under_way for needed in job.wait_for)


def _may_end(job: ActiveJob) -> bool:
    """It waits, and nothing is in flight that its end has to wait for."""
    return job.state is State.PENDING and job.in_flight in {None, EffectKind.PROVISION}
