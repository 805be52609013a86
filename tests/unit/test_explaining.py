"""What a waiting job is said to wait for, its place in the queue, and when it may start."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given

from jobrunner_cli.engine.explaining import before_it, explain, reasons_of, running_words
from jobrunner_cli.engine.foreseeing import in_order, seconds_until_start
from jobrunner_cli.engine.scheduling import decide
from jobrunner_cli.engine.states import State
from support.situations import C, make_job, make_world, situations, started

WAITING = C.WAITING_ON_WORKERS


def test_chain_is_followed_to_the_job_that_really_blocks():
    jobs = [
        make_job("a", C.EXECUTING, code_since=940.0),
        make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",)),
        make_job("c", C.WAITING_ON_DEPENDENCIES, wait_for=("b", "gone")),
    ]
    (reason,) = reasons_of(jobs[2], jobs, make_world())
    assert reason.text == "it needs b (b), which needs a (a), which is executing"
    assert reason.change == "it can start when ws/a (a) has succeeded"
    assert (reason.job_ids, reason.cause) == (("b", "a"), "a")


def test_reason_of_the_job_at_the_end_of_the_chain_is_given():
    jobs = [
        make_job("a", C.WAITING_PAUSED),
        make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",)),
    ]
    (reason,) = reasons_of(jobs[1], jobs, make_world(paused_jobs={"a": "noon"}))
    assert reason.text == "it needs a (a), which waits: job a is paused since noon"
    assert reason.change == "jobrunner jobs resume a ends that; then ws/a (a) can run"


def test_what_holds_up_the_job_itself_is_said_once():
    jobs = [make_job("a"), make_job("b", wait_for=("a",))]
    assert explain(jobs[1], jobs, make_world(paused_since="noon")) == [
        "the backend is paused since noon",
        "it needs a (a), which waits: nothing has looked at it yet",
    ]


def test_slots_are_told_with_those_who_hold_them_and_the_place_in_the_queue():
    jobs = [
        make_job("x", C.EXECUTING, weight=Fraction(3, 2)),
        make_job("y", WAITING, created_at=1),
        make_job("z", WAITING, created_at=2),
    ]
    slots, queue = reasons_of(jobs[2], jobs, make_world(max_workers=2))
    assert slots.text == "it needs 1 of 2 worker slots, and 1.5 are used by ws/x"
    assert slots.job_ids == ("x",)
    assert queue.text == "it is number 2 of 2 in the queue; before it: ws/y"
    (_, first) = reasons_of(jobs[1], jobs, make_world(max_workers=2))
    assert first.text == "it is the next of 2 in the queue"


def test_the_job_to_look_at_is_who_has_held_a_slot_for_longest_or_is_next():
    jobs = [
        make_job("u", C.EXECUTING, code_since=500.0),
        make_job("v", C.EXECUTING, code_since=400.0),
        make_job("w", C.EXECUTING, code_since=600.0),
        *(make_job(name, WAITING, created_at=n) for n, name in enumerate("abc", start=1)),
    ]
    slots, queue = reasons_of(jobs[-1], jobs, make_world(max_workers=3))
    assert (slots.job_ids, slots.cause) == (("u", "v", "w"), "v")
    assert (queue.job_ids, queue.cause) == (("a", "b"), "a")
    (paused,) = reasons_of(jobs[-1], jobs, make_world(max_workers=3, paused_since="noon"))
    assert paused.cause is None


def test_job_that_is_to_be_started_over_says_why():
    jobs = [make_job("a", C.WAITING_ON_REBOOT, message="its container disappeared"), make_job("b", WAITING)]
    (reason,) = reasons_of(jobs[0], jobs, make_world())
    assert reason.text == "it is to be started over: its container disappeared"


def test_how_long_those_run_that_hold_a_job_up_is_told_where_run_times_are_given():
    jobs = [
        make_job("a", C.EXECUTING, code_since=940.0),
        make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",)),
        make_job("c", WAITING),
    ]
    world = make_world(now=1000.0, max_workers=1)
    (unknown,) = reasons_of(jobs[1], jobs, world, {})
    assert unknown.text == "it needs a (a), which is executing, for 1m 00s"
    (known,) = reasons_of(jobs[1], jobs, world, {("ws", "a"): 90.0})
    assert known.text == "it needs a (a), which is executing, for 1m 00s; going by its last runs, about 30s are left"
    (slots,) = reasons_of(jobs[2], jobs, world, {})
    assert slots.text == "it needs 1 of 1 worker slots, and 1 is used by ws/a (1m 00s)"


def test_fair_shares_and_databases_count_for_the_place_in_the_queue():
    jobs = [
        make_job("busy", C.EXECUTING, workspace="full"),
        make_job("old", WAITING, workspace="full", created_at=1),
        make_job("plain", WAITING, workspace="empty", created_at=2),
        make_job("base", C.WAITING_ON_DB_WORKERS, workspace="empty", created_at=3, requires_db=True),
    ]
    assert [job.id for job in in_order(jobs, make_world())] == ["base", "old", "plain"]
    assert [job.id for job in before_it(jobs[2], jobs, make_world())] == ["base", "old"]


@given(situations())
def test_scheduler_starts_jobs_in_the_order_of_the_queue(situation):
    jobs, world = situation
    alike = {"weight": Fraction(1), "requires_db": False, "wait_for": (), "intents": (), "in_flight": None}
    jobs = [replace(job, **alike, uses_real_database=False, not_before=None, verdict_stored=False) for job in jobs]
    jobs = [replace(job, code=WAITING) if job.state is State.PENDING else job for job in jobs]
    world = make_world(now=world.now, monotonic=world.monotonic, max_workers=world.max_workers)
    begun = started(decide(jobs, world))
    assert [job.id for job in in_order(jobs, world)][: len(begun)] == begun


@given(situations())
def test_every_waiting_job_can_be_explained(situation):
    jobs, world = situation
    for job in jobs:
        reasons = reasons_of(job, jobs, world)
        assert all(reason.text and reason.change for reason in reasons)
        assert not reasons or job.state is State.PENDING
        wait = seconds_until_start(job, jobs, world, {})
        assert wait is None or wait >= 0


def test_chain_that_leads_back_to_itself_ends():
    jobs = [
        make_job("a", C.WAITING_ON_DEPENDENCIES, wait_for=("b",)),
        make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",)),
    ]
    assert "it needs b (b), which needs a (a)" in explain(jobs[0], jobs, make_world())[0]
    assert seconds_until_start(jobs[0], jobs, make_world(), {("ws", "a"): 1.0, ("ws", "b"): 1.0}) is None


TIMES = {("ws", name): seconds for name, seconds in {"a": 100.0, "b": 30.0, "c": 5.0}.items()}


@pytest.mark.parametrize(("begun", "expected"), [(960.0, 60.0 + 30.0), (800.0, 0.0 + 30.0)])
def test_expected_start_adds_up_what_is_left_of_a_chain(begun: float, expected: float):
    jobs = [
        make_job("a", C.EXECUTING, code_since=begun),
        make_job("b", C.WAITING_ON_DEPENDENCIES, wait_for=("a",)),
        make_job("c", C.WAITING_ON_DEPENDENCIES, wait_for=("b",)),
    ]
    assert seconds_until_start(jobs[2], jobs, make_world(), TIMES) == expected


def test_expected_start_lets_those_before_it_run_first():
    jobs = [
        make_job("a", C.EXECUTING, code_since=990.0),
        make_job("b", WAITING, created_at=1),
        make_job("c", WAITING, created_at=2),
    ]
    assert seconds_until_start(jobs[1], jobs, make_world(max_workers=1), TIMES) == 90.0
    assert seconds_until_start(jobs[2], jobs, make_world(max_workers=1), TIMES) == 120.0


def test_a_database_job_without_database_slots_starts_at_no_time_and_is_in_nobodys_way():
    jobs = [make_job("db", C.WAITING_ON_DB_WORKERS, requires_db=True, created_at=1), make_job("j", created_at=2)]
    world = make_world(max_workers=1, max_db_workers=0)
    assert [seconds_until_start(job, jobs, world, TIMES) for job in jobs] == [None, 0.0]


@pytest.mark.parametrize(
    "world",
    [{"paused_since": "noon"}, {"paused_workspaces": {"ws": "noon"}}, {"paused_jobs": {"c": "noon"}}],
    ids=str,
)
def test_nobody_knows_when_an_operator_lets_it_go_on(world: dict[str, object]):
    job = make_job("c", WAITING)
    assert seconds_until_start(job, [job], make_world(**world), TIMES) is None


def test_running_job_tells_how_long_it_may_still_take():
    job = make_job("a", C.EXECUTING, code_since=960.0)
    world = make_world()
    assert running_words(job, world, None) == "it runs: the command runs, for 40s"
    assert running_words(job, world, 100.0).endswith("about 1m 00s are left")
    assert running_words(job, world, 30.0).endswith("longer than this action usually takes (30s)")
