"""Active jobs and worlds for tests of the scheduler: one by one, or any, as Hypothesis draws them."""

from dataclasses import replace
from fractions import Fraction

from hypothesis import strategies as st

from jobrunner_cli.engine.states import State, StatusCode, state_of
from jobrunner_cli.engine.work import (
    ActiveJob,
    ContainerState,
    Decision,
    EffectKind,
    Intent,
    IntentKind,
)
from jobrunner_cli.engine.world import Shortage, Snapshot, World

C = StatusCode
SHORTAGE = Shortage(place="the high privacy store", path="/high", free=3 << 28, floor=1 << 30)
PENDING = [code for code in C if state_of(code) is State.PENDING]
RUNNING = [code for code in C if state_of(code) is State.RUNNING]


def make_job(name, code=C.CREATED, **values):
    defaults = {
        "workspace": "ws",
        "action": name,
        "requires_db": False,
        "uses_real_database": False,
        "wait_for": (),
        "needs": (),
        "created_at": 100,
        "code_since": 100.0,
    }
    return ActiveJob(id=name, code=code, **{**defaults, **values})


def make_world(**values):
    return World(**{"now": 1000.0, "monotonic": 1000.0, "max_workers": 2, "max_db_workers": 2, **values})


def by_job(decisions):
    assert len({decision.job_id for decision in decisions}) == len(decisions)
    return {decision.job_id: decision for decision in decisions}


def started(decisions):
    return [decision.job_id for decision in decisions if decision.path[-1:] == (C.PREPARING,)]


def carried_out(jobs, decisions):
    """The jobs after the paths of some decisions; ended ones are left out."""
    moves = by_job(decisions)
    after = []
    for job in jobs:
        decision = moves.get(job.id, Decision(job_id=job.id))
        code = decision.path[-1] if decision.path else job.code
        if state_of(code) in {State.PENDING, State.RUNNING}:
            after.append(replace(job, code=code, in_flight=decision.effect or job.in_flight))
    return after


weights = st.sampled_from([Fraction(1), Fraction(1, 3), Fraction(2), Fraction(5, 2), Fraction(7)])


@st.composite
def situations(draw):
    """Any set of active jobs, each waiting only for ones before it, in any world."""
    count = draw(st.integers(1, 12))
    ended = draw(st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from([C.SUCCEEDED, C.NONZERO_EXIT])))
    jobs = []
    for number in range(count):
        code = draw(st.sampled_from(PENDING + RUNNING))
        before = [job.id for job in jobs] + list(ended)
        wait_for = tuple(draw(st.sets(st.sampled_from(before), max_size=3))) if before else ()
        if state_of(code) is State.RUNNING:
            wait_for = tuple(needed for needed in wait_for if ended.get(needed) is C.SUCCEEDED)
        intents = draw(st.lists(st.sampled_from(IntentKind), max_size=2))
        jobs.append(
            make_job(
                f"j{number}",
                code,
                workspace=draw(st.sampled_from(["a", "b", "c"])),
                wait_for=wait_for,
                needs=wait_for,
                weight=draw(weights),
                requires_db=draw(st.booleans()),
                uses_real_database=draw(st.booleans()),
                created_at=draw(st.integers(0, 900)),
                code_since=float(draw(st.integers(0, 1000))),
                restarts=draw(st.integers(0, 4)),
                intents=tuple(Intent(id=n, kind=kind, job_id=f"j{number}") for n, kind in enumerate(intents)),
                in_flight=draw(st.sampled_from([None, None, None, *EffectKind])),
                verdict_stored=code is C.FINALIZING and draw(st.booleans()),
                effect_ended_at=draw(st.sampled_from([None, 900.0, 1100.0])),
                not_before=draw(st.sampled_from([None, None, 900.0, 1100.0])),
                provisioned=draw(st.booleans()),
                time_limit=draw(st.sampled_from([None, None, 60.0])),
                overuse=draw(st.sampled_from([None, None, "too much"])),
                message=draw(st.sampled_from([None, "Waiting on available workers", "Waiting for disk space: little"])),
            )
        )
    containers = draw(st.dictionaries(st.sampled_from([job.id for job in jobs]), st.sampled_from(ContainerState)))
    since = st.sampled_from([None, None, "then"])
    return jobs, make_world(
        max_workers=draw(st.integers(1, 4)),
        max_db_workers=draw(st.integers(1, 4)),
        paused_since=draw(since),
        paused_workspaces=draw(st.dictionaries(st.sampled_from(["a", "b"]), st.just("then"), max_size=1)),
        maintenance_since=draw(since),
        ended=ended,
        draining=draw(st.sampled_from([False, False, True])),
        shortages=draw(st.sampled_from([(), (), (SHORTAGE,)])),
        provision_ahead=draw(st.integers(0, 3)),
        snapshot=draw(st.sampled_from([None, Snapshot(asked_at=1000.0, containers=containers)])),
    )
