"""Why a job waits, in words and by name (section 2), and what would change it: the scheduler's rules, told. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from jobrunner_cli.engine.foreseeing import RunTimes, in_order, run_time_left
from jobrunner_cli.engine.forms import spoken_duration
from jobrunner_cli.engine.scheduling import WAITS_FOR_CAPACITY
from jobrunner_cli.engine.states import TABLE, State, StatusCode
from jobrunner_cli.engine.work import ActiveJob, quote_names
from jobrunner_cli.engine.world import World

#: Jobs of a chain that are named; what is between the first ones and the one that blocks is counted.
_MOST_LINKS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One thing that a job waits for."""

    text: str
    #: what would change it, for people: what has to happen, or a command
    change: str
    #: the jobs that have to move for it
    job_ids: tuple[str, ...] = ()
    #: the one of them that is to be looked at first: the one at the end of a chain, the next one in the queue, the one
    #: that holds its slots for the longest time
    cause: str | None = None


def explain(job: ActiveJob, jobs: Sequence[ActiveJob], world: World) -> list[str]:
    """Why a job is where it is, one reason a line, by name: what it waits for and who holds it up."""
    return [reason.text for reason in reasons_of(job, jobs, world)]


def reasons_of(
    job: ActiveJob, jobs: Sequence[ActiveJob], world: World, run_times: RunTimes | None = None
) -> list[Reason]:
    """What a waiting job waits for; nothing for one that runs. Capacity counts only where nothing else does.

    With `run_times` it is also said for how long those run that are waited for, and how long that usually takes:
    without them, what is said stays true as long as nothing changes.
    """
    if job.state is State.RUNNING:
        return []
    put_back, held = _put_back(job), _held_up(job, world)
    awaited = _dependency_reasons(job, jobs, world, held, run_times)
    in_the_way = [*held, *awaited] or _capacity_reasons(job, jobs, world, run_times)
    return [*put_back, *in_the_way]


def _put_back(job: ActiveJob) -> list[Reason]:
    """Why a job is to be started over that had begun before."""
    if job.code is not StatusCode.WAITING_ON_REBOOT:
        return []
    return [
        Reason(
            text=f"it is to be started over: {job.message or TABLE[job.code].meaning}",
            change="it starts when its turn has come",
        )
    ]


def _held_up(job: ActiveJob, world: World) -> list[Reason]:
    """What operators, the database and the disks have against its start."""
    found = []
    for scope, since, command in (
        ("the backend is", world.paused_since, "jobrunner jobs resume"),
        (
            f"workspace {job.workspace} is",
            world.paused_workspaces.get(job.workspace),
            f"jobrunner jobs resume --workspace {job.workspace}",
        ),
        (f"job {job.id} is", world.paused_jobs.get(job.id), f"jobrunner jobs resume {job.id}"),
    ):
        if since:
            found.append(Reason(text=f"{scope} paused since {since}", change=f"{command} ends that"))
    if world.maintenance_since is not None and job.uses_real_database:
        found.append(
            Reason(
                text=f"the database is under maintenance since {world.maintenance_since}",
                change="it starts when the maintenance is over; jobrunner flags get shows the flags that say so",
            )
        )
    found += [
        Reason(text=str(shortage), change=f"free some space at {shortage.path}; jobrunner prune shows what may go")
        for shortage in world.shortages
    ]
    return found


def _dependency_reasons(
    job: ActiveJob, jobs: Sequence[ActiveJob], world: World, known: Sequence[Reason], run_times: RunTimes | None
) -> list[Reason]:
    """For each job that it waits for, the chain down to the one that really blocks, and why that one does.

    What is `known` to hold up the job itself, such as a paused backend, is not said again of others.
    """
    by_id: Mapping[str, ActiveJob] = {other.id: other for other in jobs}
    found = []
    for needed in job.wait_for:
        if needed not in by_id:
            continue
        chain = _chain(by_id[needed], by_id)
        last = chain[-1]
        text = "it needs " + ", which needs ".join(_links(chain))
        change = f"it can start when {_name(last)} has succeeded"
        if last.state is State.PENDING:
            own = _held_up(last, world) or _capacity_reasons(last, jobs, world, run_times)
            inner = [reason for reason in own if reason not in known]
            if inner:
                text += ", which waits: " + "; ".join(reason.text for reason in inner)
                change = f"{inner[0].change}; then {_name(last)} can run"
            else:
                text += f", which waits: {TABLE[last.code].meaning}"
        else:
            text += f", which is {TABLE[last.code].word}{_progress(last, world, run_times)}"
        found.append(Reason(text=text, change=change, job_ids=tuple(each.id for each in chain), cause=last.id))
    return found


def _chain(job: ActiveJob, by_id: Mapping[str, ActiveJob]) -> list[ActiveJob]:
    """From a job down to one that waits for no other: at each step the oldest one that is waited for."""
    chain = [job]
    seen = {job.id}
    while job.state is State.PENDING:
        below = [by_id[name] for name in job.wait_for if name in by_id and name not in seen]
        if not below:
            break
        job = min(below, key=lambda each: (each.state is State.RUNNING, each.created_at, each.id))
        chain.append(job)
        seen.add(job.id)
    return chain


