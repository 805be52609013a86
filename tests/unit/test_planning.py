"""Which jobs a request makes: the rules of planning, over small examples and over random pipelines and histories."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner_cli.engine.errors import JobRequestError, UnknownActionError
from jobrunner_cli.engine.planning import LatestJob, Plan, PlannedJob, job_id, plan
from jobrunner_cli.engine.states import State
from jobrunner_cli.engine.study.pipeline import RUN_ALL, Pipeline, read_pipeline
from jobrunner_cli.engine.work import JobRequest

UNDER_WAY = (State.PENDING, State.RUNNING)


def pipeline_of(needs: Mapping[str, Sequence[str]]) -> Pipeline:
    """A pipeline whose actions have these needs."""
    actions = {
        name: {
            "run": f"python:latest python analysis/{name}.py",
            "needs": list(needed),
            "outputs": {"highly_sensitive": {"table": f"output/{name}.csv"}},
        }
        for name, needed in needs.items()
    }
    return read_pipeline(json.dumps({"version": 4, "actions": actions}).encode())


def request_of(*actions: str, forced: bool = False, request_id: str = "request1") -> JobRequest:
    return JobRequest(
        id=request_id,
        repo_url="/repos/study",
        commit="a" * 40,
        branch="main",
        requested_actions=actions,
        cancelled_actions=(),
        workspace="test",
        codelists_ok=True,
        database_name="dummy",
        force_run_dependencies=forced,
        original={},
    )


def history(**states: State | tuple[State, str]) -> dict[str, LatestJob]:
    """Latest jobs by action; a path beside the state is a recorded output that is gone."""
    latest = {}
    for action, entry in states.items():
        state, *missing = entry if isinstance(entry, tuple) else (entry,)
        latest[action] = LatestJob(id=f"old-{action}", action=action, state=state, missing_outputs=tuple(missing))
    return latest


def planned(plan: Plan) -> list[str]:
    return [job.action for job in plan.new]


def job(plan: Plan, action: str) -> PlannedJob:
    return next(job for job in plan.new if job.action == action)


CHAIN = {"extract": [], "clean": ["extract"], "model": ["clean"]}


def test_job_ids_are_sixteen_letters_and_digits_made_from_request_and_action() -> None:
    digest = hashlib.sha1(b"2nepunacds7e22ue\ndescribe").digest()
    assert job_id("2nepunacds7e22ue", "describe") == base64.b32encode(digest[:10]).decode().lower()
    assert len(job_id("x", "y")) == 16


def test_a_known_job_id_stays_as_it_is() -> None:
    assert job_id("request", "action") == "h6nwqy3ypky5zues"


def test_an_action_brings_along_what_it_needs_and_waits_for_it() -> None:
    result = plan(request_of("model"), pipeline_of(CHAIN), {}, dummy_data=True)

    assert planned(result) == ["extract", "clean", "model"]
    assert job(result, "extract").wait_for == ()
    assert job(result, "clean").wait_for == (job_id("request1", "extract"),)
    assert job(result, "model").wait_for == (job_id("request1", "clean"),)
    assert job(result, "model").needs == ("clean",)
    assert result.nothing_to_do is None


def test_a_need_that_has_succeeded_is_left_and_not_waited_for() -> None:
    latest = history(extract=State.SUCCEEDED)
    result = plan(request_of("clean"), pipeline_of(CHAIN), latest, dummy_data=True)

    assert planned(result) == ["clean"]
    assert job(result, "clean").wait_for == ()
    assert job(result, "clean").needs == ("extract",)
    assert [(one.action, one.job_id) for one in result.skipped] == [("extract", "old-extract")]
    assert "succeeded" in result.skipped[0].reason


@pytest.mark.parametrize("state", UNDER_WAY)
def test_a_need_that_is_under_way_is_awaited(state: State) -> None:
    result = plan(request_of("clean"), pipeline_of(CHAIN), history(extract=state), dummy_data=True)

    assert planned(result) == ["clean"]
    assert job(result, "clean").wait_for == ("old-extract",)
    assert state.value in result.skipped[0].reason


def test_a_need_that_failed_runs_again() -> None:
    result = plan(request_of("clean"), pipeline_of(CHAIN), history(extract=State.FAILED), dummy_data=True)

    assert planned(result) == ["extract", "clean"]
    assert job(result, "extract").reason == "needed by clean, failed last time"


def test_a_need_whose_recorded_output_is_gone_runs_again_and_the_plan_names_the_output() -> None:
    latest = history(extract=(State.SUCCEEDED, "output/extract.csv"))
    result = plan(request_of("clean"), pipeline_of(CHAIN), latest, dummy_data=True)

    assert planned(result) == ["extract", "clean"]
    assert "output/extract.csv is gone" in job(result, "extract").reason


def test_what_lies_behind_a_need_that_need_not_run_is_left_alone() -> None:
    latest = history(extract=State.FAILED, clean=State.SUCCEEDED)
    assert planned(plan(request_of("model"), pipeline_of(CHAIN), latest, dummy_data=True)) == ["model"]


def test_a_request_by_name_runs_an_action_again_that_has_succeeded() -> None:
    latest = history(extract=State.SUCCEEDED, clean=State.SUCCEEDED)
    result = plan(request_of("clean"), pipeline_of(CHAIN), latest, dummy_data=True)

    assert planned(result) == ["clean"]
    assert job(result, "clean").reason == "requested by name"


def test_run_all_leaves_what_has_succeeded() -> None:
    latest = history(extract=State.SUCCEEDED, clean=State.FAILED)
    result = plan(request_of(RUN_ALL), pipeline_of(CHAIN), latest, dummy_data=True)

    assert planned(result) == ["clean", "model"]
    assert job(result, "clean").reason == "part of run_all, failed last time"


def test_run_all_with_a_name_runs_that_one_again_too() -> None:
    latest = history(extract=State.SUCCEEDED, clean=State.SUCCEEDED, model=State.SUCCEEDED)
    assert planned(plan(request_of(RUN_ALL, "clean"), pipeline_of(CHAIN), latest, dummy_data=True)) == ["clean"]


def test_forced_dependencies_run_again_with_a_name_and_with_run_all() -> None:
    latest = history(extract=State.SUCCEEDED, clean=State.SUCCEEDED, model=State.SUCCEEDED)
    by_name = plan(request_of("clean", forced=True), pipeline_of(CHAIN), latest, dummy_data=True)
    everything = plan(request_of(RUN_ALL, forced=True), pipeline_of(CHAIN), latest, dummy_data=True)

    assert planned(by_name) == ["extract", "clean"]
    assert "forced" in job(by_name, "extract").reason
    assert planned(everything) == ["extract", "clean", "model"]


def test_run_all_of_a_workspace_where_all_has_succeeded_is_nothing_to_do() -> None:
    latest = history(extract=State.SUCCEEDED, clean=State.SUCCEEDED, model=State.SUCCEEDED)
    result = plan(request_of(RUN_ALL), pipeline_of(CHAIN), latest, dummy_data=True)

    assert result.new == ()
    assert result.nothing_to_do == "Nothing to do: every action has already succeeded"


def test_a_request_for_what_is_under_way_is_nothing_to_do_even_when_forced() -> None:
    latest = history(clean=State.RUNNING)
    result = plan(request_of("clean", forced=True), pipeline_of(CHAIN), latest, dummy_data=True)

    assert result.new == ()
    assert result.nothing_to_do == "Nothing to do: everything requested is already under way"


def test_run_all_of_a_file_without_actions_is_nothing_to_do() -> None:
    assert "no actions" in (plan(request_of(RUN_ALL), pipeline_of({}), {}, dummy_data=True).nothing_to_do or "")


def test_an_action_named_run_all_in_an_old_file_is_neither_run_nor_requested_by_name() -> None:
    old = b"""
