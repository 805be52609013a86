"""Space in the scheduler's rules: nothing new starts where too little is free, and a job that takes too much is ended."""

from dataclasses import replace

import pytest
from hypothesis import given, settings

from jobrunner_cli.engine.explaining import explain
from jobrunner_cli.engine.scheduling import decide
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.work import ContainerState, EffectKind, Intent, IntentKind
from jobrunner_cli.engine.world import Snapshot
from support.situations import SHORTAGE, by_job, make_job, make_world, situations

C = StatusCode
FREED = "Waiting on available workers"


def told(jobs, decisions):
    """The jobs with what their rows say after some decisions; only waiting ones that go on waiting."""
    moves = by_job(decisions)
    after = []
    for job in jobs:
        decision = moves.get(job.id)
        if decision is not None:
            code = decision.path[-1] if decision.path else job.code
            message = job.message if decision.message is None else decision.message
            after.append(replace(job, code=code, message=message, in_flight=decision.effect or job.in_flight))
        else:
            after.append(job)
    return [job for job in after if job.state is State.PENDING]


@given(situations())
@settings(max_examples=50)
def test_what_waiting_jobs_are_told_comes_to_rest(situation):
    jobs, world = situation
    jobs = told(jobs, decide(jobs, world))
    jobs = told(jobs, decide(jobs, world))
    assert [decision for decision in decide(jobs, world) if decision.message is not None and not decision.path] == []


@given(situations())
@settings(max_examples=50)
def test_without_space_nothing_is_made_ahead_and_what_runs_goes_on_as_with_it(situation):
    jobs, world = situation
    short = by_job(decide(jobs, replace(world, shortages=(SHORTAGE,))))
    free = by_job(decide(jobs, replace(world, shortages=())))
    assert EffectKind.PROVISION not in {decision.effect for decision in short.values()}
    for job in jobs:
        if job.state is State.RUNNING:
            assert short.get(job.id) == free.get(job.id)


@pytest.mark.parametrize("code", [C.CREATED, C.WAITING_ON_WORKERS, C.WAITING_ON_REBOOT, C.WAITING_ON_DEPENDENCIES])
def test_a_job_that_waits_for_space_says_where_how_much_is_free_and_how_much_has_to_be(code):
    job = make_job("j", code, message=FREED)
    (decision,) = decide([job], make_world(shortages=(SHORTAGE,)))
    (waiting,) = told([job], [decision])
    assert waiting.code is C.WAITING_ON_WORKERS
    for text in ("the high privacy store", "/high", "0.75 GiB free", "1.00 GiB"):
        assert text in waiting.message
    assert decide([waiting], make_world(shortages=(SHORTAGE,))) == []
    assert str(SHORTAGE) in explain(waiting, [waiting], make_world(shortages=(SHORTAGE,)))


def test_when_there_is_space_again_a_job_starts_or_says_what_else_it_waits_for():
    jobs = [make_job(name, created_at=number) for number, name in enumerate("abc")]
    jobs = told(jobs, decide(jobs, make_world(shortages=(SHORTAGE,))))
    decisions = by_job(decide(jobs, make_world(max_workers=2)))
    assert [decisions[name].path for name in "ab"] == [(C.PREPARING,), (C.PREPARING,)]
    assert (decisions["c"].path, decisions["c"].message) == ((), FREED)


def test_a_job_that_waits_for_something_else_is_left_at_that():
    needed = make_job("a", C.EXECUTING)
    waiting = make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",), message="Waiting on dependencies")
    paused = make_job("c", C.WAITING_PAUSED)
    world = make_world(shortages=(SHORTAGE,), paused_jobs={"c": "then"})
    assert decide([needed, waiting, paused], world) == []


def test_a_job_that_takes_up_too_much_is_ended_and_then_finalized():
    job = make_job("j", C.EXECUTING, overuse="it used too much")
    runs = Snapshot(asked_at=1.0, containers={"j": ContainerState.RUNNING})
    (decision,) = decide([job], make_world(snapshot=runs))
    assert (decision.path, decision.effect, decision.cause) == ((), EffectKind.HALT, "it used too much")
    ended = replace(job, effect_ended_at=2.0)
    assert decide([ended], make_world(snapshot=runs)) == []
    exited = Snapshot(asked_at=3.0, containers={"j": ContainerState.EXITED})
    (decision,) = decide([ended], make_world(snapshot=exited))
    assert decision.path == (C.EXECUTED, C.FINALIZING)
    assert decision.effect is EffectKind.FINALIZE


def test_a_job_that_is_cancelled_is_not_kept_because_it_takes_up_too_much():
    cancel = Intent(id=1, kind=IntentKind.CANCEL, job_id="j")
    job = make_job("j", C.EXECUTING, overuse="it used too much", intents=(cancel,))
    snapshot = Snapshot(asked_at=1.0, containers={"j": ContainerState.RUNNING})
    (decision,) = decide([job], make_world(snapshot=snapshot))
    assert decision.effect is EffectKind.TERMINATE
