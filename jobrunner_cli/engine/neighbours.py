"""The neighbourhood of a job: what it needs, directly and not, and what needs it, each with its latest job.

A neighbour whose row is damaged is left out: one such row must not keep all others from being looked at.
"""

from __future__ import annotations

from dataclasses import dataclass

from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.store import queries
from jobrunner_cli.engine.store.database import Connection
from jobrunner_cli.engine.store.models import Job

#: A picture with more actions than these says nothing any more.
MOST = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbourhood:
    """The actions around a job."""

    #: action -> the actions it needs, of those that are here
    needs: dict[str, tuple[str, ...]]
    #: action -> the code of its job; one that never had a job is absent
    codes: dict[str, StatusCode]
    #: action -> id of that job
    ids: dict[str, str]
    #: how many more there would be
    left_out: int


def neighbourhood(conn: Connection, job: Job, most: int = MOST) -> Neighbourhood:
    """The actions that a job's action needs or that need it, as the jobs of its request and its workspace say.

    The nearest ones come first where there are more than `most`.
    """
    known = {other.action: other for other in queries.jobs_of_request(conn, job.job_request_id, damaged=[])}
    known[job.action] = job
    for other in queries.jobs_by_ids(conn, job.wait_for_job_ids, damaged=[]).values():
        known.setdefault(other.action, other)
    found = [job.action]
    for action in found:
        here = known.get(action)
        missing = [need for need in here.requires_outputs_from if need not in known] if here else []
        known |= queries.newest_jobs(conn, job.workspace, missing, damaged=[])
        found += [need for need in (here.requires_outputs_from if here else ()) if need not in found]
    dependants = [job.action]
    for action in dependants:
        dependants += [
            name for name, other in known.items() if action in other.requires_outputs_from and name not in dependants
        ]
    wanted = [*found, *(name for name in dependants if name not in found)]
    shown = set(wanted[:most])
    needs = {
        action: tuple(need for need in known[action].requires_outputs_from if need in shown) if action in known else ()
        for action in wanted[:most]
    }
    return Neighbourhood(
        needs=needs,
        codes={action: known[action].status_code for action in needs if action in known},
        ids={action: known[action].id for action in needs if action in known},
        left_out=len(wanted) - len(shown),
    )


def needed_by(conn: Connection, job: Job) -> list[Job]:
    """The jobs that it waited or waits for; of the other actions that it needs, the one whose outputs it gets."""
    awaited = list(queries.jobs_by_ids(conn, job.wait_for_job_ids, damaged=[]).values())
    others = set(job.requires_outputs_from) - {each.action for each in awaited}
    done = queries.latest_succeeded(conn, job.workspace, others, damaged=[]).values()
    order = {action: place for place, action in enumerate(job.requires_outputs_from)}
    return sorted([*awaited, *done], key=lambda each: (order.get(each.action, len(order)), each.created_at, each.id))


def waiting_for(conn: Connection, job: Job) -> list[Job]:
    """The jobs that wait or waited for it: those of its request, and of others what has not ended."""
    candidates = {each.id: each for each in queries.jobs_of_request(conn, job.job_request_id, damaged=[])}
    candidates.update((each.id, each) for each in queries.active_jobs(conn, damaged=[]))
    found = [each for each in candidates.values() if job.id in each.wait_for_job_ids]
    return sorted(found, key=lambda each: (each.created_at, each.action, each.id))
