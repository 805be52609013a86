"""What the scheduler makes of what the executor says of a job's container."""

from dataclasses import replace

import pytest

from jobrunner_cli.engine.endings import MOST_RESTARTS, started_over
from jobrunner_cli.engine.scheduling import decide
from jobrunner_cli.engine.states import StatusCode
from jobrunner_cli.engine.work import ContainerState, EffectKind
from jobrunner_cli.engine.world import Snapshot
from support.situations import by_job, make_job, make_world

C = StatusCode


def test_a_snapshot_older_than_the_last_effect_says_nothing():
    job = make_job("j", C.EXECUTING, effect_ended_at=1001.0)
    old = Snapshot(asked_at=1000.0, containers={})
    assert decide([job], make_world(snapshot=old)) == []
    new = Snapshot(asked_at=1002.0, containers={})
    assert by_job(decide([job], make_world(snapshot=new)))["j"].effect is EffectKind.RESET


def test_a_job_whose_container_was_found_to_have_exited_is_finalized_though_a_list_says_that_it_runs():
    job = make_job("j", C.EXECUTING, start_began_at=999.0, effect_ended_at=1000.0)
    listed = Snapshot(asked_at=1002.0, containers={"j": ContainerState.RUNNING})
    seen = listed.with_ended({"j": 1001.0})
    assert by_job(decide([job], make_world(snapshot=seen)))["j"].effect is EffectKind.FINALIZE
    later = Snapshot(asked_at=1003.0, containers={"j": ContainerState.RUNNING}).after(seen)
    assert by_job(decide([job], make_world(snapshot=later)))["j"].effect is EffectKind.FINALIZE


def test_an_end_that_was_found_while_the_start_was_not_confirmed_is_of_this_run():
    job = make_job("j", C.EXECUTING, start_began_at=999.0, effect_ended_at=1001.0)
    seen = Snapshot(asked_at=1002.0, containers={"j": ContainerState.RUNNING}).with_ended({"j": 1000.0})
    assert by_job(decide([job], make_world(snapshot=seen)))["j"].effect is EffectKind.FINALIZE
    # It is so still when it was to be halted meanwhile, and that has ended.
    halted = replace(job, overuse="too much", effect_ended_at=1003.0)
    assert by_job(decide([halted], make_world(snapshot=seen)))["j"].effect is EffectKind.FINALIZE


def test_the_end_of_an_earlier_run_says_nothing_of_a_job_that_was_started_over():
    job = make_job("j", C.EXECUTING, start_began_at=1001.2, effect_ended_at=1001.5)
    seen = Snapshot(asked_at=1000.0, containers={}).with_ended({"j": 1001.0})
    assert decide([job], make_world(snapshot=seen)) == []
    running = Snapshot(asked_at=1002.0, containers={"j": ContainerState.RUNNING}).after(seen)
    assert decide([job], make_world(snapshot=running)) == []
    gone = Snapshot(asked_at=1003.0, containers={}).after(running)
    assert by_job(decide([job], make_world(snapshot=gone)))["j"].effect is EffectKind.RESET


def test_what_was_found_before_a_list_was_asked_for_is_forgotten_with_the_container():
    seen = Snapshot(asked_at=1.0, containers={}).with_ended({"there": 2.0, "gone": 2.0, "new": 9.0})
    after = Snapshot(asked_at=5.0, containers={"there": ContainerState.EXITED}).after(seen)
    assert after.ended == {"there": 2.0, "new": 9.0}


@pytest.mark.parametrize(
    ("state", "reason"), [(ContainerState.CREATED, "its start was lost"), (None, "the container disappeared")]
)
def test_a_job_whose_container_does_not_run_any_more_is_reset(state: ContainerState | None, reason: str):
    job = make_job("j", C.EXECUTING)
    containers = {} if state is None else {"j": state}
    (decision,) = decide([job], make_world(snapshot=Snapshot(asked_at=1000.0, containers=containers)))
    assert (decision.path, decision.effect, decision.cause) == ((), EffectKind.RESET, reason)


def test_a_lost_container_is_started_over_three_times_at_most():
    job = make_job("j", C.EXECUTING, restarts=MOST_RESTARTS - 1)
    again = started_over(job, "the container disappeared")
    assert again.path == (C.WAITING_ON_REBOOT,)
    assert again.counts_restart
    assert started_over(replace(job, restarts=MOST_RESTARTS), "gone").path == (C.INTERNAL_ERROR,)
