"""Properties of the scheduler: what must hold for every set of jobs, found by trying many."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner_cli.engine.endings import started_over
from jobrunner_cli.engine.explaining import explain
from jobrunner_cli.engine.scheduling import decide, stop_wanted
from jobrunner_cli.engine.states import State, StatusCode, require_legal, state_of
from jobrunner_cli.engine.work import (
    ContainerState,
    EffectKind,
    Intent,
    IntentKind,
)
from jobrunner_cli.engine.world import Snapshot
from support.situations import by_job, carried_out, make_job, make_world, situations, started, weights

C = StatusCode


@given(situations())
@settings(max_examples=50)
def test_every_decision_is_a_legal_path_with_at_most_one_effect_and_none_beside_one_in_flight(situation):
    jobs, world = situation
    known = {job.id: job for job in jobs}
    for job_id, decision in by_job(decide(jobs, world)).items():
        require_legal([known[job_id].code, *decision.path])
        if known[job_id].in_flight is not None:
            assert decision.effect is None
        if decision.path and known[job_id].in_flight is not None:
            assert known[job_id].in_flight is EffectKind.PROVISION
            assert known[job_id].state is State.PENDING
            assert state_of(decision.path[-1]) is State.FAILED


@given(situations())
@settings(max_examples=200)
def test_where_every_decision_begins_something_another_look_decides_nothing(situation):
    """So the loop need not look again before one of them ends."""
    jobs, world = situation
    decisions = decide(jobs, world)
    if not all(decision.effect is not None for decision in decisions):
        return
    codes = {decision.job_id: decision.path[-1] for decision in decisions if decision.path}
    answered = {decision.job_id: decision.answered for decision in decisions}
    after = [
        replace(job, intents=tuple(wish for wish in job.intents if wish.id not in answered.get(job.id, {})))
        for job in carried_out(jobs, decisions)
    ]
    assert decide(after, replace(world, ended={**world.ended, **codes})) == []


def test_waiting_job_ends_at_once_whatever_is_being_made_ahead_for_it():
    cancel = (
        Intent(id=1, kind=IntentKind.CANCEL, job_id="cancelled"),
        Intent(id=2, kind=IntentKind.CLEANUP, job_id="cancelled"),
    )
    cancelled = make_job("cancelled", C.WAITING_ON_WORKERS, in_flight=EffectKind.PROVISION, intents=cancel)
    dependant = make_job(
        "dependant",
        C.WAITING_ON_DEPENDENCIES,
        in_flight=EffectKind.PROVISION,
        wait_for=("cancelled",),
        needs=("cancelled",),
    )
    decisions = by_job(decide([cancelled, dependant], make_world()))
    assert decisions["cancelled"].path == (C.CANCELLED_BY_USER,)
    assert decisions["cancelled"].answered == {1: "done"}
    assert decisions["dependant"].path == (C.DEPENDENCY_FAILED,)
    assert all(decision.effect is None for decision in decisions.values())


@given(situations())
@settings(max_examples=50)
def test_capacity_is_never_exceeded_by_a_start(situation):
    jobs, world = situation
    decisions = decide(jobs, world)
    for job_id in started(decisions):
        job = next(job for job in jobs if job.id == job_id)
        running = [other for other in carried_out(jobs, decisions) if other.state is State.RUNNING]
        alone = len(running) == 1
        assert alone or sum(other.weight for other in running) <= world.max_workers
        with_database = [other for other in running if other.requires_db]
        if job.requires_db:
            assert len(with_database) == 1 or sum(o.weight for o in with_database) <= world.max_db_workers


@given(situations())
@settings(max_examples=50)
def test_nothing_starts_before_its_needs_have_succeeded(situation):
    jobs, world = situation
    known = {job.id: job for job in jobs}
    for job_id in started(decide(jobs, world)):
        assert all(world.ended.get(needed) is C.SUCCEEDED for needed in known[job_id].wait_for)


@given(situations())
@settings(max_examples=50)
def test_nothing_starts_while_paused_draining_under_maintenance_or_without_space(situation):
    jobs, world = situation
    for job_id in started(decide(jobs, world)):
        job = next(job for job in jobs if job.id == job_id)
        assert world.paused_since is None
        assert not world.shortages
        assert job.workspace not in world.paused_workspaces
        assert not world.draining
        assert not (job.uses_real_database and world.maintenance_since)


@given(situations())
@settings(max_examples=50)
def test_no_job_waits_while_there_is_capacity_for_it(situation):
    jobs, world = situation
    if world.draining or world.shortages:
        return
    decisions = decide(jobs, world)
    after = carried_out(jobs, decisions)
    if any(other.state is State.RUNNING for other in after):
        return
    for job in after:
        free = job.in_flight is None and (job.not_before is None or job.not_before <= world.monotonic)
        waits = job.code in {C.WAITING_ON_WORKERS, C.WAITING_ON_DB_WORKERS, C.CREATED, C.WAITING_ON_REBOOT}
        if free and waits and not job.intents:
            needs_met = all(world.ended.get(needed) is C.SUCCEEDED for needed in job.wait_for)
            blocked = world.paused_since or job.workspace in world.paused_workspaces or world.maintenance_since
            assert blocked or not needs_met, job


@given(situations())
@settings(max_examples=50)
def test_the_order_of_the_rows_does_not_matter(situation):
    jobs, world = situation
    assert by_job(decide(jobs, world)) == by_job(decide(jobs[::-1], world))


@given(st.integers(1, 4), st.data())
@settings(max_examples=60)
def test_any_study_finishes_whatever_the_number_of_workers(workers, data):
    """Simulated to the end: every look carried out, every effect succeeds, every container exits."""
    count = data.draw(st.integers(1, 10))
    jobs = []
    for number in range(count):
        wait_for = tuple(data.draw(st.sets(st.sampled_from([job.id for job in jobs])))) if jobs else ()
        jobs.append(make_job(f"j{number}", wait_for=wait_for, needs=wait_for, weight=data.draw(weights)))
    ended: dict[str, StatusCode] = {}
    for _ in range(20 * count):
        snapshot = Snapshot(asked_at=1000.0, containers={job.id: ContainerState.EXITED for job in jobs})
        world = make_world(max_workers=workers, max_db_workers=workers, ended=dict(ended), snapshot=snapshot)
        decisions = by_job(decide(jobs, world))
        jobs = [after_its_effect(job, decisions.get(job.id), ended) for job in jobs]
        jobs = [job for job in jobs if job is not None]
        if not jobs:
            break
    assert not jobs
    assert set(ended.values()) == {C.SUCCEEDED}
    assert len(ended) == count


def after_its_effect(job, decision, ended):
    """A job after its decision was carried out and the effect, if any, succeeded."""
    if decision is None:
        return job
    code = decision.path[-1] if decision.path else job.code
    following = {
        EffectKind.PREPARE: C.PREPARED,
        EffectKind.START: C.EXECUTING,
    }
    job = replace(job, code=following.get(decision.effect, code))
    if decision.effect is EffectKind.FINALIZE:
        job = replace(job, verdict_stored=True)
    if decision.effect is EffectKind.PROVISION:
        job = replace(job, provisioned=True)
    if decision.effect is EffectKind.PUBLISH:
        ended[job.id] = C.SUCCEEDED
        return None
    return job


def test_failure_travels_down_a_chain_in_one_look():
    chain = [make_job(f"j{n}", wait_for=(f"j{n - 1}",) if n else ("x",)) for n in range(50)]
    decisions = by_job(decide(chain[::-1], make_world(ended={"x": C.NONZERO_EXIT})))
    assert {decision.path for decision in decisions.values()} == {(C.DEPENDENCY_FAILED,)}
    assert {decision.message for decision in decisions.values()} == {"Not starting as dependency failed"}
    assert len(decisions) == 50


def test_shares_are_fair_within_one_look():
    jobs = [make_job(f"a{n}", workspace="a", created_at=n) for n in range(4)]
    jobs += [make_job(f"b{n}", workspace="b", created_at=50 + n) for n in range(4)]
    assert sorted(started(decide(jobs, make_world(max_workers=4)))) == ["a0", "a1", "b0", "b1"]


def test_database_jobs_go_before_others_and_older_ones_before_newer():
    jobs = [
        make_job("old", created_at=1),
        make_job("newer", created_at=2),
        make_job("db", created_at=3, requires_db=True),
    ]
    assert started(decide(jobs, make_world(max_workers=2))) == ["db", "old"]


def test_database_slots_hold_up_only_database_jobs():
    jobs = [make_job(f"db{n}", requires_db=True, created_at=n) for n in range(3)] + [make_job("other", created_at=9)]
    decisions = by_job(decide(jobs, make_world(max_workers=4, max_db_workers=1)))
    assert started(decisions.values()) == ["db0", "other"]
    assert decisions["db1"].path == (C.WAITING_ON_DB_WORKERS,)


def test_a_heavy_job_that_was_held_up_long_enough_reserves():
    heavy = make_job("heavy", C.WAITING_ON_WORKERS, weight=Fraction(2), code_since=0.0, created_at=5)
    light = make_job("light", C.WAITING_ON_WORKERS, code_since=0.0, created_at=1)
    running = make_job("running", C.EXECUTING, in_flight=EffectKind.FINALIZE)
    assert started(decide([running, light, heavy], make_world(max_workers=2, starvation_seconds=60))) == []
    recent = replace(heavy, code_since=990.0)
    assert started(decide([running, light, recent], make_world(max_workers=2, starvation_seconds=60))) == ["light"]


def test_a_database_job_that_waits_for_long_leaves_the_workers_it_does_not_need_to_others():
    extracting = make_job("extract", C.EXECUTING, requires_db=True, in_flight=EffectKind.FINALIZE)
    starved = make_job("db", C.WAITING_ON_DB_WORKERS, requires_db=True, code_since=0.0, created_at=1)
    others = [make_job(f"j{n}", created_at=2 + n) for n in range(9)]
    names = started(decide([extracting, starved, *others], make_world(max_workers=4, max_db_workers=1)))
    assert names == ["j0", "j1"]


def test_without_database_slots_no_database_job_starts_and_none_keeps_workers_from_others():
    database = make_job("db", C.WAITING_ON_DB_WORKERS, requires_db=True, code_since=0.0, created_at=1)
    other = make_job("other", created_at=2)
    world = make_world(max_workers=1, max_db_workers=0)
    assert started(decide([database, other], world)) == ["other"]
    assert started(decide([database], world)) == []
    assert explain(database, [database], world)[0] == "there are no database slots"


def test_a_job_heavier_than_the_machine_runs_alone():
    heavy = make_job("heavy", weight=Fraction(9))
    assert started(decide([heavy], make_world(max_workers=2))) == ["heavy"]
    running = make_job("running", C.EXECUTING, in_flight=EffectKind.FINALIZE)
    assert started(decide([heavy, running], make_world(max_workers=2))) == []
    alone = replace(heavy, code=C.EXECUTING, in_flight=EffectKind.FINALIZE)
    assert started(decide([alone, make_job("next")], make_world(max_workers=2))) == []


def test_thirds_of_a_worker_add_up_exactly():
    jobs = [make_job(f"j{n}", weight=Fraction(1, 10), created_at=n) for n in range(12)]
    assert len(started(decide(jobs, make_world(max_workers=1, max_db_workers=1)))) == 10


def test_heavy_job_is_not_starved_by_a_stream_of_light_ones():
    """New light jobs of the same workspace keep coming; the heavy one still gets its turn."""
    heavy = make_job("heavy", C.WAITING_ON_WORKERS, weight=Fraction(2), created_at=0, code_since=0.0)
    running = [make_job("l0", C.EXECUTING), make_job("l1", C.EXECUTING)]
    running = [replace(job, in_flight=EffectKind.FINALIZE) for job in running]
    for step in range(2, 20):
        waiting = [make_job(f"l{step}", C.WAITING_ON_WORKERS, created_at=step, code_since=float(step))]
        world = make_world(now=100.0 + step, max_workers=2)
        names = started(decide([*running, heavy, *waiting], world))
        if "heavy" in names:
            return
        running = [
            *running[1:],
            *(replace(j, code=C.EXECUTING, in_flight=EffectKind.FINALIZE) for j in waiting if j.id in names),
        ]
    pytest.fail("the heavy job never started")


def test_cancelled_while_pending_ends_at_once_and_answers():
    job = make_job("j", C.WAITING_PAUSED, intents=(Intent(id=7, kind=IntentKind.CANCEL, job_id="j"),))
    decision = by_job(decide([job], make_world(paused_since="then")))["j"]
    assert decision.path == (C.CANCELLED_BY_USER,)
    assert decision.message == "Cancelled by user"
    assert decision.cancelled
    assert set(decision.answered) == {7}


def test_cancelled_while_executing_is_terminated_first():
    job = make_job("j", C.EXECUTING, intents=(Intent(id=7, kind=IntentKind.CANCEL, job_id="j"),))
    decision = by_job(decide([job], make_world()))["j"]
    assert decision.effect is EffectKind.TERMINATE
    assert not decision.path


def test_killed_keeps_container_and_files_unless_cleanup_is_wanted():
    kill = Intent(id=1, kind=IntentKind.KILL, job_id="j")
    cleanup = Intent(id=2, kind=IntentKind.CLEANUP, job_id="j")
    job = make_job("j", C.EXECUTING, intents=(kill,))
    assert by_job(decide([job], make_world()))["j"].effect is EffectKind.STOP
    assert by_job(decide([replace(job, intents=(kill, cleanup))], make_world()))["j"].effect is EffectKind.TERMINATE


def test_cancelling_after_the_verdict_is_answered_with_already_finished():
    job = make_job("j", C.FINALIZING, verdict_stored=True, intents=(Intent(id=7, kind=IntentKind.CANCEL, job_id="j"),))
    decision = by_job(decide([job], make_world()))["j"]
    assert decision.answered == {7: "already finished"}
    assert not decision.path


def test_what_is_in_flight_is_broken_off_for_a_cancellation_but_not_publishing():
    cancel = (Intent(id=7, kind=IntentKind.CANCEL, job_id="j"),)
    assert stop_wanted(make_job("j", C.PREPARING, in_flight=EffectKind.PREPARE, intents=cancel), draining=False)
    assert not stop_wanted(make_job("j", C.FINALIZING, in_flight=EffectKind.PUBLISH, intents=cancel), draining=False)


def test_a_runner_that_leaves_breaks_off_laying_out_but_not_storing():
    assert stop_wanted(make_job("j", C.PREPARING, in_flight=EffectKind.PREPARE), draining=True)
    assert not stop_wanted(make_job("j", C.FINALIZING, in_flight=EffectKind.FINALIZE), draining=True)


def test_maintenance_puts_a_running_database_job_back_and_leaves_others():
    database_job = make_job("db", C.EXECUTING, requires_db=True, uses_real_database=True)
    other = make_job("other", C.EXECUTING)
    snapshot = Snapshot(asked_at=1.0, containers={"db": ContainerState.RUNNING, "other": ContainerState.RUNNING})
    decisions = by_job(decide([database_job, other], make_world(maintenance_since="then", snapshot=snapshot)))
    assert decisions["db"].effect is EffectKind.RESET
    assert "other" not in decisions
    assert started_over(database_job, decisions["db"].cause).path == (C.WAITING_DB_MAINTENANCE,)


def test_publishing_and_laying_out_what_is_published_exclude_each_other():
    publishing = make_job("a", C.FINALIZING, action="a", verdict_stored=True)
    reader = make_job("b", C.PREPARING, action="b", needs=("a",))
    decisions = by_job(decide([publishing, reader], make_world()))
    assert decisions["a"].effect is EffectKind.PUBLISH
    assert "b" not in decisions
    laying_out = replace(reader, in_flight=EffectKind.PREPARE)
    assert decide([publishing, laying_out], make_world()) == []
    elsewhere = replace(laying_out, workspace="other")
    assert by_job(decide([publishing, elsewhere], make_world()))["a"].effect is EffectKind.PUBLISH


def test_the_next_jobs_are_provisioned_while_they_wait():
    first = make_job("a", C.EXECUTING, in_flight=EffectKind.FINALIZE)
    chain = [first] + [make_job(f"b{n}", C.WAITING_ON_DEPENDENCIES, wait_for=("a",), created_at=n) for n in range(5)]
    effects = [decision.effect for decision in decide(chain, make_world(provision_ahead=2))]
    assert effects == [EffectKind.PROVISION] * 2


def test_a_waiting_job_is_explained_by_name():
    running = make_job("busy", C.EXECUTING)
    waiting = make_job("next", C.WAITING_ON_WORKERS)
    (slots,) = explain(waiting, [running, waiting], make_world(max_workers=1))
    assert "ws/busy" in slots
    database = make_job("db", C.WAITING_ON_DB_WORKERS, requires_db=True)
    extracting = make_job("extract", C.EXECUTING, requires_db=True)
    (slots,) = explain(database, [extracting, database], make_world(max_workers=9, max_db_workers=1))
    assert "database slots" in slots
    assert "ws/extract" in slots
    dependant = make_job("later", C.WAITING_ON_DEPENDENCIES, wait_for=("busy",))
    assert explain(dependant, [running, dependant], make_world()) == ["it needs busy (busy), which is executing"]
    assert "paused since then" in explain(waiting, [waiting], make_world(paused_since="then"))[0]
