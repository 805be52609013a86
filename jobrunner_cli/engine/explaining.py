"""Why a job waits, in words and by name (section 2): the scheduler's rules, told instead of applied. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.work import ActiveJob, World, quote_names


def explain(job: ActiveJob, jobs: Sequence[ActiveJob], world: World) -> list[str]:
    """Why a job is where it is, one reason a line, by name: what it waits for and who holds it up."""
    if job.state is State.RUNNING:
        return []
    by_id: Mapping[str, ActiveJob] = {other.id: other for other in jobs}
    reasons = []
    for scope, since in (
        ("the backend is", world.paused_since),
        (f"workspace {job.workspace} is", world.paused_workspaces.get(job.workspace)),
        ("this job is", world.paused_jobs.get(job.id)),
    ):
        if since:
            reasons.append(f"{scope} paused since {since}")
    if world.maintenance_since is not None and job.uses_real_database:
        reasons.append(f"the database is under maintenance since {world.maintenance_since}")
    for needed in job.wait_for:
        other = by_id.get(needed)
        if other is not None:
            reasons.append(f"it needs {other.action} ({needed}), which is {other.code.value}")
    if not reasons:
        reasons += _capacity_reasons(job, jobs, world)
    return reasons


def _capacity_reasons(job: ActiveJob, jobs: Sequence[ActiveJob], world: World) -> list[str]:
    """Which slots are taken, by whom, and who waits for them before this job."""
    running = [other for other in jobs if other.state is State.RUNNING and other.id != job.id]
    reasons = []
    kinds = [("worker", world.max_workers, running)]
    if job.requires_db:
        kinds.append(("database", world.max_db_workers, [other for other in running if other.requires_db]))
    for kind, slots, holders in kinds:
        used = sum((other.weight for other in holders), Fraction(0))
        if used and used + job.weight > slots:
            reasons.append(
                f"it needs {_units(job.weight)} of {slots} {kind} slots, and {_units(used)} are used by {_names(holders)}"
            )
    ahead = [other for other in jobs if other.code in WAITS_FOR_CAPACITY and _is_older(other, job)]
    if ahead and job.code in WAITS_FOR_CAPACITY:
        reasons.append(f"older jobs that wait for a slot, too: {_names(ahead)}")
    return reasons


def _is_older(one: ActiveJob, other: ActiveJob) -> bool:
    return (one.created_at, one.id) < (other.created_at, other.id)


def _names(jobs: Sequence[ActiveJob]) -> str:
    return quote_names([f"{job.workspace}/{job.action}" for job in jobs], most=5)


def _units(weight: Fraction) -> str:
    return str(int(weight)) if weight.denominator == 1 else f"{float(weight):g}"