version: 1
expectations: {population_size: 10}
actions:
  run_all: {run: "python:latest python all.py", outputs: {highly_sensitive: {a: output/all.csv}}}
  other: {run: "python:latest python other.py", needs: [run_all], outputs: {highly_sensitive: {a: output/o.csv}}}
"""
    latest = history(run_all=State.SUCCEEDED, other=State.FAILED)
    assert planned(plan(request_of(RUN_ALL), read_pipeline(old), latest, dummy_data=True)) == ["other"]


def test_a_mistyped_action_is_answered_with_what_was_probably_meant_and_what_there_is() -> None:
    with pytest.raises(UnknownActionError) as caught:
        plan(request_of("exrtact"), pipeline_of(CHAIN), {}, dummy_data=True)

    assert "'exrtact'" in str(caught.value)
    assert "did you mean 'extract'?" in str(caught.value)
    assert "run_all, extract, clean, model" in str(caught.value)


def test_an_unknown_action_of_any_shape_makes_an_error_of_one_line() -> None:
    with pytest.raises(UnknownActionError) as caught:
        plan(request_of("x\n" * 10_000, "", "extract"), pipeline_of(CHAIN), {}, dummy_data=True)

    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_a_request_for_no_action_is_refused() -> None:
    with pytest.raises(JobRequestError, match="names no action"):
        plan(request_of(), pipeline_of(CHAIN), {}, dummy_data=True)


def test_the_command_and_the_database_flag_come_from_the_pipeline() -> None:
    study = b"""
version: 3
expectations: {population_size: 1234}
actions:
  cohort:
    run: cohortextractor:latest generate_cohort
    outputs: {highly_sensitive: {cohort: output/input.csv}}
