"""Job requests become jobs: which are made, what they are made of, and what is cancelled."""

from __future__ import annotations

import pytest

from jobrunner_cli.engine import requests
from jobrunner_cli.engine.errors import StaleCodelistError, UnknownActionError
from jobrunner_cli.engine.planning import job_id
from jobrunner_cli.engine.states import State, StatusCode
from jobrunner_cli.engine.store import changes, intents, queries
from jobrunner_cli.engine.work import IntentKind, JobRequest
from support.requesting import NOW, Place, actions_of
from support.store import make_outcome

pytestmark = pytest.mark.slow


# What is made.


def test_a_request_is_stored_with_a_job_for_each_action_that_it_needs(place: Place) -> None:
    submission = place.submit("clean")

    extract, clean = place.stored()
    assert submission.jobs == (extract, clean)
    assert not submission.existing
    assert (extract.id, clean.id) == (job_id("request1", "extract"), job_id("request1", "clean"))
    assert extract.run_command == "ehrql:v1 generate-dataset analysis/dataset.py --output output/extract.csv"
    assert extract.requires_db
    assert extract.output_spec == {"highly_sensitive": {"table": "output/extract.csv"}}
    assert not clean.requires_db
    assert clean.requires_outputs_from == ("extract",)
    assert clean.wait_for_job_ids == (extract.id,)
    for job in (extract, clean):
        assert (job.state, job.status_code, job.status_message) == (State.PENDING, StatusCode.CREATED, "Created")
        assert (job.repo_url, job.commit) == (str(place.study.path), place.head)
        assert (job.workspace, job.database_name) == ("test", "default")
        assert (job.created_at, job.updated_at, job.started_at, job.completed_at) == (NOW, NOW, None, None)
        assert job.status_code_updated_at == NOW * 10**9
        assert job.trace_context is None
    saved = queries.saved_request(place.database.connection, "request1")
    assert saved is not None
    assert saved.original == {"identifier": "request1", "unknown": [1, "ü"]}


def test_the_code_of_the_commit_counts_and_not_the_working_copy(place: Place) -> None:
    place.study.project("version: 4\nactions: {}\n")
    assert actions_of(place.submit("clean")) == ["extract", "clean"]


def test_a_request_that_has_its_jobs_gets_no_others(place: Place) -> None:
    first = place.submit("clean")
    again = place.submit("report")

    assert again.existing
    assert again.jobs == first.jobs
    assert place.stored() == list(first.jobs)


def test_a_later_request_awaits_what_is_under_way(place: Place) -> None:
    extract, _ = place.submit("clean").jobs
    later = place.submit("report", id="request2")

    (report,) = later.jobs
    assert report.wait_for_job_ids == (job_id("request1", "clean"),)
    assert queries.job_by_id(place.database.connection, extract.id) == extract


