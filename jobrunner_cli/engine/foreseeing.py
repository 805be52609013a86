"""When a waiting job may start, going by how long the last runs of actions took: an estimate for people. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from fractions import Fraction

from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.work import ActiveJob
from jobrunner_cli.engine.world import World

#: (workspace, action) -> the usual seconds of a run
RunTimes = Mapping[tuple[str, str], float]


def in_order(jobs: Sequence[ActiveJob], world: World) -> list[ActiveJob]:
    """The jobs that wait for capacity, in the order in which they start if nothing else changes (section 2)."""
    running_in: dict[str, int] = {}
    queues: dict[str, list[ActiveJob]] = {}
    for job in jobs:
        if job.state is State.RUNNING:
            running_in[job.workspace] = running_in.get(job.workspace, 0) + 1
        elif job.code in WAITS_FOR_CAPACITY:
            queues.setdefault(job.workspace, []).append(job)

    def rank(job: ActiveJob) -> tuple[bool, bool, int, int, str]:
        starved = world.now - job.code_since >= world.starvation_seconds
        return (not (starved and job.weight > 1), not job.requires_db, job.created_at, job.number, job.id)

    for queue in queues.values():
        queue.sort(key=rank, reverse=True)
    found = []
    while queues:
        workspace = min(queues, key=lambda name: (running_in.get(name, 0), *rank(queues[name][-1])))
        found.append(queues[workspace].pop())
        running_in[workspace] = running_in.get(workspace, 0) + 1
        if not queues[workspace]:
            del queues[workspace]
    return found


def run_time_left(job: ActiveJob, world: World, typical: float | None) -> float | None:
    """Seconds until a running job may end; below 0 if it takes longer than usual, None if nothing is known."""
    if typical is None:
        return None
    executed = world.now - job.code_since if job.code is StatusCode.EXECUTING else 0.0
    return typical - executed if job.code in {StatusCode.PREPARING, StatusCode.PREPARED, StatusCode.EXECUTING} else 0.0


def seconds_until_start(
    job: ActiveJob, jobs: Sequence[ActiveJob], world: World, run_times: RunTimes, *, depth: int = 0
) -> float | None:
    """About when a waiting job may start; None where an operator holds it up, or a run time that counts is not known."""
    if job.state is not State.PENDING or _is_held(job, world) or depth > len(jobs):
        return None
    by_id = {other.id: other for other in jobs}
    awaited = [by_id[name] for name in job.wait_for if name in by_id]
    if awaited:
        ends = [_seconds_until_end(other, jobs, world, run_times, depth=depth + 1) for other in awaited]
        known = [end for end in ends if end is not None]
        return max(known) if len(known) == len(ends) else None
    return _until_there_is_room(job, jobs, world, run_times)


def _seconds_until_end(
    job: ActiveJob, jobs: Sequence[ActiveJob], world: World, run_times: RunTimes, *, depth: int
) -> float | None:
    typical = run_times.get((job.workspace, job.action))
    if job.state is State.RUNNING:
        left = run_time_left(job, world, typical)
        return None if left is None else max(left, 0.0)
    start = seconds_until_start(job, jobs, world, run_times, depth=depth)
    return None if start is None or typical is None else start + typical


def _is_held(job: ActiveJob, world: World) -> bool:
    paused = world.paused_since or world.paused_workspaces.get(job.workspace) or world.paused_jobs.get(job.id)
    maintained = world.maintenance_since is not None and job.uses_real_database
    return bool(paused or maintained or world.shortages)


def _until_there_is_room(job: ActiveJob, jobs: Sequence[ActiveJob], world: World, run_times: RunTimes) -> float | None:
    """Let the running jobs end and those before this one start, each at its usual time."""
    ends: list[tuple[float, str, Fraction, bool]] = []
    for other in jobs:
        if other.state is State.RUNNING:
            left = run_time_left(other, world, run_times.get((other.workspace, other.action)))
            ends.append((float("inf") if left is None else max(left, 0.0), other.id, other.weight, other.requires_db))
    heapq.heapify(ends)
    used = sum((weight for _, _, weight, _ in ends), Fraction(0))
    used_db = sum((weight for _, _, weight, on_db in ends if on_db), Fraction(0))
    at = 0.0
    queue = in_order(jobs, world)
    place = next((n for n, other in enumerate(queue) if other.id == job.id), len(queue))
    for other in [*queue[:place], job]:
        if other.requires_db and not world.max_db_workers:
            if other.id == job.id:
                return None
            continue
        while (used and used + other.weight > world.max_workers) or (
            other.requires_db and used_db and used_db + other.weight > world.max_db_workers
        ):
            end, _, weight, on_db = heapq.heappop(ends)
            if end == float("inf"):
                return None
            at = max(at, end)
            used -= weight
            used_db -= weight if on_db else 0
        if other.id == job.id:
            return at
        typical = run_times.get((other.workspace, other.action))
        heapq.heappush(
            ends, (float("inf") if typical is None else at + typical, other.id, other.weight, other.requires_db)
        )
        used += other.weight
        used_db += other.weight if other.requires_db else 0
    return at