"""
    (dummy,) = plan(request_of("cohort"), read_pipeline(study), {}, dummy_data=True).new
    (real,) = plan(request_of("cohort"), read_pipeline(study), {}, dummy_data=False).new

    assert dummy.requires_db
    assert real.requires_db
    assert "--expectations-population=1234" in dummy.command
    assert "--expectations-population" not in real.command
    assert dummy.outputs == {"highly_sensitive": {"cohort": "output/input.csv"}}


@pytest.mark.slow
def test_a_chain_of_needs_longer_than_the_stack_is_planned() -> None:
    needs = {f"a{n}": [f"a{n - 1}"] if n else [] for n in range(3_000)}
    result = plan(request_of("a2999"), pipeline_of(needs), {}, dummy_data=True)
    assert planned(result) == list(needs)


@dataclass(frozen=True, kw_only=True)
class Situation:
    """A pipeline, a request for it and the past of its workspace."""

    needs: dict[str, list[str]]
    pipeline: Pipeline
    request: JobRequest
    latest: dict[str, LatestJob]

    def plan(self) -> Plan:
        return plan(self.request, self.pipeline, self.latest, dummy_data=True)

    @property
    def named(self) -> set[str]:
        return set(self.request.requested_actions) - {RUN_ALL}

    @property
    def starts(self) -> set[str]:
        return set(self.needs) if RUN_ALL in self.request.requested_actions else self.named

    def must_run(self, action: str) -> bool:
        """The rule, said the other way round than the code says it."""
        last = self.latest.get(action)
        if last is not None and last.state in UNDER_WAY:
            return False
        will_do = last is not None and last.state is State.SUCCEEDED and last.outputs_present
        return not will_do or action in self.named or self.request.force_run_dependencies

    def reached(self) -> set[str]:
        """Everything that a start leads to through actions that run."""
        found, left = set(), list(self.starts)
        while left:
            action = left.pop()
            if action not in found:
                found.add(action)
                left.extend(self.needs[action] if self.must_run(action) else ())
        return found


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    size = draw(st.integers(min_value=1, max_value=7))
    order = draw(st.permutations([f"a{n}" for n in range(size)]))
    needs = {
        name: draw(st.lists(st.sampled_from(order[:place]), max_size=3)) if place else []
        for place, name in enumerate(order)
    }
    in_file_order = draw(st.permutations(order))
    needs = {name: needs[name] for name in in_file_order}
    latest = {}
    for name in draw(st.lists(st.sampled_from(order), unique=True)):
        missing = draw(st.sampled_from([(), (f"output/{name}.csv",)]))
        latest[name] = LatestJob(
            id=f"old-{name}", action=name, state=draw(st.sampled_from(State)), missing_outputs=missing
        )
    requested = draw(st.lists(st.sampled_from([RUN_ALL, *order]), min_size=1, max_size=4))
    request = request_of(*requested, forced=draw(st.booleans()))
    return Situation(needs=needs, pipeline=pipeline_of(needs), request=request, latest=latest)


@given(situations())
def test_exactly_the_actions_that_must_run_get_a_job_and_each_gets_one(situation: Situation) -> None:
    result = situation.plan()
    must = {action for action in situation.reached() if situation.must_run(action)}

    assert sorted(planned(result)) == sorted(must)
    assert sorted(one.action for one in result.skipped) == sorted(situation.reached() - must)
    assert all(one.job_id == situation.latest[one.action].id for one in result.skipped)
    assert (result.nothing_to_do is not None) == (not result.new)


@given(situations())
def test_needs_come_before_what_needs_them(situation: Situation) -> None:
    actions = planned(situation.plan())
    for place, action in enumerate(actions):
        assert not set(situation.needs[action]) & set(actions[place:])


@given(situations())
def test_every_planned_job_waits_for_exactly_those_of_its_needs_that_are_under_way(situation: Situation) -> None:
    result = situation.plan()
    ids = {job.action: job.id for job in result.new}
    ids |= {action: last.id for action, last in situation.latest.items() if last.state in UNDER_WAY}
    for one in result.new:
        assert sorted(one.wait_for) == sorted({ids[need] for need in one.needs if need in ids})
        assert one.needs == tuple(situation.needs[one.action])


@given(situations())
def test_the_same_question_has_the_same_answer(situation: Situation) -> None:
    assert situation.plan() == situation.plan()
    assert all(one.id == job_id("request1", one.action) for one in situation.plan().new)


@given(situations())
def test_the_same_request_made_again_under_another_id_finds_everything_under_way(situation: Situation) -> None:
    first = situation.plan()
    after = dict(situation.latest)
    after |= {job.action: LatestJob(id=job.id, action=job.action, state=State.PENDING) for job in first.new}
    again = replace(situation, request=replace(situation.request, id="request2"), latest=after).plan()
    assert again.new == ()
    assert again.nothing_to_do is not None


@given(situations())
def test_after_everything_has_succeeded_run_all_leaves_nothing_to_do(situation: Situation) -> None:
    done = {name: LatestJob(id=f"done-{name}", action=name, state=State.SUCCEEDED) for name in situation.needs}
    result = plan(request_of(RUN_ALL), situation.pipeline, done, dummy_data=True)
    assert result.new == ()


@given(situations())
def test_every_reason_says_something_in_one_line(situation: Situation) -> None:
    result = situation.plan()
    for reason in [*(job.reason for job in result.new), *(one.reason for one in result.skipped)]:
        assert reason
        assert "\n" not in reason