def _progress(job: ActiveJob, world: World, run_times: RunTimes | None) -> str:
    """For how long a running job is where it is, and how long that may still take; nothing without `run_times`."""
    if run_times is None:
        return ""
    text = f", for {spoken_duration(world.now - job.code_since)}"
    left = run_time_left(job, world, run_times.get((job.workspace, job.action)))
    if left is None or job.code is not StatusCode.EXECUTING:
        return text
    return f"{text}; {_left_words(left, run_times[job.workspace, job.action])}"


def _left_words(left: float, typical: float) -> str:
    """How long a command may still run, in seconds, of the `typical` ones."""
    if left <= 0:
        return f"longer than this action usually takes ({spoken_duration(typical)})"
    return f"going by its last runs, about {spoken_duration(left)} are left"


def _links(chain: Sequence[ActiveJob]) -> list[str]:
    names = [f"{job.action} ({job.id})" for job in chain]
    if len(names) > _MOST_LINKS:
        names[_MOST_LINKS - 1 : -1] = [f"{len(names) - _MOST_LINKS} more in between"]
    return names


def _capacity_reasons(
    job: ActiveJob, jobs: Sequence[ActiveJob], world: World, run_times: RunTimes | None
) -> list[Reason]:
    """Which slots are taken, by whom, and who waits for them before this job."""
    running = [other for other in jobs if other.state is State.RUNNING and other.id != job.id]
    found = []
    kinds = [("worker", "MAX_WORKERS", world.max_workers, running)]
    if job.requires_db:
        on_database = [other for other in running if other.requires_db]
        kinds.append(("database", "MAX_DB_WORKERS", world.max_db_workers, on_database))
    for kind, setting, slots, holders in kinds:
        used = sum((other.weight for other in holders), Fraction(0))
        if not slots:
            found.append(Reason(text=f"there are no {kind} slots", change=f"{setting} says how many there are"))
        elif used and used + job.weight > slots:
            found.append(
                Reason(
                    text=f"it needs {_units(job.weight)} of {slots} {kind} slots, "
                    f"and {_units(used)} {'is' if used == 1 else 'are'} used by "
                    + _names(holders, None if run_times is None else world.now),
                    change=f"it can start when enough of these have ended; {setting} says how many slots there are",
                    job_ids=tuple(other.id for other in holders),
                    cause=min(holders, key=lambda other: (other.code_since, other.id)).id,
                )
            )
    if job.code in WAITS_FOR_CAPACITY:
        found += _place(job, in_order(jobs, world), alone=not found)
    return found


def _place(job: ActiveJob, queue: Sequence[ActiveJob], *, alone: bool) -> list[Reason]:
    """Its place in the queue; that it is the next is worth saying of several, or where it is all there is to say."""
    place = _place_in(queue, job)
    if not place:
        which = f"the next of {len(queue)}" if len(queue) > 1 else "the next"
        room = Reason(text=f"it is {which} in the queue", change="it starts as soon as there is room")
        return [room] if alone or len(queue) > 1 else []
    ahead = queue[:place]
    return [
        Reason(
            text=f"it is number {place + 1} of {len(queue)} in the queue; before it: {_names(ahead)}",
            change="those start first: workspaces that run less, then database jobs, then older ones",
            job_ids=tuple(other.id for other in ahead),
            cause=ahead[0].id,
        )
    ]


def before_it(job: ActiveJob, jobs: Sequence[ActiveJob], world: World) -> list[ActiveJob]:
    """The jobs that wait for capacity and start before this one, as things stand, the first one first."""
    if job.code not in WAITS_FOR_CAPACITY:
        return []
    queue = in_order(jobs, world)
    return queue[: _place_in(queue, job)]


def _place_in(queue: Sequence[ActiveJob], job: ActiveJob) -> int:
    return next((n for n, other in enumerate(queue) if other.id == job.id), 0)


def running_words(job: ActiveJob, world: World, typical: float | None) -> str:
    """What a running job does, since when, and how long that may still take (`typical`: seconds for the whole run)."""
    since = spoken_duration(world.now - job.code_since)
    text = f"it runs: {TABLE[job.code].meaning}, for {since}"
    left = run_time_left(job, world, typical)
    if left is None or job.code is not StatusCode.EXECUTING:
        return text
    return f"{text}; {_left_words(left, typical or 0)}"


def _name(job: ActiveJob) -> str:
    return f"{job.workspace}/{job.action} ({job.id})"


def _names(jobs: Sequence[ActiveJob], now: float | None = None) -> str:
    """The first of these jobs, each with how long it is where it is, if the time is given."""
    names = [f"{job.workspace}/{job.action}" for job in jobs]
    if now is not None:
        names = [f"{name} ({spoken_duration(now - job.code_since)})" for name, job in zip(names, jobs, strict=True)]
    return quote_names(names, most=5)


def _units(weight: Fraction) -> str:
    return str(int(weight)) if weight.denominator == 1 else f"{float(weight):g}"
