"""Why a job waits, in words and by name (section 2): the scheduler's rules, told instead of applied. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction

from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.work import ActiveJob, World


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
    running = [other for other in jobs if other.state is State.RUNNING and other.id != job.id]
    used = sum((other.weight for other in running), Fraction(0))
    if not reasons and used and used + job.weight > world.max_workers:
        holders = ", ".join(f"{other.workspace}/{other.action}" for other in running)
        reasons.append(
            f"it needs {_units(job.weight)} of {world.max_workers} worker slots, and {_units(used)} are used by {holders}"
        )
        ahead = sum(
            1
            for other in jobs
            if other.code in WAITS_FOR_CAPACITY and (other.created_at, other.id) < (job.created_at, job.id)
        )
        reasons.append(f"older jobs that wait for a slot, too: {ahead}")
    return reasons


def _units(weight: Fraction) -> str:
    return str(int(weight)) if weight.denominator == 1 else f"{float(weight):g}"