def test_outputs_that_are_there_are_used_and_outputs_that_are_gone_are_made_again(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.succeed(extract)
    assert actions_of(place.submit("clean", id="request2", workspace="other")) == ["extract", "clean"]
    (clean,) = place.submit("clean", id="request3").jobs
    place.succeed(clean)
    (place.settings.high_workspace("test") / "output/clean.csv").unlink()

    submission = place.submit("report", id="request4")

    assert actions_of(submission) == ["clean", "report"]
    assert submission.plan is not None
    assert "output/clean.csv is gone" in submission.plan.new[0].reason


def test_a_link_in_the_place_of_an_output_is_no_output(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.succeed(extract)
    output = place.settings.high_workspace("test") / "output/extract.csv"
    output.unlink()
    output.symlink_to("/etc/hostname")
    assert actions_of(place.submit("clean", id="request2")) == ["extract", "clean"]


def test_what_was_cancelled_does_not_count_as_the_latest(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    extract = place.succeed(extract)
    (again,) = place.submit("extract", id="request2").jobs
    place.move(again, StatusCode.CANCELLED_BY_USER, cancelled=True)
    assert actions_of(place.submit("clean", id="request3")) == ["clean"]


def test_nobody_is_made_to_wait_for_a_job_that_is_about_to_be_cancelled(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    intents.append(place.database.connection, IntentKind.CANCEL, extract.id, "test", NOW)
    (again,) = place.submit("extract", id="request2").jobs
    assert again.id == job_id("request2", "extract")


def test_a_cancellation_that_comes_too_late_leaves_the_job_to_be_awaited(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    extract = place.move(extract, StatusCode.PREPARING, StatusCode.EXECUTING, StatusCode.FINALIZING)
    conn = place.database.connection
    assert changes.record_verdict(conn, extract, make_outcome(), NOW * 10**9)
    intents.append(conn, IntentKind.CANCEL, extract.id, "test", NOW)
    (clean,) = place.submit("clean", id="request2").jobs
    assert clean.wait_for_job_ids == (extract.id,)


def test_a_clock_that_went_back_does_not_hide_the_newest_job(place: Place) -> None:
    place.succeed_all(place.submit("extract").jobs)
    (again,) = place.create(place.request("extract", id="request2"), now=NOW - 3600).jobs
    (clean,) = place.submit("clean", id="request3").jobs
    assert clean.wait_for_job_ids == (again.id,)


def test_the_time_of_a_job_is_the_clock_s_when_none_is_given(place: Place) -> None:
    before = place.create(place.request("extract"), now=None).jobs[0].created_at
    assert before > 1_700_000_000


# Nothing to do.


def test_one_row_says_that_there_is_nothing_to_do(place: Place) -> None:
    place.succeed_all(place.submit("run_all").jobs)

    submission = place.submit("run_all", id="request2")

    (row,) = place.stored("request2")
    assert submission.jobs == (row,)
    assert submission.error is None
    assert (row.action, row.state, row.status_code) == ("run_all", State.SUCCEEDED, StatusCode.SUCCEEDED)
    assert row.status_message == "Nothing to do: every action has already succeeded"
    assert row.run_command is None
    assert row.completed_at == NOW


def test_the_row_that_tells_of_nothing_to_do_is_nobody_s_latest_job(place: Place) -> None:
    (extract,) = place.submit("extract").jobs
    place.submit("extract", id="request2")
    (clean,) = place.submit("clean", id="request3").jobs
    assert clean.wait_for_job_ids == (extract.id,)


def test_a_local_request_with_nothing_to_do_has_such_a_row_too(place: Place) -> None:
    place.submit("extract")
    request = place.local("extract")
    submission = place.create(request)
    (row,) = place.stored(request.id)
    assert submission.jobs == (row,)
    assert submission.runnable == ()
    assert (row.action, row.state) == ("extract", State.SUCCEEDED)
    assert row.status_message == "Nothing to do: everything requested is already under way"


# Cancelling.


def test_cancelled_actions_become_intents_once_and_only_for_unfinished_jobs(place: Place) -> None:
    extract, clean, report = place.submit("run_all").jobs
    place.succeed(extract)
    cancelled = place.request("run_all", cancelled_actions=("extract", "clean"))

    for _ in range(3):
        assert place.create(cancelled).existing

    conn = place.database.connection
    assert intents.intents_of(conn, extract.id) == []
    assert intents.intents_of(conn, report.id) == []
    (intent,) = intents.intents_of(conn, clean.id)
    assert intent.kind == "cancel"
    assert not place.stored()[1].cancelled
    intents.answer(conn, intent.id, "already finished", NOW)
    place.create(cancelled)
    assert len(intents.intents_of(conn, clean.id)) == 1


def test_a_request_that_arrives_with_cancelled_actions_has_them_cancelled(place: Place) -> None:
    extract, clean = place.submit("clean", cancelled_actions=("clean",)).jobs
    assert list(intents.open_intents(place.database.connection)) == [clean.id]
    assert extract.wait_for_job_ids == ()


# Dry runs.


def test_a_dry_run_says_what_would_run_and_writes_nothing(place: Place) -> None:
    request = place.request("clean")
    plan = requests.plan_only(place.settings, place.repositories, place.database, request)
    assert [job.action for job in plan.new] == ["extract", "clean"]
    assert place.stored() == []
    assert queries.saved_request(place.database.connection, "request1") is None


def test_a_dry_run_raises_what_is_wrong(place: Place) -> None:
    def plan(request: JobRequest) -> None:
        requests.plan_only(place.settings, place.repositories, place.database, request)

    with pytest.raises(UnknownActionError):
        plan(place.request("nothing"))
    with pytest.raises(StaleCodelistError):
        plan(place.request("clean", codelists_ok=False))
    assert place.stored() == []
